"""What could be chance: the exact tests and the one approximation by which a canary is judged.

No more than arithmetic: the bots' environment has numpy, and no scipy.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

# Below this expected count in the smaller sample, neighbouring bins of a histogram are judged as one (Cochran 1954).
LEAST_EXPECTED = 5.0
# Beyond this many terms a tail has long become too small to matter.
_LONGEST_TAIL = 100_000


def rise(bad: int, total: int, bad_before: int, total_before: int) -> float:
    """How probable so many bad ones, or more, are by chance if the share of bad ones is the same in both samples.

    Fisher's exact test, one-sided (Fisher 1934): the tail of the hypergeometric distribution. 1.0 for an empty sample.
    """
    if not total or not total_before:
        return 1.0
    everything, all_bad = total + total_before, bad + bad_before
    whole = _log_choose(everything, total)
    most = min(all_bad, total, bad + _LONGEST_TAIL)
    terms = (
        math.exp(_log_choose(all_bad, k) + _log_choose(everything - all_bad, total - k) - whole)
        for k in range(max(bad, total - (everything - all_bad)), most + 1)
    )
    return min(1.0, math.fsum(terms))


def at_least(count: int, total: int, share: float) -> float:
    """How probable `count` or more of `total` are when each comes with the chance `share`: the binomial tail.

    With the share beyond a quantile it is the sign test for that quantile (Conover 1999, section 3.2).
    """
    if count <= 0:
        return 1.0
    logs = math.log(share), math.log1p(-share)
    terms = (
        math.exp(_log_choose(total, k) + k * logs[0] + (total - k) * logs[1])
        for k in range(count, min(total, count + _LONGEST_TAIL) + 1)
    )
    return min(1.0, math.fsum(terms))


def stability(counts: Sequence[float], before: Sequence[float]) -> float:
    """The population stability index of two histograms on the same bins: sum of (p - q) ln(p / q).

    Half a count is added to each bin, so that an empty one stays finite (Siddiqi 2006, chapter 9; the half is the
    prior of Jeffreys 1946).
    """
    p, q = _shares(counts), _shares(before)
    return math.fsum((a - b) * math.log(a / b) for a, b in zip(p, q, strict=True))


def shifted(
    counts: Sequence[float], before: Sequence[float], allowed: float, size: float, size_before: float
) -> tuple[float, float]:
    """The stability index, and how probable it or a larger one is by chance if the true one is `allowed`.

    `size` and `size_before` count the independent observations behind each histogram: rows that came in one request
    are alike, so requests are counted (the cautious end of Kish 1965, section 8.2). The index over (1/size +
    1/size_before) is chi-squared with bins - 1 degrees of freedom (Yurdakul and Naranjo 2020), non-central by the true
    index; its tail by the cube root (Abdel-Aty 1954).
    """
    if size <= 0 or size_before <= 0:
        return 0.0, 1.0
    fewer = _scaled(counts, size), _scaled(before, size_before)
    merged = merge(*fewer)
    if len(merged[0]) < 2:
        return 0.0, 1.0
    index = stability(*merged)
    unit = 1 / size + 1 / size_before
    freedom, beyond = len(merged[0]) - 1, allowed / unit
    mean = freedom + beyond
    spread = 2 / 9 * (freedom + 2 * beyond) / mean**2
    z = ((index / unit / mean) ** (1 / 3) - (1 - spread)) / math.sqrt(spread)
    return index, 1 - NormalDist().cdf(z)


def merge(counts: Sequence[float], before: Sequence[float]) -> tuple[list[float], list[float]]:
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


def _shares(counts: Sequence[float]) -> list[float]:
    whole = sum(counts) + 0.5 * len(counts)
    return [(count + 0.5) / whole for count in counts]


def _scaled(counts: Sequence[float], size: float) -> list[float]:
    whole = sum(counts)
    return [count * min(1.0, size / whole) if whole else 0.0 for count in counts]


def _log_choose(n: int, k: int) -> float:
    if k < 0 or k > n:
        return -math.inf
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
