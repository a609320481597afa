"""Finds which rows a service must refuse: those with a gap or a category that nobody has seen the model answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from bots.derive.model_inputs import find_gaps

if TYPE_CHECKING:
    from bots.derive.model_inputs import Seen
    from bots.derive.onnx_graph import Inputs, WrappedModel
    from bots.derive.schema import Schema
    from bots.stats.metrics import Floats

ROWS: Final = 60
"""Rows of the holdout that are asked with one value changed."""
MOST: Final = 60_000
FEWEST: Final = 6
UNSEEN: Final = "(none of the categories)"


@dataclass(frozen=True)
class Limits:
    """`required`: a gap of these inputs is refused. `closed`: a category of these that training did not have.

    `asked` rows were tried. `problems` are what a service cannot keep away from callers, in words.
    """

    required: frozenset[str]
    closed: frozenset[str]
    asked: int
    problems: tuple[str, ...] = ()


def find_limits(model: WrappedModel, seen: Seen, schema: Schema) -> Limits:
    """Try the model with each input missing and new.

    A gap is answered where rows with one were seen, and the model has a number for it; a new category where it has.
    """
    sample = draw_rows(seen.holdout, max(FEWEST, min(ROWS, MOST // max(1, 2 * len(model.columns.names)))))
    required, closed, problems = set[str](), set[str](), list[str]()
    asked = 0
    for name in model.columns.names:
        text = name in model.columns.texts
        gap = "" if text else np.nan
        if name in model.columns.whole or not seen.has_gap(name) or not _answers(model, sample, name, gap):
            required.add(name)
        asked += len(sample[name])
        if not text:
            continue
        asked += len(sample[name])
        if not _answers(model, sample, name, UNSEEN):
            closed.add(name)
            if schema.find_column(name).personal:
                problems.append(
                    f"it has no answer for a new value of {name}, and as the column is personal, the contract does not "
                    "list the known ones: let the model take new values"
                )
    return Limits(frozenset(required), frozenset(closed), asked, tuple(problems))


def _answers(model: WrappedModel, sample: Inputs, name: str, value: str | float) -> bool:
    """Whether a model gives a finite number for each row of a sample, with one value in all of a column."""
    column = np.full_like(sample[name], value)
    return bool(np.isfinite(model.ask({**sample, name: column})).all())


def draw_rows(inputs: Inputs, count: int) -> Inputs:
    """Rows that are evenly spread over a table, at most so many."""
    rows = len(next(iter(inputs.values())))
    chosen = np.unique(np.linspace(0, rows - 1, min(count, rows)).astype(int))
    return {name: column[chosen] for name, column in inputs.items()}


def find_single_differences(model: WrappedModel, inputs: Inputs, scores: Floats, rows: int = 8) -> float:
    """How far a few rows' answers are from those in the table when each is asked alone, as a service asks."""
    count = len(scores)
    chosen = np.unique(np.linspace(0, count - 1, min(rows, count)).astype(int))
    alone = [model.ask({name: column[at : at + 1] for name, column in inputs.items()})[0] for at in chosen]
    return float(np.abs(np.array(alone) - scores[chosen]).max(initial=0.0))


def list_known(values: Inputs, name: str) -> list[str]:
    """The categories that an input had, sorted."""
    column = values[name]
    return sorted({str(one) for one in column[~find_gaps(column), 0]})
