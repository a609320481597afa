"""The ONNX model: from raw columns to the score, alike on every row of the holdout, or an honest reason why not."""

from __future__ import annotations

import json
import shutil
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import QuantileTransformer

from bots import evidence
from pipeline import export, files

if TYPE_CHECKING:
    from fixtures import flights

ONEHOT = {
    "columns": "categorical",
    "use": "sklearn.preprocessing.OneHotEncoder",
    "params": {"handle_unknown": "ignore"},
}
ORDINAL = {
    "columns": "categorical",
    "use": "sklearn.preprocessing.OrdinalEncoder",
    "params": {"handle_unknown": "use_encoded_value", "unknown_value": -1},
}
IMPUTED = {"columns": "numeric", "use": "sklearn.impute.SimpleImputer"}
PLAIN = {"columns": "numeric", "use": "passthrough"}


def exported(
    bench: flights.Bench, steps: list[dict[str, Any]] | None = None, **estimator: Any
) -> evidence.ExportReport:
    """What the stage says of a model that is trained anew if one is given."""
    if steps:
        bench.edit("params.model.steps", steps)
    if estimator:
        bench.edit("params.model.estimator", estimator)
        for stage in ("train", "evaluate"):
            assert bench.run(stage) == 0, bench.refusal()
    assert bench.run("export") == 0
    return bench.evidence(evidence.ExportReport)


def test_the_default_model_answers_alike_on_every_row(bench: flights.Bench) -> None:
    report = exported(bench)
    assert report.exported
    assert report.passed
    assert report.rows == len(pd.read_parquet(files.PREDICTIONS))
    assert report.largest_difference is not None
    assert report.largest_difference < 1e-6
    assert report.flips == 0
    assert report.digest == files.digest_file(files.ONNX)


def test_the_default_regression_answers_alike_on_every_row(minutes: flights.Bench) -> None:
    report = exported(minutes)
    assert report.passed
    assert report.flips is None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("use", "params"),
    [
        ("sklearn.ensemble.RandomForestClassifier", {"n_estimators": 10, "max_depth": 8}),
        ("sklearn.linear_model.LogisticRegression", {"max_iter": 500, "tol": 0.01}),
        ("sklearn.ensemble.GradientBoostingClassifier", {"n_estimators": 10}),
        (
            "sklearn.calibration.CalibratedClassifierCV",
            {
                "estimator": {"use": "sklearn.tree.DecisionTreeClassifier", "params": {"max_depth": 4}},
                "cv": 2,
            },
        ),
    ],
)
def test_other_classifiers_answer_alike(bench: flights.Bench, use: str, params: dict[str, Any]) -> None:
    scaled = {"columns": ["weekday", "minute_of_day"], "use": "sklearn.preprocessing.MinMaxScaler"}
    imputed = {**IMPUTED, "columns": ["visib", "dew_gap"]}
    report = exported(bench, [ONEHOT, imputed, scaled], use=use, params=params)
    assert (report.reason, report.passed) == (None, True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("use", "params"),
    [
        ("sklearn.linear_model.Ridge", {}),
        ("sklearn.ensemble.RandomForestRegressor", {"n_estimators": 5, "max_depth": 6}),
        ("sklearn.ensemble.GradientBoostingRegressor", {"n_estimators": 10}),
    ],
)
def test_other_regressors_answer_alike(minutes: flights.Bench, use: str, params: dict[str, Any]) -> None:
    report = exported(minutes, [ORDINAL, IMPUTED], use=use, params=params)
    assert (report.reason, report.passed) == (None, True)


def test_the_file_takes_raw_columns_and_says_what_they_are(bench: flights.Bench) -> None:
    exported(bench)
    session = onnxruntime.InferenceSession(files.ONNX, providers=["CPUExecutionProvider"])
    properties = session.get_modelmeta().custom_metadata_map
    assert properties["task"] == "classification"
    assert float(properties["threshold"]) == 0.3
    inputs = json.loads(properties["inputs"])
    assert [entry["name"] for entry in inputs] == bench.settings.features.raw
    assert properties["binding"] == "position"
    assert [one.name for one in session.get_inputs()] == [f"input_{at}" for at in range(len(inputs))]
    assert {entry["kind"] for entry in inputs} == {"number", "category"}
    assert [(one.name, one.shape, one.type) for one in session.get_outputs()] == [
        ("score", [None], "tensor(float)")
    ]
    onnx.checker.check_model(onnx.load(files.ONNX))


def test_one_row_with_missing_and_unknown_values_is_answered_like_scikit_learn(bench: flights.Bench) -> None:
    exported(bench)
    from pipeline import model

    features = bench.settings.features
    row = {name: [np.nan] for name in features.numeric} | {
        name: ["never seen"] for name in features.categorical
    }
    frame = pd.DataFrame(row).astype(dict.fromkeys(features.numeric, "float32"))
    expected = model.predict(model.load(), frame, "classification")
    found = export.run_model(files.ONNX.read_bytes(), frame, features)
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.slow
def test_a_feature_called_score_keeps_its_name(bench: flights.Bench) -> None:
    for name in ("train", "holdout"):
        path = files.FEATURES / f"{name}.parquet"
        files.write_table(files.read_table(path).rename(columns={"temp": "score"}), path)
    bench.edit(
        "schema.columns.score", {"type": "number", "known": "before", "nullable": True, "missing": 0.05}
    )
    bench.edit("params.features.numeric", ["score", "hour"])
    bench.edit("params.features.derived", {"double": "score * 2"})
    report = exported(bench, use="sklearn.ensemble.HistGradientBoostingClassifier", params={"max_iter": 3})
    assert report.passed


@pytest.mark.slow
def test_an_estimator_without_conversion_is_named_and_leaves_no_model(
    bench: flights.Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    exported(bench)
    shutil.rmtree(files.ONNX.parent)  # as in a fresh checkout; DVC calls a stage failed that does not make it
    params = {"kernel": "knn", "n_neighbors": 3}
    small = {**IMPUTED, "columns": ["hour"]}
    for name in ("train", "holdout"):
        path = files.FEATURES / f"{name}.parquet"
        files.write_table(files.read_table(path).head(300), path)
    report = exported(bench, [small], use="sklearn.semi_supervised.LabelSpreading", params=params)
    assert not report.exported
    assert not report.passed
    assert report.step == "estimator (LabelSpreading)"
    assert report.reason is not None
    assert report.reason == (
        "skl2onnx has no converter for LabelSpreading, so no service can run it; use another class in params.yaml"
    )
    assert (
        "WARNING: export: no ONNX model was written, so nothing can be deployed: " in capsys.readouterr().err
    )
    assert files.ONNX.parent.is_dir()
    assert not files.ONNX.exists()


def test_a_transformer_without_conversion_is_named(bench: flights.Bench) -> None:
    sampler = {"columns": ["hour", "minute"], "use": "sklearn.kernel_approximation.RBFSampler"}
    report = exported(
        bench, [ORDINAL, sampler], use="sklearn.tree.DecisionTreeClassifier", params={"max_depth": 3}
    )
    assert not report.exported
    assert report.step == "rbfsampler (RBFSampler)"
    assert report.reason is not None
    assert "RBFSampler" in report.reason


def test_a_transformer_without_conversion_is_named_behind_derived_columns(bench: flights.Bench) -> None:
    sampler = {"columns": ["minute_of_day"], "use": "sklearn.kernel_approximation.RBFSampler"}
    report = exported(
        bench, [ORDINAL, sampler], use="sklearn.tree.DecisionTreeClassifier", params={"max_depth": 3}
    )
    assert report.step == "rbfsampler (RBFSampler)"


@pytest.mark.slow
def test_a_model_that_answers_otherwise_fails_parity_and_says_how_often(
    bench: flights.Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    predictions = files.read_table(files.PREDICTIONS)
    predictions.loc[:9, "score"] = 1 - predictions.loc[:9, "score"]
    files.write_table(predictions, files.PREDICTIONS)
    report = exported(bench)
    assert report.exported
    assert not report.passed
    assert report.step == "parity"
    assert report.reason is not None
    assert report.reason.startswith("the two differ by more than 0.0001 in 10 of ")
    assert (
        "WARNING: export: the ONNX model does not answer like scikit-learn: the two"
        in capsys.readouterr().err
    )
    assert report.flips is not None
    assert report.flips > 0
    assert files.ONNX.exists()


def test_predictions_of_other_rows_are_refused(bench: flights.Bench) -> None:
    files.write_table(files.read_table(files.PREDICTIONS).iloc[1:], files.PREDICTIONS)
    assert bench.run("export") == 1
    assert "does not list the rows" in bench.refusal()


@pytest.mark.slow
def test_the_default_model_requires_nothing_and_was_asked_beyond_the_holdout(bench: flights.Bench) -> None:
    report = exported(bench)
    assert (report.required, report.closed) == ([], [])
    assert report.asked is not None
    assert report.asked > 1000


def test_quantiles_that_would_be_converted_for_hours_are_refused_at_once_with_what_to_do(
    bench: flights.Bench,
) -> None:
    many = {"columns": ["hour"], "use": "sklearn.preprocessing.QuantileTransformer"}
    report = exported(bench, [many], use="sklearn.linear_model.LogisticRegression", params={"tol": 0.01})
    assert (report.exported, report.step) == (False, "quantiletransformer (QuantileTransformer)")
    assert report.reason == (
        "to write 1,000 quantiles as ONNX takes from minutes to hours; say `n_quantiles: 64` at most in its params, or "
        "use sklearn.preprocessing.PowerTransformer"
    )


@pytest.mark.parametrize(("count", "refused"), [(65, True), (64, False)])
def test_quantiles_within_a_pipeline_of_steps_are_counted_too(count: int, refused: bool) -> None:
    spread = make_pipeline(SimpleImputer(), QuantileTransformer(n_quantiles=count))
    pipeline = make_pipeline(ColumnTransformer([("spread", spread, [0])]))
    pipeline.fit(np.random.default_rng(0).normal(size=(200, 1)))
    with pytest.raises(export.NotExportable, match="to write 65 quantiles") if refused else nullcontext():
        export.refuse_slow_parts(pipeline)


@pytest.mark.slow
def test_what_a_linear_model_cannot_answer_is_required_or_closed(bench: flights.Bench) -> None:
    strict = {**ONEHOT, "columns": ["carrier"], "params": {}}
    scaled = {"columns": ["hour", "distance"], "use": "sklearn.preprocessing.StandardScaler"}
    report = exported(bench, [strict, scaled], use="sklearn.linear_model.LogisticRegression", params={})
    assert (report.passed, report.reason) == (True, None)
    assert report.required == ["hour", "distance", "carrier"]
    assert report.closed == ["carrier"]
    described = json.loads(files.ONNX.with_name("contract.json").read_text())["inputs"]
    assert [one["name"] for one in described if one["required"]] == report.required
    assert [one["name"] for one in described if one["closed"]] == report.closed
