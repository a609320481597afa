"""The format of the prediction log: a header line in each file, then one line for each prediction."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec
from msgspec import Struct

FORMAT = 1
SUFFIX = ".jsonl"
# Ends the name of the marker beside a table that was shipped.
SHIPPED = ".shipped"
ColumnType = Literal["number", "boolean", "text"]


class Header(Struct, frozen=True, omit_defaults=True):
    """The first line of a file: what its entries share, so that it can be read without the model.

    `classes` are the names of several classes, in the order of an entry's `scores`.
    """

    format: int
    version: str
    onnx: str
    columns: dict[str, ColumnType]
    classes: list[str] = []

    @property
    def own_columns(self) -> dict[str, ColumnType]:
        """The columns that a table has before those of the row."""
        if not self.classes:
            return COLUMNS
        several: dict[str, ColumnType] = {"prediction:label": "text"}
        return COLUMNS | several | {f"{CLASS_PREFIX}{name}": "number" for name in self.classes}


class Entry(Struct, frozen=True, omit_defaults=True):
    """One prediction: the row as it was sent, and what was answered. `low` and `high` are the interval's bounds.

    With several classes `label` is the name of one, `score` its probability, and `scores` has all of them.
    """

    id: str
    time: datetime
    row: msgspec.Raw
    score: float
    label: bool | str | None = None
    low: float | None = None
    high: float | None = None
    fallback: bool = False
    warnings: list[str] = []
    scores: list[float] | None = None


# The columns that a table has before those of the row; the colon keeps them apart from a row's column names. A model of
# several classes adds the probability of each, and its label is text.
CLASS_PREFIX = "prediction:score:"
COLUMNS: dict[str, ColumnType] = {
    "prediction:id": "text",
    "prediction:time": "text",
    "prediction:version": "text",
    "prediction:onnx": "text",
    "prediction:score": "number",
    "prediction:label": "boolean",
    "prediction:low": "number",
    "prediction:high": "number",
    "prediction:fallback": "boolean",
    "prediction:warnings": "text",
}
