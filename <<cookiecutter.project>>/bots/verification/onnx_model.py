"""Asks the ONNX model that ships for its scores: onnxruntime and numpy, nothing of the code that trained it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from bots.decoding import DECODE_ERRORS, describe_decode_error
from bots.errors import BotsError
from bots.stats.split_columns import find_row_column, find_target_column

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

    from bots.stats.metrics import Floats

CHUNK: Final = 20_000

Inputs = Mapping[str, NDArray[Any]]


class ModelError(BotsError):
    """The model cannot be loaded, or gives no answer; the message says why."""


class _Column(Struct):
    """A column as the model's properties have it."""

    name: str


@dataclass(frozen=True)
class HoldoutRows:
    """The holdout: identity (n,), target (n,) as a number or None where it names classes, and each input as the model
    takes it, (n, 1)."""

    row: NDArray[Any]
    target: Floats | None
    inputs: Inputs


@dataclass(frozen=True)
class OnnxModel:
    """An ONNX model with one output, the score, or the probability of each of several classes.

    `places` maps the name of a column to the graph's input that takes it, in the graph's order; `texts` are the columns
    that it takes as text.
    """

    session: InferenceSession
    places: Mapping[str, str]
    texts: frozenset[str]

    def score(self, inputs: Inputs) -> Floats:
        """The score of each row: float64, (n,), or (n, k) of several classes. Raises `ModelError`."""
        rows = len(next(iter(inputs.values())))
        try:
            parts = [
                self.session.run(
                    None, {self.places[name]: column[at : at + CHUNK] for name, column in inputs.items()}
                )[0]
                for at in range(0, rows, CHUNK)
            ]
        except Exception as error:  # onnxruntime's errors share no base class
            raise ModelError(f"the ONNX model gives no answer: {_shorten(error)}") from error
        scores = np.concatenate(parts).astype(np.float64)
        if scores.ndim != 2 or scores.shape[1] == 1 or len(scores) != rows:
            scores = scores.reshape(-1)
        if len(scores) != rows or not np.isfinite(scores).all():
            raise ModelError("the ONNX model does not give finite numbers for each row")
        return scores


def load_model(content: bytes) -> OnnxModel:
    """Load a model on one thread; from bytes, so that it cannot name another file. Raises `ModelError`."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # as above
        raise ModelError(f"the ONNX model cannot be loaded: {_shorten(error)}") from error
    known = session.get_inputs()
    names = _list_columns(session, [one.name for one in known])
    texts = frozenset(name for name, one in zip(names, known, strict=True) if one.type == "tensor(string)")
    return OnnxModel(session, dict(zip(names, (one.name for one in known), strict=True)), texts)


def _list_columns(session: InferenceSession, inputs: list[str]) -> list[str]:
    """The name of the column that each input takes. Raises `ModelError` where the model does not say it.

    An export of the template's pipeline numbers the graph's inputs and lists the columns in the same order among the
    model's properties. Any other model, and one that was exported before, calls its inputs as the columns.
    """
    properties = session.get_modelmeta().custom_metadata_map
    if properties.get("binding") != "position":
        return inputs
    try:
        names = [one.name for one in msgspec.json.decode(properties.get("inputs", ""), type=list[_Column])]
    except DECODE_ERRORS as error:
        raise ModelError(
            f"the ONNX model does not name its columns: {describe_decode_error(error)}"
        ) from error
    if len(names) != len(inputs) or len(set(names)) < len(names):
        raise ModelError(
            f"the ONNX model has {len(inputs)} inputs, and names {len(set(names))} columns for them"
        )
    return names


def load_rows(path: Path, model: OnnxModel) -> HoldoutRows:
    """Load the holdout as this model takes it. Raises `ModelError` where a column that the model needs is missing."""
    import pyarrow
    import pyarrow.parquet as parquet

    try:
        found = parquet.read_table(path)
        inputs = {name: _convert_column(found[name], text=name in model.texts) for name in model.places}
        labels, names = (
            found[find_target_column(found.column_names)],
            found[find_row_column(found.column_names)],
        )
        named = pyarrow.types.is_string(labels.type) or pyarrow.types.is_large_string(labels.type)
        target = None if named else np.asarray(labels.cast(pyarrow.float64()).to_numpy(zero_copy_only=False))
        row = np.asarray(names.cast(pyarrow.string()).to_numpy(zero_copy_only=False))
    except (OSError, KeyError, pyarrow.ArrowException) as error:
        raise ModelError(f"the holdout does not have what the model takes: {error}") from error
    if not len(row):
        raise ModelError("the holdout has no rows")
    return HoldoutRows(row, target, inputs)


def _convert_column(column: Any, *, text: bool) -> NDArray[Any]:
    import pyarrow

    if text:
        return np.asarray(
            column.cast(pyarrow.string()).fill_null("").to_numpy(zero_copy_only=False), dtype=object
        )[:, None]
    return np.asarray(column.cast(pyarrow.float32()).to_numpy(zero_copy_only=False))[:, None]


def _shorten(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
