"""Metrics from counts of what was called what: those of the rows, their first derivative, and an honest error."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bots.stats import confusion, metrics
from bots.stats.classes import count_confusion
from bots.stats.metrics import Context

SEEDS = st.integers(0, 2**32 - 1)
NAMES = ("a", "b", "c", "d")
COUNTED = [
    "accuracy",
    *confusion.MEANS,
    *(f"{kind}:{name}" for kind in ("recall", "precision", "f1") for name in NAMES),
]


def draw_rows(seed: int, rows: int) -> tuple[Any, Any]:
    """Classes and probabilities, where some classes may have no row and some may never be called."""
    random = np.random.default_rng(seed)
    target = random.choice(4, rows, p=random.dirichlet(np.full(4, 0.5))).astype(np.float64)
    score = random.dirichlet(np.full(4, 0.3), rows) + 0.4 * np.eye(4)[target.astype(int)]
    return target, score / score.sum(axis=1, keepdims=True)


def count_rows(target: Any, score: Any) -> Any:
    return np.vstack([count_confusion(target, score, 4), np.zeros(4)])


@given(SEEDS, st.integers(1, 120))
@settings(max_examples=80, deadline=None)
def test_a_metric_of_counts_is_that_of_the_rows(seed: int, rows: int) -> None:
    target, score = draw_rows(seed, rows)
    table = count_rows(target, score)
    for name in COUNTED:
        assert confusion.is_counted(name)
        wanted = metrics.compute_value(name, target, score, Context(classes=NAMES))
        found = confusion.compute_metric(name, table, NAMES)
        assert found == (None if wanted is None else pytest.approx(wanted, abs=1e-12)), name


@given(SEEDS, st.integers(20, 200), st.integers(0, 3), st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_the_number_of_a_cell_is_what_one_more_row_in_it_adds(
    seed: int, rows: int, actual: int, called: int
) -> None:
    table = count_rows(*draw_rows(seed, rows)) + np.vstack([np.ones((4, 4)), np.zeros(4)])
    step = 1e-6 * table.sum()
    more = table.copy()
    more[actual, called] += step
    for name in COUNTED:
        value, cells = (
            confusion.compute_metric(name, table, NAMES),
            confusion.linearise_metric(name, table, NAMES),
        )
        after = confusion.compute_metric(name, more, NAMES)
        assert value is not None
        assert cells is not None
        assert after is not None
        assert (cells * table).sum() / table.sum() == pytest.approx(value)
        slope = (after - value) / (step / more.sum())
        assert cells[actual, called] - value == pytest.approx(slope, rel=1e-4, abs=1e-4), name


def test_more_rows_of_a_class_change_no_recall_to_first_order() -> None:
    table = count_rows(*draw_rows(4, 300)) + np.vstack([np.ones((4, 4)), np.zeros(4)])
    cells = confusion.linearise_metric("balanced_accuracy", table, NAMES)
    assert cells is not None
    shifted = table * np.array([5.0, 1.0, 0.2, 1.0, 1.0])[:, None]
    value = confusion.compute_metric("balanced_accuracy", table, NAMES)
    assert (cells * shifted).sum() / shifted.sum() == pytest.approx(value)


def test_rows_of_a_class_that_the_model_does_not_know_are_wrong_and_no_class_of_their_own() -> None:
    counts = {"a": {"a": 8, "b": 2}, "b": {"b": 10}, "new": {"b": 10}}
    table = confusion.make_table(counts, ["a", "b"])
    assert table.tolist() == [[8, 2], [0, 10], [0, 10]]
    assert confusion.compute_metric("accuracy", table, ["a", "b"]) == 18 / 30
    assert confusion.compute_metric("balanced_accuracy", table, ["a", "b"]) == pytest.approx(0.9)
    assert confusion.compute_metric("precision:b", table, ["a", "b"]) == 10 / 22


@pytest.mark.parametrize(
    "name", ["log_loss", "roc_auc_ovr", "roc_auc:a", "recall:nobody", "expected_calibration_error"]
)
def test_what_asks_probabilities_does_not_come_from_counts(name: str) -> None:
    assert confusion.compute_metric(name, count_rows(*draw_rows(1, 50)), NAMES) is None
    assert confusion.linearise_metric(name, count_rows(*draw_rows(1, 50)), NAMES) is None
    assert confusion.estimate_error(name, count_rows(*draw_rows(1, 50)), NAMES) is None


def test_without_rows_there_is_no_metric_and_no_error() -> None:
    empty = confusion.make_table({}, NAMES)
    for name in COUNTED:
        assert confusion.compute_metric(name, empty, NAMES) is None
        assert confusion.estimate_error(name, empty, NAMES) is None


def test_the_error_is_how_far_the_metric_of_other_rows_differs() -> None:
    random = np.random.default_rng(3)
    shares = np.vstack([random.dirichlet(np.ones(16)).reshape(4, 4) + np.eye(4) / 8, np.zeros(4)])
    shares /= shares.sum()
    for name in ("balanced_accuracy", "f1_macro", "recall:b"):
        drawn = [random.multinomial(800, shares.ravel()).reshape(5, 4) for _ in range(400)]
        values = [confusion.compute_metric(name, table.astype(float), NAMES) for table in drawn]
        errors = [confusion.estimate_error(name, table.astype(float), NAMES) for table in drawn]
        assert np.mean(errors) == pytest.approx(np.std(values), rel=0.1), name  # type: ignore[arg-type]
