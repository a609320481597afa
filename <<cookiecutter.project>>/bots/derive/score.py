"""Scores a table of rows with a team's ONNX model, wrapped as the service gets it: so both give the same scores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bots.derive import onnx_graph
from bots.derive.limits import draw_rows
from bots.derive.model_inputs import find_gaps, list_inputs, make_inputs
from bots.derive.tables import DeriveError, load_rows
from bots.evidence import FeaturesReport, load
from bots.layout import PARAMS
from bots.stats.predictions import CLASS_SCORE
from bots.stats.split_columns import PLAIN_ROW
from bots.verification.onnx_model import ModelError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pyarrow

    from bots.derive.tables import Rows
    from bots.settings import Settings

_TRIED = 3
_SHOWN = 5


def score_rows(
    root: Path, model: str, path: str, settings: Settings, chosen: Sequence[str] | None = None
) -> pyarrow.Table:
    """Score every row of a table: columns `row` and `score`, or `score:CLASS` for each of data.classes.

    `model` is the ONNX file's path from `root`, `path` that of the rows (CSV or Parquet). `chosen` are the columns that
    the model takes in its order; without them they are those of its record (`choose_columns`). Raises `DeriveError`
    where it does not fit the rows or the task.
    """
    import pyarrow

    if settings.task == "scores":
        raise DeriveError(
            f"{PARAMS}: data.task is scores, and {model} gives no metric of a row: let review.score run code of your "
            "own that asks the model and measures each row"
        )
    graph, classes = onnx_graph.load_graph(root / model, model), settings.data.classes or ()
    if settings.task == "multiclass" and not classes:
        raise DeriveError(
            f"{PARAMS}: data.classes: name the classes in the order in which {model} gives their probabilities"
        )
    rows = load_rows(root, path, onnx_graph.list_text_columns(graph))
    wrapped = onnx_graph.wrap_model(
        graph,
        model,
        list(chosen) if chosen else choose_columns(root, graph, model, rows, settings),
        task=settings.task,
        classes=len(classes),
        sample=lambda columns: draw_rows(make_inputs(rows, columns), _TRIED),
    )
    inputs = make_inputs(rows, wrapped.columns)
    for name in sorted(wrapped.columns.whole):
        if find_gaps(inputs[name]).any():
            raise DeriveError(f"{path}: {name}: rows without a value, and {model} takes whole numbers there")
    try:
        scores = wrapped.model.score(inputs)
    except ModelError as error:
        raise DeriveError(f"{model}: {error}") from error
    if strange := next(onnx_graph.find_strange(scores, settings.task), None):
        raise DeriveError(f"{model}: {strange}")
    if not classes or settings.task != "multiclass":
        return pyarrow.table({PLAIN_ROW: rows.names, "score": scores})
    columns = {CLASS_SCORE + name: scores[:, place] for place, name in enumerate(classes)}
    return pyarrow.table({PLAIN_ROW: rows.names, **columns})


def choose_columns(root: Path, graph: Any, model: str, rows: Rows, settings: Settings) -> list[str]:
    """The columns that a model takes, in its order.

    A model of several inputs calls them as columns. What a model of one matrix takes is read from the properties of its
    own file, of its wrapped form, else from the report of its features: the rows may be another commit's, and have
    another order. Raises `DeriveError` where nothing tells it, or a column is missing.
    """
    known = list_inputs(rows.columns, settings)
    inputs = onnx_graph.list_input_names(graph)
    if len(inputs) != 1:
        return known
    columns = onnx_graph.read_columns(graph) or _read_record(root, settings)
    if not columns and (inputs[0] in known or len(known) == 1):
        return known
    if not columns:
        files = settings.review.files
        raise DeriveError(
            f"{model}: it takes one matrix, and nothing says which columns in which order: neither {files.onnx} nor "
            f"{files.name_report('features')} is there; name them by `--inputs COLUMNS` in review.score of {PARAMS}"
        )
    if lost := [name for name in columns if name not in rows.columns]:
        raise DeriveError(f"{model} asks for {', '.join(lost[:_SHOWN])}, and {rows.path} has no such column")
    return columns


def _read_record(root: Path, settings: Settings) -> list[str]:
    """The columns of the model that was wrapped here, or of the report of its features; none where there is neither."""
    files = settings.review.files
    wrapped, report = f"{files.onnx}/model.onnx", files.name_report("features")
    if (root / wrapped).is_file() and (
        columns := onnx_graph.read_columns(onnx_graph.load_graph(root / wrapped, wrapped))
    ):
        return columns
    if not (root / report).is_file():
        return []
    return [one.name for one in load(root / report, FeaturesReport, report).features]
