"""The model: what params.yaml may ask for, the bytes that are kept, and what is refused with which words."""

from __future__ import annotations

import io
import re
import sys
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer

from bots import evidence
from fixtures import flights
from pipeline import files, model, score, train
from pipeline.files import StageError

if TYPE_CHECKING:
    from pathlib import Path

FOREST = "sklearn.ensemble.RandomForestClassifier"
ENCODER = "sklearn.preprocessing.OrdinalEncoder"
HGB = "sklearn.ensemble.HistGradientBoostingClassifier"


def refusal(bench: flights.Bench) -> str:
    with pytest.raises(StageError) as refused:
        model.build_pipeline(bench.settings)
    return str(refused.value)


def square(values: Any) -> Any:
    return values**2


# What params.yaml may ask for


def test_the_default_model_sees_raw_and_derived_columns_by_their_names(bench: flights.Bench) -> None:
    settings = bench.settings
    loaded = model.load()
    wanted = [*settings.features.categorical, *settings.features.numeric, *settings.features.derived]
    assert list(loaded[:-1].get_feature_names_out()) == wanted
    assert list(loaded.feature_names_in_) == settings.features.raw


def test_a_step_may_name_derived_columns_alone(bench: flights.Bench) -> None:
    steps = [{"columns": ["dew_gap", "visib"], "use": "sklearn.preprocessing.StandardScaler"}]
    bench.edit("params.model.steps", steps)
    pipeline = model.build_pipeline(bench.settings)
    frame = pd.DataFrame(np.float32(0), range(2), bench.settings.features.raw)
    frame = frame.assign(temp=[50, 60], dewp=[40.0, 30.0], visib=[1.0, 3.0])
    prepared = pipeline[0].fit_transform(frame)
    np.testing.assert_allclose(prepared, [[-1, -1], [1, 1]])
    assert list(pipeline[0].get_feature_names_out()) == ["dew_gap", "visib"]


def test_two_steps_may_share_a_column(bench: flights.Bench) -> None:
    scaler = {"columns": "numeric", "use": "sklearn.preprocessing.StandardScaler"}
    bench.edit("params.model.steps", [scaler, {"columns": "numeric", "use": "passthrough"}, scaler])
    assert [name for name, _, _ in model.build_pipeline(bench.settings)[0].transformers] == [
        "standardscaler",
        "passthrough",
        "standardscaler-2",
    ]


def test_an_estimator_may_hold_another_one(bench: flights.Bench) -> None:
    inner = {"use": FOREST, "params": {"n_estimators": 3}}
    bench.edit(
        "params.model.estimator",
        {"use": "sklearn.calibration.CalibratedClassifierCV", "params": {"estimator": inner}},
    )
    estimator = model.build_pipeline(bench.settings)[-1]
    assert isinstance(estimator.estimator, RandomForestClassifier)
    assert estimator.estimator.random_state == bench.settings.model.seed


@pytest.mark.parametrize(
    ("use", "params", "words"),
    [
        (
            "sklearn.ensemble.RandomForrestClassifier",
            {},
            "did you mean sklearn.ensemble.RandomForestClassifier?",
        ),
        (
            "sklearn.forest.RandomForestClassifier",
            {},
            "did you mean sklearn.ensemble.RandomForestClassifier?",
        ),
        ("RandomForestClassifier", {}, "did you mean sklearn.ensemble.RandomForestClassifier?"),
        (
            "HistGradientBoostingClasifier",
            {},
            "did you mean sklearn.ensemble.HistGradientBoostingClassifier?",
        ),
        ("RandomForest", {}, "did you mean sklearn.ensemble.RandomForestClassifier?"),
        (FOREST, {"n_estimator": 5}, "no parameter 'n_estimator'; did you mean n_estimators?"),
        (
            "sklearn.ensemble.RandomForestRegressor",
            {},
            "is no classifier, but data.task is classification; did you mean sklearn.ensemble.RandomForestClassifier?",
        ),
        ("sklearn.svm.LinearSVC", {}, "gives no probabilities"),
        ("os.system", {}, "is no estimator"),
        (HGB, {"categorical_features": [0]}, "wrong SHAP explanations"),
    ],
)
def test_an_estimator_that_cannot_be_is_refused_with_what_to_do(
    bench: flights.Bench, use: str, params: dict[str, Any], words: str
) -> None:
    bench.edit("params.model.estimator", {"use": use, "params": params})
    message = refusal(bench)
    assert words in message
    assert "params.yaml: model.estimator" in message


@pytest.mark.slow
def test_a_classifier_of_classifiers_is_asked_once_fitted_and_its_types_are_trusted(
    bench: flights.Bench,
) -> None:
    stacking: dict[str, Any] = {
        "use": "sklearn.ensemble.StackingClassifier",
        "params": {
            "estimators": [
                ["tree", {"use": "sklearn.tree.DecisionTreeClassifier", "params": {"max_depth": 3}}],
                ["forest", {"use": FOREST, "params": {"n_estimators": 3, "max_depth": 3}}],
            ],
            "final_estimator": {"use": "sklearn.linear_model.LogisticRegression"},
            "cv": 2,
        },
    }
    bench.edit("params.model.estimator", stacking)
    assert bench.run("train") == 0, bench.refusal()
    assert model.load().predict_proba
    del stacking["params"]["final_estimator"]
    bench.edit("params.model.estimator", stacking)
    assert bench.run("train") == 0, bench.refusal()


@pytest.mark.parametrize(
    ("use", "params", "edit"),
    [
        ("sklearn.svm.SVC", {}, "wrap it: use sklearn.calibration.CalibratedClassifierCV"),
        ("sklearn.linear_model.SGDClassifier", {}, "wrap it: use sklearn.calibration.CalibratedClassifierCV"),
        (
            "sklearn.ensemble.VotingClassifier",
            {"estimators": [["a", {"use": "sklearn.tree.DecisionTreeClassifier"}]]},
            "set its parameter voting: soft",
        ),
        (
            "sklearn.ensemble.StackingClassifier",
            {
                "estimators": [["a", {"use": "sklearn.tree.DecisionTreeClassifier"}]],
                "final_estimator": {"use": "sklearn.svm.LinearSVC"},
            },
            "wrap it: use sklearn.calibration.CalibratedClassifierCV",
        ),
    ],
)
def test_a_classifier_without_probabilities_is_told_the_edit_that_gives_them(
    bench: flights.Bench, use: str, params: dict[str, Any], edit: str
) -> None:
    bench.edit("params.model.estimator", {"use": use, "params": params})
    message = refusal(bench)
    assert message.startswith(f"params.yaml: model.estimator: {use} gives no probabilities; {edit}")
    better = {"voting": "soft"} if "voting" in edit else None
    wrapped = {
        "use": "sklearn.calibration.CalibratedClassifierCV",
        "params": {"estimator": {"use": use, "params": params}},
    }
    bench.edit("params.model.estimator", {"use": use, "params": params | better} if better else wrapped)
    model.build_pipeline(bench.settings)


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ([{"columns": ["carier"], "use": ENCODER}], "no feature named 'carier'; did you mean carrier?"),
        ([{"columns": ["carrier", "temp"], "use": ENCODER}], "mixes numeric and categorical"),
        ([{"columns": "numeric", "use": "sklearn.linear_model.Ridge"}], "is no transformer"),
        ([], "no step uses a column"),
    ],
)
def test_a_step_that_cannot_be_is_refused(bench: flights.Bench, steps: list[Any], words: str) -> None:
    bench.edit("params.model.steps", steps)
    assert words in refusal(bench)


def test_a_derived_column_reads_numeric_features_only(bench: flights.Bench) -> None:
    bench.edit("params.features.derived", {"odd": "carrier * 2"})
    assert "'carrier' is no numeric feature" in refusal(bench)
    bench.edit("params.features.derived", {"odd": "tmp * 2"})
    assert "did you mean temp?" in refusal(bench)


def test_a_wrong_value_is_refused_in_scikit_learns_words(bench: flights.Bench) -> None:
    bench.edit("params.model.estimator.params", {"max_iter": -5})
    assert bench.run("train") == 1
    assert "'max_iter' parameter" in bench.refusal()


def test_a_model_that_takes_no_missing_values_says_so(bench: flights.Bench) -> None:
    bench.edit("params.model.estimator", {"use": "sklearn.linear_model.LogisticRegression"})
    assert bench.run("train") == 1
    assert "NaN" in bench.refusal()


# Training


def test_training_leaves_evidence_of_what_was_trained(bench: flights.Bench) -> None:
    report = bench.evidence(evidence.TrainingReport)
    assert report.estimator == HGB
    assert report.parameters["max_iter"] == "20"
    assert report.parameters["random_state"] == "7"
    assert report.rows == len(files.read_table(train.TRAIN))
    assert set(report.environment) == {"python", "scikit-learn", "numpy", "pandas", "skops"}
    assert any("minute_of_day" in step for step in report.steps)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([1.0], "only the value 1"),
        ([0.0, 1.0, 2.0], "3 values"),
        ([0.0, 1.0, np.nan], "is missing in"),
        ([-1.0, 1.0], "expected false and true"),
    ],
)
def test_a_target_that_is_no_yes_or_no_is_refused(
    bench: flights.Bench, values: list[float], words: str
) -> None:
    frame = files.read_table(train.TRAIN)
    frame[files.TARGET] = np.resize(values, len(frame))
    files.write_table(frame, train.TRAIN)
    before = files.MODEL.read_bytes()
    assert bench.run("train") == 1
    assert words in bench.refusal()
    assert files.MODEL.read_bytes() == before


@pytest.mark.slow
def test_a_search_finds_better_parameters_by_time_order_and_reports_them(bench: flights.Bench) -> None:
    choices = {"estimator__max_iter": [1, 20], "estimator__learning_rate": [1e-6, 0.1]}
    bench.edit("params.model.search", {"iterations": 9, "folds": 2, "params": choices})
    assert bench.run("train") == 0
    search = bench.evidence(evidence.TrainingReport).search
    assert search is not None
    assert search["estimator__learning_rate"] == "0.1"
    assert search["tried"] == "4"
    assert search["folds"] == "2 by time"
    assert model.load()[-1].learning_rate == 0.1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "by", "words"),
    [
        ("classification", "group", "by group"),
        ("regression", "group", "by group"),
        ("regression", "random", "shuffled"),
    ],
)
def test_a_search_is_judged_on_folds_that_part_the_rows_as_the_split_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: str, by: str, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    bench = flights.Bench(tmp_path, task)
    bench.keep(flights.sample(256))
    bench.edit("params.split.by", by)
    bench.edit("params.split.column", "dest")
    for name in ("train", "holdout", "production"):
        bench.edit(f"params.split.{name}", [None, None])
    bench.edit(
        "params.model.search", {"iterations": 2, "folds": 3, "params": {"estimator__max_iter": [1, 2]}}
    )
    assert [bench.run(stage) for stage in ("split", "features")] == [0, 0]
    frame = files.read_table(train.TRAIN)
    told, folds = train._choose_folds(bench.settings, 3)
    groups = frame.get(files.GROUP)
    assert (groups is not None) is (by == "group")
    inputs = frame[bench.settings.features.raw]
    for fitted, judged in folds.split(inputs, frame[files.TARGET] > 0, groups):
        if groups is not None:
            assert not set(groups.iloc[fitted]) & set(groups.iloc[judged])
            assert set(groups.iloc[judged])
    assert bench.run("train") == 0
    assert told == words
    search = bench.evidence(evidence.TrainingReport).search
    assert search is not None
    assert search["folds"] == f"3 {words}"


def test_a_search_over_an_unknown_parameter_is_refused(bench: flights.Bench) -> None:
    bench.edit("params.model.search", {"iterations": 2, "params": {"estimator__max_itr": [1]}})
    assert bench.run("train") == 1
    assert "did you mean estimator__max_iter?" in bench.refusal()


def test_a_missing_dask_scheduler_is_refused(bench: flights.Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", "tcp://127.0.0.1:9")
    bench.edit("params.model.search", {"iterations": 1, "params": {"estimator__max_iter": [2]}})
    assert bench.run("train") == 1
    assert "DASK_SCHEDULER_ADDRESS" in bench.refusal()


def test_threads_are_not_part_of_the_model(bench: flights.Bench) -> None:
    bench.edit(
        "params.model.estimator",
        {"use": "sklearn.ensemble.ExtraTreesClassifier", "params": {"n_estimators": 4, "n_jobs": 2}},
    )
    assert bench.run("train") == 0
    assert model.load()[-1].n_jobs is None


# The file


def test_a_canonical_file_holds_neither_addresses_nor_dates(bench: flights.Bench) -> None:
    with zipfile.ZipFile(files.MODEL) as archive:
        members = archive.infolist()
        schema = archive.read("schema.json").decode()
    assert {member.date_time for member in members} == {(1980, 1, 1, 0, 0, 0)}
    arrays = [member.filename for member in members if member.filename.endswith(".npy")]
    assert arrays == [f"{number}.npy" for number in range(len(arrays))]
    ids = {int(number) for number in re.findall(r'"__id__":(\d+)', schema)}
    assert ids == set(range(len(ids)))


def test_sets_are_kept_in_one_order_whatever_the_process() -> None:
    one, other = {0, 8}, {8, 0}  # equal, but they collide in the hash table: the first one in stands first
    assert list(one) != list(other)
    kept = [_dumped(make_pipeline(FunctionTransformer(kw_args={"words": words}))) for words in (one, other)]
    assert model.make_canonical(kept[0]) == model.make_canonical(kept[1])


def _dumped(pipeline: Pipeline) -> bytes:
    from skops import io as skops

    return bytes(skops.dumps(pipeline))


def test_a_loaded_model_predicts_what_the_fitted_one_did(bench: flights.Bench) -> None:
    settings = bench.settings
    frame = files.read_table(train.TRAIN).dropna().head(1000)
    fitted, _ = train.fit(
        model.build_pipeline(settings),
        frame[settings.features.raw],
        target=frame[files.TARGET].to_numpy(),
        settings=settings,
    )
    model.save(fitted)
    again = model.predict(model.load(), frame, "classification")
    np.testing.assert_array_equal(again, fitted.predict_proba(frame[settings.features.raw])[:, 1])


def test_a_type_that_nobody_trusts_is_refused_by_name_when_saved_and_when_loaded(
    bench: flights.Bench,
) -> None:
    pipeline = make_pipeline(FunctionTransformer(square), LogisticRegression()).fit(
        np.array([[0.0], [1.0]]), [0, 1]
    )
    name = f"{square.__module__}.square"
    with pytest.raises(StageError, match=name):
        model.save(pipeline)
    model.save(pipeline, trusted=[name])
    with pytest.raises(StageError, match=f"not trusted: {name}"):
        model.load()


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_a_truncated_model_is_refused_with_what_to_do(bench: flights.Bench, share: float) -> None:
    data = files.MODEL.read_bytes()
    files.MODEL.write_bytes(data[: int(len(data) * share)])
    assert bench.run("evaluate") == 1
    assert "models/model.skops: damaged" in bench.refusal()
    assert "dvc checkout" in bench.refusal()


def test_a_model_with_one_wrong_byte_is_refused(bench: flights.Bench) -> None:
    data = bytearray(files.MODEL.read_bytes())
    data[len(data) // 2] ^= 0xFF
    files.MODEL.write_bytes(data)
    with pytest.raises(StageError, match="damaged"):
        model.load()


def test_a_missing_model_is_refused(bench: flights.Bench) -> None:
    files.MODEL.unlink()
    assert bench.run("evaluate") == 1
    assert "no model yet" in bench.refusal()


# Predictions


def test_scoring_raw_rows_gives_what_the_evaluation_saw(bench: flights.Bench) -> None:
    score.run(bench.settings, "data/splits/holdout.parquet", "out/scores.parquet")
    scores = pd.read_parquet("out/scores.parquet")
    judged = pd.read_parquet(files.PREDICTIONS)
    assert list(scores.columns) == ["row", "score"]
    pd.testing.assert_frame_equal(scores, judged[["row", "score"]])


def test_scoring_keeps_the_order_of_the_rows(bench: flights.Bench) -> None:
    rows = pd.read_parquet("data/splits/holdout.parquet").iloc[::-1]
    files.write_table(rows, bench.folder / "backwards.parquet")
    score.run(bench.settings, "backwards.parquet", "scores.parquet")
    judged = pd.read_parquet(files.PREDICTIONS).iloc[::-1].reset_index(drop=True)
    pd.testing.assert_frame_equal(pd.read_parquet("scores.parquet"), judged[["row", "score"]])


def test_rows_without_names_are_refused(bench: flights.Bench) -> None:
    rows = pd.read_parquet("data/splits/holdout.parquet").drop(columns="split:row")
    files.write_table(rows, bench.folder / "nameless.parquet")
    with pytest.raises(StageError, match=r"nameless\.parquet: expected a column 'split:row' \(or 'row'\)"):
        score.run(bench.settings, "nameless.parquet", "scores.parquet")


def test_no_rows_give_no_scores(bench: flights.Bench) -> None:
    frame = files.read_table(train.TRAIN).head(0)
    assert model.predict(model.load(), frame, "classification").shape == (0,)


def test_a_column_that_is_gone_is_named(bench: flights.Bench) -> None:
    frame = files.read_table(train.TRAIN).drop(columns=["temp", "carrier"])
    with pytest.raises(StageError, match="lack columns that the model was trained on: temp, carrier"):
        model.predict(model.load(), frame, "classification")


def test_padding_inside_records_does_not_reach_the_file() -> None:
    kind = np.dtype([("a", "u1"), ("b", "f8")], align=True)
    noisy = np.frombuffer(b"\x01" + b"\xaa" * 7 + np.float64(2.5).tobytes(), dtype=kind)
    clean = np.zeros(1, dtype=kind)
    clean["a"], clean["b"] = 1, 2.5
    pipelines = [make_pipeline(FunctionTransformer(kw_args={"x": array})) for array in (noisy, clean)]
    one, other = (model.make_canonical(_dumped(pipeline)) for pipeline in pipelines)
    assert one == other
    with zipfile.ZipFile(io.BytesIO(one)) as archive:
        np.testing.assert_array_equal(np.load(io.BytesIO(archive.read("0.npy"))), clean)
