"""Compute the metrics of a model by scikit-learn, and say of each which direction is better and its unit.

There are no intervals here: a review computes them from the predictions, in the same way for main and a change.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from sklearn import metrics as sk

from pipeline.files import StageError

if TYPE_CHECKING:
    from pipeline.params import Costs, Task

Floats: TypeAlias = NDArray[np.float64]
Direction = Literal["higher", "lower"]
NO_COSTS = "params.yaml: evaluate.costs: the metric `value` needs to know what decisions are worth"


@dataclass(frozen=True, eq=False)
class Rows:
    """Targets and scores of the same rows, float64 of shape (n,), and how to read them.

    Targets are 0 or 1 for a classification. `threshold` is the probability from which on a row counts as positive.
    `weight` (n,) says how much each row counts; None: each counts once.
    """

    target: Floats
    score: Floats
    threshold: float = 0.5
    costs: Costs | None = None
    bins: int = 10
    weight: Floats | None = None

    def __len__(self) -> int:
        return len(self.target)

    @property
    def called(self) -> NDArray[np.bool_]:
        """The rows that are called positive."""
        return self.score >= self.threshold

    def select(self, chosen: NDArray[np.bool_]) -> Rows:
        """The chosen rows alone."""
        return Rows(
            target=self.target[chosen],
            score=self.score[chosen],
            threshold=self.threshold,
            costs=self.costs,
            bins=self.bins,
            weight=None if self.weight is None else self.weight[chosen],
        )

    def average(self, values: NDArray[Any]) -> float:
        """The mean of one value a row, each row as much as it weighs; not a number where no row weighs anything."""
        if self.weight is None:
            return float(values.mean())
        return float(np.average(values, weights=self.weight)) if self.weight.any() else math.nan

    def leave_out_weightless(self) -> Rows:
        """The rows that weigh more than nothing, without weights where each then counts once."""
        if self.weight is None:
            return self
        kept = self if (self.weight > 0).all() else self.select(self.weight > 0)
        return replace(kept, weight=None) if np.all(kept.weight == 1) else kept


@dataclass(frozen=True)
class Metric:
    """How to compute a metric; `both_classes` says that it has no value where one class is missing."""

    tasks: tuple[Task, ...]
    direction: Direction
    value: Callable[[Rows], float]
    both_classes: bool = False
    unit: Literal["target", "money"] | None = None


def find_metric(name: str, task: Task) -> Metric:
    """Find the metric of that name. Raises `StageError` for an unknown one, or one of the other task."""
    if name in METRICS and task in METRICS[name].tasks:
        return METRICS[name]
    fitting = ", ".join(other for other, metric in METRICS.items() if task in metric.tasks)
    raise StageError(f"params.yaml: evaluate.metrics: no metric {name!r} for a {task}; there are {fitting}")


def compute(name: str, rows: Rows, task: Task) -> float | None:
    """Compute a metric of these rows; None where it has no value (no rows, one class only, a constant target)."""
    metric, rows = find_metric(name, task), rows.leave_out_weightless()
    if not len(rows) or (metric.both_classes and not 0 < rows.target.sum() < len(rows)):
        return None
    value = float(metric.value(rows))
    return value if math.isfinite(value) else None


def find_unit(name: str, costs: Costs | None, target_unit: str | None) -> str | None:
    """Find the unit of a metric: the target's, money per row, or none."""
    kind = METRICS[name].unit
    if kind == "money" and costs is not None:
        return f"{costs.currency} per row"
    return target_unit if kind == "target" else None


def compute_calibration(rows: Rows) -> list[dict[str, Any]]:
    """Compare mean score and mean target of rows of similar score, in bins of equal count; equal scores share a bin.

    Bins of rows that count unlike are of equal weight, and so are their means.
    """
    rows = rows.leave_out_weightless()
    inside = _assign_bins(rows)
    counts = np.bincount(inside)
    used = counts > 0
    weights = counts if rows.weight is None else np.bincount(inside, rows.weight)
    predicted = np.bincount(inside, _weigh(rows, rows.score))[used] / weights[used]
    observed = np.bincount(inside, _weigh(rows, rows.target))[used] / weights[used]
    columns = zip(counts[used], predicted, observed, strict=True)
    return [{"rows": int(n), "predicted": float(p), "observed": float(o)} for n, p, o in columns]


def compute_worth(rows: Rows) -> Floats:
    """Compute what each row's decision is worth: a cell of the cost matrix, or the price of the error."""
    costs = rows.costs
    if costs is None:
        raise StageError(NO_COSTS)
    if costs.under is not None or costs.over is not None:
        short = rows.target - rows.score
        return (costs.under or 0.0) * np.maximum(short, 0) + (costs.over or 0.0) * np.maximum(-short, 0)
    late = np.where(rows.called, costs.true_positive or 0.0, costs.false_negative or 0.0)
    fine = np.where(rows.called, costs.false_positive or 0.0, costs.true_negative or 0.0)
    return np.where(rows.target == 1, late, fine)


def _assign_bins(rows: Rows) -> NDArray[np.int64]:
    """Number each row's calibration bin, by its score."""
    edges = np.unique(find_quantiles(rows.score, rows.weight, np.linspace(0, 1, rows.bins + 1)[1:-1]))
    return np.searchsorted(edges, rows.score, "left").astype(np.int64)


def _weigh(rows: Rows, values: Floats) -> Floats:
    return values if rows.weight is None else values * rows.weight


def find_quantiles(values: Floats, weights: Floats | None, levels: Floats) -> Floats:
    """Find the quantiles of values, (levels,), as numpy does between two neighbours in order; weights are above zero.

    Whole weights are so many rows each; others count by their proportion, as if they were 1 on average. The bots find
    them in the same way.
    """
    if weights is None:
        return np.asarray(np.quantile(values, levels))
    order = np.argsort(values, kind="stable")
    ordered, heavy = values[order], weights[order]
    total = float(heavy.sum()) if bool((heavy == np.floor(heavy)).all()) else float(len(heavy))
    ends = np.cumsum(heavy) * (total / float(heavy.sum()))
    place = np.asarray(levels, dtype=np.float64) * max(total - 1, 0)
    below = np.floor(place)

    def find(at: Floats) -> Floats:
        # Sums of weights are off by rounding: half a millionth of a row decides nothing.
        return ordered[np.minimum(np.searchsorted(ends, at + 5e-7, side="right"), len(ordered) - 1)]

    low, high, share = find(below), find(np.minimum(below + 1, max(total - 1, 0))), place - below
    return np.where(share < 0.5, low + (high - low) * share, high - (high - low) * (1 - share))


def _compute_calibration_error(rows: Rows) -> float:
    """Average |mean score - mean target| over the bins, weighted by rows (Naeini et al., AAAI 2015)."""
    gaps = np.abs(np.bincount(_assign_bins(rows), _weigh(rows, rows.score - rows.target))).sum()
    return float(gaps / (len(rows) if rows.weight is None else rows.weight.sum()))


def _compute_r2(rows: Rows) -> float:
    if np.ptp(rows.target) == 0:
        return math.nan
    return float(sk.r2_score(rows.target, rows.score, sample_weight=rows.weight))


def _compute_bias(rows: Rows) -> float:
    """Compute the mean error: above zero the predictions are too high. Zero is best."""
    return rows.average(rows.score - rows.target)


def _compute_median_error(rows: Rows) -> float:
    if rows.weight is None:
        return float(sk.median_absolute_error(rows.target, rows.score))
    return float(find_quantiles(np.abs(rows.target - rows.score), rows.weight, np.array([0.5]))[0])


def _define(
    direction: Direction,
    value: Callable[[Rows], float],
    *,
    task: Task = "classification",
    both_classes: bool = False,
    unit: Literal["target"] | None = None,
) -> Metric:
    return Metric((task,), direction, value, both_classes=both_classes, unit=unit)


METRICS: dict[str, Metric] = {
    "roc_auc": _define(
        "higher", lambda r: sk.roc_auc_score(r.target, r.score, sample_weight=r.weight), both_classes=True
    ),
    "average_precision": _define(
        "higher",
        lambda r: sk.average_precision_score(r.target, r.score, sample_weight=r.weight),
        both_classes=True,
    ),
    "log_loss": _define(
        "lower", lambda r: sk.log_loss(r.target, r.score, labels=[0, 1], sample_weight=r.weight)
    ),
    "brier": _define("lower", lambda r: sk.mean_squared_error(r.target, r.score, sample_weight=r.weight)),
    "accuracy": _define("higher", lambda r: sk.accuracy_score(r.target, r.called, sample_weight=r.weight)),
    "precision": _define(
        "higher", lambda r: sk.precision_score(r.target, r.called, zero_division=0, sample_weight=r.weight)
    ),
    "recall": _define(
        "higher",
        lambda r: sk.recall_score(r.target, r.called, zero_division=0, sample_weight=r.weight),
        both_classes=True,
    ),
    "f1": _define(
        "higher",
        lambda r: sk.f1_score(r.target, r.called, zero_division=0, sample_weight=r.weight),
        both_classes=True,
    ),
    "expected_calibration_error": _define("lower", _compute_calibration_error),
    "mae": _define(
        "lower",
        lambda r: sk.mean_absolute_error(r.target, r.score, sample_weight=r.weight),
        task="regression",
        unit="target",
    ),
    "rmse": _define(
        "lower",
        lambda r: sk.root_mean_squared_error(r.target, r.score, sample_weight=r.weight),
        task="regression",
        unit="target",
    ),
    "r2": _define("higher", _compute_r2, task="regression"),
    "median_absolute_error": _define("lower", _compute_median_error, task="regression", unit="target"),
    "bias": _define("lower", _compute_bias, task="regression", unit="target"),
    "value": Metric(
        ("classification", "regression"), "higher", lambda r: r.average(compute_worth(r)), unit="money"
    ),
}
