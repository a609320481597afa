"""What main knows of the rows of a holdout that moved, from tables as pipelines of any kind leave them."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bots.dvc import cache
from bots.dvc.lockfile import Lock, LockedStage
from bots.layout import Layout
from bots.stats.predictions import PredictionsError
from bots.verification.collection import Collected, CollectionError, Files, list_records
from bots.verification.moved_rows import Record, load_record
from fixtures import moved_reviews

LAYOUT = Layout()


class Store:
    """Files by their digest, and the lock that names them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.outs = folder, dict[str, str]()
        folder.mkdir(exist_ok=True)

    def add(self, path: str, **columns: Any) -> None:
        place = self.folder / "made.parquet"
        parquet.write_table(pa.table(columns), place)
        self.keep(path, place.read_bytes())

    def keep(self, path: str, content: bytes, ending: str = "") -> None:
        digest = cache.compute_md5(content) + ending
        kept = self.folder / cache.build_path(digest)
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_bytes(content)
        self.outs[path] = f"md5:{digest}"

    @property
    def lock(self) -> Lock:
        return Lock({"split": LockedStage(command="split", deps={}, params={}, outs=self.outs)})

    @property
    def files(self) -> Files:
        return Files((self.folder,))


@pytest.fixture
def main(tmp_path: Path) -> Store:
    return Store(tmp_path / "main")


@pytest.fixture
def change(tmp_path: Path) -> Store:
    return Store(tmp_path / "change")


def load(main: Store, change: Store, rows: list[Any], *paths: str) -> Record:
    both = Files((main.folder, change.folder))
    collected = Collected(review=None, bundle=None, files=both)  # type: ignore[arg-type]
    side = moved_reviews.make_main(lock=main.lock)
    return load_record(collected, change.lock, side, pa.chunked_array([pa.array(rows)]), paths)


def test_rows_come_from_whichever_of_mains_tables_has_them_in_the_order_asked_for(
    main: Store, change: Store
) -> None:
    main.add("data/holdout.parquet", row=["a", "b"], x=[1.0, 2.0], only_here=[0, 0])
    main.add("data/production.parquet", row=["c", "d"], x=[3.0, None], late=[True, None])
    found = load(main, change, ["d", "a", "c"], "data/holdout.parquet", "data/production.parquet")
    assert found.unknown == 0
    assert found.table.to_pydict() == {"split:row": ["d", "a", "c"], "x": [None, 1.0, 3.0]}


def test_what_main_does_not_have_is_taken_from_the_change_and_counted(main: Store, change: Store) -> None:
    main.add("data/holdout.parquet", row=["a"], x=[1.0])
    change.add(LAYOUT.holdout_rows, row=["a", "n"], x=[99.0, 2.0], y=["", ""])
    found = load(main, change, ["n", "a"], "data/holdout.parquet")
    assert found.unknown == 1
    assert found.table.to_pydict() == {"split:row": ["n", "a"], "x": [2.0, 1.0]}, (
        "main's own word counts for a row it has"
    )


def test_rows_named_by_numbers_are_the_same_rows(main: Store, change: Store) -> None:
    main.add("data/holdout.parquet", row=[1, 2], x=[1.0, 2.0])
    assert load(main, change, ["2", "1"], "data/holdout.parquet").table["x"].to_pylist() == [2.0, 1.0]


def test_a_row_that_nobody_has_is_told(main: Store, change: Store) -> None:
    main.add("data/holdout.parquet", row=["a"], x=[1.0])
    change.add(LAYOUT.holdout_rows, row=["a"], x=[1.0])
    with pytest.raises(PredictionsError, match="1 rows of the predictions are in no table"):
        load(main, change, ["a", "z"], "data/holdout.parquet")
    with pytest.raises(CollectionError, match=r"names no data/splits/holdout\.parquet"):
        load(main, Store(change.folder), ["a", "z"], "data/holdout.parquet")


def test_tables_of_other_types_are_no_record(main: Store, change: Store) -> None:
    main.add("data/holdout.parquet", row=["a"], x=[1.0])
    main.add("data/production.parquet", row=["b"], x=[dt.date(2013, 1, 1)])
    with pytest.raises(PredictionsError, match="do not fit each other"):
        load(main, change, ["a", "b"], "data/holdout.parquet", "data/production.parquet")


def test_a_table_without_names_of_rows_is_no_record(main: Store, change: Store) -> None:
    main.add("data/holdout.parquet", x=[1.0])
    with pytest.raises(PredictionsError, match="no column `split:row` or `row`"):
        load(main, change, ["a"], "data/holdout.parquet")


def test_the_records_are_all_tables_of_the_splits_but_the_one_that_trains(main: Store) -> None:
    listed = b"".join(
        [
            b"[",
            b", ".join(
                b'{"md5": "%s", "relpath": "%s"}' % (b"1" * 32, name)
                for name in (b"holdout.parquet", b"notes.txt", b"production.parquet", b"train.parquet")
            ),
            b"]",
        ]
    )
    main.keep("data/splits", listed, ".dir")
    assert list_records(main.files, main.lock, LAYOUT) == [
        "data/splits/holdout.parquet", "data/splits/production.parquet",
    ]  # fmt: skip


def test_a_pipeline_of_ones_own_keeps_its_tables_one_by_one(main: Store, change: Store) -> None:
    own = Layout(holdout_rows="rows/judge.parquet", production_rows="rows/later.parquet", splits="rows")
    main.add("rows/judge.parquet", row=["a"])
    assert list_records(main.files, main.lock, own) == ["rows/judge.parquet"]
    main.add("rows/later.parquet", row=["b"])
    assert list_records(main.files, main.lock, own) == ["rows/judge.parquet", "rows/later.parquet"]
    assert list_records(main.files, Lock(), own) == []
    with pytest.raises(CollectionError, match="main keeps no table of rows"):
        load(main, change, ["a"])


# --- labels


def compare_labels(labels: list[str], values: Any, *, by_name: bool = False) -> str | None:
    record = Record(pa.table({"split:row": [str(n) for n in range(len(labels))], "day": values}), 0)
    return record.find_other_labels(pa.table({"slice:day": labels}), "day", by_name=by_name)


@pytest.mark.parametrize(
    ("labels", "values"),
    [
        (["7", "8", "7"], pa.array([7, 8, 7])),
        (["7", "8", "7"], pa.array([7.0, 8.0, 7.0])),
        (["missing", "EWR"], pa.array([None, "EWR"])),
        (["EWR", "JFK"], pa.array(["EWR", "JFK"]).dictionary_encode()),
        (["2013-07-01", "2013-07-02"], pa.array([dt.date(2013, 7, 1), dt.date(2013, 7, 2)])),
        (["True", "False"], pa.array([True, False])),
    ],
)
def test_labels_that_name_each_value_are_mains_however_they_are_written(
    labels: list[str], values: Any
) -> None:
    assert compare_labels(labels, values) is None


@given(values=st.lists(st.sampled_from("abc"), min_size=1, max_size=8), labels=st.data())
def test_labels_are_mains_exactly_where_rows_fall_together_as_on_main(values: list[str], labels: Any) -> None:
    said = labels.draw(st.lists(st.sampled_from("xyz"), min_size=len(values), max_size=len(values)))
    pairs = range(len(values))
    alike = all((said[a] == said[b]) == (values[a] == values[b]) for a in pairs for b in pairs)
    assert (compare_labels(said, pa.array(values)) is None) == alike


def test_where_days_are_joined_their_labels_must_be_the_dates_themselves() -> None:
    days = pa.array(["2013-07-01", "2013-07-02"])
    assert compare_labels(["2013-07-02", "2013-07-01"], days) is None
    assert compare_labels(["2013-07-01", "2013-07-02"], days, by_name=True) is None
    assert "not the dates" in str(compare_labels(["2013-07-02", "2013-07-01"], days, by_name=True))
