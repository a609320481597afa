"""What a source gives: one table, and what was found out about how it is written."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import date, datetime, time
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from pipeline import files
from pipeline.files import StageError
from pipeline.params import Read

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import pandas as pd
    import pyarrow as pa

TITLE = 20  # rows in which the names of the columns are looked for
EXACT = 2**53  # up to here a float holds every whole number


@dataclass(frozen=True)
class Table:
    """A table as it stands in its source: cells of text files are text, other columns have the file's own types."""

    data: pa.Table
    # Sentences about what no parameter said, for instance "rows.csv: the separator is ';'".
    found: list[str] = field(default_factory=list)
    # The parameters, with what was found filled in.
    read: Read = field(default_factory=Read)

    @property
    def frame(self) -> pd.DataFrame:
        """The table for pandas: text is `str`, and whole numbers stay whole where some are missing."""
        return convert_frame(self.data)


def convert_frame(data: pa.Table, rows: int | None = None) -> pd.DataFrame:
    """Convert a table for pandas, or its first rows; whole numbers and truths stay so where some are missing."""
    import pandas as pd

    columns = {
        name: column.slice(0, rows).to_pandas(types_mapper=_choose_type if column.null_count else None)
        for name, column in zip(data.column_names, data.columns, strict=True)
    }
    return pd.DataFrame(columns, copy=False)


def _choose_type(kind: pa.DataType) -> Any:
    import pandas as pd
    import pyarrow as pa

    if pa.types.is_boolean(kind):
        return pd.BooleanDtype()
    if pa.types.is_integer(kind):
        return pd.api.types.pandas_dtype(str(kind).replace("int", "Int").replace("uI", "UI"))
    return None


def write_raw(table: Table, path: Path) -> None:
    """Write the raw table as Parquet, whole or not at all; what was found travels in its metadata."""
    import pyarrow as pa
    import pyarrow.parquet

    data = table.data
    if not data.schema.pandas_metadata:  # so that pandas, too, keeps whole numbers where some are missing
        few = pa.Schema.from_pandas(convert_frame(data, rows=0), preserve_index=False)
        data = data.replace_schema_metadata(few.metadata)
    if table.found:
        told = {files.FOUND: json.dumps(table.found, ensure_ascii=False)}
        data = data.replace_schema_metadata({**(data.schema.metadata or {}), **told})
    with files.write_whole(path) as part:
        pyarrow.parquet.write_table(data, part, compression="zstd")


def check_names(names: list[str]) -> list[str]:
    """Return a table's names of columns, each once and none empty.

    The first may be empty, as programs write it above the names of rows: it becomes `index`, or `index_2` where another
    column has that name. Raises `StageError`.
    """
    if names and not names[0].strip():
        free = (f"index_{number}" if number > 1 else "index" for number in range(1, len(names) + 1))
        names = [next(name for name in free if name not in names), *names[1:]]
    empty = [position for position, name in enumerate(names, start=1) if not name.strip()]
    if empty:
        raise StageError(
            f"column {empty[0]} of {len(names)} has no name; give each a name, or say in data.read.header "
            "(onboarding: --header N) which line has the names"
        )
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        places = [str(position) for position, name in enumerate(names, start=1) if name == twice[0]]
        raise StageError(
            f"the columns {' and '.join(places)} have the same name, {twice[0]!r}; give each a name of its own"
        )
    return names


def find_names(rows: Sequence[Sequence[Any]], width: int) -> int:
    """Find the row that names the `width` columns: the first, unless it and those that follow are no more than a title.

    A title fills less than half of the cells, the first among them; the names below it fill all, each once, and none is
    a number.
    """
    for at, row in enumerate(rows[:TITLE]):
        texts = [write_value(cell).strip() for cell in row]
        filled = [text for text in texts if text]
        if len(texts) == width and len(filled) >= width - (not texts[0]):
            named = len(set(filled)) == len(filled) and not any(map(_is_number, filled))
            return at if named else 0
        if filled and (2 * len(filled) >= width or not texts[0]):
            return 0
    return 0


def _is_number(text: str) -> bool:
    with suppress(ValueError):
        float(text.replace(",", "."))
        return True
    return False


@contextmanager
def name_file(source: str) -> Iterator[None]:
    """Put the path of the file before the message of each `StageError` about its content."""
    try:
        yield
    except StageError as error:
        if str(error).startswith("params.yaml"):
            raise
        raise StageError(f"data.source: {source}: {error}", error.findings) from error


def build_column(values: list[Any]) -> pa.Array:
    """Build a column of Python's values: of their type where all have the same, else of their text.

    Whole numbers among fractions are numbers, and numbers that are all whole are whole, as workbooks keep none.
    """
    import pyarrow as pa

    kinds = {type(value) for value in values if value is not None}
    if not kinds:
        return pa.nulls(len(values))
    if kinds <= {int, float} and all(
        value is None or (float(value).is_integer() and abs(value) <= EXACT) for value in values
    ):
        return pa.array([None if value is None else int(value) for value in values], type=pa.int64())
    if kinds == {int, float} and all(type(value) is not int or abs(value) <= EXACT for value in values):
        return pa.array([None if value is None else float(value) for value in values], type=pa.float64())
    if kinds == {datetime, date}:
        values = [datetime.combine(value, time()) if type(value) is date else value for value in values]
        kinds = {datetime}
    if len(kinds) == 1 and kinds <= {bool, int, float, str, bytes, datetime, date}:
        with suppress(pa.ArrowInvalid, OverflowError):  # numbers above 2**63, times with and without a zone
            return pa.array(values)
    return pa.array([None if value is None else write_value(value) for value in values], type=pa.string())


def write_value(value: Any) -> str:
    """Write one value as text: decimals with all of their digits, whole numbers without a fraction."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else str(value)


def sort_rows(data: pa.Table) -> pa.Table:
    """Sort rows by their values, from the first column on."""
    import pyarrow as pa

    sortable = [
        field.name
        for field in data.schema
        if not (pa.types.is_null(field.type) or pa.types.is_boolean(field.type))
    ]
    return data.sort_by([(name, "ascending") for name in sortable]) if sortable else data


def add_texts(data: pa.Table, texts: dict[str, str | None]) -> pa.Table:
    """Add columns that hold one text in all rows; a column that the table has already stays."""
    import pyarrow as pa

    for name, text in texts.items():
        if name not in data.column_names:
            column = pa.array([text], type=pa.string()).take(pa.array([0] * data.num_rows, type=pa.int32()))
            data = data.append_column(name, column)
    return data


def join_tables(parts: list[tuple[str, pa.Table]]) -> pa.Table:
    """Join tables, each with the path of its file, in their order; columns stand in the order of the first.

    Where the files give a column different types, it becomes text, unless all are numbers that floats hold exactly.
    Raises `StageError` where the tables do not have the same columns.
    """
    import pyarrow as pa

    first_path, first = parts[0]
    if len(parts) == 1:
        return first
    aligned = [_align_columns(data, first, path=path, first_path=first_path) for path, data in parts]
    columns = []
    for position in range(first.num_columns):
        pieces = [data.column(position) for data in aligned]
        kind = _find_common_type(pieces)
        columns.append(
            pa.chunked_array([chunk for piece in pieces for chunk in _cast(piece, kind).chunks], type=kind)
        )
    return pa.table(columns, names=first.column_names)


def _align_columns(data: pa.Table, first: pa.Table, path: str, first_path: str) -> pa.Table:
    """Put the columns in the order of the first table's. Raises `StageError` where they are not the same."""
    lacks = [name for name in first.column_names if name not in data.column_names]
    adds = [name for name in data.column_names if name not in first.column_names]
    if lacks or adds:
        differences = [f"lacks {', '.join(lacks)}"] * bool(lacks) + [f"adds {', '.join(adds)}"] * bool(adds)
        raise StageError(f"data.source: {path}: not the columns of {first_path}: {' and '.join(differences)}")
    return data.select(first.column_names)


def _find_common_type(pieces: list[pa.ChunkedArray]) -> pa.DataType:
    """Find the type that holds the values of all pieces as they are: text where another would lose something."""
    import pyarrow as pa

    kinds = {piece.type for piece in pieces if not pa.types.is_null(piece.type)}
    if not kinds:
        return pieces[0].type
    if len(kinds) == 1:
        return kinds.pop()
    if all(pa.types.is_integer(kind) for kind in kinds):
        return pa.int64() if all(kind != pa.uint64() for kind in kinds) else pa.string()
    if all(pa.types.is_integer(kind) or pa.types.is_floating(kind) for kind in kinds) and all(
        _holds_exactly(piece) for piece in pieces
    ):
        return pa.float64()
    if all(pa.types.is_timestamp(kind) for kind in kinds) and len({kind.tz for kind in kinds}) == 1:
        return pa.timestamp("us" if all(kind.unit != "ns" for kind in kinds) else "ns", tz=kinds.pop().tz)
    return pa.string()


def _holds_exactly(piece: pa.ChunkedArray) -> bool:
    """Whether a float holds each number of a column exactly."""
    import pyarrow as pa
    import pyarrow.compute as compute

    if not pa.types.is_integer(piece.type) or piece.null_count == len(piece):
        return True
    ends = compute.min_max(piece)
    return bool(ends["min"].as_py() >= -EXACT and ends["max"].as_py() <= EXACT)


def _cast(piece: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    """Cast a column; what Arrow cannot write as text becomes what Python writes."""
    import pyarrow as pa

    try:
        return piece.cast(kind)
    except pa.ArrowNotImplementedError:
        texts = [None if value is None else str(value) for value in piece.to_pylist()]
        return pa.chunked_array([pa.array(texts, type=kind)])
