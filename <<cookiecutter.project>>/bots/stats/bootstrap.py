"""Intervals by a paired bootstrap: of one model's metrics, or of the difference of two on the same rows.

Rows, or whole clusters of rows, get random weights of mean and variance one, the same for both models. Every
metric is a function of weighted averages (see `bots.stats.metrics`), so one matrix product gives all of its
replicates. The interval is the estimate +- t x the replicates' standard deviation; docs/statistics.md says
why, with the coverage that was measured. Time and memory grow linearly with the rows. The seed is fixed: the
same predictions give the same bits, and exchanging the models changes nothing but signs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from threadpoolctl import ThreadpoolController

from bots.stats import metrics
from bots.stats.metrics import Floats, Measure

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from bots.stats.predictions import Predictions

SEED = 20130701
FEWEST_UNITS = 10
FEWEST_OF_A_CLASS = 20
_WEIGHTS_AT_A_TIME = 2**18


@dataclass(frozen=True)
class Interval:
    """Point estimates and an interval: of the difference, or of the candidate where there is no champion.

    `error` is the standard error of what the interval is about, `freedom` the degrees of freedom of Student's t
    that belong to it, so that an interval at another confidence can be had without the rows. All four are None
    where nothing can be said.
    """

    champion: float | None
    candidate: float | None
    difference: float | None
    low: float | None
    high: float | None
    error: float | None = None
    freedom: float | None = None


def has_enough_of_each_class(target: Floats) -> bool:
    """Whether both classes have rows enough for an interval of a metric that needs them."""
    positives = int(target.sum())
    return min(positives, len(target) - positives) >= FEWEST_OF_A_CLASS


def compute_points(predictions: Predictions, measure: Measure, rows: NDArray[np.intp]) -> Interval:
    """Both models' values without an interval."""
    target = predictions.target[rows]
    for_champion, for_candidate = predictions.contexts
    champion = None
    if predictions.champion is not None:
        champion = metrics.compute_value(measure.name, target, predictions.champion[rows], for_champion)
    candidate = metrics.compute_value(measure.name, target, predictions.candidate[rows], for_candidate)
    difference = None if champion is None or candidate is None else candidate - champion
    return Interval(champion, candidate, difference, None, None)


def estimate_intervals(
    predictions: Predictions,
    chosen: Sequence[Measure],
    *,
    replicates: int,
    confidence: float,
    rows: NDArray[np.intp] | None = None,
) -> list[Interval]:
    """Point estimates and intervals of some metrics, from one bootstrap of all rows or those of these numbers."""
    rows = np.arange(len(predictions.target)) if rows is None else rows
    points = [compute_points(predictions, measure, rows) for measure in chosen]
    units = np.unique(predictions.unit_numbers[rows], return_inverse=True)[1]
    count = int(units.max(initial=-1)) + 1
    few = predictions.task == "classification" and not has_enough_of_each_class(predictions.target[rows])
    able = [
        measure
        for measure, point in zip(chosen, points, strict=True)
        if point.candidate is not None and not (few and measure.both_classes) and count >= FEWEST_UNITS
    ]
    if not able:
        return points
    quantile = find_t_quantile(0.5 + confidence / 2, count - 1)
    # One thread: the products are small, and their bits then do not depend on the number of processors.
    with _find_thread_pools().limit(limits=1):
        drawn = _draw_replicates(able, _stack_components(predictions, able, units, rows=rows), replicates)
    errors = {name: _measure_spread(values) for name, values in drawn.items()}
    return [
        _build_interval(
            point, measure, errors.get(measure.name, math.nan), quantile=quantile, freedom=count - 1
        )
        for measure, point in zip(chosen, points, strict=True)
    ]


def find_t_quantile(probability: float, freedom: float) -> float:
    """Student's t quantile. SciPy is imported late: it takes twice as long as everything else here."""
    from scipy import special

    return float(special.stdtrit(freedom, probability))


@cache
def _find_thread_pools() -> ThreadpoolController:
    """The thread pools of numpy's products; looking for them takes longer than a small product."""
    return ThreadpoolController()


@dataclass(frozen=True)
class _Block:
    """What is resampled together, summed by unit: for one model or two, the components of all metrics and the
    number of rows, (units, k + 1) each; `ends` says behind which column each metric's components end."""

    models: list[Floats]
    ends: list[int]


def _build_interval(
    point: Interval, measure: Measure, error: float, *, quantile: float, freedom: float
) -> Interval:
    """The interval around the difference; of a single model, kept inside the metric's range."""
    if math.isnan(error) or point.candidate is None:
        return point
    half = error * quantile
    point = replace(point, error=error, freedom=freedom)
    if point.difference is not None:
        return replace(point, low=point.difference - half, high=point.difference + half)
    lowest, highest = measure.bounds
    low, high = point.candidate - half, point.candidate + half
    return replace(
        point,
        low=low if lowest is None else max(low, lowest),
        high=high if highest is None else min(high, highest),
    )


def _stack_components(
    predictions: Predictions, chosen: Sequence[Measure], units: NDArray[np.intp], *, rows: NDArray[np.intp]
) -> _Block:
    """`units`: (m,) the number of each row's unit, `rows`: (m,) the numbers of the rows."""
    target = predictions.target[rows]
    ends: list[int] = []
    models = []
    for score, context in zip(
        (predictions.champion, predictions.candidate), predictions.contexts, strict=True
    ):
        if score is not None:
            parts = [measure.components(target, score[rows], context) for measure in chosen]
            ends = list(np.cumsum([part.shape[1] for part in parts]))
            models.append(_sum_by_unit(np.hstack([*parts, np.ones((len(rows), 1))]), units))
    return _Block(models, ends)


def _sum_by_unit(components: Floats, units: NDArray[np.intp]) -> Floats:
    if int(units.max()) + 1 == len(units):
        return components
    return np.column_stack([np.bincount(units, weights=column) for column in components.T])


def _draw_replicates(chosen: Sequence[Measure], block: _Block, replicates: int) -> dict[str, Floats]:
    """Each metric's replicates: of the difference, or of the candidate alone.

    The two models' products have the same shape, so that their rounding is the same too: equal models differ
    by exactly zero, exchanged ones by exactly the opposite.
    """
    sums = [np.zeros((replicates, part.shape[1])) for part in block.models]
    for units, weights in _draw_weights(replicates, len(block.models[0])):
        for total, part in zip(sums, block.models, strict=True):
            np.add(total, weights @ part[units].astype(np.float32), out=total)
    found = {}
    with np.errstate(divide="ignore", invalid="ignore"):
        means = [total[:, :-1] / total[:, -1:] for total in sums]
        for measure, start, end in zip(chosen, [0, *block.ends], block.ends, strict=False):
            values = [measure.combine(mean[:, start:end]) for mean in means]
            found[measure.name] = values[0] if len(values) == 1 else values[1] - values[0]
    return found


def _draw_weights(replicates: int, units: int) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    """Which units, and their Poisson(1) weights (replicates, units), as many at a time as a cache holds.

    By the inverse of the distribution at 16 random bits: ten times as fast as numpy's own. They are whole
    numbers, which single precision holds exactly; the sums over all units are kept in double precision.
    """
    generator = np.random.PCG64(SEED)
    step = max(16, _WEIGHTS_AT_A_TIME // replicates)
    buffer = np.empty(step * replicates, dtype=np.float32)
    for start in range(0, units, step):
        count = min(step, units - start)
        words = generator.random_raw(-(-replicates * count // 4))
        bits = words.astype("<u8", copy=False).view("<u2")[: replicates * count]
        weights = np.take(_POISSON, bits, mode="clip", out=buffer[: replicates * count])
        yield slice(start, start + count), weights.reshape(replicates, count)


def _invert_poisson() -> NDArray[np.float32]:
    """Poisson(1) at 65,536 equally likely points; its mean and variance are 1 to within 1e-4."""
    mass = np.exp(-1) / np.cumprod([1.0, *range(1, 13)])
    points = (np.arange(65_536) + 0.5) / 65_536
    return np.searchsorted(np.cumsum(mass), points).astype(np.float32)


_POISSON = _invert_poisson()


def _measure_spread(values: Floats) -> float:
    """The replicates' standard deviation; not a number where one in a hundred has no value."""
    known = values[np.isfinite(values)]
    return float(np.std(known, ddof=1)) if len(known) > 0.99 * len(values) else math.nan
