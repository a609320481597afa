"""Summaries of days: exact counts, the same however files are cut and ordered, whatever the rows hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bots.monitoring import summaries
from bots.monitoring.row_sample import HASH, add_samples
from bots.monitoring.summaries import add_inputs, sum_inputs, summarize_file
from bots.observations import DayInputs
from bots.stats.sketches import RANK_ERROR, read_sketch
from fixtures.prediction_log import make_spec, make_table, write_log
from serving import rows

if TYPE_CHECKING:
    from pathlib import Path

    from bots.monitoring.summary_spec import SummarySpec

CAP = 200
ANY_NUMBER = st.one_of(st.none(), st.floats(), st.just(-0.0), st.integers(2**53, 2**63 - 1).map(float))
ANY_TEXT = st.one_of(st.none(), st.sampled_from(["AA", "UA", "", "ü", "a" * 10_000, "b" * 10_000]), st.text())


def summarize_table(folder: Path, table: pa.Table, spec: SummarySpec | None = None) -> DayInputs:
    """The only day of a table."""
    found = summarize_file(write_log(folder / "log.parquet", table), spec or make_spec()).days
    assert len(found) == 1
    return next(iter(found.values()))


def count_exactly(inputs: DayInputs) -> Any:
    """What of a summary is exact: everything but sketches and sums of numbers."""
    document = msgspec.to_builtins(inputs)
    for number in document["numbers"].values():
        for name in ("sketch", "total", "squares"):
            number.pop(name, None)
    document["scores"]["totals"] = np.round(document["scores"]["totals"], 6).tolist()
    return document


def survives_json(inputs: DayInputs) -> bool:
    content = msgspec.json.encode(inputs, order="deterministic")
    return msgspec.json.encode(msgspec.json.decode(content, type=DayInputs), order="deterministic") == content


def test_every_kind_of_finding_that_the_service_logs_is_counted() -> None:
    assert set(summaries.WARNING_KINDS) == {*rows.COUNTED_KINDS, "unknown"}


@pytest.mark.parametrize("name", ["fee net", "a:missing b", " x", "two\nlines", "x:unseen y"])
def test_a_warning_belongs_to_the_column_whose_whole_name_it_has(tmp_path: Path, name: str) -> None:
    words = f"x:unseen {name}:beyond other:unknown"
    values = {"prediction:warnings": [words], name: [1.0], "x": [2.0]}
    found = summarize_table(tmp_path, make_table(1, **values), make_spec(numbers=tuple({name, "x"})))
    assert set(found.warnings) == {"unseen", "x:unseen", "beyond", f"{name}:beyond", "unknown"}


def test_a_day_says_what_was_asked_and_answered(tmp_path: Path) -> None:
    table = make_table(
        4,
        **{
            "prediction:time": [f"2026-03-01T{hour:02}:59:59.999Z" for hour in (0, 7, 7, 23)],
            "prediction:score": [0.0, 0.3333, 0.9, 1.0],
            "prediction:fallback": [False, False, True, False],
            "prediction:warnings": [
                "temp:beyond",
                "temp:beyond carrier:missing",
                "",
                "who asks?:unknown a b:unknown",
            ],
        },
        temp=[1.0, None, float("nan"), -4.0],
        carrier=["AA", "AA", None, "ZZ"],
    )
    found = summarize_table(tmp_path, table)
    assert (found.day, found.version, found.rows, found.fallback) == ("2026-03-01", "v1.0.0", 4, 1)
    assert {hour: rows for hour, rows in enumerate(found.hours) if rows} == {0: 1, 7: 2, 23: 1}
    assert found.warnings == {
        "beyond": 2, "temp:beyond": 2, "missing": 1, "carrier:missing": 1, "unknown": 1
    }  # fmt: skip
    temp = found.numbers["temp"]
    assert (temp.rows, temp.missing, temp.low, temp.high, temp.total, temp.squares) == (
        4, 2, -4.0, 1.0, -3.0, 17.0
    )  # fmt: skip
    carrier = found.categories["carrier"]
    assert (carrier.rows, carrier.missing, carrier.counts, carrier.other, carrier.unseen) == (
        4, 1, {"AA": 2, "ZZ": 1}, 0, 1
    )  # fmt: skip
    assert found.scores is not None
    assert sum(found.scores.rows) == 3, "what the fallback answered is no score of the model"


@pytest.mark.slow
@given(st.lists(st.tuples(ANY_NUMBER, ANY_TEXT), min_size=1, max_size=30))
@settings(max_examples=60, deadline=None)
def test_whatever_rows_hold_every_row_is_counted_once(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[float | None, str | None]]
) -> None:
    temp, carrier = [row[0] for row in rows], [row[1] for row in rows]
    table = make_table(
        len(rows), temp=pa.array(temp, type=pa.float64()), carrier=pa.array(carrier, type=pa.string())
    )
    found = summarize_table(tmp_path_factory.mktemp("log"), table)
    there = [value for value in temp if value is not None and value == value]
    assert found.numbers["temp"].missing == len(rows) - len(there)
    assert read_sketch(found.numbers["temp"].sketch).rows == len(there)
    category = found.categories["carrier"]
    assert category.missing == sum(not value for value in carrier)
    assert sum(category.counts.values()) + category.other == len(rows) - category.missing
    assert category.unseen == sum(bool(value) and value not in {"AA", "UA", "DL"} for value in carrier)
    assert survives_json(found)


@pytest.mark.slow
@given(st.integers(0, 2**32 - 1), st.lists(st.integers(1, 400), min_size=1, max_size=6), st.randoms())
@settings(max_examples=20, deadline=None)
def test_a_day_is_the_same_however_its_files_are_cut_and_ordered(
    tmp_path_factory: pytest.TempPathFactory, seed: int, sizes: list[int], order: Any
) -> None:
    folder = tmp_path_factory.mktemp("log")
    table = make_table(sum(sizes), seed=seed)
    whole = summarize_file(write_log(folder / "whole.parquet", table), make_spec(sample=50))
    starts = np.cumsum([0, *sizes]).tolist()
    parts = [
        summarize_file(
            write_log(folder / f"{at}.parquet", table.slice(start, size)), make_spec(sample=50)
        )
        for at, (start, size) in enumerate(zip(starts, sizes, strict=False))
    ]  # fmt: skip
    order.shuffle(parts)
    day = "2026-03-01"
    together = sum_inputs([part.days[day] for part in parts], CAP)
    assert together is not None
    assert count_exactly(together) == count_exactly(whole.days[day])
    assert together.numbers["temp"].total == pytest.approx(whole.days[day].numbers["temp"].total)
    sample = parts[0].samples[day]
    for part in [*parts[1:], parts[0]]:
        sample = add_samples(sample, part.samples[day], 50)
    assert sample.equals(whole.samples[day]), "a file that was counted twice does not change the sample"


def test_addition_is_associative_and_commutative_up_to_the_stated_error(tmp_path: Path) -> None:
    parts = [
        summarize_table(tmp_path, make_table(30_000, seed=seed, temp=np.random.default_rng(seed).gamma(2, 9, 30_000)))
        for seed in (1, 2, 3)
    ]  # fmt: skip
    one, two, three = parts
    left = add_inputs(add_inputs(one, two, CAP), three, CAP)
    right = add_inputs(one, add_inputs(three, two, CAP), CAP)
    assert count_exactly(left) == count_exactly(right)
    truth = np.concatenate(
        [np.random.default_rng(seed).gamma(2, 9, 30_000) for seed in (1, 2, 3)]
    ).astype(np.float32)  # fmt: skip
    points = np.quantile(truth, [0.05, 0.25, 0.5, 0.75, 0.95])
    exact = [np.mean(truth <= point) for point in points]
    for sum_ in (left, right):
        found = read_sketch(sum_.numbers["temp"].sketch).measure_shares(points)
        assert np.abs(found - exact).max() <= 1.5 * RANK_ERROR


def test_a_file_over_midnight_gives_each_day_its_rows(tmp_path: Path) -> None:
    days = ["2026-02-28", "2026-03-01", "2026-03-02"]
    table = make_table(3_000, days=days)
    found = summarize_file(write_log(tmp_path / "log.parquet", table), make_spec())
    stamps = [time[:10] for time in table["prediction:time"].to_pylist()]
    assert {day: inputs.rows for day, inputs in found.days.items()} == {
        day: stamps.count(day) for day in days
    }
    assert {day: len(sample) for day, sample in found.samples.items()} == dict.fromkeys(days, 200)


@pytest.mark.slow
def test_a_burst_of_a_million_equal_rows_is_one_value(tmp_path: Path) -> None:
    rows = 10**6
    found = summarize_table(
        tmp_path,
        make_table(
            1,
            **{"prediction:score": [0.25]},
            temp=[7.0],
            carrier=["AA"],
        ).take(pa.array(np.zeros(rows, dtype=np.int64))),
    )
    assert found.rows == found.hours[next(at for at, count in enumerate(found.hours) if count)] == rows
    assert found.categories["carrier"].counts == {"AA": rows}
    assert (found.numbers["temp"].low, found.numbers["temp"].high) == (7.0, 7.0)
    assert read_sketch(found.numbers["temp"].sketch).find_quantiles([0.01, 0.5, 0.99]).tolist() == [7.0] * 3
    assert found.scores is not None
    assert (max(found.scores.rows), sum(found.scores.rows)) == (rows, rows)


def test_a_column_that_is_new_or_gone_is_counted_where_it_was(tmp_path: Path) -> None:
    without = summarize_table(tmp_path, make_table(10, temp=None))
    with_it = summarize_table(tmp_path, make_table(5))
    assert "temp" not in without.numbers
    for sum_ in (add_inputs(without, with_it, CAP), add_inputs(with_it, without, CAP)):
        assert (sum_.rows, sum_.numbers["temp"].rows, sum_.numbers["temp"].missing) == (15, 5, 0)


@pytest.mark.parametrize(
    ("values", "missing", "total"),
    [
        (pa.array([True, False, None]), 1, 1.0),
        (pa.array([2**62, 1, None], type=pa.int64()), 1, float(2**62 + 1)),
        (pa.array(["1", "2", None]), 3, 0.0),
        (pa.array([None, None, None], type=pa.float64()), 3, 0.0),
        (pa.array([None, None, None]), 3, 0.0),
        (pa.array([float("inf"), float("-inf"), 0.0]), 0, 0.0),
        (pa.array([1e300, 1.0, float("nan")]), 1, float(np.finfo(np.float32).max)),
    ],
)
def test_a_number_of_another_type_is_read_or_missing(
    tmp_path: Path, values: pa.Array, missing: int, total: float
) -> None:
    found = summarize_table(tmp_path, make_table(3, temp=values))
    assert found.numbers["temp"].missing == missing
    assert found.numbers["temp"].total == pytest.approx(total)
    assert survives_json(found)


@pytest.mark.parametrize(
    ("values", "counts"),
    [
        (pa.array([True, False, True]), {"true": 2, "false": 1}),
        (pa.array([7.0, -0.0, 0.0]), {"7": 1, "0": 2}),
        (pa.array([1, 2, None]), {"1": 1, "2": 1}),
        (pa.array([None, None, None]), {}),
    ],
)
def test_a_category_of_another_type_is_named_as_the_pipeline_names_it(
    tmp_path: Path, values: pa.Array, counts: dict[str, int]
) -> None:
    found = summarize_table(tmp_path, make_table(3, carrier=values))
    assert found.categories["carrier"].counts == counts


def test_of_a_personal_column_no_value_leaves_the_host(tmp_path: Path) -> None:
    """Not even where the log keeps it, or has it hashed."""
    secret, hashed = "Ada Lovelace", "5e" * 32
    spec = make_spec(
        numbers=("temp", "age"),
        categories={"carrier": frozenset({"AA"}), "name": frozenset({secret})},
        personal=frozenset({"age", "name"}),
    )
    table = make_table(3, age=[41.5, None, 41.5], name=[secret, hashed, None])
    found = summarize_file(write_log(tmp_path / "log.parquet", table), spec)
    inputs = found.days["2026-03-01"]
    assert (inputs.numbers["age"].rows, inputs.numbers["age"].missing) == (3, 1)
    assert (inputs.categories["name"].rows, inputs.categories["name"].missing) == (3, 1)
    sample = found.samples["2026-03-01"]
    assert {"age", "name", "prediction:id"}.isdisjoint(sample.column_names)
    assert HASH in sample.column_names
    told = msgspec.json.encode(inputs).decode() + str(sample.to_pylist())
    for value in (secret, hashed, "41.5"):
        assert value not in told


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"prediction:score": None}, "is no file of the prediction log: it has no prediction:score"),
        ({"prediction:time": ["yesterday", "2026-03-01T00:00:00Z"]}, "found 'yesterday'"),
        ({"prediction:time": [None, "2026-03-01T00:00:00Z"]}, "found None"),
        ({"prediction:time": ["2026-03-01T24:00:00Z", "2026-03-01T00:00:00Z"]}, "found '2026-03-01T24'"),
        ({"prediction:version": ["v1", "v2"]}, "has rows of more than one version"),
    ],
)
def test_what_is_no_log_is_refused_in_words(tmp_path: Path, columns: dict[str, Any], message: str) -> None:
    path = write_log(tmp_path / "log.parquet", make_table(2, **columns))
    with pytest.raises(summaries.SummaryError, match=message) as error:
        summarize_file(path, make_spec())
    assert str(error.value).startswith("log.parquet: ")


def test_a_half_written_file_and_an_empty_one_are_refused_in_words(tmp_path: Path) -> None:
    path = write_log(tmp_path / "log.parquet", make_table(1_000))
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(summaries.SummaryError, match=r"log\.parquet: cannot be read"):
        summarize_file(path, make_spec())
    with pytest.raises(summaries.SummaryError, match=r"log\.parquet: has no row"):
        summarize_file(write_log(path, make_table(0).cast(make_table(1).schema)), make_spec())


def test_the_same_summary_is_the_same_bytes(tmp_path: Path) -> None:
    found = summarize_table(tmp_path, make_table(100))
    assert survives_json(found)


@pytest.mark.slow
def test_a_day_of_fifteen_columns_is_some_tens_of_kilobytes(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    numbers = tuple(f"n{at}" for at in range(12))
    kinds = {f"c{at}": [f"value {each}" for each in range(size)] for at, size in enumerate((16, 3, 105))}
    spec = make_spec(numbers=numbers, categories={name: frozenset(values) for name, values in kinds.items()})
    table = make_table(
        100_000,
        **{name: random.normal(size=100_000) for name in numbers},
        **{name: random.choice(values, 100_000) for name, values in kinds.items()},
    )
    assert len(msgspec.json.encode(summarize_table(tmp_path, table, spec))) < 90_000
