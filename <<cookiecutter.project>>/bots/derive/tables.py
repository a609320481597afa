"""Reads a team's tables of rows and of predictions: CSV or Parquet, each row named by its column `row`.

Cells of a CSV file are text. A column becomes one of numbers or of truths where each of its cells is one, so that 01067
and NA stay as they are written, and only an empty cell is no value.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from bots.errors import BotsError
from bots.stats.predictions import write_label
from bots.stats.split_columns import PLAIN_ROW, ROW

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    import pyarrow

_WHOLE: Final = r"^-?(0|[1-9][0-9]*)$"
_NUMBER: Final = r"^-?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?$"
_GAP: Final = r"^[nN][aA][nN]$"
_TRUTH: Final = r"^(true|false|True|False|TRUE|FALSE)$"
_SHOWN: Final = 5


class DeriveError(BotsError):
    """Evidence cannot be derived; the message says from which file, why, and what to write."""


@dataclass(frozen=True, eq=False)
class Rows:
    """A table whose rows have names: `names` are distinct texts (but for the tables of rows of the task scores) in the
    order of `table`, which has them as `row`.

    `path` is what messages call it.
    """

    table: pyarrow.Table
    names: pyarrow.ChunkedArray
    path: str

    def __len__(self) -> int:
        return len(self.table)

    @property
    def columns(self) -> list[str]:
        """The names of its columns, in order."""
        return list(self.table.column_names)

    def list_columns(self) -> str:
        """The first of them, as a message names them."""
        return _list_names(self.columns)


def load_rows(root: Path, path: str, texts: Collection[str] = (), *, repeated: bool = False) -> Rows:
    """Load a CSV or Parquet file, whose path is relative to `root`. Columns of `texts` stay text.

    `repeated`: a name may stand at several rows, which are measured as one: a query's documents. Raises `DeriveError`
    where it cannot be read, a column stands twice, or its rows have no distinct names.
    """
    file = root / path
    if not file.is_file():
        raise DeriveError(f"{path}: there is no such file; let a stage write it, or name another one")
    if file.suffix == ".csv":
        table = _read_csv(file, path, {PLAIN_ROW, ROW, *texts})
    elif file.suffix == ".parquet":
        table = _read_parquet(file, path)
    else:
        raise DeriveError(f"{path}: expected a file that ends in .csv or .parquet")
    if not len(table):
        raise DeriveError(f"{path}: expected at least one row of data")
    return _name_rows(table, path, repeated=repeated)


def _read_parquet(file: Path, path: str) -> pyarrow.Table:
    import pyarrow
    from pyarrow import parquet

    try:
        table = parquet.read_table(file)
    except (OSError, UnicodeDecodeError, pyarrow.ArrowException) as error:
        raise DeriveError(f"{path}: not a readable Parquet table ({error})") from error
    _require_distinct_columns(list(table.column_names), path)
    for place, field in enumerate(table.schema):
        if pyarrow.types.is_dictionary(field.type):
            plain = table.column(place).cast(field.type.value_type)
            table = table.set_column(place, field.name, plain)
        elif pyarrow.types.is_decimal(field.type):
            table = table.set_column(place, field.name, table.column(place).cast(pyarrow.float64()))
    return table


def _read_csv(file: Path, path: str, texts: Collection[str]) -> pyarrow.Table:
    import pyarrow
    from pyarrow import csv

    lines = csv.ParseOptions(newlines_in_values=True)
    try:
        with csv.open_csv(file, parse_options=lines) as reader:
            names = list(reader.schema.names)
        _require_distinct_columns(names, path)
        options = csv.ConvertOptions(
            column_types=dict.fromkeys(names, pyarrow.string()),
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        )
        table = csv.read_csv(file, parse_options=lines, convert_options=options)
    except (OSError, UnicodeDecodeError, pyarrow.ArrowException) as error:
        raise DeriveError(f"{path}: not a readable CSV table in UTF-8 ({error})") from error
    if len(names) == 1 and any(mark in names[0] for mark in ";\t|"):
        raise DeriveError(f"{path}: expected cells with commas between them; the first line is {names[0]!r}")
    columns = [table[name] if name in texts else _give_type(table[name]) for name in names]
    return pyarrow.table(dict(zip(names, columns, strict=True)))


def _give_type(cells: pyarrow.ChunkedArray) -> pyarrow.ChunkedArray:
    """Cells of text as whole numbers, numbers or truths, where all are; else as they are."""
    import pyarrow
    import pyarrow.compute as arrow

    def are_all(pattern: str, known: pyarrow.ChunkedArray) -> bool:
        return known.null_count < len(known) and bool(
            arrow.all(arrow.match_substring_regex(known, pattern)).as_py()
        )

    if are_all(_TRUTH, cells):
        return arrow.equal(arrow.utf8_lower(cells), "true")
    gaps = arrow.match_substring_regex(cells, _GAP)
    known = arrow.if_else(gaps, pyarrow.scalar(None, pyarrow.string()), cells)
    for pattern, kind in ((_WHOLE, pyarrow.int64()), (_NUMBER, pyarrow.float64())):
        if are_all(pattern, known):
            try:
                return known.cast(kind)
            except pyarrow.ArrowException:
                return cells  # a whole number beyond 64 bits, which a number would not keep
    return cells


def _require_distinct_columns(names: list[str], path: str) -> None:
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise DeriveError(f"{path}: expected each column once, got `{twice[0]}` more than once")


def _list_names(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _name_rows(table: pyarrow.Table, path: str, *, repeated: bool) -> Rows:
    """The table with the names of its rows as text. Raises `DeriveError` where it has none, or one stands twice."""
    import pyarrow.compute as arrow

    column = PLAIN_ROW if PLAIN_ROW in table.column_names else ROW
    if column not in table.column_names:
        raise DeriveError(
            f"{path}: no column `row` (it has {_list_names(table.column_names)}): write one that names each row, such "
            "as its number in your data, the same in the predictions and in the tables of rows"
        )
    names = write_names(table[column])
    if gaps := int(arrow.sum(arrow.equal(arrow.fill_null(names, ""), "")).as_py() or 0):
        raise DeriveError(f"{path}: row: expected a name for each row; {gaps:,} of {len(names):,} have none")
    counts = arrow.value_counts(names)
    if len(counts) < len(names) and not repeated:
        twice = counts.filter(arrow.greater(counts.field("counts"), 1))
        raise DeriveError(
            f"{path}: row: expected each name once; {len(twice):,} stand more than once, such as "
            f"{twice[0]['values'].as_py()!r}"
        )
    table = table.set_column(table.column_names.index(column), PLAIN_ROW, names)
    return Rows(table, names, path)


def write_names(column: pyarrow.ChunkedArray) -> pyarrow.ChunkedArray:
    """Values as the texts that name rows or slices: whole numbers without a point, truths in small letters."""
    import pyarrow

    if pyarrow.types.is_string(column.type) or pyarrow.types.is_large_string(column.type):
        return column.cast(pyarrow.string())
    if pyarrow.types.is_integer(column.type):
        return column.cast(pyarrow.string())
    coded = column.combine_chunks()
    coded = coded.combine_chunks() if isinstance(coded, pyarrow.ChunkedArray) else coded
    coded = coded.dictionary_encode()
    texts = [write_value(value) or None for value in coded.dictionary.to_pylist()]
    values = pyarrow.array(texts, pyarrow.string())
    return pyarrow.chunked_array(
        [pyarrow.DictionaryArray.from_arrays(coded.indices, values).cast(pyarrow.string())]
    )


def write_value(value: Any) -> str:
    """A value as text: whole numbers without a point, truths in small letters, times in ISO 8601."""
    return str(value.isoformat()) if hasattr(value, "isoformat") else write_label(value)


def keep_first_rows(rows: Rows, used: Sequence[str] = ()) -> Rows:
    """The first row of each name. Raises `DeriveError` where a column of `used` has several values within a name."""
    import pyarrow
    import pyarrow.compute as arrow

    names = rows.names.combine_chunks()
    places = arrow.index_in(names.unique(), value_set=names)
    firsts = places.take(arrow.index_in(names, value_set=names.unique()))
    for column in used:
        texts = arrow.fill_null(write_names(rows.table[column]), "\0")
        off = arrow.not_equal(texts, texts.take(firsts))
        if arrow.any(off).as_py():
            raise DeriveError(
                f"{rows.path}: {column}: expected one value for each name of `row`, which is measured as one; "
                f"{rows.names.filter(off)[0].as_py()!r} has several"
            )
    table = rows.table.take(places)
    return Rows(table, pyarrow.chunked_array([names.take(places)]), rows.path)


def align_rows(rows: Rows, like: Rows) -> Rows:
    """The rows in the order of another table. Raises `DeriveError` where the two are not about the same rows."""
    import pyarrow.compute as arrow

    if rows.names.equals(like.names):
        return rows
    at = arrow.index_in(like.names, value_set=rows.names.combine_chunks())
    if at.null_count:
        lost = like.names.filter(arrow.is_null(at))[0].as_py()
        raise DeriveError(
            f"{rows.path}: {at.null_count:,} of the {len(like):,} rows of {like.path} are missing, such as {lost!r}: "
            "both must have the same rows, by the same names"
        )
    if len(rows) > len(like):
        more = arrow.is_in(rows.names, value_set=like.names.combine_chunks())
        strange = rows.names.filter(arrow.invert(more))[0].as_py()
        raise DeriveError(
            f"{rows.path}: {len(rows) - len(like):,} rows are not in {like.path}, such as {strange!r}: both must have "
            "the same rows, by the same names"
        )
    return Rows(rows.table.take(at), like.names, rows.path)


def require_apart(training: Rows, holdout: Rows) -> None:
    """Raise `DeriveError` where rows that train have the names of rows that judge."""
    import pyarrow.compute as arrow

    both = arrow.is_in(holdout.names, value_set=training.names.combine_chunks())
    if shared := int(arrow.sum(both).as_py() or 0):
        name = holdout.names.filter(both)[0].as_py()
        raise DeriveError(
            f"{training.path}: {shared:,} rows have the name of a row of {holdout.path}, such as {name!r}: keep the "
            "rows that judge out of training, and name each row as no other one (its number in your data, not in the "
            "file)"
        )
