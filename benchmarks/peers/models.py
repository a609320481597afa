"""The same model for every peer: as ONNX, or as the scikit-learn pipeline that it was exported from."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

# Absolute, because not every peer stays in the folder that it was started in.
PROJECT = Path(os.environ.get("PEER_PROJECT", "."))
ONNX = PROJECT / "models/onnx/model.onnx"
SKOPS = PROJECT / "models/model.skops"


def predictor() -> Callable[[list[dict[str, Any]]], list[float]]:
    """What turns rows into scores; `PEER_MODEL` says by what."""
    return _sklearn() if os.environ.get("PEER_MODEL") == "sklearn" else _onnx()


def _onnx() -> Callable[[list[dict[str, Any]]], list[float]]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(ONNX, options, providers=["CPUExecutionProvider"])
    inputs = [
        (entry.name, np.float32 if entry.type == "tensor(float)" else object)
        for entry in session.get_inputs()
    ]

    def predict(rows: list[dict[str, Any]]) -> list[float]:
        feed = {name: np.array([[row[name]] for row in rows], dtype=kind) for name, kind in inputs}
        found: list[float] = session.run(None, feed)[0].tolist()
        return found

    return predict


def _sklearn() -> Callable[[list[dict[str, Any]]], list[float]]:
    import pandas as pd
    from skops import io

    model = io.load(SKOPS, trusted=io.get_untrusted_types(file=SKOPS))

    def predict(rows: list[dict[str, Any]]) -> list[float]:
        found: list[float] = model.predict_proba(pd.DataFrame(rows))[:, 1].tolist()
        return found

    return predict
