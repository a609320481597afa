"""Weighs rows: how much each counts in a metric, and quantiles of rows that count unlike.

A whole weight is so many rows: results are those of a table in which each row stands as often as it weighs. Other
weights count by their proportion, as if they were 1 on average.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Sequence

Floats = NDArray[np.float64]


def simplify_weights(weights: Floats | None) -> Floats | None:
    """The weights, or None where each row counts once."""
    return None if weights is None or bool((weights == 1).all()) else weights


def count_weighed(weights: Floats) -> float:
    """How many rows weights stand for: their sum where they are whole numbers, else the number of rows."""
    if bool((weights == np.floor(weights)).all()):
        return float(weights.sum())
    return float(len(weights))


def find_quantiles(values: Floats, weights: Floats | None, levels: Sequence[float] | Floats) -> Floats:
    """The quantiles of values, (levels,), as numpy finds them between two neighbours in order; weights are above zero.

    With weights the neighbours are sought in the table in which each row stands as often as it weighs.
    """
    if weights is None:
        return np.asarray(np.quantile(values, levels))
    order = np.argsort(values, kind="stable")
    ordered, total = values[order], count_weighed(weights)
    ends = np.cumsum(weights[order]) * (total / float(weights.sum()))
    place = np.asarray(levels, dtype=np.float64) * max(total - 1, 0)
    below = np.floor(place)

    def find(at: Floats) -> Floats:
        # Sums of weights are off by rounding: half a millionth of a row decides nothing.
        return ordered[np.minimum(np.searchsorted(ends, at + 5e-7, side="right"), len(ordered) - 1)]

    low, high, share = find(below), find(np.minimum(below + 1, max(total - 1, 0))), place - below
    # To the last digit as numpy does it, because a score may be an edge of its bin.
    return np.where(share < 0.5, low + (high - low) * share, high - (high - low) * (1 - share))
