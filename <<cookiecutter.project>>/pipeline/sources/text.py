"""Read a text file as text: each cell is what stands there, and no cell is typed by a guess."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

import msgspec

from pipeline.files import StageError
from pipeline.sources import tables
from pipeline.sources.dialect import Dialect, explain_encoding, find_dialect

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

    from pipeline.params import Read

BLOCK = 1 << 24  # bytes that are parsed at once; no row may be longer
REST = "\0rest"  # the column that a separator at the end of each row seems to begin


def read_file(path: Path, source: str, read: Read) -> tuple[pa.Table, list[str], Read]:
    """Read a text file: its cells as text, what was found of how it is written, and `read` with that filled in.

    An empty cell without quotes is null. Empty lines are left out. Raises `StageError` for a file without names of
    columns, or with a row that has more or fewer cells than names.
    """
    with tables.name_file(source):
        if path.stat().st_size == 0:
            raise StageError("the file is empty; expected a line of column names")
        dialect, found = find_dialect(path, read)
        if not dialect.separator.isascii() or not dialect.quote.isascii():
            key = "quote" if dialect.separator.isascii() else "separator"
            raise StageError(f"params.yaml: data.read.{key}: expected an ASCII character")
        data, names = _read_cells(path, dialect)
        if names and not names[0].strip():
            found.append(f"the first column has no name; it is called {data.column_names[0]!r}")
    filled = msgspec.structs.replace(
        read,
        separator=dialect.separator,
        encoding=dialect.encoding,
        quote=dialect.quote,
        header=dialect.skip + 1 if dialect.title else read.header,
    )
    return data, found, filled


class _Bytes(io.RawIOBase):
    """The rest of a text as UTF-8 for Arrow; counts line breaks and quotation marks as they pass."""

    def __init__(self, file: Any, dialect: Dialect, line: int) -> None:
        self.file, self.dialect, self.line = file, dialect, line
        self.quotes = self.breaks = 0
        self.empty = True  # whether nothing but line breaks passed
        self.last = ""
        self.left = b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """Read at most so many bytes. Raises `StageError` with the line that is not of the encoding."""
        while not self.left:
            try:
                text = self.file.read(1 << 20)
            except UnicodeError as error:
                where = f"after line {self.line + self.breaks:,}: "
                raise StageError(where + explain_encoding(self.dialect.encoding, error)) from error
            if not text:
                return b""
            self._count(text)
            self.left = text.encode()
        taken = self.left if size < 0 else self.left[:size]
        self.left = self.left[len(taken) :]
        return taken

    def _count(self, text: str) -> None:
        self.empty = self.empty and not text.strip("\r\n")
        self.quotes += text.count(self.dialect.quote)
        both = text.count("\r\n") + (self.last == "\r" and text[0] == "\n")
        self.breaks += text.count("\n") + text.count("\r") - both
        self.last = text[-1]


def _read_cells(path: Path, dialect: Dialect) -> tuple[pa.Table, list[str]]:
    """Read the cells below the line of names, and the names as they stand in the file."""
    import pyarrow as pa

    with dialect.open(path) as file:
        written, line = _read_names(file, dialect)
        ends_empty = len(written) > 1 and not written[-1] and not dialect.trailing
        names = tables.check_names(written[:-1] if ends_empty else written)
        columns = [*names, REST] if dialect.trailing or ends_empty else names
        content = _Bytes(file, dialect, line)
        try:
            data = _parse(content, columns, dialect)
        except pa.ArrowInvalid as error:
            if content.empty:
                return pa.table({name: pa.array([], type=pa.string()) for name in names}), written
            _find_odd_row(path, dialect, width=len(columns))
            raise StageError(f"cannot be read: {str(error).splitlines()[0]}") from error
    if content.quotes % 2 or content.breaks > data.num_rows:
        # A quotation mark that nothing closes swallows lines: the csv module tells, Arrow does not.
        _find_odd_row(path, dialect, width=len(columns))
    if REST in columns:
        rest = data.column(REST)
        if any(value for value in rest.unique().to_pylist()):
            what = f"column {len(columns)} of {len(columns)} has no name, but values"
            raise StageError(f"{what}; give each column a name in the first line")
        data = data.drop_columns([REST])
    return data, written


def _read_names(file: Any, dialect: Dialect) -> tuple[list[str], int]:
    """Read the names of columns from the first line that is not empty; also how many lines they took."""
    reader = csv.reader(file, delimiter=dialect.separator, quotechar=dialect.quote)
    for row in reader:
        if row:
            return row, dialect.skip + reader.line_num
    empty = f"nothing stands from line {dialect.skip + 1} on" if dialect.skip else "the file is empty"
    raise StageError(f"{empty}; expected a line of column names")


def _parse(content: _Bytes, columns: list[str], dialect: Dialect) -> pa.Table:
    import pyarrow as pa
    import pyarrow.csv

    kinds = {name: pa.string() for name in columns}
    return pyarrow.csv.read_csv(
        pa.PythonFile(content, mode="r"),
        read_options=pyarrow.csv.ReadOptions(column_names=columns, block_size=BLOCK, use_threads=False),
        parse_options=pyarrow.csv.ParseOptions(
            delimiter=dialect.separator, quote_char=dialect.quote, newlines_in_values=True
        ),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types=kinds, null_values=[""], strings_can_be_null=True, quoted_strings_can_be_null=False
        ),
    )


def _find_odd_row(path: Path, dialect: Dialect, width: int) -> None:
    """Raise `StageError` for the first row whose quotation is broken, or that has another number of cells."""
    csv.field_size_limit(BLOCK)
    with dialect.open(path) as file:
        reader = csv.reader(file, delimiter=dialect.separator, quotechar=dialect.quote, strict=True)
        named = width - dialect.trailing
        line = dialect.skip + 1
        names_passed = False
        try:
            for row in reader:
                if names_passed and row and len(row) != width:
                    raise StageError(
                        f"line {line:,}: {_count_cells(row)}, the line of names has {named}; "
                        "put text that holds the separator between quotation marks, or say data.read.separator; "
                        "where a title stands above the names, data.read.header (onboarding: --header N)"
                    )
                names_passed = names_passed or bool(row)
                line = dialect.skip + reader.line_num + 1
        except csv.Error as error:
            raise StageError(
                f"line {line:,}: a quotation mark ({dialect.quote}) is not closed where the cell ends ({error}); "
                "double those within a cell, or say data.read.quote"
            ) from error


def _count_cells(row: list[str]) -> str:
    return f"{len(row)} cell" + "s" * (len(row) != 1)
