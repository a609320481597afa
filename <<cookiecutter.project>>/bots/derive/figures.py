"""Makes `metrics.json` from predictions: metrics, slices, calibration, gaps between groups and figures of classes.

The figures are those that the template's own pipeline writes for the same predictions.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from bots.derive.predictions import measure_predictions
from bots.evidence import CalibrationBin, Gap, Metric, MetricsReport, Slice
from bots.stats import classes, metrics
from bots.stats.predictions import SLICE
from bots.stats.weights import find_quantiles

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import pyarrow
    from numpy.typing import NDArray

    from bots.derive.predictions import Judged
    from bots.evidence import Task
    from bots.settings import Settings
    from bots.stats.metrics import Context, Floats, Sample

FEWEST_OF_A_SLICE: Final = 50
FEWEST_OF_A_GROUP: Final = 500
"""With fewer rows a slice's metric, or a group's rate, is mostly chance."""


@dataclass(frozen=True, eq=False)
class Group:
    """The rows with one label: how many they are, and those of them that weigh anything."""

    rows: int
    sample: Sample


Groups = dict[str, Group]


def build_metrics_report(
    judged: Judged, settings: Settings, holdout: str, unit: str | None = None
) -> MetricsReport:
    """Compute everything that predictions say of a model on the holdout, whose digest is `holdout`.

    `unit` is that of the target. Raises `PredictionsError`.
    """
    own, evaluate, task = measure_predictions(judged, settings), settings.evaluate, settings.task
    context = replace(settings.context, classes=judged.classes)
    sample = metrics.make_sample(own.target, own.candidate, context, own.weights)
    listed = list(_judge_metrics(sample, settings, unit))
    groups = {
        name: _group_rows(
            judged.table[SLICE + name], own.target, own.candidate, context=context, weights=own.weights
        )
        for name in dict.fromkeys([*evaluate.slices, *evaluate.fairness])
    }
    several = task == "multiclass"
    return MetricsReport(
        task=task,
        weight=settings.data.weight,
        primary=settings.gate.primary,
        values={one.name: one.value for one in listed},
        metrics=listed,
        slices=[
            _judge_slice(column, value, part, settings=settings)
            for column in evaluate.slices
            for value, part in groups[column].items()
            if len(part.sample.target)
        ],
        calibration=[] if task == "scores" else measure_calibration(sample),
        fairness=[gap for name in evaluate.fairness for gap in _measure_gaps(name, groups[name], task)],
        rows=len(judged.table),
        holdout=holdout,
        threshold=evaluate.threshold,
        costs=[evaluate.costs] if evaluate.costs else [],
        classes=classes.describe_classes(sample) if several else [],
        confusion=_count_confusion(sample) if several else [],
    )


def _judge_metrics(sample: Sample, settings: Settings, unit: str | None) -> Iterator[Metric]:
    """Each metric that params.yaml names and that these rows have a value of."""
    for name in dict.fromkeys([*settings.evaluate.metrics, settings.gate.primary]):
        measure = metrics.get_measure(name, settings.task, settings.row_metrics)
        value = metrics.compute_sample_value(measure, sample)
        if value is not None:
            own = settings.metric_units.get(name) or metrics.find_unit(name, settings.evaluate.costs)
            yield Metric(
                name=name,
                value=value,
                direction=measure.direction,
                unit=unit if measure.kind == "quantity" and settings.task != "scores" else own,
            )


def _group_rows(
    labels: pyarrow.ChunkedArray, target: Floats, score: Floats, *, context: Context, weights: Floats | None
) -> Groups:
    """The rows of each label; labels that are numbers in numeric order."""
    coded = labels.combine_chunks().dictionary_encode()
    codes = np.asarray(coded.indices)
    found = {}
    for code, name in enumerate(coded.dictionary.to_pylist()):
        chosen = codes == code
        heavy = None if weights is None else weights[chosen]
        sample = metrics.make_sample(target[chosen], score[chosen], context, heavy)
        found[name] = Group(int(chosen.sum()), sample)
    return {name: found[name] for name in sorted(found, key=_make_sort_key)}


def _make_sort_key(label: str) -> tuple[bool, float, str]:
    try:
        return False, float(label), label
    except ValueError:
        return True, 0.0, label


def _judge_slice(column: str, value: str, part: Group, settings: Settings) -> Slice:
    """The primary metric of a slice; null where its rows are too few or of one class."""
    measure, several = (
        metrics.get_measure(settings.gate.primary, settings.task, settings.row_metrics),
        settings.task in ("multiclass", "scores"),
    )
    sample, enough = part.sample, part.rows >= FEWEST_OF_A_SLICE
    return Slice(
        column=column,
        value=value,
        rows=part.rows,
        target=None if several else _average(sample, sample.target),
        prediction=None if several else _average(sample, sample.score),
        metric=metrics.compute_sample_value(measure, sample) if enough else None,
    )


def _average(sample: Sample, values: NDArray[Any]) -> float:
    return float(np.average(values, weights=sample.weights))


def measure_calibration(sample: Sample) -> list[CalibrationBin]:
    """Mean score and mean target of rows of similar score, in bins of equal weight; equal scores share a bin.

    With several classes it is the largest probability, against whether its class is right.
    """
    if sample.context.classes:
        sample = classes.view_top(sample)
    levels = np.linspace(0, 1, sample.context.bins + 1)[1:-1]
    edges = np.unique(find_quantiles(sample.score, sample.weights, levels))
    inside = np.searchsorted(edges, sample.score, side="left")
    rows = np.bincount(inside)
    heavy = np.bincount(inside, sample.weights).astype(np.float64)
    used = rows > 0
    weights = 1.0 if sample.weights is None else sample.weights
    predicted = np.bincount(inside, sample.score * weights)[used] / heavy[used]
    observed = np.bincount(inside, sample.target * weights)[used] / heavy[used]
    return [
        CalibrationBin(rows=int(count), predicted=float(score), observed=float(target))
        for count, score, target in zip(rows[used], predicted, observed, strict=True)
    ]


def _count_confusion(sample: Sample) -> list[list[int]]:
    counts = classes.count_confusion(sample.target, sample.score, len(sample.context.classes))
    return [[int(count) for count in row] for row in counts]


def _measure_gaps(column: str, groups: Groups, task: Task) -> list[Gap]:
    """The widest differences between those groups of a column that have enough rows.

    For a classification the share of positives that is found (equal opportunity: Hardt, Price and Srebro,
    NeurIPS 2016) and the share of rows that is called positive; for a regression the mean error. For several classes
    the accuracy, and these two shares of the class in which each differs most.
    """
    parts = {
        value: part.sample for value, part in groups.items() if len(part.sample.target) >= FEWEST_OF_A_GROUP
    }
    readings: dict[str, dict[str, float]]
    if task == "multiclass":
        return _measure_class_gaps(column, parts)
    if task == "regression":
        readings = {
            "mean error": {value: _average(part, part.score - part.target) for value, part in parts.items()}
        }
    else:
        readings = {
            "recall": _share(parts, {value: part.called for value, part in parts.items()}, of=1),
            "selection rate": {value: _average(part, part.called) for value, part in parts.items()},
        }
    return [_describe_gap(column, measure, found) for measure, found in readings.items() if len(found) > 1]


def _share(
    parts: Mapping[str, Sample], called: Mapping[str, NDArray[np.bool_]], *, of: float
) -> dict[str, float]:
    """Of each group's rows with this target, the share that is called so; groups without such rows are left out."""
    found = {}
    for value, part in parts.items():
        there = part.target == of
        if there.any():
            weights = None if part.weights is None else part.weights[there]
            found[value] = float(np.average(called[value][there], weights=weights))
    return found


def _measure_class_gaps(column: str, parts: Mapping[str, Sample]) -> list[Gap]:
    """The widest differences between groups with several classes, as `_measure_gaps` says."""
    names = next(iter(parts.values())).context.classes if parts else ()
    recalls, rates = {}, {}
    for number, name in enumerate(names):
        called = {value: part.called_class == number for value, part in parts.items()}
        recalls[name] = _share(parts, called, of=number)
        rates[name] = {value: _average(part, called[value]) for value, part in parts.items()}
    accuracy = {value: _average(part, part.called_class == part.target) for value, part in parts.items()}
    gaps = [_describe_gap(column, "accuracy", accuracy)] if len(accuracy) > 1 else []
    for kind, found in (("recall", recalls), ("selection rate", rates)):
        wide = [
            _describe_gap(column, f"{kind} of {name}"[:200], shares)
            for name, shares in found.items()
            if len(shares) > 1
        ]
        gaps += [max(wide, key=lambda gap: gap.gap)] if wide else []
    return gaps


def _describe_gap(column: str, measure: str, found: Mapping[str, float]) -> Gap:
    lowest, highest = min(found, key=found.__getitem__), max(found, key=found.__getitem__)
    return Gap(
        column=column, measure=measure, lowest=lowest, highest=highest, gap=found[highest] - found[lowest]
    )
