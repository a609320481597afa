"""Compute the metrics of a regression that predicts a quantile, or a mean of counts and amounts, by scikit-learn."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
from sklearn import metrics as sk

from pipeline.files import StageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pipeline.scored_rows import Rows

PINBALL = "pinball"
"""The pinball loss at a level is called `pinball:0.9`."""
NAMING = (
    "a pinball loss is named with its level, above 0 and below 1, without zeros at the end: `pinball:0.9`"
)
_LEVEL = re.compile(r"0\.\d{0,3}[1-9]\Z", re.ASCII)


def find_level(name: str) -> float | None:
    """Find the level that `pinball:0.9` names; None where it names none. A level has one spelling."""
    kind, colon, level = name.partition(":")
    return float(level) if colon and kind == PINBALL and _LEVEL.match(level) else None


def compute_pinball(level: float, rows: Rows) -> float:
    """Compute the mean pinball loss, in the target's unit: the quantile at that level has the smallest."""
    return float(sk.mean_pinball_loss(rows.target, rows.score, sample_weight=rows.weight, alpha=level))


def compute_poisson(rows: Rows) -> float:
    """Compute the mean Poisson deviance. Raises `StageError` for targets below zero and predictions not above it."""
    _refuse("poisson_deviance", "targets are below zero", rows.target < 0)
    _refuse("poisson_deviance", "predictions are zero or below", rows.score <= 0)
    return float(sk.mean_poisson_deviance(rows.target, rows.score, sample_weight=rows.weight))


def compute_gamma(rows: Rows) -> float:
    """Compute the mean gamma deviance. Raises `StageError` for targets and predictions that are not above zero."""
    _refuse("gamma_deviance", "targets are zero or below", rows.target <= 0)
    _refuse("gamma_deviance", "predictions are zero or below", rows.score <= 0)
    return float(sk.mean_gamma_deviance(rows.target, rows.score, sample_weight=rows.weight))


def _refuse(name: str, what: str, wrong: NDArray[np.bool_]) -> None:
    if wrong.any():
        raise StageError(
            f"params.yaml: evaluate.metrics: {name} has no value: {int(wrong.sum()):,} of {len(wrong):,} {what}; use "
            "an estimator that predicts above zero only (PoissonRegressor, GammaRegressor, loss: poisson), or another "
            "metric"
        )
