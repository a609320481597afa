"""Decides what an interval says of a change: better, worse, the same, or undecided. Functions of numbers alone."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from bots.stats.intervals import clip_difference, find_t_quantile

if TYPE_CHECKING:
    from bots.evidence import Direction, MetricComparison, Outcome
    from bots.stats.intervals import Interval

MOST_ROWS = 10**12
"""Nobody has more rows: a number of rows is not counted beyond."""
POWER = 0.8
"""How often a holdout that can show a difference does so: in four of five reviews."""
SURE = 0.99
"""The one-sided confidence at which a larger loss of the primary metric is ruled out where a change passes alone."""
_QUANTILE_OF_POWER = 0.8416212335729143
"""The standard normal quantile of `POWER`."""
_QUANTILE_OF_BOTH_SIDES = 1.2815515655446004
"""The standard normal quantile of (1 + `POWER`) / 2: an equal model must stay clear of both sides at once."""


def judge(interval: Interval, *, direction: Direction, matters: float, confidence: float) -> Outcome:
    """What the difference of two models is, in the metric's own unit.

    *Improved* and *regressed*: the whole interval is on one side of zero, and the difference is `matters` or more.
    *Equivalent*: the narrower interval (see `narrow_interval`) lies within plus and minus `matters`. Anything else
    is *undecided*; without an interval, *not judged*.
    """
    difference, low, high = interval.difference, interval.low, interval.high
    inner = narrow_interval(interval, confidence)
    if difference is None or low is None or high is None or inner is None:
        return "not judged"
    if abs(difference) >= matters and (low > 0 or high < 0):
        return "improved" if (difference > 0) == (direction == "higher") else "regressed"
    return "equivalent" if -matters <= inner[0] and inner[1] <= matters else "undecided"


def narrow_interval(interval: Interval, confidence: float) -> tuple[float, float] | None:
    """The interval of a difference at confidence 1 - 2a, where a is 1 - `confidence`; None where there is none.

    It lies within plus and minus a margin exactly where two one-sided tests at level a both say that the difference
    is within it (Schuirmann, 1987).
    """
    difference, low, high = interval.difference, interval.low, interval.high
    if difference is None or low is None or high is None:
        return None
    if interval.error is None or interval.freedom is None:
        return low, high
    half = interval.error * find_t_quantile(confidence, interval.freedom)
    return max(low, difference - half), min(high, difference + half)


def find_worst(metric: MetricComparison) -> float | None:
    """How much worse the change could be: the bad end of its interval, in the metric's unit; 0 where it is no loss.

    Of the primary metric, what is ruled out at one-sided 99% (`SURE`) where that is more. None where there is no
    interval.
    """
    if metric.difference is None or metric.low is None or metric.high is None:
        return None
    low, high = metric.low, metric.high
    if metric.role == "primary" and metric.error is not None and metric.freedom is not None:
        half = metric.error * find_t_quantile(SURE, metric.freedom)
        bounds = clip_difference(metric.name, metric.difference - half, metric.difference + half)
        low, high = min(low, bounds[0]), max(high, bounds[1])
    return max(0.0, -low if metric.direction == "higher" else high)


def count_multiples(metric: MetricComparison) -> float | None:
    """How much worse it could be as a multiple of what matters, rounded up to a tenth; None where nothing matters."""
    worst = find_worst(metric)
    if worst is None or not metric.matters:
        return None
    return math.ceil(round(10 * worst / metric.matters, 6)) / 10


def is_tolerated(metric: MetricComparison, tolerates: float) -> bool:
    """Whether what could be lost is at most `tolerates` times what matters. Never where that cannot be known."""
    worst = find_worst(metric)
    return worst is not None and worst <= tolerates * metric.matters


def find_smallest_shown(error: float, freedom: float, *, matters: float, confidence: float) -> float:
    """The smallest true difference that four of five reviews call *improved* or *regressed*.

    `error` is the standard error of the difference. The estimate must be beyond chance, and `matters` at least.
    """
    beyond_chance = error * find_t_quantile((1 + confidence) / 2, freedom)
    return max(beyond_chance, matters) + error * _QUANTILE_OF_POWER


def count_rows_to_decide(
    rows: int, error: float, freedom: float, *, matters: float, confidence: float
) -> int | None:
    """How many rows let four of five reviews of an equally good model say *equivalent*; None where nothing matters.

    The rows are to come in units as these do: the standard error shrinks with the root of the number of units.
    """
    if not matters:
        return None
    return _scale_rows(
        rows, error * (find_t_quantile(confidence, freedom) + _QUANTILE_OF_BOTH_SIDES), matters
    )


def count_rows_to_pass(
    rows: int, error: float, freedom: float, *, tolerated: float, confidence: float
) -> int | None:
    """How many rows let four of five reviews of an equally good model pass without a person's word.

    `tolerated` is the loss that may remain possible; None where that is none.
    """
    if not tolerated:
        return None
    reach = error * (find_t_quantile(max(SURE, (1 + confidence) / 2), freedom) + _QUANTILE_OF_POWER)
    return _scale_rows(rows, reach, tolerated)


def _scale_rows(rows: int, reach: float, wanted: float) -> int:
    """How many rows make what is reached with `rows` as small as wanted: it shrinks with their root."""
    return math.ceil(min(rows * (reach / wanted) ** 2, MOST_ROWS))
