"""What each metric is: a function of weighted averages over rows, so that leaving out some rows is a subtraction.

A metric is `combine(average of components(row))`. Metrics that count or average are so exactly. Metrics that
rank rows are linearised around the rows at hand, which leaves their value exact and their sampling variation
right to first order (the infinitesimal jackknife: Efron, The Jackknife, the Bootstrap and Other Resampling
Plans, 1982):

- ROC AUC by placements, ties counted half: DeLong, DeLong & Clarke-Pearson, Biometrics 44 (1988) 837-845;
  summed over whole clusters as in Obuchowski, Biometrics 53 (1997) 567-578.
- average precision by its influence function, derived in docs/statistics.md.
- the median by its influence function with the sparsity of Hall & Sheather, JRSS B 50 (1988) 381-391.

Components are made for a block of rows at a time: ten million rows with ten bins each would need a gigabyte.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from bots.evidence import Costs, Direction
from bots.stats.weights import find_quantiles, simplify_weights

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bots.evidence import Task

Floats = NDArray[np.float64]
Kind = Literal["share", "loss", "money", "quantity"]
_BLOCK = 2**18


@dataclass(frozen=True, kw_only=True)
class Context:
    """What a metric needs beside the rows: from which score on a row is called positive, what decisions are
    worth, into how many bins scores are sorted, the names of several classes in their order, and those of the metrics
    that each row brings (task scores), in the order of their columns, with what is better.

    The watch keeps it as JSON, so the types of its fields are imported when it runs."""

    threshold: float | None = None
    costs: Costs | None = None
    bins: int = 10
    classes: tuple[str, ...] = ()
    row_metrics: Mapping[str, Direction] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Sample:
    """Rows with one model's scores: `target` and `score` are float64 of shape (n,). With several classes `target` is
    the place of a row's class and `score` the probability of each, (n, k). Where each row brings its metrics, `score`
    has one column for each, (n, m), and `target` says nothing.

    `weights` (n,) say how much each row counts, all above zero; None: each counts once.
    """

    target: Floats
    score: Floats
    context: Context
    weights: Floats | None = None

    @cached_property
    def ranking(self) -> Ranking:
        """The rows by score; sorted once for all metrics that need it."""
        return _rank_rows(self.target, self.score, self.weights)

    @cached_property
    def called_class(self) -> NDArray[np.intp]:
        """The place of the class that each row is called, of several: the largest probability, first of equal ones."""
        called: NDArray[np.intp] = self.score.argmax(axis=1)
        return called

    @cached_property
    def total(self) -> float:
        """The sum of the weights: the number of rows where each counts once."""
        return len(self.target) if self.weights is None else float(self.weights.sum())

    def sum_components(self, make: Callable[[slice], Floats]) -> Floats:
        """The sums of weighted components over all rows, (k,)."""
        return np.sum(
            [weigh(make(part), self.weights, part).sum(axis=0) for part in split_rows(len(self.target))],
            axis=0,
        )

    @property
    def called(self) -> NDArray[np.bool_]:
        """The rows that are called positive."""
        return _call_positive(self.score, self.context)

    @property
    def errors(self) -> Floats:
        """How far each score is from its target."""
        return np.abs(self.target - self.score)


@dataclass(frozen=True, eq=False)
class Ranking:
    """Rows in groups of equal score, in ascending order: `order` and `group` are (n,) the row numbers and the group of
    each, `positives` and `rows` the counts of each group, or the sums of the rows' weights."""

    order: NDArray[np.int32]
    group: NDArray[np.int32]
    positives: NDArray[Any]
    rows: NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One metric.

    `prepare(sample)` gives a function from a range of rows to their components (rows, k); `combine` takes averages
    (..., k) and gives (...). `bounds` is the range of possible values, `both_classes` says that the metric
    has no value where one class is missing, `needs` what params.yaml has to say before it can be computed.
    `counted(averages)` is the share of rows that the metric is a share of, where it counts rows; `signed` says that
    zero is best and that models are compared by the size of the value. Of several classes: `view(sample)` is the sample
    of two answers that a metric of one class is about, `every_class` says that a metric is a mean over classes, and
    `several` that it has no value where all rows are of one.
    """

    name: str
    label: str
    direction: Direction
    tasks: tuple[Task, ...]
    kind: Kind
    prepare: Callable[[Sample], Callable[[slice], Floats]]
    combine: Callable[[Floats], Floats]
    decimals: int = 3
    bounds: tuple[float | None, float | None] = (None, None)
    both_classes: bool = False
    needs: tuple[Literal["threshold", "costs"], ...] = ()
    counted: Callable[[Floats], float] | None = None
    signed: bool = False
    view: Callable[[Sample], Sample] | None = None
    every_class: bool = False
    several: bool = False

    def choose_view(self, sample: Sample) -> Sample:
        """The sample of two answers that a metric of one class is about; of any other metric the sample itself."""
        return sample if self.view is None else self.view(sample)

    def lacks_class(self, sample: Sample) -> bool:
        """Whether rows of a class are missing that the metric has no value without."""
        if self.several:
            return bool((sample.target == sample.target[0]).all())
        if not self.both_classes:
            return False
        target = self.choose_view(sample).target
        return not 0 < target.sum() < len(target)

    def components(self, target: Floats, score: Floats, context: Context) -> Floats:
        """The components of all rows, (n, k)."""
        return self.prepare(Sample(target, score, context))(slice(0, len(target)))


def split_rows(rows: int) -> Iterator[slice]:
    """Ranges of rows, each as many as a processor's cache holds with their components."""
    for start in range(0, rows, _BLOCK):
        yield slice(start, min(start + _BLOCK, rows))


def weigh(components: Floats, weights: Floats | None, part: slice) -> Floats:
    """The components of a range of rows, (rows, k), each as much as its row weighs."""
    return components if weights is None else components * weights[part][:, None]


def make_sample(target: Floats, score: Floats, context: Context, weights: Floats | None = None) -> Sample:
    """The rows that count at all: those that weigh more than nothing."""
    weights = simplify_weights(weights)
    if weights is not None and not bool((weights > 0).all()):
        there = weights > 0
        target, score, weights = target[there], score[there], simplify_weights(weights[there])
    return Sample(target, score, context, weights)


def compute_sample_value(measure: Measure, sample: Sample) -> float | None:
    """As `compute_value`, for a sample whose ranking other metrics share."""
    if not len(sample.target) or measure.lacks_class(sample):
        return None
    totals = sample.sum_components(measure.prepare(sample))
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        found = float(measure.combine(totals / sample.total))
    return found if np.isfinite(found) else None


def find_scale(measure: Measure, sample: Sample) -> float:
    """How large a metric's rounding errors may be beside: one for shares, else what the metric is the average of."""
    value = abs(compute_sample_value(measure, sample) or 0.0)
    if measure.kind == "share":
        return max(1.0, value)
    make = measure.prepare(sample)
    sizes = sample.sum_components(lambda part: np.abs(make(part))) / sample.total
    return max(value, float(measure.combine(sizes)))


def stack_columns(*columns: NDArray[Any]) -> Floats:
    """Columns (n,) side by side as (n, k), each in one piece of memory: their sums are then pairwise and fast."""
    return np.stack([np.asarray(column, dtype=np.float64) for column in columns]).T


def _divide(above: Floats, below: Floats) -> Floats:
    """above / below, and 0 where there is nothing to divide: scikit-learn's `zero_division=0`."""
    return np.divide(above, below, out=np.zeros(np.broadcast(above, below).shape), where=below != 0)


def _rank_rows(target: Floats, score: Floats, weights: Floats | None) -> Ranking:
    """Whole columns are let go of as early as can be: there may be ten million rows."""
    order = np.argsort(score).astype(np.int32)
    ordered = score[order]
    first = np.empty(len(ordered), dtype=np.bool_)
    first[:1] = True
    np.not_equal(ordered[1:], ordered[:-1], out=first[1:])
    del ordered
    group = np.cumsum(first, dtype=np.int32)
    group -= 1
    starts = np.flatnonzero(first).astype(np.int32)
    positive = (target == 1)[order]
    if weights is not None:
        heavy = weights[order]
        return Ranking(
            order=order,
            group=group,
            positives=np.add.reduceat(heavy * positive, starts),
            rows=np.add.reduceat(heavy, starts),
        )
    return Ranking(
        order=order,
        group=group,
        positives=np.add.reduceat(positive, starts, dtype=np.int32),
        rows=np.diff(starts, append=np.int32(len(order))),
    )


def _spread_by_rank(
    ranking: Ranking, value: Callable[[NDArray[np.int32], NDArray[np.int32]], Floats]
) -> Floats:
    """A number for each row, (n,), from row numbers and the groups that they are in, a block at a time."""
    found = np.empty(len(ranking.order))
    for part in split_rows(len(found)):
        found[ranking.order[part]] = value(ranking.order[part], ranking.group[part])
    return found


def _share_before(counts: NDArray[Any], total: float) -> Floats:
    """Of counts in a row, the share of the total before each, half of its own with it. Takes one column of memory."""
    found = np.cumsum(counts, dtype=np.float64)
    for part in split_rows(len(found)):
        found[part] -= counts[part] / 2
    found /= total or 1
    return found


def _prepare_roc_auc(sample: Sample) -> Callable[[slice], Floats]:
    """For each row the share of the other class that it is on the right side of, ties counted half."""
    ranking, positive = sample.ranking, sample.target == 1
    negatives = ranking.rows - ranking.positives
    found, others = float(ranking.positives.sum()), float(negatives.sum())
    above = _share_before(negatives, others)
    del negatives
    below = _share_before(ranking.positives, found)
    np.subtract(1, below, out=below)
    auc = (above * ranking.positives).sum() / (found or 1)
    wins = _spread_by_rank(
        ranking, lambda row, group: np.where(positive[row], above[group], below[group]) - auc / 2
    )

    def make(part: slice) -> Floats:
        return stack_columns(
            positive[part], np.where(positive[part], wins[part], 0), np.where(positive[part], 0, wins[part])
        )

    return make


def _combine_roc_auc(means: Floats) -> Floats:
    positives, above, below = np.moveaxis(means, -1, 0)
    auc: Floats = above / positives + below / (1 - positives)
    return auc


def _prepare_average_precision(sample: Sample) -> Callable[[slice], Floats]:
    """Groups of equal score from the highest on; `seen` counts the rows at or above a group's score.

    Columns are used again in their place: each may have ten million rows.
    """
    target, ranking = sample.target, sample.ranking
    positives, rows = ranking.positives[::-1], ranking.rows[::-1]
    above, seen = np.cumsum(positives, dtype=np.float64), np.cumsum(rows, dtype=np.float64)
    above /= seen
    gained = positives / seen
    del seen
    lost = (above * gained)[::-1]
    below = np.cumsum(lost, out=lost)
    above = above[::-1]
    above += np.cumsum(gained[::-1], out=gained[::-1])
    del gained
    influence = _spread_by_rank(ranking, lambda row, group: target[row] * above[group] - below[group])
    return lambda part: stack_columns(influence[part], target[part])


def _decompose_log_loss(target: Floats, score: Floats, _: Context) -> Floats:
    eps = np.finfo(np.float64).eps
    return stack_columns(-np.log(np.clip(np.where(target == 1, score, 1 - score), eps, 1 - eps)))


def _decompose_squared_error(target: Floats, score: Floats, _: Context) -> Floats:
    return stack_columns((score - target) ** 2)


def _decompose_absolute_error(target: Floats, score: Floats, _: Context) -> Floats:
    return stack_columns(np.abs(score - target))


def _call_positive(score: Floats, context: Context) -> NDArray[np.bool_]:
    return score >= (0.5 if context.threshold is None else context.threshold)


def _decompose_accuracy(target: Floats, score: Floats, context: Context) -> Floats:
    return stack_columns(_call_positive(score, context) == (target == 1))


def _decompose_precision(target: Floats, score: Floats, context: Context) -> Floats:
    called = _call_positive(score, context)
    return stack_columns(called * target, called)


def _decompose_recall(target: Floats, score: Floats, context: Context) -> Floats:
    return stack_columns(_call_positive(score, context) * target, target)


def _decompose_f1(target: Floats, score: Floats, context: Context) -> Floats:
    called = _call_positive(score, context)
    return stack_columns(2 * called * target, called + target)


def _prepare_calibration(sample: Sample) -> Callable[[slice], Floats]:
    """One column a bin of equally many rows; rows of the same score share a bin."""
    target, score, bins = sample.target, sample.score, sample.context.bins
    edges = np.unique(find_quantiles(score, sample.weights, np.linspace(0, 1, bins + 1)[1:-1]))

    def make(part: slice) -> Floats:
        gaps = np.zeros((bins, len(score[part]))).T
        inside = np.searchsorted(edges, score[part], side="left")
        gaps[np.arange(len(gaps)), inside] = score[part] - target[part]
        return gaps

    return make


def _decompose_value(target: Floats, score: Floats, context: Context) -> Floats:
    costs = context.costs
    if costs is None:
        return stack_columns(np.full(len(target), np.nan))
    if costs.under is not None or costs.over is not None:
        short = target - score
        return stack_columns(
            (costs.under or 0) * np.maximum(short, 0) + (costs.over or 0) * np.maximum(-short, 0)
        )
    called = _call_positive(score, context)
    right = np.where(called, costs.true_positive or 0, costs.false_negative or 0)
    wrong = np.where(called, costs.false_positive or 0, costs.true_negative or 0)
    return stack_columns(np.where(target == 1, right, wrong))


def _prepare_r2(sample: Sample) -> Callable[[slice], Floats]:
    target, score = sample.target, sample.score
    mean = np.average(target, weights=sample.weights) if np.ptp(target) else target[0]

    def make(part: slice) -> Floats:
        centred = target[part] - mean
        return stack_columns((target[part] - score[part]) ** 2, centred, centred**2)

    return make


def _combine_r2(means: Floats) -> Floats:
    """No number where what is left of the variance is what rounding leaves."""
    squared, centred, spread = np.moveaxis(means, -1, 0)
    variance = spread - centred**2
    share: Floats = 1 - squared / np.where(variance > 1e-10 * spread, variance, np.nan)
    return share


def _prepare_median(sample: Sample) -> Callable[[slice], Floats]:
    """The median m of |error| as m + (share below m - [error <= m]) x sparsity at m."""
    errors = sample.errors
    window = find_median_window(len(errors))
    middle = np.median(errors) if sample.weights is None else find_quantiles(errors, sample.weights, [0.5])[0]
    low, high = find_quantiles(errors, sample.weights, [0.5 - window, 0.5 + window])
    below = errors <= middle
    share, sparsity = np.average(below, weights=sample.weights), (high - low) / (2 * window)
    return lambda part: stack_columns(middle + (share - below[part]) * sparsity)


def find_median_window(rows: int) -> float:
    """How far the quantiles lie from 0.5 that tell how dense the errors are at their median (Hall & Sheather 1988)."""
    density = 1.5 * NormalDist().pdf(0) ** 2
    width: float = NormalDist().inv_cdf(0.975) ** (2 / 3) * (density / rows) ** (1 / 3)
    return min(0.5, width)


def is_lumpy_at_median(errors: Floats) -> bool:
    """Whether more errors are equal to the median than chance moves it by, sqrt(n) of n rows.

    It then stays where it is, or jumps, and how dense the errors are around it says nothing.
    """
    middle = np.partition(errors, (len(errors) - 1) // 2)[(len(errors) - 1) // 2]
    equal = np.count_nonzero(np.abs(errors - middle) <= 1e-9 * middle)
    return bool(equal > max(2.0, np.sqrt(len(errors))))


def _decompose_error(target: Floats, score: Floats, _: Context) -> Floats:
    return stack_columns(score - target)


def prepare_by_row(
    decompose: Callable[[Floats, Floats, Context], Floats],
) -> Callable[[Sample], Callable[[slice], Floats]]:
    """The components of a metric whose rows know nothing of each other."""
    return lambda sample: lambda part: decompose(sample.target[part], sample.score[part], sample.context)


def _count_rows(_: Floats) -> float:
    return 1.0


def _count_below(means: Floats) -> float:
    """What stands below the line of a share."""
    return float(means[1])


def _count_rarer_class(means: Floats) -> float:
    return float(min(means[0], 1 - means[0]))


def combine_mean(means: Floats) -> Floats:
    """The average of the only component."""
    return means[..., 0]


def _combine_share(means: Floats) -> Floats:
    return _divide(means[..., 0], means[..., 1])


def _combine_root(means: Floats) -> Floats:
    return np.sqrt(np.maximum(means[..., 0], 0))


def _combine_total(means: Floats) -> Floats:
    return np.asarray(np.abs(means).sum(axis=-1))


def _define_classification(
    name: str,
    label: str,
    direction: Direction,
    *,
    prepare: Callable[[Sample], Callable[[slice], Floats]],
    combine: Callable[[Floats], Floats],
    **more: Any,
) -> Measure:
    settings: dict[str, Any] = {"tasks": ("classification",), "kind": "share", "bounds": (0.0, 1.0), **more}
    return Measure(name=name, label=label, direction=direction, prepare=prepare, combine=combine, **settings)


def _define_regression(
    name: str,
    label: str,
    *,
    prepare: Callable[[Sample], Callable[[slice], Floats]],
    combine: Callable[[Floats], Floats],
    **more: Any,
) -> Measure:
    settings: dict[str, Any] = {"direction": "lower", "kind": "quantity", "bounds": (0.0, None), **more}
    return Measure(
        name=name, label=label, tasks=("regression",), prepare=prepare, combine=combine, **settings
    )


_MEASURES = (
    _define_classification(
        "roc_auc",
        "ROC AUC",
        "higher",
        prepare=_prepare_roc_auc,
        combine=_combine_roc_auc,
        both_classes=True,
        counted=_count_rarer_class,
    ),
    _define_classification(
        "average_precision",
        "average precision",
        "higher",
        prepare=_prepare_average_precision,
        combine=_combine_share,
        both_classes=True,
        counted=_count_below,
    ),
    _define_classification(
        "log_loss",
        "log loss",
        "lower",
        prepare=prepare_by_row(_decompose_log_loss),
        combine=combine_mean,
        kind="loss",
        bounds=(0.0, None),
        decimals=4,
    ),
    _define_classification(
        "brier",
        "Brier score",
        "lower",
        prepare=prepare_by_row(_decompose_squared_error),
        combine=combine_mean,
        decimals=4,
    ),
    _define_classification(
        "accuracy",
        "accuracy",
        "higher",
        prepare=prepare_by_row(_decompose_accuracy),
        combine=combine_mean,
        needs=("threshold",),
        counted=_count_rows,
    ),
    _define_classification(
        "precision",
        "precision",
        "higher",
        prepare=prepare_by_row(_decompose_precision),
        combine=_combine_share,
        needs=("threshold",),
        counted=_count_below,
    ),
    _define_classification(
        "recall",
        "recall",
        "higher",
        prepare=prepare_by_row(_decompose_recall),
        combine=_combine_share,
        both_classes=True,
        needs=("threshold",),
        counted=_count_below,
    ),
    _define_classification(
        "f1",
        "F1 score",
        "higher",
        prepare=prepare_by_row(_decompose_f1),
        combine=_combine_share,
        both_classes=True,
        needs=("threshold",),
        counted=_count_below,
    ),
    _define_classification(
        "expected_calibration_error",
        "calibration error",
        "lower",
        prepare=_prepare_calibration,
        combine=_combine_total,
        decimals=4,
    ),
    _define_regression(
        "mae", "mean absolute error", prepare=prepare_by_row(_decompose_absolute_error), combine=combine_mean
    ),
    _define_regression(
        "rmse",
        "root mean squared error",
        prepare=prepare_by_row(_decompose_squared_error),
        combine=_combine_root,
    ),
    _define_regression(
        "r2",
        "R²",
        prepare=_prepare_r2,
        combine=_combine_r2,
        direction="higher",
        kind="share",
        bounds=(None, 1.0),
    ),
    _define_regression(
        "median_absolute_error",
        "median absolute error",
        prepare=_prepare_median,
        combine=combine_mean,
    ),
    _define_regression(
        "bias",
        "bias",
        prepare=prepare_by_row(_decompose_error),
        combine=combine_mean,
        bounds=(None, None),
        signed=True,
    ),
    Measure(
        name="value",
        label="value",
        direction="higher",
        tasks=("classification", "regression"),
        kind="money",
        prepare=prepare_by_row(_decompose_value),
        combine=combine_mean,
        needs=("costs",),
    ),
)

MEASURES: dict[str, Measure] = {measure.name: measure for measure in _MEASURES}
