"""Compares how far two models are from their training rows to the holdout: a gap that vanishes is a sign.

A model fits the rows that it was trained on better than others. One that was trained on the holdout too fits that as
well: its loss there falls, and its loss on the training rows does not. A model that learns less by heart pays for its
gain with a higher loss on the training rows; a better feature lowers both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bots.evidence import FitGap
from bots.stats.intervals import FEWEST_UNITS
from bots.stats.predictions import PredictionsError

if TYPE_CHECKING:
    from bots.stats.metrics import Floats
    from bots.stats.predictions import Predictions

# By task; the task scores has none: what a loss is, only the team knows.
LOSSES = {"classification": "log loss", "multiclass": "log loss", "regression": "absolute error"}
# The two-sided 99% point of the normal distribution.
_BEYOND_CHANCE = 2.576
_SHARE = 0.25
_PAID = 0.5
_SMALLEST = 1e-6


def compare_fit(training: Predictions, holdout: Predictions) -> FitGap:
    """Compare the mean loss of both models on training rows and on the holdout; each side has both models' scores.

    `difference` is how much main's gap (holdout minus training) exceeds the candidate's: what the candidate gained on
    the holdout beyond what it gained on the training rows. Its 99% interval is normal, with a standard error by the
    units that are resampled together (the cluster-robust one of Liang and Zeger 1986). Raises `PredictionsError` where
    there are too few units for one, and for the task scores.
    """
    if holdout.task not in LOSSES:
        raise PredictionsError("the task scores has no loss that is known to fall as a model learns by heart")
    (on_training, training_error), (on_holdout, holdout_error) = (
        _compare_losses(side) for side in (training, holdout)
    )
    difference = (on_training[1] - on_training[0]) - (on_holdout[1] - on_holdout[0])
    reach = _BEYOND_CHANCE * float(np.hypot(training_error, holdout_error))
    return FitGap(
        loss=LOSSES[holdout.task],
        training_rows=len(training.target),
        holdout_rows=len(holdout.target),
        champion_training=on_training[0],
        candidate_training=on_training[1],
        champion_holdout=on_holdout[0],
        candidate_holdout=on_holdout[1],
        difference=difference,
        low=difference - reach,
        high=difference + reach,
        vanished=_has_vanished(
            on_training, on_holdout, low=difference - reach, noise=holdout_error * _BEYOND_CHANCE
        ),
    )


def _has_vanished(
    training: tuple[float, float], holdout: tuple[float, float], *, low: float, noise: float
) -> bool:
    """Whether the candidate (second of each) came to fit the holdout as rows are fitted that a model was trained on.

    That is: it is better on the holdout beyond chance (`noise`); its gap is smaller than main's beyond chance (`low`:
    the least that it shrank by) and by a quarter of main's; and it did not pay half of that on the training rows.
    """
    gained, paid = holdout[0] - holdout[1], training[1] - training[0]
    before = max(holdout[0] - training[0], 0.0)
    return gained > noise and low > 0 and gained + paid >= _SHARE * before and paid <= _PAID * gained


def _compare_losses(side: Predictions) -> tuple[tuple[float, float], float]:
    """The mean loss of champion and candidate, and the standard error of their difference."""
    if side.champion is None:
        raise PredictionsError("the fit of two models needs the scores of both")
    before, after = (_compute_losses(side, score) for score in (side.champion, side.candidate))
    count = len(side.target) if side.units is None else len(side.units.names)
    if count < FEWEST_UNITS:
        raise PredictionsError(
            f"only {count} units are resampled together, at least {FEWEST_UNITS} are needed"
        )
    change, weights = after - before, side.weights
    means = float(np.average(before, weights=weights)), float(np.average(after, weights=weights))
    parts = change - np.average(change, weights=weights)
    if weights is not None:
        parts *= weights * (len(weights) / weights.sum())
    if side.units is not None:
        parts = np.bincount(side.units.codes, weights=parts, minlength=count).astype(np.float64)
    error = float(np.sqrt((parts**2).sum() * count / (count - 1))) / len(change)
    return means, error


def _compute_losses(side: Predictions, score: Floats) -> Floats:
    """Each row's loss; shape (rows,)."""
    if side.task == "regression":
        return np.abs(score - side.target)
    if side.task == "multiclass":
        right = score[np.arange(len(score)), side.target.astype(np.intp)]
    else:
        right = np.where(side.target > 0, score, 1 - score)
    return -np.log(np.maximum(right, _SMALLEST))
