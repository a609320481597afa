"""Computes metrics of several classes from counts alone: how many rows of each class are called each class.

Such counts add up over days, and every metric that asks no probability comes from them exactly: accuracy, the recall,
precision and F1 of a class, and their means over classes. Each is a mean of shares, a share being Σ above / Σ below
over cells. So its first derivative in the rows is a number for each cell, and the metric of other rows is the mean of
these numbers over them, to first order (the infinitesimal jackknife, as in `bots.stats.measures`).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from bots.stats.classes import split_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from bots.stats.metrics import Floats

MEANS: Final = {"balanced_accuracy": "recall", "precision_macro": "precision", "f1_macro": "f1"}
"""The metrics that are means over classes, and what they are the mean of."""


def is_counted(name: str) -> bool:
    """Whether a metric of several classes comes from counts alone."""
    found = split_name(name)
    return name == "accuracy" or name in MEANS or (found is not None and found[0] != "roc_auc")


def make_table(counts: Mapping[str, Mapping[str, int]], classes: Sequence[str]) -> Floats:
    """The rows of each class that are called each class, (k + 1, k), from counts by their names.

    The last line has the rows of classes that are none of these.
    """
    places = {name: at for at, name in enumerate(classes)}
    table = np.zeros((len(classes) + 1, len(classes)))
    for actual, row in counts.items():
        for called, rows in row.items():
            if called in places:
                table[places.get(actual, len(classes)), places[called]] += rows
    return table


def compute_metric(name: str, table: Floats, classes: Sequence[str]) -> float | None:
    """A metric of the rows that a table counts, (k + 1, k); None where it has no value, or does not come from counts.

    A mean is over the classes that have rows or, unless it is one of recalls, that rows are called. Rows of a class
    that is none of `classes` are called wrongly, and are no class of their own.
    """
    shares = list(_list_shares(name, table, classes))
    if not shares or not table.sum():
        return None
    return float(np.mean([_divide((above * table).sum(), (below * table).sum()) for above, below in shares]))


def linearise_metric(name: str, table: Floats, classes: Sequence[str]) -> Floats | None:
    """A number for each cell, (k + 1, k): its mean over the table's rows is the metric, and over other rows follows the
    metric to first order. None where the metric has no value."""
    shares, total = list(_list_shares(name, table, classes)), table.sum()
    if not shares or not total:
        return None
    cells = np.zeros_like(table)
    for above, below in shares:
        size = (below * table).sum() / total
        value = _divide((above * table).sum(), (below * table).sum())
        cells += value + ((above - value * below) / size if size else 0.0)
    return cells / len(shares)


def estimate_error(name: str, table: Floats, classes: Sequence[str]) -> float | None:
    """The standard error of a metric as if rows were independent; None where it has no value, or there is one row."""
    cells, total = linearise_metric(name, table, classes), float(table.sum())
    if cells is None or total < 2:
        return None
    mean = float((cells * table).sum() / total)
    return math.sqrt(float(((cells - mean) ** 2 * table).sum()) / (total - 1) / total)


def _divide(above: float, below: float) -> float:
    """above / below, and 0 where there is nothing to divide: what is never called has the precision 0."""
    return float(above / below) if below else 0.0


def _list_shares(name: str, table: Floats, classes: Sequence[str]) -> Iterator[tuple[Floats, Floats]]:
    """What counts above and below the line in each cell, of every share that a metric is the mean of; none where the
    metric has no value."""
    rows, called = table.sum(axis=1), table.sum(axis=0)
    if name == "accuracy":
        yield np.eye(*table.shape), np.ones_like(table)
    elif name in MEANS:
        kind = MEANS[name]
        for at in range(len(classes)):
            if rows[at] or (kind != "recall" and called[at]):
                yield _define_share(kind, at, table.shape)
    elif (found := split_name(name)) is not None and found[0] != "roc_auc" and found[1] in classes:
        kind, at = found[0], list(classes).index(found[1])
        if kind == "precision" or 0 < rows[at] < rows.sum():
            yield _define_share(kind, at, table.shape)


def _define_share(kind: str, at: int, shape: tuple[int, ...]) -> tuple[Floats, Floats]:
    """What counts above and below the line of the recall, the precision or the F1 of one class, in each cell."""
    above, of_it, called = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    above[at, at], of_it[at, :], called[:, at] = 1.0, 1.0, 1.0
    if kind == "recall":
        return above, of_it
    return (above, called) if kind == "precision" else (2 * above, of_it + called)
