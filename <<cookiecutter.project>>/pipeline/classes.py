"""Several classes: which there are and in which order, their numbers, and the columns of their probabilities."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.files import StageError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from pipeline.params import Costs, Data

SCORE = "score:"
"""A class's probability in a table of predictions is the column `score:CLASS`."""
MOST = 100
FEWEST = 3
FEWEST_ROWS = 2  # of a class, in training
LONGEST = 180  # characters of a class's name, which a metric such as `recall:CLASS` adds its own to
SHOWN = 5


def find_problem(counts: Mapping[str, int], data: Data) -> str | None:
    """Find why the labels of the training rows are no several classes, and say what to do; None where they are.

    `counts` says how many training rows have each label.
    """
    name = data.target
    if wrong := find_wrong_number(counts, data, where="in training"):
        return wrong
    if long := [label for label in counts if len(label) > LONGEST]:
        return (
            f"the target {name} has a class whose name is longer than {LONGEST} characters: {long[0][:60]!r}…"
        )
    if rare := [label for label, rows in sorted(counts.items()) if rows < FEWEST_ROWS]:
        return (
            f"the target {name} has classes with fewer than {FEWEST_ROWS} rows in training: {quote_labels(rare)}; no "
            "model learns a class from one row: get more of them, put them together with another class, or let the "
            "training rows (split.train) have more of them"
        )
    return _find_wrong_order(counts, data)


def find_wrong_number(labels: Collection[str], data: Data, where: str) -> str | None:
    """Find why so many classes are too few or too many, and say what to do; None where they are neither."""
    name, shown = data.target, quote_labels(labels)
    if len(labels) > MOST:
        return (
            f"the target {name} has {len(labels):,} classes {where}, and at most {MOST} are possible: derive coarser "
            f"ones by data.derive, or say `data.task: regression` in params.yaml where {name} is a quantity"
        )
    if len(labels) == 2:
        return (
            f"the target {name} has two classes {where} ({shown}): say `data.task: classification` in params.yaml, "
            f"and under data which one counts as yes: `positive: {quote_labels(sorted(labels)[-1:])}`"
        )
    if len(labels) < FEWEST:
        only = f"only the class {shown}" if labels else "no class"
        return f"the target {name} has {only} {where}: nothing can be learned"
    return None


def _find_wrong_order(counts: Mapping[str, int], data: Data) -> str | None:
    """Find where `data.classes` names other classes than the training rows have."""
    if data.classes is None:
        return None
    if unnamed := [label for label in sorted(counts) if label not in data.classes]:
        return f"params.yaml: data.classes: training has the classes {quote_labels(unnamed)}, too: add them"
    if unknown := [label for label in data.classes if label not in counts]:
        return (
            f"params.yaml: data.classes: no training row is of the classes {quote_labels(unknown)}; training has "
            f"{quote_labels(sorted(counts))}: take them out, or let split.train have rows of them"
        )
    return None


def list_classes(labels: Iterable[str], data: Data) -> list[str]:
    """List the classes in their order: that of `data.classes`, else the training rows' labels sorted as text."""
    return list(data.classes) if data.classes is not None else sorted(set(labels))


def number_labels(labels: pd.Series, names: Sequence[str]) -> NDArray[np.int64]:
    """Give each label its place in the order of the classes, -1 where it is none of them."""
    import pandas as pd

    return np.asarray(pd.Index(list(names)).get_indexer(labels.to_numpy()), dtype=np.int64)


def find_called(scores: NDArray[np.float64]) -> NDArray[np.int64]:
    """Find the class of the largest probability of each row, (rows,); of equal ones the first in order."""
    return np.argmax(scores, axis=1).astype(np.int64)


def name_scores(names: Iterable[str]) -> list[str]:
    """Name the columns of the classes' probabilities."""
    return [SCORE + name for name in names]


def list_scored(columns: Iterable[str]) -> list[str]:
    """List the classes whose probabilities a table of predictions has, in order."""
    return [name.removeprefix(SCORE) for name in columns if name.startswith(SCORE)]


def get_names(model: Any) -> list[str]:
    """Get the classes of a model that `train` has fitted. Raises `StageError` for one that knows none."""
    names: Sequence[str] | None = getattr(model, "class_names_", None)
    if names is None:
        raise StageError(
            "models/model.skops: the model does not say which classes it was trained on; run `dvc repro train`"
        )
    return list(names)


def make_worths(costs: Costs, names: Sequence[str]) -> NDArray[np.float64]:
    """Make the matrix of what a decision is worth, (actual, called); a cell that is not named is worth nothing.

    Raises `StageError` for a class that there is not.
    """
    matrix = costs.matrix or {}
    named = dict.fromkeys([*matrix, *(called for row in matrix.values() for called in row)])
    if unknown := [name for name in named if name not in names]:
        raise StageError(
            f"params.yaml: evaluate.costs.matrix: no class {quote_labels(unknown)}; the classes are "
            f"{quote_labels(names)}"
        )
    return np.array([[matrix.get(actual, {}).get(called, 0.0) for called in names] for actual in names])


def quote_labels(labels: Iterable[str], most: int = SHOWN) -> str:
    """List labels in quotes, as YAML takes them: the first of many, each cut to 60 characters."""
    shown = ["'" + label[:60].replace("'", "''") + "'" for label in labels]
    return ", ".join(shown[:most]) + (f" and {len(shown) - most} more" if len(shown) > most else "")
