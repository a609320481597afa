"""Intervals of one model's metrics, or of the difference of two on the same rows, by leaving out one unit at a time.

A unit is a row, or all rows that share a label. Every metric is a function of weighted averages (see
`bots.stats.metrics`), so its value without a unit is a subtraction away. The interval is the estimate +- t x the
jackknife's standard error, with degrees of freedom that fall where few units carry the difference;
docs/statistics.md says why, with the coverage that was measured. There is no chance in it, and exchanging the
models changes nothing but signs.

Sources: the delete-one-cluster variance is CV3 of Bell & McCaffrey, Survey Methodology 28 (2002), and of
MacKinnon, Nielsen & Webb, Journal of Applied Econometrics 38 (2023); the degrees of freedom follow Satterthwaite,
Biometrics Bulletin 2 (1946).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from bots.stats import metrics
from bots.stats.metrics import Floats, Measure, Sample, split_rows, weigh
from bots.stats.weights import simplify_weights

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from bots.stats.predictions import Predictions

FEWEST_UNITS = 10
FEWEST_OF_A_CLASS = 20
FEWEST_CALLED = 20
FEWEST_OF_EACH_CLASS = 10
# Two degrees of freedom are what one differing unit among many has.
_FREEDOM_OF_ONE = 2.0


@dataclass(frozen=True)
class Interval:
    """Point estimates and an interval: of the difference, or of the candidate where there is no champion.

    `error` is the standard error of what the interval is about, `freedom` the degrees of freedom of Student's t
    that belong to it, so that an interval at another confidence can be had without the rows. All four are None
    where nothing can be said; `note` then says why.
    """

    champion: float | None
    candidate: float | None
    difference: float | None
    low: float | None
    high: float | None
    error: float | None = None
    freedom: float | None = None
    note: str | None = None


@dataclass(frozen=True, eq=False)
class Rows:
    """The rows that an interval is about, with their units.

    `samples` are those of the champion (None where there is none) and the candidate, `units` (n,) the place of each
    row's unit or None where each row is one, `sizes` (K,) the rows of each unit, or what they weigh (None where
    each row is one and counts once), `name` what units are called.
    """

    samples: tuple[Sample | None, Sample]
    units: NDArray[np.int32] | None
    sizes: Floats | None
    name: str

    def __len__(self) -> int:
        return len(self.samples[1].target)

    @property
    def total(self) -> float:
        """The sum of the rows' weights: how many they are, where each counts once."""
        return self.samples[1].total

    @property
    def count(self) -> int:
        """The number of units."""
        return len(self) if self.sizes is None else len(self.sizes)

    @property
    def models(self) -> list[Sample]:
        """The samples that are there."""
        return [sample for sample in self.samples if sample is not None]

    def count_units(self, chosen: NDArray[np.bool_]) -> int:
        """In how many units some rows lie."""
        if self.units is None:
            return int(chosen.sum())
        return int(np.count_nonzero(np.bincount(self.units[chosen], minlength=self.count)))


def choose_rows(predictions: Predictions, rows: NDArray[np.intp] | None = None, name: str = "units") -> Rows:
    """The rows of these numbers that weigh anything, or all of them without a copy. `name` is what messages call the
    units."""
    whole = predictions.units
    rows = _leave_out_weightless(predictions.weights, rows)
    weights = (
        predictions.weights if rows is None or predictions.weights is None else predictions.weights[rows]
    )
    weights = simplify_weights(weights)
    units, sizes = None, weights
    if whole is not None:
        codes = whole.codes if rows is None else whole.codes[rows]
        counts = np.bincount(codes, minlength=len(whole.names))
        there = counts > 0
        units = codes if there.all() else (np.cumsum(there, dtype=np.int32) - np.int32(1))[codes]
        sizes = counts[there].astype(np.float64)
        if weights is not None:
            sizes = np.bincount(codes, weights=weights, minlength=len(whole.names))[there].astype(np.float64)

    def choose(column: Floats) -> Floats:
        return column if rows is None else column[rows]

    target = choose(predictions.target)
    for_champion, for_candidate = predictions.contexts
    champion = predictions.champion
    return Rows(
        samples=(
            None if champion is None else Sample(target, choose(champion), for_champion, weights),
            Sample(target, choose(predictions.candidate), for_candidate, weights),
        ),
        units=units,
        sizes=sizes,
        name="rows" if whole is None else name,
    )


def _leave_out_weightless(weights: Floats | None, rows: NDArray[np.intp] | None) -> NDArray[np.intp] | None:
    """The numbers of those rows that weigh more than nothing; None where all do."""
    if weights is None or bool((weights > 0).all()):
        return rows
    return np.flatnonzero(weights > 0) if rows is None else rows[weights[rows] > 0]


def compute_points(rows: Rows, measure: Measure, note: str | None = None) -> Interval:
    """Both models' values without an interval; `note` says why there is none."""
    champion, candidate = (
        None if sample is None else metrics.compute_sample_value(measure, sample) for sample in rows.samples
    )
    return Interval(champion, candidate, subtract(measure, champion, candidate), None, None, note=note)


def find_obstacle(rows: Rows, measure: Measure) -> str | None:
    """Why these rows are too few, or too uneven, for an interval of a metric; None where they are not."""
    if rows.count < FEWEST_UNITS:
        return f"fewer than {FEWEST_UNITS} {rows.name}"
    return next(_find_handfuls(rows, measure), None)


def estimate_interval(rows: Rows, measure: Measure, *, confidence: float) -> Interval:
    """Point estimates and the interval of a metric."""
    if note := find_obstacle(rows, measure):
        return compute_points(rows, measure, note)
    if _are_same(rows, measure):
        return _compare_same(rows, measure)
    left = [_leave_each_out(measure, sample, rows) for sample in rows.models]
    candidate = left[-1].value
    champion = left[0].value if len(left) == 2 else None
    if not all(math.isfinite(each.value) for each in left):
        return compute_points(rows, measure, "no value on these rows")
    without = left[-1].without if champion is None else left[1].without - left[0].without
    spread = _measure_spread(without, rows)
    if spread is None:
        return compute_points(rows, measure, f"no value without one of the {rows.name}")
    own = [spread] if champion is None else [_measure_spread(each.without, rows) for each in left]
    spread = _keep_from_zero(spread, left, measure=measure, rows=rows, own=own)
    difference = subtract(measure, champion, candidate)
    point = Interval(champion, candidate, difference, None, None, error=spread.error, freedom=spread.freedom)
    if difference is None:
        low, high = _reach(measure, candidate, spread, confidence=confidence)
    else:
        low, high = _reach_difference(point, measure, left, rows=rows, own=own, confidence=confidence)
    return replace(point, low=low, high=high)


def subtract(measure: Measure, champion: float | None, candidate: float | None) -> float | None:
    """The candidate's value minus the champion's; of a signed metric, of their sizes."""
    if champion is None or candidate is None:
        return None
    return abs(candidate) - abs(champion) if measure.signed else candidate - champion


def clip_difference(name: str, low: float, high: float) -> tuple[float, float]:
    """The interval of a difference, no wider than the metric's range allows: a share cannot change by more than one."""
    found = [metrics.find_measure(name, task) for task in ("classification", "regression", "multiclass")]
    bounds = [measure.bounds for measure in found if measure is not None]
    widths = [highest - lowest for lowest, highest in bounds if lowest is not None and highest is not None]
    if not widths or len(widths) < len(bounds):
        return low, high
    return max(low, -max(widths)), min(high, max(widths))


def find_t_quantile(probability: float, freedom: float) -> float:
    """Student's t quantile. SciPy is imported late: it takes twice as long as everything else here."""
    from scipy import special

    return float(special.stdtrit(freedom, probability))


def measure_unit_effects(rows: Rows, measure: Measure) -> Floats | None:
    """How much each unit moves the difference (the candidate's value, where there is no champion): (K,), their sum is
    zero. None where that cannot be computed."""
    if find_obstacle(rows, measure) or _are_same(rows, measure):
        return None
    left = [_leave_each_out(measure, sample, rows) for sample in rows.models]
    without = left[-1].without if len(left) == 1 else left[1].without - left[0].without
    if not np.isfinite(without).all():
        return None
    share = 1 / len(rows) if rows.sizes is None else rows.sizes / rows.total
    effects: Floats = (1 - share) * (without.mean() - without)
    return effects - effects.mean()


@dataclass(frozen=True)
class _Spread:
    """A standard error and the degrees of freedom of Student's t that belong to it."""

    error: float
    freedom: float


@dataclass(frozen=True, eq=False)
class _LeftOut:
    """A model's value, the averages that it is of, and its value without each unit, (K,): the size of a signed one."""

    value: float
    means: Floats
    without: Floats


def _find_handfuls(rows: Rows, measure: Measure) -> Iterator[str]:
    """What there is too little of; there are enough units."""
    views = [measure.choose_view(sample) for sample in rows.models]
    target = views[-1].target
    if measure.every_class:
        yield from _find_rare_classes(rows)
    if measure.both_classes:
        positives = int(target.sum())
        if min(positives, len(target) - positives) < FEWEST_OF_A_CLASS:
            yield f"fewer than {FEWEST_OF_A_CLASS} rows of one class"
        for kind, wanted in (("positive", 1), ("negative", 0)):
            if rows.count_units(target == wanted) < FEWEST_UNITS:
                yield f"{kind} rows in fewer than {FEWEST_UNITS} {rows.name}"
    for sample in views:
        if measure.name.partition(":")[0] == "precision":
            yield from _find_few_calls(rows, sample.called)
        if measure.name == "median_absolute_error" and metrics.is_lumpy_at_median(sample.errors):
            yield "many errors are equal around the median, so that it jumps instead of moving"


def _find_rare_classes(rows: Rows) -> Iterator[str]:
    """The classes that too few rows are of for a mean over classes."""
    sample = rows.samples[1]
    for code, count in enumerate(np.bincount(sample.target.astype(np.intp))):
        name = sample.context.classes[code]
        if 0 < count < FEWEST_OF_EACH_CLASS:
            yield f"fewer than {FEWEST_OF_EACH_CLASS} rows of class {name}"
        elif count and rows.count_units(sample.target == code) < FEWEST_OF_EACH_CLASS:
            yield f"rows of class {name} in fewer than {FEWEST_OF_EACH_CLASS} {rows.name}"


def _find_few_calls(rows: Rows, called: NDArray[np.bool_]) -> Iterator[str]:
    if int(called.sum()) < FEWEST_CALLED:
        yield f"fewer than {FEWEST_CALLED} rows are called positive"
    if rows.count_units(called) < FEWEST_UNITS:
        yield f"rows are called positive in fewer than {FEWEST_UNITS} {rows.name}"


def _are_same(rows: Rows, measure: Measure) -> bool:
    """Whether both models give every row the same score, and read it at the same threshold."""
    champion, candidate = rows.samples
    if champion is None:
        return False
    same = "threshold" not in measure.needs or champion.context.threshold == candidate.context.threshold
    if measure.kind == "money":
        same = champion.context.threshold == candidate.context.threshold
    return same and np.array_equal(champion.score, candidate.score)


def _compare_same(rows: Rows, measure: Measure) -> Interval:
    value = metrics.compute_sample_value(measure, rows.samples[1])
    if value is None:
        return Interval(None, None, None, None, None, note="no value on these rows")
    return Interval(value, value, 0.0, 0.0, 0.0, error=0.0, freedom=float(rows.count - 1))


def _leave_each_out(measure: Measure, sample: Sample, rows: Rows) -> _LeftOut:
    make, sizes = measure.prepare(sample), rows.sizes
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        if sizes is None:
            total = np.sum([make(part).sum(axis=0) for part in split_rows(len(rows))], axis=0)
            without = _combine_blocks(measure, len(rows), lambda part: (total - make(part)) / (len(rows) - 1))
        elif rows.units is None:
            total = sample.sum_components(make)
            without = _combine_blocks(
                measure,
                len(rows),
                lambda part: (total - weigh(make(part), sizes, part)) / (rows.total - sizes[part])[:, None],
            )
        else:
            sums = _sum_by_unit(make, rows.units, rows.count, sample.weights)
            total = sums.sum(axis=0)
            without = _combine_blocks(
                measure,
                rows.count,
                lambda part: (total - sums[part]) / (rows.total - sizes[part])[:, None],
            )
        means = total / rows.total
        value = float(measure.combine(means))
    # A size has a kink at zero, where it varies less than it seems to: the sign stays that of all rows.
    if measure.signed and value < 0:
        np.negative(without, out=without)
    return _LeftOut(value, means, without)


def _combine_blocks(measure: Measure, count: int, average: Callable[[slice], Floats]) -> Floats:
    without = np.empty(count)
    for part in split_rows(count):
        without[part] = measure.combine(average(part))
    return without


def _sum_by_unit(
    make: Callable[[slice], Floats], units: NDArray[np.int32], count: int, weights: Floats | None
) -> Floats:
    """The weighted components' sums over each unit, (K, k)."""
    sums: list[Floats] = []
    for part in split_rows(len(units)):
        columns = weigh(make(part), weights, part).T
        sums = sums or [np.zeros(count) for _ in columns]
        for total, column in zip(sums, columns, strict=True):
            total += np.bincount(units[part], weights=column, minlength=count)
    return np.stack(sums).T


def _measure_spread(without: Floats, rows: Rows) -> _Spread | None:
    """The jackknife's standard error sqrt((K - 1)/K sum (d_i - mean)^2) of K units, and its degrees of freedom.

    The variance of a mean of K squares is that of a chi-squared over f with f = 2 K / (kurtosis - 1)
    (Satterthwaite). Units of unequal size cap it at what independent rows would give: (sum n)^2 / sum n^2.
    """
    away = without - without.mean()
    largest = float(np.abs(away).max())
    if not math.isfinite(largest):
        return None
    count = len(away)
    freedom = float(count - 1)
    if rows.sizes is not None:
        freedom = min(freedom, float(rows.sizes.sum() ** 2 / np.square(rows.sizes).sum()))
    if not largest:
        return _Spread(0.0, freedom)
    np.divide(away, largest, out=away)
    np.square(away, out=away)
    squares, fourths = float(away.sum()), float(np.square(away, out=away).sum())
    kurtosis = count * fourths / squares**2
    if kurtosis > 1:
        freedom = min(freedom, 2 * count / (kurtosis - 1))
    return _Spread(largest * math.sqrt((count - 1) / count * squares), max(freedom, 1.0))


def _keep_from_zero(
    spread: _Spread, left: Sequence[_LeftOut], *, measure: Measure, rows: Rows, own: Sequence[_Spread | None]
) -> _Spread:
    """Where no unit differs from the others: the error as if one row more differed by as much as it may.

    Two hundred right answers do not prove that there is no wrong one. With two degrees of freedom the 95% interval
    is 4.3 / n wide, and the rule of three (Hanley & Lippman-Hand, JAMA 249, 1983) is 3 / n.
    """
    if len(left) == 2:
        least = 1e-6 * max((each.error for each in own if each), default=0.0)
    else:
        least = 1e-12 * abs(left[0].value)
    if spread.error > least:
        return spread
    step = _find_step(left, measure=measure, rows=rows)
    return spread if spread.error > 1e-3 * step else _Spread(step, _FREEDOM_OF_ONE)


def _find_step(left: Sequence[_LeftOut], *, measure: Measure, rows: Rows) -> float:
    """How much one row more could move the metric: by one right or wrong answer where it counts rows, else by as much
    as the most that a row differs between the models (or weighs, where none differs)."""
    if measure.counted is not None:
        return 1 / max(1.0, len(rows) * min(measure.counted(each.means) for each in left))
    makers = [measure.prepare(sample) for sample in rows.models]
    apart, most = 0.0, 0.0
    for part in split_rows(len(rows)):
        blocks = [make(part) for make in makers]
        most = max(most, *(float(np.abs(block).max()) for block in blocks))
        apart = max(apart, float(np.abs(blocks[-1] - blocks[0]).max()))
    moved = left[-1].means.copy()
    moved[0] += (apart or most) / len(rows)
    return abs(float(measure.combine(moved)) - float(measure.combine(left[-1].means)))


def _reach(measure: Measure, value: float, spread: _Spread, *, confidence: float) -> tuple[float, float]:
    """The interval around one model's value, inside the metric's range."""
    lowest, highest = measure.bounds
    half = spread.error * find_t_quantile(0.5 + confidence / 2, spread.freedom)
    low, high = value - half, value + half
    return low if lowest is None else max(low, lowest), high if highest is None else min(high, highest)


def _reach_difference(
    point: Interval,
    measure: Measure,
    left: Sequence[_LeftOut],
    *,
    rows: Rows,
    own: Sequence[_Spread | None],
    confidence: float,
) -> tuple[float, float]:
    """The interval around a difference, no further than the models' own intervals and the metric's range allow."""
    assert point.difference is not None
    assert point.error is not None
    assert point.freedom is not None
    half = point.error * find_t_quantile(0.5 + confidence / 2, point.freedom)
    low, high = point.difference - half, point.difference + half
    lowest, highest = measure.bounds
    if lowest is None and highest is None:
        return low, high
    ends = []
    for each, spread in zip(left, own, strict=True):
        if spread is None:
            return low, high
        kept = _keep_from_zero(spread, [each], measure=measure, rows=rows, own=[spread])
        ends.append(_reach(measure, each.value, kept, confidence=confidence))
    before, after = ends
    if lowest is not None:
        low, high = max(low, lowest - before[1]), min(high, after[1] - lowest)
    if highest is not None:
        low, high = max(low, after[0] - highest), min(high, highest - before[0])
    return low, high
