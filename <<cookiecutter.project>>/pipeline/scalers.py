"""Convert scikit-learn's scalers to ONNX to the last bit: a tree behind one asks on which side of a value a row lies.

skl2onnx multiplies by the inverse of a scale where scikit-learn divides by it. The last bit differs, and a row whose
value is a threshold changes sides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

Steps = list[tuple[str, np.ndarray]]


def register_scalers() -> None:
    """Tell skl2onnx how to convert the scalers that shift and stretch each column."""
    from skl2onnx import update_registered_converter
    from sklearn import preprocessing

    for kind, list_steps in _list_scalers().items():
        update_registered_converter(
            getattr(preprocessing, kind), f"Gitops{kind}", _set_shape, _make_converter(list_steps)
        )


def _list_scalers() -> dict[str, Callable[[Any], Steps]]:
    """List what each scaler does to a float32 table, in order: an ONNX operator, and its operand for each column."""

    def standard(scaler: Any) -> Steps:
        mean = [("Sub", scaler.mean_.astype(np.float32))] if scaler.with_mean else []
        return [*mean, *([("Div", scaler.scale_.astype(np.float32))] if scaler.with_std else [])]

    def least_and_most(scaler: Any) -> Steps:
        return [("Mul", scaler.scale_), ("Add", scaler.min_), *_list_bounds(scaler, scaler.feature_range)]

    def most(scaler: Any) -> Steps:
        return [("Div", scaler.scale_), *_list_bounds(scaler, (-1.0, 1.0))]

    def robust(scaler: Any) -> Steps:
        center = [("Sub", scaler.center_)] if scaler.with_centering else []
        return [*center, *([("Div", scaler.scale_)] if scaler.with_scaling else [])]

    return {
        "StandardScaler": standard,
        "MinMaxScaler": least_and_most,
        "MaxAbsScaler": most,
        "RobustScaler": robust,
    }


def _list_bounds(scaler: Any, bounds: tuple[float, float]) -> Steps:
    if not getattr(scaler, "clip", False):
        return []
    low, high = (np.full(scaler.n_features_in_, bound, np.float32) for bound in bounds)
    return [("Max", low), ("Min", high)]


def _set_shape(operator: Any) -> None:
    from skl2onnx.common.data_types import FloatTensorType

    first = operator.inputs[0]
    operator.outputs[0].type = FloatTensorType(
        [first.get_first_dimension(), operator.raw_operator.n_features_in_]
    )


def _make_converter(list_steps: Callable[[Any], Steps]) -> Callable[[Any, Any, Any], None]:
    """Make the converter: float32 arithmetic, and float64 where an operand is, rounded after each step."""

    def convert(scope: Any, operator: Any, container: Any) -> None:
        from onnx import TensorProto

        def add_node(kind: str, inputs: list[str], **attributes: Any) -> str:
            output: str = scope.get_unique_variable_name(f"scaler_{kind.lower()}")
            name = scope.get_unique_operator_name(f"scaler_{kind}")
            container.add_node(kind, inputs, [output], name=name, **attributes)
            return output

        values = add_node("Cast", [operator.inputs[0].full_name], to=TensorProto.FLOAT)
        for kind, operand in list_steps(operator.raw_operator):
            wide = operand.dtype == np.float64
            constant = scope.get_unique_variable_name("scaler_constant")
            typed = TensorProto.DOUBLE if wide else TensorProto.FLOAT
            container.add_initializer(constant, typed, [len(operand)], operand.tolist())
            if wide:
                values = add_node("Cast", [values], to=TensorProto.DOUBLE)
            values = add_node(kind, [values, constant])
            if wide:
                values = add_node("Cast", [values], to=TensorProto.FLOAT)
        name = scope.get_unique_operator_name("scaler_Identity")
        container.add_node("Identity", [values], [operator.outputs[0].full_name], name=name)

    return convert
