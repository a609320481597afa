"""Harm is told from chance: the budget is kept, what is worse is named with its day, and a person can begin anew."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from bots.monitoring import performance
from bots.monitoring.performance import PerformanceJudgement, Restart
from bots.monitoring.reference import Reference
from bots.observations import DayOutcomes, Decision, Deployment, DetectorState, Finding
from bots.settings import Settings
from bots.stats.losses import BoundedLoss
from fixtures.watched import VERSION, draw_days, make_day, make_reference, make_settings, name_day

RESTART = Restart(day=name_day(0), why="v1.0.0 was deployed by ann")


def judge(
    days: list[DayOutcomes],
    state: list[DetectorState] | None = None,
    *,
    reference: Reference | None = None,
    settings: Settings | None = None,
    restart: Restart = RESTART,
) -> PerformanceJudgement:
    return performance.judge_performance(
        days,
        state or [],
        reference or make_reference(),
        settings or make_settings(),
        restart=restart,
    )


def find(judgement: PerformanceJudgement, **wanted: Any) -> list[Finding]:
    return [
        one
        for one in judgement.findings
        if all(getattr(one, name) == value for name, value in wanted.items())
    ]


def test_a_model_that_is_as_it_was_is_well() -> None:
    judgement = judge(draw_days(120))
    assert not find(judgement, level="alarm")
    assert not find(judgement, level="warning")
    assert {one.days for one in judgement.detectors} == {120}
    assert judgement.judged == name_day(119)


def test_a_higher_log_loss_is_an_alarm_that_says_since_when_and_by_how_much() -> None:
    judgement = judge([*draw_days(40), *draw_days(60, first=40, worse=0.25)])
    alarm = find(judgement, level="alarm", check="loss")[0]
    assert alarm.since is not None
    assert name_day(36) <= alarm.since <= name_day(42)
    assert "The log loss is 0.7" in alarm.words
    assert "where the review's holdout had 0.4987" in alarm.words
    assert "rows of" in alarm.words
    assert alarm.found == pytest.approx(0.75, abs=0.02)
    assert alarm.expected == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize(("high", "words"), [(0.15, "too high"), (-0.15, "too low")])
def test_predictions_that_are_off_alarm_on_their_side_although_the_loss_is_better(
    high: float, words: str
) -> None:
    judgement = judge(draw_days(80, worse=-0.1, high=high))
    alarm = find(judgement, level="alarm")
    assert [one.subject for one in alarm] == [words]
    assert f"Predictions are {words}: {'39' if high > 0 else '9'}" in alarm[0].words
    assert "and 25.0% came" in alarm[0].words


def test_a_slice_alarms_by_its_name_where_the_rest_is_well() -> None:
    reference = make_reference(draw_days(60, first=-60, carriers=("AA", "UA")))
    days = [
        replace(
            day,
            slices={
                "carrier": {
                    **day.slices["carrier"],
                    "UA": replace(day.slices["carrier"]["UA"], loss=0.3 * 100, metric=1.2 * 100),
                }
            },
        )
        for day in draw_days(60, carriers=("AA", "UA"))
    ]
    alarms = find(judge(days, reference=reference), level="alarm")
    assert [one.subject for one in alarms] == ["carrier=UA"]
    assert "Of carrier=UA, the log loss is 1.2" in alarms[0].words


def test_a_fall_of_the_value_is_told_in_money() -> None:
    days = [make_day(number, value=-2.0) for number in range(60)]
    alarm = find(judge(days), level="alarm")
    assert [one.subject for one in alarm] == ["value"]
    assert "Decisions earn less: −2" in alarm[0].words
    assert "USD a row" in alarm[0].words


def test_the_budget_is_shared_by_all_that_can_alarm() -> None:
    reference = make_reference(draw_days(60, first=-60, carriers=("AA", "UA", "DL")))
    for every, days in (("5 years", 1826.25), ("90 days", 90)):
        watched = performance.list_watched(reference, make_settings(false_alarm_every=every))
        assert len(watched) == 7
        assert sum(days / one.threshold for one in watched) == pytest.approx(1)


def test_drift_has_its_share_only_where_it_can_act() -> None:
    drift = make_settings(retrain={"when": ["performance", "drift"]})
    watched = performance.list_watched(make_reference(), drift)
    shares = sum(1826.25 / one.threshold for one in watched)
    assert shares + 1826.25 / performance.find_drift_threshold(drift) == pytest.approx(1)
    assert performance.find_drift_threshold(make_settings()) == pytest.approx(1826.25)


@pytest.mark.slow
def test_false_alarms_are_as_rare_as_was_asked_for() -> None:
    """400 years of a model as it was, one alarm each 90 days asked for: fewer come."""
    settings, alarms, days = make_settings(false_alarm_every="90 days"), 0, 0
    for seed in range(40):
        reference = make_reference(draw_days(60, first=-60, seed=seed))
        state: list[DetectorState] = judge(
            draw_days(180, seed=seed + 100), reference=reference, settings=settings
        ).detectors
        alarms += any(one.alarmed for one in state)
        days += 180
    assert alarms <= days / 90


@pytest.mark.slow
def test_day_by_day_comes_to_the_same_as_all_at_once() -> None:
    days = [*draw_days(20), *draw_days(30, first=20, worse=0.1)]
    state: list[DetectorState] = []
    for end in range(1, len(days) + 1):
        state = judge(days[:end], state).detectors
    assert state == judge(days).detectors
    assert judge(days, state).detectors == state


def test_days_that_are_not_mature_wait_and_none_after_them_is_taken_first() -> None:
    days = draw_days(10)
    waiting = [*days[:5], replace(days[5], mature=False), *days[6:]]
    first = judge(waiting)
    assert first.judged == name_day(4)
    assert judge(days, first.detectors).detectors == judge(days).detectors


def test_a_day_with_too_few_labels_is_left_out() -> None:
    days = draw_days(10)
    assert judge([*days[:9], replace(days[9], predicted=10_000)]).judged == name_day(8)


def test_a_day_of_which_nobody_can_tell_whether_its_labels_are_all_there_is_left_out() -> None:
    days = draw_days(10)
    assert judge([*days[:9], replace(days[9], cohort="no labels")]).judged == name_day(8)


def test_days_of_another_version_and_of_the_time_before_are_not_judged() -> None:
    days = [*draw_days(5, first=-5, worse=9), *draw_days(5), *draw_days(9, first=5, version="v0.9.0")]
    assert {one.days for one in judge(days).detectors} == {5}


def test_an_acknowledged_alarm_begins_anew_and_says_whose_word_it_was() -> None:
    days = draw_days(60, worse=0.4)
    before = judge(days)
    assert find(before, level="alarm")
    decision = Decision(trouble="performance", what="acknowledged", by="@ann", at=f"{name_day(59)}T12:00:00Z")
    restart = performance.find_restart(VERSION, name_day(0), [], [decision])
    after = judge(days, before.detectors, restart=restart)
    assert not find(after, level="alarm")
    assert {one.why for one in after.detectors} == {"@ann acknowledged the alarm"}
    assert {one.start for one in after.detectors} == {name_day(59)}


def test_a_rollback_begins_anew() -> None:
    def deploy(version: str, day: int, reason: str | None = None) -> Deployment:
        return Deployment(
            version=version, at=f"{name_day(day)}T01:00:00Z", by="bob", commit="c", reason=reason
        )

    known = [deploy(VERSION, 0), deploy("v2.0.0", 10), deploy(VERSION, 20, "roll back")]
    restart = performance.find_restart(VERSION, name_day(0), known, [])
    assert restart == Restart(day=name_day(20), why="v1.0.0 was deployed by bob: roll back")


def test_what_is_tolerated_by_params_yaml_can_change_and_the_detector_begins_anew() -> None:
    days = draw_days(30)
    before = judge(days[:20]).detectors
    after = judge(days, before, settings=make_settings(harm={"calibration": 0.1})).detectors
    changed = {one.name for one in after if one.why.startswith("what is tolerated")}
    assert changed == {"calibration: too high", "calibration: too low"}
    assert {one.days for one in after if one.name in changed} == {10}


def test_an_alarm_is_over_once_days_are_good_again() -> None:
    bad = draw_days(40, worse=0.4)
    state = judge(bad).detectors
    loss = next(one for one in state if one.name == "loss")
    assert loss.alarmed
    assert np.mean(loss.values) <= loss.threshold * 1.001
    well = judge([*bad, *draw_days(60, first=40, worse=-0.05)], state)
    assert not find(well, level="alarm")


def test_a_holdout_without_days_still_finds_great_harm() -> None:
    whole = [make_day(0, rows=50_000, day="0001-01-01")]
    reference = make_reference(whole, by_day=False)
    assert not find(judge(draw_days(60), reference=reference), level="alarm")
    assert find(judge(draw_days(200, high=0.4), reference=reference), level="alarm", check="calibration")


def test_what_may_be_chance_is_noted_with_that() -> None:
    days = draw_days(20, high=0.07)
    found = find(judge(days), check="calibration")
    assert found
    assert found[0].level in {"note", "warning"}
    assert "chance" in found[0].words or "not sure" in found[0].words


def test_the_value_earned_stands_beside_what_was_promised() -> None:
    judgement = judge([make_day(number, value=1.0) for number in range(3)])
    assert judgement.earned == pytest.approx(3_000)
    assert judgement.expected_earned == pytest.approx(3_600, rel=0.1)


def test_curves_tell_of_days_that_are_not_mature_too() -> None:
    days = [*draw_days(3), *draw_days(2, first=3, mature=False)]
    series = {one.name: one for one in judge(days).series}
    assert next(iter(series)) == "log_loss"
    assert {"predicted", "observed", "value", "brier"} <= set(series)
    assert [point.mature for point in series["observed"].points] == [True] * 3 + [False] * 2
    assert series["log_loss"].reference == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_one_row_one_day_and_no_day_raise_nothing(task: Any) -> None:
    settings = make_settings(task)
    plain = "log_loss" if task == "classification" else "mae"
    reference = make_reference(task=task, primary=plain)
    for days in ([], [make_day(0, rows=1)], [make_day(0, rows=0)]):
        judgement = performance.judge_performance(days, [], reference, settings, restart=RESTART)
        assert not find(judgement, level="alarm")


def test_a_quantile_is_watched_by_its_own_loss_as_primary_metric_and_as_guard() -> None:
    def make_days(first: int, count: int, worse: float = 0.0) -> list[DayOutcomes]:
        days = draw_days(count, first=first)
        return [
            replace(
                day,
                sums={
                    **day.sums,
                    "pinball:0.1": day.sums["absolute_error"] * (1 + worse),
                    "error": 0.0,
                },
            )
            for day in days
        ]

    gate = {
        "primary": "pinball:0.9",
        "guards": ["pinball:0.1"],
        "matters": {"pinball:0.9": 0.01, "pinball:0.1": 0.01},
    }
    settings = make_settings()
    settings = replace(
        settings,
        gate=replace(settings.gate, **gate),
        evaluate=replace(settings.evaluate, metrics=[*gate["matters"]]),
    )
    loss = BoundedLoss(plain="pinball:0.9", limit=4.0)
    reference = replace(
        make_reference(make_days(-60, 60)), task="regression", primary="pinball:0.9", loss=loss
    )
    assert performance.find_matter(reference, settings) == 0.01
    watched = performance.list_watched(reference, settings)
    assert [(one.name, one.subject) for one in watched] == [
        ("loss", "pinball:0.9"),
        ("guard: pinball:0.1", "pinball:0.1"),
    ]
    judgement = judge(make_days(0, 60, worse=0.5), reference=reference, settings=settings)
    alarm = find(judgement, level="alarm")
    assert [one.subject for one in alarm] == ["pinball:0.1"]
    assert "The pinball loss at 0.1 is" in alarm[0].words
    assert [one.name for one in judgement.series][:2] == ["pinball:0.9", "pinball:0.1"]
