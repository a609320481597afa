"""Draws the curves of how a model does: what was predicted, what came, the metrics, and what decisions were worth."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from functools import reduce
from typing import TYPE_CHECKING

from bots.monitoring.estimated_metrics import make_bins
from bots.monitoring.outcomes import sum_confusions
from bots.observations import Day, DayOutcomes, Point, Series
from bots.stats import confusion
from bots.stats.estimates import compute_auc, compute_auc_error
from bots.stats.metrics import describe_measure, find_label, find_measure

if TYPE_CHECKING:
    from bots.monitoring.reference import Reference
    from bots.settings import Settings

CERTAIN = 1.96
SUMS = {
    "log_loss": "log_loss",
    "brier": "squared_error",
    "mae": "absolute_error",
    "rmse": "squared_error",
    "bias": "error",
    "value": "value",
}
"""The metrics that come from a sum over rows (the root of it for rmse)."""


def name_plain(reference: Reference) -> str:
    """The name of what a row loses, as a metric where it is one."""
    return {"wrong": "accuracy", "cost": "value", "squared_error": "rmse"}.get(
        reference.loss.plain, reference.loss.plain
    )


def draw_series(days: Sequence[DayOutcomes], reference: Reference, settings: Settings) -> list[Series]:
    """Draw every curve of a version's labelled days, in order: the primary metric first.

    Sums come day by day; week by week ROC AUC, with the interval of Hanley & McNeil, and what comes from the counts of
    several classes, with that of independent rows. None of them is tested.
    """
    labelled = [day for day in days if day.labelled]
    names = [
        settings.gate.primary,
        *(one for one in settings.evaluate.metrics if one != settings.gate.primary),
    ]
    found = [_draw_metric(name, labelled, reference) for name in names]
    drawn = [series for series in found if series is not None and series.points]
    return [*drawn, *_draw_calibration(labelled, reference)]


def _draw_metric(name: str, days: Sequence[DayOutcomes], reference: Reference) -> Series | None:
    if name == "roc_auc":
        return _draw_auc(days, reference)
    if reference.classes and name != "accuracy" and confusion.is_counted(name):
        return _draw_counted(name, days, reference)
    sums = SUMS | ({"brier": "brier", "accuracy": "target"} if reference.classes else {})
    if name not in sums:
        sums = {**sums, name: "metric" if name == reference.loss.plain else name}
    measure = describe_measure(name)
    if measure is None:
        return None
    root = name == "rmse"

    def convert(mean: float | None) -> float | None:
        return math.sqrt(max(0.0, mean)) if root and mean is not None else mean

    points = [
        _make_point(day, convert(day.sums[sums[name]] / day.labelled))
        for day in days
        if sums[name] in day.sums
    ]
    return Series(
        name=name,
        label=measure.label,
        kind=measure.kind,
        direction="neither" if measure.signed else measure.direction,
        reference=convert(reference.find_mean(sums[name])),
        points=points,
    )


def _make_point(day: DayOutcomes, value: float | None) -> Point:
    return Point(day=day.day, value=value, rows=day.labelled, version=day.version, mature=day.mature)


def _draw_calibration(days: Sequence[DayOutcomes], reference: Reference) -> Iterable[Series]:
    kind = "quantity" if reference.task == "regression" else "share"
    labels = ("largest probability", "called rightly") if reference.classes else ("predicted", "came")
    for name, key, label in (("predicted", "score", labels[0]), ("observed", "target", labels[1])):
        points = [_make_point(day, day.sums[key] / day.labelled) for day in days if key in day.sums]
        if points:
            yield Series(
                name=name,
                label=label,
                kind=kind,  # type: ignore[arg-type]
                reference=reference.find_mean(key),
                points=points,
            )


def find_week(day: Day) -> Day:
    """The Monday of a day's week."""
    known = date.fromisoformat(day)
    return (known - timedelta(days=known.weekday())).isoformat()


def _draw_auc(days: Sequence[DayOutcomes], reference: Reference) -> Series | None:
    weeks: dict[Day, list[DayOutcomes]] = {}
    for day in days:
        if day.scores is not None:
            weeks.setdefault(find_week(day.day), []).append(day)
    points = [point for week, found in weeks.items() if (point := _make_auc_point(week, found)) is not None]
    whole = make_bins([reference.scores]) if reference.scores else None
    return Series(
        name="roc_auc",
        label=f"{find_label('roc_auc')}, week by week",
        kind="share",
        direction="higher",
        reference=compute_auc(whole) if whole else None,
        points=points,
    )


def _draw_counted(name: str, days: Sequence[DayOutcomes], reference: Reference) -> Series | None:
    """A metric of several classes, week by week, from the counts of what was called what."""
    measure = find_measure(name, "multiclass")
    if measure is None:
        return None
    weeks: dict[Day, list[DayOutcomes]] = {}
    for day in days:
        if day.confusion:
            weeks.setdefault(find_week(day.day), []).append(day)
    return Series(
        name=name,
        label=f"{measure.label}, week by week",
        kind=measure.kind,
        direction=measure.direction,
        reference=compute_counted(name, reference.outcomes, reference.classes),
        points=[_make_counted_point(name, week, found, reference) for week, found in weeks.items()],
    )


def compute_counted(name: str, days: Iterable[DayOutcomes], classes: Sequence[str]) -> float | None:
    """A metric of several classes of all rows of these days; None where it has no value."""
    return confusion.compute_metric(name, confusion.make_table(sum_confusions(days), classes), classes)


def _make_counted_point(name: str, week: Day, days: Sequence[DayOutcomes], reference: Reference) -> Point:
    table = confusion.make_table(sum_confusions(days), reference.classes)
    value = confusion.compute_metric(name, table, reference.classes)
    error = confusion.estimate_error(name, table, reference.classes)
    half = None if value is None or error is None else CERTAIN * error
    return Point(
        day=week,
        value=value,
        low=None if value is None or half is None else max(0.0, value - half),
        high=None if value is None or half is None else min(1.0, value + half),
        rows=sum(day.labelled for day in days),
        version=days[0].version,
        mature=all(day.mature for day in days),
    )


def _make_auc_point(week: Day, days: Sequence[DayOutcomes]) -> Point | None:
    bins = make_bins([day.scores for day in days if day.scores])
    auc = compute_auc(bins) if bins else None
    if bins is None or auc is None:
        return None
    positives = float(bins.positives.sum())
    error = CERTAIN * compute_auc_error(auc, positives, float(bins.rows.sum()) - positives)
    return Point(
        day=week,
        value=auc,
        low=max(0.0, auc - error),
        high=min(1.0, auc + error),
        rows=reduce(lambda total, day: total + day.labelled, days, 0),
        version=days[0].version,
        mature=all(day.mature for day in days),
    )
