"""Finds the rows of a holdout that are also training rows, by their content, whatever they are called."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bots.stats.predictions import PredictionsError, open_table
from bots.stats.split_columns import PLAIN_ROW, PLAIN_TARGET, ROW, TARGET, find_row_column

if TYPE_CHECKING:
    import pyarrow
    from numpy.typing import NDArray

    Hashes = NDArray[np.uint64]
    Marks = NDArray[np.bool_]

_BATCH = 100_000
_ODD = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class CopyCount:
    """`rows` in the holdout: `copies` have the inputs and target of a training row, `same_rows` its name too."""

    rows: int
    copies: int
    same_rows: int


@dataclass(frozen=True, eq=False)
class KnownRows:
    """Which of n rows another table has too, (n,) each: `copied` by what stands in them, `named` by their name."""

    copied: Marks
    named: Marks

    @property
    def either(self) -> Marks:
        """The rows that the other table has in one way or the other, (n,)."""
        marks: Marks = self.copied | self.named
        return marks


def find_columns(training: Path, holdout: Path, wanted: Collection[str]) -> list[str]:
    """The wanted columns that both tables have; where they share none of these, all that both have but the row's name.

    Where `split:target` is wanted, so is the `target` of a table that has no names such as `split:row`. Raises
    `PredictionsError` where a table cannot be read.
    """
    tables = [_list_columns(training), _list_columns(holdout)]
    rows = {find_row_column(names) for names in tables}
    shared = [name for name in tables[0] if name in set(tables[1]) and name not in rows]
    chosen = {*wanted, *([PLAIN_TARGET] if TARGET in wanted and ROW not in rows else [])}
    return [name for name in shared if name in chosen] or shared


def choose_columns(
    training: Path, holdout: Path, wanted: tuple[Collection[str], Collection[str]]
) -> list[str]:
    """The columns by which rows are the same to a model: its inputs and the target, as far as both tables have them.

    `wanted` are the inputs, and what the target may be called. Where the tables share no input: all that both have but
    the row's name. Fewer columns find more rows alike, never fewer. Raises `PredictionsError`.
    """
    inputs, targets = wanted
    found = find_columns(training, holdout, {*inputs, *targets})
    return found if set(found) & set(inputs) else find_columns(training, holdout, ())


def count_copies(training: Path, holdout: Path, columns: Sequence[str]) -> CopyCount:
    """Count the holdout's rows that the training table has too, by these columns.

    Fractions are compared as float32, as a model reads them. A row is a 64-bit hash: 10 million rows beside a million
    have a chance match once in two million such pairs of tables. Memory: 16 bytes a row, and one batch. Raises
    `PredictionsError` where a table cannot be read, or has no such columns.
    """
    if not columns:
        raise PredictionsError(f"{training.name} and {holdout.name} have no column in common")
    train, train_names = _hash_table(training, columns)
    judge, judge_names = _hash_table(holdout, columns)
    same = 0
    if train_names is not None and judge_names is not None:
        same = int(np.isin(_mix(judge, judge_names), _mix(train, train_names)).sum())
    return CopyCount(rows=len(judge), copies=int(np.isin(judge, train).sum()), same_rows=same)


def find_known_rows(training: Path, holdout: Path, columns: Sequence[str]) -> KnownRows:
    """Find the holdout's rows that the training table has too, in the order of the holdout's table.

    A copy is a row with the same values in these columns, as `count_copies` takes them; a name is found whatever else
    stands in the row. Raises `PredictionsError` where a table cannot be read, has no such columns, or names no row.
    """
    if not columns:
        raise PredictionsError(f"{training.name} and {holdout.name} have no column in common")
    train, train_names = _hash_table(training, columns)
    judge, judge_names = _hash_table(holdout, columns)
    if train_names is None or judge_names is None:
        nameless = training if train_names is None else holdout
        raise PredictionsError(f"{nameless.name}: no column `{ROW}` or `{PLAIN_ROW}` that names each row")
    return KnownRows(copied=np.isin(judge, train), named=np.isin(judge_names, train_names))


def _list_columns(path: Path) -> list[str]:
    with open_table(path, path.name) as file:
        return list(file.schema_arrow.names)


def _hash_table(path: Path, columns: Sequence[str]) -> tuple[Hashes, Hashes | None]:
    """A hash of these columns for each row, and one of its name where rows have names; shape (rows,) each."""
    with open_table(path, path.name) as file:
        row = find_row_column(file.schema_arrow.names)
        named = row in file.schema_arrow.names
        contents, names = [], []
        for batch in file.iter_batches(_BATCH, columns=[*columns, *([row] if named else [])]):
            mixed = np.zeros(len(batch), dtype=np.uint64)
            for name in columns:
                mixed = _mix(mixed, _hash_column(batch.column(name)))
            contents.append(mixed)
            if named:
                names.append(_hash_column(_write_as_text(batch.column(row))))
    empty = np.zeros(0, dtype=np.uint64)
    return np.concatenate([empty, *contents]), np.concatenate([empty, *names]) if named else None


def _hash_column(column: pyarrow.Array) -> Hashes:
    """A hash for each value; missing values are alike, whether they are null or not a number."""
    import pyarrow.types as types

    kind = column.type
    if types.is_dictionary(kind):
        column, kind = column.cast(kind.value_type), kind.value_type
    if types.is_boolean(kind) or types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind):
        return _spread(_round(_list_numbers(column)).view(np.uint64))
    if not (types.is_string(kind) or types.is_large_string(kind)):
        column = _write_as_text(column)
    coded = column.dictionary_encode("encode")
    known = [_hash_text(value) for value in coded.dictionary.to_pylist()]
    hashes: Hashes = np.array(known, dtype=np.uint64)[np.from_dlpack(coded.indices)]
    return hashes


def _list_numbers(column: pyarrow.Array) -> NDArray[np.float64]:
    """The values of a column of numbers, not a number where one is null. `fill_null` would load pandas for that."""
    import pyarrow

    known = column.cast(pyarrow.float64(), safe=False)
    values = pyarrow.Array.from_buffers(
        known.type, len(known), [None, known.buffers()[1]], null_count=0, offset=known.offset
    )
    numbers = np.array(np.from_dlpack(values))
    numbers[np.from_dlpack(known.is_null().cast(pyarrow.uint8())) == 1] = np.nan
    return numbers


def _round(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    """Whole numbers as they are, others as float32; one zero, and one value that is missing."""
    with np.errstate(over="ignore"):
        rounded = np.where(numbers == np.floor(numbers), numbers, numbers.astype(np.float32))
    rounded[np.isnan(rounded)] = np.nan
    return rounded + 0.0


def _write_as_text(column: pyarrow.Array) -> pyarrow.Array:
    """Dates, times and whatever else a table holds, as text."""
    import pyarrow

    try:
        return column.cast(pyarrow.string())
    except pyarrow.ArrowException:
        return pyarrow.array(
            [None if value is None else repr(value) for value in column.to_pylist()], pyarrow.string()
        )


def _hash_text(value: Any) -> int:
    content = b"" if value is None else b"=" + str(value).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "big")


def _mix(left: Hashes, right: Hashes) -> Hashes:
    """One hash of two, in this order."""
    with np.errstate(over="ignore"):
        return _spread(left * _ODD + right)


def _spread(numbers: Hashes) -> Hashes:
    """Let every bit of a number depend on all of them: splitmix64 (Steele, Lea, Flood 2014)."""
    with np.errstate(over="ignore"):
        mixed = numbers + _ODD
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return mixed ^ (mixed >> np.uint64(31))
