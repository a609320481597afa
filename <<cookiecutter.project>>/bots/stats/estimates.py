"""What metrics will be once labels come, from scores alone, and metrics of counts that need not be whole numbers.

A classification is estimated as in CBPE: a score stands for the share of positives that such scores had on the holdout
(isotonic regression), so each bin of scores has expected positives, and with them every metric (Garg et al., Leveraging
unlabeled data to predict out-of-distribution performance, 2022; NannyML's documentation has the name). A regression is
estimated as in DLE: a score stands for the mean loss that such scores had on the holdout. Both take for granted that
rows of a score are as they were there. Where what is asked has come to mean something else, they cannot see it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from bots.stats.metrics import Context, Floats

_SMALLEST = np.finfo(np.float64).eps


@dataclass(frozen=True, eq=False)
class Bins:
    """Rows in bins of their score: `rows` and `scores` (n,) the count and the mean score of each, `positives` (n,) how
    many are positive, or are expected to be."""

    rows: Floats
    scores: Floats
    positives: Floats


def fit_rates(rows: Floats, positives: Floats) -> Floats:
    """The share of positives of each bin of ascending scores, (n,), that never falls: isotonic regression.

    Pool-adjacent-violators with the bins' rows as weights (Barlow et al., Statistical Inference under Order
    Restrictions, 1972). A bin without rows lies on the line between its neighbours that have some. Raises ValueError
    where no bin has rows.
    """
    places = np.flatnonzero(rows > 0)
    if not len(places):
        raise ValueError("no bin has rows: nothing tells what a score stands for")
    blocks: list[tuple[float, float, int]] = []
    for weight, found in zip(rows[places].tolist(), positives[places].tolist(), strict=True):
        blocks.append((weight, found, 1))
        while len(blocks) > 1 and blocks[-2][1] * blocks[-1][0] >= blocks[-1][1] * blocks[-2][0]:
            last = blocks.pop()
            blocks[-1] = tuple(one + other for one, other in zip(blocks[-1], last, strict=True))  # type: ignore[assignment]
    rates = np.repeat([found / weight for weight, found, _ in blocks], [size for *_, size in blocks])
    return np.asarray(np.interp(np.arange(len(rows)), places, rates))


def fit_losses(rows: Floats, losses: Floats) -> Floats:
    """The mean loss of each bin, (n,), from the sums over its rows; a bin without rows lies between its neighbours.

    Raises ValueError where no bin has rows.
    """
    places = np.flatnonzero(rows > 0)
    if not len(places):
        raise ValueError("no bin has rows: nothing tells what a score stands for")
    return np.asarray(np.interp(np.arange(len(rows)), places, losses[places] / rows[places]))


def estimate_metric(name: str, bins: Bins, context: Context) -> float | None:
    """A metric of a classification from bins; None where it has no value, or none can be had from bins.

    `target` is the share of positives. Sums take each bin's mean score for its rows' scores.
    """
    total = float(bins.rows.sum())
    if total <= 0:
        return None
    positive, score = bins.positives, np.clip(bins.scores, 0.0, 1.0)
    negative = bins.rows - positive
    called = score >= (0.5 if context.threshold is None else context.threshold)
    if name == "target":
        return float(positive.sum() / total)
    if name == "roc_auc":
        return compute_auc(bins)
    if name == "log_loss":
        sure = np.clip(score, _SMALLEST, 1 - _SMALLEST)
        return float(-(positive * np.log(sure) + negative * np.log1p(-sure)).sum() / total)
    if name == "brier":
        return float((positive * (1 - score) ** 2 + negative * score**2).sum() / total)
    if name == "accuracy":
        return float(np.where(called, positive, negative).sum() / total)
    if name == "value" and context.costs is not None:
        costs = context.costs
        hit, alarm = costs.true_positive or 0.0, costs.false_positive or 0.0
        missed, quiet = costs.false_negative or 0.0, costs.true_negative or 0.0
        worth = np.where(called, positive * hit + negative * alarm, positive * missed + negative * quiet)
        return float(worth.sum() / total)
    return None


def compute_auc(bins: Bins) -> float | None:
    """ROC AUC from bins in ascending order, pairs of one bin counted half; None where a class is missing."""
    negative = bins.rows - bins.positives
    pairs = float(bins.positives.sum() * negative.sum())
    if pairs <= 0:
        return None
    below = np.cumsum(negative) - negative / 2
    return float((bins.positives * below).sum() / pairs)


def compute_auc_error(auc: float, positives: float, negatives: float) -> float:
    """The standard error of an AUC as if rows were independent (Hanley & McNeil, Radiology 143, 1982)."""
    one, other = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    spread = (
        auc * (1 - auc)
        + (positives - 1) * max(0.0, one - auc**2)
        + (negatives - 1) * max(0.0, other - auc**2)
    )
    return math.sqrt(max(0.0, spread) / (positives * negatives))
