"""Which rows train, which judge, which stand for production; and that a row never changes sides."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from bots.evidence import SplitReport
from fixtures.flights import Bench, sample, settings_with
from pipeline import conversion, files, split, table
from pipeline.config import ConfigError
from pipeline.files import StageError

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.params import Params


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.chdir(tmp_path)
    return Bench(tmp_path)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[pd.DataFrame, Params, table.Schema]:
    """Typed flights with their target, and the contract that they keep."""
    folder = tmp_path_factory.mktemp("split")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        bench = Bench(folder)
        contract, schema = bench.settings, bench.schema
    typed, _ = table.coerce(sample(), schema)
    return table.derive(typed, contract, schema), contract, schema


def run(bench: Bench, raw: pd.DataFrame) -> dict[str, pd.DataFrame]:
    bench.keep(raw)
    assert bench.run("split") == 0
    return {name: files.read_table(files.SPLITS / f"{name}.parquet") for name in split.PARTS}


def refusal(bench: Bench, raw: pd.DataFrame) -> str:
    bench.keep(raw)
    assert bench.run("split") == 1
    return bench.refusal()


def test_the_parts_follow_one_another_in_time(bench: Bench) -> None:
    parts = run(bench, sample())
    assert parts["train"]["time_hour"].max() < parts["holdout"]["time_hour"].min()
    assert parts["holdout"]["time_hour"].max() < parts["production"]["time_hour"].min()
    for part in bench.evidence(SplitReport).parts:
        times = parts[part.name]["time_hour"]
        assert part.first == times.min().isoformat().replace("+00:00", "Z")
        assert part.last == times.max().isoformat().replace("+00:00", "Z")


def test_a_bound_belongs_to_the_part_that_starts_there(bench: Bench) -> None:
    raw = sample()
    raw.loc[0, "time_hour"] = pd.Timestamp("2013-07-01T00:00:00Z")
    raw.loc[1, "time_hour"] = pd.Timestamp("2014-01-01T00:00:00Z")
    raw.loc[[0, 1], "flight"] = [9001, 9002]
    parts = run(bench, raw)
    assert 9001 in set(parts["holdout"]["flight"])
    assert not any(9002 in set(part["flight"]) for part in parts.values())


def test_a_row_without_a_target_neither_trains_nor_judges_but_stays_in_production(bench: Bench) -> None:
    raw = sample()
    parts = run(bench, raw)
    times = raw.loc[raw["arr_delay"].isna(), "time_hour"]
    assert parts["train"]["late"].notna().all()
    assert parts["holdout"]["late"].notna().all()
    assert bench.evidence(SplitReport).unlabelled == (times < "2013-09-01").sum() > 0
    in_production = ((times >= "2013-09-01") & (times < "2014-01-01")).sum()
    assert parts["production"]["late"].isna().sum() == in_production > 0


def test_every_row_is_named_by_its_identity(bench: Bench) -> None:
    parts = run(bench, sample())
    assert parts["train"].loc[0, "split:row"] == "2013-01-01T10:00:00Z|UA|1545"
    assert pd.concat(parts.values())["split:row"].is_unique


def test_the_evidence_tells_each_parts_share_of_late_flights(bench: Bench) -> None:
    parts = run(bench, sample())
    for part in bench.evidence(SplitReport).parts:
        assert part.target == pytest.approx(parts[part.name]["late"].astype("Float64").mean())
        if part.name != "holdout":
            assert part.digest == files.digest_table(parts[part.name])


@pytest.mark.slow
def test_the_holdout_is_the_same_while_its_rows_and_their_truth_are(bench: Bench) -> None:
    def digest(frame: pd.DataFrame) -> str:
        run(bench, frame)
        return bench.evidence(SplitReport).find_part("holdout").digest

    frame = sample()
    held = frame["time_hour"].astype(str).between("2013-07-01", "2013-09-01") & frame["arr_delay"].notna()
    was = digest(frame)
    assert digest(frame.assign(temp=frame["temp"] + 1)) == was
    assert digest(frame.assign(arr_delay=frame["arr_delay"].where(~held, -frame["arr_delay"]))) != was
    assert digest(frame.drop(index=frame.index[held][:1])) != was


def test_the_order_of_the_raw_rows_does_not_matter(bench: Bench) -> None:
    run(bench, sample())
    first = {path.name: path.read_bytes() for path in files.SPLITS.iterdir()}
    run(bench, sample().sample(frac=1, random_state=0))
    assert {path.name: path.read_bytes() for path in files.SPLITS.iterdir()} == first


def test_new_production_rows_leave_the_holdout_as_it_is(bench: Bench) -> None:
    raw = sample()
    early = raw[raw["time_hour"] < "2013-10-01"]
    run(bench, early)
    before = bench.evidence(SplitReport)
    run(bench, raw)
    after = bench.evidence(SplitReport)
    assert after.find_part("holdout").digest == before.find_part("holdout").digest
    assert after.find_part("train").digest == before.find_part("train").digest
    assert after.find_part("production").digest != before.find_part("production").digest


def test_without_production_bounds_its_part_is_empty_but_there(bench: Bench) -> None:
    bench.edit("params.split.production", [None, None])
    parts = run(bench, sample())
    assert len(parts["production"]) == 0
    assert list(parts["production"].columns) == list(parts["train"].columns)
    assert bench.evidence(SplitReport).find_part("production").target is None


def test_open_bounds_reach_to_the_ends(bench: Bench) -> None:
    bench.edit("params.split.train", [None, "2013-07-01"])
    bench.edit("params.split.production", ["2013-09-01", None])
    parts = run(bench, sample())
    raw = sample()
    assert len(parts["production"]) == (raw["time_hour"] >= "2013-09-01").sum()
    assert parts["train"]["time_hour"].min() == raw["time_hour"].min()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        (
            "holdout",
            ["2013-06-01", "2013-09-01"],
            "train [2013-01-01, 2013-07-01) and holdout [2013-06-01, 2013-09-01) overlap",
        ),
        (
            "production",
            ["2013-08-01", None],
            "holdout [2013-07-01, 2013-09-01) and production [2013-08-01, any) overlap",
        ),
        (
            "holdout",
            ["2013-09-01", "2013-07-01"],
            "split.holdout: [2013-09-01, 2013-07-01) ends before it starts",
        ),
        (
            "train",
            ["2012-01-01", "2012-07-01"],
            "split.train: no row with a target between [2012-01-01, 2012-07-01)",
        ),
        ("holdout", ["July", "August"], "split.holdout: expected ISO 8601 dates, got 'July'"),
        ("train", [None, None], "split.train: a split by time needs [from, until)"),
        ("column", "hour", "split.column: expected a datetime column of schema.yaml, got 'hour'"),
        ("column", "time_hours", "got 'time_hours' (did you mean 'time_hour'?)"),
    ],
)
def test_bounds_that_make_no_sense_are_refused_in_words(
    bench: Bench, key: str, value: Any, expected: str
) -> None:
    bench.edit(f"params.split.{key}", value)
    assert expected in refusal(bench, sample(200))
    assert not files.SPLITS.exists()


def test_an_empty_part_is_refused_with_the_counts(bench: Bench) -> None:
    raw = sample()
    raw.loc[raw["time_hour"].between("2013-07-01", "2013-09-01"), "arr_delay"] = float("nan")
    message = refusal(bench, raw)
    assert "split.holdout: no row with a target between [2013-07-01, 2013-09-01)" in message
    assert "5,263 rows in the table: train 2,505, holdout 0, production" in message


def test_a_holdout_of_one_class_is_refused(bench: Bench) -> None:
    raw = sample()
    raw.loc[raw["time_hour"].between("2013-06-30", "2013-09-02"), "arr_delay"] = -5.0
    assert "split.holdout: only one class of late" in refusal(bench, raw)


def test_rows_that_share_an_identity_are_refused(bench: Bench) -> None:
    bench.edit("schema.identity", ["time_hour", "carrier"])
    message = refusal(bench, sample())
    assert "rows cannot be told apart by time_hour, carrier, for instance 2013-" in message


def test_a_table_that_lacks_a_column_is_refused(bench: Bench) -> None:
    assert "lacks the columns temp, visib" in refusal(bench, sample(200).drop(columns=["temp", "visib"]))


@pytest.mark.slow
def test_without_an_identity_rows_are_named_by_their_content(bench: Bench) -> None:
    bench.edit("schema.identity", [])
    raw = sample()
    names = run(bench, raw)["train"]["split:row"]
    assert names.str.fullmatch("[0-9a-f]{32}").all()
    raw["temp"] = raw["temp"].where(raw.index != 0, 11.0)
    assert len(set(run(bench, raw)["train"]["split:row"]) ^ set(names)) == 2


def test_a_group_is_never_divided(bench: Bench) -> None:
    bench.edit("params.split.by", "group")
    bench.edit("params.split.column", "date")
    parts = run(bench, sample())
    assert not set(parts["train"]["date"]) & set(parts["holdout"]["date"])
    assert len(parts["production"]) == 0


def test_an_unknown_group_is_named(bench: Bench) -> None:
    bench.edit("params.split.by", "group")
    bench.edit("params.split.column", "carier")
    assert "got 'carier' (did you mean 'carrier'?)" in refusal(bench, sample(200))


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(
    bounds=st.lists(
        st.dates(pd.Timestamp("2013-01-01").date(), pd.Timestamp("2013-12-31").date()), min_size=6, max_size=6
    ),
    by=st.sampled_from(["time", "random", "group"]),
)
def test_a_split_is_a_partition(
    world: tuple[pd.DataFrame, Params, table.Schema], bounds: list[Any], by: str
) -> None:
    frame, contract, schema = world
    dates = [str(date) for date in sorted(bounds)]
    intervals = dict(zip(split.PARTS, zip(dates[::2], dates[1::2], strict=True), strict=True))
    column = "date" if by == "group" else "time_hour"
    chosen = settings_with(contract, split={"by": by, "column": column, **intervals})
    try:
        parts, unlabelled = split.divide(frame, chosen, schema)
    except StageError:
        return
    names = pd.concat([part["split:row"] for part in parts.values()])
    assert names.is_unique
    everyone = split.name_rows(frame, schema)
    unknown = frame["late"].isna()
    if by == "time":
        times = frame["time_hour"]
        inside = {name: times.between(low, high, inclusive="left") for name, (low, high) in intervals.items()}
        learnable = (inside["train"] | inside["holdout"]) & ~unknown
        expected = set(everyone[learnable | inside["production"]])
        assert unlabelled == ((inside["train"] | inside["holdout"]) & unknown).sum()
    else:
        expected = set(everyone[~unknown])
        assert unlabelled == unknown.sum()
    assert set(names) == expected


@pytest.mark.slow
@settings(max_examples=10, deadline=None)
@given(kept=st.integers(1000, 5_000), share=st.floats(0.05, 0.95), by=st.sampled_from(["random", "group"]))
def test_appended_rows_never_move_a_row(
    world: tuple[pd.DataFrame, Params, table.Schema], kept: int, share: float, by: str
) -> None:
    frame, contract, schema = world
    chosen = settings_with(contract, split={"by": by, "column": "tailnum", "holdout_share": share})
    early, _ = split.divide(frame.iloc[:kept], chosen, schema)
    late, _ = split.divide(frame, chosen, schema)
    assert set(early["train"]["split:row"]) <= set(late["train"]["split:row"])
    assert set(early["holdout"]["split:row"]) <= set(late["holdout"]["split:row"])


def test_the_rows_of_a_part_are_sorted_by_time_and_name_and_those_without_a_time_stand_last(
    world: tuple[pd.DataFrame, Params, table.Schema],
) -> None:
    frame, contract, schema = world
    gaps = frame.assign(time_hour=frame["time_hour"].mask(frame["flight"] % 7 == 0))
    parts, _ = split.divide(
        gaps, settings_with(contract, split={"by": "random"}), msgspec.structs.replace(schema, identity=[])
    )
    for name in ("train", "holdout"):
        part = parts[name]
        assert part["time_hour"].isna().iloc[-1]
        ordered = part.sample(frac=1, random_state=0).sort_values(["time_hour", "split:row"])
        assert list(part["split:row"]) == list(ordered["split:row"])


def test_equal_rows_are_numbered_where_they_are_natural_and_stay_on_one_side(
    world: tuple[pd.DataFrame, Params, table.Schema],
) -> None:
    frame, contract, schema = world
    natural = msgspec.structs.replace(schema, identity=[], duplicates="natural")
    labelled = frame[frame["late"].notna()].head(300)
    twelve = pd.concat([labelled, *[labelled.head(20)] * 11], ignore_index=True)

    parts, _ = split.divide(twelve, settings_with(contract, split={"by": "random"}), natural)

    names = pd.concat([part["split:row"] for part in parts.values()])
    assert names.is_unique
    assert sum(names.str.endswith("#12")) == 20
    sides = [{name.partition("#")[0] for name in part["split:row"]} for part in parts.values()]
    assert not sides[0] & sides[1]
    for part in parts.values():
        again = split.name_rows(part.drop(columns="split:row"), natural)
        assert list(again) == list(part["split:row"])


@given(st.sets(st.text(), min_size=1))
def test_a_share_is_drawn_from_the_key_alone(keys: set[str]) -> None:
    ordered = sorted(keys)
    shares = split.hash_to_shares(ordered)
    assert ((shares >= 0) & (shares < 1)).all()
    assert [split.hash_to_shares([key])[0] for key in ordered] == list(shares)


def test_the_holdout_has_about_its_share_of_the_rows() -> None:
    shares = split.hash_to_shares(str(number) for number in range(20_000))
    assert (shares < 0.2).mean() == pytest.approx(0.2, abs=0.01)


class TestEqualRows:
    """Rows without an identity, some of which are equal in every column."""

    ROWS = pd.DataFrame({"x": [1.5, 2.0, 1.5, 1.5] * 25, "y": [0, 1, 0, 0] * 25})

    def prepare(self, bench: Bench, **schema: Any) -> None:
        columns = {
            "x": {"type": "number", "known": "before"},
            "y": {"type": "number", "known": "after"},
        }
        document = {"row": "a row", "columns": columns, **schema}
        (bench.folder / "schema.yaml").write_text(yaml.safe_dump(document))
        changes: dict[str, Any] = {
            "params.data.target": "y",
            "params.data.derive": {},
            "params.split.by": "random",
            "params.split.column": None,
            "params.split.holdout_share": 0.5,
        }
        for key, value in changes.items():
            bench.edit(key, value)
        bench.keep(self.ROWS)

    def test_they_are_refused_with_what_to_do(self, bench: Bench) -> None:
        self.prepare(bench)
        assert bench.run("validate") == 1
        (error,) = bench.errors()
        assert error.message.startswith("98 rows repeat another row; say `duplicates: natural`")
        assert error.rows == 98
        assert bench.run("split") == 1
        assert "say `duplicates: natural` in schema.yaml" in bench.refusal()

    def test_where_they_are_natural_each_is_kept_and_numbered(self, bench: Bench) -> None:
        self.prepare(bench, duplicates="natural")
        assert bench.run("validate") == 0
        names = split.name_rows(self.ROWS, bench.schema)
        assert names.is_unique
        hashes = names.str.partition("#")
        assert hashes[0].nunique() == 2
        assert list(names[[0, 2, 3]].str.slice(32)) == ["", "#2", "#3"]
        with_one_more = split.name_rows(pd.concat([self.ROWS, self.ROWS.head(1)]), bench.schema)
        assert list(with_one_more[:100]) == list(names)

    def test_equal_rows_stay_on_one_side(self, bench: Bench) -> None:
        self.prepare(bench, duplicates="natural")
        frame = pd.DataFrame({"x": np.repeat(np.arange(200.0), 5), "y": np.tile([0, 1], 500)})
        frame["y"] = frame["x"] % 2
        bench.keep(frame)
        assert bench.run("split") == 0
        parts = [
            set(files.read_table(files.SPLITS / f"{name}.parquet")["x"]) for name in ("train", "holdout")
        ]
        assert not parts[0] & parts[1]
        assert parts[0] | parts[1] == set(frame["x"])
        assert sum(part.rows for part in bench.evidence(SplitReport).parts) == 1000

    def test_naturals_beside_an_identity_are_a_contradiction(self, bench: Bench) -> None:
        self.prepare(bench, duplicates="natural", identity=["x"])
        with pytest.raises(ConfigError, match="duplicates: natural is for rows without an identity"):
            table.load()


def test_ids_that_differ_by_a_zero_are_two_rows(bench: Bench) -> None:
    schema = table.Schema(
        row="a row", identity=["id"], columns={"id": table.Column(type="category", known="before")}
    )
    typed, _ = table.coerce(pd.DataFrame({"id": ["010", "10"]}), schema)
    assert list(split.name_rows(typed, schema)) == ["010", "10"]
    large = pd.DataFrame({"id": ["9007199254740993", "9007199254740992", None]})
    numbers = table.Schema(
        row="a row",
        identity=["id"],
        columns={"id": table.Column(type="number", known="before", nullable=True)},
    )
    typed, _ = table.coerce(large, numbers)
    assert list(split.name_rows(typed, numbers)) == ["9007199254740993", "9007199254740992", ""]


def name_texts(rows: list[tuple[str, ...]], *, identity: bool) -> list[str]:
    """Name rows of texts by all of their columns, or by their content."""
    frame = pd.DataFrame(rows).astype("str").set_axis([f"c{at}" for at in range(len(rows[0]))], axis=1)
    schema = table.Schema(
        row="a row",
        identity=list(frame.columns) if identity else [],
        columns={name: table.Column(type="category", known="before") for name in frame.columns},
    )
    return list(split.name_rows(frame, schema))


@pytest.mark.slow
@given(
    rows=st.integers(1, 3).flatmap(
        lambda width: st.lists(
            st.tuples(*[st.text(alphabet="|\\#2a\n", max_size=4)] * width),
            min_size=1,
            max_size=30,
            unique=True,
        )
    ),
    identity=st.booleans(),
)
def test_rows_that_differ_have_different_names(rows: list[tuple[str, ...]], identity: bool) -> None:
    assert len(set(name_texts(rows, identity=identity))) == len(rows)


def test_only_what_could_be_taken_for_a_separator_is_escaped() -> None:
    assert name_texts([("a|b", "c"), ("a", "b|c")], identity=True) == [r"a\|b|c", r"a|b\|c"]
    assert name_texts([("DOMAIN\\user", "7#2"), ("C:\\", "x")], identity=True) == [
        r"DOMAIN\user|7#2",
        r"C:\\|x",
    ]
    assert name_texts([("a|b",), ("C:\\",)], identity=True) == ["a|b", "C:\\"]


@pytest.mark.slow
@given(
    st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=5),
    st.lists(st.datetimes(), max_size=5),
)
def test_labels_made_many_at_a_time_are_those_made_one_by_one(numbers: list[float], times: list[Any]) -> None:
    for series in (
        pd.Series(numbers, dtype="float64"),
        pd.Series(pd.to_datetime(times, utc=True)).dt.as_unit("us"),
    ):
        expected = [conversion.make_label(value) for value in series]
        assert list(table.make_labels(series)) == expected
