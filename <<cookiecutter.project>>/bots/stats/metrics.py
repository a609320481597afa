"""What each metric is: a function of weighted averages over rows, so that one product resamples them all.

A metric is `combine(average of components(row))`. Metrics that count or average are so exactly. Metrics that
rank rows are linearised around the rows at hand, which leaves their value exact and their sampling variation
right to first order (the infinitesimal jackknife: Efron, The Jackknife, the Bootstrap and Other Resampling
Plans, 1982):

- ROC AUC by placements, ties counted half: DeLong, DeLong & Clarke-Pearson, Biometrics 44 (1988) 837-845;
  summed over whole clusters as in Obuchowski, Biometrics 53 (1997) 567-578.
- average precision by its influence function, derived in docs/statistics.md.
- the median by its influence function with the sparsity of Hall & Sheather, JRSS B 50 (1988) 381-391.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from bots.evidence import Costs, Direction, Task

Floats = NDArray[np.float64]
Kind = Literal["share", "loss", "money", "quantity"]


@dataclass(frozen=True, kw_only=True)
class Context:
    """What a metric needs beside the rows: from which score on a row is called positive, what decisions are
    worth, and into how many bins scores are sorted."""

    threshold: float | None = None
    costs: Costs | None = None
    bins: int = 10


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One metric.

    `components(target, score, context)` takes two arrays (n,) and gives (n, k); `combine` takes averages
    (..., k) and gives (...). `bounds` is the range of possible values, `both_classes` says that the metric
    has no value where one class is missing, `needs` what params.yaml has to say before it can be computed.
    """

    name: str
    label: str
    direction: Direction
    tasks: tuple[Task, ...]
    kind: Kind
    components: Callable[[Floats, Floats, Context], Floats]
    combine: Callable[[Floats], Floats]
    decimals: int = 3
    bounds: tuple[float | None, float | None] = (None, None)
    both_classes: bool = False
    needs: tuple[Literal["threshold", "costs"], ...] = ()


def compute_value(name: str, target: Floats, score: Floats, context: Context) -> float | None:
    """The metric of these rows, or None where it has none (no rows, one class missing, a constant target)."""
    measure = MEASURES[name]
    if not len(target) or (measure.both_classes and not 0 < target.sum() < len(target)):
        return None
    with np.errstate(divide="ignore", invalid="ignore"):
        found = float(measure.combine(measure.components(target, score, context).mean(axis=0)))
    return found if np.isfinite(found) else None


def choose_measures(names: Iterable[str], task: Task) -> list[Measure]:
    """The metrics of these names that a task has."""
    return [MEASURES[name] for name in names if task in MEASURES[name].tasks]


def find_unit(name: str, costs: Costs | None) -> str | None:
    """The unit of a metric, where it has one: `USD per row` for the business value."""
    return f"{costs.currency} per row" if MEASURES[name].kind == "money" and costs else None


def find_label(name: str) -> str:
    """The metric's name for people: `ROC AUC` for roc_auc."""
    return MEASURES[name].label if name in MEASURES else name.replace("_", " ")


def _stack(*columns: NDArray[Any]) -> Floats:
    return np.column_stack([np.asarray(column, dtype=np.float64) for column in columns])


def _divide(above: Floats, below: Floats) -> Floats:
    """above / below, and 0 where there is nothing to divide: scikit-learn's `zero_division=0`."""
    return np.divide(above, below, out=np.zeros(np.broadcast(above, below).shape), where=below != 0)


def _find_placements(own: Floats, others: Floats) -> Floats:
    """For each of `own`, the share of `others` below it, ties counted half."""
    ordered = np.sort(others)
    below = np.searchsorted(ordered, own, side="left") + np.searchsorted(ordered, own, side="right")
    return below / (2 * max(len(others), 1))


def _decompose_roc_auc(target: Floats, score: Floats, _: Context) -> Floats:
    positive = target == 1
    wins = np.empty(len(target))
    wins[positive] = _find_placements(score[positive], score[~positive])
    wins[~positive] = 1 - _find_placements(score[~positive], score[positive])
    centred = wins - np.mean(wins[positive]) / 2 if positive.any() else wins
    return _stack(positive, np.where(positive, centred, 0), np.where(positive, 0, centred))


def _combine_roc_auc(means: Floats) -> Floats:
    positives, above, below = np.moveaxis(means, -1, 0)
    auc: Floats = above / positives + below / (1 - positives)
    return auc


def _decompose_average_precision(target: Floats, score: Floats, _: Context) -> Floats:
    """Rows in descending score; `hits` and `rows` count what is at or above a row's score, ties included."""
    order = np.argsort(-score, kind="stable")
    y, s = target[order], score[order]
    last = np.searchsorted(-s, -s, side="right") - 1
    first = np.searchsorted(-s, -s, side="left")
    hits, rows = np.cumsum(y)[last], last + 1.0
    gained, lost = y / rows, y * hits / rows**2
    from_here = np.cumsum(gained[::-1])[::-1][first], np.cumsum(lost[::-1])[::-1][first]
    influence = np.empty(len(target))
    influence[order] = y * hits / rows + y * from_here[0] - from_here[1]
    return _stack(influence, target)


def _decompose_log_loss(target: Floats, score: Floats, _: Context) -> Floats:
    eps = np.finfo(np.float64).eps
    return _stack(-np.log(np.clip(np.where(target == 1, score, 1 - score), eps, 1 - eps)))


def _decompose_squared_error(target: Floats, score: Floats, _: Context) -> Floats:
    return _stack((score - target) ** 2)


def _decompose_absolute_error(target: Floats, score: Floats, _: Context) -> Floats:
    return _stack(np.abs(score - target))


def _call_positive(score: Floats, context: Context) -> NDArray[np.bool_]:
    return score >= (0.5 if context.threshold is None else context.threshold)


def _decompose_accuracy(target: Floats, score: Floats, context: Context) -> Floats:
    return _stack(_call_positive(score, context) == (target == 1))


def _decompose_precision(target: Floats, score: Floats, context: Context) -> Floats:
    called = _call_positive(score, context)
    return _stack(called * target, called)


def _decompose_recall(target: Floats, score: Floats, context: Context) -> Floats:
    return _stack(_call_positive(score, context) * target, target)


def _decompose_f1(target: Floats, score: Floats, context: Context) -> Floats:
    called = _call_positive(score, context)
    return _stack(2 * called * target, called + target)


def _decompose_calibration(target: Floats, score: Floats, context: Context) -> Floats:
    """One column a bin of equally many rows; rows of the same score share a bin."""
    edges = np.unique(np.quantile(score, np.linspace(0, 1, context.bins + 1)[1:-1]))
    inside = np.searchsorted(edges, score, side="left")
    gaps = np.zeros((len(target), context.bins))
    gaps[np.arange(len(target)), inside] = score - target
    return gaps


def _decompose_value(target: Floats, score: Floats, context: Context) -> Floats:
    costs = context.costs
    if costs is None:
        return _stack(np.full(len(target), np.nan))
    if costs.under is not None or costs.over is not None:
        short = target - score
        return _stack((costs.under or 0) * np.maximum(short, 0) + (costs.over or 0) * np.maximum(-short, 0))
    called = _call_positive(score, context)
    right = np.where(called, costs.true_positive or 0, costs.false_negative or 0)
    wrong = np.where(called, costs.false_positive or 0, costs.true_negative or 0)
    return _stack(np.where(target == 1, right, wrong))


def _decompose_r2(target: Floats, score: Floats, _: Context) -> Floats:
    centred = target - target.mean()
    return _stack((target - score) ** 2, centred, centred**2)


def _combine_r2(means: Floats) -> Floats:
    squared, centred, spread = np.moveaxis(means, -1, 0)
    share: Floats = 1 - squared / (spread - centred**2)
    return share


def _decompose_median(target: Floats, score: Floats, _: Context) -> Floats:
    """The median m of |error| as m + (share below m - [error <= m]) x sparsity at m."""
    errors = np.abs(target - score)
    middle = np.median(errors)
    density = 1.5 * NormalDist().pdf(0) ** 2
    width = min(0.5, NormalDist().inv_cdf(0.975) ** (2 / 3) * (density / len(errors)) ** (1 / 3))
    low, high = np.quantile(errors, [0.5 - width, 0.5 + width])
    below = errors <= middle
    return _stack(middle + (below.mean() - below) * (high - low) / (2 * width))


def _decompose_bias(target: Floats, score: Floats, _: Context) -> Floats:
    """The size of the mean error. The sign stays that of all rows: |mean| itself has a kink at zero, where
    its replicates vary less than its estimates do."""
    errors = score - target
    return _stack(errors if errors.mean() >= 0 else -errors)


def _combine_mean(means: Floats) -> Floats:
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
    components: Callable[[Floats, Floats, Context], Floats],
    combine: Callable[[Floats], Floats],
    **more: Any,
) -> Measure:
    settings: dict[str, Any] = {"tasks": ("classification",), "kind": "share", "bounds": (0.0, 1.0), **more}
    return Measure(
        name=name, label=label, direction=direction, components=components, combine=combine, **settings
    )


def _define_regression(
    name: str,
    label: str,
    *,
    components: Callable[[Floats, Floats, Context], Floats],
    combine: Callable[[Floats], Floats],
    **more: Any,
) -> Measure:
    settings: dict[str, Any] = {"direction": "lower", "kind": "quantity", "bounds": (0.0, None), **more}
    return Measure(
        name=name, label=label, tasks=("regression",), components=components, combine=combine, **settings
    )


_MEASURES = (
    _define_classification(
        "roc_auc",
        "ROC AUC",
        "higher",
        components=_decompose_roc_auc,
        combine=_combine_roc_auc,
        both_classes=True,
    ),
    _define_classification(
        "average_precision",
        "average precision",
        "higher",
        components=_decompose_average_precision,
        combine=_combine_share,
        both_classes=True,
    ),
    _define_classification(
        "log_loss",
        "log loss",
        "lower",
        components=_decompose_log_loss,
        combine=_combine_mean,
        kind="loss",
        bounds=(0.0, None),
        decimals=4,
    ),
    _define_classification(
        "brier",
        "Brier score",
        "lower",
        components=_decompose_squared_error,
        combine=_combine_mean,
        decimals=4,
    ),
    _define_classification(
        "accuracy",
        "accuracy",
        "higher",
        components=_decompose_accuracy,
        combine=_combine_mean,
        needs=("threshold",),
    ),
    _define_classification(
        "precision",
        "precision",
        "higher",
        components=_decompose_precision,
        combine=_combine_share,
        needs=("threshold",),
    ),
    _define_classification(
        "recall",
        "recall",
        "higher",
        components=_decompose_recall,
        combine=_combine_share,
        both_classes=True,
        needs=("threshold",),
    ),
    _define_classification(
        "f1",
        "F1 score",
        "higher",
        components=_decompose_f1,
        combine=_combine_share,
        both_classes=True,
        needs=("threshold",),
    ),
    _define_classification(
        "expected_calibration_error",
        "calibration error",
        "lower",
        components=_decompose_calibration,
        combine=_combine_total,
        decimals=4,
    ),
    _define_regression(
        "mae", "mean absolute error", components=_decompose_absolute_error, combine=_combine_mean
    ),
    _define_regression(
        "rmse", "root mean squared error", components=_decompose_squared_error, combine=_combine_root
    ),
    _define_regression(
        "r2",
        "R²",
        components=_decompose_r2,
        combine=_combine_r2,
        direction="higher",
        kind="share",
        bounds=(None, 1.0),
    ),
    _define_regression(
        "median_absolute_error",
        "median absolute error",
        components=_decompose_median,
        combine=_combine_mean,
    ),
    _define_regression("bias", "bias", components=_decompose_bias, combine=_combine_mean),
    Measure(
        name="value",
        label="value",
        direction="higher",
        tasks=("classification", "regression"),
        kind="money",
        components=_decompose_value,
        combine=_combine_mean,
        needs=("costs",),
    ),
)

MEASURES: dict[str, Measure] = {measure.name: measure for measure in _MEASURES}
