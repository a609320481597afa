"""Change is ranked among the reference's own days, named where it is, reported, and pages nobody."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from bots.monitoring import column_distances, drift
from bots.monitoring.column_distances import DayGroups, ReferenceDistances, compute_distances, count_bins
from bots.monitoring.drift import DriftJudgement
from bots.monitoring.performance import Restart
from bots.monitoring.reference import ColumnReference
from bots.observations import CategorySummary, DayInputs, DriftRank, NumberSummary
from bots.settings import Settings
from bots.stats import evalues
from fixtures.watched import make_reference, make_settings, name_day
from fixtures.watched_inputs import draw_inputs, make_input_reference

pytestmark = pytest.mark.slow

RESTART = Restart(day=name_day(0), why="deployed")
REFERENCE = make_input_reference()


def judge(
    inputs: list[DayInputs], state: Any = None, *, settings: Settings | None = None, **more: Any
) -> DriftJudgement:
    given = {"reference": REFERENCE, "complete": name_day(10_000), "restart": RESTART, **more}
    return drift.judge_drift(inputs, state=state, settings=settings or make_settings(), **given)


def name(judgement: DriftJudgement) -> set[str]:
    return {f"{rank.kind}:{rank.column}" for rank in judgement.ranks if rank.named}


def test_days_like_the_reference_are_not_told() -> None:
    judgement = judge(draw_inputs(90))
    assert not judgement.findings
    assert not name(judgement)
    assert "ranked among 120 days" in judgement.words


def test_a_column_that_moved_is_named_and_pages_nobody() -> None:
    judgement = judge([*draw_inputs(20), *draw_inputs(40, first=20, shift=1.0)])
    assert "input:x0" in name(judgement)
    assert len(name(judgement)) <= 2
    assert {one.level for one in judgement.findings} <= {"note", "warning"}
    assert "x0" in judgement.findings[0].words
    assert "no harm is shown by it alone" in judgement.findings[0].words


def test_what_comes_to_be_missing_is_named_as_missing() -> None:
    judgement = judge(draw_inputs(30, gone=0.2))
    assert name(judgement) == {"missing:x0"}
    assert "x0 (missing values)" in judgement.findings[0].words


def test_a_change_that_goes_on_is_a_warning_and_an_alarm_only_where_it_may_act() -> None:
    days = draw_inputs(150, shift=3.0)
    short: dict[str, Any] = {"false_alarm_every": "200 days"}
    warning = judge(days, settings=make_settings(**short))
    assert [one.level for one in warning.findings] == ["warning"]
    assert warning.findings[0].since is not None
    assert warning.findings[0].since <= name_day(10)
    acting = make_settings(**short, retrain={"when": ["performance", "drift"]})
    assert [one.level for one in judge(days, settings=acting).findings] == ["alarm"]


def test_a_column_that_is_as_it_was_again_loses_its_name() -> None:
    """Current values: what was once seen does not name a column for ever."""
    moved = judge(draw_inputs(30, shift=1.0))
    assert "input:x0" in name(moved)
    back = judge([*draw_inputs(30, shift=1.0), *draw_inputs(30, first=30)], moved.state)
    assert "input:x0" not in name(back)


def test_day_by_day_comes_to_the_same_as_all_at_once() -> None:
    days = draw_inputs(15, shift=0.5)
    state = None
    for end in range(1, 16):
        state = judge(days[:end], state).state
    assert state == judge(days).state
    again = judge(days, state)
    assert again.state == state
    assert again.ranks == judge(days).ranks


def test_a_day_whose_log_is_not_whole_waits() -> None:
    judgement = judge(draw_inputs(5), complete=name_day(2))
    assert judgement.state is not None
    assert judgement.state.last == name_day(2)


def test_few_rows_a_day_are_held_against_as_few() -> None:
    """A twentieth of the reference's rows: by the whole days' distances each of these would be unusual."""
    assert not judge(draw_inputs(60, rows=40)).findings


def test_a_day_with_a_handful_of_rows_is_counted_and_not_ranked() -> None:
    judgement = judge([*draw_inputs(2), *draw_inputs(3, first=2, rows=5)])
    assert judgement.state is not None
    assert (judgement.state.days, judgement.state.skipped) == (2, 3)
    assert "3 days had too few rows" in judgement.words


def test_without_days_of_the_training_rows_it_says_that_it_cannot_tell() -> None:
    judgement = judge(draw_inputs(3), reference=make_reference(notes=["The training rows have no day."]))
    assert not judgement.findings
    assert "no change can be told" in judgement.words
    assert "have no day" in judgement.words


def test_another_version_begins_anew() -> None:
    before = judge(draw_inputs(10, shift=2.0)).state
    restart = Restart(day=name_day(10), why="v1.0.0 was deployed by bob: roll back")
    after = judge(draw_inputs(12, shift=2.0), before, restart=restart).state
    assert after is not None
    assert (after.start, after.days) == (name_day(10), 2)


def test_weekdays_are_held_against_their_own_kind_where_there_are_enough() -> None:
    groups = DayGroups([name_day(at) for at in range(70)])
    alike = groups.find_alike(name_day(70))
    assert alike.sum() == 10
    assert DayGroups([name_day(at) for at in range(20)]).find_alike(name_day(20)).sum() == 20
    year = DayGroups([name_day(at) for at in range(730)]).find_alike(name_day(730))
    assert 20 <= year.sum() <= 28


@given(
    st.lists(st.integers(0, 50), min_size=4, max_size=4), st.lists(st.integers(0, 50), min_size=4, max_size=4)
)
def test_a_distance_is_between_0_and_1_and_the_same_from_both_sides(one: list[int], other: list[int]) -> None:
    first, second = np.array([one], dtype=float), np.array([other], dtype=float)
    found = compute_distances(first, second)[0]
    assert 0 <= found <= 1
    assert found == pytest.approx(compute_distances(second, first)[0])
    assert compute_distances(first, 7 * first)[0] == pytest.approx(0, abs=1e-7)


def test_rows_that_share_no_bin_are_as_far_apart_as_can_be() -> None:
    assert compute_distances(np.array([[5.0, 0.0]]), np.array([[0.0, 9.0]]))[0] == pytest.approx(1)


def test_a_category_that_training_did_not_show_counts_as_other() -> None:
    column = ColumnReference(kind="category", names=["AA", "UA"], rows=[[1, 1, 0]], missing=[0])
    summary = CategorySummary(rows=10, missing=1, counts={"AA": 3, "ZZ": 5}, other=1, unseen=5)
    assert count_bins(summary, column).tolist() == [3, 0, 6]  # type: ignore[union-attr]


def test_a_column_that_became_something_else_is_left_to_the_checks_of_health() -> None:
    number = ColumnReference(kind="number", edges=[0.5], rows=[[1, 1]], missing=[0])
    assert count_bins(CategorySummary(rows=1, missing=0, counts={"a": 1}), number) is None
    assert count_bins(NumberSummary(rows=5, missing=5), number) is None
    assert count_bins(NumberSummary(rows=5, missing=0, sketch=b"none"), number) is None


def test_e_values_of_columns_are_not_above_one_on_average() -> None:
    distances, found = ReferenceDistances(REFERENCE), []
    for day in draw_inputs(200, seed=7):
        found += [
            column_distances.Ranked(one.column, one.kind, one.distance, one.others)
            for one in distances.rank_day(day)
        ]
    values = [evalues.compute_rank_evalue(one.distance, one.others) for one in found]
    assert np.mean(values) <= 1.15


def test_an_empty_day_changes_nothing() -> None:
    day = draw_inputs(1)[0]
    empty = DayInputs(day=day.day, version=day.version, onnx=day.onnx, rows=0)
    assert judge([empty]).state == replace(judge([]).state, last=day.day, skipped=1)  # type: ignore[type-var]


def test_many_columns_are_named_in_one_line() -> None:
    ranks = [
        DriftRank(
            column=f"c{at}",
            kind="input",
            distance=1.0,
            usual=0.1,
            rank=9,
            references=8,
            evidence=99.0,
            named=True,
        )
        for at in range(9)
    ]
    assert drift._list_columns(ranks) == "c0, c1, c2, c3, c4 and 4 more"
