"""Intervals by a paired bootstrap: of one model's metrics, or of the difference of two on the same rows.

Rows, or whole clusters of rows, get random weights of mean and variance one, the same for both models. Every
metric is a function of weighted averages (see `bots.stats.metrics`), so one matrix product gives all of its
replicates. The interval is the estimate +- t x the replicates' standard deviation; docs/statistics.md says
why, with the coverage that was measured. Time and memory grow linearly with the rows. The seed is fixed: the
same predictions give the same bits, and exchanging the models changes nothing but signs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from bots.errors import BotsError
from bots.stats import metrics
from bots.stats.metrics import Context, Floats, Measure

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from bots.evidence import Costs, Task

SEED = 20130701
FEWEST_UNITS = 10
FEWEST_OF_A_CLASS = 20
_WEIGHTS_AT_A_TIME = 2**18


class PredictionsError(BotsError):
    """The predictions cannot be compared; the message names column, first wrong row and what was expected."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Predictions:
    """Both models' scores for the same n holdout rows, in the same order.

    `target`, `champion`, `candidate`: (n,) finite numbers; for a classification targets are 0 or 1 and scores
    are probabilities. `champion` is None where main has no model. `slices`: column -> (n,) labels.
    `clusters`: (n,) labels of what is resampled as a whole, None for single rows. `bins` is the number of
    calibration bins, `units` the unit of a metric by its name. Raises `PredictionsError`.
    """

    task: Task
    target: Floats
    candidate: Floats
    champion: Floats | None = None
    slices: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    clusters: NDArray[Any] | None = None
    champion_threshold: float | None = None
    candidate_threshold: float | None = None
    costs: Costs | None = None
    bins: int = 10
    units: Mapping[str, str | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("target", "candidate", "champion"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, _numbers(name, getattr(self, name)))
        labels = {**self.slices, **({} if self.clusters is None else {"clusters": self.clusters})}
        lengths = {name: len(column) for name, column in labels.items()}
        lengths |= {"candidate": len(self.candidate)}
        lengths |= {} if self.champion is None else {"champion": len(self.champion)}
        for name, length in lengths.items():
            if length != len(self.target):
                raise PredictionsError(
                    f"{name}: expected {len(self.target)} rows as in the target, got {length}"
                )
        if self.task == "classification":
            _check(self.target, "target", (self.target != 0) & (self.target != 1), "0 or 1")
            for name, score in (("candidate", self.candidate), ("champion", self.champion)):
                if score is not None:
                    _check(score, name, (score < 0) | (score > 1), "a probability from 0 to 1")

    def contexts(self) -> tuple[Context, Context]:
        """What the metrics of the champion and of the candidate need beside the rows."""
        shared = Context(costs=self.costs, bins=self.bins)
        champion = replace(shared, threshold=self.champion_threshold)
        return champion, replace(shared, threshold=self.candidate_threshold)


@dataclass(frozen=True)
class Interval:
    """Point estimates and an interval: of the difference, or of the candidate where there is no champion."""

    champion: float | None
    candidate: float | None
    difference: float | None
    low: float | None
    high: float | None


def number_units(clusters: NDArray[Any] | None, rows: int) -> NDArray[np.intp]:
    """The number of each row's unit: its own, or its cluster's."""
    if clusters is None:
        return np.arange(rows)
    return np.unique(np.asarray(clusters).astype(str), return_inverse=True)[1]


def has_enough_of_each_class(target: Floats) -> bool:
    """Whether both classes have rows enough for an interval of a metric that needs them."""
    positives = int(target.sum())
    return min(positives, len(target) - positives) >= FEWEST_OF_A_CLASS


def compute_points(predictions: Predictions, measure: Measure, rows: NDArray[np.intp]) -> Interval:
    """Both models' values without an interval."""
    target = predictions.target[rows]
    for_champion, for_candidate = predictions.contexts()
    champion = None
    if predictions.champion is not None:
        champion = metrics.value(measure.name, target, predictions.champion[rows], for_champion)
    candidate = metrics.value(measure.name, target, predictions.candidate[rows], for_candidate)
    difference = None if champion is None or candidate is None else candidate - champion
    return Interval(champion, candidate, difference, None, None)


def estimate_intervals(
    predictions: Predictions,
    chosen: Sequence[Measure],
    *,
    units: NDArray[np.intp],
    rows: NDArray[np.intp],
    replicates: int,
    confidence: float,
) -> list[Interval]:
    """Point estimates and intervals of some metrics on some rows, from one bootstrap.

    `units`: (n,) the number of what each row is resampled with; `rows`: (m,) the numbers of the rows. The last bits
    depend on the number of threads of numpy's products.
    """
    points = [compute_points(predictions, measure, rows) for measure in chosen]
    inverse = np.unique(units[rows], return_inverse=True)[1]
    count = int(inverse.max(initial=-1)) + 1
    few = predictions.task == "classification" and not has_enough_of_each_class(predictions.target[rows])
    able = [
        measure
        for measure, point in zip(chosen, points, strict=True)
        if point.candidate is not None and not (few and measure.both_classes) and count >= FEWEST_UNITS
    ]
    if not able:
        return points
    quantile = find_t_quantile(0.5 + confidence / 2, count - 1)
    drawn = _replicates(able, _block(predictions, able, inverse, rows), replicates)
    errors = {name: _spread(values) for name, values in drawn.items()}
    return [
        _around(point, measure, errors.get(measure.name, math.nan) * quantile)
        for measure, point in zip(chosen, points, strict=True)
    ]


def find_t_quantile(probability: float, freedom: int) -> float:
    """Student's t quantile. SciPy is imported late: it takes twice as long as everything else here."""
    from scipy import special

    return float(special.stdtrit(freedom, probability))


@dataclass(frozen=True)
class _Block:
    """What is resampled together, summed by unit: for one model or two, the components of all metrics and the
    number of rows, (units, k + 1) each; `ends` says behind which column each metric's components end."""

    models: list[Floats]
    ends: list[int]


def _around(point: Interval, measure: Measure, half: float) -> Interval:
    """The interval around the difference; of a single model, kept inside the metric's range."""
    if math.isnan(half) or point.candidate is None:
        return point
    if point.difference is not None:
        return replace(point, low=point.difference - half, high=point.difference + half)
    lowest, highest = measure.bounds
    low, high = point.candidate - half, point.candidate + half
    return replace(
        point,
        low=low if lowest is None else max(low, lowest),
        high=high if highest is None else min(high, highest),
    )


def _block(
    predictions: Predictions, chosen: Sequence[Measure], inverse: NDArray[np.intp], rows: NDArray[np.intp]
) -> _Block:
    target = predictions.target[rows]
    ends: list[int] = []
    models = []
    for score, context in zip(
        (predictions.champion, predictions.candidate), predictions.contexts(), strict=True
    ):
        if score is not None:
            parts = [measure.components(target, score[rows], context) for measure in chosen]
            ends = list(np.cumsum([part.shape[1] for part in parts]))
            models.append(_by_unit(np.hstack([*parts, np.ones((len(rows), 1))]), inverse))
    return _Block(models, ends)


def _by_unit(components: Floats, inverse: NDArray[np.intp]) -> Floats:
    if int(inverse.max()) + 1 == len(inverse):
        return components
    return np.column_stack([np.bincount(inverse, weights=column) for column in components.T])


def _replicates(chosen: Sequence[Measure], block: _Block, replicates: int) -> dict[str, Floats]:
    """Each metric's replicates: of the difference, or of the candidate alone.

    The two models' products have the same shape, so that their rounding is the same too: equal models differ
    by exactly zero, exchanged ones by exactly the opposite.
    """
    sums = [np.zeros((replicates, part.shape[1])) for part in block.models]
    for units, weights in _weights(replicates, len(block.models[0])):
        for total, part in zip(sums, block.models, strict=True):
            np.add(total, weights @ part[units].astype(np.float32), out=total)
    found = {}
    with np.errstate(divide="ignore", invalid="ignore"):
        means = [total[:, :-1] / total[:, -1:] for total in sums]
        for measure, start, end in zip(chosen, [0, *block.ends], block.ends, strict=False):
            values = [measure.combine(mean[:, start:end]) for mean in means]
            found[measure.name] = values[0] if len(values) == 1 else values[1] - values[0]
    return found


def _weights(replicates: int, units: int) -> Iterator[tuple[slice, NDArray[np.float32]]]:
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


def _inverse_poisson() -> NDArray[np.float32]:
    """Poisson(1) at 65,536 equally likely points; its mean and variance are 1 to within 1e-4."""
    mass = np.exp(-1) / np.cumprod([1.0, *range(1, 13)])
    points = (np.arange(65_536) + 0.5) / 65_536
    return np.searchsorted(np.cumsum(mass), points).astype(np.float32)


_POISSON = _inverse_poisson()


def _spread(values: Floats) -> float:
    """The replicates' standard deviation; not a number where one in a hundred has no value."""
    known = values[np.isfinite(values)]
    return float(np.std(known, ddof=1)) if len(known) > 0.99 * len(values) else math.nan


def _numbers(name: str, column: Any) -> Floats:
    try:
        numbers = np.asarray(column, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise PredictionsError(f"{name}: expected numbers: {error}") from error
    if numbers.ndim != 1 or not len(numbers):
        raise PredictionsError(f"{name}: expected a column of at least one row, got shape {numbers.shape}")
    _check(numbers, name, ~np.isfinite(numbers), "a finite number")
    return numbers


def _check(column: Floats, name: str, wrong: NDArray[np.bool_], expected: str) -> None:
    if wrong.any():
        first = int(np.argmax(wrong))
        raise PredictionsError(
            f"{name}: expected {expected} in every row; {int(wrong.sum()):,} of {len(column):,} are not, "
            f"the first is row {first} ({column[first]})"
        )
