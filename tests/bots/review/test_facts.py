"""Whether two reports say the same of a model, whatever unit its target has."""

from __future__ import annotations

import pytest
from msgspec import structs

from bots.review.facts import have_same_metrics
from fixtures import reviews


@pytest.mark.parametrize("scale", [1e-24, 1.0, 1e18])
def test_other_figures_are_noticed_in_any_unit(scale: float) -> None:
    report = reviews.improved().evaluation
    assert report is not None
    claimed = structs.replace(report, values={"mae": 3.0 * scale, "bias": 1e-9 * scale})
    same = structs.replace(report, values={"mae": 3.0 * scale * (1 + 1e-9), "bias": 2e-9 * scale})
    other = structs.replace(report, values={"mae": 3.1 * scale, "bias": 1e-9 * scale})
    assert have_same_metrics(claimed, same, {})
    assert not have_same_metrics(claimed, other, {})


def test_metrics_that_rows_bring_are_each_held_to_their_own_size() -> None:
    report = reviews.improved().evaluation
    assert report is not None
    claimed = structs.replace(report, task="scores", values={"NDCG@5": 0.5, "tokens": 1_000_000.0})
    same = structs.replace(claimed, values={"NDCG@5": 0.5 + 1e-9, "tokens": 1_000_000.5})
    other = structs.replace(claimed, values={"NDCG@5": 0.9, "tokens": 1_000_000.0})
    assert have_same_metrics(claimed, same, {})
    assert not have_same_metrics(claimed, other, {})
    assert have_same_metrics(claimed, other, {"NDCG@5": 4.1})
