"""Explanations: they add up, point the right way, name features that people know, and stay affordable."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, PolynomialFeatures, StandardScaler
from sklearn.svm import SVC

from bots.evidence import ExplanationReport
from fixtures.flights import Bench, settings_with
from pipeline import effort, explain, files, model
from pipeline.params import Estimator, Features, Params, Step

ROWS = 1500
FEATURES = Features(numeric=["up", "down", "noise"], categorical=["kind"], derived={"rise": "up * 2"})
ORDINAL = Step("categorical", "sklearn.preprocessing.OrdinalEncoder")
ONE_HOT = Step("categorical", "sklearn.preprocessing.OneHotEncoder")
SCALED = Step("numeric", "sklearn.preprocessing.StandardScaler")
AS_IT_IS = Step("numeric", "passthrough")
HGB = Estimator("sklearn.ensemble.HistGradientBoostingClassifier", {"max_iter": 30})
HGB_REGRESSOR = Estimator("sklearn.ensemble.HistGradientBoostingRegressor", {"max_iter": 30})
FOREST = Estimator("sklearn.ensemble.RandomForestClassifier", {"n_estimators": 20})
LOGISTIC = Estimator("sklearn.linear_model.LogisticRegression")


def inputs(seed: int = 1) -> pd.DataFrame:
    """Rows in which `up` raises the outcome, `down` lowers it, kind `b` raises it, and `noise` does nothing."""
    rng = np.random.default_rng(seed)
    numbers = rng.normal(size=(ROWS, 3)).astype("float32")
    frame = pd.DataFrame(
        numbers, columns=FEATURES.numeric, index=[f"r{number:04d}" for number in range(ROWS)]
    )
    return frame.assign(kind=rng.choice(["a", "b", "c"], ROWS)).rename_axis(files.ROW_NAME)


def outcome(frame: pd.DataFrame) -> pd.Series:
    return 3 * frame["up"] - 2 * frame["down"] + 1.0 * (frame["kind"] == "b")


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.chdir(tmp_path)
    return Bench(tmp_path)


def with_model(bench: Bench, steps: list[Step], estimator: Estimator, task: str = "classification") -> Params:
    return settings_with(
        bench.settings,
        data={"target": "outcome", "task": task},
        features={"numeric": FEATURES.numeric, "categorical": ["kind"], "derived": FEATURES.derived},
        model={"steps": steps, "estimator": estimator},
        explain={"rows": 400, "worst": 5},
    )


def explained(settings: Params, fitted: Pipeline | None = None) -> dict[str, Any]:
    frame = inputs()
    truth = outcome(frame)
    target = truth if settings.task == "regression" else (truth > 0).astype("float64")
    fitted = fitted or model.build_pipeline(settings).fit(frame, target)
    score = model.predict(fitted, frame, settings.task)
    return explain.build_report(
        fitted, frame, predictions=pd.DataFrame({"target": target, "score": score}), settings=settings
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("steps", "estimator", "output"),
    [
        ([ORDINAL, AS_IT_IS], HGB, "log-odds"),
        ([ONE_HOT, AS_IT_IS], FOREST, "probability"),
        ([ORDINAL, AS_IT_IS], Estimator("sklearn.ensemble.GradientBoostingClassifier"), "log-odds"),
        ([ONE_HOT, SCALED], LOGISTIC, "log-odds"),
        ([ONE_HOT, SCALED], Estimator("sklearn.linear_model.Ridge"), "outcome"),
        ([ORDINAL, AS_IT_IS], HGB_REGRESSOR, "outcome"),
    ],
    ids=["hgb", "forest", "boosting", "logistic", "ridge", "hgb regressor"],
)
def test_effects_add_up_to_the_models_own_output(
    bench: Bench, steps: list[Step], estimator: Estimator, output: str
) -> None:
    task = "regression" if output == "outcome" else "classification"
    report = explained(with_model(bench, steps, estimator, task))
    assert report["method"] == "shap"
    assert report["output"] == output
    assert report["passed"]
    assert report["additivity"] < 1e-6


def test_a_count_model_is_explained_on_its_logarithmic_scale(bench: Bench) -> None:
    estimator = Estimator(
        "sklearn.ensemble.HistGradientBoostingRegressor", {"max_iter": 20, "loss": "poisson"}
    )
    settings = with_model(bench, [ORDINAL, AS_IT_IS], estimator, "regression")
    frame = inputs()
    target = np.exp(outcome(frame) / 3)
    fitted = model.build_pipeline(settings).fit(frame, target)
    predictions = pd.DataFrame({"target": target, "score": model.predict(fitted, frame, "regression")})
    report = explain.build_report(fitted, frame, predictions=predictions, settings=settings)
    assert report["output"] == "logarithm of outcome"
    assert report["passed"]


def test_the_direction_of_a_feature_is_that_of_the_truth(bench: Bench) -> None:
    report = explained(with_model(bench, [ORDINAL, AS_IT_IS], HGB))
    found = {item["feature"]: item["direction"] for item in report["ranking"]}
    # `rise` is `up` twice as large: the trees may split on either.
    assert max(found["up"] or 0, found["rise"] or 0) > 0.8
    assert found["down"] < -0.8
    assert found["kind"] is None


def test_the_ranking_shares_add_up_and_noise_counts_least(bench: Bench) -> None:
    ranked = explained(with_model(bench, [ORDINAL, AS_IT_IS], HGB))["ranking"]
    assert [item["importance"] for item in ranked] == sorted(
        (item["importance"] for item in ranked), reverse=True
    )
    assert sum(item["share"] for item in ranked) == pytest.approx(1, abs=1e-5)
    found = {item["feature"]: item["share"] for item in ranked}
    assert found["noise"] < min(found["up"] + found["rise"], found["down"], found["kind"])


def test_one_hot_columns_are_summed_up_to_the_feature_they_come_from(bench: Bench) -> None:
    settings = with_model(bench, [ONE_HOT, SCALED], LOGISTIC)
    names = {item["feature"] for item in explained(settings)["ranking"]}
    assert names == {"up", "down", "noise", "rise", "kind"}


def trace(steps: list[tuple[str, Any, list[int]]], frame: pd.DataFrame) -> list[str] | None:
    """What each transformed column is made of, where these steps read the columns of a table by their places."""
    prepare = ColumnTransformer(steps, sparse_threshold=0).fit(frame, np.arange(len(frame)) % 2)
    return explain.trace_outputs(prepare, list(frame.columns))


PLANS = pd.DataFrame(
    {"plan": ["basic", "plus", "b__2023"] * 4, "plan_basic": np.arange(12.0), "b": ["2023", "2024"] * 6}
)


def test_a_category_belongs_to_its_own_column_whatever_other_columns_are_called() -> None:
    steps = [("onehot", OneHotEncoder(), [0, 2]), ("rest", StandardScaler(), [1])]
    assert trace(steps, PLANS) == ["plan"] * 3 + ["b"] * 2 + ["plan_basic"]


def test_a_step_after_another_is_followed_too() -> None:
    pair = make_pipeline(OneHotEncoder(sparse_output=False), StandardScaler())
    again = ("again", SimpleImputer(add_indicator=True), [1])
    with_gap = PLANS.assign(plan_basic=[np.nan, *range(11)])
    assert trace([("pair", pair, [2, 0]), again], with_gap) == ["b"] * 2 + ["plan"] * 3 + ["plan_basic"] * 2


def test_what_is_made_of_several_columns_has_all_their_names() -> None:
    frame = pd.DataFrame({"fee net": [1.0, 2.0, 4.0], "input_0": [1.0, 3.0, 9.0]})
    powers = ("powers", PolynomialFeatures(include_bias=False), [1, 0])
    both = "powers: input_0 fee net"
    assert trace([powers], frame) == ["input_0", "fee net", "input_0", both, "fee net"]
    assert trace([("pca", PCA(), [0, 1])], frame) == ["pca: pca0", "pca: pca1"]


def test_a_step_that_does_not_name_its_outputs_cannot_be_followed() -> None:
    frame = pd.DataFrame({"x": [1.0, 2.0]})
    assert trace([("own", FunctionTransformer(), [0])], frame) is None


def test_the_worst_predictions_come_first_with_the_reasons_that_moved_them_most(bench: Bench) -> None:
    settings = with_model(bench, [ORDINAL, AS_IT_IS], HGB)
    frame = inputs()
    frame.loc[["r0003", "r0004"], ["up", "down"]] = [[3, -3], [1, -1]]
    target = (outcome(frame) > 0).astype("float64")
    fitted = model.build_pipeline(settings).fit(frame, target)
    target[["r0003", "r0004"]] = 0.0
    predictions = pd.DataFrame({"target": target, "score": model.predict(fitted, frame, "classification")})
    worst = explain.build_report(fitted, frame, predictions=predictions, settings=settings)["worst"]
    assert {"r0003", "r0004"} == {item["row"] for item in worst[:2]}
    assert [item["loss"] for item in worst] == sorted((item["loss"] for item in worst), reverse=True)
    assert worst[0]["loss"] == pytest.approx(-np.log(1 - worst[0]["score"]), rel=1e-3)
    for item in worst:
        effects = [abs(reason["effect"]) for reason in item["reasons"]]
        assert effects == sorted(effects, reverse=True)
    reasons = {reason["feature"]: reason["value"] for reason in worst[0]["reasons"]}
    assert reasons["down"] == f"{frame.loc[worst[0]['row'], 'down']:.4g}"


def test_a_prediction_of_certainty_that_was_wrong_has_a_finite_loss() -> None:
    losses = explain.compute_losses(np.array([1.0, 0.0]), np.array([0.0, 1.0]), "classification")
    assert np.isfinite(losses).all()


def test_large_trees_get_fewer_rows_and_the_note_says_so(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = with_model(bench, [ORDINAL, AS_IT_IS], FOREST)
    whole = explained(settings)
    monkeypatch.setattr(explain, "FEWEST_ROWS", 10)
    monkeypatch.setattr(explain, "WORK", 5e6 / 20)
    less = explained(settings)
    assert (whole["rows"], whole["note"]) == (400, None)
    assert 10 <= less["rows"] < 400
    assert f"{less['rows']} rows explained instead of 400" in less["note"]
    assert len(less["worst"]) == len(whole["worst"])


def test_trees_beyond_bearing_are_explained_by_permutation(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(explain, "WORK", 1e4 / 20)
    report = explained(with_model(bench, [ORDINAL, AS_IT_IS], FOREST))
    assert report["method"] == "permutation"
    assert "SHAP is slow on 20 trees" in report["note"]


@pytest.mark.slow
def test_a_slow_model_is_explained_on_as_many_rows_as_the_seconds_allow_and_the_note_says_which(
    bench: Bench,
) -> None:
    settings = with_model(bench, [ONE_HOT, SCALED], Estimator("sklearn.neighbors.KNeighborsClassifier"))
    whole = explained(settings)
    less = explained(settings_with(settings, explain={"seconds": 0.02}))
    assert whole["rows"] == 400
    assert "explain.seconds" not in whole["note"]
    assert 50 <= less["rows"] < 400
    assert f"{less['rows']} rows explained instead of 400" in less["note"]
    assert "explain.seconds is 0.02" in less["note"]
    assert less == explained(settings_with(settings, explain={"seconds": 0.02}))


def test_what_a_prediction_takes_is_counted_by_what_each_row_is_held_against() -> None:
    rows = np.random.default_rng(0).normal(size=(200, 3))
    target = (rows[:, 0] > 0).astype(int)
    machine = SVC(C=0.1).fit(rows, target)
    assert effort.count_numbers(machine) >= 3 * machine.n_support_.sum()
    forest = RandomForestClassifier(10, max_depth=3, random_state=0).fit(rows, target)
    assert 10 * 10 <= effort.count_numbers(forest) < 1000
    assert effort.count_numbers(KNeighborsClassifier().fit(rows, target)) >= rows.size
    assert effort.count_numbers("passthrough") == 0
    assert effort.estimate_seconds("passthrough") > 0


def test_a_model_that_shap_does_not_know_is_explained_by_permutation(bench: Bench) -> None:
    neighbours = Estimator("sklearn.neighbors.KNeighborsClassifier", {"n_neighbors": 25})
    report = explained(with_model(bench, [ONE_HOT, SCALED], neighbours))
    found = {item["feature"]: item for item in report["ranking"]}
    assert (report["method"], report["base"], report["additivity"], report["passed"]) == (
        "permutation",
        None,
        None,
        True,
    )
    assert "KNeighborsClassifier is neither linear nor made of trees" in report["note"]
    assert found["up"]["importance"] > found["down"]["importance"] > found["noise"]["importance"]
    assert found["up"]["direction"] > 0.5 > -0.5 > found["down"]["direction"]
    assert all(item["reasons"] for item in report["worst"])


def test_effects_that_do_not_add_up_are_not_passed_off_as_an_explanation(bench: Bench) -> None:
    settings = with_model(bench, [ORDINAL, AS_IT_IS], HGB)
    codes = model.build_pipeline(settings)["prepare"]
    # SHAP reads the category splits of this estimator wrongly, and says nothing.
    native = HistGradientBoostingClassifier(max_iter=30, categorical_features=[0], random_state=0)
    frame = inputs()
    fitted = Pipeline([("prepare", codes), ("estimator", native)]).fit(frame, frame["kind"] == "b")
    report = explained(settings, fitted)
    assert not report["passed"]
    assert "do not add up" in report["note"]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("", "missing"),
        (np.nan, "missing"),
        ("JFK", "JFK"),
        (np.float32(3), "3"),
        (0.123456, "0.1235"),
        (1e300, "1e+300"),
    ],
)
def test_values_are_shown_as_a_person_would_write_them(value: object, shown: str) -> None:
    assert explain.format_value(value) == shown


def stage(bench: Bench) -> Pipeline:
    """A folder in which the stage can run."""
    for where, value in {
        "params.data.target": "outcome",
        "params.data.derive": {},
        "params.features": {
            "numeric": FEATURES.numeric,
            "categorical": ["kind"],
            "derived": FEATURES.derived,
        },
        "params.explain": {"rows": 200, "worst": 5},
        "params.model.estimator.params": {"max_iter": 10},
    }.items():
        bench.edit(where, value)
    frame = inputs()
    target = (outcome(frame) > 0).astype("float64")
    fitted = model.build_pipeline(bench.settings).fit(frame, target)
    model.save(fitted)
    files.write_table(frame.assign(**{files.TARGET: target}).reset_index(), explain.HOLDOUT)
    scores = model.predict(fitted, frame, "classification")
    predictions = pd.DataFrame({files.ROW: frame.index, "target": target.to_numpy(), "score": scores})
    files.write_table(predictions, files.PREDICTIONS)
    return fitted


def test_the_stage_writes_the_contract_and_the_same_bytes_again(bench: Bench) -> None:
    stage(bench)
    assert bench.run("explain") == 0
    first = [(files.REPORTS / name).read_bytes() for name in ("explanation.json", "explanation.csv")]
    assert bench.run("explain") == 0
    assert first == [(files.REPORTS / name).read_bytes() for name in ("explanation.json", "explanation.csv")]
    report = bench.evidence(ExplanationReport)
    assert (report.rows, len(report.worst), report.passed) == (200, 5, True)
    assert first[1].decode().startswith("feature,importance,direction\n")


def test_predictions_of_other_rows_are_refused(bench: Bench) -> None:
    stage(bench)
    predictions = files.read_table(files.PREDICTIONS)
    files.write_table(predictions.iloc[1:], files.PREDICTIONS)
    assert bench.run("explain") == 1
    assert "do not hold the same rows, for instance 'r0000'" in bench.refusal()
