"""Load the same model for every peer: as ONNX, or as the scikit-learn pipeline that it was exported from."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

# An absolute path, because some peers change their working folder.
PROJECT = Path(os.environ.get("PEER_PROJECT", "."))
ONNX = PROJECT / "models/onnx/model.onnx"
SKOPS = PROJECT / "models/model.skops"


def load_predictor() -> Callable[[list[dict[str, Any]]], list[float]]:
    """Load the function that turns rows into scores, from the kind of model that `PEER_MODEL` names."""
    return _load_sklearn() if os.environ.get("PEER_MODEL") == "sklearn" else _load_onnx()


def _load_onnx() -> Callable[[list[dict[str, Any]]], list[float]]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(ONNX, options, providers=["CPUExecutionProvider"])
    columns = json.loads(session.get_modelmeta().custom_metadata_map["inputs"])
    inputs = [
        (entry.name, column["name"], np.float32 if column["kind"] == "number" else object)
        for entry, column in zip(session.get_inputs(), columns, strict=True)
    ]

    def predict(rows: list[dict[str, Any]]) -> list[float]:
        feed = {name: np.array([[row[column]] for row in rows], dtype=kind) for name, column, kind in inputs}
        found: list[float] = session.run(None, feed)[0].tolist()
        return found

    return predict


def _load_sklearn() -> Callable[[list[dict[str, Any]]], list[float]]:
    import pandas as pd
    from skops import io

    model = io.load(SKOPS, trusted=io.get_untrusted_types(file=SKOPS))

    def predict(rows: list[dict[str, Any]]) -> list[float]:
        found: list[float] = model.predict_proba(pd.DataFrame(rows))[:, 1].tolist()
        return found

    return predict
