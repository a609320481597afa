"""Rows of the holdout among the training rows are counted by their content, however the tables write it."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bots.stats import copies
from bots.stats.copies import CopyCount, count_copies, find_columns, find_known_rows
from bots.stats.predictions import PredictionsError

COLUMNS = ("group", "x", "bought")
ROWS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "", None]),
        st.sampled_from([0.0, -0.0, 1.5, float("nan"), None, 1e300]),
        st.booleans(),
    ),
    max_size=30,
)


def write(folder: Path, name: str, **columns: Any) -> Path:
    path = folder / f"{name}.parquet"
    pq.write_table(pa.table(columns), path)
    return path


def write_rows(folder: Path, name: str, rows: list[tuple[str | None, float | None, bool]]) -> Path:
    group, x, bought = (list(column) for column in zip(*rows, strict=True)) if rows else ([], [], [])
    return write(
        folder, name,
        group=pa.array(group, pa.string()), x=pa.array(x, pa.float64()), bought=pa.array(bought, pa.bool_()),
    )  # fmt: skip


def normalize(row: tuple[str | None, float | None, bool]) -> tuple[Any, ...]:
    """A row as the count should see it: no number is no number, and zero has no sign."""
    group, x, bought = row
    return group, None if x is None or x != x else x + 0.0, bought


@pytest.mark.slow
@settings(deadline=None)
@given(training=ROWS, holdout=ROWS)
def test_a_row_is_a_copy_when_its_values_stand_in_a_training_row(
    tmp_path_factory: pytest.TempPathFactory,
    training: list[tuple[str | None, float | None, bool]],
    holdout: list[tuple[str | None, float | None, bool]],
) -> None:
    folder = tmp_path_factory.mktemp("tables")
    known = {normalize(row) for row in training}
    found = count_copies(
        write_rows(folder, "train", training), write_rows(folder, "holdout", holdout), COLUMNS
    )
    assert found == CopyCount(len(holdout), sum(normalize(row) in known for row in holdout), 0)


def test_copies_under_other_names_are_found_and_those_with_the_same_name_told_apart(tmp_path: Path) -> None:
    train = write(tmp_path, "train", row=["a", "b", "c"], x=[1, 2, 3])
    holdout = write(tmp_path, "holdout", row=["b", "z", "y"], x=[2.0, 3.0, 4.0])
    assert count_copies(train, holdout, ["x"]) == CopyCount(rows=3, copies=2, same_rows=1)


def test_rows_in_several_batches_are_all_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies, "_BATCH", 7)
    train = write(tmp_path, "train", x=list(range(100)))
    assert count_copies(train, write(tmp_path, "holdout", x=list(range(50, 150))), ["x"]).copies == 50


def test_every_kind_of_column_can_be_compared(tmp_path: Path) -> None:
    values = {
        "text": pa.array(["é\ud7ff", None, "b"]),
        "coded": pa.array(["a", None, "b"]).dictionary_encode(),
        "when": pa.array(
            [dt.datetime(2025, 1, 1, tzinfo=dt.UTC), None, dt.datetime(2026, 1, 1, tzinfo=dt.UTC)]
        ),
        "day": pa.array([dt.date(2025, 1, 1), None, dt.date(2026, 1, 1)]),
        "money": pa.array([Decimal("1.10"), None, Decimal("2.20")]),
        "bytes": pa.array([b"\xff", None, b"b"]),
        "list": pa.array([[1, 2], None, [3]]),
        "nothing": pa.nulls(3),
    }
    table = write(tmp_path, "table", **values)
    for name in values:
        assert count_copies(table, table, [name]) == CopyCount(3, 3, 0), name
    other = write(
        tmp_path, "other", text=["c"], when=pa.array([dt.datetime(2024, 1, 1, tzinfo=dt.UTC)]), list=[[9]]
    )
    for name in ("text", "when", "list"):
        assert count_copies(table, other, [name]).copies == 0, name


def test_where_no_input_is_in_both_tables_all_that_they_share_counts_but_the_name(tmp_path: Path) -> None:
    train = write(tmp_path, "train", row=["a"], x=[1], y=[2])
    holdout = write(tmp_path, "holdout", row=["b"], x=[1], z=[2])
    assert find_columns(train, holdout, {"x", "y"}) == ["x"]
    assert find_columns(train, holdout, {"encoded"}) == ["x"]


def test_a_table_that_is_none_is_named(tmp_path: Path) -> None:
    train = write(tmp_path, "train", x=[1])
    path = tmp_path / "holdout.parquet"
    path.write_bytes(train.read_bytes()[:-30])
    with pytest.raises(PredictionsError, match=r"holdout\.parquet: not a readable Parquet table"):
        count_copies(train, path, ["x"])
    path.unlink()
    with pytest.raises(PredictionsError, match=r"holdout\.parquet: missing; `dvc repro` makes it, or"):
        count_copies(train, path, ["x"])
    with pytest.raises(PredictionsError, match="no column in common"):
        count_copies(train, train, [])


def test_a_row_is_known_by_its_name_or_by_its_content(tmp_path: Path) -> None:
    train = write(tmp_path, "train", row=["a", "b", "c"], x=[1.0, 2.0, 3.0])
    holdout = write(tmp_path, "holdout", row=["b", "z", "y"], x=[9.0, 3.0, 8.0])
    found = find_known_rows(train, holdout, ["x"])
    assert found.named.tolist() == [True, False, False]
    assert found.copied.tolist() == [False, True, False]
    assert found.either.tolist() == [True, True, False]


def test_rows_without_names_cannot_be_told_apart_by_them(tmp_path: Path) -> None:
    train, holdout = write(tmp_path, "train", x=[1.0]), write(tmp_path, "holdout", row=["a"], x=[2.0])
    with pytest.raises(PredictionsError, match=r"train\.parquet: no column `split:row` or `row`"):
        find_known_rows(train, holdout, ["x"])
