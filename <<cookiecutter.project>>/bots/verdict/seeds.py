"""Puts the luck of training into a comparison: means over seeds, and what seeds differ by in the interval."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from msgspec import structs

from bots.stats import intervals, metrics

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bots.evidence import MetricComparison, Outcome, Seeds, SeedScores
    from bots.settings import Gate
    from bots.stats.intervals import Interval


def wants_more_seeds(metrics: Sequence[MetricComparison], gate: Gate) -> bool:
    """Whether one seed's word is not enough: it calls the primary metric improved or regressed."""
    if gate.seeds == 1:
        return False
    return find_primary_outcome(metrics) in ("improved", "regressed")


def find_primary_outcome(metrics: Sequence[MetricComparison]) -> Outcome:
    """What is said of the primary metric."""
    return next((metric.outcome for metric in metrics if metric.role == "primary"), "not judged")


def list_values(side: SeedScores | None, name: str, committed: float | None) -> list[float] | None:
    """A metric's value with each seed of a side, the committed one's first; None where a seed gave none.

    `committed` is the value of the model itself, computed from its predictions.
    """
    if committed is None:
        return None
    further = [scores.get(name) for scores in side.scores[1:]] if side else []
    known = [value for value in further if value is not None]
    return [committed, *known] if len(known) == len(further) else None


def widen_interval(interval: Interval, name: str, seeds: Seeds | None, confidence: float) -> Interval:
    """The interval of the difference between the means over seeds; the models' own values stay as they are.

    Unchanged where there are no further seeds. Nothing is judged where a seed's model has no value of the metric.
    """
    if seeds is None or interval.error is None or interval.difference is None:
        return interval
    champion = list_values(seeds.champion, name, interval.champion)
    candidate = list_values(seeds.candidate, name, interval.candidate)
    note = "a model of a further seed has no value of it"
    unknown = replace(interval, low=None, high=None, error=None, freedom=None, note=note)
    if champion is None or candidate is None:
        return unknown
    measure = metrics.describe_measure(name)  # None for a metric that rows bring
    with np.errstate(over="ignore", invalid="ignore"):
        means = float(np.mean(champion)), float(np.mean(candidate))
        difference = means[1] - means[0] if measure is None else intervals.subtract(measure, *means)
        error, freedom = combine_errors(interval.error, interval.freedom or 1.0, champion, candidate)
    if difference is None or not (math.isfinite(difference) and math.isfinite(error)):
        return unknown
    half = error * intervals.find_t_quantile(0.5 + confidence / 2, freedom)
    low, high = intervals.clip_difference(name, difference - half, difference + half)
    return replace(interval, difference=difference, low=low, high=high, error=error, freedom=freedom)


def combine_errors(error: float, freedom: float, *sides: Sequence[float]) -> tuple[float, float]:
    """The standard error of a difference of means over seeds, and its degrees of freedom.

    `error` and `freedom` are those of the rows that were drawn; each of `sides` is a metric's value with k seeds. Their
    variances add up: error^2 + sum of s^2 / k. The degrees of freedom are those of Welch (1947) and Satterthwaite
    (1946): (sum of v)^2 / sum of v^2 / f, with f = k - 1 for a side.
    """
    parts = [(error**2, freedom)]
    parts += [(float(np.var(side, ddof=1)) / len(side), len(side) - 1) for side in sides if len(side) > 1]
    largest = max(variance for variance, _ in parts)
    if not 0 < largest < math.inf:
        return (error if largest == 0 else math.inf), freedom
    # As shares of the largest, so that no square of a tiny variance becomes zero.
    shares = [(variance / largest, own) for variance, own in parts]
    whole = sum(share for share, _ in shares)
    combined = whole**2 / sum(share**2 / own for share, own in shares)
    return (largest * whole) ** 0.5, combined


def is_complete(side: SeedScores | None, asked: int) -> bool:
    """Whether a side has the scores of so many seeds, or shows that another seed changes nothing."""
    if side is None or len(side.seeds) != len(side.scores):
        return False
    if side.same:
        return side.scores[0] == side.scores[1]
    return len(side.seeds) >= asked


def has_enough_seeds(seeds: Seeds, gate: Gate) -> bool:
    """Whether both sides have the scores of as many seeds as the gate wants."""
    sides = (seeds.champion, seeds.candidate)
    return seeds.failure is None and all(is_complete(side, gate.seeds) for side in sides)


def agree(one: Mapping[str, float], other: Mapping[str, float], tolerance: float = 1e-6) -> bool:
    """Whether two sets of metrics are the same, to a millionth of each."""
    return one.keys() == other.keys() and all(
        math.isclose(one[name], other[name], rel_tol=tolerance) for name in one
    )


def take_first(side: SeedScores, asked: int) -> SeedScores:
    """The side with so many of its seeds, the first ones."""
    return structs.replace(side, seeds=side.seeds[:asked], scores=side.scores[:asked])
