"""Metrics of a version's scores as they are expected to come out, and as they came out, from what is kept of a day."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import reduce
from typing import TYPE_CHECKING

import numpy as np

from bots.stats.estimates import Bins, compute_auc, estimate_metric
from bots.stats.histograms import add_counts

if TYPE_CHECKING:
    from bots.evidence import Task
    from bots.observations import Day, DayOutcomes, ScoreCounts
    from bots.stats.losses import BoundedLoss
    from bots.stats.metrics import Context, Floats

TARGET = "target"
"""The share of positives; of rows that are called rightly, with several classes."""
WEEK = 7
FEWEST_WEEKS = 4
ESTIMATED = ("log_loss", "brier", "roc_auc", "value")
"""The metrics of a classification that are estimated, where a review measures them."""
_LOSSES = {"mae": "mae", "squared_error": "rmse", "cost": "value"}
_SUMS = {"log_loss": "log_loss", "brier": "squared_error", "value": "value", "target": "target"}
_SUMS_OF_REGRESSION = {"mae": "absolute_error", "rmse": "squared_error", "value": "value"}


def make_bins(counts: Sequence[ScoreCounts]) -> Bins | None:
    """Labelled rows of several days in one histogram; None where there is none, or the days' edges differ."""
    known = [one for one in counts if one.positives]
    if not known or any(one.edges != known[0].edges for one in known):
        return None
    rows, totals, positives = (
        np.array([getattr(one, name) for one in known], dtype=np.float64).sum(axis=0)
        for name in ("rows", "totals", "positives")
    )
    middles = (np.array(known[0].edges[:-1]) + np.array(known[0].edges[1:])) / 2
    scores = np.divide(totals, rows, out=middles, where=rows > 0)
    return Bins(rows, scores, positives)


def list_estimated(metrics: Sequence[str], primary: str, loss: BoundedLoss, task: Task) -> list[str]:
    """The metrics that are estimated, the primary one first where it is among them."""
    if task == "regression":
        return [_LOSSES.get(loss.plain, loss.plain)]
    if task == "multiclass":
        return [TARGET]
    known = [name for name in (primary, *metrics) if name in ESTIMATED]
    return [*dict.fromkeys(known), TARGET]


def estimate_metrics(
    counts: ScoreCounts, names: Iterable[str], rates: Floats, losses: Floats, context: Context
) -> dict[str, float]:
    """The metrics of scores without labels; `rates` (of a classification) or `losses` belong to their bins.

    Scores outside the bins are left out. A metric that has no value is left out too.
    """
    rows = np.array(counts.rows, dtype=np.float64)
    total = float(rows.sum())
    if total <= 0:
        return {}
    if len(losses):
        mean = float((rows * losses).sum() / total)
        converted = {"mae": mean, "rmse": math.sqrt(max(0.0, mean)), "value": -mean}
        return {name: converted.get(name, mean) for name in names}
    middles = (np.array(counts.edges[:-1]) + np.array(counts.edges[1:])) / 2
    scores = np.divide(np.array(counts.totals, dtype=np.float64), rows, out=middles, where=rows > 0)
    bins = Bins(rows, scores, rows * rates)
    found = {name: estimate_metric(name, bins, context) for name in names}
    return {name: value for name, value in found.items() if value is not None}


def compute_truths(days: Sequence[DayOutcomes], names: Iterable[str], task: Task) -> dict[str, float]:
    """The same metrics of labelled days together."""
    rows = sum(day.labelled for day in days)
    if not rows:
        return {}
    sums: Mapping[str, str] = _SUMS_OF_REGRESSION if task == "regression" else _SUMS
    found: dict[str, float] = {}
    for name in names:
        key = sums.get(name, "metric" if task == "regression" else None)
        if name == "roc_auc":
            bins = make_bins([day.scores for day in days if day.scores])
            auc = compute_auc(bins) if bins else None
            found |= {} if auc is None else {name: auc}
        elif key is not None and all(key in day.sums for day in days if day.labelled):
            mean = math.fsum(day.sums.get(key, 0.0) for day in days) / rows
            found[name] = math.sqrt(max(0.0, mean)) if name == "rmse" else mean
    return found


def backtest_estimates(
    days: Sequence[DayOutcomes],
    names: Sequence[str],
    fit: Callable[[set[Day]], tuple[Floats, Floats]],
    *,
    context: Context,
    task: Task,
) -> dict[str, list[float]]:
    """By how much estimates of the holdout's weeks miss, each made from the other weeks alone: what their error is.

    `days` are the holdout's in order, with their histograms; `fit` gives rates and losses of the bins from all days but
    some. Empty where there are fewer than four weeks.
    """
    weeks = [days[start : start + WEEK] for start in range(0, len(days) - WEEK + 1, WEEK)]
    if len(weeks) < FEWEST_WEEKS:
        return {}
    missed: dict[str, list[float]] = {name: [] for name in names}
    for week in weeks:
        counts: ScoreCounts | None = reduce(add_counts, (day.scores for day in week), None)
        if counts is None:
            continue
        rates, losses = fit({day.day for day in week})
        guessed = estimate_metrics(counts, names, rates, losses, context)
        for name, truth in compute_truths(week, names, task).items():
            if name in guessed:
                missed[name].append(guessed[name] - truth)
    return {name: found for name, found in missed.items() if len(found) >= FEWEST_WEEKS}
