"""Main's model against this change on the same rows: every metric and slice with a paired bootstrap interval.

Rows, or whole clusters of rows, get random weights of mean and variance one, the same for both models. Every
metric is a function of weighted averages (see `bots.stats.metrics`), so one matrix product gives all of its
replicates. The interval is the difference +- t x the replicates' standard deviation; docs/statistics.md says
why, with the coverage that was measured. Time and memory grow linearly with the rows. The seed is fixed: the
same predictions give the same bits, and exchanging the models changes nothing but signs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from threadpoolctl import threadpool_limits

from bots.errors import BotsError
from bots.evidence import Costs, MetricComparison, Outcome, SliceComparison, Statistics, Task
from bots.stats import metrics
from bots.stats.metrics import Context, Floats, Measure

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from bots.settings import Gate, Settings

Role = Literal["primary", "guard", "shown"]

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


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What `review.json` says of the numbers."""

    metrics: list[MetricComparison]
    slices: list[SliceComparison]
    statistics: Statistics


def compare(predictions: Predictions, settings: Settings) -> Comparison:
    """Compare candidate and champion on every metric of evaluate.metrics, and on the primary one by slices.

    Without a champion the result holds the candidate's values with their own intervals, and judges nothing.
    """
    gate = settings.gate
    units = _units(predictions.clusters, len(predictions.target))
    # One thread: the products are small, and their bits then do not depend on the number of processors.
    with threadpool_limits(1):
        metrics = _compare_metrics(predictions, settings, units)
        slices, judged = _compare_slices(predictions, gate, units)
    return Comparison(
        metrics=metrics,
        slices=slices,
        statistics=Statistics(
            rows=len(predictions.target),
            replicates=gate.replicates,
            confidence=gate.confidence,
            resampled="rows" if predictions.clusters is None else gate.resample,
            units=int(units.max(initial=-1)) + 1,
            slices_judged=judged,
        ),
    )


def candidate_only(predictions: Predictions, settings: Settings) -> Comparison:
    """The candidate alone: its values with their own intervals, every outcome `not judged`."""
    return compare(replace(predictions, champion=None), settings)


def disagreements(
    values: Mapping[str, float], predictions: Predictions, tolerance: float = 1e-6
) -> list[str]:
    """Where metrics that were written down differ from what the predictions say, one sentence each.

    The tolerance is relative to the value, and absolute below one.
    """
    found = []
    context = predictions.contexts()[1]
    for name, written in values.items():
        measure = metrics.MEASURES.get(name)
        if measure is None or predictions.task not in measure.tasks:
            continue
        actual = metrics.value(name, predictions.target, predictions.candidate, context)
        if actual is None or not abs(actual - written) <= tolerance * max(1, abs(actual)):
            said = "undefined" if actual is None else f"{actual:.8g}"
            found.append(f"{measure.label}: written {written:.8g}, the predictions give {said}")
    return found


@dataclass(frozen=True)
class _Block:
    """What is resampled together, summed by unit: for one model or two, the components of all metrics and the
    number of rows, (units, k + 1) each; `ends` says behind which column each metric's components end."""

    models: list[Floats]
    ends: list[int]


@dataclass(frozen=True)
class _Interval:
    """Point estimates and an interval: of the difference, or of the candidate where there is no champion."""

    champion: float | None
    candidate: float | None
    difference: float | None
    low: float | None
    high: float | None


def _compare_metrics(
    predictions: Predictions, settings: Settings, units: NDArray[np.intp]
) -> list[MetricComparison]:
    gate = settings.gate
    names = [name for name in settings.evaluate.metrics if predictions.task in metrics.MEASURES[name].tasks]
    chosen = [metrics.MEASURES[name] for name in names]
    found = _intervals(predictions, chosen, units, np.arange(len(units)), gate, gate.confidence)
    return [
        MetricComparison(
            name=measure.name,
            direction=measure.direction,
            role=role(measure.name, gate),
            champion=interval.champion,
            candidate=interval.candidate,
            difference=interval.difference,
            low=interval.low,
            high=interval.high,
            matters=gate.matters.get(measure.name, 0.0),
            outcome=_outcome(interval, measure, gate.matters.get(measure.name, 0.0)),
            unit=predictions.units.get(measure.name) or metrics.unit(measure.name, predictions.costs),
        )
        for measure, interval in zip(chosen, found, strict=True)
    ]


def role(name: str, gate: Gate) -> Role:
    """The part that the gate gives to a metric."""
    return "primary" if name == gate.primary else "guard" if name in gate.guards else "shown"


def _compare_slices(
    predictions: Predictions, gate: Gate, units: NDArray[np.intp]
) -> tuple[list[SliceComparison], int]:
    """Every slice, and how many were judged. The level is shared out among those (Bonferroni)."""
    measure = metrics.MEASURES[gate.primary]
    parts = list(_parts(predictions.slices))
    notes = [_too_small(predictions, gate, units, rows) for _, _, rows in parts]
    judged = notes.count(None)
    confidence = 1 - (1 - gate.confidence) / max(judged, 1)
    slices = []
    for (column, label, rows), note in zip(parts, notes, strict=True):
        if note is None:
            (interval,) = _intervals(predictions, [measure], units, rows, gate, confidence)
        else:
            interval = _points(predictions, measure, rows)
        least = gate.slices.matters if gate.slices else 0.0
        outcome = _outcome(interval, measure, least) if note is None else "not judged"
        slices.append(
            SliceComparison(
                column=column,
                value=label,
                rows=len(rows),
                champion=interval.champion,
                candidate=interval.candidate,
                difference=interval.difference,
                low=interval.low,
                high=interval.high,
                outcome=outcome,
                note=note,
            )
        )
    return slices, judged


def _parts(slices: Mapping[str, NDArray[Any]]) -> Iterator[tuple[str, str, NDArray[np.intp]]]:
    """Column, label and row numbers of each slice; labels that are numbers stand first and by their value."""
    for column, labels in slices.items():
        found, inverse = np.unique(np.asarray(labels).astype(str), return_inverse=True)
        order = np.argsort(inverse, kind="stable")
        bounds = np.searchsorted(inverse[order], np.arange(len(found) + 1))
        for index, label in sorted(enumerate(found), key=lambda each: _by_number(str(each[1]))):
            yield column, str(label), order[bounds[index] : bounds[index + 1]]


def _by_number(label: str) -> tuple[bool, float, str]:
    try:
        return False, float(label), label
    except ValueError:
        return True, 0.0, label


def _too_small(
    predictions: Predictions, gate: Gate, units: NDArray[np.intp], rows: NDArray[np.intp]
) -> str | None:
    """Why a slice is not judged, or None where it is."""
    if gate.slices is None:
        return "gate.slices is not set"
    if len(rows) < gate.slices.rows:
        return f"fewer than {gate.slices.rows:,} rows"
    if predictions.task == "classification" and not _enough_of_each_class(predictions.target[rows]):
        return f"fewer than {FEWEST_OF_A_CLASS} rows of one class"
    if len(np.unique(units[rows])) < FEWEST_UNITS:
        what = "rows" if predictions.clusters is None else f"values of {gate.resample}"
        return f"fewer than {FEWEST_UNITS} {what}"
    return None


def _enough_of_each_class(target: Floats) -> bool:
    positives = int(target.sum())
    return min(positives, len(target) - positives) >= FEWEST_OF_A_CLASS


def _outcome(interval: _Interval, measure: Measure, matters: float) -> Outcome:
    """One side of zero, and far enough to matter; anything else is not distinguishable."""
    difference, low, high = interval.difference, interval.low, interval.high
    if difference is None or low is None or high is None:
        return "not judged"
    if abs(difference) < matters or low <= 0 <= high:
        return "equivalent"
    return "improved" if (difference > 0) == (measure.direction == "higher") else "regressed"


def _points(predictions: Predictions, measure: Measure, rows: NDArray[np.intp]) -> _Interval:
    """Both models' values without an interval."""
    target = predictions.target[rows]
    for_champion, for_candidate = predictions.contexts()
    champion = None
    if predictions.champion is not None:
        champion = metrics.value(measure.name, target, predictions.champion[rows], for_champion)
    candidate = metrics.value(measure.name, target, predictions.candidate[rows], for_candidate)
    difference = None if champion is None or candidate is None else candidate - champion
    return _Interval(champion, candidate, difference, None, None)


def _intervals(
    predictions: Predictions,
    chosen: Sequence[Measure],
    units: NDArray[np.intp],
    rows: NDArray[np.intp],
    gate: Gate,
    confidence: float,
) -> list[_Interval]:
    """Point estimates and intervals of some metrics on some rows, from one bootstrap."""
    points = [_points(predictions, measure, rows) for measure in chosen]
    inverse = np.unique(units[rows], return_inverse=True)[1]
    count = int(inverse.max(initial=-1)) + 1
    few = predictions.task == "classification" and not _enough_of_each_class(predictions.target[rows])
    able = [
        measure
        for measure, point in zip(chosen, points, strict=True)
        if point.candidate is not None and not (few and measure.both_classes) and count >= FEWEST_UNITS
    ]
    if not able:
        return points
    quantile = t_quantile(0.5 + confidence / 2, count - 1)
    replicates = _replicates(able, _block(predictions, able, inverse, rows), gate.replicates)
    errors = {name: _spread(values) for name, values in replicates.items()}
    return [
        _around(point, measure, errors.get(measure.name, math.nan) * quantile)
        for measure, point in zip(chosen, points, strict=True)
    ]


def _around(point: _Interval, measure: Measure, half: float) -> _Interval:
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


def t_quantile(probability: float, freedom: int) -> float:
    """Student's t quantile for probability > 1/2 and whole degrees of freedom.

    Bisection on the closed form of the distribution (Abramowitz & Stegun 26.7.3 and 26.7.4); from 1,000
    degrees on the expansion 26.7.5, which is then exact to seven digits.
    """
    normal = NormalDist().inv_cdf(probability)
    if freedom >= 1000:
        first = (normal**3 + normal) / 4
        second = (5 * normal**5 + 16 * normal**3 + 3 * normal) / 96
        return normal + first / freedom + second / freedom**2
    low, high = 0.0, 1.0
    while _t_distribution(high, freedom) < probability:
        high *= 2
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if _t_distribution(middle, freedom) < probability else (low, middle)
    return high


def _t_distribution(t: float, freedom: int) -> float:
    angle = math.atan2(t, math.sqrt(freedom))
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = freedom % 2
    steps = np.arange(1 + odd, freedom - 1, 2)
    terms = np.cumprod([1.0, *(steps / (steps + 1) * cosine**2)])
    inside = angle + sine * cosine * terms.sum() * (freedom > 1) if odd else sine * terms.sum()
    return float(0.5 + inside / (math.pi if odd else 2))


def _units(clusters: NDArray[Any] | None, rows: int) -> NDArray[np.intp]:
    """The number of each row's unit: its own, or its cluster's."""
    if clusters is None:
        return np.arange(rows)
    return np.unique(np.asarray(clusters).astype(str), return_inverse=True)[1]


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
