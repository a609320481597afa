"""What a metric of the task scores is: the weighted mean of a number that each row brings, its own loss or reward.

Code of a team's own measures each row (a query's NDCG, a series' error, a judge's mark of an answer) and writes it to
the column `metric:NAME`; params.yaml says which direction is better. The bots know nothing else of such a number: so
nothing bounds it, and its mean is all that is compared.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from bots.stats.measures import Measure, Sample, combine_mean, stack_columns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from bots.evidence import Direction
    from bots.stats.measures import Floats

TASK: Final = "scores"
COLUMN: Final = "metric:"


def define_row_metric(name: str, direction: Direction) -> Measure:
    """The metric of this name: the mean of its column of a sample whose scores are (n, m), in the order of
    `Context.row_metrics`; no number where the sample has no such column."""

    def prepare(sample: Sample) -> Callable[[slice], Floats]:
        known = list(sample.context.row_metrics)
        if name not in known:
            return lambda part: np.full((len(sample.target[part]), 1), np.nan)
        place = known.index(name)
        return lambda part: stack_columns(sample.score[part, place])

    return Measure(
        name=name,
        label=label_row_metric(name),
        direction=direction,
        tasks=(TASK,),
        kind="quantity",
        prepare=prepare,
        combine=combine_mean,
    )


def label_row_metric(name: str) -> str:
    """The metric's name for people: its own, with a blank for each underscore."""
    return name.replace("_", " ")


def find_row_metric(name: str, known: Mapping[str, Direction]) -> Measure | None:
    """The metric of this name among those that are declared; None where it is none of them."""
    return define_row_metric(name, known[name]) if name in known else None


def list_row_metrics(columns: Iterable[str]) -> tuple[str, ...]:
    """The metrics that a table has a column of, in its order."""
    return tuple(name.removeprefix(COLUMN) for name in columns if name.startswith(COLUMN))


def scale_row_differences(scores: Floats, expected: Floats) -> Floats:
    """How far the metrics of rows lie from what is expected, (n,): of (n, m) the one that is furthest off, each beside
    its expected size or, where that is larger, that of the whole column (root of the mean square)."""
    sizes = np.abs(expected)
    largest = np.where(sizes.max(axis=0, initial=0.0) > 0, sizes.max(axis=0, initial=0.0), 1.0)
    usual = largest * np.sqrt(np.mean((expected / largest) ** 2, axis=0))
    beside = np.maximum(np.where(usual > 0, usual, 1.0), sizes)
    found: Floats = (np.abs(scores - expected) / beside).max(axis=1)
    return found
