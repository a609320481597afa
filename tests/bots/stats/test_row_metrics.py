"""Metrics that each row brings (task scores): weighted means over rows, held against numpy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bots.stats import intervals, metrics
from bots.stats.predictions import Predictions, PredictionsError
from bots.stats.row_metrics import define_row_metric, list_row_metrics, scale_row_differences

NUMBERS = st.floats(-1e6, 1e6, allow_nan=False)
PAIRS = st.lists(st.tuples(NUMBERS, NUMBERS, st.floats(0.01, 100.0)), min_size=1, max_size=60)


def make(candidate: np.ndarray, champion: np.ndarray | None = None, **more: object) -> Predictions:
    names = {"ndcg": "higher", "seconds": "lower"}
    return Predictions(
        task="scores",
        target=np.zeros(len(candidate)),
        candidate=candidate,
        champion=champion,
        row_metrics=names,  # type: ignore[arg-type]
        **more,  # type: ignore[arg-type]
    )


@given(PAIRS, st.booleans())
def test_a_row_metric_is_the_weighted_mean_of_its_column(
    rows: list[tuple[float, ...]], weighed: bool
) -> None:
    table = np.array(rows)
    weights = table[:, 2] if weighed else None
    both = make(table[:, :2], weights=weights)
    for place, name in enumerate(both.row_metrics):
        found = metrics.compute_value(name, both.target, both.candidate, both.contexts[1], weights)
        expected = np.average(table[:, place], weights=weights)
        assert found == pytest.approx(expected, rel=1e-9, abs=1e-9 * np.abs(table[:, place]).max(initial=1.0))


@given(st.integers(12, 60), st.integers(0, 2**32 - 1), st.booleans())
def test_a_difference_is_that_of_two_weighted_means_and_has_the_error_of_paired_rows(
    count: int, seed: int, weighed: bool
) -> None:
    rng = np.random.default_rng(seed)
    before, after = rng.normal(size=(count, 2)), rng.normal(size=(count, 2))
    weights = rng.uniform(0.5, 2.0, count) if weighed else None
    both = make(after, before, weights=weights)
    found = intervals.estimate_interval(
        intervals.choose_rows(both), both.get_measure("seconds"), confidence=0.95
    )
    change = after[:, 1] - before[:, 1]
    assert found.difference == pytest.approx(np.average(change, weights=weights))
    if weights is None:
        assert found.error == pytest.approx(change.std(ddof=1) / np.sqrt(count))
    exchanged = make(before, after, weights=weights)
    back = intervals.estimate_interval(
        intervals.choose_rows(exchanged), exchanged.get_measure("seconds"), confidence=0.95
    )
    assert back.low == pytest.approx(-found.high)  # type: ignore[operator]


def test_rows_that_are_resampled_together_are_left_out_together() -> None:
    rng = np.random.default_rng(3)
    before, after = rng.normal(size=(200, 2)), rng.normal(size=(200, 2))
    days = np.array([f"d{place // 10:02d}" for place in range(200)])
    both = make(after, before, clusters=days)
    rows = intervals.choose_rows(both)
    found = intervals.estimate_interval(rows, both.get_measure("ndcg"), confidence=0.95)
    means = (after[:, 0] - before[:, 0]).reshape(20, 10).mean(axis=1)
    assert rows.count == 20
    assert found.error == pytest.approx(means.std(ddof=1) / np.sqrt(20))


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_a_number_that_is_none_is_named_with_its_metric_and_row(wrong: float) -> None:
    rows = np.ones((20, 2))
    rows[4, 1] = wrong
    with pytest.raises(
        PredictionsError, match=r"candidate: metric:seconds: expected a finite number.*1 of 20.*row 4"
    ):
        make(rows)


def test_no_rows_and_a_missing_column_are_refused() -> None:
    with pytest.raises(PredictionsError, match="at least one row"):
        make(np.empty((0, 2)))
    with pytest.raises(PredictionsError, match=r"got shape \(20, 1\)"):
        make(np.ones((20, 1)))


def test_a_metric_that_nobody_declared_is_none() -> None:
    both = make(np.ones((20, 2)))
    assert both.find_measure("roc_auc") is None
    assert both.find_measure("mrr") is None
    measure = define_row_metric("mrr", "higher")
    assert np.isnan(measure.components(both.target, both.candidate, both.contexts[1])).all()


def test_columns_of_a_table_name_the_metrics_in_order() -> None:
    assert list_row_metrics(["row", "metric:b", "slice:a", "metric:a"]) == ("b", "a")


@given(st.floats(1e-3, 1e6), st.floats(1e-9, 1e-2))
def test_differences_are_beside_the_size_of_their_own_column(size: float, off: float) -> None:
    expected = np.stack([np.full(10, size), np.full(10, 1.0)]).T
    scores = expected.copy()
    scores[3, 0] += off * size
    found = scale_row_differences(scores, expected)
    assert found[3] == pytest.approx(off, rel=1e-6)
    assert not np.delete(found, 3).any()
