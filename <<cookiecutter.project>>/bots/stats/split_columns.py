"""Finds the columns that a pipeline adds to its tables of rows: each row's name, and among the inputs the target.

The template's pipeline calls them `split:row` and `split:target`, as no column of a team's data can be called. The
tables of a pipeline of a team's own may call them `row` and `target`.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

ROW: Final = "split:row"
TARGET: Final = "split:target"
PLAIN_ROW: Final = "row"
PLAIN_TARGET: Final = "target"
ADDED: Final = "split:"


def find_row_column(names: Collection[str]) -> str:
    """The column that names each row, among a table's columns; `row`, there or not, where none is `split:row`."""
    return ROW if ROW in names else PLAIN_ROW


def find_target_column(names: Collection[str]) -> str:
    """The column of a table of inputs that has the target. `target` beside `split:row` is an input of that name."""
    return TARGET if ROW in names else PLAIN_TARGET


def list_added(names: Collection[str]) -> list[str]:
    """The columns of a table of inputs that are no inputs, in the table's order."""
    plain = () if ROW in names else (PLAIN_ROW, PLAIN_TARGET)
    return [name for name in names if name.startswith(ADDED) or name in plain]
