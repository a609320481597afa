"""Compares main's model with this change's on the same rows: every metric and slice with its bootstrap interval."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from bots.evidence import MetricComparison, Outcome, SliceComparison, Statistics
from bots.stats import bootstrap, metrics

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from bots.settings import Gate, Settings
    from bots.stats.bootstrap import Interval
    from bots.stats.metrics import Measure
    from bots.stats.predictions import Predictions

Role = Literal["primary", "guard", "shown"]


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
    slices = _compare_slices(predictions, gate)
    return Comparison(
        metrics=_compare_metrics(predictions, settings),
        slices=slices,
        statistics=Statistics(
            rows=len(predictions.target),
            replicates=gate.replicates,
            confidence=gate.confidence,
            resampled="rows" if predictions.clusters is None else gate.resample,
            units=int(predictions.unit_numbers.max(initial=-1)) + 1,
            slices_judged=sum(part.note is None for part in slices),
        ),
    )


def find_disagreements(
    values: Mapping[str, float], predictions: Predictions, tolerance: float = 1e-6
) -> list[str]:
    """Where metrics that were written down differ from what the predictions say, one sentence each.

    The tolerance is relative to the value, and absolute below one.
    """
    found = []
    context = predictions.contexts[1]
    for name, written in values.items():
        measure = metrics.MEASURES.get(name)
        if measure is None or predictions.task not in measure.tasks:
            continue
        actual = metrics.compute_value(name, predictions.target, predictions.candidate, context)
        if actual is None or not abs(actual - written) <= tolerance * max(1, abs(actual)):
            said = "undefined" if actual is None else f"{actual:.8g}"
            found.append(f"{measure.label}: written {written:.8g}, the predictions give {said}")
    return found


def find_role(name: str, gate: Gate) -> Role:
    """The part that the gate gives to a metric."""
    return "primary" if name == gate.primary else "guard" if name in gate.guards else "shown"


def _compare_metrics(predictions: Predictions, settings: Settings) -> list[MetricComparison]:
    gate = settings.gate
    chosen = metrics.choose_measures(settings.evaluate.metrics, predictions.task)
    intervals = bootstrap.estimate_intervals(
        predictions, chosen, replicates=gate.replicates, confidence=gate.confidence
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
            outcome=_judge(interval, measure, gate.matters.get(measure.name, 0.0)),
            unit=predictions.metric_units.get(measure.name)
            or metrics.find_unit(measure.name, predictions.costs),
            error=interval.error,
            freedom=interval.freedom,
        )
        for measure, interval in zip(chosen, intervals, strict=True)
    ]


@dataclass(frozen=True)
class _Slice:
    """The numbers of the rows that have one label of a column; `note` says why they are not judged."""

    column: str
    label: str
    rows: NDArray[np.intp]
    note: str | None


def _compare_slices(predictions: Predictions, gate: Gate) -> list[SliceComparison]:
    """Every slice by the primary metric. The level is shared out among those that are judged (Bonferroni)."""
    parts = list(_cut(predictions, gate))
    judged = sum(part.note is None for part in parts)
    confidence = 1 - (1 - gate.confidence) / max(judged, 1)
    return [_compare_slice(predictions, part, gate, confidence=confidence) for part in parts]


def _compare_slice(
    predictions: Predictions, part: _Slice, gate: Gate, *, confidence: float
) -> SliceComparison:
    measure = metrics.MEASURES[gate.primary]
    if part.note is None:
        (interval,) = bootstrap.estimate_intervals(
            predictions, [measure], replicates=gate.replicates, confidence=confidence, rows=part.rows
        )
    else:
        interval = bootstrap.compute_points(predictions, measure, part.rows)
    return SliceComparison(
        column=part.column,
        value=part.label,
        rows=len(part.rows),
        champion=interval.champion,
        candidate=interval.candidate,
        difference=interval.difference,
        low=interval.low,
        high=interval.high,
        outcome=_judge(interval, measure, gate.slices.matters if gate.slices else 0.0),
        note=part.note,
    )


def _cut(predictions: Predictions, gate: Gate) -> Iterator[_Slice]:
    """The slices of each column; labels that are numbers stand first and by their value."""
    for column, labels in predictions.slices.items():
        found, inverse = np.unique(np.asarray(labels).astype(str), return_inverse=True)
        order = np.argsort(inverse, kind="stable")
        bounds = np.searchsorted(inverse[order], np.arange(len(found) + 1))
        for index, label in sorted(enumerate(found), key=lambda each: _sort_numbers_first(str(each[1]))):
            rows = order[bounds[index] : bounds[index + 1]]
            yield _Slice(column, str(label), rows, _explain_too_small(predictions, gate, rows))


def _sort_numbers_first(label: str) -> tuple[bool, float, str]:
    try:
        return False, float(label), label
    except ValueError:
        return True, 0.0, label


def _explain_too_small(predictions: Predictions, gate: Gate, rows: NDArray[Any]) -> str | None:
    """Why a slice is not judged, or None where it is."""
    if gate.slices is None:
        return "gate.slices is not set"
    if len(rows) < gate.slices.rows:
        return f"fewer than {gate.slices.rows:,} rows"
    target = predictions.target[rows]
    if predictions.task == "classification" and not bootstrap.has_enough_of_each_class(target):
        return f"fewer than {bootstrap.FEWEST_OF_A_CLASS} rows of one class"
    if len(np.unique(predictions.unit_numbers[rows])) < bootstrap.FEWEST_UNITS:
        what = "rows" if predictions.clusters is None else f"values of {gate.resample}"
        return f"fewer than {bootstrap.FEWEST_UNITS} {what}"
    return None


def _judge(interval: Interval, measure: Measure, matters: float) -> Outcome:
    """One side of zero, and far enough to matter; anything else is not distinguishable."""
    difference, low, high = interval.difference, interval.low, interval.high
    if difference is None or low is None or high is None:
        return "not judged"
    if abs(difference) < matters or low <= 0 <= high:
        return "equivalent"
    return "improved" if (difference > 0) == (measure.direction == "higher") else "regressed"
