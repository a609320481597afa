"""Asks a team's ONNX model, as its framework wrote it, for its scores of a table of rows, so that no team writes that.

A model of scikit-learn calls its inputs as their columns; one of PyTorch or LightGBM takes one matrix of all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from bots.errors import BotsError
from bots.layout import PARAMS
from bots.stats.predictions import CLASS_SCORE, SLICE, WEIGHT, write_label
from bots.stats.split_columns import ADDED, PLAIN_ROW, PLAIN_TARGET, find_row_column

if TYPE_CHECKING:
    import pyarrow
    from onnxruntime import InferenceSession, NodeArg

    from bots.settings import Settings

_CHUNK: Final = 20_000
_NUMBERS: Final = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(bool)": np.bool_,
}
_TEXT: Final = "tensor(string)"
_SCORES: Final = ("tensor(float)", "tensor(double)")
_SHOWN: Final = 5


class NotScored(BotsError):
    """The model cannot score the rows; the message says why, and what to do."""


def score_table(model: Path, rows: pyarrow.Table, settings: Settings) -> pyarrow.Table:
    """Score every row: columns `row` and `score`, or `score:CLASS` for each of data.classes.

    Raises `NotScored` where the model does not fit the rows or the task.
    """
    import pyarrow

    session = _open_model(model)
    names = rows[_require(rows, find_row_column(rows.column_names))]
    inputs = _build_inputs(session, rows, settings)
    output = _choose_output(session)
    try:
        parts = [
            session.run([output], {name: values[at : at + _CHUNK] for name, values in inputs.items()})[0]
            for at in range(0, max(len(rows), 1), _CHUNK)
        ]
    except Exception as error:  # onnxruntime's errors share no base class
        raise NotScored(f"{model} gives no answer: {_shorten(error)}") from error
    scores = np.concatenate(parts).astype(np.float64).reshape(len(rows), -1)
    return pyarrow.table({PLAIN_ROW: names, **_name_scores(scores, settings, model)})


def _open_model(path: Path) -> InferenceSession:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # as above
        raise NotScored(f"{path} cannot be opened as an ONNX model: {_shorten(error)}") from error


def _build_inputs(
    session: InferenceSession, rows: pyarrow.Table, settings: Settings
) -> dict[str, NDArray[Any]]:
    """What each input of the graph gets: its column, or all columns side by side where there is one for all."""
    known = session.get_inputs()
    if all(one.name in rows.column_names for one in known):
        return {one.name: _convert(rows, one.name, one)[:, None] for one in known}
    if len(known) > 1:
        lost = [one.name for one in known if one.name not in rows.column_names]
        raise NotScored(f"the model asks for {', '.join(lost[:_SHOWN])}, and the rows have no such column")
    columns = list_inputs(rows.column_names, settings)
    width = known[0].shape[-1]
    if isinstance(width, int) and width != len(columns):
        raise NotScored(
            f"the model takes {width} numbers of each row, and the rows have {len(columns)} columns beside the row's "
            f"name and the target: {', '.join(columns[:_SHOWN])} …; write no other columns there, or name the model's "
            "inputs as columns"
        )
    return {known[0].name: np.stack([_convert(rows, name, known[0]) for name in columns], axis=1)}


def list_inputs(columns: Sequence[str], settings: Settings) -> list[str]:
    """The columns of a table of rows that a model can read, in their order: no name, target, slice or weight."""
    left_out = {PLAIN_ROW, PLAIN_TARGET, WEIGHT, settings.data.target, settings.data.weight}
    return [name for name in columns if name not in left_out and not name.startswith((ADDED, SLICE))]


def _convert(rows: pyarrow.Table, name: str, wanted: NodeArg) -> NDArray[Any]:
    """A column as the model takes it: a number that is missing is NaN, a text that is missing is empty."""
    import pyarrow

    column = rows[name]
    try:
        if wanted.type == _TEXT:
            texts = column.cast(pyarrow.string()).fill_null("")
            return np.asarray(texts.to_numpy(zero_copy_only=False), dtype=object)
        kind = _NUMBERS[wanted.type]
        numbers = np.asarray(column.cast(pyarrow.float64()).to_numpy(zero_copy_only=False))
    except KeyError as error:
        raise NotScored(
            f"the model's input {wanted.name} is a {wanted.type}, which no column can be"
        ) from error
    except pyarrow.ArrowException as error:
        raise NotScored(f"column {name} is no {wanted.type}: {_shorten(error)}") from error
    if kind not in (np.float32, np.float64) and np.isnan(numbers).any():
        raise NotScored(
            f"column {name} has rows without a value, and the model's input {wanted.name} takes none"
        )
    return numbers.astype(kind)


def _choose_output(session: InferenceSession) -> str:
    """The output that has the scores: the last one of decimal numbers, as a label stands before its probabilities."""
    known = session.get_outputs()
    numbers = [str(one.name) for one in known if one.type in _SCORES]
    if numbers:
        return numbers[-1]
    hint = "; export it with `zipmap: False`" if any("map" in one.type for one in known) else ""
    found = ", ".join(f"{one.name} ({one.type})" for one in known)
    raise NotScored(f"no output of the model is a table of decimal numbers: it has {found}{hint}")


def _name_scores(
    scores: NDArray[np.float64], settings: Settings, model: Path
) -> dict[str, NDArray[np.float64]]:
    """The columns of scores that the task has."""
    width, task = scores.shape[1], settings.task
    if task == "scores":
        raise NotScored(
            f"{PARAMS}: data.task is scores, and {model} gives no metric of a row: let review.score run code of your "
            "own that asks the model and measures each row"
        )
    if task == "multiclass":
        classes = settings.data.classes
        if classes is None or len(classes) != width:
            raise NotScored(
                f"{PARAMS}: data.classes: name the {width} classes in the order in which {model} gives their "
                f"probabilities; not {'none' if classes is None else len(classes)}"
            )
        _require_probabilities(scores, model, "a softmax")
        return {CLASS_SCORE + name: scores[:, place] for place, name in enumerate(classes)}
    if width == 2 and task == "classification":
        scores = scores[:, 1:]
    if scores.shape[1] != 1:
        raise NotScored(f"{model} gives {width} numbers for each row, and a {task} has one")
    if task == "classification":
        _require_probabilities(scores, model, "a sigmoid")
    return {"score": scores[:, 0]}


def _require_probabilities(scores: NDArray[np.float64], model: Path, last: str) -> None:
    strange = ~((scores >= 0) & (scores <= 1))
    if strange.any():
        value = write_label(float(scores[strange][0]))
        raise NotScored(f"{model} gives {value}, which is no probability: let the graph end with {last}")


def _require(rows: pyarrow.Table, name: str) -> str:
    if name not in rows.column_names:
        raise NotScored(f"the rows have no column {name}, which names each of them")
    return name


def _shorten(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
