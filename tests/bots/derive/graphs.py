"""ONNX models as frameworks of neural networks write them: one matrix of all columns, and one output."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

FLOAT = TensorProto.FLOAT


def make_network(
    task: str,
    columns: int = 2,
    *,
    rows: int | None = None,
    shape: tuple[Any, ...] | None = None,
    kind: int = FLOAT,
    logits: bool = False,
    squeeze: bool = False,
) -> ModelProto:
    """The model that made predictions.csv: of the first of two columns, or more that do not matter.

    `rows` fixes how many it takes, `shape` and `kind` are the input's, `logits` leaves the sigmoid out, and `squeeze`
    gives answers without a second dimension, of one row without any.
    """
    slope = np.zeros((columns, 1))
    slope[0] = 30 if task == "regression" else 1.5
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    constants = [numpy_helper.from_array(slope.astype(dtype), "slope")]
    nodes = [helper.make_node("MatMul", ["inputs", "slope"], ["sum"])]
    last = "sum"
    if task != "regression" and not logits:
        nodes.append(helper.make_node("Sigmoid", ["sum"], ["chance"]))
        last = "chance"
    if task == "multiclass":
        factors = np.array([[-0.5, 0.0, 0.5]]).astype(dtype)
        constants.append(numpy_helper.from_array(factors, "factors"))
        constants.append(numpy_helper.from_array(np.array([[0.6, 0.3, 0.1]]).astype(dtype), "shares"))
        nodes += [
            helper.make_node("MatMul", ["chance", "factors"], ["parts"]),
            helper.make_node("Add", ["parts", "shares"], ["probabilities"]),
        ]
        last = "probabilities"
    if squeeze:
        nodes.append(helper.make_node("Squeeze", [last], ["squeezed"]))
        last = "squeezed"
    inputs = [helper.make_tensor_value_info("inputs", kind, shape or [rows or "batch", columns])]
    outputs = [helper.make_tensor_value_info(last, kind, None)]
    graph = helper.make_graph(nodes, "network", inputs, outputs, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
