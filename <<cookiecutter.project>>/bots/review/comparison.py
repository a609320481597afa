"""Main's model against this change on the same rows: every metric and slice with its paired bootstrap interval."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from threadpoolctl import threadpool_limits

from bots.evidence import MetricComparison, Outcome, SliceComparison, Statistics
from bots.stats import bootstrap, metrics
from bots.stats.bootstrap import Interval, Predictions, PredictionsError
from bots.stats.metrics import Measure

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from bots.settings import Gate, Settings

Role = Literal["primary", "guard", "shown"]

__all__ = [
    "Comparison",
    "Predictions",
    "PredictionsError",
    "candidate_only",
    "compare",
    "find_disagreements",
    "find_role",
]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What `review.json` says of the numbers."""

    metrics: list[MetricComparison]
    slices: list[SliceComparison]
    statistics: Statistics


def compare(predictions: Predictions, settings: Settings) -> Comparison:
    """Compare candidate and champion on every metric of evaluate.metrics, and on the primary one by slices.

    Without a champion the result holds the candidate's values with their own intervals, and judges nothing.
    """
    gate = settings.gate
    units = bootstrap.number_units(predictions.clusters, len(predictions.target))
    # One thread: the products are small, and their bits then do not depend on the number of processors.
    with threadpool_limits(1):
        metrics = _compare_metrics(predictions, settings, units)
        slices, judged = _compare_slices(predictions, gate, units)
    return Comparison(
        metrics=metrics,
        slices=slices,
        statistics=Statistics(
            rows=len(predictions.target),
            replicates=gate.replicates,
            confidence=gate.confidence,
            resampled="rows" if predictions.clusters is None else gate.resample,
            units=int(units.max(initial=-1)) + 1,
            slices_judged=judged,
        ),
    )


def candidate_only(predictions: Predictions, settings: Settings) -> Comparison:
    """The candidate alone: its values with their own intervals, every outcome `not judged`."""
    return compare(replace(predictions, champion=None), settings)


def find_disagreements(
    values: Mapping[str, float], predictions: Predictions, tolerance: float = 1e-6
) -> list[str]:
    """Where metrics that were written down differ from what the predictions say, one sentence each.

    The tolerance is relative to the value, and absolute below one.
    """
    found = []
    context = predictions.contexts()[1]
    for name, written in values.items():
        measure = metrics.MEASURES.get(name)
        if measure is None or predictions.task not in measure.tasks:
            continue
        actual = metrics.value(name, predictions.target, predictions.candidate, context)
        if actual is None or not abs(actual - written) <= tolerance * max(1, abs(actual)):
            said = "undefined" if actual is None else f"{actual:.8g}"
            found.append(f"{measure.label}: written {written:.8g}, the predictions give {said}")
    return found


def _compare_metrics(
    predictions: Predictions, settings: Settings, units: NDArray[np.intp]
) -> list[MetricComparison]:
    gate = settings.gate
    names = [name for name in settings.evaluate.metrics if predictions.task in metrics.MEASURES[name].tasks]
    chosen = [metrics.MEASURES[name] for name in names]
    found = bootstrap.estimate_intervals(
        predictions,
        chosen,
        units=units,
        rows=np.arange(len(units)),
        replicates=gate.replicates,
        confidence=gate.confidence,
    )
    return [
        MetricComparison(
            name=measure.name,
            direction=measure.direction,
            role=find_role(measure.name, gate),
            champion=interval.champion,
            candidate=interval.candidate,
            difference=interval.difference,
            low=interval.low,
            high=interval.high,
            matters=gate.matters.get(measure.name, 0.0),
            outcome=_outcome(interval, measure, gate.matters.get(measure.name, 0.0)),
            unit=predictions.units.get(measure.name) or metrics.unit(measure.name, predictions.costs),
        )
        for measure, interval in zip(chosen, found, strict=True)
    ]


def find_role(name: str, gate: Gate) -> Role:
    """The part that the gate gives to a metric."""
    return "primary" if name == gate.primary else "guard" if name in gate.guards else "shown"


def _compare_slices(
    predictions: Predictions, gate: Gate, units: NDArray[np.intp]
) -> tuple[list[SliceComparison], int]:
    """Every slice, and how many were judged. The level is shared out among those (Bonferroni)."""
    measure = metrics.MEASURES[gate.primary]
    parts = list(_parts(predictions.slices))
    notes = [_too_small(predictions, gate, units, rows) for _, _, rows in parts]
    judged = notes.count(None)
    confidence = 1 - (1 - gate.confidence) / max(judged, 1)
    slices = []
    for (column, label, rows), note in zip(parts, notes, strict=True):
        if note is None:
            (interval,) = bootstrap.estimate_intervals(
                predictions,
                [measure],
                units=units,
                rows=rows,
                replicates=gate.replicates,
                confidence=confidence,
            )
        else:
            interval = bootstrap.compute_points(predictions, measure, rows)
        least = gate.slices.matters if gate.slices else 0.0
        outcome = _outcome(interval, measure, least) if note is None else "not judged"
        slices.append(
            SliceComparison(
                column=column,
                value=label,
                rows=len(rows),
                champion=interval.champion,
                candidate=interval.candidate,
                difference=interval.difference,
                low=interval.low,
                high=interval.high,
                outcome=outcome,
                note=note,
            )
        )
    return slices, judged


def _parts(slices: Mapping[str, NDArray[Any]]) -> Iterator[tuple[str, str, NDArray[np.intp]]]:
    """Column, label and row numbers of each slice; labels that are numbers stand first and by their value."""
    for column, labels in slices.items():
        found, inverse = np.unique(np.asarray(labels).astype(str), return_inverse=True)
        order = np.argsort(inverse, kind="stable")
        bounds = np.searchsorted(inverse[order], np.arange(len(found) + 1))
        for index, label in sorted(enumerate(found), key=lambda each: _by_number(str(each[1]))):
            yield column, str(label), order[bounds[index] : bounds[index + 1]]


def _by_number(label: str) -> tuple[bool, float, str]:
    try:
        return False, float(label), label
    except ValueError:
        return True, 0.0, label


def _too_small(
    predictions: Predictions, gate: Gate, units: NDArray[np.intp], rows: NDArray[np.intp]
) -> str | None:
    """Why a slice is not judged, or None where it is."""
    if gate.slices is None:
        return "gate.slices is not set"
    if len(rows) < gate.slices.rows:
        return f"fewer than {gate.slices.rows:,} rows"
    if predictions.task == "classification" and not bootstrap.has_enough_of_each_class(
        predictions.target[rows]
    ):
        return f"fewer than {bootstrap.FEWEST_OF_A_CLASS} rows of one class"
    if len(np.unique(units[rows])) < bootstrap.FEWEST_UNITS:
        what = "rows" if predictions.clusters is None else f"values of {gate.resample}"
        return f"fewer than {bootstrap.FEWEST_UNITS} {what}"
    return None


def _outcome(interval: Interval, measure: Measure, matters: float) -> Outcome:
    """One side of zero, and far enough to matter; anything else is not distinguishable."""
    difference, low, high = interval.difference, interval.low, interval.high
    if difference is None or low is None or high is None:
        return "not judged"
    if abs(difference) < matters or low <= 0 <= high:
        return "equivalent"
    return "improved" if (difference > 0) == (measure.direction == "higher") else "regressed"
