"""Lines up the rows of a change with main's, by their identity, and finds inputs that are not main's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bots.stats.split_columns import PLAIN_ROW, find_row_column

if TYPE_CHECKING:
    import pyarrow
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Inputs:
    """The model's inputs on the holdout, by what main's rows say of them.

    `same` have main's values; `other` have not, with the number of rows in which; main's rows have no such column as
    those of `unknown`.
    """

    same: list[str]
    other: dict[str, int]
    unknown: list[str]


def align_predictions(table: pyarrow.Table, rows: pyarrow.ChunkedArray) -> pyarrow.Table | None:
    """A table of predictions, whose rows are named by `row`, as `align_rows` gives it."""
    return _align(table, PLAIN_ROW, rows)


def align_rows(table: pyarrow.Table, rows: pyarrow.ChunkedArray) -> pyarrow.Table | None:
    """A table of rows or inputs in the order of these rows; None where it is not about exactly them, each once."""
    return _align(table, find_row_column(table.column_names), rows)


def get_row_names(table: pyarrow.Table) -> pyarrow.ChunkedArray:
    """The name of each row of a table of rows or inputs. Raises `KeyError` where it has none."""
    return table[find_row_column(table.column_names)]


def _align(table: pyarrow.Table, name: str, rows: pyarrow.ChunkedArray) -> pyarrow.Table | None:
    import pyarrow
    import pyarrow.compute as arrow

    if name not in table.column_names or len(table) != len(rows):
        return None
    own = table[name].cast(pyarrow.string()).combine_chunks()
    at = arrow.index_in(rows.cast(pyarrow.string()), value_set=own)
    if at.null_count or arrow.count_distinct(at).as_py() != len(table):
        return None
    return table.take(at)


def compare_inputs(names: list[str], table: pyarrow.Table, known: list[pyarrow.Table]) -> Inputs:
    """Hold the columns of a table against the first of main's that has each; all are in the same order of rows."""
    same, other, unknown = list[str](), dict[str, int](), list[str]()
    for name in names:
        column = next((one[name] for one in known if name in one.column_names), None)
        if column is None or name not in table.column_names:
            unknown.append(name)
        elif off := _count_unlike(table[name], column):
            other[name] = off
        else:
            same.append(name)
    return Inputs(same, other, unknown)


def _count_unlike(one: pyarrow.ChunkedArray, other: pyarrow.ChunkedArray) -> int:
    """In how many rows two columns differ: as float32 where both are numbers, else as text with "" for nothing."""
    numbers = [_convert_to_numbers(column) for column in (one, other)]
    if numbers[0] is not None and numbers[1] is not None:
        unlike = (numbers[0] != numbers[1]) & ~(np.isnan(numbers[0]) & np.isnan(numbers[1]))
        return int(unlike.sum())
    texts = [_convert_to_texts(column) for column in (one, other)]
    return int((texts[0] != texts[1]).sum())


def _convert_to_numbers(column: pyarrow.ChunkedArray) -> NDArray[np.float32] | None:
    import pyarrow

    if pyarrow.types.is_string(column.type) or pyarrow.types.is_large_string(column.type):
        return None
    try:
        known = column.cast(pyarrow.float64(), safe=False).fill_null(float("nan"))
    except pyarrow.ArrowException:
        return None
    return np.asarray(known.to_numpy()).astype(np.float32)


def _convert_to_texts(column: pyarrow.ChunkedArray) -> NDArray[Any]:
    import pyarrow

    try:
        known = column.cast(pyarrow.string()).fill_null("")
    except pyarrow.ArrowException:
        return np.full(len(column), None, dtype=object)
    return np.asarray(known.to_numpy(zero_copy_only=False), dtype=object)
