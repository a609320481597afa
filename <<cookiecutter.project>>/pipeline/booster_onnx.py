"""Write LightGBM, XGBoost and CatBoost models as ONNX: their trees, and what makes answers of their sums."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline import booster_trees, boosters, trees
from pipeline.booster_trees import Ensemble, NoOnnxForm

if TYPE_CHECKING:
    from collections.abc import Callable

    from sklearn.pipeline import Pipeline

# Rows that are asked to find out what a model makes of its margins.
ASKED = 64
# How far two ways to compute one answer may be apart, for the largest answer or 1.
TOLERANCE = 1e-5
OPTIONS = {"zipmap": [True, False, "columns"], "raw_scores": [True, False], "nocl": [True, False]}


def register_converters(pipeline: Pipeline) -> None:
    """Tell skl2onnx how to convert the libraries' estimators that are in a pipeline."""
    for part in trees.find_parts(pipeline, lambda part: boosters.find_library(part) is not None):
        _register_class(type(part))  # type: ignore[arg-type]  # a class can be hashed, whatever its own objects can


@functools.cache
def _register_class(kind: Any) -> None:
    from skl2onnx import update_registered_converter

    classifies = _classifies(kind)
    update_registered_converter(
        kind,
        f"Gitops{kind.__name__}",
        _set_classifier_shapes if classifies else _set_regressor_shape,
        convert_estimator,
        options=OPTIONS if classifies else None,
        parser=_parse_classifier if classifies else None,
    )


def _classifies(kind: type) -> bool:
    return any(base.__name__.endswith("Classifier") for base in kind.__mro__)


def _parse_classifier(scope: Any, model: Any, inputs: list[Any], custom_parsers: Any = None) -> list[Any]:
    """Declare the outputs of a classifier: CatBoost's is none by scikit-learn's own mark."""
    from skl2onnx.common.data_types import FloatTensorType, Int64TensorType, StringTensorType

    operator = scope.declare_local_operator(f"Gitops{type(model).__name__}", model)
    operator.inputs.extend(inputs)
    texts = np.asarray(model.classes_).dtype.kind in "OUST"
    label = StringTensorType() if texts else Int64TensorType()
    operator.outputs.append(scope.declare_local_variable("label", label))
    operator.outputs.append(scope.declare_local_variable("probabilities", FloatTensorType()))
    return list(operator.outputs)


def _set_classifier_shapes(operator: Any) -> None:
    rows = operator.inputs[0].get_first_dimension()
    operator.outputs[0].type.shape = [rows]
    operator.outputs[1].type.shape = [rows, len(operator.raw_operator.classes_)]


def _set_regressor_shape(operator: Any) -> None:
    operator.outputs[0].type.shape = [operator.inputs[0].get_first_dimension(), 1]


def convert_estimator(scope: Any, operator: Any, container: Any) -> None:
    """Write the nodes of one estimator. Raises `NoOnnxForm`."""
    from onnx import TensorProto

    estimator = operator.raw_operator
    ensemble = booster_trees.read_ensemble(estimator)
    link, scale = find_link(estimator, ensemble)

    def add_node(kind: str, inputs: list[str], output: str | None = None, **attributes: Any) -> str:
        name: str = output or scope.get_unique_variable_name(f"trees_{kind.lower()}")
        container.add_node(
            kind, inputs, [name], name=scope.get_unique_operator_name(f"trees_{kind}"), **attributes
        )
        return name

    def add_constant(values: list[Any], kind: int) -> str:
        name: str = scope.get_unique_variable_name("trees_constant")
        container.add_initializer(name, kind, [len(values)], values)
        return name

    given = add_node("Cast", [operator.inputs[0].full_name], to=TensorProto.FLOAT)
    attributes = list_attributes(ensemble, invert_link(estimator, ensemble.base, link))
    margin = add_node("TreeEnsembleRegressor", [given], op_domain="ai.onnx.ml", op_version=1, **attributes)
    if scale != 1.0:
        margin = add_node("Mul", [margin, add_constant([scale], TensorProto.FLOAT)])
    shape: dict[str, Any] = {"axis": 1} if link == "Softmax" else {}
    answer = margin if link == "Identity" else add_node(link, [margin], **shape)
    if not _classifies(type(estimator)):
        add_node("Identity", [answer], operator.outputs[0].full_name)
        return
    if len(ensemble.base) == 1:
        rest = add_node("Sub", [add_constant([1.0], TensorProto.FLOAT), answer])
        answer = add_node("Concat", [rest, answer], axis=1)
    add_node("Identity", [answer], operator.outputs[1].full_name)
    classes = np.asarray(estimator.classes_)
    texts = classes.dtype.kind in "OUST"
    names = [str(one) for one in classes] if texts else [int(one) for one in classes]
    known = add_constant(names, TensorProto.STRING if texts else TensorProto.INT64)
    best = add_node("ArgMax", [answer], axis=1, keepdims=0)
    add_node("Gather", [known, best], operator.outputs[0].full_name)


def list_attributes(ensemble: Ensemble, base: list[float]) -> dict[str, Any]:
    """List the attributes of ONNX' `TreeEnsembleRegressor`, which adds up the margins."""
    return {
        "nodes_treeids": ensemble.tree,
        "nodes_nodeids": ensemble.node,
        "nodes_featureids": ensemble.feature,
        "nodes_modes": ["LEAF" if ends else ensemble.mode for ends in ensemble.ends],
        "nodes_values": ensemble.threshold,
        "nodes_truenodeids": ensemble.yes,
        "nodes_falsenodeids": ensemble.no,
        "nodes_missing_value_tracks_true": ensemble.gaps,
        "target_treeids": ensemble.leaf_tree,
        "target_nodeids": ensemble.leaf_node,
        "target_ids": ensemble.leaf_target,
        "target_weights": ensemble.leaf_value,
        "n_targets": len(base),
        "base_values": base,
    }


def find_link(estimator: Any, ensemble: Ensemble) -> tuple[str, float]:
    """Find what the estimator makes of its margins: an ONNX operator, and the factor before it.

    The estimator itself is asked about rows that lie on both sides of its trees' thresholds. Raises `NoOnnxForm` where
    none of the known ways gives its answers.
    """
    rows = _draw_rows(estimator, ensemble)
    margin = boosters.compute_margin(estimator, rows)
    assert margin is not None
    classifies = _classifies(type(estimator))
    answer = np.asarray(
        estimator.predict_proba(rows) if classifies else estimator.predict(rows), dtype=np.float64
    )
    scale = float(estimator.get_params().get("sigmoid") or 1.0)
    wanted = answer[:, 1] if classifies and len(estimator.classes_) == 2 else answer
    for link, factor in (
        (("Sigmoid", scale), ("Softmax", 1.0)) if classifies else (("Identity", 1.0), ("Exp", 1.0))
    ):
        with np.errstate(over="ignore"):
            found = LINKS[link](margin * factor)
        if found.shape == wanted.shape and np.allclose(found, wanted, rtol=TOLERANCE, atol=TOLERANCE):
            return link, factor
    objective = next(
        (
            value
            for name, value in estimator.get_params().items()
            if name in ("objective", "loss_function") and value
        ),
        "its loss",
    )
    raise NoOnnxForm(
        f"{objective} makes of what the trees add up to what has no ONNX form here; take another objective"
    )


LINKS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "Identity": lambda margin: margin,
    "Exp": np.exp,
    "Sigmoid": lambda margin: 1 / (1 + np.exp(-margin)),
    "Softmax": lambda margin: (
        np.exp(margin - margin.max(axis=-1, keepdims=True))
        / np.exp(margin - margin.max(axis=-1, keepdims=True)).sum(axis=-1, keepdims=True)
    ),
}


def invert_link(estimator: Any, base: list[float], link: str) -> list[float]:
    """Say in margins what every row begins with; XGBoost keeps it as an answer, the others keep margins."""
    library = boosters.find_library(estimator)
    values = np.array(base, dtype=np.float64)
    if library is None or library.title != "XGBoost" or link in ("Identity", "Softmax"):
        return base
    return [float(one) for one in (np.log(values) if link == "Exp" else np.log(values) - np.log1p(-values))]


def _draw_rows(estimator: Any, ensemble: Ensemble) -> np.ndarray:
    """Draw rows of thresholds, float32, shape (ASKED, columns): a value at most a threshold, and one above another."""
    generator = np.random.default_rng(0)
    feature, threshold = np.array(ensemble.feature), np.array(ensemble.threshold, dtype=np.float32)
    inner = ~np.array(ensemble.ends, dtype=bool)
    # CatBoost counts no columns of an array in `n_features_in_`.
    columns = len(getattr(estimator, "feature_names_", ())) or int(estimator.n_features_in_)
    rows = np.zeros((ASKED, columns), dtype=np.float32)
    for column in np.unique(feature[inner]).tolist():
        rows[:, column] = generator.choice(threshold[inner & (feature == column)], ASKED)
    return rows
