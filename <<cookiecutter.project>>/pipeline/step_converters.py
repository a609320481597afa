"""Convert steps to ONNX for which skl2onnx has no converter: splines, and gaps that models fill."""

from __future__ import annotations

from typing import Any

import numpy as np

from pipeline.converters import Nodes


def register_steps() -> None:
    """Tell skl2onnx how to convert them."""
    import sklearn.experimental.enable_iterative_imputer  # noqa: F401  it gives the class below
    from skl2onnx import update_registered_converter
    from sklearn.impute import IterativeImputer
    from sklearn.preprocessing import SplineTransformer

    update_registered_converter(SplineTransformer, "GitopsSplines", _set_named_shape, _convert_splines)
    update_registered_converter(
        IterativeImputer, "GitopsIterativeImputer", _set_named_shape, _convert_imputer
    )


def _set_named_shape(operator: Any) -> None:
    from skl2onnx.common.data_types import FloatTensorType

    width = len(operator.raw_operator.get_feature_names_out())
    operator.outputs[0].type = FloatTensorType([operator.inputs[0].get_first_dimension(), width])


def _convert_splines(scope: Any, operator: Any, container: Any) -> None:
    """Write each column's B-splines as the polynomials that they are between two knots, in float64."""
    nodes, model = Nodes(scope, container), operator.raw_operator
    if model.extrapolation not in ("constant", "linear", "continue"):
        raise NotImplementedError(
            f"SplineTransformer with extrapolation={model.extrapolation} has no ONNX form"
        )
    given = nodes.widen(operator.inputs[0].full_name)
    parts = [
        _write_splines(
            nodes, nodes.add("Gather", given, nodes.constant(np.array([at])), axis=1), spline, model
        )
        for at, spline in enumerate(model.bsplines_)
    ]
    nodes.narrow(nodes.add("Concat", *parts, axis=1), operator.outputs[0].full_name)


def _write_splines(nodes: Nodes, column: str, spline: Any, model: Any) -> str:
    """Write the splines of one column (rows, 1): float64, shape (rows, splines)."""
    from onnx import TensorProto
    from scipy.interpolate import PPoly

    first, last = model.degree, len(spline.t) - model.degree - 1
    count = spline.c.shape[1] - (0 if model.include_bias else 1)
    pieces = [PPoly.from_spline((spline.t, spline.c[:, at], model.degree)).c for at in range(count)]
    kept = np.stack(pieces, axis=-1)[:, first:last]
    starts = np.asarray(spline.t[first:last], dtype=np.float64)
    low, high = nodes.number(float(spline.t[first])), nodes.number(float(spline.t[last]))
    inside = nodes.add("Min", nodes.add("Max", column, low), high)
    read = column if model.extrapolation == "continue" else inside
    reached = nodes.add("GreaterOrEqual", read, nodes.constant(starts[1:])) if len(starts) > 1 else None
    if reached is None:
        rows = nodes.add("Cast", nodes.add("IsNaN", read), to=TensorProto.INT64)
        place = nodes.add(
            "Mul", nodes.add("Reshape", rows, nodes.constant(np.array([-1]))), nodes.constant(np.array([0]))
        )
    else:
        counted = nodes.add("Cast", reached, to=TensorProto.INT64)
        place = nodes.add("ReduceSum", counted, nodes.constant(np.array([1])), keepdims=0)
    start = nodes.add(
        "Reshape", nodes.add("Gather", nodes.constant(starts), place), nodes.constant(np.array([-1, 1]))
    )
    distance = nodes.add("Sub", read, start)

    def evaluate(coefficients: np.ndarray) -> str:
        """Evaluate polynomials, highest power first, (powers, pieces, splines), by Horner's rule."""
        value = nodes.add("Gather", nodes.constant(coefficients[0]), place, axis=0)
        for row in coefficients[1:]:
            added = nodes.add("Gather", nodes.constant(row), place, axis=0)
            value = nodes.add("Add", nodes.add("Mul", value, distance), added)
        return value

    value = evaluate(kept)
    if model.extrapolation == "linear":
        powers = np.arange(len(kept) - 1, 0, -1, dtype=np.float64)[:, None, None]
        beyond = nodes.add("Sub", column, inside)
        value = nodes.add("Add", value, nodes.add("Mul", evaluate(kept[:-1] * powers), beyond))
    return value


def _convert_imputer(scope: Any, operator: Any, container: Any) -> None:
    """Fill each gap by the column's usual value, then by what each model of the sequence says, in its order."""
    from skl2onnx.common.data_types import FloatTensorType

    nodes, model = Nodes(scope, container), operator.raw_operator
    usual = np.asarray(model.initial_imputer_.statistics_).astype(np.float32).astype(np.float64)
    if not np.isfinite(usual).all() or model.add_indicator or model.sample_posterior:
        raise NotImplementedError(
            "IterativeImputer has no ONNX form with add_indicator, sample_posterior, or a column without any value"
        )
    given = nodes.widen(operator.inputs[0].full_name)
    columns, gaps = [], []
    for at, value in enumerate(usual.tolist()):
        column = nodes.add("Gather", given, nodes.constant(np.array([at])), axis=1)
        gaps.append(nodes.add("IsNaN", column))
        columns.append(nodes.add("Where", gaps[-1], nodes.number(value), column))
    for triplet in model.imputation_sequence_:
        at, others = int(triplet.feat_idx), [int(one) for one in triplet.neighbor_feat_idx]
        known = nodes.add("Concat", *(columns[one] for one in others), axis=1)
        if hasattr(triplet.estimator, "coef_"):
            weights = np.asarray(triplet.estimator.coef_, dtype=np.float64).reshape(-1, 1)
            said = nodes.add("MatMul", known, nodes.constant(weights))
            said = nodes.add("Add", said, nodes.number(float(np.ravel(triplet.estimator.intercept_)[0])))
        else:
            read = scope.declare_local_variable("known", FloatTensorType([None, len(others)]))
            nodes.narrow(known, read.full_name)
            (answer,) = nodes.apply(triplet.estimator, [read], [FloatTensorType([None, 1])])
            said = nodes.add("Reshape", nodes.widen(answer), nodes.constant(np.array([-1, 1])))
        low, high = nodes.number(_bound(model._min_value[at])), nodes.number(_bound(model._max_value[at]))
        said = nodes.add("Min", nodes.add("Max", said, low), high)
        columns[at] = nodes.add("Where", gaps[at], nodes.round(said), columns[at])
    nodes.narrow(nodes.add("Concat", *columns, axis=1), operator.outputs[0].full_name)


def _bound(value: Any) -> float:
    """A bound as a number that ONNX's tools take: infinity as the largest float64."""
    return float(np.clip(value, -np.finfo(np.float64).max, np.finfo(np.float64).max))
