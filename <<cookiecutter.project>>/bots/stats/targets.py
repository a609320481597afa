"""Reads a classification's target as 1 and 0 where people call yes and no by labels of their own, as the pipeline does.

`data.positive` of params.yaml names the label that counts as yes; the only other one is no.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from bots.stats.predictions import PredictionsError, encode_classes, get_numbers
from bots.stats.predictions import write_label as write_label

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow

    from bots.evidence import Answers
    from bots.stats.metrics import Floats

TRUTHS: Final = {"true": 1.0, "t": 1.0, "yes": 1.0, "y": 1.0, "1": 1.0, "1.0": 1.0} | {
    "false": 0.0,
    "f": 0.0,
    "no": 0.0,
    "n": 0.0,
    "0": 0.0,
    "0.0": 0.0,
}
"""The words for true and false that the pipeline's data contract takes."""
Label = str | bool | int | float


def get_target(
    table: pyarrow.Table, column: str, name: str, positive: Label | None, classes: Sequence[str] = ()
) -> Floats:
    """The target of each row as float64, (rows,): NaN where it is not known; messages call the table `name`.

    With several `classes` it is the place of the row's class among them. Without `positive` these are the column's
    numbers. Raises `PredictionsError` for a column that is none, for a class that is not among them, and for labels
    that are more than two or not the named one.
    """
    if classes:
        return encode_classes(table, column, name, classes)
    if positive is None:
        return get_numbers(table, column, name)
    if column not in table.column_names:
        raise PredictionsError(f"{name}: no column {column}")
    coded = table[column].combine_chunks()
    coded = coded if hasattr(coded, "dictionary") else coded.dictionary_encode()
    labels = [write_label(value) for value in coded.dictionary.to_pylist()]
    known = sorted({label for label in labels if label})
    yes = find_positive(known, positive, text=_is_text(coded.dictionary.type))
    others = [label for label in known if label != yes]
    if len(others) > 1:
        raise PredictionsError(
            f"{name}: {column}: expected two labels, of which data.positive names one ({write_label(positive)!r}), got "
            f"{', '.join(map(repr, known[:5]))}{' and more' if len(known) > 5 else ''}"
        )
    values = np.array([math.nan if not label else float(label == yes) for label in labels] + [math.nan])
    codes = coded.indices.fill_null(len(labels)).to_numpy(zero_copy_only=False)
    return values[codes.astype(np.int64)]


def find_positive(labels: list[str], positive: Label, *, text: bool) -> str | None:
    """Find which label is meant: the same text, the same number, or what YAML made a truth of (`positive: yes`)."""
    wanted = write_label(positive)
    if wanted in labels:
        return wanted
    if text and not isinstance(positive, bool):
        return None
    alike = [label for label in labels if _read_quantity(label) == _read_quantity(wanted) is not None]
    return alike[0] if len(alike) == 1 else None


def read_answer(text: str, answers: Answers) -> float:
    """Read a label as 1 or 0; NaN where it is neither answer.

    Truths and their words stand for the answers too, where the answers themselves are no such words.
    """
    label = text.strip()
    if text == answers.yes or label == answers.yes:
        return 1.0
    if text == answers.no or label == answers.no:
        return 0.0
    own = [TRUTHS.get(answer.strip().lower()) for answer in (answers.yes, answers.no)]
    said = TRUTHS.get(label.lower(), math.nan)
    if own == [None, None]:
        return said
    return math.nan if None in own or math.isnan(said) else float(said == own[0])


def _is_text(kind: pyarrow.DataType) -> bool:
    from pyarrow import types

    return bool(types.is_string(kind) or types.is_large_string(kind))


def _read_quantity(label: str) -> float | None:
    """Read a truth or a number from a label."""
    word = label.strip().lower()
    if word in TRUTHS:
        return TRUTHS[word]
    try:
        return float(word)
    except ValueError:
        return None
