"""Metrics: the same values as scikit-learn, components that average to them, names for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from bots.evidence import Costs
from bots.stats import deviances, metrics
from bots.stats.metrics import Context
from fixtures import simulated

if TYPE_CHECKING:
    from pipeline.params import Task

SEEDS = st.integers(0, 2**32 - 1)
COSTS = Costs(currency="USD", true_positive=12.0, false_positive=-4.0, true_negative=0.5, false_negative=-1.0)


def labels_and_scores(seed: int, rows: int, decimals: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores rounded to a few digits, so that many are tied."""
    random = np.random.default_rng(seed)
    target = (random.random(rows) < 0.3).astype(np.float64)
    score = np.clip(0.3 * target + random.random(rows) * 0.7, 0, 1)
    return target, np.round(score, decimals)


@pytest.mark.slow
@given(SEEDS, st.integers(5, 300), st.integers(1, 6))
@settings(max_examples=60, deadline=None)
def test_classification_metrics_are_those_of_scikit_learn(seed: int, rows: int, decimals: int) -> None:
    y, s = labels_and_scores(seed, rows, decimals)
    assume(0 < y.sum() < rows)
    called = s >= 0.5
    expected = {
        "roc_auc": sk.roc_auc_score(y, s),
        "average_precision": sk.average_precision_score(y, s),
        "log_loss": sk.log_loss(y, s),
        "brier": sk.brier_score_loss(y, s),
        "accuracy": sk.accuracy_score(y, called),
        "precision": sk.precision_score(y, called, zero_division=0),
        "recall": sk.recall_score(y, called),
        "f1": sk.f1_score(y, called),
    }
    for name, value in expected.items():
        assert metrics.compute_value(name, y, s, Context(threshold=0.5)) == pytest.approx(value, abs=1e-9), (
            name
        )


@given(SEEDS, st.integers(3, 300))
@settings(max_examples=60, deadline=None)
def test_regression_metrics_are_those_of_scikit_learn(seed: int, rows: int) -> None:
    random = np.random.default_rng(seed)
    y = random.normal(size=rows) * 30
    s = y + random.normal(size=rows) * 10 + 1
    expected = {
        "mae": sk.mean_absolute_error(y, s),
        "rmse": sk.root_mean_squared_error(y, s),
        "r2": sk.r2_score(y, s),
        "median_absolute_error": sk.median_absolute_error(y, s),
        "bias": np.mean(s - y),
    }
    for name, value in expected.items():
        assert metrics.compute_value(name, y, s, Context()) == pytest.approx(value, rel=1e-9, abs=1e-9), name


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_the_pipeline_reports_the_values_that_the_bots_recompute(task: Task) -> None:
    from pipeline import metrics as pipeline
    from pipeline.params import Costs
    from pipeline.scored_rows import Rows

    drawn = simulated.draw_predictions(task, 4_000, np.random.default_rng(3))
    costs = msgspec.convert(msgspec.to_builtins(drawn.costs), Costs)
    rows = Rows(drawn.target, drawn.candidate, 0.3, costs)
    context = drawn.contexts[1]
    for name in simulated.METRICS[task]:
        theirs = pipeline.compute(name, rows, task)
        assert theirs is not None
        ours = metrics.compute_value(name, drawn.target, drawn.candidate, context)
        assert ours == pytest.approx(theirs, abs=1e-9), name
        assert pipeline.METRICS[name].direction == metrics.MEASURES[name].direction
    assert set(pipeline.METRICS) == {*metrics.MEASURES, *deviances.DEVIANCES}


def test_a_perfectly_calibrated_bin_adds_nothing_and_a_wrong_one_its_share() -> None:
    score = np.repeat([0.2, 0.8], 100)
    target = np.concatenate([np.repeat([1.0, 0.0], [20, 80]), np.repeat([1.0, 0.0], [60, 40])])
    found = metrics.compute_value("expected_calibration_error", target, score, Context(bins=2))
    assert found == pytest.approx(0.5 * abs(0.8 - 0.6))


def test_value_reads_the_four_cells_of_the_cost_matrix() -> None:
    target, score = np.array([1.0, 1.0, 0.0, 0.0]), np.array([0.9, 0.1, 0.9, 0.1])
    found = metrics.compute_value("value", target, score, Context(threshold=0.5, costs=COSTS))
    assert found == pytest.approx((12.0 - 1.0 - 4.0 + 0.5) / 4)


def test_value_of_a_regression_prices_each_unit_too_little_or_too_much() -> None:
    context = Context(costs=Costs(currency="USD", under=-1.0, over=-0.4))
    assert metrics.compute_value(
        "value", np.array([10.0, 10.0]), np.array([7.0, 15.0]), context
    ) == pytest.approx(-2.5)


@pytest.mark.slow
@given(SEEDS)
@settings(max_examples=25, deadline=None)
def test_average_precision_is_linearised_by_its_true_derivative(seed: int) -> None:
    y, s = labels_and_scores(seed, 60, 1)
    assume(3 < y.sum() < 57)
    components = metrics.MEASURES["average_precision"].components(y, s, Context())
    for row in range(0, 60, 7):
        nudged = np.ones(60)
        nudged[row] += 1e-6
        exact = sk.average_precision_score(y, s, sample_weight=nudged) - sk.average_precision_score(y, s)
        linear = _share(np.average(components, axis=0, weights=nudged)) - _share(components.mean(axis=0))
        assert linear == pytest.approx(exact, abs=1e-9)


@pytest.mark.slow
@given(SEEDS)
@settings(max_examples=25, deadline=None)
def test_roc_auc_is_linearised_by_its_true_derivative(seed: int) -> None:
    y, s = labels_and_scores(seed, 60, 1)
    assume(3 < y.sum() < 57)
    measure = metrics.MEASURES["roc_auc"]
    components = measure.components(y, s, Context())
    for row in range(0, 60, 7):
        nudged = np.ones(60)
        nudged[row] += 1e-6
        exact = sk.roc_auc_score(y, s, sample_weight=nudged) - sk.roc_auc_score(y, s)
        linear = measure.combine(np.average(components, axis=0, weights=nudged)) - measure.combine(
            components.mean(axis=0)
        )
        assert float(linear) == pytest.approx(exact, abs=1e-9)


def _share(means: np.ndarray) -> float:
    return float(means[0] / means[1])


@pytest.mark.parametrize("name", ["roc_auc", "average_precision", "recall", "f1"])
@pytest.mark.parametrize("only", [0.0, 1.0])
def test_a_metric_that_needs_both_classes_has_no_value_without_them(name: str, only: float) -> None:
    assert (
        metrics.compute_value(name, np.full(30, only), np.linspace(0, 1, 30), Context(threshold=0.5)) is None
    )


def test_r2_of_a_constant_target_has_no_value() -> None:
    assert metrics.compute_value("r2", np.ones(10), np.linspace(0, 1, 10), Context()) is None


def test_no_rows_have_no_metric() -> None:
    assert metrics.compute_value("mae", np.array([]), np.array([]), Context()) is None


def test_a_metric_has_a_name_for_people() -> None:
    assert metrics.find_label("roc_auc") == "ROC AUC"
    assert metrics.find_label("our_own_metric") == "our own metric"


def test_the_unit_of_value_names_the_currency_and_no_other_metric_has_one() -> None:
    assert metrics.find_unit("value", COSTS) == "USD per row"
    assert metrics.find_unit("roc_auc", COSTS) is None


@pytest.mark.parametrize("scale", [1e-24, 1.0, 1e18])
def test_scores_of_a_quantity_are_as_far_apart_as_their_size_says(scale: float) -> None:
    expected = np.array([3.0, -4.0, 0.0]) * scale
    found = metrics.scale_differences(expected * 1.01, expected, "regression")
    assert found == pytest.approx([0.01 * 3 / 3, 0.01, 0.0], rel=1e-9)
    assert metrics.scale_differences(np.full(3, scale), np.zeros(3), "regression").max() > 0


def test_probabilities_are_as_far_apart_as_they_are() -> None:
    found = metrics.scale_differences(np.array([0.011]), np.array([0.001]), "classification")
    assert found == pytest.approx([0.01])
