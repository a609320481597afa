"""Faults injected into the real flights, and the finding that each must give."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bots.evidence import DataReport, Finding
from fixtures.flights import Bench, everything, sample
from pipeline import files, table, validate
from pipeline.config import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.chdir(tmp_path)
    return Bench(tmp_path)


@pytest.fixture
def raw() -> pd.DataFrame:
    return sample()


def only_error(bench: Bench, raw: pd.DataFrame) -> Finding:
    """The one error that a table gives; the run must stop with it."""
    bench.keep(raw)
    assert bench.run("validate") == 1
    (error,) = bench.errors()
    assert error.message.rstrip(".") in bench.refusal()
    return error


def findings(bench: Bench, raw: pd.DataFrame, now: datetime | None = None) -> list[dict[str, Any]]:
    report = validate.check_table(
        raw, bench.settings, schema=bench.schema, now=now or datetime(2014, 1, 2, tzinfo=UTC)
    )
    found: list[dict[str, Any]] = report["findings"]
    return found


@pytest.mark.slow
@pytest.mark.parametrize("task", ["classification", "regression"])
def test_the_real_flights_pass_without_a_finding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: str
) -> None:
    monkeypatch.chdir(tmp_path)
    bench = Bench(tmp_path, task)
    bench.keep(sample())
    assert bench.run("validate") == 0
    report = bench.evidence(DataReport)
    assert report.passed
    assert report.findings == []
    assert (report.rows, report.first, report.last) == (
        5_263,
        "2013-01-01T10:00:00Z",
        "2014-01-01T01:00:00Z",
    )
    assert [column.name for column in report.columns] == list(bench.schema.columns)


@pytest.mark.slow
def test_all_flights_of_the_year_pass_within_seconds(bench: Bench) -> None:
    bench.keep(everything())
    for stage in ("validate", "split", "features"):
        assert bench.run(stage) == 0
    assert bench.evidence(DataReport).rows == 336_776


@pytest.mark.slow
def test_the_same_table_gives_the_same_evidence(bench: Bench, raw: pd.DataFrame) -> None:
    bench.keep(raw)
    contents = set()
    for _ in range(2):
        assert bench.run("validate") == 0
        contents.add((bench.folder / "reports" / "data.json").read_bytes())
    assert len(contents) == 1


def test_shuffled_labels_are_no_fault_of_the_data(bench: Bench, raw: pd.DataFrame) -> None:
    raw["arr_delay"] = raw["arr_delay"].sample(frac=1, random_state=0).to_numpy()
    bench.keep(raw)
    assert bench.run("validate") == 0


def test_a_dropped_column_is_named(bench: Bench, raw: pd.DataFrame) -> None:
    error = only_error(bench, raw.drop(columns="temp"))
    assert (error.check, error.column) == ("columns", "temp")


def test_a_renamed_column_is_named_with_the_one_that_is_there(bench: Bench, raw: pd.DataFrame) -> None:
    bench.keep(raw.rename(columns={"wind_speed": "windspeed"}))
    assert bench.run("validate") == 1
    (error,) = bench.errors()
    assert error.message == "wind_speed: the table has no such column (did you mean 'windspeed'?)"
    (warning,) = [found for found in bench.evidence(DataReport).findings if found.severity == "warning"]
    assert warning.column == "windspeed"


def test_an_unknown_column_is_a_warning_only(bench: Bench, raw: pd.DataFrame) -> None:
    bench.keep(raw.assign(gate="B12"))
    assert bench.run("validate") == 0
    (warning,) = bench.evidence(DataReport).findings
    assert (warning.severity, warning.column) == ("warning", "gate")


def test_the_column_that_the_target_is_made_of_is_missed(bench: Bench, raw: pd.DataFrame) -> None:
    bench.keep(raw.drop(columns="arr_delay"))
    assert bench.run("validate") == 1
    assert {error.check for error in bench.errors()} == {"columns", "derive"}


def test_a_new_category_is_an_error_where_categories_are_listed(bench: Bench, raw: pd.DataFrame) -> None:
    raw.loc[:2, "origin"] = "SWF"
    error = only_error(bench, raw)
    assert (error.check, error.column, error.rows, error.examples) == ("category", "origin", 3, ["SWF"])
    assert error.expected == "one of EWR, JFK, LGA"


def test_a_new_category_is_fine_where_none_are_listed(bench: Bench, raw: pd.DataFrame) -> None:
    raw.loc[:2, "dest"] = "XNA"
    bench.keep(raw)
    assert bench.run("validate") == 0


def test_thirty_percent_of_missing_values_are_an_error(bench: Bench, raw: pd.DataFrame) -> None:
    raw.loc[raw.sample(frac=0.3, random_state=0).index, "temp"] = np.nan
    error = only_error(bench, raw)
    assert (error.check, error.column) == ("missing", "temp")
    assert "30." in error.message
    assert "at most 5.0% may be" in error.message


def test_one_missing_value_is_an_error_where_none_may_be(bench: Bench, raw: pd.DataFrame) -> None:
    raw["distance"] = raw["distance"].astype(float)
    raw.loc[7, "distance"] = np.nan
    error = only_error(bench, raw)
    assert (error.check, error.column, error.rows) == ("missing", "distance", 1)


def test_duplicated_rows_are_counted_with_examples(bench: Bench, raw: pd.DataFrame) -> None:
    error = only_error(bench, pd.concat([raw, raw.head(40)], ignore_index=True))
    assert (error.check, error.rows) == ("duplicates", 40)
    assert error.examples[0] == "2013-01-01T10:00:00Z|UA|1545"


@pytest.mark.slow
def test_without_an_identity_whole_rows_are_compared(bench: Bench, raw: pd.DataFrame) -> None:
    bench.edit("schema.identity", [])
    error = only_error(bench, pd.concat([raw, raw.head(1)], ignore_index=True))
    assert (error.check, error.rows) == ("duplicates", 1)
    assert "say `duplicates: natural` in schema.yaml" in error.message

    bench.edit("schema.duplicates", "natural")

    assert bench.run("validate") == 0
    (told,) = [found for found in bench.evidence(DataReport).findings if found.check == "duplicates"]
    assert (told.severity, told.rows) == ("warning", 1)


def test_a_single_class_cannot_be_learned(bench: Bench, raw: pd.DataFrame) -> None:
    raw["arr_delay"] = -5.0
    error = only_error(bench, raw)
    assert (error.check, error.column) == ("target", "late")
    assert "only one class (false)" in error.message


def test_a_target_that_is_never_known_cannot_be_learned(bench: Bench, raw: pd.DataFrame) -> None:
    raw["arr_delay"] = np.nan
    bench.keep(raw)
    assert bench.run("validate") == 1
    assert ("target", "late") in {(error.check, error.column) for error in bench.errors()}


def test_values_outside_the_range_are_counted_once_with_examples(bench: Bench, raw: pd.DataFrame) -> None:
    raw.loc[:4, "temp"] = [451.0, 451.0, 999.0, -60.0, -60.0]
    bench.keep(raw)
    assert bench.run("validate") == 1
    assert [(error.check, error.column) for error in bench.errors()] == [("range", "temp")]
    assert bench.errors()[0].rows == 5
    assert bench.errors()[0].expected == "-20 to 120"


def test_text_among_numbers_is_an_error_with_examples(bench: Bench, raw: pd.DataFrame) -> None:
    raw["seats"] = raw["seats"].astype(object)
    raw.loc[:1, "seats"] = "many"
    raw["seats"] = raw["seats"].map(str, na_action="ignore")
    error = only_error(bench, raw)
    assert (error.check, error.column, error.rows, error.examples) == ("type", "seats", 2, ["many"])


def test_numbers_instead_of_times_are_not_taken_for_nanoseconds(bench: Bench, raw: pd.DataFrame) -> None:
    raw["time_hour"] = np.arange(len(raw))
    bench.keep(raw)
    assert bench.run("validate") == 1
    assert ("type", "time_hour") in {(error.check, error.column) for error in bench.errors()}


def test_a_table_without_rows_is_an_error_and_the_only_one(bench: Bench, raw: pd.DataFrame) -> None:
    error = only_error(bench, raw.head(0))
    assert error.check == "empty"


def test_a_table_of_something_else_lacks_every_column(bench: Bench) -> None:
    bench.keep(pd.DataFrame({"petal": [1.2]}))
    assert bench.run("validate") == 1
    absent = {error.column for error in bench.errors() if error.check == "columns"}
    assert absent == set(bench.schema.columns) - {"late"}


def test_lists_where_numbers_belong_are_an_error(bench: Bench, raw: pd.DataFrame) -> None:
    bench.keep(raw.head(1000).assign(temp=pd.Series([[1, 2]] * 1000)))
    assert bench.run("validate") == 1
    assert ("type", "temp") in {(error.check, error.column) for error in bench.errors()}


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + bytes(100) + b"PAR1"])
def test_a_corrupted_file_leaves_evidence(bench: Bench, content: bytes) -> None:
    (bench.folder / "data").mkdir()
    (bench.folder / "data" / "raw.parquet").write_bytes(content)
    assert bench.run("validate") == 1
    (error,) = bench.errors()
    assert error.check == "readable"
    assert not bench.evidence(DataReport).passed


def test_a_truncated_file_leaves_evidence(bench: Bench, raw: pd.DataFrame) -> None:
    bench.keep(raw)
    content = files.RAW.read_bytes()
    files.RAW.write_bytes(content[: len(content) // 2])
    assert bench.run("validate") == 1
    assert [error.check for error in bench.errors()] == ["readable"]


def test_a_file_damaged_in_the_middle_leaves_evidence(bench: Bench, raw: pd.DataFrame) -> None:
    bench.keep(raw)
    content = bytearray(files.RAW.read_bytes())
    content[1000:3000] = bytes(2000)
    files.RAW.write_bytes(bytes(content))
    assert bench.run("validate") == 1
    assert not bench.evidence(DataReport).passed


def test_a_broken_contract_leaves_evidence(bench: Bench, raw: pd.DataFrame) -> None:
    bench.keep(raw)
    bench.edit("schema.columns.temp.type", "temperature")
    assert bench.run("validate") == 1
    (error,) = bench.errors()
    assert error.message.startswith("schema.yaml: columns.temp.type: expected number or category or")
    assert error.message.endswith("got 'temperature'")


def test_all_faults_are_reported_at_once(bench: Bench, raw: pd.DataFrame) -> None:
    raw.loc[:2, "origin"] = "SWF"
    raw.loc[:2, "humid"] = 140.0
    bench.keep(pd.concat([raw.drop(columns="visib"), raw.head(10)], ignore_index=True))
    assert bench.run("validate") == 1
    assert {error.check for error in bench.errors()} >= {"category", "range", "duplicates", "missing"}


def test_data_older_than_allowed_is_stale(bench: Bench, raw: pd.DataFrame) -> None:
    bench.edit("params.data.max_age_days", 30)
    newest = raw["time_hour"].max().to_pydatetime()
    assert findings(bench, raw, newest + timedelta(days=30)) == []
    (stale,) = findings(bench, raw, newest + timedelta(days=31))
    assert (stale["check"], stale["column"]) == ("freshness", "time_hour")
    assert stale["message"] == "the newest row is of 2014-01-01T01:00:00Z, more than 30 days ago"


def test_a_constant_feature_is_a_warning(bench: Bench, raw: pd.DataFrame) -> None:
    (warning,) = findings(bench, raw.assign(precip=0.0))
    assert (warning["check"], warning["severity"], warning["column"]) == ("constant", "warning", "precip")


def test_a_column_derived_from_the_future_cannot_be_declared_as_known(
    bench: Bench, raw: pd.DataFrame
) -> None:
    bench.edit("params.data.derive", {"late": "arr_delay > 15", "speed": "distance / air_time"})
    bench.edit("schema.columns.speed", {"type": "number", "known": "before", "nullable": True})
    error = only_error(bench, raw)
    assert "columns.speed.known: derived from air_time" in error.message


class TestContract:
    @pytest.mark.parametrize(
        ("where", "value", "expected"),
        [
            (
                "columns.temp.type",
                "float",
                "columns.temp.type: expected number or category or datetime or boolean or text, got 'float'",
            ),
            (
                "columns.temp.knwon",
                "before",
                "columns.temp: no key `knwon` is known there; did you mean known?",
            ),
            (
                "columns.temp.range",
                [120, -20],
                "columns.temp.range: expected [lowest, highest], got [120.0, -20.0]",
            ),
            ("columns.temp.missing", 5, "columns.temp.missing: expected a number <= 1.0"),
            ("columns.temp.known", ..., "columns.temp: the key `known` is missing"),
            ("columns.origin.categories", [None], "columns.origin.categories[0]: expected text, got null"),
            ("columns.origin.range", [0, 1], "columns.origin.range: only for numbers"),
            ("columns.hour.missing", 0.1, "columns.hour.missing: only where nullable is true"),
            ("identity", ["fligth"], "identity: no column 'fligth' is declared (did you mean 'flight'?)"),
            ("time", "hour", "time: 'hour' is declared as number, expected a datetime"),
            ("columns", {}, "columns: expected a mapping of length >= 1"),
        ],
    )
    def test_a_mistake_is_named_by_file_and_key(
        self, bench: Bench, where: str, value: Any, expected: str
    ) -> None:
        bench.edit(f"schema.{where}", value)
        with pytest.raises(ConfigError) as caught:
            table.load()
        assert str(caught.value).startswith("schema.yaml: ")
        assert expected in str(caught.value)

    @pytest.mark.parametrize(
        ("where", "value", "expected"),
        [
            ("params.data.target", "lat", "data.target: schema.yaml declares no column 'lat' (did you mean"),
            (
                "params.data.derive.late",
                "arr_delay >",
                "data.derive.late: cannot use 'arr_delay >': it is not arithmetic",
            ),
            ("schema.columns.late", ..., "data.derive: schema.yaml declares no column 'late'"),
            ("schema.columns.late.known", "before", "columns.late.known: derived from arr_delay"),
            (
                "schema.columns.late.type",
                "datetime",
                "the target of a classification is of type boolean or number or category or text",
            ),
        ],
    )
    def test_params_that_do_not_fit_are_named(
        self, bench: Bench, where: str, value: Any, expected: str
    ) -> None:
        bench.edit(where, value)
        with pytest.raises(ConfigError) as caught:
            table.check_params(bench.settings, table.load())
        assert expected in str(caught.value)

    def test_names_and_categories_need_no_quotes(self, tmp_path: Path) -> None:
        path = tmp_path / "schema.yaml"
        path.write_text(
            "row: a sale\nidentity: [0]\ncolumns:\n"
            "  0: {type: category, known: before, categories: [NO, SE, on, 1, 1.50, 2024-01-01]}\n"
            "  NO: {type: number, known: before, nullable: yes}\n"
            "  01: {type: text, known: before, null: [NA, 0]}\n"
            "  2024-01-31: {type: number, known: before}\n"
        )
        schema = table.load(path)
        assert list(schema.columns) == ["0", "NO", "01", "2024-01-31"]
        assert schema.identity == ["0"]
        assert schema.columns["0"].categories == ["NO", "SE", "on", "1", "1.50", "2024-01-01"]
        assert schema.columns["NO"].nullable
        assert schema.columns["01"].null == ["NA", "0"]

    @pytest.mark.parametrize(
        ("columns", "said"),
        [
            (
                "  a: {a}\n  b: {b}\n  a: {c}\n",
                "line 5, column 3: the key 'a' stands a second time, the first is in line 3",
            ),
            (
                "  0: {a}\n  '0': {b}\n",
                "line 4, column 3: the key '0' stands a second time, the first is in line 3",
            ),
            ("  a: {type: text, type: number}\n", "line 3, column 19: the key 'type' stands a second time"),
        ],
    )
    def test_a_column_that_stands_twice_is_named_with_both_lines(
        self, tmp_path: Path, columns: str, said: str
    ) -> None:
        path = tmp_path / "schema.yaml"
        path.write_text(f"row: a sale\ncolumns:\n{columns}")
        with pytest.raises(ConfigError, match=re.escape(said)):
            table.load(path)

    @settings(deadline=None)
    @given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
    @example(b'columns: !!int ""')
    @example(b"? &a b\n: 1\n? *a\n: 2")
    @example(b"<<: {a: 1}\n<<: {a: 2}")
    @example(b"columns: !!timestamp x")
    @example(b"columns: !!bool maybe")
    @example(b"columns: 2013-13-45")
    @example(b"&a [*a]")
    @example(b"row: x\ncolumns: &a {a: *a}")
    @example(b"{? {a: b} : c}")
    @example(b"[" * 1000)
    def test_any_file_at_all_is_a_contract_or_a_named_error(
        self, tmp_path_factory: pytest.TempPathFactory, content: bytes
    ) -> None:
        path = tmp_path_factory.getbasetemp() / "any.yaml"
        path.write_bytes(content)
        with pytest.raises(ConfigError, match=r"any\.yaml: "):
            table.load(path)

    def test_a_missing_file_is_named(self, bench: Bench) -> None:
        (bench.folder / "schema.yaml").unlink()
        with pytest.raises(ConfigError, match=r"schema\.yaml: cannot be read"):
            table.load()


class TestTypes:
    @given(
        values=st.lists(st.none() | st.floats(-1e6, 1e6), min_size=1, max_size=20),
        bound=st.integers(-100, 100),
    )
    def test_a_derived_value_is_missing_where_its_source_is(
        self, values: list[float | None], bound: int
    ) -> None:
        settings, schema = bench_of_one(f"arr_delay > {bound}")
        frame = pd.DataFrame({"arr_delay": pd.Series(values, dtype="float64")})
        derived = table.derive(frame, settings, schema)["late"]
        expected = [None if value is None else value > bound for value in values]
        assert [None if pd.isna(value) else bool(value) for value in derived] == expected

    @pytest.mark.parametrize(
        ("values", "kind", "expected"),
        [
            (["1", " 2 ", "x", None], "number", [1.0, 2.0, None, None]),
            ([1, 2], "number", [1, 2]),
            ([True, False], "number", [1, 0]),
            ([1.0, float("inf")], "number", [1.0, None]),
            (
                ["2013-07-01", "2013-07-01T10:00:00+02:00", "1 July"],
                "datetime",
                ["2013-07-01T00", "2013-07-01T08", None],
            ),
            (["yes", "No", "1", "0", "TRUE", "perhaps"], "boolean", [True, False, True, False, True, None]),
            ([1.0, 0.0, 2.0, None], "boolean", [True, False, None, None]),
            ([1.0, 2.5, None], "category", ["1", "2.5", None]),
            (["a", "", None], "category", ["a", None, None]),
            ([b"UA", "AA", None], "category", ["UA", "AA", None]),
            ([True, None], "number", [1, None]),
            ([Decimal("1.50"), None], "number", [1.5, None]),
            ([np.array([1, 2]), {"a": 1}], "number", [None, None]),
            ([np.array([1, 2]), {"a": 1}], "datetime", [None, None]),
            ([date(2013, 7, 1), None], "datetime", ["2013-07-01T00", None]),
            ([date(2013, 7, 1), None], "category", ["2013-07-01", None]),
            ([timedelta(hours=1), None], "number", [None, None]),
            (pd.Categorical(["2", "3", None]), "number", [2.0, 3.0, None]),
            (pd.array([2, 3, None], dtype="Int64"), "number", [2.0, 3.0, None]),
        ],
    )
    def test_a_column_is_brought_to_its_type(self, values: Any, kind: Any, expected: list[Any]) -> None:
        typed = table.convert_column(pd.Series(values), kind)
        if kind == "datetime":
            expected = [value and pd.Timestamp(value, tz="UTC") for value in expected]
        assert [None if pd.isna(value) else value for value in typed] == expected

    def test_labels_are_what_a_person_would_write(self) -> None:
        for kind in ("float64", "float32"):
            assert list(table.make_labels(pd.Series([7.0, 7.5, None], dtype=kind))) == ["7", "7.5", ""]
        assert list(table.make_labels(pd.Series([True, None], dtype="boolean"), missing="?")) == ["true", "?"]
        times = pd.to_datetime(pd.Series(["2013-07-01T10:00:00Z", None]), utc=True)
        assert list(table.make_labels(times)) == ["2013-07-01T10:00:00Z", ""]

    def test_bringing_to_types_twice_changes_nothing(self, bench: Bench) -> None:
        once, misfits = table.coerce(sample(), bench.schema)
        twice, more = table.coerce(once, bench.schema)
        assert misfits == more == []
        pd.testing.assert_frame_equal(once, twice)

    @pytest.mark.parametrize(
        "expression",
        [
            "arr_delay > nothing",
            "arr_delay.nothing()",
            "1 + 1",
            "arr_delay + carrier",
            "carrier",
            "carrier > 'UA'",
            "carrier == 1",
            "arr_delay == 'late'",
            "time_hour > '2013-07-01'",
            "arr_delay and dep_delay > 1",
            "arr_delay > 15 & dep_delay > 15",
            "carrier in ['UA', 'AA']",
        ],
    )
    def test_an_expression_that_cannot_be_computed_is_named(self, bench: Bench, expression: str) -> None:
        bench.edit("params.data.derive.late", expression)
        typed, _ = table.coerce(sample(1000), bench.schema)
        with pytest.raises(ConfigError, match=r"params\.yaml: data\.derive\.late: "):
            table.derive(typed, bench.settings, bench.schema)

    def test_a_column_that_is_not_there_is_named_with_the_nearest(self, bench: Bench) -> None:
        bench.edit("params.data.derive.late", "arr_dellay > 15")
        typed, _ = table.coerce(sample(1000), bench.schema)
        with pytest.raises(
            ConfigError, match=r"late: .* no column 'arr_dellay' \(did you mean 'arr_delay'\?\)"
        ):
            table.derive(typed, bench.settings, bench.schema)

    @pytest.mark.parametrize(
        ("expression", "expected"),
        [
            ("kind == 'a'", [True, False, None, False]),
            ("kind != other", [True, False, None, None]),
            ("done - asked > 60", [True, None, None, False]),
            ("(done - asked) / 60 > 1 or kind == 'b'", [True, None, None, False]),
            ("paid and not kind == 'a'", [False, True, None, None]),
            ("not (paid or amount < 2)", [False, False, True, None]),
            ("amount", [True, False, None, True]),
            ("amount / (amount - 1) > 1", [True, False, True, True]),
            ("µ_x == 1", [True, True, True, True]),
        ],
    )
    def test_truths_texts_and_times_are_read_and_missing_ones_stay_missing(
        self, expression: str, expected: list[bool | None]
    ) -> None:
        kinds = {
            "kind": "category",
            "other": "text",
            "paid": "boolean",
            "asked": "datetime",
            "done": "datetime",
            "amount": "number",
            "µ_x": "number",
        }
        settings, schema = bench_of_one(expression, **kinds)
        rows = pd.DataFrame(
            {
                "kind": ["a", "b", None, "c"],
                "other": ["x", "b", "b", None],
                "paid": [True, True, False, None],
                "asked": ["2013-07-01T10:00", "2013-07-01T10:00", None, "2013-07-01T10:00"],
                "done": ["2013-07-01T12:01:01+02:00", None, None, "2013-07-01T10:01"],
                "amount": [1, 0, 3, 1],
                "µ_x": 1,
            }
        )
        typed, _ = table.coerce(rows, schema)
        derived = table.derive(typed, settings, schema)["late"]
        assert derived.dtype == "boolean"
        assert [None if pd.isna(value) else bool(value) for value in derived] == expected

    def test_whole_numbers_too_large_to_compute_with_are_refused(self) -> None:
        settings, schema = bench_of_one("arr_delay % 10 == 3", arr_delay="number")
        typed = pd.DataFrame({"arr_delay": [2**53 + 3]})
        with pytest.raises(ConfigError, match=r"data\.derive\.late: 'arr_delay' has numbers above 2\*\*53"):
            table.derive(typed, settings, schema)


def bench_of_one(expression: str, **kinds: Any) -> tuple[Any, table.Schema]:
    """Settings and contract of a table with columns of these kinds and one derived from them."""
    from types import SimpleNamespace

    columns = {
        name: table.Column(type=kind, known="after", nullable=True)
        for name, kind in {**(kinds or {"arr_delay": "number"}), "late": "boolean"}.items()
    }
    settings = SimpleNamespace(data=SimpleNamespace(derive={"late": expression}))
    return settings, table.Schema(row="a flight", columns=columns)
