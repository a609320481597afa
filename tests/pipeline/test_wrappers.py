"""Estimators that choose: a search's parameters and a threshold are found once, said, kept, and used everywhere."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from sklearn import calibration, linear_model, model_selection, pipeline

from bots import evidence
from pipeline import contract, files, model, wrappers

if TYPE_CHECKING:
    from fixtures import flights

RANDOM = np.random.default_rng(3)
X = RANDOM.normal(size=(200, 3))
YES = (X[:, 0] + RANDOM.normal(size=200) > 0.8).astype(np.float64)
LOGISTIC = linear_model.LogisticRegression()
GRID = model_selection.GridSearchCV(LOGISTIC, {"C": [0.01, 1.0]}, cv=2)
TUNED = model_selection.TunedThresholdClassifierCV(LOGISTIC, scoring="f1", cv=2)


def settle(estimator: Any) -> Any:
    return wrappers.settle(pipeline.make_pipeline(estimator).fit(X, YES))


@pytest.mark.slow
@pytest.mark.parametrize("estimator", [GRID, TUNED, calibration.CalibratedClassifierCV(GRID, cv=2)])
def test_two_trainings_of_what_searches_give_the_same_file(estimator: Any) -> None:
    assert model.dump(settle(estimator)) == model.dump(settle(estimator))


@pytest.mark.slow
@pytest.mark.parametrize("estimator", [GRID, TUNED, model_selection.GridSearchCV(TUNED, {"cv": [2, 3]})])
def test_what_is_kept_of_a_search_answers_as_the_search_did(estimator: Any) -> None:
    fitted = pipeline.make_pipeline(estimator).fit(X, YES)
    expected, decided = fitted.predict_proba(X), fitted.predict(X)
    kept = wrappers.settle(fitted)
    assert (kept.predict_proba(X) == expected).all()
    assert (kept.predict(X) == decided).all()


@pytest.mark.slow
def test_what_a_search_found_is_said() -> None:
    assert wrappers.describe_choice(GRID.fit(X, YES)) == {"C": "1.0", "score": f"{GRID.best_score_:.6g}"}
    found = wrappers.describe_choice(TUNED.fit(X, YES))
    assert found == {"threshold": f"{TUNED.best_threshold_:.6g}"}
    assert wrappers.describe_choice(LOGISTIC) is None


def use_tuned(bench: flights.Bench) -> None:
    bench.edit("params.features.derived", {})
    bench.edit("params.features.categorical", [])
    bench.edit("params.model.steps", [{"columns": "numeric", "use": "sklearn.impute.SimpleImputer"}])
    inner = {"use": "sklearn.tree.DecisionTreeClassifier", "params": {"max_depth": 5}}
    tuned = "sklearn.model_selection.TunedThresholdClassifierCV"
    bench.edit(
        "params.model.estimator", {"use": tuned, "params": {"estimator": inner, "scoring": "f1", "cv": 2}}
    )


@pytest.mark.slow
def test_the_threshold_that_was_tuned_is_the_one_of_figures_contract_and_file(bench: flights.Bench) -> None:
    use_tuned(bench)
    bench.edit("params.evaluate.threshold", None)
    for stage in ("train", "evaluate", "explain", "export"):
        assert bench.run(stage) == 0, bench.refusal()
    search = bench.evidence(evidence.TrainingReport).search
    assert search is not None
    threshold = bench.evidence(evidence.MetricsReport).threshold
    assert threshold is not None
    assert f"{threshold:.6g}" == search["threshold"]
    assert threshold not in (0.3, 0.5)
    assert json.loads(contract.PATH.read_text(encoding="utf-8"))["threshold"] == threshold
    assert bench.evidence(evidence.ExportReport).passed
    assert bench.evidence(evidence.ExplanationReport).method == "shap"
    own = model.load(files.MODEL)[-1]
    assert wrappers.get_own_threshold(own) == threshold


def test_two_thresholds_are_one_too_many(bench: flights.Bench) -> None:
    use_tuned(bench)
    assert bench.run("train") == 1
    assert (
        "evaluate.threshold: sklearn.model_selection.TunedThresholdClassifierCV brings the" in bench.refusal()
    )
    bench.edit("params.evaluate.threshold", None)
    bench.edit("params.model.estimator.params.response_method", "decision_function")
    assert bench.run("train") == 1
    assert "say `response_method: predict_proba`" in bench.refusal()
