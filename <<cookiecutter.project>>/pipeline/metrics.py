"""The metrics that a model is judged by: value, direction, unit and confidence interval.

Intervals are analytic. Each metric says how much every row moves it (its influence: the infinitesimal
jackknife, Efron, The Jackknife, the Bootstrap and Other Resampling Plans, 1982); the standard error is the
root of the summed squares. Rows that belong together (one day's flights share their weather) are summed first,
which is the cluster-robust variance of Liang and Zeger (Biometrika 73, 1986). No resampling: O(n log n).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from sklearn import metrics as sk

from pipeline.files import StageError

if TYPE_CHECKING:
    from pipeline.params import Costs, Task

Floats: TypeAlias = NDArray[np.float64]
Direction = Literal["higher", "lower"]
LEAST_CLUSTERS = 10


@dataclass(frozen=True, eq=False)
class Rows:
    """Targets and scores of the same rows, float64 of shape (n,), and how to read them.

    Targets are 0 or 1 for a classification. `clusters` numbers the group of each row, or is None where every
    row stands for itself. `threshold` is the probability from which on a row counts as positive.
    """

    target: Floats
    score: Floats
    threshold: float = 0.5
    costs: Costs | None = None
    clusters: NDArray[np.int64] | None = None
    bins: int = 10

    def __len__(self) -> int:
        return len(self.target)

    @property
    def called(self) -> NDArray[np.bool_]:
        """The rows that are called positive."""
        return self.score >= self.threshold

    def where(self, chosen: NDArray[np.bool_]) -> Rows:
        """The chosen rows alone."""
        clusters = None if self.clusters is None else self.clusters[chosen]
        return Rows(self.target[chosen], self.score[chosen], self.threshold, self.costs, clusters, self.bins)


@dataclass(frozen=True)
class Estimate:
    """A metric's value and its confidence interval; the interval is None where none can be given."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Metric:
    """How to compute a metric: its value, and each row's influence on it, shape (n,), which has mean 0."""

    tasks: tuple[Task, ...]
    direction: Direction
    value: Callable[[Rows], float]
    influence: Callable[[Rows, float], Floats]
    bounds: tuple[float, float] = (-math.inf, math.inf)
    both_classes: bool = False
    unit: Literal["target", "money"] | None = None


def known(name: str, task: Task) -> Metric:
    """The metric of that name. Raises `StageError` for an unknown one, or one of the other task."""
    if name in METRICS and task in METRICS[name].tasks:
        return METRICS[name]
    fitting = ", ".join(other for other, metric in METRICS.items() if task in metric.tasks)
    raise StageError(f"params.yaml: evaluate.metrics: no metric {name!r} for a {task}; there are {fitting}")


def estimate(name: str, rows: Rows, task: Task, confidence: float = 0.95) -> Estimate | None:
    """A metric of these rows with its interval; None where it has no value (no rows, or one class only)."""
    metric = known(name, task)
    if not len(rows) or (metric.both_classes and not 0 < rows.target.sum() < len(rows)):
        return None
    value = float(metric.value(rows))
    if not math.isfinite(value):
        return None
    if name == "median_absolute_error":
        return Estimate(value, *_median_interval(rows, confidence))
    with np.errstate(divide="ignore", invalid="ignore"):
        error = standard_error(metric.influence(rows, value), rows.clusters)
    if error is None or not math.isfinite(error):
        return Estimate(value, None, None)
    margin = _quantile(confidence, rows) * error
    low, high = metric.bounds
    return Estimate(value, max(value - margin, low), min(value + margin, high))


def standard_error(influence: Floats, clusters: NDArray[np.int64] | None = None) -> float | None:
    """The standard error of a mean of influences, clusters summed first; None for too few of them."""
    n = len(influence)
    sums = influence if clusters is None else np.bincount(clusters, influence)
    sums = sums if clusters is None else sums[np.bincount(clusters) > 0]
    if len(sums) < LEAST_CLUSTERS:
        return None
    return math.sqrt(float(sums @ sums) * len(sums) / (len(sums) - 1)) / n


def unit(name: str, costs: Costs | None, target_unit: str | None) -> str | None:
    """The unit in which a metric is told: the target's, money per row, or none."""
    kind = METRICS[name].unit
    if kind == "money" and costs is not None:
        return f"{costs.currency} per row"
    return target_unit if kind == "target" else None


def calibration(rows: Rows) -> list[dict[str, Any]]:
    """Rows of similar score, in bins of equal count; rows of one score share a bin."""
    inside = _bins(rows)
    counts = np.bincount(inside)
    used = counts > 0
    predicted = np.bincount(inside, rows.score)[used] / counts[used]
    observed = np.bincount(inside, rows.target)[used] / counts[used]
    columns = zip(counts[used], predicted, observed, strict=True)
    return [{"rows": int(n), "predicted": float(p), "observed": float(o)} for n, p, o in columns]


def worth(rows: Rows) -> Floats:
    """What each row's decision is worth: a cell of the cost matrix, or the price of the error in units."""
    costs = rows.costs
    if costs is None:
        raise StageError(
            "params.yaml: evaluate.costs: the metric `value` needs to know what decisions are worth"
        )
    if costs.under is not None or costs.over is not None:
        short = rows.target - rows.score
        return (costs.under or 0.0) * np.maximum(short, 0) + (costs.over or 0.0) * np.maximum(-short, 0)
    late = np.where(rows.called, costs.true_positive or 0.0, costs.false_negative or 0.0)
    fine = np.where(rows.called, costs.false_positive or 0.0, costs.true_negative or 0.0)
    return np.where(rows.target == 1, late, fine)


def _quantile(confidence: float, rows: Rows) -> float:
    """The normal quantile, widened to Student's t where there are few clusters."""
    if rows.clusters is None:
        return NormalDist().inv_cdf(0.5 + confidence / 2)
    from scipy.stats import t

    return float(t.ppf(0.5 + confidence / 2, max(len(np.unique(rows.clusters)) - 1, 1)))


def _auc_influence(rows: Rows, value: float) -> Floats:
    """Placements among the other class: DeLong, DeLong and Clarke-Pearson (Biometrics 44, 1988)."""
    positive = rows.target == 1
    ours, theirs = rows.score[positive], rows.score[~positive]
    influence = np.empty(len(rows))
    influence[positive] = (_placement(ours, theirs) - value) * len(rows) / len(ours)
    influence[~positive] = (1 - _placement(theirs, ours) - value) * len(rows) / len(theirs)
    return influence


def _placement(scores: Floats, others: Floats) -> Floats:
    """The share of `others` below each score, ties counted half."""
    ordered = np.sort(others)
    left, right = np.searchsorted(ordered, scores, "left"), np.searchsorted(ordered, scores, "right")
    return (left + right) / (2 * len(others))


def _average_precision_influence(rows: Rows, value: float) -> Floats:
    """Average precision is the mean over positives of the precision at their own score, A(s) / B(s), with A
    and B the shares of positives and of all rows at or above s. A row moves it as a positive, and by raising A
    and B for every positive at or below it."""
    order = np.argsort(-rows.score, kind="stable")
    target, score = rows.target[order], rows.score[order]
    n = len(rows)
    last = np.searchsorted(-score, -score, "right") - 1
    first = np.searchsorted(-score, -score, "left")
    above = np.cumsum(target)[last] / n
    share = (last + 1) / n
    precision = above / share
    raised = np.cumsum((target / share)[::-1])[::-1][first] / n
    lowered = np.cumsum((target * precision / share)[::-1])[::-1][first] / n
    positives = target.mean()
    influence = np.empty(n)
    influence[order] = (target * precision + target * raised - lowered - value * target) / positives
    return influence


def _ratio(
    above: Callable[[Rows], Floats], below: Callable[[Rows], Floats]
) -> Callable[[Rows, float], Floats]:
    """The influence on a ratio of two sums over rows."""

    def influence(rows: Rows, value: float) -> Floats:
        divisor = below(rows)
        moved: Floats = (above(rows) - value * divisor) / divisor.mean()
        return moved

    return influence


def _mean(loss: Callable[[Rows], Floats]) -> Callable[[Rows, float], Floats]:
    """The influence on a mean over rows."""
    return lambda rows, value: loss(rows) - value


def _log_losses(rows: Rows) -> Floats:
    smallest = np.finfo(np.float64).eps
    right = np.where(rows.target == 1, rows.score, 1 - rows.score)
    losses: Floats = -np.log(np.clip(right, smallest, 1 - smallest))
    return losses


def _hits(rows: Rows) -> Floats:
    return rows.called * rows.target


def _bins(rows: Rows) -> NDArray[np.int64]:
    edges = np.unique(np.quantile(rows.score, np.linspace(0, 1, rows.bins + 1)[1:-1]))
    return np.searchsorted(edges, rows.score, "left").astype(np.int64)


def _calibration_error(rows: Rows) -> float:
    """The mean over bins of |mean score - mean target|, weighted by rows (Naeini et al., AAAI 2015)."""
    return float(np.abs(np.bincount(_bins(rows), rows.score - rows.target)).sum() / len(rows))


def _calibration_error_influence(rows: Rows, value: float) -> Floats:
    gaps = rows.score - rows.target
    inside = _bins(rows)
    influence: Floats = np.sign(np.bincount(inside, gaps))[inside] * gaps - value
    return influence


def _squares(rows: Rows) -> Floats:
    return (rows.score - rows.target) ** 2


def _r2_influence(rows: Rows, value: float) -> Floats:
    spread: Floats = (rows.target - rows.target.mean()) ** 2
    influence: Floats = ((1 - value) * spread - _squares(rows)) / spread.mean()
    return influence


def _bias_influence(rows: Rows, value: float) -> Floats:
    errors = rows.score - rows.target
    centred: Floats = errors - errors.mean()
    return centred


def _median_interval(rows: Rows, confidence: float) -> tuple[float | None, float | None]:
    """The order statistics at 1/2 +- z standard errors of the share below the median (Woodruff, JASA 47,
    1952); for single rows that is the binomial interval."""
    errors = np.sort(np.abs(rows.score - rows.target))
    below = (np.abs(rows.score - rows.target) <= np.median(errors)).astype(np.float64)
    error = standard_error(below - below.mean(), rows.clusters)
    if error is None:
        return None, None
    margin = _quantile(confidence, rows) * error
    n = len(errors)
    low, high = max(math.floor((0.5 - margin) * n), 1), min(math.ceil((0.5 + margin) * n) + 1, n)
    return float(errors[low - 1]), float(errors[high - 1])


def _r2(rows: Rows) -> float:
    return float(sk.r2_score(rows.target, rows.score)) if np.ptp(rows.target) > 0 else math.nan


CLASSIFICATION: tuple[Task, ...] = ("classification",)
REGRESSION: tuple[Task, ...] = ("regression",)
SHARE = (0.0, 1.0)
SIZE = (0.0, math.inf)

METRICS: dict[str, Metric] = {
    "roc_auc": Metric(
        CLASSIFICATION,
        "higher",
        lambda r: sk.roc_auc_score(r.target, r.score),
        _auc_influence,
        SHARE,
        both_classes=True,
    ),
    "average_precision": Metric(
        CLASSIFICATION,
        "higher",
        lambda r: sk.average_precision_score(r.target, r.score),
        _average_precision_influence,
        SHARE,
        both_classes=True,
    ),
    "log_loss": Metric(
        CLASSIFICATION,
        "lower",
        lambda r: sk.log_loss(r.target, r.score, labels=[0, 1]),
        _mean(_log_losses),
        SIZE,
    ),
    "brier": Metric(
        CLASSIFICATION, "lower", lambda r: sk.mean_squared_error(r.target, r.score), _mean(_squares), SHARE
    ),
    "accuracy": Metric(
        CLASSIFICATION,
        "higher",
        lambda r: sk.accuracy_score(r.target, r.called),
        _mean(lambda r: (r.called == (r.target == 1)).astype(np.float64)),
        SHARE,
    ),
    "precision": Metric(
        CLASSIFICATION,
        "higher",
        lambda r: sk.precision_score(r.target, r.called, zero_division=0),
        _ratio(_hits, lambda r: r.called.astype(np.float64)),
        SHARE,
    ),
    "recall": Metric(
        CLASSIFICATION,
        "higher",
        lambda r: sk.recall_score(r.target, r.called, zero_division=0),
        _ratio(_hits, lambda r: r.target),
        SHARE,
        both_classes=True,
    ),
    "f1": Metric(
        CLASSIFICATION,
        "higher",
        lambda r: sk.f1_score(r.target, r.called, zero_division=0),
        _ratio(lambda r: 2 * _hits(r), lambda r: r.called + r.target),
        SHARE,
        both_classes=True,
    ),
    "expected_calibration_error": Metric(
        CLASSIFICATION, "lower", _calibration_error, _calibration_error_influence, SHARE
    ),
    "mae": Metric(
        REGRESSION,
        "lower",
        lambda r: sk.mean_absolute_error(r.target, r.score),
        _mean(lambda r: np.abs(r.score - r.target)),
        SIZE,
        unit="target",
    ),
    "rmse": Metric(
        REGRESSION,
        "lower",
        lambda r: sk.root_mean_squared_error(r.target, r.score),
        lambda r, value: (_squares(r) - value**2) / (2 * value),
        SIZE,
        unit="target",
    ),
    "r2": Metric(REGRESSION, "higher", _r2, _r2_influence, (-math.inf, 1.0)),
    "median_absolute_error": Metric(
        REGRESSION,
        "lower",
        lambda r: sk.median_absolute_error(r.target, r.score),
        lambda r, value: np.zeros(len(r)),
        SIZE,
        unit="target",
    ),
    # The size of the mean error, so that lower is better; calibration shows its direction.
    "bias": Metric(
        REGRESSION,
        "lower",
        lambda r: abs(float(np.mean(r.score - r.target))),
        _bias_influence,
        SIZE,
        unit="target",
    ),
    "value": Metric(
        (*CLASSIFICATION, *REGRESSION), "higher", lambda r: float(worth(r).mean()), _mean(worth), unit="money"
    ),
}
