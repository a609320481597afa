"""Convert Explainable Boosting Machines of the package interpret to ONNX: sums of looked-up scores."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from pipeline.converters import CLASSIFIER, Nodes, give_classes, set_one_value


def register_boosting_machines() -> None:
    """Tell skl2onnx how to convert them, where a model of interpret was loaded."""
    glassbox = sys.modules.get("interpret.glassbox")
    if glassbox is None:
        return
    from skl2onnx import update_registered_converter
    from skl2onnx.common.shape_calculator import calculate_linear_classifier_output_shapes

    update_registered_converter(
        glassbox.ExplainableBoostingClassifier,
        "GitopsExplainableBoostingClassifier",
        calculate_linear_classifier_output_shapes,
        _convert_classifier,
        options=CLASSIFIER,
    )
    update_registered_converter(
        glassbox.ExplainableBoostingRegressor,
        "GitopsExplainableBoostingRegressor",
        set_one_value,
        _convert_regressor,
    )


def _convert_classifier(scope: Any, operator: Any, container: Any) -> None:
    nodes, model = Nodes(scope, container), operator.raw_operator
    value = _add_terms(nodes, operator)
    if len(model.classes_) == 2:
        yes = nodes.add("Sigmoid", value)
        chances = nodes.add("Concat", nodes.add("Sigmoid", nodes.add("Neg", value)), yes, axis=1)
    else:
        chances = nodes.add("Softmax", value, axis=1)
    give_classes(nodes, operator, chances, model.classes_)


def _convert_regressor(scope: Any, operator: Any, container: Any) -> None:
    nodes, model = Nodes(scope, container), operator.raw_operator
    if model.link_ not in ("identity", "log"):
        raise NotImplementedError(
            f"ExplainableBoostingRegressor with the link {model.link_!r} has no ONNX form"
        )
    value = _add_terms(nodes, operator)
    nodes.narrow(nodes.add("Exp", value) if model.link_ == "log" else value, operator.outputs[0].full_name)


def _add_terms(nodes: Nodes, operator: Any) -> str:
    """Add the scores of all terms and the intercept: float64, (rows, 1), or (rows, classes) of several classes."""
    model = operator.raw_operator
    given = nodes.widen(operator.inputs[0].full_name)
    columns: dict[int, str] = {}
    places: dict[tuple[int, int], str] = {}
    total = nodes.constant(np.asarray(model.intercept_, dtype=np.float64).reshape(1, -1))
    for features, scores in zip(model.term_features_, model.term_scores_, strict=True):
        sizes = scores.shape[: len(features)]
        place = None
        for at, size in zip(features, sizes, strict=True):
            level = min(len(model.bins_[at]), len(features)) - 1
            if at not in columns:
                columns[at] = nodes.add("Gather", given, nodes.constant(np.array([at])), axis=1)
            if (at, level) not in places:
                places[at, level] = _find_bin(nodes, columns[at], model.bins_[at][level], model, at)
            own = places[at, level]
            if place is None:
                place = own
            else:
                place = nodes.add("Add", nodes.add("Mul", place, nodes.constant(np.array([size]))), own)
        assert place is not None
        table = nodes.constant(np.asarray(scores, dtype=np.float64).reshape(int(np.prod(sizes)), -1))
        total = nodes.add("Add", total, nodes.add("Gather", table, place, axis=0))
    return total


def _find_bin(nodes: Nodes, column: str, cuts: Any, model: Any, at: int) -> str:
    """Find in which bin each value lies: 0 for a missing one, and 1 more than the cuts that it reaches."""
    from onnx import TensorProto

    if isinstance(cuts, dict):
        kind = model.feature_types_in_[at]
        raise NotImplementedError(
            f"an input that is {kind} for interpret has no ONNX form; say feature_types: [continuous, …] among its "
            "params, one for each column that it reads"
        )
    gap = nodes.add("Reshape", nodes.add("IsNaN", column), nodes.constant(np.array([-1])))
    if len(cuts):
        reached = nodes.add("GreaterOrEqual", column, nodes.constant(np.asarray(cuts, dtype=np.float64)))
        counted = nodes.add("Cast", reached, to=TensorProto.INT64)
        found = nodes.add("ReduceSum", counted, nodes.constant(np.array([1])), keepdims=0)
    else:
        found = nodes.add("Cast", nodes.add("Not", gap), to=TensorProto.INT64)
        found = nodes.add("Mul", found, nodes.constant(np.array([0])))
    after = nodes.add("Add", found, nodes.constant(np.array([1])))
    return nodes.add("Where", gap, nodes.constant(np.array([0])), after)
