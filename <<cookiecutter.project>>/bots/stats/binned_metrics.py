"""Computes metrics from what is kept of a day, or of a sum of days: the value, and how far the exact one can be away.

What is a sum over rows is exact: log loss, Brier score, value, errors. What is decided at a threshold is exact where
the threshold is an edge of a bin. What ranks rows comes from the bins, with a bound; docs/statistics.md derives it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bots.stats.histograms import Approximation
from bots.stats.metrics import MEASURES, Context, Floats
from bots.stats.sketches import RANK_ERROR, read_sketch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from bots.observations import DayOutcomes, ScoreCounts

_MEANS = {
    "log_loss": "log_loss",
    "brier": "squared_error",
    "mae": "absolute_error",
    "bias": "error",
    "value": "value",
}


def compute_metric(name: str, outcomes: DayOutcomes, context: Context) -> Approximation | None:
    """A metric of labelled rows; None where it has no value (no row, one class missing, no variance, no price).

    `context` gives the threshold and the number of calibration bins.
    """
    rows, sums = outcomes.labelled, outcomes.sums
    if not rows:
        return None
    if name in _MEANS:
        return _make_exact(sums[_MEANS[name]] / rows) if _MEANS[name] in sums else None
    if name in {"rmse", "r2"}:
        return _compute_squares(name, sums, rows)
    if name == "median_absolute_error":
        return _compute_median(outcomes.errors)
    if outcomes.scores is None or not outcomes.scores.positives:
        return None
    return compute_binned_metric(name, outcomes.scores, context)


def compute_binned_metric(name: str, counts: ScoreCounts, context: Context) -> Approximation | None:
    """A metric of a classification from the counts of its labelled rows; None where it has no value there.

    Raises KeyError for a metric that is no count of rows and no rank.
    """
    rows, positives = (
        np.asarray(counts.rows, dtype=np.float64),
        np.asarray(counts.positives, dtype=np.float64),
    )
    found = float(positives.sum())
    if not rows.sum() or (MEASURES[name].both_classes and not 0 < found < rows.sum()):
        return None
    if name == "roc_auc":
        return _bound_auc(positives, rows - positives)
    if name == "average_precision":
        return _bound_average_precision(positives, rows)
    if name == "expected_calibration_error":
        return _bound_calibration(counts, context.bins) if counts.totals else None
    return _bound_decisions(_DECISIONS[name], counts, context)


def count_decisions(counts: ScoreCounts, threshold: float) -> tuple[Floats, Floats]:
    """True positives, false positives, true negatives and false negatives, (4,): with all rows of the bin that holds
    the threshold called negative, and with all of them called positive. Both are the same where it is an edge."""
    edges, rows, positives = (np.asarray(values) for values in (counts.edges, counts.rows, counts.positives))
    sure, maybe = edges[:-1] >= threshold, edges[1:] > threshold

    def count_cells(called: NDArray[np.bool_]) -> Floats:
        hits, total = positives[called].sum(), rows[called].sum()
        missed = positives.sum() - hits
        return np.array([hits, total - hits, rows.sum() - total - missed, missed], dtype=np.float64)

    return count_cells(sure), count_cells(maybe)


def _make_exact(value: float) -> Approximation:
    return Approximation(value=float(value), error=0.0)


def _make_middle(low: float, high: float) -> Approximation:
    """The middle of all values that are possible, and half their range."""
    return Approximation(value=float((low + high) / 2), error=float((high - low) / 2))


def _compute_squares(name: str, sums: Mapping[str, float], rows: int) -> Approximation | None:
    squared, spread = sums["squared_error"] / rows, sums["target_squares"] / rows
    if name == "rmse":
        return _make_exact(float(np.sqrt(squared)))
    variance = spread - (sums["target"] / rows) ** 2
    return _make_exact(1 - squared / variance) if variance > 1e-10 * spread else None


def _compute_median(sketch: bytes | None) -> Approximation | None:
    """The median of a sketch, and the quantiles within which the exact one lies in 99 of 100 sketches."""
    if sketch is None:
        return None
    found = read_sketch(sketch)
    low, middle, high = found.find_quantiles([0.5 - RANK_ERROR, 0.5, 0.5 + RANK_ERROR]).tolist()
    rounding = float(np.spacing(np.float32(high)))
    return Approximation(value=middle, error=max(middle - low, high - middle) + rounding)


def _bound_auc(positives: Floats, negatives: Floats) -> Approximation:
    """Pairs in the same bin count half: at worst all of them are on the right side, or all on the wrong."""
    pairs = positives.sum() * negatives.sum()
    below = np.cumsum(negatives) - negatives
    together = float((positives * negatives).sum() / pairs)
    return Approximation(value=float((positives * below).sum() / pairs) + together / 2, error=together / 2)


def _bound_average_precision(positives: Floats, rows: Floats) -> Approximation:
    """With T positives of N rows above a bin, and t of n rows in it:

    the precision at the j-th positive of the bin is at most (T + t) / (N + t), all positives before the others, and at
    least (T + j) / (N + n - t + j), all after them. Each positive adds its precision, divided by all positives.
    """
    positives, rows = positives[::-1], rows[::-1]
    hits, seen = np.cumsum(positives) - positives, np.cumsum(rows) - rows
    filled = positives > 0
    hits, seen, own, size = hits[filled], seen[filled], positives[filled], rows[filled]
    best = float((own * (hits + own) / (seen + own)).sum())
    worst = float(_sum_precisions(hits, seen + size - own, own).sum())
    return _make_middle(worst / positives.sum(), best / positives.sum())


def _sum_precisions(hits: Floats, seen: Floats, own: Floats) -> Floats:
    """The sums of (hits + j) / (seen + j) for j = 1 … own, (k,), by differences of harmonic numbers."""
    from scipy.special import digamma

    sums: Floats = own - (seen - hits) * (digamma(seen + own + 1) - digamma(seen + 1))
    return sums


def _bound_calibration(counts: ScoreCounts, bins: int) -> Approximation:
    """Groups of about equally many rows that end at edges of the histogram: for these it is exact.

    The review's groups end within a bin. Some of that bin's rows are then in the group beside; each of them changes
    two sums by its score, or by what its score lacks to 1.
    """
    rows, totals, positives, edges = (
        np.asarray(values, dtype=np.float64)
        for values in (counts.rows, counts.totals, counts.positives, counts.edges)
    )
    total, ends = rows.sum(), np.cumsum(rows)
    group = np.minimum(((ends - rows / 2) / total * bins).astype(np.int64), bins - 1)
    gaps = np.abs(np.bincount(group, weights=totals - positives, minlength=bins))
    cut, times = np.unique(np.searchsorted(ends, np.arange(1, bins) / bins * total), return_counts=True)
    over, under = ((rows - positives) * edges[1:])[cut], (positives * (1 - edges[:-1]))[cut]
    moved = np.where(times > 1, over + under, np.maximum(over, under)).sum()
    return Approximation(value=float(gaps.sum() / total), error=float(2 * moved / total))


def _bound_decisions(
    measure: Callable[[Floats], float], counts: ScoreCounts, context: Context
) -> Approximation:
    """The middle of what it is with all rows at the threshold called, and with none: exact where it is an edge."""
    threshold = 0.5 if context.threshold is None else context.threshold
    few, many = count_decisions(counts, threshold)
    if (few == many).all():
        return _make_exact(measure(few))
    hits, alarms = many[0] - few[0], many[1] - few[1]
    corners = [
        measure(few + np.array([take * hits, wrong * alarms, -wrong * alarms, -take * hits]))
        for take in (0, 1)
        for wrong in (0, 1)
    ]
    return _make_middle(min(corners), max(corners))


def _divide_counts(above: float, below: float) -> float:
    return float(above / below) if below else 0.0


_DECISIONS: dict[str, Callable[[Floats], float]] = {
    "accuracy": lambda cells: _divide_counts(cells[0] + cells[2], cells.sum()),
    "precision": lambda cells: _divide_counts(cells[0], cells[0] + cells[1]),
    "recall": lambda cells: _divide_counts(cells[0], cells[0] + cells[3]),
    "f1": lambda cells: _divide_counts(2 * cells[0], 2 * cells[0] + cells[1] + cells[3]),
}
