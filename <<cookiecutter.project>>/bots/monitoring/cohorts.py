"""Says which days may be judged: those whose labels came as far as they will.

Labels that are late are not missing at random: where alarms are confirmed within hours and their absence after weeks,
a day looks terrible until the last label is there. So a day waits until its labels stopped coming. And a source that
fell silent looks just as if all labels were there: while more should come and none does, the clock of all days stands.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, Final

import msgspec

from bots.observations import Cohort, CohortHistory, CohortState, Day, DayOutcomes

if TYPE_CHECKING:
    from bots.settings import Labels

CLOSED: Final[tuple[CohortState, ...]] = ("mature", "timed out", "no labels")
JUDGED: Final[tuple[CohortState, ...]] = ("mature", "timed out")
OLDEST: Final = 366
"""Where the ages of labels end: that or older."""
GIVE_UP: Final = 2
"""A day whose source is silent is given up after so many times `mature_after`."""
EXPECTED: Final = 5.0
"""When so many labels should have come since the newest one, the source is late."""
USUAL: Final = 0.9
"""A day matures with at least so many times the usual share of labels."""
USUAL_DAYS: Final = 30
FEWEST_DAYS: Final = 3
"""From so many closed days on, it is known how labels usually come."""
FIRST_PATIENCE: Final = 14
"""Before it is known how often labels are delivered, a source is called silent after so many days."""
KEPT_DAYS: Final = 200
MOST_LOOKS: Final = 120


@dataclass(frozen=True)
class DayLabels:
    """The labels of a day, all versions: `arrivals` by the day on which they came. `answered` rows need no other label.

    `growth` is what a look found more than the one before. `looked` is the first look, where only looks tell when
    labels came.
    """

    day: date
    predicted: int
    labelled: int
    answered: int
    arrivals: Mapping[date, int]
    growth: Mapping[date, int]
    looks: Sequence[date]
    looked: date | None
    closed: CohortState | None

    @property
    def share(self) -> float:
        """The share of predictions that have a label."""
        return self.labelled / self.predicted if self.predicted else 0.0

    @property
    def answered_share(self) -> float:
        """The share of predictions that need no other label: those with one, and those with a contradiction."""
        return self.answered / self.predicted if self.predicted else 0.0


@dataclass(frozen=True)
class Flow:
    """How labels come from the source.

    `last` is the newest day on which some came, `expected` how many should have come since. `outages` are times without
    a label that were longer than usual: from the last one before to the first one after. `clock` is the day as of which
    cohorts are judged: today, unless the source is late; None before the first label.
    """

    last: date | None = None
    expected: float = 0.0
    outages: Sequence[tuple[date, date]] = ()
    clock: date | None = None
    silent: bool = False

    def count_days(self, start: date, end: date) -> int:
        """Count the days between two days on which the source was not out."""
        out = sum(max(0, (min(back, end) - max(left, start)).days) for left, back in self.outages)
        return (end - start).days - out

    def is_steady(self, start: date, end: date) -> bool:
        """Whether the source was not out between two days."""
        return all(back <= start or left >= end for left, back in self.outages)


@dataclass(frozen=True, kw_only=True)
class CohortJudgement:
    """What is known of all days. `outcomes` are those given, with the state of their day; `ripened` were closed now.

    `arrival` is the share of a day's predictions that has a label after i days, over closed days; `history` is for the
    next run.
    """

    cohorts: list[Cohort]
    outcomes: list[DayOutcomes]
    ripened: list[DayOutcomes]
    arrival: list[float]
    history: list[CohortHistory]
    flow: Flow = field(default_factory=Flow)


def judge_cohorts(
    outcomes: Sequence[DayOutcomes], history: Sequence[CohortHistory], settings: Labels, today: Day
) -> CohortJudgement:
    """Judge which days may be judged. `outcomes` are all that is known: closed days too, they show how labels come."""
    noted = note_look(history, outcomes, today)
    days = _collect_days(outcomes, noted, timed=settings.time is not None)
    now = date.fromisoformat(today)
    flow = measure_flow(days, settings, now)
    usual = find_usual(days)
    states = {one.day: judge_day(one, flow, usual, settings, today=now) for one in days}
    settled = [_settle_outcomes(one, states[date.fromisoformat(one.day)]) for one in outcomes]
    return CohortJudgement(
        cohorts=[
            Cohort(
                day=one.day.isoformat(),
                predicted=one.predicted,
                labelled=one.labelled,
                state=states[one.day],
            )
            for one in days
        ],
        outcomes=settled,
        ripened=[after for before, after in zip(outcomes, settled, strict=True) if after.mature and not before.mature],
        arrival=measure_arrival(one for one in days if states[one.day] in JUDGED),
        history=noted,
        flow=flow,
    )  # fmt: skip


def _settle_outcomes(outcomes: DayOutcomes, state: CohortState) -> DayOutcomes:
    if outcomes.mature and outcomes.cohort in CLOSED:
        return outcomes
    return msgspec.structs.replace(outcomes, mature=outcomes.mature or state in CLOSED, cohort=state)


def note_look(
    history: Sequence[CohortHistory], outcomes: Iterable[DayOutcomes], today: Day
) -> list[CohortHistory]:
    """Note how many labels each open day has now. Looks between which nothing came are forgotten, but for the last."""
    answered: Counter[Day] = Counter()
    for one in outcomes:
        if not one.mature:
            answered[one.day] += one.labelled + one.contradicted
    looks = {one.day: dict(one.looks) for one in history}
    for day, count in answered.items():
        before = {look: rows for look, rows in looks.get(day, {}).items() if look < today}
        ordered = sorted(before)
        if len(ordered) > 1 and before[ordered[-1]] == before[ordered[-2]]:
            del before[ordered[-1]]
        looks[day] = dict(sorted({**before, today: count}.items())[-MOST_LOOKS:])
    kept = sorted(looks)[-KEPT_DAYS:] if len(looks) > KEPT_DAYS else sorted(looks)
    return [CohortHistory(day=day, looks=looks[day]) for day in sorted({*kept, *answered})]


def _collect_days(
    outcomes: Iterable[DayOutcomes], history: Iterable[CohortHistory], *, timed: bool
) -> list[DayLabels]:
    grouped: dict[Day, list[DayOutcomes]] = defaultdict(list)
    for one in outcomes:
        grouped[one.day].append(one)
    looks = {one.day: one.looks for one in history}
    return [_collect_day(day, grouped[day], looks.get(day, {}), timed=timed) for day in sorted(grouped)]


def _collect_day(
    day: Day, versions: Sequence[DayOutcomes], looks: Mapping[Day, int], *, timed: bool
) -> DayLabels:
    start = date.fromisoformat(day)
    seen: Counter[date] = Counter()
    most = 0
    for look in sorted(looks):
        if looks[look] > most:
            seen[date.fromisoformat(look)] = looks[look] - most
            most = looks[look]
    first = date.fromisoformat(min(looks)) if looks else None
    arrivals: Counter[date] = Counter()
    for one in versions:
        for age, rows in enumerate(one.ages):
            if rows:
                arrivals[start + timedelta(days=age)] += rows
    closed = versions[0].cohort if all(one.mature for one in versions) else None
    labelled = sum(one.labelled for one in versions)
    return DayLabels(
        day=start,
        predicted=sum(one.predicted for one in versions),
        labelled=labelled,
        answered=labelled + sum(one.contradicted for one in versions),
        arrivals=arrivals if timed else seen,
        growth={look: rows for look, rows in seen.items() if look != first},
        looks=[date.fromisoformat(look) for look in looks],
        looked=None if timed else first,
        closed=(closed if closed in CLOSED else "mature") if closed is not None else None,
    )


def measure_flow(days: Sequence[DayLabels], settings: Labels, today: date) -> Flow:
    """Measure how labels come: what is usual, and whether the source is late."""
    spoken = sorted({when for one in days for when in one.arrivals if when <= today})
    if not spoken:
        return Flow()
    last = spoken[-1]
    usual = settings.settled_days + 1
    limit = max(usual, _triple_gap(spoken))
    looked = any(one.looked for one in days)
    looks = sorted({look for one in days for look in one.looks}) if looked else None
    expected = count_expected(days, last, today)
    late = expected >= EXPECTED
    found = sorted({look for one in days for look in one.growth})
    patience = max(limit, _triple_gap(found) if len(found) >= FEWEST_DAYS else FIRST_PATIENCE)
    return Flow(
        last=last,
        expected=expected,
        outages=_find_outages(spoken, looks, limit),
        clock=last if late else today,
        silent=late and (today - last).days > patience,
    )


def _triple_gap(dates: Sequence[date]) -> int:
    """Three times the usual time between two dates, in days; 0 where there are not two."""
    gaps = [(after - before).days for before, after in pairwise(dates)]
    return int(3 * median(gaps)) if gaps else 0


def _find_outages(
    spoken: Sequence[date], looks: Sequence[date] | None, limit: int
) -> list[tuple[date, date]]:
    """Find the times without a label that were longer than usual. Where only `looks` tell when labels came, a time in
    which nobody looked is none."""
    outages = []
    for before, after in pairwise(spoken):
        silent = (
            after if looks is None else max((one for one in looks if before <= one < after), default=before)
        )
        if (silent - before).days > limit:
            outages.append((before, after))
    return outages


def count_expected(days: Sequence[DayLabels], last: date, today: date) -> float:
    """Count the labels that should have come after `last` until today, had they come as before.

    The share that comes at an age is taken over all days that had reached it on `last`.
    """
    came: Counter[int] = Counter()
    reached: Counter[int] = Counter()
    for one in days:
        for when, rows in one.arrivals.items():
            came[max(0, (when - one.day).days)] += rows
        reached[(last - one.day).days] += one.predicted
    oldest = max([*reached, 0])
    could = 0
    shares: dict[int, float] = {}
    for age in range(oldest, -1, -1):
        could += reached[age]
        shares[age] = came[age] / could if could else 0.0
    return sum(
        one.predicted * shares.get(age, 0.0)
        for one in days
        if one.closed is None
        for age in range(max(0, (last - one.day).days + 1), (today - one.day).days + 1)
    )


@dataclass(frozen=True)
class Usual:
    """How labels usually come: the share of a day that has one in the end, and the days until nearly all are there."""

    share: float = 0.0
    days: int = 0


def find_usual(days: Iterable[DayLabels]) -> Usual:
    """Find how labels usually come, from the newest closed days; nothing is usual before some are closed."""
    judged = [one for one in days if one.closed in JUDGED and one.predicted][-USUAL_DAYS:]
    if len(judged) < FEWEST_DAYS:
        return Usual()
    curve = measure_arrival(judged)
    nearly = next((age for age, share in enumerate(curve) if share >= 0.98 * curve[-1]), 0)
    return Usual(median(one.share for one in judged), nearly)


def judge_day(one: DayLabels, flow: Flow, usual: Usual, settings: Labels, *, today: date) -> CohortState:
    """Judge a day: whether its labels still come, stopped, or are waited for no longer."""
    if one.closed is not None:
        return one.closed
    old = (today - one.day).days
    if old >= settings.settled_days:
        if not one.predicted:
            return "no labels"
        if one.answered_share >= 1 - settings.settled and one.share >= settings.share:
            return "mature"
        if flow.clock is not None and _has_settled(one, flow, usual, settings, clock=flow.clock):
            return "mature"
        if flow.clock is not None and flow.count_days(one.day, flow.clock) >= settings.mature_after:
            return "timed out" if one.share >= settings.share and one.labelled else "no labels"
        if old >= GIVE_UP * settings.mature_after:
            return "no labels"
    return "growing" if one.answered else "pending"


def _has_settled(one: DayLabels, flow: Flow, usual: Usual, settings: Labels, *, clock: date) -> bool:
    """Whether a day's labels stopped coming, while the source gave labels to others."""
    start = clock - timedelta(days=settings.settled_days)
    if one.share < max(settings.share, USUAL * usual.share) or not one.labelled:
        return False
    if one.day > start or flow.count_days(one.day, clock) < usual.days:
        return False
    if one.looked is not None and one.looked > start:
        return False
    came = max(
        sum(rows for when, rows in arrivals.items() if when > start)
        for arrivals in (one.arrivals, one.growth)
    )
    return flow.is_steady(start, clock) and came < settings.settled * one.predicted


def measure_arrival(days: Iterable[DayLabels]) -> list[float]:
    """The share of a day's predictions that has a label after i days, over these days; empty where there are none."""
    counted = [one for one in days if one.predicted]
    predicted = sum(one.predicted for one in counted)
    came: Counter[int] = Counter()
    for one in counted:
        for when, rows in one.arrivals.items():
            came[min(max(0, (when - one.day).days), OLDEST)] += rows
    if not came:
        return []
    total, curve = 0, []
    for age in range(max(came) + 1):
        total += came[age]
        curve.append(min(1.0, total / predicted))
    return curve
