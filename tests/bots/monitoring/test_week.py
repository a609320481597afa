"""The newest whole week as a table: the right days, only what may be shown, and nothing that is none of the model's."""

from __future__ import annotations

import math
from datetime import date, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bots.monitoring import week
from bots.observations import DayInputs
from fixtures.prediction_log import ONNX, make_spec

RUNNING = ("v1.0.0", ONNX)


def make_day(day: str, version: str = "v1.0.0", rows: int = 10, onnx: str = ONNX) -> DayInputs:
    return DayInputs(day=day, version=version, onnx=onnx, rows=rows)


def make_sample(**columns: list[object]) -> pa.Table:
    rows = len(next(iter(columns.values())))
    return pa.table(
        {
            "prediction:hash": pa.array(range(rows), pa.uint64()),
            "prediction:time": ["2026-03-02T00:00:00Z"] * rows,
            "prediction:score": [0.5] * rows,
            "prediction:label": [True] * rows,
            "prediction:fallback": [False] * rows,
            **columns,
        }
    )


@given(st.dates(date(2000, 1, 1), date(2100, 1, 1)))
def test_the_newest_whole_week_is_the_one_before_the_week_of_today(today: date) -> None:
    first, last = map(date.fromisoformat, week.find_bounds(today.isoformat()))
    assert (first.weekday(), last.weekday()) == (0, 6)
    assert timedelta(days=1) <= today - last <= timedelta(days=7)


def test_days_of_that_week_alone_are_taken_and_of_the_version_that_runs() -> None:
    own = [make_day(f"2026-03-0{number}") for number in range(1, 10)]
    others = [make_day("2026-03-03", "v0.9.0"), make_day("2026-03-04", onnx="sha256:" + "cd" * 32)]
    empty = make_day("2026-03-05", rows=0)
    chosen = week.choose_days([*reversed(own), *others, empty], RUNNING, "2026-03-11")
    assert [day.day for day in chosen] == [f"2026-03-0{number}" for number in range(2, 9)]
    assert {(day.version, day.onnx) for day in chosen} == {RUNNING}


def test_nothing_but_inputs_and_score_is_in_the_table_and_nothing_personal() -> None:
    sample = make_sample(temp=[1.0], carrier=["AA"], name=["Ann"], spy=["x"])
    spec = make_spec(
        categories={"carrier": None, "name": None}, numbers=("temp",), personal=frozenset({"name"})
    )
    assert week.build_table([sample], spec).column_names == ["temp", "carrier", "prediction:score"]


def test_what_the_fallback_answered_is_no_score_and_its_row_stays() -> None:
    sample = make_sample(temp=[1.0, 2.0, 3.0])
    sample = sample.set_column(
        sample.column_names.index("prediction:fallback"), "prediction:fallback", pa.array([True, None, False])
    )
    table = week.build_table([sample], make_spec())
    assert table["prediction:score"].to_pylist() == [None, 0.5, 0.5]
    assert table["temp"].to_pylist() == [1.0, 2.0, 3.0]


def test_days_whose_columns_differ_make_one_table() -> None:
    days = [
        make_sample(temp=[1.0, math.inf, 1e300]),
        make_sample(temp=["warm"], carrier=["AA"]),
        make_sample(temp=[4], carrier=pa.array(["UA"]).dictionary_encode()),
    ]
    table = week.build_table(days, make_spec())
    assert table["temp"].to_pylist() == [1.0, None, None, None, 4.0]
    assert table["carrier"].to_pylist() == [None, None, None, "AA", "UA"]


def test_the_table_says_what_it_is_about_and_the_same_rows_give_the_same_bytes(tmp_path: Path) -> None:
    days = [make_day("2026-03-03"), make_day("2026-03-04", rows=4_000)]
    about = week.describe_week(days, 200, "2026-03-11")
    table = week.build_table([make_sample(temp=[1.0])], make_spec())
    content = week.write_table(table, about)
    assert content == week.write_table(table, about)
    (tmp_path / "week.parquet").write_bytes(content)
    read = week.read_about(tmp_path / "week.parquet")
    assert read == about
    assert read.name == (
        "200 of 4,010 predictions by version v1.0.0, 2026-03-02 to 2026-03-08, drawn day by day, so that days "
        "weigh alike"
    )


@pytest.mark.parametrize("content", [b"", b"PAR1", week.write_table.__name__.encode()])
def test_another_file_in_its_place_is_told_by_its_name(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "week.parquet"
    path.write_bytes(content)
    with pytest.raises(week.WeekError, match=r"week\.parquet: cannot be read as the table of a week"):
        week.read_about(path)


def test_a_table_that_no_watch_wrote_is_refused(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"a": [1]}), tmp_path / "week.parquet")
    with pytest.raises(week.WeekError, match="is not the table of a week that"):
        week.read_about(tmp_path / "week.parquet")
