"""Convert to ONNX what skl2onnx converts not at all, or to a model that answers otherwise."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pipeline import functions

CLASSIFIER = {"zipmap": [True, False, "columns"], "nocl": [True, False], "output_class_labels": [False, True]}


class Nodes:
    """Adds nodes and constants to the graph that skl2onnx builds, and names them."""

    def __init__(self, scope: Any, container: Any) -> None:
        self.scope, self.container = scope, container

    def add(
        self, kind: str, *inputs: str, outputs: int = 1, to_name: str | None = None, **attributes: Any
    ) -> str:
        """Add a node on these inputs; returns the name of its first output, which is `to_name` where that is given."""
        names = [self.scope.get_unique_variable_name(kind.lower()) for _ in range(outputs)]
        if to_name is not None:
            names[0] = to_name
        self.container.add_node(
            kind, list(inputs), names, name=self.scope.get_unique_operator_name(kind), **attributes
        )
        return names[0]

    def give(self, kind: str, *inputs: str, to_name: str, **attributes: Any) -> None:
        """Add the node whose output is one of the part's own outputs."""
        self.add(kind, *inputs, to_name=to_name, **attributes)

    def constant(self, values: Any, shape: Sequence[int] | None = None) -> str:
        """Add a constant: float64, int64, or text, as numpy has the values."""
        from onnx import TensorProto

        found = np.asarray(values)
        kinds = {"f": TensorProto.DOUBLE, "i": TensorProto.INT64}
        name: str = self.scope.get_unique_variable_name("constant")
        size = list(found.shape) if shape is None else list(shape)
        self.container.add_initializer(name, kinds[found.dtype.kind], size, found.ravel().tolist())
        return name

    def number(self, value: float) -> str:
        """Add a constant of one float64 number."""
        return self.constant([float(value)])

    def widen(self, name: str) -> str:
        """Convert to float64."""
        from onnx import TensorProto

        return self.add("Cast", name, to=TensorProto.DOUBLE)

    def narrow(self, name: str, to_name: str) -> None:
        """Convert to float32, as one of the part's own outputs."""
        from onnx import TensorProto

        self.give("Cast", name, to_name=to_name, to=TensorProto.FLOAT)

    def round(self, name: str) -> str:
        """Round float64 numbers to float32, and keep them as float64."""
        from onnx import TensorProto

        return self.widen(self.add("Cast", name, to=TensorProto.FLOAT))

    def apply(self, part: Any, inputs: Any, outputs: Sequence[Any], alias: str | None = None) -> list[str]:
        """Convert another fitted part on these inputs; `outputs` are the types of what it gives.

        `alias` names a converter of skl2onnx; by default that of the part's class.
        """
        from skl2onnx._supported_operators import sklearn_operator_name_map

        alias = alias or sklearn_operator_name_map.get(type(part))
        if alias is None:
            raise NotImplementedError(f"skl2onnx has no converter for {type(part).__name__}")
        operator = self.scope.declare_local_operator(alias, part)
        operator.inputs = inputs
        for kind in outputs:
            operator.outputs.append(self.scope.declare_local_variable("inner", kind))
        return [one.full_name for one in operator.outputs]


def register_converters() -> None:
    """Tell skl2onnx how to convert each of these."""
    from skl2onnx import update_registered_converter
    from skl2onnx.common.shape_calculator import calculate_linear_classifier_output_shapes
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.ensemble import HistGradientBoostingRegressor
    from sklearn.linear_model import QuantileRegressor, TheilSenRegressor
    from sklearn.preprocessing import FunctionTransformer

    update_registered_converter(
        LinearDiscriminantAnalysis,
        "GitopsLinearDiscriminantAnalysis",
        calculate_linear_classifier_output_shapes,
        _convert_discriminant,
        options=CLASSIFIER,
    )
    update_registered_converter(
        FunctionTransformer, "GitopsFunctionTransformer", _set_same_shape, _convert_function
    )
    update_registered_converter(
        TransformedTargetRegressor, "GitopsTransformedTarget", set_one_value, _convert_transformed_target
    )
    for kind in (QuantileRegressor, TheilSenRegressor):
        update_registered_converter(kind, f"Gitops{kind.__name__}", set_one_value, _convert_linear)
    update_registered_converter(
        HistGradientBoostingRegressor, "GitopsHistGradientBoosting", set_one_value, _convert_histogram
    )
    _mend_voting()


def set_one_value(operator: Any) -> None:
    """Say that a regressor gives one float32 number a row."""
    from skl2onnx.common.data_types import FloatTensorType

    operator.outputs[0].type = FloatTensorType([operator.inputs[0].get_first_dimension(), 1])


def _set_same_shape(operator: Any) -> None:
    from skl2onnx.common.data_types import FloatTensorType

    first = operator.inputs[0]
    shape = first.type.shape
    kind = FloatTensorType if operator.raw_operator.func is not None else type(first.type)
    operator.outputs[0].type = kind([first.get_first_dimension(), shape[1] if len(shape) > 1 else None])


def _convert_function(scope: Any, operator: Any, container: Any) -> None:
    """Write a function of numpy in float64, rounded to float32."""
    nodes, transformer = Nodes(scope, container), operator.raw_operator
    given, wanted = operator.inputs[0].full_name, operator.outputs[0].full_name
    if transformer.func is None:
        nodes.give("Identity", given, to_name=wanted)
        return
    if transformer.kw_args:
        raise NotImplementedError("FunctionTransformer with kw_args has no ONNX form")
    made = functions.write_function(transformer.func, nodes.widen(given), nodes.add, nodes.number)
    nodes.narrow(made, wanted)


def _convert_transformed_target(scope: Any, operator: Any, container: Any) -> None:
    """Convert the inner regressor, and what takes its answers back to the target's own size."""
    from skl2onnx.common.data_types import FloatTensorType

    nodes, model = Nodes(scope, container), operator.raw_operator
    (inner,) = nodes.apply(model.regressor_, operator.inputs, [FloatTensorType([None, 1])])
    value = nodes.add("Reshape", nodes.widen(inner), nodes.constant(np.array([-1, 1])))
    back = model.transformer_
    if type(back).__name__ == "FunctionTransformer":
        if back.inverse_func is not None:
            value = functions.write_function(back.inverse_func, value, nodes.add, nodes.number)
    elif type(back).__name__ in ("StandardScaler", "MinMaxScaler", "MaxAbsScaler", "RobustScaler"):
        start, end = back.inverse_transform([[0.0], [1.0]]).ravel().tolist()
        value = nodes.add("Add", nodes.add("Mul", value, nodes.number(end - start)), nodes.number(start))
    else:
        raise NotImplementedError(
            f"TransformedTargetRegressor with a {type(back).__name__} has no ONNX form; name its func and inverse_func"
        )
    nodes.narrow(value, operator.outputs[0].full_name)


def _convert_histogram(scope: Any, operator: Any, container: Any) -> None:
    """Convert the trees as skl2onnx does, and raise e to their sum for a loss that predicts a logarithm."""
    from skl2onnx.common.data_types import FloatTensorType

    nodes, model = Nodes(scope, container), operator.raw_operator
    kind = [FloatTensorType([None, 1])]
    (total,) = nodes.apply(model, operator.inputs, kind, alias="SklearnHistGradientBoostingRegressor")
    if model.loss in ("poisson", "gamma"):
        nodes.narrow(nodes.add("Exp", nodes.widen(total)), operator.outputs[0].full_name)
    else:
        nodes.give("Identity", total, to_name=operator.outputs[0].full_name)


def _convert_linear(scope: Any, operator: Any, container: Any) -> None:
    """Write a linear function in float64."""
    nodes, model = Nodes(scope, container), operator.raw_operator
    weights = np.asarray(model.coef_, dtype=np.float64).reshape(-1, 1)
    value = nodes.add("MatMul", nodes.widen(operator.inputs[0].full_name), nodes.constant(weights))
    value = nodes.add("Add", value, nodes.number(float(np.ravel(model.intercept_)[0])))
    nodes.narrow(value, operator.outputs[0].full_name)


def _convert_discriminant(scope: Any, operator: Any, container: Any) -> None:
    """Write the sigmoid of a linear function (two classes), or the softmax of several, in float64."""
    nodes, model = Nodes(scope, container), operator.raw_operator
    value = nodes.add("MatMul", nodes.widen(operator.inputs[0].full_name), nodes.constant(model.coef_.T))
    value = nodes.add("Add", value, nodes.constant(model.intercept_))
    if len(model.classes_) == 2:
        yes = nodes.add("Sigmoid", value)
        chances = nodes.add("Concat", nodes.add("Sigmoid", nodes.add("Neg", value)), yes, axis=1)
    else:
        chances = nodes.add("Softmax", value, axis=1)
    give_classes(nodes, operator, chances, model.classes_)


def give_classes(nodes: Nodes, operator: Any, chances: str, classes: Any) -> None:
    """Give a classifier's two outputs: the class of the largest of the float64 probabilities, and these."""
    best = nodes.add("ArgMax", chances, axis=1, keepdims=0)
    labels = np.asarray(classes)
    if labels.dtype.kind in "fiub":
        known = nodes.constant(labels.astype(np.int64))
    else:
        from onnx import TensorProto

        known = nodes.scope.get_unique_variable_name("classes")
        texts = [str(label).encode() for label in labels]
        nodes.container.add_initializer(known, TensorProto.STRING, [len(texts)], texts)
    nodes.give("Gather", known, best, to_name=operator.outputs[0].full_name, axis=0)
    nodes.narrow(chances, operator.outputs[1].full_name)


def _mend_voting() -> None:
    """Let voters be converted with the parameters that scikit-learn has by itself, and with weights of a list."""
    from skl2onnx import update_registered_converter
    from skl2onnx.common._registration import get_converter, get_shape_calculator
    from sklearn.ensemble import VotingClassifier, VotingRegressor

    for kind, options in ((VotingClassifier, CLASSIFIER), (VotingRegressor, None)):
        name = f"Sklearn{kind.__name__}"
        convert = _copy_first(get_converter(name))
        update_registered_converter(
            kind, f"Gitops{kind.__name__}", get_shape_calculator(name), convert, options=options
        )


def _copy_first(convert: Callable[[Any, Any, Any], None]) -> Callable[[Any, Any, Any], None]:
    def convert_copy(scope: Any, operator: Any, container: Any) -> None:
        model = copy.copy(operator.raw_operator)
        if hasattr(model, "flatten_transform"):
            model.flatten_transform = False
        if model.weights is not None:
            kept = [one is not None and one != "drop" for _, one in model.estimators]
            model.weights = np.asarray(model.weights, dtype=np.float64)[kept]
        operator.raw_operator = model
        convert(scope, operator, container)

    return convert_copy
