"""Parquet, Excel, folders of files and databases: what a source keeps outside of its columns is a column, too."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

from fixtures.flights import Bench
from fixtures.postgres import Postgres, open_postgres
from fixtures.workbooks import write_workbook
from pipeline import files, table
from pipeline.files import StageError
from pipeline.params import Read
from pipeline.sources import read_source

if TYPE_CHECKING:
    from pipeline.sources import Table


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refusal(source: str, read: Read | None = None) -> str:
    with pytest.raises(StageError) as caught:
        read_source(source, read)
    return str(caught.value)


class TestParquet:
    @pytest.mark.parametrize(
        ("index", "expected"),
        [
            (pd.Index(["x", "y"], name="id"), {"id": ["x", "y"]}),
            (pd.RangeIndex(10, 14, 2, name="id"), {"id": [10, 12]}),
            (pd.Index(["x", "y"]), {"index": ["x", "y"]}),
            (
                pd.MultiIndex.from_tuples([("x", 1), ("y", 2)], names=["shop", None]),
                {"shop": ["x", "y"], "index": [1, 2]},
            ),
            (
                pd.MultiIndex.from_tuples([("x", 1), ("y", 2)]),
                {"level_0": ["x", "y"], "level_1": [1, 2]},
            ),
            (pd.RangeIndex(2), {}),
        ],
    )
    def test_the_levels_of_an_index_are_columns(self, index: pd.Index, expected: dict[str, Any]) -> None:
        pd.DataFrame({"a": [1, 2]}, index=index).to_parquet("rows.parquet")
        assert read_source("rows.parquet").data.to_pydict() == {"a": [1, 2], **expected}

    def test_an_index_without_a_name_is_told(self) -> None:
        pd.DataFrame({"a": [1, 2]}, index=["x", "y"]).to_parquet("rows.parquet")
        told = read_source("rows.parquet").found
        assert told == ["rows.parquet: the index has no name; it is the column 'index'"]

    def test_whole_numbers_beside_missing_ones_stay_exact_in_the_raw_table(self, folder: Path) -> None:
        large = 2**53 + 1
        pd.DataFrame({"id": pd.array([large, None], dtype="Int64"), "v": [1, 2]}).to_parquet("rows.parquet")
        bench = Bench(folder)
        bench.edit("params.data.source", "rows.parquet")
        assert bench.run("acquire") == 0
        kept = files.read_table(files.RAW)
        assert (kept["id"].dtype, kept["id"][0], kept["v"].dtype) == ("Int64", large, "int64")

    def test_folders_that_name_a_value_are_columns_of_text(self) -> None:
        frame = pd.DataFrame({"year": ["2024", "2025"], "store": ["01", "a/b"], "v": [1.5, 2]})
        frame.to_parquet("lake", partition_cols=["year", "store"])
        expected = {"v": [1.5, 2.0], "year": ["2024", "2025"], "store": ["01", "a/b"]}
        for source in ("lake", "lake/year=*/store=*/*.parquet", "memory://lake"):
            if source.startswith("memory"):
                copy_to_memory(Path("lake"))
            assert read_source(source).data.to_pydict() == expected

    def test_text_files_lie_in_such_folders_too(self) -> None:
        for zipcode in ("01067", "1067"):
            path = Path(f"lake/zip={zipcode}/rows.csv")
            path.parent.mkdir(parents=True)
            path.write_text("v\n1\n")
        Path("lake/zip=__HIVE_DEFAULT_PARTITION__").mkdir()
        Path("lake/zip=__HIVE_DEFAULT_PARTITION__/rows.csv").write_text("v\n1\n")
        assert read_source("lake").data.to_pydict()["zip"] == ["01067", "1067", None]

    def test_a_column_that_is_text_in_one_file_and_a_number_in_another_is_text(self) -> None:
        Path("inbox").mkdir()
        pd.DataFrame({"zip": ["01067"]}).to_parquet("inbox/1.parquet")
        pd.DataFrame({"zip": [1067]}).to_parquet("inbox/2.parquet")
        assert read_source("inbox").data.to_pydict() == {"zip": ["01067", "1067"]}

    def test_large_whole_numbers_stay_exact_beside_a_file_of_fractions(self) -> None:
        Path("inbox").mkdir()
        pd.DataFrame({"id": [2**53 + 1]}).to_parquet("inbox/1.parquet")
        pd.DataFrame({"id": [1.5]}).to_parquet("inbox/2.parquet")
        assert read_source("inbox").data.to_pydict() == {"id": ["9007199254740993", "1.5"]}


def copy_to_memory(folder: Path) -> None:
    import fsspec

    memory = fsspec.filesystem("memory")
    for path in folder.rglob("*.parquet"):
        memory.pipe_file(f"/{path.as_posix()}", path.read_bytes())


def test_a_folder_that_grows_gives_the_old_rows_and_the_new() -> None:
    Path("inbox").mkdir()
    Path("inbox/2026-01.csv").write_text("id,v\n1,a\n")
    before = read_source("inbox").data.to_pylist()
    Path("inbox/2026-02.csv").write_text("v;id\nb;2\n")
    Path("inbox/2026-03.csv.part").write_text("id,v\n3,")
    after = read_source("inbox").data.to_pylist()
    assert after == [*before, {"id": "2", "v": "b"}]


class TestExcel:
    def read(self, rows: list[list[Any]], **sheets: list[list[Any]]) -> Table:
        write_workbook(Path("rows.xlsx"), {"Data": rows, **sheets})
        return read_source("rows.xlsx")

    def test_cells_have_the_types_that_they_have_in_the_sheet(self) -> None:
        rows: list[list[Any]] = [
            ["zip", "n", "share", "day", "at", "ok"],
            ["01067", 3, 0.5, date(2026, 1, 31), datetime.fromisoformat("2026-01-31T12:30"), True],
            ["1067", 4.0, 2, date(2026, 2, 1), datetime.fromisoformat("2026-02-01"), False],
            ["NA", None, None, None, None, None],
        ]
        table = self.read(rows)
        assert table.data.to_pydict() == {
            "zip": ["01067", "1067", "NA"],
            "n": [3, 4, None],
            "share": [0.5, 2.0, None],
            "day": [date(2026, 1, 31), date(2026, 2, 1), None],
            "at": [datetime.fromisoformat("2026-01-31T12:30"), datetime.fromisoformat("2026-02-01"), None],
            "ok": [True, False, None],
        }
        assert table.found == []
        assert table.read.sheet == "Data"

    def test_a_column_of_numbers_and_text_is_text_and_told(self) -> None:
        table = self.read([["zip", "v"], ["01067", 1], [1067, 2]])
        assert table.data.to_pydict()["zip"] == ["01067", "1067"]
        assert table.found == ["rows.xlsx: the cells of 'zip' are numbers and text; all are read as text"]

    def test_empty_rows_and_columns_are_left_out(self) -> None:
        rows: list[list[Any]] = [[], [None, "a", None, "b"], [], [None, 1, None, "x"], []]
        assert self.read(rows).data.to_pydict() == {"a": [1], "b": ["x"]}

    def test_a_title_above_the_names_is_left_out_and_said(self) -> None:
        title: list[list[Any]] = [["Quality 2024"], ["Printed by", "me"], [], []]
        below: list[list[Any]] = [["part", "g", "mm", "on", "grade"], ["P1", 1.5, 2, None, "A"]]
        table = self.read([*title, *below])
        names = ["part", "g", "mm", "on", "grade"]
        assert table.data.to_pylist() == [dict(zip(names, ["P1", 1.5, 2, None, "A"], strict=True))]
        assert table.found == [
            "rows.xlsx: the names stand in row 5, below a title (data.read.header, where that is wrong)"
        ]
        assert read_source("rows.xlsx", table.read).found == []
        assert read_source("rows.xlsx", Read(header=6)).data.column_names[0] == "P1"

    def test_which_sheet_is_meant_is_never_guessed(self) -> None:
        self.read([["a"], [1]], Empty=[])
        assert read_source("rows.xlsx").found == ["rows.xlsx: the sheet is 'Data', the only one with cells"]
        write_workbook(Path("rows.xlsx"), {"Data": [["a"], [1]], "Notes": [["b"], [2]]})
        assert "the sheets Data, Notes have cells; say in data.read.sheet" in refusal("rows.xlsx")
        assert read_source("rows.xlsx", Read(sheet="Notes")).data.to_pydict() == {"b": [2]}
        assert "no sheet 'Daten'; there are Data, Notes" in refusal("rows.xlsx", Read(sheet="Daten"))

    @pytest.mark.parametrize(
        ("rows", "expected"),
        [
            ([], "no sheet has cells"),
            ([["a", "a"], [1, 2]], "the columns 1 and 2 have the same name, 'a'"),
            ([["a", None], [1, 2]], "column 2 of 2 has no name"),
        ],
    )
    def test_a_sheet_that_is_no_table_is_refused(self, rows: list[list[Any]], expected: str) -> None:
        write_workbook(Path("rows.xlsx"), {"Data": rows})
        message = refusal("rows.xlsx")
        assert expected in message
        assert "rows.xlsx" in message

    def test_what_is_no_workbook_is_refused(self) -> None:
        Path("rows.xlsx").write_bytes(b"PK no zip")
        assert "rows.xlsx: cannot be read" in refusal("rows.xlsx")

    def test_days_of_a_sheet_are_times_of_the_contract(self) -> None:
        frame = self.read([["day"], [date(2026, 1, 31)]]).frame
        schema = table.Schema(row="a day", columns={"day": table.Column(type="datetime", known="before")})
        typed, findings = table.coerce(frame, schema)
        assert findings == []
        assert str(typed["day"][0]) == "2026-01-31 00:00:00+00:00"


SELECT = "select id, zip, share, seen from customers"


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with open_postgres() as server:
        server.run(
            "create table customers (id bigint, zip text, share numeric, ok boolean, seen timestamptz, day date)",
            "insert into customers values (%s, %s, %s, %s, %s, %s)",
            rows=[
                (2**53 + 1, "01067", "1.10", True, "2026-01-31T12:00:00+02", "2026-01-31"),
                (None, "NA", "1.1", None, None, None),
            ],
        )
        yield server


class TestDatabases:
    def ask(self, source: str, query: str) -> Table:
        Path("queries").mkdir(exist_ok=True)
        Path("queries/training.sql").write_text(query)
        return read_source(source, Read(query="queries/training.sql"))

    def refuse(self, source: str, query: str) -> str:
        with pytest.raises(StageError) as caught:
            self.ask(source, query)
        return str(caught.value)

    @pytest.fixture
    def sqlite(self, folder: Path) -> str:
        with sqlite3.connect(folder / "shop.db") as connection:
            connection.execute("create table customers (id integer, zip text, share real, seen)")
            rows = [(2**53 + 1, "01067", 1.5, 1), (2, "NA", None, "x"), (None, "", 2.0, 2.5)]
            connection.executemany("insert into customers values (?, ?, ?, ?)", rows)
        connection.close()
        return "sqlite:///shop.db"

    def test_a_query_of_sqlite_gives_its_values_as_they_are(self, sqlite: str) -> None:
        assert self.ask(sqlite, SELECT + " order by share;").data.to_pydict() == {
            "id": [2, 2**53 + 1, None],
            "zip": ["NA", "01067", ""],
            "share": [None, 1.5, 2.0],
            "seen": ["x", "1", "2.5"],
        }

    def test_rows_without_an_order_come_in_the_order_of_their_values(self, sqlite: str) -> None:
        first = self.ask(sqlite, SELECT).data
        again = self.ask(
            sqlite, f"select * from ({SELECT} order_ by rowid desc)".replace("order_ ", "order ")
        ).data
        assert first.column("id").to_pylist() == [2, 2**53 + 1, None]
        assert sorted(map(str, again.to_pylist())) == sorted(map(str, first.to_pylist()))

    @pytest.mark.parametrize(
        ("query", "expected"),
        [
            ("delete from customers", "the query may only read"),
            ("select 1; drop table customers", "the query may only read"),
            ("selct 1", "queries/training.sql: "),
            ("select id, id from customers", "the columns 1 and 2 have the same name, 'id'"),
            ("select id from customers where id > :least", "it asks for :least, and nothing is given"),
            ("  ;  ", "the file is empty; expected one SELECT"),
        ],
    )
    def test_a_query_that_is_no_select_is_refused(self, sqlite: str, query: str, expected: str) -> None:
        assert expected in self.refuse(sqlite, query)
        with sqlite3.connect("shop.db") as connection:
            assert connection.execute("select count(*) from customers").fetchone() == (3,)
        connection.close()

    def test_what_is_missing_is_named_by_its_key(self, sqlite: str) -> None:
        assert "params.yaml: data.read.query: a database needs a query" in refusal(sqlite)
        assert "data.read.query: no.sql: cannot be read" in refusal(sqlite, Read(query="no.sql"))
        assert "expected a file of this repository" in refusal(sqlite, Read(query="../no.sql"))
        assert "a query needs a database" in refusal("rows.csv", Read(query="no.sql"))
        assert "sqlite:///no.db: no such file" in self.refuse("sqlite:///no.db", "select 1")

    def test_an_edit_of_the_query_is_a_change_that_the_pipeline_sees(self, folder: Path, sqlite: str) -> None:
        bench = Bench(folder)
        self.ask(sqlite, SELECT)
        bench.edit("params.data.source", sqlite)
        bench.edit("params.data.read.query", "queries/training.sql")
        Path("dvc.yaml").write_text("stages: {acquire: {cmd: x, deps: [pipeline/acquire.py]}}\n")
        assert bench.run("acquire") == 1
        assert "dvc.yaml: stages.acquire.deps: add queries/training.sql" in bench.refusal()
        Path("dvc.yaml").write_text("stages: {acquire: {cmd: x, deps: [queries/training.sql]}}\n")
        assert bench.run("acquire") == 0
        assert files.read_table(files.RAW)["id"].max() == 2**53 + 1

    def test_postgresql_gives_its_values_as_they_are(
        self, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(*next(iter(postgres.environ.items())))
        found = self.ask(postgres.address, "select * from customers where zip like '%%' order by zip")
        assert found.data.to_pydict() == {
            "id": [2**53 + 1, None],
            "zip": ["01067", "NA"],
            "share": ["1.10", "1.1"],
            "ok": [True, None],
            "seen": [pd.Timestamp("2026-01-31T10:00:00Z"), None],
            "day": [date(2026, 1, 31), None],
        }

    def test_postgresql_is_only_read_and_no_password_is_shown(
        self, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        name, password = next(iter(postgres.environ.items()))
        assert f"variable {name} is not set" in self.refuse(postgres.address, "select 1")
        monkeypatch.setenv(name, password)
        for query in ("delete from customers", "select 1; select 2", "selct 1"):
            message = self.refuse(postgres.address, query)
            assert password not in message
            assert "queries/training.sql" in message
        assert postgres.ask("select count(*) from customers") == 2
        monkeypatch.setenv(name, "wrong&/%")
        message = self.refuse(postgres.address, "select 1")
        assert "password authentication failed" in message
        assert "wrong&" not in message
        stated = postgres.address.replace("${LABELS_PASSWORD}", "secret")
        assert "it holds a password, and everybody who reads" in self.refuse(stated, "select 1")
        assert "secret" not in self.refuse(stated, "select 1")

    def test_an_unreachable_database_is_said(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PW", "se/cret")
        message = self.refuse("postgresql://me:${PW}@127.0.0.1:1/shop", "select 1")
        assert "connection" in message
        assert "se/cret" not in message
        assert "se%2Fcret" not in message
