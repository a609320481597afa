"""Sequential detectors: they look every day and keep the mean time to a false alarm that was asked for.

The e-detector in Shiryaev-Roberts form (Shin, Ramdas & Rinaldo, E-detectors: a nonparametric framework for sequential
change detection, 2022) starts at M = 0 and takes in one observation x a day:

    M = (M + 1) * (1 + bet * (x - limit))

Where the expected x is at most the limit, given the past, M - t is a supermartingale, so the first day on which M
reaches A comes after A days on average, or later (docs/statistics.md has the proof). Several bets run side by side and
their mean is what is looked at; the bound is the same. A bet must never lose all: x is at least `floor`, and a bet is a
fraction of 1 / (limit - floor).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bots.stats.metrics import Floats

LARGEST = 0.95
"""The largest fraction of what can be lost that is bet."""
GRID = (1.0, 0.5, 0.2)
"""The fractions that run side by side, in units of the largest one."""
STEPS_BELOW = 1.5
"""A day better than the mean by more than so many standard deviations counts as such a day."""
MOST_ROWS = 200
"""From so many rows on a day gets the whole bet, whatever the reference's days have."""
_FEWEST_DAYS = 10
_ERRORS = 1.645
"""So many standard errors of the reference's own mean are added to what is tolerated: 95%, one-sided."""


@dataclass(frozen=True, kw_only=True)
class Usual:
    """What the days of a reference tell of a daily mean: `mean` over rows, the `deviation` between days, the
    `correlation` of a day with the next (0 where it is not above 0), the standard `error` of the mean with that
    correlation in it, and the rows of the middle day."""

    days: int
    rows: int
    mean: float
    deviation: float
    correlation: float
    error: float
    middle_rows: float


@dataclass(frozen=True, kw_only=True)
class Bets:
    """How one detector bets. `limit` is what the expected observation may be; observations below `floor` count as it;
    `fractions` (K,) are each below 1; a day of fewer than `rows` rows gets a smaller bet."""

    limit: float
    floor: float
    fractions: tuple[float, ...]
    rows: float = 1.0


def measure_usual(rows: Floats, sums: Floats) -> Usual | None:
    """What days tell, from the rows of each, (n,), and the sums over them, (n,); None where no day has rows.

    Days are taken in order. The standard error takes each day's mean as an observation with the weight of its rows.
    """
    there = rows > 0
    counts, totals = rows[there], sums[there]
    if not len(counts):
        return None
    days, means = len(counts), totals / counts
    mean = float(totals.sum() / counts.sum())
    if days < _FEWEST_DAYS:
        return Usual(
            days=days,
            rows=int(counts.sum()),
            mean=mean,
            deviation=0.0,
            correlation=0.0,
            error=0.0,
            middle_rows=float(np.median(counts)),
        )
    weights = counts / counts.sum()
    gaps = np.minimum(counts / np.median(counts), 1.0) ** 0.5 * (means - mean)
    deviation = math.sqrt(float((gaps**2).sum()) / (days - 1))
    correlation = measure_correlation(gaps)
    spread = float((weights**2).sum()) * deviation**2
    return Usual(
        days=days,
        rows=int(counts.sum()),
        mean=mean,
        deviation=deviation,
        correlation=correlation,
        error=math.sqrt(spread * (1 + correlation) / (1 - correlation)),
        middle_rows=float(np.median(counts)),
    )


def measure_correlation(gaps: Floats) -> float:
    """The lag-1 correlation of deviations from a mean, (n,), between 0 and 0.9; corrected for its bias downwards in
    short series (Marriott & Pope, Biometrika 41, 1954)."""
    total = float((gaps**2).sum())
    count = len(gaps)
    if not total or count < _FEWEST_DAYS:
        return 0.0
    seen = float((gaps[:-1] * gaps[1:]).sum()) / total
    return min(0.9, max(0.0, (count * seen + 1) / (count - 4)))


def find_allowance(usual: Usual) -> float:
    """How far the reference's own mean may lie below the truth: 1.645 of its standard errors."""
    return _ERRORS * usual.error


def choose_bets(usual: Usual | None, *, expected: float, tolerance: float, lowest: float) -> Bets:
    """The bets of a detector that alarms where the mean lies above `expected` + `tolerance`.

    `usual` are the reference's days, centred anywhere; without them, or with too few, only what can never be undercut,
    `lowest`, is the floor, which is valid and slow. With them the floor lies nearer, and the limit rises by what this
    adds to the mean of such days. Days that follow each other are paid for out of the tolerance: a bet of at most
    tolerance * (1 - r) / (deviation^2 * r) keeps the expected product of many days below 1 where the mean is as
    expected and days are correlated by r.
    """
    limit = expected + tolerance
    if usual is None or usual.deviation <= 0:
        fractions = tuple(LARGEST * part for part in GRID)
        return Bets(limit=limit, floor=min(lowest, expected), fractions=fractions)
    floor = max(lowest, expected - STEPS_BELOW * usual.deviation)
    limit += usual.deviation * _find_rise((expected - floor) / usual.deviation)
    largest = LARGEST
    shared = usual.deviation**2 * usual.correlation
    if shared > 0:
        bet = tolerance * (1 - usual.correlation) / shared
        largest = min(largest, bet * (limit - floor))
    return Bets(
        limit=limit,
        floor=floor,
        fractions=tuple(largest * part for part in GRID),
        rows=min(MOST_ROWS, usual.middle_rows),
    )


def _find_rise(steps: float) -> float:
    """By how many deviations the mean of a normal variable rises when what lies `steps` below it counts as that."""
    density = math.exp(-0.5 * steps**2) / math.sqrt(2 * math.pi)
    return density - steps * 0.5 * math.erfc(steps / math.sqrt(2))


def compute_factors(bets: Bets, observation: float, rows: float) -> Floats:
    """What each bet is multiplied by for one day, (K,): above 0, and at most 1 on average where nothing is wrong.

    A day of few rows gets a share w of the bet; its floor then lies 1 / w times as far below the limit, so that its
    larger chance is not cut off.
    """
    share = min(1.0, rows / bets.rows)
    reach = bets.limit - bets.floor
    if share <= 0:
        return np.ones(len(bets.fractions))
    size = reach / share
    gain = max((observation - bets.limit) / size, -1.0)
    return 1.0 + np.asarray(bets.fractions) * gain


def update_values(values: Sequence[float], factors: Floats, most: float = math.inf) -> list[float]:
    """The detector's values after one more day, (K,): (M + 1) * factor, with their mean cut off at `most`."""
    found = (np.asarray(values, dtype=np.float64) + 1.0) * factors
    mean = float(found.mean())
    return [float(value) for value in (found * (most / mean) if mean > most else found)]


def compute_evidence(values: Iterable[float]) -> float:
    """What is held against the threshold: the mean of the bets' values."""
    known = list(values)
    return math.fsum(known) / len(known) if known else 0.0


def find_change(factors: Floats) -> int | None:
    """The place of the day from which on the data speak most for a change, of factors (days, K); None without days.

    The start of the stretch up to the last day whose product of factors is largest, for the bet that gains most.
    """
    if not len(factors):
        return None
    tails = np.cumsum(np.log(factors)[::-1], axis=0)[::-1]
    day, _ = np.unravel_index(int(np.argmax(tails)), tails.shape)
    return int(day)


def count_days(every: str) -> float:
    """The days of a time such as `5 years` (of 365.25 days) or `3 months` (of a twelfth of that)."""
    number, unit = every.split()
    return int(number) * {"day": 1.0, "week": 7.0, "month": 365.25 / 12, "year": 365.25}[unit.rstrip("s")]
