"""Compares main's model with this change's on the same rows: every metric and slice with its interval."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
from msgspec import structs

from bots.evidence import ClassComparison, MetricComparison, Sensitivity, SliceComparison, Statistics
from bots.stats import classes, dependence, intervals, metrics
from bots.stats.predictions import Labels
from bots.verdict import decision
from bots.verdict import seeds as luck

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from bots.evidence import Confirmation, Direction, MetricsReport, Seeds
    from bots.settings import Gate, Settings
    from bots.stats.dependence import Dependence
    from bots.stats.intervals import Interval, Rows
    from bots.stats.predictions import Predictions

Role = Literal["primary", "guard", "shown"]
NEW_METRIC: Final = "main does not measure it"
"""Why a metric that only this change declares is not compared."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What `review.json` says of the numbers. `seedless`: main's settings say that training has no seed to set. `look`:
    how many models the holdout has judged with this one. `confirmation`: what fresh rows say, where they were asked.
    `classes` and who is called whom, by both models, are there with several classes."""

    metrics: list[MetricComparison]
    slices: list[SliceComparison]
    statistics: Statistics
    seeds: Seeds | None = None
    seedless: bool = False
    look: int = 1
    confirmation: Confirmation | None = None
    classes: list[ClassComparison] = field(default_factory=list)
    confusion: list[list[int]] = field(default_factory=list)
    champion_confusion: list[list[int]] = field(default_factory=list)


def compare(predictions: Predictions, settings: Settings, seeds: Seeds | None = None) -> Comparison:
    """Compare candidate and champion on every metric of evaluate.metrics, and on the primary one by slices.

    With `seeds`, the scores of both recipes with further seeds, the difference of a metric is that of the means over
    seeds, and what seeds differ by is in its interval; slices speak of the two models alone. Too few seeds change
    nothing, nor do any where one seed calls the primary metric neither improved nor regressed. Without a champion the
    result holds the candidate's values with their own intervals, and judges nothing. Metrics that main does not declare
    (task scores) stand last, by the candidate's values alone.
    """
    gate = settings.gate
    slices = _compare_slices(predictions, gate)
    chosen = predictions.choose_measures(settings.evaluate.metrics)
    rows = intervals.choose_rows(predictions, name=_name_units(gate))
    found = {
        measure.name: intervals.estimate_interval(rows, measure, confidence=gate.confidence)
        for measure in chosen
    }
    in_time, followed = _measure_dependence(rows, predictions, gate)
    enough = _choose_seeds(seeds, found.get(gate.primary), predictions, gate)
    return Comparison(
        metrics=[
            _compare_metric(
                name, luck.widen_interval(interval, name, enough, gate.confidence), predictions, gate
            )
            for name, interval in found.items()
        ]
        + list(_show_unpaired(predictions.unpaired, gate)),
        slices=slices,
        statistics=Statistics(
            rows=len(predictions.target),
            confidence=gate.confidence,
            resampled="rows" if predictions.clusters is None else gate.resample,
            units=rows.count,
            days_together=gate.days_together,
            in_time=in_time,
            correlation=followed.correlation if followed else None,
            independent=followed.independent if followed else None,
            follow=bool(followed and followed.beyond_chance),
            slices_judged=sum(part.note is None for part in slices),
            sensitivity=describe_sensitivity(
                found.get(gate.primary), gate, rows=len(predictions.target), basis="this comparison"
            ),
            seeds=enough.each_side if enough else 1,
        ),
        seeds=enough or seeds,
        seedless=settings.review.seed is None,
        classes=compare_classes(predictions, rows, gate),
        confusion=count_confusion(rows.samples[1]) if predictions.classes else [],
        champion_confusion=count_confusion(rows.samples[0])
        if predictions.classes and rows.samples[0]
        else [],
    )


def _show_unpaired(alone: Predictions | None, gate: Gate) -> Iterator[MetricComparison]:
    """The metrics that only this change has: shown by its own values, and judged by nobody."""
    if alone is None:
        return
    rows = intervals.choose_rows(alone, name=_name_units(gate))
    for measure in alone.choose_measures(alone.row_metrics):
        interval = intervals.estimate_interval(rows, measure, confidence=gate.confidence)
        shown = _compare_metric(measure.name, interval, alone, gate)
        yield structs.replace(shown, role="shown", note=interval.note or NEW_METRIC)


def _measure_dependence(rows: Rows, predictions: Predictions, gate: Gate) -> tuple[bool, Dependence | None]:
    """Whether the units have an order in time, and how they depend on each other in it."""
    if predictions.units is None or not dependence.are_times(predictions.units.names):
        return False, None
    effects = intervals.measure_unit_effects(rows, predictions.get_measure(gate.primary))
    return True, None if effects is None else dependence.measure_dependence(effects)


def _choose_seeds(
    seeds: Seeds | None, primary: Interval | None, predictions: Predictions, gate: Gate
) -> Seeds | None:
    """The scores of further seeds with what one seed says by these predictions; None where they have no say."""
    if seeds is None or primary is None or not luck.has_enough_seeds(seeds, gate):
        return None
    alone = _compare_metric(gate.primary, primary, predictions, gate)
    if not luck.wants_more_seeds([alone], gate):
        return None
    return structs.replace(seeds, one_seed=alone.outcome)


def describe_sensitivity(
    interval: Interval | None, gate: Gate, *, rows: int, basis: str
) -> Sensitivity | None:
    """What so many rows can show of the primary metric, by an interval of a difference; None without any width.

    `basis` says what the interval's error is taken from.
    """
    if interval is None or interval.difference is None or not interval.error or interval.freedom is None:
        return None
    matters, error, freedom = gate.matters.get(gate.primary, 0.0), interval.error, interval.freedom
    return Sensitivity(
        error=error,
        shows=decision.find_smallest_shown(error, freedom, matters=matters, confidence=gate.confidence),
        rows_to_decide=decision.count_rows_to_decide(
            rows, error, freedom, matters=matters, confidence=gate.confidence
        ),
        rows_to_pass=decision.count_rows_to_pass(
            rows, error, freedom, tolerated=gate.tolerates * matters, confidence=gate.confidence
        ),
        basis=basis,
    )


def find_disagreements(
    values: Mapping[str, float], predictions: Predictions, tolerance: float = 1e-6
) -> list[str]:
    """Where metrics that were written down differ from what the predictions say, one sentence each.

    The tolerance is relative: to one for shares, to the value, and to what it is the average of.
    """
    found = []
    sample = intervals.choose_rows(predictions).samples[1]
    for name, written in values.items():
        measure = predictions.find_measure(name)
        if measure is None:
            continue
        actual = metrics.compute_sample_value(measure, sample)
        if actual is not None and abs(actual - written) <= tolerance * abs(actual):
            continue
        if actual is None or not abs(actual - written) <= tolerance * metrics.find_scale(measure, sample):
            said = "undefined" if actual is None else f"{actual:.8g}"
            found.append(f"{measure.label}: written {written:.8g}, the predictions give {said}")
    return found


def find_inner_disagreements(written: MetricsReport) -> list[str]:
    """Where the two places of a metric's value, `values` and `metrics`, say something else, one sentence each."""
    listed = {metric.name: metric.value for metric in written.metrics}
    found = [
        f"metrics: {name}: {listed[name]:.8g}, under values {value:.8g}"
        for name, value in written.values.items()
        if name in listed and not math.isclose(listed[name], value, rel_tol=1e-9, abs_tol=1e-12)
    ]
    found += [
        f"metrics: {name}: {value:.8g}, and not under values"
        for name, value in listed.items()
        if name not in written.values
    ]
    if written.primary not in written.values:
        found.append(f"values: no {written.primary}, which is the primary metric")
    return found


def find_other_directions(written: MetricsReport, declared: Mapping[str, Direction]) -> list[str]:
    """Where a metric that rows bring is written down otherwise than params.yaml declares it, one sentence each."""
    if written.task != "scores":
        return []
    found = [
        f"direction of {metric.name}: written {metric.direction}, evaluate.scores says {declared[metric.name]}"
        for metric in written.metrics
        if metric.name in declared and metric.direction != declared[metric.name]
    ]
    found += [
        f"{metric.name}: written, and evaluate.scores does not declare it"
        for metric in written.metrics
        if metric.name not in declared
    ]
    return found


def find_class_disagreements(
    written: MetricsReport, predictions: Predictions, tolerance: float = 1e-6
) -> list[str]:
    """Where the figures of each class and the confusion differ from what the predictions say, one sentence each."""
    if not predictions.classes:
        return ["classes: written, and the task has none"] if written.classes or written.confusion else []
    sample = intervals.choose_rows(predictions).samples[1]
    known, found = classes.describe_classes(sample), []
    said = {one.name: one for one in written.classes}
    if [one.name for one in written.classes] != [one.name for one in known]:
        return ["classes: not those that the predictions have, in their order"]
    for one in known:
        for name in ("rows", "predicted", "recall", "precision", "f1", "roc_auc"):
            before, after = getattr(said[one.name], name), getattr(one, name)
            same = before == after if before is None or after is None else abs(before - after) <= tolerance
            if not same:
                found.append(
                    f"{name} of {one.name}: written {_write(before)}, the predictions give {_write(after)}"
                )
    if written.confusion != count_confusion(sample):
        found.append("confusion: not the counts that the predictions give")
    return found


def _write(value: float | None) -> str:
    return "nothing" if value is None else f"{value:.8g}"


def count_confusion(sample: metrics.Sample) -> list[list[int]]:
    """How many rows of each class are called each class, by a model of several classes."""
    counts = classes.count_confusion(sample.target, sample.score, len(sample.context.classes))
    return [[int(cell) for cell in row] for row in counts]


def compare_classes(predictions: Predictions, rows: Rows, gate: Gate) -> list[ClassComparison]:
    """Each of several classes, main against this change; the level is shared out among their recalls (Bonferroni)."""
    names = predictions.classes
    if not names:
        return []
    champion, candidate = (
        None if sample is None else classes.describe_classes(sample) for sample in rows.samples
    )
    assert candidate is not None
    confidence = 1 - (1 - gate.confidence) / len(names)
    found = []
    for code, name in enumerate(names):
        interval = _compare_recall(predictions, rows, name, confidence=confidence)
        found.append(
            ClassComparison(
                name=name,
                rows=candidate[code].rows,
                champion=champion[code] if champion else None,
                candidate=candidate[code],
                difference=interval.difference,
                low=interval.low if champion else None,
                high=interval.high if champion else None,
                note=interval.note,
            )
        )
    return found


def _compare_recall(predictions: Predictions, rows: Rows, name: str, *, confidence: float) -> Interval:
    measure = predictions.get_measure(f"recall:{name}")
    return intervals.estimate_interval(rows, measure, confidence=confidence)


def find_role(name: str, gate: Gate) -> Role:
    """The part that the gate gives to a metric."""
    return "primary" if name == gate.primary else "guard" if name in gate.guards else "shown"


def _compare_metric(name: str, interval: Interval, predictions: Predictions, gate: Gate) -> MetricComparison:
    measure = predictions.get_measure(name)
    matters = gate.matters.get(name, 0.0)
    inner = decision.narrow_interval(interval, gate.confidence)
    return MetricComparison(
        name=name,
        direction=measure.direction,
        role=find_role(name, gate),
        champion=interval.champion,
        candidate=interval.candidate,
        difference=interval.difference,
        low=interval.low,
        high=interval.high,
        matters=matters,
        outcome=decision.judge(
            interval, direction=measure.direction, matters=matters, confidence=gate.confidence
        ),
        unit=predictions.metric_units.get(name) or metrics.find_unit(name, predictions.costs),
        error=interval.error,
        freedom=interval.freedom,
        note=interval.note,
        inner_low=inner[0] if inner else None,
        inner_high=inner[1] if inner else None,
    )


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
    measure = predictions.get_measure(gate.primary)
    rows = intervals.choose_rows(predictions, part.rows, _name_units(gate))
    if part.note is None:
        interval = intervals.estimate_interval(rows, measure, confidence=confidence)
    else:
        interval = intervals.compute_points(rows, measure, part.note)
    return SliceComparison(
        column=part.column,
        value=part.label,
        rows=len(part.rows),
        champion=interval.champion,
        candidate=interval.candidate,
        difference=interval.difference,
        low=interval.low,
        high=interval.high,
        outcome=decision.judge(
            interval,
            direction=measure.direction,
            matters=gate.slices.matters if gate.slices else 0.0,
            confidence=confidence,
        ),
        note=interval.note,
    )


def _cut(predictions: Predictions, gate: Gate) -> Iterator[_Slice]:
    """The slices of each column; labels that are numbers stand first and by their value."""
    for column, labels in predictions.slices.items():
        coded = Labels.encode(labels)
        # As short numbers as hold them: numpy then sorts in linear time.
        codes = coded.codes.astype(np.min_scalar_type(len(coded.names)))
        order = np.argsort(codes, kind="stable")
        bounds = np.cumsum([0, *np.bincount(codes, minlength=len(coded.names))])
        for index, label in sorted(enumerate(coded.names), key=lambda each: _sort_numbers_first(each[1])):
            rows = order[bounds[index] : bounds[index + 1]]
            if len(rows):
                yield _Slice(column, label, rows, _explain_too_small(predictions, gate, rows))


def _sort_numbers_first(label: str) -> tuple[bool, float, str]:
    try:
        return False, float(label), label
    except ValueError:
        return True, 0.0, label


def _explain_too_small(predictions: Predictions, gate: Gate, rows: NDArray[np.intp]) -> str | None:
    """Why a slice is not judged, or None where it is."""
    if gate.slices is None:
        return "gate.slices is not set"
    if len(rows) < gate.slices.rows:
        return f"fewer than {gate.slices.rows:,} rows"
    chosen = intervals.choose_rows(predictions, rows, _name_units(gate))
    return intervals.find_obstacle(chosen, predictions.get_measure(gate.primary))


def _name_units(gate: Gate) -> str:
    """What messages call the units."""
    if gate.days_together > 1:
        return f"units of {gate.days_together} days of {gate.resample}"
    return f"values of {gate.resample}"
