"""Histograms of scores: every row in one bin, sums that lose nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bots.stats.histograms import add_counts, choose_edges, count_scores

SCORES = st.lists(st.floats(0, 1), min_size=0, max_size=60)
EDGES = np.array(choose_edges("classification", 0.3333))


def test_a_classification_has_equal_bins_and_an_edge_at_its_threshold() -> None:
    assert len(EDGES) == 1_002
    assert 0.3333 in EDGES
    assert len(choose_edges("classification", 0.3)) == 1_001
    assert len(choose_edges("classification", 1.0)) == 1_001


def test_a_regression_has_bins_of_equally_many_scores() -> None:
    scores = np.random.default_rng(1).normal(size=10_000)
    edges = choose_edges("regression", scores=scores)
    counts = count_scores(scores, np.array(edges))
    assert (min(counts.rows), max(counts.rows), counts.below, counts.above) == (50, 50, 0, 0)
    assert len(choose_edges("regression", scores=np.array([3.0, 3.0]))) == 2
    with pytest.raises(ValueError, match="there are none"):
        choose_edges("regression", scores=np.array([np.nan]))


@given(SCORES, st.lists(st.sampled_from([*EDGES.tolist(), -0.5, 1.5]), max_size=20))
@settings(max_examples=100, deadline=None)
def test_every_score_is_in_one_bin(scores: list[float], on_edges: list[float]) -> None:
    values = np.array([*scores, *on_edges], dtype=np.float64)
    counts = count_scores(values, EDGES, values > 0.7)
    assert counts.below == np.sum(values < 0)
    assert counts.above == np.sum(values > 1)
    assert sum(counts.rows) + counts.below + counts.above == len(values)
    inside = values[(values >= 0) & (values <= 1)]
    assert sum(counts.positives) == np.sum(inside > 0.7)
    assert sum(counts.totals) == pytest.approx(inside.sum())
    called = int(np.flatnonzero(EDGES == 0.3333)[0])
    assert sum(counts.rows[called:]) == np.sum(inside >= 0.3333)


@given(SCORES, SCORES)
@settings(max_examples=60, deadline=None)
def test_histograms_add_up_and_those_of_other_thresholds_become_coarser(
    first: list[float], second: list[float]
) -> None:
    one, two = (np.array(values, dtype=np.float64) for values in (first, second))
    other = np.array(choose_edges("classification", 0.77777))
    together = add_counts(count_scores(one, EDGES, one > 0.5), count_scores(two, other, two > 0.5))
    assert together
    assert together.edges == list(choose_edges("classification", 0.5))
    whole = count_scores(
        np.concatenate([one, two]), np.array(together.edges), np.concatenate([one, two]) > 0.5
    )
    assert (together.rows, together.positives) == (whole.rows, whole.positives)
    assert together.totals == pytest.approx(whole.totals)


def test_histograms_without_a_common_edge_have_no_sum() -> None:
    one = count_scores(np.array([1.5]), np.array([1.0, 2.0]))
    two = count_scores(np.array([3.5]), np.array([3.0, 4.0]))
    assert add_counts(one, two) is None
    assert add_counts(None, two) is two
