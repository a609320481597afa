"""Rows that count unlike, from the table to the figures: a row that weighs three is three rows."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from bots.evidence import MetricsReport
from fixtures.flights import Bench
from pipeline import config, evaluate, files, metrics, model, params, search_jobs, table, train
from pipeline.scored_rows import Rows

pytestmark = pytest.mark.filterwarnings("ignore::PendingDeprecationWarning", "ignore::DeprecationWarning")
ROWS = 1500


def make_rows(task: str, seed: int = 2) -> pd.DataFrame:
    """Rows whose `y` depends on `x`, each with a weight from 0 to 3 and a group."""
    rng = np.random.default_rng(seed)
    x, z = rng.normal(size=(2, ROWS)).round(3)
    y: Any = (
        (rng.random(ROWS) < 1 / (1 + np.exp(-2 * x)))
        if task == "classification"
        else x + z + rng.normal(size=ROWS)
    )
    return pd.DataFrame(
        {
            "id": [f"r{at}" for at in range(ROWS)],
            "x": x,
            "z": z,
            "g": rng.choice(["a", "b"], ROWS),
            "w": rng.integers(0, 4, ROWS).astype(float),
            "y": y,
        }
    )


def make_bench(folder: Path, task: str, raw: pd.DataFrame, weight: str | None = "w") -> Bench:
    """A project on these rows, split by the hash of their names."""
    bench = Bench(folder, task)
    number = {"type": "number", "known": "before"}
    columns = {
        "id": {"type": "text", "known": "before"},
        "x": number,
        "z": number,
        "g": {"type": "category", "known": "before"},
        "w": {**number, "nullable": True},
        "y": {"type": "boolean" if task == "classification" else "number", "known": "after"},
    }
    for key, value in (("row", "one"), ("identity", ["id"]), ("time", None), ("columns", columns)):
        bench.edit(f"schema.{key}", value)
    path = folder / "params.yaml"
    document = yaml.safe_load(path.read_text())
    document["data"] |= {"target": "y", "derive": {}, "weight": weight}
    document["split"] = {"by": "random", "holdout_share": 0.4}
    document["features"] = {"numeric": ["x", "z"], "categorical": [], "derived": {}}
    document["model"]["steps"] = [{"columns": "numeric", "use": "passthrough"}]
    linear = {
        "classification": {"use": "sklearn.linear_model.LogisticRegression", "params": {"tol": 1e-10}},
        "regression": {"use": "sklearn.linear_model.LinearRegression"},
    }
    document["model"]["estimator"] = linear[task]
    document["evaluate"] |= {"slices": ["g"], "fairness": ["g"]}
    document["gate"]["resample"] = "rows"
    document["drift"]["period"] = None
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    bench.keep(raw)
    return bench


def run_all(bench: Bench) -> MetricsReport:
    with contextlib.chdir(bench.folder):
        for stage in ("validate", "split", "features", "train", "evaluate"):
            assert bench.run(stage) == 0, (stage, bench.refusal())
        return bench.evidence(MetricsReport)


@pytest.mark.slow
@pytest.mark.parametrize("task", ["classification", "regression"])
def test_a_weight_of_three_is_three_rows_to_the_model_and_in_every_figure(tmp_path: Path, task: str) -> None:
    weighted = make_bench(tmp_path, task, make_rows(task))
    report = run_all(weighted)
    assert report.weight == "w"
    predictions = pd.read_parquet(tmp_path / "reports/predictions.parquet")
    train_rows, holdout = (
        pd.read_parquet(tmp_path / f"data/features/{part}.parquet") for part in ("train", "holdout")
    )
    with contextlib.chdir(tmp_path):
        settings = weighted.settings
        repeated = train_rows.loc[train_rows.index.repeat(train_rows["split:weight"].astype(int))]
        fitted, _ = train.fit(
            model.build_pipeline(settings),
            repeated[["x", "z"]],
            target=repeated["split:target"].to_numpy(),
            settings=settings,
        )
        again = model.predict(fitted, holdout, settings.task)
        np.testing.assert_allclose(predictions["score"], again, atol=1e-6)
        rows = predictions.loc[predictions.index.repeat(predictions["weight"].astype(int))]
        plain = rows.drop(columns="weight").reset_index(drop=True)
        expected = evaluate.build_report(plain, settings)
    for name, value in expected["values"].items():
        assert report.values[name] == pytest.approx(value, rel=1e-9), name
    for found, wanted in zip(report.slices, expected["slices"], strict=True):
        assert (found.target, found.prediction) == pytest.approx((wanted["target"], wanted["prediction"]))
        assert found.metric == pytest.approx(wanted["metric"])
    for bin_, other in zip(report.calibration, expected["calibration"], strict=True):
        assert (bin_.predicted, bin_.observed) == pytest.approx((other["predicted"], other["observed"]))


@pytest.mark.slow
def test_a_weight_of_one_changes_no_byte_of_model_and_predictions(tmp_path: Path) -> None:
    raw = make_rows("classification").assign(w=1.0)
    found = []
    for weight in (None, "w"):
        folder = tmp_path / str(weight)
        folder.mkdir()
        report = run_all(make_bench(folder, "classification", raw, weight))
        predictions = pd.read_parquet(folder / "reports/predictions.parquet")
        found.append((report.values, report.calibration, predictions.drop(columns="weight", errors="ignore")))
    assert found[0][:2] == found[1][:2]
    pd.testing.assert_frame_equal(found[0][2], found[1][2], check_exact=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({0: None, 1: None}, "w: 2 rows with a target say no weight that is a number"),
        ({0: -1.0}, "w: 1 rows with a target have a weight below zero"),
        ({0: float("inf")}, "w: 1 values are not a finite number"),
        (
            dict.fromkeys(range(ROWS), 0.0),
            "w: every row weighs nothing (data.weight), so nothing can be learned",
        ),
    ],
)
def test_weights_that_weigh_nothing_or_less_are_named_before_anything_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, values: dict[int, float | None], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    raw = make_rows("classification")
    for at, value in values.items():
        raw.loc[at, "w"] = value
    bench = make_bench(tmp_path, "classification", raw)
    assert bench.run("validate") == 1
    assert words in bench.refusal()


@pytest.mark.parametrize(
    ("where", "value", "words"),
    [
        ("params.data.weight", "ww", "data.weight: schema.yaml declares no column 'ww' (did you mean 'w'?)"),
        ("params.data.weight", "g", "data.weight: g is a category by schema.yaml; a weight is a number"),
        ("params.data.weight", "x", "data.weight: x is one of the features, too"),
        ("params.features.numeric", ["x", "w"], "data.weight: w is one of the features, too"),
    ],
)
def test_a_column_that_cannot_weigh_rows_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, value: Any, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    bench = make_bench(tmp_path, "classification", make_rows("classification"))
    bench.edit(where, value)
    with pytest.raises(config.ConfigError) as caught:
        table.check_params(bench.settings, bench.schema)
    assert words in str(caught.value)


def test_the_target_does_not_weigh_its_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    bench = make_bench(tmp_path, "regression", make_rows("regression"), weight="y")
    with pytest.raises(config.ConfigError, match=r"data\.weight: y is the target"):
        table.check_params(bench.settings, bench.schema)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("estimator", "named"),
    [
        ({"use": "sklearn.neighbors.KNeighborsClassifier"}, "KNeighborsClassifier"),
        (
            {
                "use": "sklearn.calibration.CalibratedClassifierCV",
                "params": {"estimator": {"use": "sklearn.neighbors.KNeighborsClassifier"}},
            },
            "KNeighborsClassifier",
        ),
        ({"use": "sklearn.discriminant_analysis.LinearDiscriminantAnalysis"}, "LinearDiscriminantAnalysis"),
    ],
)
def test_an_estimator_that_takes_no_weights_is_named_before_it_is_fitted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, estimator: dict[str, Any], named: str
) -> None:
    monkeypatch.chdir(tmp_path)
    bench = make_bench(tmp_path, "classification", make_rows("classification"))
    bench.edit("params.model.estimator", estimator)
    for stage in ("split", "features"):
        assert bench.run(stage) == 0
    assert bench.run("train") == 1
    assert f"data.weight: {named} takes no weights when it is fitted" in bench.refusal()
    assert not files.MODEL.exists()


def test_a_search_fits_and_judges_its_folds_by_the_weights() -> None:
    raw = make_rows("classification")
    weights = raw["w"].to_numpy()
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import Pipeline

    def score(frame: pd.DataFrame, folds: Any, weight: Any) -> float:
        given = search_jobs.Given(
            pipeline=Pipeline([("estimator", LogisticRegression(tol=1e-10))]),
            inputs=frame[["x", "z"]],
            target=frame["y"].to_numpy(),
            scoring="roc_auc",
            candidates=[{}],
            folds=[folds],
            threads=1,
            weights=weight,
        )
        return search_jobs.score_fold(given, 0, 0)

    at = np.arange(ROWS)
    found = score(raw, (at[:900], at[900:]), weights)
    repeated = raw.loc[raw.index.repeat(weights.astype(int))].reset_index(drop=True)
    cut = int(weights[:900].sum())
    rows = np.arange(len(repeated))
    assert found == pytest.approx(score(repeated, (rows[:cut], rows[cut:]), None), abs=1e-6)
    assert found != pytest.approx(score(raw, (at[:900], at[900:]), None), abs=1e-6)


def test_a_slice_whose_rows_weigh_nothing_is_left_out(tmp_path: Path) -> None:
    raw = make_rows("classification")
    raw.loc[raw["g"] == "b", "w"] = 0.0
    report = run_all(make_bench(tmp_path, "classification", raw))
    assert [part.value for part in report.slices] == ["a"]
    assert report.fairness == []


def test_rows_without_weight_average_to_nothing() -> None:
    rows = Rows(target=np.ones(2), score=np.ones(2), weight=np.zeros(2))
    assert metrics.compute("brier", rows, "classification") is None
    assert params.Data(source="x", task="regression", target="y").weight is None
