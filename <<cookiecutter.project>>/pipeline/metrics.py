"""Compute the metrics of a model by scikit-learn, and say of each which direction is better and its unit.

There are no intervals here: a review computes them from the predictions, in the same way for main and a change.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn import metrics as sk

from pipeline import class_metrics, deviances
from pipeline.classes import make_worths, quote_labels
from pipeline.files import StageError
from pipeline.scored_rows import Floats, Rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.params import Costs, Task

Direction = Literal["higher", "lower"]
NO_COSTS = "params.yaml: evaluate.costs: the metric `value` needs to know what decisions are worth"


@dataclass(frozen=True)
class Metric:
    """How to compute a metric; `both_classes` says that it has no value where one class is missing."""

    tasks: tuple[Task, ...]
    direction: Direction
    value: Callable[[Rows], float]
    both_classes: bool = False
    unit: Literal["target", "money"] | None = None


def find_metric(
    name: str, task: Task, classes: Sequence[str] = (), *, key: str = "evaluate.metrics"
) -> Metric:
    """Find the metric of that name; that of one class, `recall:CLASS`, where there are several; `pinball:0.9`.

    `key` is where params.yaml names it.

    Raises `StageError` for an unknown one, one of another task, and one of a class that is none of `classes`, where
    they are known.
    """
    named = class_metrics.find_class_metric(name) if task == "multiclass" else None
    if named is not None:
        kind, of = named
        if classes and of not in classes:
            raise StageError(
                f"params.yaml: {key}: {name!r}: no class {quote_labels([of])}; the classes are "
                f"{quote_labels(classes)}"
            )
        return Metric((task,), "higher", lambda rows: class_metrics.compute_class_metric(kind, of, rows))
    level = deviances.find_level(name) if task == "regression" else None
    if level is not None:
        return Metric((task,), "lower", lambda rows: deviances.compute_pinball(level, rows), unit="target")
    known = CLASS_METRICS if task == "multiclass" else METRICS
    if name in known and task in known[name].tasks:
        return known[name]
    fitting = ", ".join(other for other, metric in known.items() if task in metric.tasks)
    if task == "multiclass":
        fitting += " and, of one class, " + ", ".join(f"{kind}:CLASS" for kind in class_metrics.OF_A_CLASS)
    if task == "regression":
        fitting += f", {deviances.PINBALL}:LEVEL ({deviances.NAMING})"
    raise StageError(f"params.yaml: {key}: no metric {name!r} for a {task}; there are {fitting}")


def compute(name: str, rows: Rows, task: Task) -> float | None:
    """Compute a metric of these rows; None where it has no value (no rows, one class only, a constant target)."""
    metric, rows = find_metric(name, task, rows.classes), rows.leave_out_weightless()
    if not len(rows) or (metric.both_classes and not 0 < rows.target.sum() < len(rows)):
        return None
    value = float(metric.value(rows))
    return value if math.isfinite(value) else None


def find_unit(name: str, costs: Costs | None, target_unit: str | None) -> str | None:
    """Find the unit of a metric: the target's, money per row, or none."""
    kind = METRICS[name].unit if name in METRICS else None
    if deviances.find_level(name) is not None:
        kind = "target"
    if kind == "money" and costs is not None:
        return f"{costs.currency} per row"
    return target_unit if kind == "target" else None


def compute_calibration(rows: Rows) -> list[dict[str, Any]]:
    """Compare mean score and mean target of rows of similar score, in bins of equal count; equal scores share a bin.

    Bins of rows that count unlike are of equal weight, and so are their means. Of several classes it is the probability
    of the one that a row is called, against whether that is right.
    """
    rows = (rows.top if rows.classes else rows).leave_out_weightless()
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
    if rows.classes:
        return class_metrics.compute_class_worth(rows)
    if costs.under is not None or costs.over is not None:
        short = rows.target - rows.score
        return (costs.under or 0.0) * np.maximum(short, 0) + (costs.over or 0.0) * np.maximum(-short, 0)
    late = np.where(rows.called, costs.true_positive or 0.0, costs.false_negative or 0.0)
    fine = np.where(rows.called, costs.false_positive or 0.0, costs.true_negative or 0.0)
    return np.where(rows.target == 1, late, fine)


def check_costs(costs: Costs | None, task: Task, classes: Sequence[str] = ()) -> None:
    """Raise `StageError` for costs of another task, and for those of a class that is none of `classes`, where known."""
    if costs is None:
        return
    given = {name for name in COSTS_OF for cell in COSTS_OF[name] if getattr(costs, cell) is not None}
    if wrong := sorted(given - {task}):
        cells = ", ".join(cell for cell in COSTS_OF[wrong[0]] if getattr(costs, cell) is not None)
        raise StageError(
            f"params.yaml: evaluate.costs: {cells} are for the task {wrong[0]}, and data.task is {task}: its costs are "
            f"{', '.join(COSTS_OF[task])}"
        )
    if classes:
        make_worths(costs, classes)


def check_threshold(threshold: float | None, task: Task) -> None:
    """Raise `StageError` for a threshold where several classes are: the largest probability decides there."""
    if threshold is not None and task == "multiclass":
        raise StageError(
            "params.yaml: evaluate.threshold: with several classes the one of the largest probability is the answer, "
            "and there is no threshold: say null"
        )


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


COSTS_OF: dict[Task, tuple[str, ...]] = {
    "classification": ("true_positive", "false_positive", "true_negative", "false_negative"),
    "regression": ("under", "over"),
    "multiclass": ("matrix",),
}
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
    "poisson_deviance": _define("lower", deviances.compute_poisson, task="regression"),
    "gamma_deviance": _define("lower", deviances.compute_gamma, task="regression"),
    "value": Metric(
        ("classification", "regression"), "higher", lambda r: r.average(compute_worth(r)), unit="money"
    ),
}
CLASS_METRICS: dict[str, Metric] = {
    "log_loss": _define("lower", class_metrics.compute_log_loss, task="multiclass"),
    "brier": _define("lower", class_metrics.compute_brier, task="multiclass"),
    "accuracy": _define("higher", class_metrics.compute_accuracy, task="multiclass"),
    "balanced_accuracy": _define("higher", class_metrics.compute_balanced_accuracy, task="multiclass"),
    "f1_macro": _define("higher", class_metrics.compute_f1_macro, task="multiclass"),
    "precision_macro": _define("higher", class_metrics.compute_precision_macro, task="multiclass"),
    "roc_auc_ovr": _define("higher", class_metrics.compute_roc_auc_ovr, task="multiclass"),
    "expected_calibration_error": _define(
        "lower", lambda r: _compute_calibration_error(r.top), task="multiclass"
    ),
    "value": Metric(("multiclass",), "higher", lambda r: r.average(compute_worth(r)), unit="money"),
}
