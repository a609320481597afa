"""Tells by exact tests whether what a canary shows could be chance.

SciPy is imported where it is used: it takes twice as long as everything else here.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

    from bots.stats.metrics import Floats

# Below this expected count in the smaller sample, neighbouring bins of a histogram are judged as one (Cochran 1954).
LEAST_EXPECTED = 5.0


def compute_rise_p(bad: int, total: int, bad_before: int, total_before: int) -> float:
    """How probable so many bad ones, or more, are by chance if the share of bad ones is the same in both samples.

    Fisher's exact test, one-sided (Fisher 1934): the tail of the hypergeometric distribution. 1.0 for an empty sample.
    """
    if not total or not total_before:
        return 1.0
    everything, all_bad = total + total_before, bad + bad_before
    counts = np.arange(bad, min(all_bad, total) + 1)
    logs = _log_choose(all_bad, counts) + _log_choose(everything - all_bad, total - counts)
    return min(1.0, float(np.exp(logs - _log_choose(everything, total)).sum()))


def compute_at_least_p(count: int, total: int, share: float) -> float:
    """How probable `count` or more of `total` are when each comes with the chance `share`: the binomial tail.

    With the share beyond a quantile it is the sign test for that quantile (Conover 1999, section 3.2).
    """
    from scipy import special

    if not 0 < count <= total:
        return float(count <= 0)
    return float(special.bdtrc(count - 1, total, share))


def compute_stability_index(counts: Sequence[float], before: Sequence[float]) -> float:
    """The population stability index of two histograms on the same bins: sum of (p - q) ln(p / q).

    Half a count is added to each bin, so that an empty one stays finite (Siddiqi 2006, chapter 9; the half is the
    prior of Jeffreys 1946).
    """
    p, q = _compute_shares(counts), _compute_shares(before)
    return math.fsum((a - b) * math.log(a / b) for a, b in zip(p, q, strict=True))


def compute_shift(
    counts: Sequence[float], before: Sequence[float], *, allowed: float, size: float, size_before: float
) -> tuple[float, float]:
    """The stability index, and how probable it or a larger one is by chance if the true one is `allowed`.

    `size` and `size_before` count the independent observations behind each histogram: rows that came in one request
    are alike, so requests are counted (the cautious end of Kish 1965, section 8.2). The index over (1/size +
    1/size_before) is chi-squared with bins - 1 degrees of freedom (Yurdakul and Naranjo 2020), non-central by the true
    index.
    """
    from scipy import special

    if size <= 0 or size_before <= 0:
        return 0.0, 1.0
    merged = merge_bins(_scale_down(counts, size), _scale_down(before, size_before))
    if len(merged[0]) < 2:
        return 0.0, 1.0
    index = compute_stability_index(*merged)
    unit = 1 / size + 1 / size_before
    return index, 1 - float(special.chndtr(index / unit, len(merged[0]) - 1, allowed / unit))


def merge_bins(counts: Sequence[float], before: Sequence[float]) -> tuple[list[float], list[float]]:
    """Neighbouring bins put together until each would have a few observations in the smaller sample."""
    small = min(sum(counts), sum(before))
    whole = sum(counts) + sum(before)
    merged: tuple[list[float], list[float]] = ([], [])
    left = right = 0.0
    for a, b in zip(counts, before, strict=True):
        left, right = left + a, right + b
        if (left + right) * small / whole >= LEAST_EXPECTED:
            merged[0].append(left)
            merged[1].append(right)
            left = right = 0.0
    if merged[0]:
        merged[0][-1] += left
        merged[1][-1] += right
    return merged


def _compute_shares(counts: Sequence[float]) -> list[float]:
    whole = sum(counts) + 0.5 * len(counts)
    return [(count + 0.5) / whole for count in counts]


def _scale_down(counts: Sequence[float], size: float) -> list[float]:
    whole = sum(counts)
    return [count * min(1.0, size / whole) if whole else 0.0 for count in counts]


def _log_choose(n: int, k: ArrayLike) -> Floats:
    """ln of the binomial coefficient n over k; minus infinity where k is not from 0 to n."""
    from scipy import special

    k = np.asarray(k)
    found: Floats = special.gammaln(n + 1) - special.gammaln(k + 1) - special.gammaln(n - k + 1)
    return found
