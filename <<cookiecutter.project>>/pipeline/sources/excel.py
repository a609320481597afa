"""Read a sheet of an Excel or OpenDocument workbook: its cells have types of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from pipeline.files import StageError
from pipeline.sources import tables

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

    from pipeline.params import Read


def read_file(path: Path, source: str, read: Read) -> tuple[pa.Table, list[str], Read]:
    """Read the sheet that `read` names, or the only one with cells; also what was found, and `read` with the sheet.

    The first row with cells holds the names, or the first below a title. Raises `StageError` where it is not clear
    which sheet is meant.
    """
    from python_calamine import CalamineWorkbook

    with tables.name_file(source):
        with CalamineWorkbook.from_path(path) as book:
            sheet = _choose_sheet(book, read.sheet)
            rows = book.get_sheet_by_name(sheet).to_python(skip_empty_area=False)
            others = len(book.sheet_names) - 1
        header = read.header or _find_header(rows)
        data, found = _build_table(rows[header - 1 :] if header else rows)
    if header and read.header is None:
        found.insert(
            0, f"the names stand in row {header}, below a title (data.read.header, where that is wrong)"
        )
    if read.sheet is None and others:
        found.insert(0, f"the sheet is {sheet!r}, the only one with cells")
    return data, found, msgspec.structs.replace(read, sheet=sheet, header=header)


def _choose_sheet(book: Any, wanted: str | None) -> str:
    """Choose the sheet that is wanted, or the only one that has cells."""
    if wanted is not None:
        if wanted in book.sheet_names:
            return wanted
        raise StageError(
            f"params.yaml: data.read.sheet: no sheet {wanted!r}; there are {', '.join(book.sheet_names)}"
        )
    filled = [sheet for sheet in _list_sheets(book) if book.get_sheet_by_name(sheet).height]
    if not filled:
        raise StageError("no sheet has cells; expected a row of column names")
    if len(filled) > 1:
        raise StageError(
            f"the sheets {', '.join(filled)} have cells; say in data.read.sheet (onboarding: --sheet NAME) "
            "which one is meant"
        )
    return filled[0]


def _list_sheets(book: Any) -> list[str]:
    """List the sheets with cells that a person sees."""
    from python_calamine import SheetTypeEnum, SheetVisibleEnum

    return [
        sheet.name
        for sheet in book.sheets_metadata
        if sheet.typ == SheetTypeEnum.WorkSheet and sheet.visible == SheetVisibleEnum.Visible
    ]


def _find_header(rows: list[list[Any]]) -> int | None:
    """Find the row that holds the names below a title, counted from 1; None where no title is above them."""
    filled = [(number, row) for number, row in enumerate(rows, start=1) if any(value != "" for value in row)]
    used = [at for at in range(len(rows[0]) if rows else 0) if any(row[at] != "" for _, row in filled)]
    at = tables.find_names([[row[column] for column in used] for _, row in filled[: tables.TITLE]], len(used))
    return filled[at][0] if at else None


def _build_table(rows: list[list[Any]]) -> tuple[pa.Table, list[str]]:
    """Build a table of a sheet's rows; rows and columns without any cell are left out."""
    import pyarrow as pa

    filled = [row for row in rows if any(value != "" for value in row)]
    if not filled:
        raise StageError("the sheet has no cells; expected a row of column names")
    columns = [list(column) for column in zip(*filled, strict=True)]
    columns = [column for column in columns if any(value != "" for value in column)]
    written = [tables.write_value(column[0]) for column in columns]
    names = tables.check_names(written)
    found = [] if written == names else [f"the first column has no name; it is called {names[0]!r}"]
    arrays = []
    for name, column in zip(names, columns, strict=True):
        values = [None if value == "" else value for value in column[1:]]
        arrays.append(tables.build_column(values))
        kinds = {_name_kind(value) for value in values if value is not None}
        if len(kinds) > 1:
            found.append(f"the cells of {name!r} are {' and '.join(sorted(kinds))}; all are read as text")
    return pa.table(arrays, names=names), found


def _name_kind(value: Any) -> str:
    if isinstance(value, bool):
        return "truths"
    if isinstance(value, int | float):
        return "numbers"
    return "text" if isinstance(value, str) else "dates or times"
