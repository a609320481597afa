"""How much one answer cost, between 0 and 1: what the watch adds up by day, and what its detectors bet on.

A detector that is valid whatever the data look like needs a loss with bounds. Each primary metric has one:

| primary metric | plain loss of a row | bounded loss |
| --- | --- | --- |
| log loss | log loss | clipped at `limit`, divided by it |
| Brier score, ROC AUC, average precision, calibration error | squared error of the probability | the same |
| accuracy, precision, recall, F1 | 1 for a wrong decision, else 0 | the same |
| value (classification) | what the best cell is worth beyond this row's | divided by the range of the cells |
| log loss, Brier score of several classes | the same of all probabilities | clipped at `limit`; divided by 2 |
| any other metric of several classes | 1 for a wrong class, else 0 | the same |
| value (several classes) | what the best cell is worth beyond this row's | divided by the range of the cells |
| value (regression) | the cost of the error | clipped at `limit`, divided by it |
| mean and median absolute error, bias | absolute error | clipped at `limit`, divided by it |
| root mean squared error, R² | squared error | clipped at `limit`, divided by it |
| `pinball:LEVEL`, Poisson and gamma deviance | the same | clipped at `limit`, divided by it |

`limit` is fixed with the version: twice the 99% quantile of the holdout's own losses. So clipping touches less than 1%
of the rows of a model that is as it was, and a loss that grows twofold still shows in full.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from msgspec import Struct

from bots.stats import deviances
from bots.stats.metrics import Context, Floats, find_task, get_measure

if TYPE_CHECKING:
    from bots.evidence import Costs, Task

QUANTILE: Final = 0.99
FACTOR: Final = 2.0
_PLAIN: Final = {
    "log_loss": "log_loss",
    "brier": "brier",
    "roc_auc": "brier",
    "average_precision": "brier",
    "expected_calibration_error": "brier",
    "accuracy": "wrong",
    "precision": "wrong",
    "recall": "wrong",
    "f1": "wrong",
    "mae": "mae",
    "median_absolute_error": "mae",
    "bias": "mae",
    "rmse": "squared_error",
    "r2": "squared_error",
    "value": "cost",
}


class BoundedLoss(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The loss of a version: `plain` names what a row's loss is (`log_loss`, `brier`, `wrong`, `mae`, `squared_error`,
    `cost`, or a metric such as `pinball:0.9`), `limit` where it is clipped, in its own unit."""

    plain: str
    limit: float

    def compute_plain(self, target: Floats, score: Floats, context: Context) -> Floats:
        """The loss of each row in its own unit, (n,), not clipped; zero is best. Several classes' scores are (n, k).

        A row that the loss has no value of, as a deviance of a score below zero, loses `limit`.
        """
        losses = _compute_plain(self.plain, target, score=score, context=context)
        return np.asarray(np.where(np.isfinite(losses), losses, self.limit))

    def bound_losses(self, plain: Floats) -> Floats:
        """Plain losses (n,) as losses in [0, 1]."""
        bounded: Floats = np.clip(plain / self.limit, 0.0, 1.0)
        return bounded

    def scale_amount(self, amount: float) -> float:
        """A difference of the plain loss, such as what matters, as one of the bounded loss."""
        return amount / self.limit


def name_plain_loss(primary: str) -> str:
    """The name of the loss of a row that stands for a primary metric."""
    return primary if deviances.find_measure(primary) is not None else _PLAIN.get(primary, "wrong")


def choose_loss(primary: str, task: Task, target: Floats, score: Floats, context: Context) -> BoundedLoss:
    """Choose the loss of a version from its primary metric and its holdout rows, (n,) each.

    Raises ValueError for a metric that the task does not have, and where there is no row.
    """
    get_measure(primary, task)
    plain = name_plain_loss(primary)
    if task == "multiclass" and primary not in ("log_loss", "brier", "value"):
        plain = "wrong"
    natural = _find_natural_limit(plain, task, context.costs)
    if natural is not None:
        return BoundedLoss(plain=plain, limit=natural)
    losses = _compute_plain(plain, target, score=score, context=context)
    losses = losses[np.isfinite(losses)]
    if not len(losses):
        raise ValueError("a loss is chosen from the holdout's rows, and there are none")
    limit = FACTOR * float(np.quantile(losses, QUANTILE))
    return BoundedLoss(plain=plain, limit=limit or FACTOR * float(losses.max()) or 1.0)


def _find_natural_limit(plain: str, task: Task, costs: Costs | None) -> float | None:
    """The largest loss that there can be, or None where there is none."""
    if plain == "brier" and task == "multiclass":
        return 2.0
    if plain in {"brier", "wrong"}:
        return 1.0
    if plain == "cost" and task != "regression":
        cells = _list_cells(costs)
        return (max(cells) - min(cells)) or 1.0
    return None


def _list_cells(costs: Costs | None) -> list[float]:
    if costs is None:
        return [0.0]
    if costs.matrix is not None:
        return [0.0, *(value for row in costs.matrix.values() for value in row.values())]
    return [
        costs.true_positive or 0.0,
        costs.false_positive or 0.0,
        costs.true_negative or 0.0,
        costs.false_negative or 0.0,
    ]


def _compute_plain(plain: str, target: Floats, score: Floats, context: Context) -> Floats:
    if plain == "wrong":
        right = get_measure("accuracy", find_task(score, "accuracy")).components(target, score, context)[:, 0]
        return np.asarray(1.0 - right)
    if plain == "cost":
        costs = context.costs
        value = get_measure("value", find_task(score, "value")).components(target, score, context)[:, 0]
        by_cell = costs is not None and costs.under is None and costs.over is None
        return np.asarray((max(_list_cells(costs)) if by_cell else 0.0) - value)
    if plain == "squared_error":
        return np.asarray((score - target) ** 2)
    return get_measure(plain, find_task(score, plain)).components(target, score, context)[:, 0]
