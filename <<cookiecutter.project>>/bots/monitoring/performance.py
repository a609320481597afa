"""Tells harm: is the model worse than its review said it is, beyond chance and beyond what is tolerated?

Each day of labelled rows is one observation of each detector (`bots.stats.sequential`). All detectors of a version
share `monitoring.false_alarm_every`: the threshold of one with a share s of the budget is A / s, so that together they
raise a false alarm every A days on average, or less often.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from msgspec.structs import replace

from bots.monitoring.outcomes import sum_confusions
from bots.monitoring.performance_series import compute_counted, draw_series, name_plain
from bots.monitoring.performance_words import Seen, describe_seen
from bots.observations import (
    Day,
    DayOutcomes,
    Decision,
    Deployment,
    DetectorState,
    Finding,
    Level,
    Series,
    Trouble,
)
from bots.stats import confusion, sequential
from bots.stats.deviances import find_level
from bots.stats.sequential import Bets, Usual

if TYPE_CHECKING:
    from bots.monitoring.reference import Reference
    from bots.settings import Settings
    from bots.stats.metrics import Floats

Check = Literal["loss", "calibration", "guard", "slice"]
SHARES: dict[Check, float] = {"loss": 0.35, "calibration": 0.35, "guard": 0.1, "slice": 0.2}
"""The budget's shares, divided among the detectors of a kind; one without detectors leaves its share to the others."""
DRIFT_SHARE = 0.2
"""The share of drift, where `monitoring.retrain.when` lets drift open a pull request."""
WARNS_AT = 1 / 20
"""A warning is said at this part of the threshold: so much more often than an alarm."""
LATELY = 28
FEWEST_NOTED = 7
"""What is beyond the tolerance, but may be chance, is noted on so many days or more."""
SLICE_DAYS = 0.6
"""A slice is watched where so many of the holdout's days have rows of it: a month of the year comes and goes."""
SLICE_ROWS = 500
GUARDS = {
    "value": "value",
    "brier": "squared_error",
    "log_loss": "log_loss",
    "mae": "absolute_error",
    "rmse": "squared_error",
}
"""The metrics that are sums over rows, and the name of the sum: these can be guards of production."""

Read = Callable[[DayOutcomes], tuple[float, float] | None]
"""A day's rows, and the sum over them of what a detector watches; None where the day has none."""
Measure = Callable[[Sequence[DayOutcomes]], float | None]
"""A metric of days together; None where it has no value."""


@dataclass(frozen=True, kw_only=True)
class Restart:
    """From which day on a version is judged, and why from that one."""

    day: Day
    why: str


@dataclass(frozen=True, kw_only=True)
class Watched:
    """One thing that can alarm: what is read of a day, what is expected, and how it bets.

    People are shown `measure` of the days or, where it is None, the mean of what `show` reads.
    """

    name: str
    check: Check
    subject: str | None
    read: Read
    show: Read
    usual: Usual | None
    expected: float
    bets: Bets
    threshold: float = math.inf
    measure: Measure | None = None

    def measure_days(self, days: Sequence[DayOutcomes]) -> float | None:
        """What people are shown of days; None where they have no rows of it."""
        return _find_mean(days, self.show) if self.measure is None else self.measure(days)


@dataclass(frozen=True, kw_only=True)
class PerformanceJudgement:
    """What the labelled days of a version say. `earned` is the value of all labelled rows, `expected_earned` what they
    would have been worth as on the holdout; `judged` is the newest day that the detectors took in."""

    detectors: list[DetectorState]
    findings: list[Finding]
    series: list[Series]
    earned: float | None
    expected_earned: float | None
    judged: Day | None


def find_restart(
    version: str,
    first: Day,
    deployments: Iterable[Deployment],
    decisions: Iterable[Decision],
    *,
    trouble: Trouble = "performance",
) -> Restart:
    """Find from which day on a version is judged: since it was deployed last, or its alarm was acknowledged.

    `first` is the first day that anything is known of it, where the registry does not say; `trouble` is the kind of
    alarm.
    """
    found = [Restart(day=first, why=f"{version} was first seen")]
    for one in deployments:
        if one.version == version and _is_day(one.at[:10]):
            reason = f": {one.reason}" if one.reason else ""
            found.append(Restart(day=one.at[:10], why=f"{version} was deployed by {one.by}{reason}"))
    found += [
        Restart(day=one.at[:10], why=f"{one.by} acknowledged the alarm")
        for one in decisions
        if one.trouble == trouble and one.what == "acknowledged"
    ]
    return max(found, key=lambda restart: restart.day)


def judge_performance(
    outcomes: Sequence[DayOutcomes],
    state: Sequence[DetectorState],
    reference: Reference,
    settings: Settings,
    *,
    restart: Restart,
) -> PerformanceJudgement:
    """Judge a version by its labelled days.

    `outcomes` are days of any version, mature or not: the detectors take those of the reference's version from the
    restart on, in order, up to the first that is not mature. `state` is what the last run left.
    """
    own = sorted(
        (day for day in outcomes if (day.version, day.onnx) == (reference.version, reference.onnx)),
        key=lambda day: day.day,
    )
    judged = list(_take_judged(own, restart.day, settings.monitoring.labels.share))
    detectors: list[DetectorState] = []
    findings: list[Finding] = []
    for watched in list_watched(reference, settings):
        before = find_detector(state, watched, reference, restart)
        after = take_in(watched, before, judged)
        detectors.append(after)
        findings += _find_findings(watched, after, judged, reference, settings)
    value = reference.find_mean("value")
    valued = [day for day in own if "value" in day.sums]
    return PerformanceJudgement(
        detectors=detectors,
        findings=findings,
        series=draw_series(own, reference, settings),
        earned=math.fsum(day.sums["value"] for day in valued) if valued else None,
        expected_earned=None if value is None or not valued else value * sum(day.labelled for day in valued),
        judged=judged[-1].day if judged else None,
    )


def _is_day(text: str) -> bool:
    import re

    return re.fullmatch(r"\d{4}-\d{2}-\d{2}", text) is not None


def _take_judged(days: Iterable[DayOutcomes], start: Day, share: float) -> Iterator[DayOutcomes]:
    """The days that may be judged, up to the first that is not mature; those with too few labels are left out."""
    for day in days:
        if day.day < start:
            continue
        if not day.mature and day.predicted:
            return
        if day.cohort != "no labels" and day.labelled and day.labelled >= share * day.predicted:
            yield day


def list_watched(reference: Reference, settings: Settings) -> list[Watched]:
    """Everything that can alarm for a version, with its part of the budget."""
    found = [*_watch_loss(reference, settings), *_watch_calibration(reference, settings)]
    found += [*_watch_guards(reference, settings), *_watch_counted(reference, settings)]
    found += _watch_slices(reference, settings)
    every = sequential.count_days(settings.monitoring.false_alarm_every)
    budget = 1 - DRIFT_SHARE if "drift" in settings.monitoring.retrain.when else 1.0
    kinds = [one.check for one in found]
    total = sum(SHARES[kind] for kind in set(kinds))
    return [
        _with_threshold(one, every * total * kinds.count(one.check) / (SHARES[one.check] * budget))
        for one in found
    ]


def find_drift_threshold(settings: Settings) -> float:
    """What drift's detector is held against: its part of the budget where it can act, else the whole time."""
    every = sequential.count_days(settings.monitoring.false_alarm_every)
    return every / (DRIFT_SHARE if "drift" in settings.monitoring.retrain.when else 1.0)


def _with_threshold(watched: Watched, threshold: float) -> Watched:
    import dataclasses

    return dataclasses.replace(watched, threshold=threshold)


def read_sum(name: str, sign: float = 1.0) -> Read:
    """Read one of `DayOutcomes.sums`."""

    def read(day: DayOutcomes) -> tuple[float, float] | None:
        return (float(day.labelled), sign * day.sums[name]) if name in day.sums and day.labelled else None

    return read


def _read_slice(column: str, value: str, name: str) -> Read:
    def read(day: DayOutcomes) -> tuple[float, float] | None:
        found = day.slices.get(column, {}).get(value)
        return (float(found.rows), float(getattr(found, name))) if found and found.rows else None

    return read


def find_matter(reference: Reference, settings: Settings) -> float:
    """What matters of the plain loss that stands for the primary metric, in its own unit.

    The metric's own `gate.matters` where the loss is that metric; of a squared error what a root mean squared error
    that is larger by what matters adds to it; else 2% of the holdout's loss.
    """
    matters, primary, plain = settings.gate.matters, settings.gate.primary, reference.loss.plain
    mean = reference.find_mean("metric") or 0.0
    own = {"log_loss": "log_loss", "brier": "brier", "wrong": "accuracy", "mae": "mae", "cost": "value"}.get(
        plain, plain
    )
    if own in matters:
        return matters[own]
    if primary == "rmse":
        return (math.sqrt(max(mean, 0.0)) + matters[primary]) ** 2 - mean
    return 0.02 * abs(mean)


def _watch(
    name: str,
    check: Check,
    *,
    subject: str | None,
    read: Read,
    show: Read,
    reference: Reference,
    tolerance: float,
    lowest: float,
    centre: float | None = None,
    measure: Measure | None = None,
) -> Iterator[Watched]:
    """One thing that is worse the larger it is. `centre` is what is expected; None: as on the holdout, whose own chance
    is then tolerated too."""
    usual = reference.measure_usual(read)
    if usual is None or (not usual.deviation and not math.isfinite(lowest)):
        return
    if centre is None:
        expected, tolerance = usual.mean, tolerance + sequential.find_allowance(usual)
    else:
        expected = centre
    if tolerance <= 0:
        return
    bets = sequential.choose_bets(usual, expected=expected, tolerance=tolerance, lowest=lowest)
    yield Watched(
        name=name,
        check=check,
        subject=subject,
        read=read,
        show=show,
        usual=usual,
        expected=expected,
        bets=bets,
        measure=measure,
    )


def _watch_loss(reference: Reference, settings: Settings) -> Iterator[Watched]:
    tolerance = settings.monitoring.harm.tolerance * find_matter(reference, settings)
    yield from _watch(
        "loss",
        "loss",
        subject=name_plain(reference),
        read=read_sum("loss"),
        show=read_sum("metric"),
        reference=reference,
        tolerance=reference.loss.scale_amount(tolerance),
        lowest=0.0,
    )


def _watch_calibration(reference: Reference, settings: Settings) -> Iterator[Watched]:
    """Predictions too high and too low: of a regression where what matters of its bias is said."""
    harm = settings.monitoring.harm
    if reference.task != "regression":
        tolerance, lowest = harm.calibration, -1.0
    elif "bias" in settings.gate.matters:
        tolerance, lowest = harm.tolerance * settings.gate.matters["bias"], -math.inf
    else:
        return
    for name, sign in (("too high", 1.0), ("too low", -1.0)):
        yield from _watch(
            f"calibration: {name}",
            "calibration",
            subject=name,
            read=read_sum("error", sign),
            show=read_sum("error"),
            reference=reference,
            tolerance=tolerance,
            lowest=lowest,
            centre=0.0,
        )


def _watch_guards(reference: Reference, settings: Settings) -> Iterator[Watched]:
    guards = GUARDS | ({"brier": "brier"} if reference.classes else {})
    guards |= {name: name for name in settings.gate.guards if find_level(name) is not None}
    for name in settings.gate.guards:
        if name not in guards:
            continue
        sign = -1.0 if name == "value" else 1.0
        read = read_sum(guards[name], sign)
        matter = settings.gate.matters[name]
        if name == "rmse":
            mean = reference.find_mean("squared_error") or 0.0
            matter = (math.sqrt(mean) + matter) ** 2 - mean
        yield from _watch(
            f"guard: {name}",
            "guard",
            subject=name,
            read=read,
            show=read_sum(guards[name]),
            reference=reference,
            tolerance=settings.monitoring.harm.tolerance * matter,
            lowest=_find_lowest(name, settings),
        )


def _watch_counted(reference: Reference, settings: Settings) -> Iterator[Watched]:
    """What comes from the counts of several classes, where it is a guard or the primary metric: macro F1, a recall.

    A day is judged by the metric's first derivative at the holdout: a number for each row, by its class and what it is
    called, whose mean is the metric there. So a day of few rows of a class says little of that class, and no more.
    """
    classes = reference.classes
    if not classes:
        return
    table = confusion.make_table(sum_confusions(reference.outcomes), classes)
    for name in dict.fromkeys([settings.gate.primary, *settings.gate.guards]):
        cells = confusion.linearise_metric(name, table, classes)
        if cells is None or (name == "accuracy" and name == settings.gate.primary):
            continue
        read = _read_cells(1 - cells, classes)
        yield from _watch(
            f"guard: {name}",
            "guard",
            subject=name,
            read=read,
            show=read,
            reference=reference,
            tolerance=settings.monitoring.harm.tolerance * settings.gate.matters[name],
            lowest=float((1 - cells).min()),
            measure=_measure_counted(name, classes),
        )


def _measure_counted(name: str, classes: Sequence[str]) -> Measure:
    return lambda days: compute_counted(name, days, classes)


def _read_cells(cells: Floats, classes: Sequence[str]) -> Read:
    """Read the rows of a day's counts, and the sum of the numbers of the cells that they are in."""

    def read(day: DayOutcomes) -> tuple[float, float] | None:
        table = confusion.make_table(day.confusion, classes)
        rows = float(table.sum())
        return (rows, float((cells * table).sum())) if rows else None

    return read


def _find_lowest(name: str, settings: Settings) -> float:
    """The best that a guard's sum over a row can be, where lower is better."""
    costs = settings.evaluate.costs
    if name != "value" or costs is None or settings.task == "regression":
        return 0.0
    if costs.matrix is not None:
        return -max(0.0, *(worth for row in costs.matrix.values() for worth in row.values()))
    cells = (costs.true_positive, costs.false_positive, costs.true_negative, costs.false_negative)
    return -max(cell or 0.0 for cell in cells)


def _watch_slices(reference: Reference, settings: Settings) -> Iterator[Watched]:
    if not settings.monitoring.harm.slices or not reference.by_day:
        return
    least = settings.gate.slices.rows if settings.gate.slices else SLICE_ROWS
    tolerance = settings.monitoring.harm.tolerance * find_matter(reference, settings)
    if settings.gate.slices:
        tolerance = max(tolerance, settings.gate.slices.matters)
    actual = [settings.data.target or "target"] if reference.classes else []
    for column in dict.fromkeys([*actual, *settings.evaluate.slices]):
        for value in sorted({value for day in reference.outcomes for value in day.slices.get(column, {})}):
            rows = [
                day.slices[column][value].rows
                for day in reference.outcomes
                if value in day.slices.get(column, {})
            ]
            if sum(rows) < least or len(rows) < SLICE_DAYS * len(reference.outcomes):
                continue
            yield from _watch(
                f"slice: {column}={value}",
                "slice",
                subject=f"{column}={value}",
                read=_read_slice(column, value, "loss"),
                show=_read_slice(column, value, "metric"),
                reference=reference,
                tolerance=reference.loss.scale_amount(tolerance),
                lowest=0.0,
            )


def find_detector(
    state: Sequence[DetectorState], watched: Watched, reference: Reference, restart: Restart
) -> DetectorState:
    """The detector as the last run left it, or begun anew: at a restart, or where what is tolerated was changed."""
    bets = watched.bets
    fresh = DetectorState(
        name=watched.name,
        version=reference.version,
        start=restart.day,
        expected=watched.expected,
        tolerance=bets.limit - watched.expected,
        fractions=list(bets.fractions),
        values=[0.0] * len(bets.fractions),
        threshold=watched.threshold,
        floor=bets.floor,
        enough=bets.rows,
        why=restart.why,
    )
    known = next((one for one in state if (one.name, one.version) == (fresh.name, fresh.version)), None)
    if known is None or known.start < restart.day:
        return fresh
    rules = ("expected", "tolerance", "fractions", "threshold", "floor", "enough")
    if all(_is_close(getattr(known, rule), getattr(fresh, rule)) for rule in rules):
        return known
    start = known.last or known.start
    return replace(fresh, start=start, last=known.last, why="what is tolerated was changed in params.yaml")


def _is_close(one: Any, other: Any) -> bool:
    return bool(np.allclose(one, other, rtol=1e-9, atol=1e-12))


def _make_factors(state: DetectorState, read: Read, day: DayOutcomes) -> Floats:
    found = read(day)
    if found is None:
        return np.ones(len(state.fractions))
    bets = Bets(
        limit=state.expected + state.tolerance,
        floor=state.floor,
        fractions=tuple(state.fractions),
        rows=state.enough,
    )
    return sequential.compute_factors(bets, found[1] / found[0], rows=found[0])


def take_in(watched: Watched, state: DetectorState, days: Iterable[DayOutcomes]) -> DetectorState:
    """The detector after the days that are new to it. After an alarm its evidence does not grow beyond the threshold,
    and the alarm is over once it has fallen to the square root of it."""
    for day in days:
        if day.day < state.start or (state.last is not None and day.day <= state.last):
            continue
        values = sequential.update_values(
            state.values, _make_factors(state, watched.read, day), most=state.threshold
        )
        evidence = sequential.compute_evidence(values)
        alarmed = state.alarmed
        if alarmed is None and evidence >= state.threshold * (1 - 1e-9):
            alarmed = day.day
        elif alarmed is not None and evidence <= math.sqrt(state.threshold):
            alarmed = None
        state = replace(state, values=values, last=day.day, days=state.days + 1, alarmed=alarmed)
    return state


def _find_findings(
    watched: Watched,
    state: DetectorState,
    judged: Sequence[DayOutcomes],
    reference: Reference,
    settings: Settings,
) -> Iterator[Finding]:
    days = [day for day in judged if day.day >= state.start and (state.last is None or day.day <= state.last)]
    if not days:
        return
    evidence = sequential.compute_evidence(state.values)
    level: Level = "note"
    if state.alarmed:
        level = "alarm"
    elif evidence >= WARNS_AT * state.threshold:
        level = "warning"
    factors = np.array([_make_factors(state, watched.read, day) for day in days])
    change = sequential.find_change(factors) or 0
    chosen = days[change:] if level != "note" else days[-LATELY:]
    rows, total = _sum_days(chosen, watched.read)
    few = len(chosen) < FEWEST_NOTED or not rows or watched.check == "slice"
    if level == "note" and (few or total / rows <= watched.bets.limit):
        return
    seen = Seen(
        check=watched.check,
        subject=watched.subject,
        level=level,
        since=chosen[0].day,
        day=chosen[-1].day,
        days=len(chosen),
        rows=round(rows),
        found=watched.measure_days(chosen),
        expected=watched.measure_days(reference.outcomes),
        predicted=_find_mean(chosen, read_sum("score")),
        observed=_find_mean(chosen, read_sum("target")),
        evidence=evidence,
        threshold=state.threshold,
    )
    yield describe_seen(seen, reference, settings)


def _sum_days(days: Iterable[DayOutcomes], read: Read) -> tuple[float, float]:
    known = [found for day in days if (found := read(day)) is not None]
    return math.fsum(rows for rows, _ in known), math.fsum(total for _, total in known)


def _find_mean(days: Iterable[DayOutcomes], read: Read) -> float | None:
    rows, total = _sum_days(days, read)
    return total / rows if rows else None
