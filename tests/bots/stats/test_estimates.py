"""Estimates before labels: right where scores mean what they meant, and equal to the metrics where labels are known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import roc_auc_score

from bots.evidence import Costs
from bots.stats import estimates
from bots.stats.estimates import Bins
from bots.stats.metrics import Context, compute_value

CONTEXT = Context(
    threshold=0.3,
    costs=Costs(
        currency="USD", true_positive=12.0, false_positive=-4.0, true_negative=0.0, false_negative=-1.0
    ),
)


@given(
    st.lists(st.tuples(st.integers(0, 30), st.floats(0, 1)), min_size=1, max_size=40).filter(
        lambda bins: any(rows for rows, _ in bins)
    )
)
def test_rates_are_those_of_isotonic_regression(bins: list[tuple[int, float]]) -> None:
    rows = np.array([rows for rows, _ in bins], dtype=float)
    positives = np.floor(rows * np.array([share for _, share in bins]))
    there = rows > 0
    wanted = IsotonicRegression().fit_transform(
        np.flatnonzero(there), positives[there] / rows[there], sample_weight=rows[there]
    )
    found = estimates.fit_rates(rows, positives)
    assert found[there] == pytest.approx(wanted, abs=1e-9)
    assert np.all(np.diff(found) >= -1e-12)


def test_without_rows_there_is_no_rate() -> None:
    with pytest.raises(ValueError, match="no bin has rows"):
        estimates.fit_rates(np.zeros(3), np.zeros(3))
    with pytest.raises(ValueError, match="no bin has rows"):
        estimates.fit_losses(np.zeros(3), np.zeros(3))


@pytest.mark.parametrize("name", ["roc_auc", "log_loss", "brier", "accuracy", "value"])
def test_with_known_labels_the_bins_give_the_metric(name: str) -> None:
    chance = np.random.default_rng(3)
    score = np.round(chance.random(3_000), 2)
    target = (chance.random(3_000) < score).astype(float)
    edges, place = np.unique(score, return_inverse=True)
    bins = Bins(np.bincount(place).astype(float), edges, np.bincount(place, weights=target).astype(float))
    assert estimates.estimate_metric(name, bins, CONTEXT) == pytest.approx(
        compute_value(name, target, score, CONTEXT), abs=1e-9
    )


def test_the_estimate_is_right_where_other_rows_come_and_scores_mean_what_they_meant() -> None:
    chance = np.random.default_rng(4)
    edges = np.linspace(0, 1, 101)
    middles = (edges[:-1] + edges[1:]) / 2

    def draw(rows: int, a: float, b: float) -> tuple[np.ndarray, np.ndarray]:
        score = chance.beta(a, b, size=rows)
        return score, (chance.random(rows) < score**1.5).astype(float)

    score, target = draw(200_000, 2, 4)
    place = np.minimum((score * 100).astype(int), 99)
    rates = estimates.fit_rates(
        np.bincount(place, minlength=100).astype(float),
        np.bincount(place, weights=target, minlength=100).astype(float),
    )
    score, target = draw(200_000, 4, 3)
    rows = np.bincount(np.minimum((score * 100).astype(int), 99), minlength=100).astype(float)
    bins = Bins(rows, middles, rows * rates)
    assert estimates.estimate_metric("target", bins, CONTEXT) == pytest.approx(target.mean(), abs=0.01)
    assert estimates.estimate_metric("roc_auc", bins, CONTEXT) == pytest.approx(
        roc_auc_score(target, score), abs=0.01
    )
    assert estimates.estimate_metric("log_loss", bins, CONTEXT) == pytest.approx(
        compute_value("log_loss", target, score, CONTEXT), abs=0.02
    )


def test_no_rows_and_one_class_have_no_value() -> None:
    assert estimates.estimate_metric("target", Bins(np.zeros(2), np.ones(2), np.zeros(2)), CONTEXT) is None
    one = Bins(np.ones(2), np.array([0.2, 0.7]), np.zeros(2))
    assert estimates.compute_auc(one) is None
    assert estimates.estimate_metric("f1", one, CONTEXT) is None


def test_mean_losses_reach_over_bins_without_rows() -> None:
    found = estimates.fit_losses(np.array([2.0, 0.0, 4.0]), np.array([2.0, 0.0, 12.0]))
    assert found.tolist() == [1, 2, 3]


def test_the_error_of_an_auc_is_the_published_one() -> None:
    """Hanley & McNeil 1982, page 33: 0.893 with 51 abnormal and 58 normal images has a standard error of 0.032."""
    assert estimates.compute_auc_error(0.893, 51, 58) == pytest.approx(0.032, abs=0.001)
