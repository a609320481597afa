"""Metrics from what is kept of a day: the exact ones of `bots/stats/metrics.py`, within the bound that they state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bots.monitoring.summaries import summarize_outcomes
from bots.stats.binned_metrics import compute_metric
from bots.stats.metrics import MEASURES, Context, compute_value
from fixtures import flights
from fixtures.prediction_log import make_regression_spec, make_spec

if TYPE_CHECKING:
    from bots.monitoring.summary_spec import SummarySpec
    from bots.observations import DayOutcomes

CLASSIFICATION = [name for name, measure in MEASURES.items() if "classification" in measure.tasks]
REGRESSION = [name for name, measure in MEASURES.items() if "regression" in measure.tasks]
EXACT = {"log_loss", "brier", "value", "accuracy", "precision", "recall", "f1", "mae", "rmse", "r2", "bias"}


def keep_outcomes(target: np.ndarray, score: np.ndarray, spec: SummarySpec) -> DayOutcomes:
    table = pa.table({"prediction:score": score, "label": target})
    return summarize_outcomes(table.to_batches(1_000), spec, day="2026-03-01", version="v1", onnx="x")


def assert_within_its_bound(name: str, target: np.ndarray, score: np.ndarray, spec: SummarySpec) -> float:
    """The bound that it states."""
    found = compute_metric(name, keep_outcomes(target, score, spec), spec.context)
    exact = compute_value(name, target, score, spec.context)
    if exact is None:
        assert found is None
        return 0.0
    assert found is not None
    if name in EXACT:
        assert found.error == 0
    assert abs(found.value - exact) <= found.error + 1e-9 * max(1, abs(exact))
    return found.error


@pytest.mark.slow
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 500),
    st.sampled_from([0.02, 0.5, 3.0, 40.0]),
    st.integers(1, 17),
)
@settings(max_examples=60, deadline=None)
def test_a_classifications_metrics_are_within_their_bounds(
    seed: int, rows: int, spread: float, digits: int
) -> None:
    random = np.random.default_rng(seed)
    score = np.round(random.beta(spread, 2 * spread, rows), digits)
    target = (random.random(rows) < score).astype(float)
    for name in CLASSIFICATION:
        assert_within_its_bound(name, target, score, make_spec())


@given(st.integers(0, 2**32 - 1), st.integers(1, 150), st.sampled_from([1e-3, 1.0, 1e6]))
@settings(max_examples=40, deadline=None)
def test_a_regressions_metrics_are_within_their_bounds(seed: int, rows: int, size: float) -> None:
    random = np.random.default_rng(seed)
    score = size * random.standard_t(3, rows)
    target = score + size * random.standard_t(3, rows)
    for name in REGRESSION:
        assert_within_its_bound(name, target, score, make_regression_spec(score))


@pytest.fixture(scope="module")
def predicted() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Predictions of real flights by small models of their own, on flights that they have not seen."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    rows = flights.sample(4).dropna(subset=["arr_delay"])
    inputs = (
        rows[["hour", "minute", "distance", "temp", "humid", "wind_speed", "visib"]].astype(float).to_numpy()
    )
    delay = rows["arr_delay"].to_numpy(dtype=float)
    late, half = (delay > 15).astype(float), len(rows) // 2
    classes = HistGradientBoostingClassifier(max_iter=30).fit(inputs[:half], late[:half])
    numbers = HistGradientBoostingRegressor(max_iter=30).fit(inputs[:half], delay[:half])
    return {
        "classification": (late[half:], classes.predict_proba(inputs[half:])[:, 1]),
        "regression": (delay[half:], numbers.predict(inputs[half:])),
    }


@pytest.mark.parametrize(
    ("name", "most"),
    [
        ("roc_auc", 0.003),
        ("average_precision", 0.004),
        ("expected_calibration_error", 0.02),
        *((name, 0.0) for name in CLASSIFICATION if name in EXACT),
    ],
)
def test_metrics_of_real_flights_have_small_bounds(name: str, most: float, predicted: Any) -> None:
    target, score = predicted["classification"]
    assert assert_within_its_bound(name, target, score, make_spec()) <= most


@pytest.mark.parametrize("name", REGRESSION)
def test_regression_metrics_of_real_flights_are_within_their_bounds(name: str, predicted: Any) -> None:
    target, score = predicted["regression"]
    assert assert_within_its_bound(name, target, score, make_regression_spec(score)) <= 1.0


def test_a_threshold_that_is_no_edge_has_a_bound(predicted: Any) -> None:
    target, score = predicted["classification"]
    kept = keep_outcomes(target, score, make_spec())
    moved = Context(threshold=0.27184)
    for name in ("accuracy", "precision", "recall", "f1"):
        found, exact = compute_metric(name, kept, moved), compute_value(name, target, score, moved)
        assert found is not None
        assert exact is not None
        assert abs(found.value - exact) <= found.error + 1e-9
        assert 0 < found.error < 0.01


def test_no_row_has_no_metric() -> None:
    kept = keep_outcomes(np.empty(0), np.empty(0), make_spec())
    assert [compute_metric(name, kept, Context(threshold=0.3)) for name in CLASSIFICATION] == [None] * len(
        CLASSIFICATION
    )
