"""Metrics of many rows from counts in bins of their scores, each with a bound of how far the exact one can be away.

The bins of a version never change, so the counts of days add up. A classification has 1,000 equal bins of [0, 1] and
an edge at its threshold: what is decided there is counted exactly. `docs/statistics.md` derives the bounds.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from msgspec import Struct

from bots.observations import ScoreCounts
from bots.stats.metrics import Floats

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bots.evidence import Task

BINS: Final = 1_000
SLICE_BINS: Final = 100
REGRESSION_BINS: Final = 200


class Approximation(Struct, frozen=True, kw_only=True):
    """A number, and how far the exact one can be away from it: 0 where it is exact."""

    value: float
    error: float


def choose_edges(
    task: Task, threshold: float | None = None, scores: Floats | None = None, bins: int | None = None
) -> tuple[float, ...]:
    """Choose the edges of a version's bins.

    A classification has equal bins of [0, 1], with one more edge where the threshold (0.5 if None) lies between two;
    so have several classes, for their largest probability.
    A regression has bins of equally many of the reference's `scores`, (n,). Raises ValueError where it has none.
    """
    if task != "regression":
        cut = 0.5 if threshold is None else threshold
        bins = bins or BINS
        equal = [place / bins for place in range(bins + 1)]
        return tuple(sorted({*equal, *([cut] if 0 < cut < 1 else [])}))
    known = np.empty(0) if scores is None else scores[np.isfinite(scores)]
    if not len(known):
        raise ValueError("the bins of a regression are chosen from scores, and there are none")
    edges = np.unique(np.quantile(known, np.linspace(0, 1, (bins or REGRESSION_BINS) + 1)))
    return (
        tuple(edges.tolist()) if len(edges) > 1 else (float(edges[0]), float(np.nextafter(edges[0], np.inf)))
    )


def count_scores(scores: Floats, edges: Floats, positive: NDArray[np.bool_] | None = None) -> ScoreCounts:
    """Count scores, (n,) and finite, into bins; `positive` are the rows whose label is 1, where labels are known."""
    place = np.searchsorted(edges, scores, side="right") - 1
    place[scores == edges[-1]] = len(edges) - 2
    inside = (place >= 0) & (place < len(edges) - 1)
    below = int(np.count_nonzero(place < 0))
    above = len(scores) - below - int(np.count_nonzero(inside))
    if below or above:
        place, scores = place[inside], scores[inside]
        positive = None if positive is None else positive[inside]
    bins = len(edges) - 1
    return ScoreCounts(
        edges=edges.tolist(),
        rows=np.bincount(place, minlength=bins).tolist(),
        totals=np.bincount(place, weights=scores, minlength=bins).tolist(),
        positives=[] if positive is None else np.bincount(place[positive], minlength=bins).tolist(),
        below=below,
        above=above,
    )


def add_counts(first: ScoreCounts | None, second: ScoreCounts | None) -> ScoreCounts | None:
    """Add two histograms; None is the empty one.

    Where their edges differ (two versions, another threshold), the sum has the edges that both have: coarser, and
    nothing is lost. None where they share fewer than two.
    """
    if first is None or second is None:
        return second if first is None else first
    if first.edges != second.edges:
        shared = sorted(set(first.edges) & set(second.edges))
        if len(shared) < 2:
            return None
        first, second = _coarsen_counts(first, shared), _coarsen_counts(second, shared)
    labelled = bool(first.positives) and bool(second.positives)
    return ScoreCounts(
        edges=first.edges,
        rows=_add_lists(first.rows, second.rows),
        totals=_add_lists(first.totals, second.totals) if first.totals and second.totals else [],
        positives=_add_lists(first.positives, second.positives) if labelled else [],
        below=first.below + second.below,
        above=first.above + second.above,
    )


def _add_lists(first: list[Any], second: list[Any]) -> list[Any]:
    return [one + other for one, other in zip(first, second, strict=True)]


def _coarsen_counts(counts: ScoreCounts, edges: list[float]) -> ScoreCounts:
    """The same rows in bins with some of the edges; what lies outside them is below or above."""
    places = np.searchsorted(counts.edges, edges).tolist()

    def sum_bins(values: list[Any]) -> list[Any]:
        return [sum(values[start:end]) for start, end in pairwise(places)] if values else []

    return ScoreCounts(
        edges=edges,
        rows=sum_bins(counts.rows),
        totals=sum_bins(counts.totals),
        positives=sum_bins(counts.positives),
        below=counts.below + sum(counts.rows[: places[0]]),
        above=counts.above + sum(counts.rows[places[-1] :]),
    )
