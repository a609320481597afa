"""Estimators and steps that skl2onnx converts not at all or wrongly: in ONNX they answer as in scikit-learn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from skl2onnx.common.data_types import FloatTensorType
from sklearn import (
    compose,
    discriminant_analysis,
    ensemble,
    impute,
    linear_model,
    pipeline,
    preprocessing,
    tree,
)

from pipeline import additive, export, functions, model, trees
from pipeline.files import StageError

pytestmark = pytest.mark.slow

ROWS, COLUMNS = 300, 4
RANDOM = np.random.default_rng(3)
X = RANDOM.normal(size=(ROWS, COLUMNS)).astype(np.float32)
YES = (X[:, 0] + X[:, 1] * X[:, 2] > 0).astype(np.float64)
AMOUNT = np.exp(X[:, 0] + 0.1 * X[:, 3]).astype(np.float64)
THREE = np.array(["high", "low", "middle"])[(X[:, 0] > 0).astype(int) + (X[:, 1] > 0)]


def run(part: Any, rows: np.ndarray) -> np.ndarray:
    """What the part answers as ONNX: its last output."""
    export.register_converter()
    additive.register_boosting_machines()
    onnx = export._convert_part(
        trees.copy_with_float32_thresholds(part), [("input", FloatTensorType([None, rows.shape[1]]))]
    )
    session = export.open_session(onnx.SerializeToString())
    return np.asarray(session.run(None, {"input": rows})[-1])


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"degree": 1, "include_bias": False},
        {"knots": "quantile", "extrapolation": "linear"},
        {"extrapolation": "continue", "degree": 2},
        {"n_knots": 2},
    ],
)
def test_splines_are_alike_between_their_knots_at_them_and_beyond(params: dict[str, Any]) -> None:
    spline = preprocessing.SplineTransformer(**{"n_knots": 4, **params}).fit(X[: ROWS // 2])
    knots = np.column_stack([one.t[spline.degree : -spline.degree or None][:2] for one in spline.bsplines_])
    rows = np.vstack([X, knots.astype(np.float32), 3 * X[:20]])
    assert np.allclose(run(spline, rows), spline.transform(rows.astype(np.float64)), atol=2e-5, rtol=1e-5)


def test_splines_that_repeat_are_refused_by_their_parameter() -> None:
    spline = preprocessing.SplineTransformer(extrapolation="periodic").fit(X)
    with pytest.raises(NotImplementedError, match="extrapolation=periodic has no ONNX form"):
        run(spline, X)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("inner", [None, tree.DecisionTreeRegressor(max_depth=3), linear_model.Ridge()])
def test_gaps_are_filled_by_models_alike(inner: Any) -> None:
    gapped = np.where(RANDOM.random(X.shape) < 0.1, np.float32("nan"), X)
    imputer = pipeline.make_pipeline(make_imputer(inner)).fit(gapped)
    assert np.allclose(run(imputer, gapped), imputer.transform(gapped), atol=1e-5)


def make_imputer(inner: Any) -> Any:
    model._import_class("sklearn.impute.IterativeImputer", "model.steps", "transformer")
    return impute.IterativeImputer(estimator=inner, random_state=0)


@pytest.mark.parametrize("name", sorted(functions.list_functions()))
def test_a_function_of_numpy_computes_alike(name: str) -> None:
    function = functions.import_function(f"numpy.{name}", "model.steps")
    rows = np.abs(X) + np.float32(0.5)
    part = preprocessing.FunctionTransformer(function).fit(rows)
    assert np.allclose(run(part, rows), part.transform(rows), rtol=1e-6, atol=1e-6)


def test_a_function_without_an_onnx_form_is_named_with_those_that_have_one() -> None:
    part = preprocessing.FunctionTransformer(np.i0).fit(X)
    with pytest.raises(NotImplementedError, match=r"numpy\.i0 has no ONNX form; .* log1p"):
        run(part, X)


@pytest.mark.parametrize(
    "estimator",
    [
        linear_model.TheilSenRegressor(random_state=0, max_subpopulation=50),
        linear_model.QuantileRegressor(quantile=0.8, alpha=0.0),
        ensemble.HistGradientBoostingRegressor(loss="poisson", max_iter=20),
        ensemble.HistGradientBoostingRegressor(loss="gamma", max_iter=20),
        ensemble.VotingRegressor([("a", linear_model.Ridge()), ("b", linear_model.Lasso())], weights=[1, 3]),
        compose.TransformedTargetRegressor(linear_model.Ridge(), func=np.log1p, inverse_func=np.expm1),
        compose.TransformedTargetRegressor(linear_model.Ridge(), transformer=preprocessing.StandardScaler()),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_a_quantity_is_predicted_alike(estimator: Any) -> None:
    fitted = estimator.fit(X, AMOUNT)
    assert np.allclose(run(fitted, X).ravel(), fitted.predict(X), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("target", [YES, THREE], ids=["two classes", "three classes"])
@pytest.mark.parametrize(
    "estimator",
    [
        discriminant_analysis.LinearDiscriminantAnalysis(),
        discriminant_analysis.LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto"),
        ensemble.VotingClassifier(
            [("a", linear_model.LogisticRegression()), ("b", tree.DecisionTreeClassifier(max_depth=2))],
            voting="soft",
            weights=[1, 2],
        ),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_chances_are_alike(estimator: Any, target: np.ndarray) -> None:
    fitted = estimator.fit(X, target)
    assert np.abs(run(fitted, X) - fitted.predict_proba(X)).max() < 1e-6


@pytest.mark.filterwarnings("ignore:Missing values detected")
@pytest.mark.parametrize("target", [YES, THREE, AMOUNT], ids=["two classes", "three classes", "a quantity"])
def test_a_boosting_machine_of_interpret_answers_alike_with_gaps_and_beyond_training(
    target: np.ndarray,
) -> None:
    glassbox = pytest.importorskip("interpret.glassbox")
    gapped = np.where(RANDOM.random(X.shape) < 0.1, np.float32("nan"), X)
    options = {"max_rounds": 20, "outer_bags": 1, "n_jobs": 1, "random_state": 0}
    options["interactions"] = 0 if target is THREE else 2
    kind = (
        glassbox.ExplainableBoostingRegressor if target is AMOUNT else glassbox.ExplainableBoostingClassifier
    )
    fitted = kind(**options).fit(gapped, target)
    rows = np.vstack([gapped, 10 * X[:10]])
    expected = fitted.predict(rows) if target is AMOUNT else fitted.predict_proba(rows)
    assert np.allclose(run(fitted, rows).reshape(expected.shape), expected, atol=1e-6)


@pytest.mark.parametrize("path", ["numpy.logg1p", "numpy.float32", "nowhere.at_all", "log1p"])
def test_a_function_that_cannot_be_imported_is_told_by_its_path(path: str) -> None:
    with pytest.raises(StageError, match=r"params.yaml: model.steps: .*" + path.rpartition(".")[2]):
        functions.import_function(path, "model.steps")


def test_the_nearest_function_is_suggested() -> None:
    with pytest.raises(StageError, match=r"did you mean numpy\.log1p"):
        functions.import_function("numpy.logg1p", "model.steps")


OWN = """
import numpy as np
from skl2onnx import update_registered_converter
from skl2onnx.common.data_types import FloatTensorType
from sklearn.base import BaseEstimator, TransformerMixin


class Half(TransformerMixin, BaseEstimator):
    def fit(self, X, y=None):
        self.n_features_in_ = X.shape[1]
        return self

    def transform(self, X):
        return np.asarray(X) / np.float32(2)


def set_shape(operator):
    operator.outputs[0].type = FloatTensorType([None, operator.raw_operator.n_features_in_])


def convert(scope, operator, container):
    two = scope.get_unique_variable_name("two")
    container.add_initializer(two, 1, [1], [2.0])
    container.add_node("Div", [operator.inputs[0].full_name, two], [operator.outputs[0].full_name])


update_registered_converter(Half, "OwnHalf", set_shape, convert)
"""


def test_a_transformer_of_one_s_own_is_served_by_the_converter_that_its_module_registers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_half.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    half = model._make_by_path("own_half.Half", {}, where="model.steps", wanted="transformer", seed=0)
    fitted = pipeline.make_pipeline(half, linear_model.Ridge()).fit(X, AMOUNT)
    with pytest.raises(StageError, match=r"not trusted: own_half\.Half; .*model\.trusted"):
        model.dump(fitted)
    (tmp_path / "model.skops").write_bytes(model.dump(fitted, ["own_half.Half"]))
    loaded = model.load(tmp_path / "model.skops", trusted=["own_half.Half"])
    assert np.allclose(run(loaded, X).ravel(), fitted.predict(X), rtol=1e-5, atol=1e-6)
