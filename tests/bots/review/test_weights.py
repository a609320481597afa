"""How much rows count is main's word, not the change's."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from bots.review.holdout import HoldoutPredictions
from bots.settings import Settings, parse_settings
from bots.verdict import comparison
from fixtures.support import render_file

ROWS = 400


def make_settings(weight: str) -> Settings:
    text = render_file("params.yaml", task="regression")
    text = text.replace("resample: date", "resample: rows").replace(
        "slices: [carrier, origin, month]", "slices: []"
    )
    return parse_settings(text.replace("weight: null", f"weight: {weight}"), "params.yaml")


def make_table(score: np.ndarray, target: np.ndarray, weight: np.ndarray | None) -> pa.Table:
    columns = {"row": [f"r{at}" for at in range(ROWS)], "target": target, "score": score}
    return pa.table(columns if weight is None else {**columns, "weight": weight})


@pytest.fixture
def rows() -> dict[str, np.ndarray]:
    """Rows of two kinds: the change is better on the first half, and worse on the second."""
    rng = np.random.default_rng(1)
    first = np.arange(ROWS) < ROWS // 2
    target, noise = rng.normal(size=(2, ROWS))
    return {
        "target": target,
        "main": target + noise,
        "change": target + noise * np.where(first, 0.5, 1.5),
        "first": first.astype(float),
        "second": 1 - first,
    }


def find_outcome(
    rows: dict[str, np.ndarray], own: str | None, mains: str | None, *, weight: str, moved: bool
) -> str:
    """What is said of the change, whose table weighs the rows in one way and main's in another."""
    policy = make_settings(weight)
    change = make_table(rows["change"], rows["target"], None if own is None else rows[own])
    truth = make_table(rows["main"], rows["target"], None if mains is None else rows[mains])
    pair = HoldoutPredictions(change, policy, {}).pair_with(
        truth, truth=None if moved else truth, policy=policy
    )
    found = {metric.name: metric.outcome for metric in comparison.compare(pair, policy).metrics}
    return found["mae"]


def test_a_change_does_not_choose_how_much_rows_count(rows: dict[str, np.ndarray]) -> None:
    assert find_outcome(rows, "first", "second", weight="w", moved=False) == "regressed"
    assert find_outcome(rows, "second", "first", weight="w", moved=False) == "improved"
    even = find_outcome(rows, None, None, weight="null", moved=False)
    assert even not in ("improved", "regressed")
    assert find_outcome(rows, "first", None, weight="null", moved=False) == even
    assert find_outcome(rows, "first", None, weight="null", moved=True) == even


def test_on_rows_that_moved_the_weights_count_where_main_names_some(rows: dict[str, np.ndarray]) -> None:
    assert find_outcome(rows, "first", None, weight="w", moved=True) == "improved"
