"""Finds metrics by their names, whatever the task, and computes them; `measures` and `classes` say what each one is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bots.stats import classes, deviances, row_metrics
from bots.stats.measures import (
    MEASURES,
    Context,
    Floats,
    Measure,
    Sample,
    combine_mean,
    compute_sample_value,
    find_scale,
    is_lumpy_at_median,
    make_sample,
    prepare_by_row,
    split_rows,
    stack_columns,
    weigh,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from bots.evidence import Costs, Direction, Task

__all__ = [
    "MEASURES",
    "Context",
    "Floats",
    "Measure",
    "Sample",
    "choose_measures",
    "combine_mean",
    "compute_sample_value",
    "compute_value",
    "describe_measure",
    "find_class",
    "find_label",
    "find_measure",
    "find_scale",
    "find_task",
    "find_unit",
    "get_measure",
    "is_lumpy_at_median",
    "list_names",
    "make_sample",
    "prepare_by_row",
    "scale_differences",
    "split_rows",
    "stack_columns",
    "weigh",
]


def compute_value(
    name: str, target: Floats, score: Floats, context: Context, weights: Floats | None = None
) -> float | None:
    """The metric of these rows, or None where it has none (no rows, one class missing, a constant target)."""
    declared = row_metrics.find_row_metric(name, context.row_metrics)
    measure = declared or get_measure(name, find_task(score, name))
    return compute_sample_value(measure, make_sample(target, score, context, weights))


def scale_differences(scores: Floats, expected: Floats, task: Task) -> Floats:
    """How far scores lie from what is expected, (n,): of probabilities as they are (the largest of several classes'),
    else beside the size of the expected score or, where that is larger, of all of them (root of the mean square). Of
    metrics that each row brings the one that is furthest off counts."""
    if task == "scores":
        return row_metrics.scale_row_differences(scores, expected)
    if task == "multiclass":
        largest_of_row: Floats = np.abs(scores - expected).max(axis=1)
        return largest_of_row
    if task == "classification":
        return np.abs(scores - expected)
    largest = float(np.abs(expected).max(initial=0.0)) or 1.0
    usual = largest * float(np.sqrt(np.mean((expected / largest) ** 2))) or 1.0
    differences: Floats = np.abs(scores - expected) / np.maximum(usual, np.abs(expected))
    return differences


def choose_measures(
    names: Iterable[str], task: Task, declared: Mapping[str, Direction] | None = None
) -> list[Measure]:
    """The metrics of these names that a task has."""
    found = [find_measure(name, task, declared) for name in names]
    return [measure for measure in found if measure is not None]


def find_measure(name: str, task: Task, declared: Mapping[str, Direction] | None = None) -> Measure | None:
    """The metric of this name that a task has, `recall:CLASS` with several classes too; None where there is none.

    The task scores has no metrics but those that are `declared`, with what is better.
    """
    if task == "scores":
        return row_metrics.find_row_metric(name, declared or {})
    if task == "multiclass":
        return classes.CLASS_MEASURES.get(name) or classes.define_of_class(name)
    measure = MEASURES.get(name) or deviances.find_measure(name)
    return measure if measure is not None and task in measure.tasks else None


def list_names(task: Task) -> list[str]:
    """The names of the metrics that a task has; those of one class as `recall:CLASS`, those of a quantile as
    `pinball:LEVEL`."""
    if task == "multiclass":
        return [*classes.CLASS_MEASURES, *(f"{kind}:CLASS" for kind in classes.OF_ONE_CLASS)]
    found = [name for name, measure in MEASURES.items() if task in measure.tasks]
    return [*found, *deviances.DEVIANCES, f"{deviances.PINBALL}:LEVEL"] if task == "regression" else found


def find_class(name: str) -> str | None:
    """The class that a metric of several classes is about, as in `recall:CLASS`; None for any other metric."""
    found = classes.split_name(name)
    return None if found is None else found[1]


def get_measure(name: str, task: Task, declared: Mapping[str, Direction] | None = None) -> Measure:
    """The metric of this name that a task has. Raises ValueError where it has none."""
    measure = find_measure(name, task, declared)
    if measure is None:
        raise ValueError(f"{name} is no metric of a {task}")
    return measure


def find_task(score: Floats, name: str) -> Task:
    """The task that scores of this shape belong to, where a metric of this name is computed from them."""
    if score.ndim == 2:
        return "multiclass"
    return MEASURES[name].tasks[0] if name in MEASURES else "regression"


def describe_measure(name: str) -> Measure | None:
    """The metric of this name, of whatever task: for its label, unit and decimals alone."""
    if name in MEASURES:
        return MEASURES[name]
    return find_measure(name, "regression") or find_measure(name, "multiclass")


def find_unit(name: str, costs: Costs | None) -> str | None:
    """The unit of a metric, where it has one: `USD per row` for the business value."""
    measure = describe_measure(name)
    return f"{costs.currency} per row" if measure and measure.kind == "money" and costs else None


def find_label(name: str) -> str:
    """The metric's name for people: `ROC AUC` for roc_auc."""
    measure = describe_measure(name)
    return measure.label if measure else row_metrics.label_row_metric(name)
