"""Tables as CSV: cells keep what is written, whatever it is, and equal tables have equal digests."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bots.derive.parts import compute_digest
from bots.derive.tables import DeriveError, load_rows

if TYPE_CHECKING:
    from pathlib import Path

CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\r\x00"), max_size=12) | st.sampled_from(
    ["01067", "NA", "", "null", "1", "1.5", "true", "nan", "1e3", "-0", "12345678901234567890"]
)
COLUMNS = st.lists(CELLS, min_size=1, max_size=12)
ONE_EXAMPLE = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def write_csv(folder: Path, cells: list[str], *, name: str = "table.csv") -> None:
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerows([["row", "cell"], *([f"r{at}", cell] for at, cell in enumerate(cells))])
    (folder / name).write_text(text.getvalue(), encoding="utf-8", newline="")


@ONE_EXAMPLE
@given(cells=COLUMNS)
def test_a_column_that_is_not_all_numbers_or_truths_keeps_its_cells(tmp_path: Path, cells: list[str]) -> None:
    write_csv(tmp_path, ["no number", *cells])
    found = load_rows(tmp_path, "table.csv").table["cell"].to_pylist()
    assert found == ["no number", *(cell or None for cell in cells)]


EXACT = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**53), 2**53)


@ONE_EXAMPLE
@given(numbers=st.lists(EXACT, min_size=1, max_size=12) | st.lists(st.integers(), min_size=1, max_size=12))
def test_numbers_are_what_is_written(tmp_path: Path, numbers: list[float]) -> None:
    write_csv(tmp_path, [*map(repr, numbers), ""])
    column = load_rows(tmp_path, "table.csv").table["cell"]
    if pa.types.is_string(column.type):
        assert any(isinstance(one, int) and not -(2**63) <= one < 2**63 for one in numbers)
        assert column.to_pylist() == [*map(repr, numbers), None]
    else:
        assert column.to_pylist() == [*numbers, None]


@pytest.mark.slow
@ONE_EXAMPLE
@given(cells=COLUMNS)
def test_the_same_table_has_the_same_digest_as_csv_and_as_parquet(tmp_path: Path, cells: list[str]) -> None:
    write_csv(tmp_path, cells)
    table = load_rows(tmp_path, "table.csv").table
    parquet.write_table(table, tmp_path / "table.parquet")
    digest = compute_digest(load_rows(tmp_path, "table.parquet").table)
    assert digest == compute_digest(table)
    write_csv(tmp_path, [*cells, "another row"])
    assert compute_digest(load_rows(tmp_path, "table.csv").table) != digest


@ONE_EXAMPLE
@given(content=st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_whatever_stands_in_a_file_it_is_a_table_or_one_clear_error(tmp_path: Path, content: bytes) -> None:
    for name in ("any.csv", "any.parquet"):
        (tmp_path / name).write_bytes(b"row," + content)
        found = read_or_refuse(tmp_path, name)
        assert found.startswith((f"{name}: ", "rows "))


def read_or_refuse(folder: Path, name: str) -> str:
    """The error, or the names of the rows, which are distinct."""
    try:
        rows = load_rows(folder, name)
    except DeriveError as error:
        return str(error)
    assert len(set(rows.names.to_pylist())) == len(rows) > 0
    return f"rows {rows.names.to_pylist()}"


def test_a_byte_order_mark_and_windows_line_ends_change_nothing(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_bytes("\ufeffrow,cell\r\nr1,5\r\nr2,6\r\n".encode())
    assert load_rows(tmp_path, "table.csv").table.to_pydict() == {"row": ["r1", "r2"], "cell": [5, 6]}


@pytest.mark.parametrize("kind", ["number", "text", "category"])
def test_rows_are_named_alike_as_numbers_and_as_text(tmp_path: Path, kind: str) -> None:
    columns = {"number": pa.array([1, 2]), "text": pa.array(["1", "2"])}
    columns["category"] = columns["text"].dictionary_encode()
    parquet.write_table(pa.table({"row": columns[kind]}), tmp_path / "table.parquet")
    assert load_rows(tmp_path, "table.parquet").names.to_pylist() == ["1", "2"]
