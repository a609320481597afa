"""Labels from files and databases, and what becomes of them when they meet predictions."""

from __future__ import annotations

import json
import sqlite3
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from bots.monitoring import label_keys
from bots.monitoring.label_index import RECORD, IndexBuilder, merge_records
from bots.monitoring.label_keys import NO_TIME, KeyHasher, Keys
from bots.monitoring.label_sources import LabelsError, LabelsUnreachable, build_column, expand_variables
from bots.monitoring.labels import JoinedDay, LabelTable, join_labels, load_labels
from bots.observations import LabelCounts
from bots.settings import Data, Labels, SettingsError, parse_settings
from fixtures.postgres import PASSWORD, Postgres, open_postgres
from fixtures.support import render_file

NOW = datetime(2026, 3, 20, 6, tzinfo=UTC)
SINCE = datetime(2026, 3, 1, tzinfo=UTC)
LATE = Data(task="classification", target="late", derive={"late": "arr_delay > 15"})
DELAY = Data(task="regression", target="delay")


def log(rows: Sequence[Mapping[str, Any]], **types: pa.DataType) -> pa.RecordBatch:
    """Predictions as the log has them; `id` and `time` are those of the prediction, all else columns of the row."""
    names = dict.fromkeys(name for row in rows for name in row if name not in {"id", "time", "version"})
    arrays = {
        "prediction:id": pa.array([row.get("id", f"p{at}") for at, row in enumerate(rows)], pa.string()),
        "prediction:time": pa.array([row.get("time", "2026-03-02T10:00:00.000Z") for row in rows]),
        "prediction:version": pa.array([row.get("version", "v1") for row in rows]),
        "prediction:onnx": pa.array(["0123456789abcdef"] * len(rows)),
        "prediction:score": pa.array([0.5] * len(rows)),
    } | {name: pa.array([row.get(name) for row in rows], types.get(name)) for name in names}
    return pa.RecordBatch.from_pydict(arrays)


def load(tmp_path: Path, labels: Labels, data: Data = LATE, **environ: str) -> LabelTable:
    return load_labels(
        labels,
        data,
        root=tmp_path,
        environ=environ,
        folder=tmp_path / "kept",
        since=SINCE,
        now=NOW,
        tell=lambda _: None,
    )


def write(tmp_path: Path, text: str, name: str = "labels.csv") -> str:
    (tmp_path / name).write_text(text, encoding="utf-8")
    return name


def join(
    table: LabelTable, *batches: pa.RecordBatch, times: tuple[str, ...] = ()
) -> tuple[list[float | None], JoinedDay, LabelCounts]:
    """The label of each prediction, the counts of the only day, and those of the labels."""
    result = join_labels(batches, table, now=NOW, times=times)
    found = [value for batch in result.batches for value in batch.column("label").to_pylist()]
    (day,) = result.days.values()
    return found, day, table.count_labels(())


def test_a_label_joins_its_prediction_by_the_id_that_the_service_answered(tmp_path: Path) -> None:
    source = write(tmp_path, "prediction:id,late\np0,1\np1,false\nnobody,yes\np2,\n")

    found, day, counts = join(load(tmp_path, Labels(source=source)), log([{}, {}, {}, {}]))

    assert found == [1.0, 0.0, None, None]
    assert day == JoinedDay(predicted=4, labelled=2)
    assert (counts.rows, counts.joined, counts.orphaned, counts.missing) == (4, 2, 1, 1)
    assert counts.examples == {"orphaned": "prediction:id nobody"}


CHURN = Data(task="classification", target="status", positive="churned")


def write_split(tmp_path: Path, answers: dict[str, str] | None) -> None:
    (tmp_path / "reports").mkdir()
    report = {"format": 1, "by": "random", "parts": [], "unlabelled": 0, "answers": answers}
    (tmp_path / "reports/split.json").write_text(json.dumps(report))


def test_labels_come_by_the_names_that_the_target_has(tmp_path: Path) -> None:
    write_split(tmp_path, {"yes": "churned", "no": "stayed"})
    source = write(tmp_path, "prediction:id,status\np0,churned\np1,stayed\np2,gone\np3,\np4,1\n")

    found, day, counts = join(load(tmp_path, Labels(source=source), CHURN), log([{}, {}, {}, {}, {}]))

    assert found == [1.0, 0.0, None, None, 1.0]
    assert day.labelled == 3
    assert (counts.unreadable, counts.missing) == (1, 1)
    assert counts.examples["unreadable"] == "gone"


def test_numbers_as_labels_are_read_by_the_answer_that_they_are(tmp_path: Path) -> None:
    write_split(tmp_path, {"yes": "2", "no": "1"})
    table = pa.table({"prediction:id": ["p0", "p1", "p2"], "status": [2.0, 1.0, 0.0]})
    parquet.write_table(table, tmp_path / "labels.parquet")
    data = Data(task="classification", target="status", positive=2)

    found, _, counts = join(load(tmp_path, Labels(source="labels.parquet"), data), log([{}, {}, {}]))

    assert found == [1.0, 0.0, None]
    assert counts.unreadable == 1


def test_labels_by_name_wait_until_the_split_says_what_no_is_called(tmp_path: Path) -> None:
    source = write(tmp_path, "prediction:id,status\np0,churned\n")
    with pytest.raises(LabelsError, match=r"reports/split\.json: answers: .* 'churned'; run `dvc repro`"):
        load(tmp_path, Labels(source=source), CHURN)


def test_the_same_label_twice_counts_once_and_different_ones_count_not_at_all(tmp_path: Path) -> None:
    source = write(tmp_path, "prediction:id,late\np0,1\np0,1\np0,true\np1,0\np1,1\n")

    found, day, counts = join(load(tmp_path, Labels(source=source)), log([{}, {}]))

    assert found == [1.0, None]
    assert day == JoinedDay(predicted=2, labelled=1, duplicated=1, contradicted=1)
    assert (counts.duplicated, counts.contradicted) == (2, 1)
    assert counts.examples["contradicted"] == "prediction:id p1"


@pytest.mark.parametrize(("corrections", "expected"), [("refuse", None), ("newest", 0.0)])
def test_a_correction_counts_only_where_the_settings_say_that_the_newest_wins(
    tmp_path: Path, corrections: Literal["refuse", "newest"], expected: float | None
) -> None:
    source = write(
        tmp_path,
        "prediction:id,late,at\np0,1,2026-03-05\np0,0,2026-03-07T01:00:00+02:00\np0,1,2026-03-06\n",
    )

    labels = Labels(source=source, time="at", corrections=corrections)
    found, _, counts = join(load(tmp_path, labels), log([{}]))

    assert found == [expected]
    assert (counts.contradicted, counts.corrected) == ((1, 0) if expected is None else (0, 1))


def test_two_newest_labels_that_differ_contradict_each_other_still(tmp_path: Path) -> None:
    source = write(tmp_path, "prediction:id,late,at\np0,1,2026-03-05\np0,0,2026-03-07\np0,1,2026-03-07\n")

    found, day, _ = join(load(tmp_path, Labels(source=source, time="at", corrections="newest")), log([{}]))

    assert (found, day.contradicted) == ([None], 1)


def test_an_id_with_leading_zeros_stays_text_and_is_not_the_number(tmp_path: Path) -> None:
    source = write(tmp_path, "customer,late\n007,1\n7,0\n")
    rows = [{"customer": "007"}, {"customer": "7"}, {"customer": "07"}]

    found, _, _ = join(load(tmp_path, Labels(source=source, join=("customer",))), log(rows))

    assert found == [1.0, 0.0, None]


@pytest.mark.parametrize(
    "values",
    [
        pa.array([1, 2, 3]),
        pa.array([1.0, 2.0, 3.0]),
        pa.array(["1", "2.0", " 3e0 "]),
        pa.array([Decimal("1.00"), Decimal("2.00"), Decimal("3.00")]),
        pa.array(["1", "2", "3"]).dictionary_encode(),
    ],
    ids=["int", "float", "text", "decimal", "dictionary"],
)
def test_in_a_column_of_numbers_a_number_is_a_number_however_it_is_written(
    tmp_path: Path, values: pa.Array
) -> None:
    parquet.write_table(pa.table({"flight": values, "late": [1, 0, 1]}), tmp_path / "labels.parquet")
    batch = log([{"flight": 3.0}, {"flight": 1.0}, {"flight": 1.5}])

    found, _, _ = join(load(tmp_path, Labels(source="labels.parquet", join=("flight",))), batch)

    assert found == [1.0, 1.0, None]


def test_a_whole_number_that_the_log_cannot_tell_from_its_neighbour_joins_nothing_and_is_told(
    tmp_path: Path,
) -> None:
    parquet.write_table(
        pa.table({"order": [2**53 - 1, 2**53, 2**53 + 1], "late": [1, 0, 1]}), tmp_path / "labels.parquet"
    )
    batch = log([{"order": float(2**53 - 1)}, {"order": float(2**53)}])

    found, day, counts = join(load(tmp_path, Labels(source="labels.parquet", join=("order",))), batch)

    assert found == [1.0, None]
    assert (day.unjoinable, counts.keyless) == (1, 2)
    assert counts.examples["keyless"] == f"order {2**53}"


def test_whole_numbers_beyond_2_to_the_53_are_exact_where_the_log_has_them_as_text(tmp_path: Path) -> None:
    parquet.write_table(pa.table({"order": [2**53, 2**53 + 1], "late": [1, 0]}), tmp_path / "labels.parquet")

    found, _, _ = join(
        load(tmp_path, Labels(source="labels.parquet", join=("order",))), log([{"order": str(2**53 + 1)}])
    )

    assert found == [0.0]


def test_times_are_compared_as_instants_whatever_their_zone(tmp_path: Path) -> None:
    times = ["2026-03-02T05:00:00-05:00", "2026-03-02 11:00:00", "2026-03-02T12:00Z", "soon"]
    source = write(tmp_path, "hour,late\n" + "".join(f"{time},1\n" for time in times))
    rows = [{"hour": f"2026-03-02T{hour}:00:00.000Z"} for hour in (10, 11, 12, 13)]

    found, _, counts = join(load(tmp_path, Labels(source=source, join=("hour",))), log(rows), times=("hour",))

    assert found == [1.0, 1.0, 1.0, None]
    assert counts.examples["keyless"] == "hour soon"


def test_labels_with_times_make_the_column_one_of_times(tmp_path: Path) -> None:
    hour = pa.array([datetime(2026, 3, 2, 10, tzinfo=UTC)], pa.timestamp("ns", tz="Europe/Vienna"))
    parquet.write_table(pa.table({"hour": hour, "late": [True]}), tmp_path / "labels.parquet")

    found, _, _ = join(
        load(tmp_path, Labels(source="labels.parquet", join=("hour",))),
        log([{"hour": "2026-03-02T11:00:00+01:00"}]),
    )

    assert found == [1.0]


def test_what_has_no_name_joins_nothing(tmp_path: Path) -> None:
    parquet.write_table(
        pa.table({"a": ["x", None, "x"], "b": ["y", "y", None], "late": [1, 1, 1]}),
        tmp_path / "labels.parquet",
    )
    rows: list[dict[str, Any]] = [
        {"a": "x", "b": "y"},
        {"a": None, "b": "y"},
        {"a": "x", "b": None},
        {"a": "xy", "b": ""},
    ]

    found, day, counts = join(load(tmp_path, Labels(source="labels.parquet", join=("a", "b"))), log(rows))

    assert found == [1.0, None, None, None]
    assert (day.unjoinable, counts.keyless) == (2, 2)


def test_a_label_goes_to_every_prediction_of_its_name_and_that_is_counted(tmp_path: Path) -> None:
    source = write(tmp_path, "flight,late\n12,1\n")
    rows: list[dict[str, Any]] = [{"flight": 12.0}, {"flight": 12.0}, {"flight": 12.0, "version": "shadow"}]
    table = load(tmp_path, Labels(source=source, join=("flight",)))

    result = join_labels([log(rows)], table, now=NOW)
    labelled = [batch.column("label").to_pylist() for batch in result.batches]

    assert labelled == [[1.0, 1.0, 1.0]]
    assert {key[1]: day.labelled for key, day in result.days.items()} == {"v1": 2, "shadow": 1}
    assert (table.count_labels().joined, table.count_labels().shared) == (1, 3)


def test_ages_are_days_of_the_calendar_and_labels_of_the_past_and_the_future_are_told(tmp_path: Path) -> None:
    known = ["2026-03-02T23:59", "2026-03-03T00:01", "2026-03-02T09:00", "2026-09-01", ""]
    source = write(
        tmp_path, "prediction:id,late,at\n" + "".join(f"p{at},1,{time}\n" for at, time in enumerate(known))
    )
    table = load(tmp_path, Labels(source=source, time="at"))

    result = join_labels([log([{}] * 5)], table, now=NOW)
    (ages,) = [batch.column("age").to_pylist() for batch in result.batches]
    counts = table.count_labels()

    assert ages == [0, 1, 0, 18, None]
    assert (counts.early, counts.future) == (1, 1)
    assert table.newest == "2026-03-20"


def test_a_label_with_the_date_of_its_prediction_alone_may_have_come_after_it(tmp_path: Path) -> None:
    source = write(tmp_path, "prediction:id,late,at\np0,1,2026-03-02\np1,1,2026-03-01\n")

    _, day, counts = join(load(tmp_path, Labels(source=source, time="at")), log([{}, {}]))

    assert (day.labelled, counts.early) == (2, 1)


def test_a_label_of_an_earlier_prediction_with_the_same_name_is_not_used(tmp_path: Path) -> None:
    source = write(tmp_path, "flight,late,at\n12,1,2026-03-02\n")
    table = load(tmp_path, Labels(source=source, join=("flight",), time="at"))

    found, _, counts = join(table, log([{"flight": 12.0, "time": "2027-06-01T00:00:00Z"}]))

    assert found == [None]
    assert (counts.early, counts.orphaned) == (1, 1)


def test_labels_from_before_the_first_open_day_are_left_out_and_counted(tmp_path: Path) -> None:
    source = write(tmp_path, "prediction:id,late,at\nold,1,2026-01-01\np0,1,2026-03-04\n")

    found, _, counts = join(load(tmp_path, Labels(source=source, time="at")), log([{}]))

    assert found == [1.0]
    assert (counts.older, counts.orphaned) == (1, 0)


@pytest.mark.parametrize(
    ("data", "text", "expected", "example"),
    [
        (LATE, ["1", "0", "TRUE", "no", "2", "on time"], [1.0, 0.0, 1.0, 0.0, None, None], "2"),
        (DELAY, ["1.5", "-3", "1e3", "soon", "inf", "nan"], [1.5, -3.0, 1000.0, None, None, None], "soon"),
    ],
    ids=["classification", "regression"],
)
def test_a_label_that_is_no_target_is_counted_with_an_example(
    tmp_path: Path, data: Data, text: list[str], expected: list[float | None], example: str
) -> None:
    rows = "".join(f"p{at},{value}\n" for at, value in enumerate(text))
    table = load(tmp_path, Labels(source=write(tmp_path, f"prediction:id,{data.target}\n{rows}")), data)

    found, _, counts = join(table, log([{}] * len(text)))

    assert found == expected
    assert counts.unreadable == expected.count(None)
    assert counts.examples["unreadable"] == example


def test_a_missing_target_says_that_labels_bring_it_ready_and_how(tmp_path: Path) -> None:
    source = write(tmp_path, "prediction:id,arr_delay\np0,3\n")

    with pytest.raises(LabelsError, match=r'derives it \(arr_delay > 15\).*as "late"'):
        load(tmp_path, Labels(source=source))

    assert not (tmp_path / "kept").exists()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "id,late\n1,1\n",
            r"no column `prediction:id`, which names the prediction .*the columns are id, late",
        ),
        ("prediction:id,late,late\n1,1,1\n", "the column `late` is there 2 times"),
        ("", "it is empty, not even the columns' names are there"),
    ],
)
def test_a_table_with_other_columns_is_refused_in_words(tmp_path: Path, text: str, expected: str) -> None:
    with pytest.raises(LabelsError, match=expected):
        load(tmp_path, Labels(source=write(tmp_path, text)))


@pytest.mark.parametrize("text", ["prediction:id,late\n", "prediction:id;late\r\n"])
def test_an_empty_table_has_no_labels_and_is_no_error(tmp_path: Path, text: str) -> None:
    found, day, counts = join(load(tmp_path, Labels(source=write(tmp_path, text))), log([{}]))

    assert (found, day.predicted, counts.rows, counts.joined) == ([None], 1, 0, 0)


def test_a_csv_as_spreadsheets_write_it_is_read(tmp_path: Path) -> None:
    text = '\ufeffprediction:id;late;note\r\np0;1;"two\r\nlines; and more"\r\n"p1";"0";""\r\n'

    found, _, _ = join(load(tmp_path, Labels(source=write(tmp_path, text))), log([{}, {}]))

    assert found == [1.0, 0.0]


def test_a_folder_is_read_whole_whatever_types_its_files_have(tmp_path: Path) -> None:
    folder = tmp_path / "labels"
    folder.mkdir()
    write(folder, "flight,late\n1,1\n", "a.csv")
    parquet.write_table(pa.table({"late": [False], "more": ["?"], "flight": [2]}), folder / "b.parquet")
    parquet.write_table(pa.table({"flight": [3.0], "late": [1.0]}), folder / "c.parquet")
    write(folder, "no labels", "_SUCCESS")
    write(folder, "half", ".c.csv.part")

    for source in ("labels", "labels/*", str(folder)):
        table = load(tmp_path, Labels(source=source, join=("flight",)))
        found, _, _ = join(table, log([{"flight": 1.0}, {"flight": 2.0}, {"flight": 3.0}]))
        assert found == [1.0, 0.0, 1.0]


def test_a_half_written_file_ends_it_because_days_would_look_complete(tmp_path: Path) -> None:
    folder = tmp_path / "labels"
    folder.mkdir()
    write(folder, "prediction:id,late\np0,1\n", "a.csv")
    parquet.write_table(pa.table({"prediction:id": ["p1"] * 1000, "late": [1] * 1000}), folder / "b.parquet")
    (folder / "b.parquet").write_bytes((folder / "b.parquet").read_bytes()[:-20])

    with pytest.raises(LabelsUnreachable, match=r"labels: .*b\.parquet: it cannot be read"):
        load(tmp_path, Labels(source="labels"))


@pytest.mark.parametrize("source", ["nothing.csv", "nothing", "memory://nowhere/labels.csv"])
def test_a_source_that_is_not_there_is_named(tmp_path: Path, source: str) -> None:
    with pytest.raises(LabelsUnreachable, match=f"{source}: nothing lies there"):
        load(tmp_path, Labels(source=source))


def test_an_address_whose_driver_is_missing_says_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(LabelsError, match="box://acme/labels: "):
        load(tmp_path, Labels(source="box://acme/labels"))


def test_two_predictions_of_one_type_and_another_version_of_another_are_each_compared_as_logged(
    tmp_path: Path,
) -> None:
    table = load(tmp_path, Labels(source=write(tmp_path, "flight,late\n012,1\n12,0\n"), join=("flight",)))

    texts, _, _ = join(table, log([{"flight": "012"}, {"flight": "12"}, {"flight": "12.0"}]))
    numbers = [
        batch.column("label").to_pylist()
        for batch in join_labels([log([{"flight": 12.0}])], table, now=NOW).batches
    ]

    assert texts == [1.0, 0.0, None]
    assert numbers == [[None]], "both labels are the number 12, and they contradict each other"


def test_predictions_of_a_version_that_logged_no_such_column_cannot_be_joined_and_are_counted(
    tmp_path: Path,
) -> None:
    table = load(tmp_path, Labels(source=write(tmp_path, "flight,late\n12,0\n"), join=("flight",)))

    found, day, _ = join(table, log([{"carrier": "UA"}]))

    assert (found, day.unjoinable) == ([None], 1)


def test_a_personal_name_stands_in_no_example(tmp_path: Path) -> None:
    table = load(tmp_path, Labels(source=write(tmp_path, "customer,late\nann,1\n"), join=("customer",)))
    list(join_labels([log([{"customer": "bob"}])], table, now=NOW).batches)

    assert table.count_labels({"customer"}).examples == {"orphaned": "customer …"}
    assert table.count_labels().examples == {"orphaned": "customer …"}, (
        "nobody said which columns are personal"
    )
    assert table.count_labels(()).examples == {"orphaned": "customer ann"}


def test_a_million_equal_rows_are_one_label(tmp_path: Path) -> None:
    rows = 1_000_000
    parquet.write_table(
        pa.table({"prediction:id": pa.repeat("p0", rows), "late": pa.repeat(1, rows)}),
        tmp_path / "labels.parquet",
    )

    found, day, counts = join(load(tmp_path, Labels(source="labels.parquet")), log([{}]))

    assert (found, day.duplicated) == ([1.0], 1)
    assert (counts.rows, counts.joined, counts.duplicated) == (rows, 1, 1)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("corrections: refuse", "corrections: newest", "`newest` needs monitoring.labels.time"),
        ("\n    query: null\n", "\n    query: labels.sql\n", "monitoring.labels.source: expected a database"),
    ],
)
def test_settings_of_labels_that_contradict_each_other_are_refused(old: str, new: str, expected: str) -> None:
    text = render_file("params.yaml")
    assert text.count(old) == 1

    with pytest.raises(SettingsError, match=expected):
        parse_settings(text.replace(old, new), "params.yaml")


# SQL


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with open_postgres() as server:
        server.run(
            "create table flights (id text, number bigint, late boolean, delay numeric, known timestamptz, day date)",
            "insert into flights values (%s, %s, %s, %s, %s, %s)",
            rows=[
                (f"p{at}", at, at % 3 == 0, Decimal(at) / 4, SINCE + timedelta(days=at), date(2026, 3, 2))
                for at in range(10)
            ],
        )
        yield server


def ask(tmp_path: Path, source: str, query: str, data: Data = LATE, **labels: Any) -> LabelTable:
    environ = labels.pop("environ", {})
    write(tmp_path, query, "labels.sql")
    return load(tmp_path, Labels(source=source, query="labels.sql", **labels), data, **environ)


def test_a_query_of_a_real_postgresql_gives_labels(tmp_path: Path, postgres: Postgres) -> None:
    table = ask(
        tmp_path,
        postgres.address,
        '-- what came of flights\nselect id as "prediction:id", late, known from flights\n'
        "where known >= :since and '12:30' <> ':' and late::text like '%';\n",
        environ=postgres.environ,
        time="known",
    )

    found, day, counts = join(table, log([{}] * 3 + [{"id": "p7"}]))

    assert found == [1.0, 0.0, 0.0, 0.0]
    assert (day.labelled, counts.rows, counts.orphaned, counts.older) == (4, 10, 6, 0)


@pytest.mark.parametrize(
    ("query", "key", "expected"),
    [
        ("select number, delay from flights", {"number": [2.0, 4.0]}, [0.5, 1.0]),
        ("select number, delay from flights", {"number": ["2", "02"]}, [0.5, None]),
        (
            "select known as hour, delay from flights",
            {"hour": ["2026-03-03T00:00:00.000Z", "2026-03-03T01:00:00+01:00"]},
            [0.5 / 2 * 2, 0.5],
        ),
        ("select day::text || '!' as d, max(delay) as delay from flights group by 1", {"d": ["2026-03-02!"]}, [2.25]),
        ("select day, max(delay) as delay from flights group by 1", {"day": ["2026-03-02"]}, [2.25]),
    ],
    ids=["number", "text", "instant", "expression", "date"],
)  # fmt: skip
def test_a_database_s_types_are_compared_with_the_log_s(
    tmp_path: Path, postgres: Postgres, query: str, key: Mapping[str, list[Any]], expected: list[float | None]
) -> None:
    ((name, values),) = key.items()
    table = ask(tmp_path, postgres.address, query, DELAY, environ=postgres.environ, join=(name,))

    found, _, _ = join(table, log([{name: value} for value in values]))

    assert found == expected


@pytest.mark.parametrize(
    "query",
    [
        'delete from flights returning id as "prediction:id", late',
        "drop table flights",
        "select 1; drop table flights",
        "select id, late from flights; commit; drop table flights",
        "commit",
        'with gone as (delete from flights returning *) select id as "prediction:id", late from gone',
        "select nextval('counter') as \"prediction:id\", true as late",
        "select set_config('transaction_read_only', 'off', true) as \"prediction:id\", wipe() as late",
    ],
)  # fmt: skip
def test_a_query_that_does_more_than_read_is_refused_by_postgresql_itself(
    tmp_path: Path, postgres: Postgres, query: str
) -> None:
    postgres.run(
        "create sequence if not exists counter",
        "create or replace function wipe() returns boolean language plpgsql as $$ begin delete from flights;"
        " return true; end $$",
    )

    with pytest.raises(LabelsError, match=r"labels\.sql\): .*(may only read|the query is refused)") as caught:
        ask(tmp_path, postgres.address, query, environ=postgres.environ)

    assert PASSWORD not in str(caught.value)
    assert postgres.ask("select count(*) from flights") == 10


def test_a_query_that_takes_too_long_is_ended(
    tmp_path: Path, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bots.monitoring.label_sources import DatabaseSource

    monkeypatch.setattr(DatabaseSource.__init__, "__defaults__", ((), 0.2))

    with pytest.raises(LabelsUnreachable, match=r"took longer than 0\.2 s"):
        ask(
            tmp_path,
            postgres.address,
            "select '' as \"prediction:id\", pg_sleep(9) as late",
            environ=postgres.environ,
        )


def test_a_wrong_password_and_a_dead_server_are_told_without_a_secret(
    tmp_path: Path, postgres: Postgres
) -> None:
    query = 'select id as "prediction:id", late from flights'
    with pytest.raises(LabelsUnreachable, match="the database does not answer") as wrong:
        ask(tmp_path, postgres.address, query, environ={"LABELS_PASSWORD": "hunter2@home"})
    address = "postgresql://owner:${LABELS_PASSWORD}@127.0.0.1:1/labels"
    with pytest.raises(LabelsUnreachable, match="the database does not answer") as dead:
        ask(tmp_path, address, query, environ={"LABELS_PASSWORD": "hunter2@home"})

    for caught in (wrong, dead):
        assert "hunter2" not in str(caught.value)
        assert "${LABELS_PASSWORD}" in str(caught.value)


def test_a_query_may_ask_for_the_first_open_day_and_nothing_else(tmp_path: Path, postgres: Postgres) -> None:
    with pytest.raises(LabelsError, match="asks for :until, and only :since is given"):
        ask(tmp_path, postgres.address, "select :until", environ=postgres.environ)


@pytest.mark.slow
def test_large_results_come_in_batches(tmp_path: Path, postgres: Postgres) -> None:
    query = "select 'p' || n as \"prediction:id\", n % 2 = 0 as late from generate_series(0, 119999) n"

    found, _, counts = join(ask(tmp_path, postgres.address, query, environ=postgres.environ), log([{}] * 3))

    assert (found, counts.rows) == ([1.0, 0.0, 1.0], 120_000)


@pytest.fixture
def sqlite(tmp_path: Path) -> str:
    with sqlite3.connect(tmp_path / "labels.db") as connection:
        connection.execute("create table flights (id, late, known)")
        connection.executemany(
            "insert into flights values (?, ?, ?)",
            [
                ("p0", 1, "2026-03-05"),
                ("p1", "false", "2026-03-05"),
                (7, 0.0, "2026-01-01"),
                ("p2", None, ""),
            ],
        )
    return "sqlite:///labels.db"


def test_a_query_of_sqlite_gives_labels_whatever_types_a_column_mixes(tmp_path: Path, sqlite: str) -> None:
    everything = ask(tmp_path, sqlite, 'select id as "prediction:id", late from flights')
    assert join(everything, log([{}, {}, {}, {"id": "7"}]))[0] == [1.0, 0.0, None, 0.0]

    recent = ask(tmp_path, sqlite, 'select id as "prediction:id", late from flights where known > :since')
    assert recent.tally.rows == 2


@pytest.mark.parametrize(
    "query",
    [
        "delete from flights",
        "select 1; drop table flights",
        "attach 'other.db' as other",
        "pragma query_only = off",
        'insert into flights values (1, 2, 3) returning id as "prediction:id", late',
    ],
)  # fmt: skip
def test_a_query_that_does_more_than_read_is_refused_by_sqlite(
    tmp_path: Path, sqlite: str, query: str
) -> None:
    before = (tmp_path / "labels.db").read_bytes()

    with pytest.raises(LabelsError, match="may only read"):
        ask(tmp_path, sqlite, query)

    assert (tmp_path / "labels.db").read_bytes() == before
    assert not (tmp_path / "other.db").exists()


def test_a_missing_database_a_missing_table_and_an_endless_query_are_told(
    tmp_path: Path, sqlite: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bots.monitoring.label_sources import DatabaseSource

    with pytest.raises(LabelsUnreachable, match="does not answer: unable to open"):
        ask(tmp_path, "sqlite:///no.db", "select 1")
    with pytest.raises(LabelsError, match="the query is refused: no such table: nowhere"):
        ask(tmp_path, sqlite, "select * from nowhere")
    monkeypatch.setattr(DatabaseSource.__init__, "__defaults__", ((), 0.2))
    with pytest.raises(LabelsUnreachable, match="took longer than"):
        ask(
            tmp_path,
            sqlite,
            "with recursive n(i) as (select 1 union all select i + 1 from n) select max(i) from n",
        )


@pytest.mark.parametrize(
    ("labels", "environ", "expected"),
    [
        (Labels(source="sqlite:///labels.db"), {}, "a database needs the file"),
        (Labels(source="labels.csv", query="labels.sql"), {}, "a query needs a database"),
        (Labels(source="sqlite:///x.db", query="../../etc/passwd"), {}, "does not lie in this repository"),
        (Labels(source="sqlite:///x.db", query="no.sql"), {}, r"no\.sql cannot be read"),
        (Labels(source="s3://${BUCKET}/labels"), {}, "variable BUCKET is not set"),
        (
            Labels(source="postgresql://me:secret@db/x", query="q.sql"),
            {},
            r"it holds a password, .*\$\{NAME\}",
        ),
    ],
)
def test_a_source_that_cannot_be_one_is_refused_in_words(
    tmp_path: Path, labels: Labels, environ: dict[str, str], expected: str
) -> None:
    with pytest.raises(LabelsError, match=expected) as caught:
        load(tmp_path, labels, LATE, **environ)

    assert "secret" not in str(caught.value)


def test_variables_are_encoded_only_where_a_user_and_a_password_stand() -> None:
    environ = {"PASSWORD": "a/b@c", "WHERE": "db:5432", "ALL": "postgresql://u:p@db/x"}

    expanded, hidden = expand_variables("postgresql://u:${PASSWORD}@${WHERE}/x", environ)

    assert expanded == "postgresql://u:a%2Fb%40c@db:5432/x"
    assert {"a/b@c", "a%2Fb%40c"} <= set(hidden)
    assert expand_variables("${ALL}", environ)[0] == environ["ALL"]


@pytest.mark.slow
def test_labels_lie_in_a_bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = pytest.importorskip("moto.server")
    s3fs = pytest.importorskip("s3fs")
    s3fs.S3FileSystem.clear_instance_cache()
    for name, value in {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    thread = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    thread.start()
    host, port = thread.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    try:
        for path, body in {"": b"", "/labels/a.csv": b"prediction:id,late\np0,1\n"}.items():
            request = urllib.request.Request(f"http://{host}:{port}/acme{path}", data=body, method="PUT")
            request.add_header("Content-Type", "text/csv")
            urllib.request.urlopen(request)
        found, _, _ = join(load(tmp_path, Labels(source="s3://acme/labels")), log([{}]))
        with pytest.raises(LabelsUnreachable, match="s3://acme/none"):
            load(tmp_path, Labels(source="s3://acme/none"))
    finally:
        thread.stop()
    assert found == [1.0]


@pytest.mark.parametrize("query", [
    'select id as "prediction:id", late, pg_terminate_backend(pg_backend_pid()) from flights',
    "select 'p0' as \"prediction:id\", 'infinity'::timestamptz as late",
    "select 'p0' as \"prediction:id\", 1 / (number - number) as late from flights",
])  # fmt: skip
def test_a_database_that_fails_in_the_middle_ends_it_in_words(
    tmp_path: Path, postgres: Postgres, query: str
) -> None:
    with pytest.raises(LabelsError, match=r"labels\.sql\): "):
        ask(tmp_path, postgres.address, query, environ=postgres.environ)

    assert not (tmp_path / "kept").exists()


def test_values_that_only_a_database_has_are_read_or_counted(tmp_path: Path, postgres: Postgres) -> None:
    query = """select v::text as "prediction:id", 'NaN'::numeric as late from generate_series(1, 2) v
        union all select 'p0', 1.000 union all select null, 1"""

    found, _, counts = join(ask(tmp_path, postgres.address, query, environ=postgres.environ), log([{}]))

    assert found == [1.0]
    assert (counts.rows, counts.unreadable + counts.missing, counts.keyless) == (4, 2, 1)


# Properties

TEXTS = st.text(max_size=80) | st.sampled_from(["", "a", "a\0", "ab", "ba", "x" * 64, "x" * 65, "x" * 300])


def keys_of(columns: list[pa.Array], kinds: list[label_keys.Kind]) -> Keys:
    return KeyHasher(len(columns), 7).hash_columns(columns, kinds)


@given(st.lists(st.tuples(TEXTS, st.none() | TEXTS), min_size=1, max_size=30))
def test_keys_are_equal_exactly_where_names_are(rows: list[tuple[str, str | None]]) -> None:
    columns = [pa.array([row[at] for row in rows], pa.string()) for at in (0, 1)]
    keys = keys_of(columns, ["text", "text"])
    pairs = list(zip(keys.high.tolist(), keys.low.tolist(), strict=True))

    assert keys.valid.tolist() == [row[1] is not None for row in rows]
    valid = [at for at, row in enumerate(rows) if row[1] is not None]
    for one in valid:
        for other in valid:
            assert (pairs[one] == pairs[other]) == (rows[one] == rows[other])


@given(st.lists(TEXTS, min_size=1, max_size=30), st.data())
def test_a_key_does_not_depend_on_the_batch_that_it_comes_in(texts: list[str], data: st.DataObject) -> None:
    whole = keys_of([pa.array(texts)], ["text"])
    start = data.draw(st.integers(0, len(texts) - 1))
    part = keys_of([pa.array(texts).slice(start)], ["text"])

    assert np.array_equal(whole.high[start:], part.high)
    assert np.array_equal(whole.low[start:], part.low)


@given(st.lists(st.integers(-(2**63), 2**63 - 1) | st.floats(width=64), min_size=1, max_size=20))
def test_numbers_join_where_float64_tells_them_apart(values: list[float]) -> None:
    texts = keys_of([pa.array([repr(value) for value in values])], ["number"])
    floats = keys_of([pa.array([float(value) for value in values])], ["number"])

    for at, value in enumerate(values):
        exact = abs(float(value)) < 2**53
        assert texts.valid[at] == floats.valid[at] == exact
        if exact:
            assert (texts.high[at], texts.low[at]) == (floats.high[at], floats.low[at])


@given(st.lists(st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.decimals() | st.datetimes()
                | st.dates() | st.binary() | st.uuids(), max_size=8))  # fmt: skip
def test_whatever_a_driver_gives_becomes_a_column_that_can_be_read(values: list[Any]) -> None:
    column = build_column(values)

    assert len(column) == len(values)
    for convert in (label_keys.convert_texts, label_keys.convert_numbers, label_keys.convert_truths,
                    label_keys.convert_times):  # fmt: skip
        assert len(convert(column)) == len(values)


@settings(max_examples=60)
@given(
    st.binary(max_size=200)
    | st.text(max_size=200).map(lambda text: ("prediction:id,late\n" + text).encode())
    | st.binary(max_size=50).map(lambda body: b"PAR1" + body + b"PAR1"),
    st.sampled_from(["labels.csv", "labels.parquet", "labels", "labels.csv.gz"]),
)
def test_whatever_bytes_lie_there_they_are_read_or_refused_in_words(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, name: str
) -> None:
    tmp_path = tmp_path_factory.mktemp("bytes")
    (tmp_path / name).write_bytes(content)
    with suppress(LabelsError):
        table = load(tmp_path, Labels(source=name))
        assert join(table, log([{}]))[1].predicted == 1


@given(st.text(max_size=60) | st.text("${}:/@[]?#ab", max_size=30).map("postgresql://".__add__))
def test_whatever_address_is_given_it_is_expanded_or_refused_in_words(source: str) -> None:
    with suppress(LabelsError):
        assert "${" not in expand_variables(source, {"a": "b"})[0]


@given(st.lists(st.text(max_size=30), max_size=8))
def test_no_text_is_too_strange_for_a_time(texts: list[str]) -> None:
    assert len(label_keys.convert_times(pa.array(texts, pa.string()))) == len(texts)


RECORDS = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 1), st.sampled_from([NO_TIME, 1, 2, 3])), max_size=25
)


def make_records(rows: list[tuple[int, int, int]], first: int) -> Any:
    records = np.zeros(len(rows), dtype=RECORD)
    for at, (key, label, newest) in enumerate(rows):
        records[at] = (key, key, label, newest, newest, first + at, 1, False, False)
    return records


@given(RECORDS, RECORDS, RECORDS)
def test_merging_labels_in_parts_and_in_any_order_gives_the_same(a: Any, b: Any, c: Any) -> None:
    parts = [make_records(a, 0), make_records(b, len(a)), make_records(c, len(a) + len(b))]
    whole = merge_records(np.concatenate(parts))
    other = merge_records(
        np.concatenate([merge_records(parts[2]), merge_records(np.concatenate([parts[1], parts[0]]))])
    )

    for name in ("high", "first", "newest", "row", "count", "differs", "tied"):
        assert np.array_equal(whole[name], other[name]), name
    steady = ~whole["tied"]
    assert np.array_equal(whole["label"][steady], other["label"][steady])


@settings(max_examples=30)
@given(
    labels=st.lists(st.tuples(st.integers(0, 12), st.integers(0, 1)), max_size=40),
    asked=st.lists(st.integers(0, 15), min_size=1, max_size=40),
)
def test_a_join_is_what_a_dictionary_would_give(
    tmp_path_factory: pytest.TempPathFactory, labels: list[tuple[int, int]], asked: list[int]
) -> None:
    tmp_path = tmp_path_factory.mktemp("join")
    rows = "".join(f"k{key},{label}\n" for key, label in labels)
    known: dict[str, set[float]] = {}
    for key, label in labels:
        known.setdefault(f"k{key}", set()).add(float(label))

    table = load(tmp_path, Labels(source=write(tmp_path, f"prediction:id,late\n{rows}")))
    found, day, counts = join(table, log([{"id": f"k{key}"} for key in asked]))

    wanted = [known.get(f"k{key}", set()) for key in asked]
    assert found == [next(iter(one)) if len(one) == 1 else None for one in wanted]
    assert day.contradicted == sum(len(one) > 1 for one in wanted)
    assert counts.joined + counts.orphaned == len(known)
    assert counts.joined == len({f"k{key}" for key in asked} & known.keys())


def test_an_index_with_hashes_that_agree_in_their_first_half_finds_the_right_one(tmp_path: Path) -> None:
    records = np.zeros(3, dtype=RECORD)
    for at in range(3):
        records[at] = (5, at, at, 1, 1, at, 1, False, False)
    with IndexBuilder(tmp_path, "refuse") as builder:
        builder.add_records(records)
        index = builder.build_index()
    asked = np.array([2, 0, 9, 1], dtype=np.uint64)
    keys = Keys(np.full(4, 5, dtype=np.uint64), asked, np.ones(4, dtype=bool), np.zeros(4, dtype=bool))

    found = index.find_labels(keys)

    assert found.there.tolist() == [True, True, False, True]
    assert found.labels[found.there].tolist() == [2.0, 0.0, 1.0]
