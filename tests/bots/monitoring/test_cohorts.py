"""Which days may be judged: simulated sources that are late, selective, silent, and come back."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bots.monitoring.cohorts import CohortJudgement, judge_cohorts, measure_arrival, note_look
from bots.monitoring.label_findings import describe_labels
from bots.observations import Cohort, CohortHistory, DayOutcomes, LabelCounts
from bots.settings import Labels

START = date(2026, 1, 1)
TIMED = Labels(source="labels.csv", time="known")
LOOKED = Labels(source="labels.csv")


@dataclass
class Label:
    """A label of a prediction of day `made`: when it happens, and when the source gives it out."""

    made: int
    known: int
    given: int
    positive: bool


@dataclass
class Closed:
    """A day when it was closed."""

    at: int
    state: str
    labels: list[Label]


def make_labels(
    days: int, rows: int, draw_lag: Callable[[random.Random, bool], int], *, share: float = 1.0, seed: int = 1
) -> list[Label]:
    """Labels of `rows` predictions a day, a tenth of them positive, of which a share comes, each after a lag."""
    chance = random.Random(seed)
    labels = []
    for made in range(days):
        for row in range(rows):
            positive = row % 10 == 0
            if chance.random() < share:
                known = made + draw_lag(chance, positive)
                labels.append(Label(made, known, known, positive))
    return labels


def stop_source(labels: Iterable[Label], start: int, end: int, *, late_times: bool = True) -> list[Label]:
    """Labels as they come from a source that gave none from `start` until `end`, when it gives all that waited."""
    return [
        Label(
            one.made,
            end if late_times and start <= one.known < end else one.known,
            end if start <= one.given < end else one.given,
            one.positive,
        )
        for one in labels
    ]


def day(number: int) -> str:
    return (START + timedelta(days=number)).isoformat()


def count_day(made: int, rows: int, labels: Sequence[Label], *, timed: bool) -> DayOutcomes:
    ages = Counter(one.known - made for one in labels)
    return DayOutcomes(
        day=day(made),
        version="v1",
        onnx="0" * 64,
        predicted=rows,
        labelled=len(labels),
        ages=[ages[age] for age in range(max(ages, default=-1) + 1)] if timed else [],
    )


def watch(
    labels: Sequence[Label],
    days: int,
    rows: int,
    policy: Labels,
    *,
    runs: Iterable[int],
    traffic: int | None = None,
) -> tuple[dict[int, Closed], CohortJudgement]:
    """Look on each day of `runs`, with `rows` predictions on each of the first `traffic` days."""
    closed: dict[int, Closed] = {}
    frozen: dict[int, DayOutcomes] = {}
    history: list[CohortHistory] = []
    by_day: dict[int, list[Label]] = {}
    for one in labels:
        by_day.setdefault(one.made, []).append(one)
    judged: CohortJudgement | None = None
    for run in runs:
        outcomes, had = [], {}
        for made in range(min(run + 1, days if traffic is None else traffic)):
            had[made] = [one for one in by_day.get(made, []) if one.given <= run]
            fresh = count_day(made, rows, had[made], timed=policy.time is not None)
            outcomes.append(frozen.get(made, fresh))
        judged = judge_cohorts(outcomes, history, policy, day(run))
        history = judged.history
        for made, outcome in enumerate(judged.outcomes):
            if outcome.mature and made not in frozen:
                frozen[made] = outcome
                closed[made] = Closed(run, outcome.cohort, had[made])
    assert judged is not None
    return closed, judged


def find_hasty(closed: dict[int, Closed], labels: Sequence[Label], missed: float = 0.01) -> list[int]:
    """Days that were judged although more than a share of their labels was still to come."""
    total = Counter(one.made for one in labels)
    return [
        made
        for made, one in closed.items()
        if one.state in ("mature", "timed out") and len(one.labels) < (1 - missed) * total[made]
    ]


@pytest.mark.parametrize("policy", [TIMED, LOOKED], ids=["timed", "looked"])
def test_a_day_is_judged_soon_after_its_labels_stopped_coming_though_some_never_do(policy: Labels) -> None:
    labels = make_labels(60, 100, lambda chance, _: chance.randint(12, 14), share=0.95)

    closed, judged = watch(labels, 60, 100, policy, runs=range(60))

    assert find_hasty(closed, labels) == []
    assert {one.state for one in closed.values()} == {"mature"}
    assert all(16 <= one.at - made <= 18 for made, one in closed.items())
    assert [one.state for one in judged.cohorts[-12:]] == ["pending"] * 12


@pytest.mark.parametrize("policy", [TIMED, LOOKED], ids=["timed", "looked"])
def test_positives_that_come_first_do_not_make_a_day_look_terrible(policy: Labels) -> None:
    labels = make_labels(60, 200, lambda _, positive: 1 if positive else 14)

    closed, judged = watch(labels, 60, 200, policy, runs=range(60))
    rates = [sum(one.positive for one in made.labels) / len(made.labels) for made in closed.values()]

    assert len(closed) > 40
    assert all(rate == pytest.approx(0.1) for rate in rates)
    assert judged.cohorts[-5].state == "growing"
    assert judged.cohorts[-5].labelled == 20


@pytest.mark.slow
@pytest.mark.parametrize("policy", [TIMED, LOOKED], ids=["timed", "looked"])
@pytest.mark.parametrize("late_times", [True, False], ids=["times of arrival", "times of the event"])
def test_a_source_that_falls_silent_makes_no_day_look_complete(policy: Labels, late_times: bool) -> None:
    labels = make_labels(90, 100, lambda chance, _: chance.randint(1, 20))
    labels = stop_source(labels, 40, 60, late_times=late_times)

    during, seen = watch(labels, 90, 100, policy, runs=range(60))
    closed, after = watch(labels, 90, 100, policy, runs=range(90))

    assert find_hasty(during, labels) == []
    assert find_hasty(closed, labels) == []
    assert not [made for made, one in during.items() if one.at > 43], "no day ripens while nothing comes"
    (finding,) = [one for one in describe_labels(None, seen, policy, day(59)) if one.check == "silent"]
    assert finding.level == "warning"
    assert finding.words.startswith("No label came for 20 days, since 2026-02-09, and about ")
    assert not [one for one in describe_labels(None, after, policy, day(89)) if one.check == "silent"]
    assert len(closed) > 60, "days ripen again once it speaks"


@pytest.mark.slow
@settings(max_examples=25)
@given(
    lag=st.integers(0, 15),
    spread=st.integers(0, 10),
    start=st.integers(20, 60),
    length=st.integers(1, 40),
    share=st.sampled_from([0.7, 0.9, 1.0]),
    timed=st.booleans(),
    late_times=st.booleans(),
    seed=st.integers(0, 5),
)
def test_whenever_a_source_stops_and_for_how_long_no_day_is_judged_by_half_its_labels(
    lag: int,
    spread: int,
    start: int,
    length: int,
    share: float,
    timed: bool,
    late_times: bool,
    seed: int,
) -> None:
    policy = TIMED if timed else LOOKED
    labels = make_labels(90, 60, lambda chance, _: lag + chance.randint(0, spread), share=share, seed=seed)
    labels = stop_source(labels, start, start + length, late_times=late_times)

    closed, _ = watch(labels, 90, 60, policy, runs=range(120))

    assert find_hasty(closed, labels, missed=0.02) == []


@pytest.mark.slow
@pytest.mark.parametrize("policy", [TIMED, LOOKED], ids=["timed", "looked"])
def test_a_source_that_gives_half_for_a_while_makes_no_day_look_complete(policy: Labels) -> None:
    labels = make_labels(90, 100, lambda chance, _: chance.randint(2, 6), share=0.96)
    for at, one in enumerate(labels):
        if at % 2 and 40 <= one.given < 55:
            one.known = one.given = 55 + at % 7

    closed, _ = watch(labels, 90, 100, policy, runs=range(90))

    assert find_hasty(closed, labels, missed=0.02) == []
    assert len(closed) > 65


def test_predictions_that_stop_are_no_silence_and_the_last_days_are_judged() -> None:
    labels = make_labels(30, 100, lambda chance, _: chance.randint(10, 14), share=0.95)

    for policy in (TIMED, LOOKED):
        closed, judged = watch(labels, 30, 100, policy, runs=range(80), traffic=30)

        assert sorted(closed) == list(range(30))
        assert {one.state for one in closed.values()} <= {"mature", "timed out"}
        assert describe_labels(None, judged, policy, day(79)) == []


def test_labels_that_come_once_a_week_ripen_days_week_by_week() -> None:
    labels = make_labels(90, 100, lambda chance, _: chance.randint(0, 3), share=0.97)
    for one in labels:
        one.given = -(-one.known // 7) * 7

    for policy in (TIMED, LOOKED):
        closed, judged = watch(labels, 90, 100, policy, runs=range(90))

        assert find_hasty(closed, labels) == []
        assert len(closed) > 60
        assert describe_labels(None, judged, policy, day(89)) == []


def test_a_watch_that_looks_seldom_takes_its_own_absence_for_no_silence() -> None:
    labels = make_labels(90, 100, lambda chance, _: chance.randint(1, 5), share=0.97)

    closed, _ = watch(labels, 90, 100, LOOKED, runs=[*range(30), *range(50, 90, 5)])

    assert find_hasty(closed, labels) == []
    assert len(closed) > 60


def test_labels_that_still_come_after_mature_after_are_waited_for_no_longer() -> None:
    labels = make_labels(80, 100, lambda chance, _: chance.randint(0, 60))
    policy = Labels(source="x", time="known", mature_after=40)

    closed, judged = watch(labels, 80, 100, policy, runs=range(80))

    assert {one.state for one in closed.values()} == {"timed out"}
    assert all(one.at - made == 40 for made, one in closed.items())
    assert describe_labels(None, judged, policy, day(79)) == []


def test_a_day_with_too_few_labels_is_closed_not_judged_and_told() -> None:
    labels = make_labels(60, 100, lambda chance, _: chance.randint(0, 2), share=0.3)

    closed, judged = watch(labels, 60, 100, TIMED, runs=range(60))
    (finding,) = describe_labels(None, judged, TIMED, day(59))

    assert {one.state for one in closed.values()} == {"no labels"}
    assert finding.level == "warning"
    assert finding.words == (
        "30 days are not judged (2026-01-01 to 2026-01-30): 29% of the predictions got a label, and at least 50% must, "
        "in time."
    )


def test_where_no_label_ever_came_days_wait_and_are_given_up_unjudged() -> None:
    closed, judged = watch([], 80, 100, TIMED, runs=range(80))

    assert {one.state for one in closed.values()} == {"no labels"}
    assert all(one.at - made == 60 for made, one in closed.items())
    assert {one.state for one in judged.cohorts[-60:]} == {"pending"}
    assert judged.arrival == []


def test_one_delivery_for_one_day_and_nothing_more_is_judged_in_the_end() -> None:
    labels = [Label(0, 20, 20, False) for _ in range(90)]

    closed, _ = watch(labels, 1, 100, TIMED, runs=range(45))

    assert (closed[0].at, closed[0].state) == (23, "mature")


def test_a_day_without_predictions_and_one_with_one_row_are_judged_as_they_are() -> None:
    empty = count_day(0, 0, [], timed=True)
    single = count_day(1, 1, [Label(1, 1, 1, True)], timed=True)

    states = {one.day: one.state for one in judge_cohorts([empty, single], [], TIMED, day(10)).cohorts}

    assert states == {day(0): "no labels", day(1): "mature"}


def test_a_day_that_may_still_get_predictions_is_not_closed() -> None:
    today = count_day(5, 10, [Label(5, 5, 5, True)] * 10, timed=True)

    assert judge_cohorts([today], [], TIMED, day(6)).cohorts[0].state == "growing"


def test_two_versions_of_a_day_ripen_together() -> None:
    labels = make_labels(40, 100, lambda chance, _: chance.randint(0, 3), share=0.96)
    outcomes = [
        DayOutcomes(
            day=day(made),
            version=version,
            onnx="0" * 64,
            predicted=50,
            labelled=len(own),
            ages=[len(own)],
        )
        for made in range(40)
        for at, version in enumerate(("v1", "shadow"))
        for own in [[one for one in labels if one.made == made and one.given <= 39][at::2]]
    ]

    judged = judge_cohorts(outcomes, [], TIMED, day(39))

    assert len(judged.cohorts) == 40
    assert {(one.version, one.mature) for one in judged.outcomes if one.day == day(10)} == {
        ("v1", True),
        ("shadow", True),
    }
    assert judged.cohorts[10] == Cohort(
        day=day(10), predicted=100, labelled=sum(one.made == 10 for one in labels), state="mature"
    )


def test_how_labels_come_is_a_curve_over_days_whose_labels_are_there() -> None:
    labels = make_labels(40, 100, lambda _, positive: 0 if positive else 5)

    _, judged = watch(labels, 40, 100, TIMED, runs=range(40))

    assert judged.arrival == pytest.approx([0.1, 0.1, 0.1, 0.1, 0.1, 1.0])
    assert measure_arrival([]) == []


def test_a_second_look_on_one_day_changes_nothing() -> None:
    outcomes = [count_day(0, 10, [Label(0, 1, 1, True)] * 4, timed=False)]
    once = note_look([], outcomes, day(3))

    assert note_look(once, outcomes, day(3)) == once
    for run in range(4, 30):
        once = note_look(once, outcomes, day(run))
    assert once == [CohortHistory(day=day(0), looks={day(3): 4, day(29): 4})]


EMPTY = judge_cohorts([], [], TIMED, day(0))


def test_no_source_is_a_state_that_says_that_performance_cannot_be_seen() -> None:
    (finding,) = describe_labels(None, EMPTY, Labels(), day(0))

    assert (finding.level, finding.check) == ("note", "no source")
    assert finding.words == (
        "No labels come (monitoring.labels.source is null): whether the answers are right cannot be seen."
    )


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        (
            LabelCounts(rows=0, joined=0),
            [("empty", "warning", "The labels' source answers, but it holds no row.")],
        ),
        (
            LabelCounts(rows=9, joined=0, orphaned=9, examples={"orphaned": "flight 7"}),
            [
                (
                    "orphaned",
                    "warning",
                    (
                        "None of 9 labels belongs to a prediction that waits for one (such as flight 7): is a "
                        "prediction named by prediction:id, and written as it was asked?"
                    ),
                )
            ],
        ),
        (
            LabelCounts(rows=4000, joined=1000, orphaned=3000),
            [
                (
                    "orphaned",
                    "note",
                    "3,000 of 4,000 labels belong to no prediction that waits for one: it is older, or was never made.",
                )
            ],
        ),
        (
            LabelCounts(
                rows=110, joined=100, duplicated=12, contradicted=2, examples={"contradicted": "flight 7"}
            ),
            [
                (
                    "contradicted",
                    "warning",
                    "2 of 100 predictions have different labels (such as flight 7); none of these is used.",
                ),
                ("duplicated", "note", "10 predictions have their label several times; it counts once."),
            ],
        ),
        (
            LabelCounts(rows=1000, joined=990, unreadable=9, early=1, examples={"unreadable": "soon"}),
            [
                (
                    "unreadable",
                    "note",
                    "9 of 1,000 labels are not what is predicted (such as soon); they are not used.",
                ),
                (
                    "early",
                    "note",
                    (
                        "1 of 990 labels say that they were known before their prediction was made: clocks disagree, "
                        "or names are used again."
                    ),
                ),
            ],
        ),
        (
            LabelCounts(rows=10, joined=5, keyless=5, future=1, shared=4),
            [
                (
                    "keyless",
                    "warning",
                    "5 of 10 labels do not say which prediction they are about, or not as the log can tell.",
                ),
                (
                    "future",
                    "warning",
                    "1 of 10 labels say that they will be known later than now: a clock is wrong.",
                ),
                (
                    "shared",
                    "note",
                    (
                        "4 predictions share their label with another one of the same prediction:id: asked again, or "
                        "answered by two versions."
                    ),
                ),
            ],
        ),
    ],
    ids=["empty", "nothing joins", "older", "contradicted", "unreadable", "keyless"],
)
def test_what_cannot_be_used_is_told_in_a_sentence_with_an_example(
    counts: LabelCounts, expected: list[tuple[str, str, str]]
) -> None:
    found = describe_labels(counts, EMPTY, TIMED, day(0))

    assert [(one.check, one.level, one.words) for one in found] == expected
