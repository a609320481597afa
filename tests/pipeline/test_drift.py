"""Drift: a shift is found, the reference's own seasons are no shift, and odd columns are no accident."""

from __future__ import annotations

import importlib
import itertools
import shutil
import warnings
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bots import evidence
from bots.evidence import ColumnDrift, DriftComparison, DriftReport
from fixtures.flights import Bench, sample
from pipeline import drift, features, files, model
from pipeline.params import Drift

ROWS = 3000
SETTINGS = Drift(rows=ROWS, period=None, margin=1.25, floor=0.1)


@pytest.fixture(scope="module", autouse=True)
def _evidently() -> None:
    """Import it once, without what its own dependencies have to say about it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        importlib.import_module("evidently")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with real flights in data/splits and a model, made once."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        bench = Bench(folder)
        for where, value in {
            "params.features": {"numeric": ["temp", "distance"], "categorical": ["carrier"], "derived": {}},
            "params.model.estimator.params": {"max_iter": 5},
            "params.drift": {"rows": ROWS, "period": "month", "margin": 1.25, "floor": 0.1},
        }.items():
            bench.edit(where, value)
        bench.keep(sample(30))
        assert bench.run("split") == 0
        train = rows("train")
        inputs = features.build_inputs(train, bench.settings, bench.schema)
        model.save(model.build_pipeline(bench.settings).fit(inputs, train["late"].astype("float64")))
    return folder


@pytest.fixture
def bench(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.chdir(tmp_path)
    bench = Bench(tmp_path)
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return bench


def rows(part: str) -> pd.DataFrame:
    return files.read_table(files.SPLITS / f"{part}.parquet")


def put(part: str, table: pd.DataFrame) -> None:
    files.write_table(table, files.SPLITS / f"{part}.parquet")


def reported(bench: Bench) -> DriftComparison:
    """What the stage writes."""
    assert bench.run("drift") == 0
    return bench.evidence(DriftReport).comparisons[0]


def verdicts(bench: Bench, current: pd.DataFrame) -> dict[str, ColumnDrift]:
    """These rows against the training rows, without the stage's page."""
    settings, schema, fitted = bench.settings, bench.schema, model.load()
    reference = drift.observe(
        "the training rows", rows("train"), settings=settings, schema=schema, fitted=fitted
    )
    judged = drift.judge_columns(
        reference,
        drift.observe("the rows", current, settings=settings, schema=schema, fitted=fitted),
        settings,
    )
    return {column.verdict["column"]: msgspec.convert(column.verdict, ColumnDrift) for column in judged}


def judge(before: pd.Series, after: pd.Series, **options: Any) -> dict[str, Any]:
    blocks = drift.cut_blocks(len(before), None)
    return drift.judge_column(
        "x", options.get("role", "input"), before=before, after=after, blocks=blocks, settings=SETTINGS
    ).verdict


def normal(seed: int, shift: float = 0.0, count: int = ROWS) -> pd.Series:
    return pd.Series(np.random.default_rng(seed).normal(shift, size=count))


def letters(seed: int, weights: list[float], count: int = ROWS) -> pd.Series:
    return pd.Series(np.random.default_rng(seed).choice(list("abc"), count, p=weights))


def test_identical_rows_do_not_drift(bench: Bench) -> None:
    found = verdicts(bench, rows("train"))
    assert {column.role for column in found.values()} == {"input", "target", "prediction"}
    assert [column.score for column in found.values()] == [0.0] * 5
    assert not any(column.drifted for column in found.values())


def test_a_shifted_column_is_found_and_only_that(bench: Bench) -> None:
    train = rows("train")
    found = verdicts(bench, train.assign(distance=train["distance"] + 1000))
    assert {name for name, column in found.items() if column.drifted and column.role == "input"} == {
        "distance"
    }
    assert not found["late"].drifted


@pytest.mark.slow
@pytest.mark.parametrize("month", range(1, 7))
def test_a_month_of_the_reference_itself_is_no_drift(bench: Bench, month: int) -> None:
    train = rows("train")
    found = verdicts(bench, train[train["month"] == month])
    assert not any(column.drifted for column in found.values())


def test_a_winter_month_would_be_a_false_alarm_without_calibration(bench: Bench) -> None:
    train = rows("train")
    winter = train[train["month"] == 1]
    assert not verdicts(bench, winter)["temp"].drifted
    bench.edit("params.drift.period", None)
    assert verdicts(bench, winter)["temp"].drifted


def test_production_is_held_against_training_in_a_report_and_a_page(bench: Bench) -> None:
    comparison = reported(bench)
    assert comparison.name == "production vs training"
    assert comparison.reference == "3,000 of the training rows"
    assert comparison.reference_rows == len(rows("train"))
    assert comparison.current_rows == len(rows("production"))
    page = drift.PAGE.read_text("utf-8")
    assert "drawDashboard" in page
    for column in comparison.columns:
        assert f"Value Drift for column {column.column}" in page


def test_without_production_the_holdout_is_held_against_training(bench: Bench) -> None:
    put("production", rows("production").iloc[:0])
    assert reported(bench).name == "holdout vs training"


@pytest.mark.slow
def test_the_same_rows_give_the_same_bytes(bench: Bench) -> None:
    outputs = [drift.PAGE, files.REPORTS / "drift.json"]
    reported(bench)
    first = [path.read_bytes() for path in outputs]
    reported(bench)
    assert [path.read_bytes() for path in outputs] == first


def test_our_scores_are_those_of_evidentlys_report(bench: Bench) -> None:
    from evidently import DataDefinition, Dataset, Report
    from evidently.metrics import ValueDrift

    settings, schema = bench.settings, bench.schema
    sides = [
        drift.observe(name, rows(name), settings=settings, schema=schema) for name in ("train", "production")
    ]
    columns = {
        column.verdict["column"]: column for column in drift.judge_columns(sides[0], sides[1], settings)
    }
    numbers = ["temp", "distance"]
    definition = DataDefinition(numerical_columns=numbers, categorical_columns=["carrier", "late"])
    metrics = [ValueDrift(column=name, method=column.method) for name, column in columns.items()]
    reference, current = (
        Dataset.from_pandas(side.values.astype({"carrier": object, "late": object}), definition)
        for side in sides
    )
    report = Report(metrics).run(current, reference).dict()
    theirs = {metric["config"]["column"]: float(metric["value"]) for metric in report["metrics"]}
    assert theirs.keys() == columns.keys()
    for name, column in columns.items():
        assert column.verdict["score"] == pytest.approx(theirs[name], abs=1e-6)


@pytest.mark.slow
def test_a_part_of_the_reference_smaller_than_its_months_does_not_cry_wolf() -> None:
    before = letters(1, [0.5, 0.3, 0.2])
    alarms = [judge(before, letters(seed, [0.5, 0.3, 0.2], count=120))["drifted"] for seed in range(2, 42)]
    assert sum(alarms) <= 2


def test_a_shifted_category_is_found() -> None:
    found = judge(letters(1, [0.5, 0.3, 0.2]), letters(2, [0.2, 0.3, 0.5]))
    assert found["drifted"]
    assert found["method"] == "Jensen-Shannon distance"


@given(shift=st.floats(0.3, 5), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_a_larger_shift_never_has_a_smaller_score(shift: float, seed: int) -> None:
    before = normal(seed, count=500)
    scores = [judge(before, before + by)["score"] for by in (0.0, shift, 2 * shift)]
    assert scores == sorted(scores)
    assert scores[0] == 0.0
    assert scores[1] == pytest.approx(shift / float(np.std(before)), abs=1e-5)


def test_a_column_that_lost_its_values_drifted_though_it_has_no_score() -> None:
    found = judge(normal(1), pd.Series(np.nan, range(ROWS)))
    assert (found["score"], found["drifted"], found["missing_current"]) == (None, True, 1.0)
    assert found["note"] == "missing values rose from 0.0% to 100.0%"


def test_a_rise_of_missing_values_is_drift_even_where_the_rest_is_the_same() -> None:
    after = normal(1)
    after[::3] = np.nan
    found = judge(normal(1), after)
    assert found["drifted"]
    assert found["score"] < found["threshold"]
    assert found["note"] == "missing values rose from 0.0% to 33.3%"


def test_missing_values_that_come_and_go_in_the_reference_are_no_drift() -> None:
    before, after = normal(1), normal(2)
    before[:1000] = np.nan
    after[::2] = np.nan
    blocks = drift.cut_blocks(ROWS, pd.Series(np.repeat([1, 2, 3], 1000)))
    assert (
        drift.judge_column(
            "x", "input", before=before, after=after, blocks=blocks, settings=SETTINGS
        ).verdict["drifted"]
        is False
    )


def test_fewer_missing_values_than_before_are_no_drift() -> None:
    before = normal(1)
    before[::2] = np.nan
    assert not judge(before, normal(1))["drifted"]


@pytest.mark.parametrize(("count", "calibrated"), [(300, False), (3000, True)])
def test_a_threshold_that_no_period_tells_is_called_so(count: int, calibrated: bool) -> None:
    found = judge(normal(1, count=count), normal(2, count=count))
    assert (found["score"] is None, found["calibrated"]) == (False, calibrated)
    told = "cannot be calibrated: no period of the reference has 100 values beside 100 more"
    assert found["note"] == (None if calibrated else told)
    assert calibrated or found["threshold"] == SETTINGS.floor


def test_a_rise_of_missing_values_that_no_period_tells_is_called_so() -> None:
    after = normal(2, count=300)
    after[::2] = np.nan
    found = judge(normal(1, count=300), after)
    told = "missing values rose from 0.0% to 50.0% (no period of the reference tells what is usual)"
    assert (found["drifted"], found["calibrated"], found["note"]) == (True, False, told)


@pytest.mark.parametrize("count", [1, 99])
def test_too_few_values_are_not_judged(count: int) -> None:
    found = judge(normal(1), normal(2, shift=9, count=count))
    assert (found["score"], found["drifted"]) == (None, False)
    assert "fewer than 100 values" in found["note"]


def test_missing_values_of_few_rows_are_not_judged_either() -> None:
    gone = normal(2, count=20)
    gone[:5] = np.nan
    found = judge(normal(1), gone)
    assert (found["drifted"], found["note"]) == (False, "fewer than 100 values on a side: not judged")


def test_labels_that_have_not_arrived_are_not_drift() -> None:
    found = judge(normal(1), pd.Series(np.nan, range(ROWS)), role="target")
    assert not found["drifted"]
    assert found["note"] == "fewer than 100 known labels on a side: not judged"


@pytest.mark.parametrize(("after", "drifted"), [(5.0, False), (6.0, True)])
def test_a_constant_column_drifts_when_its_value_changes(after: float, drifted: bool) -> None:
    found = judge(pd.Series(5.0, range(ROWS)), pd.Series(after, range(ROWS)))
    assert found["drifted"] is drifted


def test_a_column_that_is_constant_in_the_reference_is_compared_as_categories() -> None:
    found = judge(pd.Series(5.0, range(ROWS)), normal(1))
    assert found["drifted"]
    assert found["score"] < 0.84, "the distance is bounded, not a million standard deviations of nothing"


def test_the_column_that_names_the_period_is_shown_but_not_judged(bench: Bench) -> None:
    bench.edit("params.drift.period", "carrier")
    found = verdicts(bench, rows("production"))["carrier"]
    assert (found.score, found.drifted) == (None, False)
    assert "names the period" in (found.note or "")


def test_an_unknown_period_is_refused_with_the_nearest_name(bench: Bench) -> None:
    bench.edit("params.drift.period", "mnth")
    assert bench.run("drift") == 1
    assert (
        "params.yaml: drift.period: the training rows have no column 'mnth' (did you mean 'month'?)"
        in bench.refusal()
    )


@given(st.lists(st.integers(0, 400), min_size=2, max_size=800))
def test_periods_become_few_blocks_that_hold_every_row_once(periods: list[int]) -> None:
    blocks = drift.cut_blocks(len(periods), pd.Series(periods))
    assert sorted(np.concatenate(blocks)) == list(range(len(periods)))
    assert 1 <= len(blocks) <= max(drift.MOST_BLOCKS, drift.RANDOM_BLOCKS)
    if len(set(periods)) > 1:
        values = np.array(periods)
        spans = sorted((values[block].min(), values[block].max()) for block in blocks)
        assert all(one[1] < other[0] for one, other in itertools.pairwise(spans))


def compared(bench: Bench, reference: pd.DataFrame, current: pd.DataFrame) -> dict[str, ColumnDrift]:
    files.write_table(reference, Path("main.parquet"))
    files.write_table(current, Path("candidate.parquet"))
    drift.compare(bench.settings, "main.parquet", current="candidate.parquet", out="out/change.json")
    report = evidence.load(Path("out/change.json"), DriftReport)
    assert report.comparisons[0].name == "candidate's training data vs main's"
    return {column.column: column for column in report.comparisons[0].columns}


def draw_page(current: pd.DataFrame, scores: pd.DataFrame) -> tuple[str, list[ColumnDrift]]:
    """The page and the evidence of a week's sample against the training rows, by the command that the bots run."""
    from pipeline.__main__ import main

    files.write_table(current, Path("week.parquet"))
    files.write_table(scores, Path("predictions.parquet"))
    words = ["compare", "--reference", str(files.SPLITS / "train.parquet"), "--current", "week.parquet"]
    words += ["--scores", "predictions.parquet", "--out", "week.json", "--page", "week.html"]
    assert main([*words, "--reference-name", "training", "--current-name", "<b>v1</b>, one week"]) == 0
    (comparison,) = evidence.load(Path("week.json"), DriftReport).comparisons
    assert comparison.name == "<b>v1</b>, one week vs training"
    return Path("week.html").read_text(encoding="utf-8"), comparison.columns


def test_a_week_of_the_log_is_drawn_beside_training_with_the_predictions_beside_the_holdouts(
    bench: Bench,
) -> None:
    train, chance = rows("train"), np.random.default_rng(1)
    week = train[["temp", "distance", "carrier"]].sample(1_400, random_state=1)
    week["distance"] += 1_000
    week["prediction:score"] = chance.beta(3, 1, len(week))
    # A column of the rows that is called as a table of predictions calls them is none of them.
    week["score"] = chance.beta(1, 3, len(week))
    scores = pd.DataFrame({"row": list("abcd") * 200, "score": chance.beta(1, 3, 800)})
    page, columns = draw_page(week, scores)
    found = {column.column: column for column in columns if column.score is not None}
    assert {name for name, column in found.items() if column.drifted} == {"distance", "predicted late"}
    assert found["predicted late"].role == "prediction"
    assert "&lt;b&gt;v1&lt;/b&gt;, one week vs training</h1>" in page
    assert all(name in page for name in ("distance", "carrier", "predicted late"))


def test_a_week_without_scores_is_drawn_without_them(bench: Bench) -> None:
    week = rows("train")[["temp", "carrier"]].sample(500, random_state=1)
    page, columns = draw_page(week, pd.DataFrame({"row": ["a"]}))
    assert "predicted late" not in {column.column for column in columns}
    assert "predicted late" not in page


def test_two_versions_of_the_data_are_compared_without_a_model(bench: Bench) -> None:
    raw = sample(30)
    found = compared(bench, raw, raw.assign(distance=raw["distance"] * 3))
    assert {name for name, column in found.items() if column.drifted} == {"distance"}
    assert found["late"].role == "target", "derived from the raw columns on both sides"
    assert not (files.REPORTS / "drift.json").exists()


def test_a_column_that_one_version_lacks_is_told_apart_from_drift(bench: Bench) -> None:
    raw = sample(30).drop(columns=["late"], errors="ignore")
    found = compared(bench, raw.drop(columns=["carrier"]), raw.drop(columns=["temp"]).assign(gust=1.0))
    assert (found["temp"].drifted, found["temp"].note) == (
        True,
        "the candidate's training rows have no such column",
    )
    assert (found["carrier"].drifted, found["carrier"].note) == (
        False,
        "main's training rows have no such column",
    )
    assert (found["gust"].drifted, found["gust"].score) == (False, None)
    assert "no input of this model" in (found["gust"].note or "")


@pytest.mark.slow
def test_hostile_categories_cannot_end_the_pages_script(bench: Bench) -> None:
    production = rows("production")
    hostile = np.resize(["</script><script>alert(1)</script>", "B"], len(production))
    put("production", production.assign(carrier=hostile))
    assert any(column.drifted for column in reported(bench).columns if column.column == "carrier")
    page = drift.PAGE.read_text("utf-8")
    assert "alert(1)" in page
    assert "<script>alert(1)" not in page
    assert "</script><script>alert" not in page


def test_a_page_is_written_even_when_nothing_could_be_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    files.REPORTS.mkdir()
    drift.write_page([])
    assert "No column was judged" in drift.PAGE.read_text("utf-8")


@pytest.mark.slow
def test_names_from_elsewhere_always_fit_the_evidence(bench: Bench) -> None:
    raw = sample(60)
    found = compared(bench, raw, raw.assign(**{"x" * 300: 1.0, "": 2.0}))
    assert {"x" * 200, "(no name)"} <= found.keys()


@pytest.mark.parametrize(("longer", "drifted"), [(0, False), (30, True)])
def test_free_text_is_compared_by_its_number_of_words(bench: Bench, longer: int, drifted: bool) -> None:
    chosen = msgspec.structs.replace(bench.settings.features, numeric=[], categorical=[], text=["said"])
    settings = msgspec.structs.replace(bench.settings, features=chosen)
    rng = np.random.default_rng(4)

    def draw(name: str, longer: int) -> drift.Side:
        counts = rng.integers(5, 40, ROWS) + longer
        texts = [" ".join(f"word{one}" for one in rng.integers(0, 9_000, count)) for count in counts]
        values = pd.DataFrame({"said": pd.Series(texts, dtype="str")})
        return drift.Side(name, ROWS, ["said"], values, None)

    (column,) = drift.judge_columns(draw("before", 0), draw("after", longer), settings)
    assert (column.verdict["drifted"], column.verdict["note"]) == (drifted, drift.WORDS)
    assert (column.verdict["method"], column.verdict["missing_current"]) == (drift.METHODS["wasserstein"], 0)
