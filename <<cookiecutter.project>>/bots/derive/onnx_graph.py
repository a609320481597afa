"""Gives a team's ONNX model one input for each column and one output, the score: so the service and the bots ask it.

A model of scikit-learn calls its inputs as their columns; one of PyTorch or LightGBM takes one matrix of all of them.
The wrapped model has inputs of shape (rows, 1), whose columns are listed in its properties, and gives (rows,), or with
several classes (rows, classes).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from bots.derive.tables import DeriveError
from bots.verification.onnx_model import ModelError, load_model

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from bots.evidence import Task
    from bots.stats.metrics import Floats
    from bots.verification.onnx_model import OnnxModel

PREFIX: Final = "derive"
OLDEST_IR: Final = 4
"""Before this version constants had to be inputs, too."""
_OPSET: Final = 13
_SHOWN: Final = 5
Inputs = dict[str, "NDArray[Any]"]


@dataclass(frozen=True)
class Columns:
    """The columns that a model takes, in its order: `numbers`, then `texts`. `whole` are numbers without gaps."""

    numbers: tuple[str, ...]
    texts: tuple[str, ...]
    whole: frozenset[str]

    @property
    def names(self) -> tuple[str, ...]:
        """All of them."""
        return (*self.numbers, *self.texts)


@dataclass(frozen=True, eq=False)
class WrappedModel:
    """A model with an input for each column: its bytes, the version of ONNX's operators, and how to ask it."""

    content: bytes
    opset: int
    columns: Columns
    model: OnnxModel

    def score(self, inputs: Inputs) -> Floats:
        """The score of each row, (n,) or (n, classes), NaN where there is no answer."""
        places = self.model.places
        feed = {places[name]: inputs[name] for name in self.columns.names}
        return np.asarray(self.model.session.run(None, feed)[0], dtype=np.float64)

    def ask(self, inputs: Inputs) -> Floats:
        """As `score`, row by row and NaN where the model refuses a row, for the few rows of a trial."""
        try:
            return self.score(inputs)
        except Exception:  # noqa: BLE001  onnxruntime's errors share no base class
            rows = len(next(iter(inputs.values())))
            return np.concatenate([self._ask_one(inputs, at) for at in range(rows)])

    def _ask_one(self, inputs: Inputs, at: int) -> Floats:
        try:
            return self.score({name: column[at : at + 1] for name, column in inputs.items()})
        except Exception:  # noqa: BLE001  as above
            return np.full(1, np.nan)


def load_graph(path: Path, name: str) -> Any:
    """Load an ONNX file, with the weights that lie beside it; messages call it `name`. Raises `DeriveError`."""
    try:
        import onnx
    except ImportError as error:
        raise DeriveError(
            f"{name}: to wrap a model takes the package `onnx`, which is not installed: add it to requirements/ of "
            "what trains"
        ) from error
    if not path.is_file():
        raise DeriveError(f"{name}: there is no such file; let a stage write it, or name another one")
    try:
        return onnx.load(path)
    except Exception as error:  # protobuf and onnx raise errors of their own without a common class
        raise DeriveError(f"{name}: not a readable ONNX model ({_shorten(error)})") from error


def list_text_columns(graph: Any) -> set[str]:
    """The columns that a model takes as text, as far as its inputs are called by columns."""
    from onnx import TensorProto

    named = read_columns(graph) or [one.name for one in _list_inputs(graph)]
    return {
        name
        for name, one in zip(named, _list_inputs(graph), strict=False)
        if one.type.tensor_type.elem_type == TensorProto.STRING
    }


def list_input_names(graph: Any) -> list[str]:
    """The names of the graph's inputs, in order."""
    return [one.name for one in _list_inputs(graph)]


def wrap_model(
    graph: Any,
    name: str,
    columns: Sequence[str],
    *,
    task: Task,
    classes: int,
    sample: Callable[[Columns], Inputs],
) -> WrappedModel:
    """Wrap a model for these columns of the holdout, which a model of one matrix takes in their order.

    `sample(columns)` gives a few rows, by which the form of its answers is known; `classes` is how many there are of
    them, where there are several. Raises `DeriveError` where the model does not fit the columns or the task.
    """
    from onnx import ModelProto

    wrapped = ModelProto()
    wrapped.CopyFrom(graph)
    found = _bind(wrapped, name, columns)
    output = _find_output(wrapped, name)
    _wrap_inputs(wrapped, found)
    known = _sort_columns(found)
    _set_properties(wrapped, found)
    _leave_output(wrapped, output, [])
    content = bytes(wrapped.SerializeToString(deterministic=True))
    shape = _try_model(content, name, sample(known))
    _leave_output(wrapped, output, _make_tail(shape, name, task, classes))
    content = bytes(wrapped.SerializeToString(deterministic=True))
    try:
        model = load_model(content)
    except ModelError as error:
        raise DeriveError(f"{name}: {error}") from error
    versions = [int(one.version) for one in wrapped.opset_import if one.domain in ("", "ai.onnx")]
    return WrappedModel(content, versions[0], known, model)


@dataclass(frozen=True)
class _Bound:
    """An input of the graph and the columns that it takes."""

    value: Any
    columns: tuple[str, ...]

    @property
    def type(self) -> int:
        return int(self.value.type.tensor_type.elem_type)

    @property
    def dims(self) -> list[Any]:
        return list(self.value.type.tensor_type.shape.dim)


def _list_inputs(graph: Any) -> list[Any]:
    """The inputs of a graph that are no constants."""
    constants = {one.name for one in graph.graph.initializer}
    return [one for one in graph.graph.input if one.name not in constants]


def read_columns(graph: Any) -> list[str]:
    """The columns of the inputs in order, where the model's properties list them, as those of the template do."""
    properties = {one.key: one.value for one in graph.metadata_props}
    if properties.get("binding") != "position":
        return []
    try:
        return [str(one["name"]) for one in json.loads(properties["inputs"])]
    except (KeyError, TypeError, ValueError):
        return []


def _bind(graph: Any, name: str, columns: Sequence[str]) -> list[_Bound]:
    """The inputs with their columns. Raises `DeriveError` where they do not fit each other."""
    inputs = _list_inputs(graph)
    named = read_columns(graph) or [one.name for one in inputs]
    if len(named) == len(inputs) and set(named) <= set(columns):
        found = [_Bound(one, (column,)) for one, column in zip(inputs, named, strict=True)]
    elif len(inputs) == 1:
        found = [_Bound(inputs[0], tuple(columns))]
    else:
        lost = [one for one in named if one not in columns]
        raise DeriveError(
            f"{name}: it asks for {', '.join(lost[:_SHOWN])}, and the holdout has no such column: write these columns, "
            "or export a model with one input for all of them"
        )
    for bound in found:
        _check_input(bound, name)
    return found


def _check_input(bound: _Bound, name: str) -> None:
    """Raise `DeriveError` for an input that rows of columns cannot be given to."""
    from onnx import TensorProto

    label, dims = bound.value.name, bound.dims
    known = {"FLOAT", "DOUBLE", "FLOAT16", "BFLOAT16", "INT64", "INT32", "BOOL", "STRING"}
    kind = TensorProto.DataType.Name(bound.type)
    if kind not in known or not 1 <= len(dims) <= 2 or (len(dims) == 1 and len(bound.columns) > 1):
        raise DeriveError(
            f"{name}: its input {label} is a {kind.lower()} of {len(dims)} dimensions; expected a table of rows and "
            "columns: serve such a model by code of your own"
        )
    if dims[0].HasField("dim_value"):
        raise DeriveError(
            f"{name}: it takes {dims[0].dim_value} rows at a time: export it for any number of rows "
            f"(torch.onnx.export: `dynamic_axes={{'{label}': {{0: 'rows'}}}}`)"
        )
    width = dims[1].dim_value if len(dims) == 2 and dims[1].HasField("dim_value") else len(bound.columns)
    if width != len(bound.columns):
        listed = ", ".join(bound.columns[:_SHOWN])
        raise DeriveError(
            f"{name}: its input {label} takes {width} columns, and the holdout has {len(bound.columns)} beside the "
            f"row's name and the target ({listed}): name those that it takes, in its order, by --inputs"
        )
    if kind == "STRING" and len(bound.columns) > 1:
        raise DeriveError(
            f"{name}: its input {label} takes a table of text: give each column an input of its own"
        )


def _sort_columns(found: Sequence[_Bound]) -> Columns:
    from onnx import TensorProto

    numbers, texts, whole = list[str](), list[str](), set[str]()
    for bound in found:
        (texts if bound.type == TensorProto.STRING else numbers).extend(bound.columns)
        if bound.type in (TensorProto.INT64, TensorProto.INT32, TensorProto.BOOL):
            whole |= set(bound.columns)
    return Columns(tuple(numbers), tuple(texts), frozenset(whole))


def _wrap_inputs(graph: Any, found: Sequence[_Bound]) -> None:
    """Put an input (rows, 1) for each column before the graph's own."""
    from onnx import TensorProto, helper

    inputs, nodes, constants = [], [], []
    for number, bound in enumerate(found):
        text = bound.type == TensorProto.STRING
        kind = TensorProto.STRING if text else TensorProto.FLOAT
        names = [f"{PREFIX}.input.{number}.{place}" for place in range(len(bound.columns))]
        inputs += [helper.make_tensor_value_info(one, kind, [None, 1]) for one in names]
        steps: list[tuple[str, dict[str, Any]]] = [("Concat", {"axis": 1})] if len(names) > 1 else []
        steps += [] if bound.type == kind else [("Cast", {"to": bound.type})]
        steps += [("Reshape", {})] if len(bound.dims) == 1 else []
        given = names
        for at, (operator, attributes) in enumerate(steps or [("Identity", {})]):
            last = at == max(len(steps), 1) - 1
            made = bound.value.name if last else f"{PREFIX}.input.{number}:{operator}"
            if operator == "Reshape":
                constants.append(helper.make_tensor(f"{PREFIX}.{number}.shape", TensorProto.INT64, [1], [-1]))
                given = [*given, constants[-1].name]
            nodes.append(
                helper.make_node(operator, given, [made], name=f"{PREFIX}.{number}.{operator}", **attributes)
            )
            given = [made]
    _replace(graph.graph.input, inputs)
    _replace(graph.graph.node, [*nodes, *graph.graph.node])
    graph.graph.initializer.extend(constants)
    graph.ir_version = max(graph.ir_version, OLDEST_IR)
    if not any(one.domain in ("", "ai.onnx") for one in graph.opset_import):
        graph.opset_import.append(helper.make_opsetid("", _OPSET))


def _replace(repeated: Any, values: Sequence[Any]) -> None:
    kept = list(values)
    copies = [type(one)() for one in kept]
    for copied, one in zip(copies, kept, strict=True):
        copied.CopyFrom(one)
    del repeated[:]
    repeated.extend(copies)


def _find_output(graph: Any, name: str) -> str:
    """The value that has the scores: of the last output of decimal numbers, as a label stands before its probabilities.

    A ZipMap behind it, which makes dictionaries of them, is taken off. Raises `DeriveError`.
    """
    from onnx import TensorProto

    decimal = (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16)
    zipped = {node.output[0]: node for node in graph.graph.node if node.op_type == "ZipMap"}
    found = [
        str(zipped[one.name].input[0]) if one.name in zipped else str(one.name)
        for one in graph.graph.output
        if one.name in zipped or one.type.tensor_type.elem_type in decimal
    ]
    if not found:
        listed = ", ".join(one.name for one in graph.graph.output)
        raise DeriveError(f"{name}: no output of it is a table of decimal numbers: it gives {listed}")
    _replace(graph.graph.node, [node for node in graph.graph.node if node.op_type != "ZipMap"])
    return found[-1]


def _leave_output(
    graph: Any, value: str, tail: Sequence[tuple[str, dict[str, Any], list[int] | int | None]]
) -> None:
    """Leave one output, `derive.score`, that is made of a value by some operators, each with a constant or none."""
    from onnx import TensorProto, helper

    kept = [node for node in graph.graph.node if not node.name.startswith(f"{PREFIX}.tail.")]
    constants = [one for one in graph.graph.initializer if not one.name.startswith(f"{PREFIX}.tail.")]
    steps = [("Cast", {"to": TensorProto.FLOAT}, None), *tail]
    given = value
    for at, (operator, attributes, constant) in enumerate(steps):
        made = f"{PREFIX}.score" if at == len(steps) - 1 else f"{PREFIX}.tail.{at}"
        inputs = [given]
        if constant is not None:
            shape = [len(constant)] if isinstance(constant, list) else []
            values = constant if isinstance(constant, list) else [constant]
            constants.append(
                helper.make_tensor(f"{PREFIX}.tail.{at}:constant", TensorProto.INT64, shape, values)
            )
            inputs.append(constants[-1].name)
        kept.append(
            helper.make_node(operator, inputs, [made], name=f"{PREFIX}.tail.{at}:{operator}", **attributes)
        )
        given = made
    _replace(graph.graph.node, kept)
    _replace(graph.graph.initializer, constants)
    rank = 2 if tail and tail[-1][0] == "Identity" else 1
    known = [None] * rank if tail else None
    _replace(graph.graph.output, [helper.make_tensor_value_info(f"{PREFIX}.score", TensorProto.FLOAT, known)])


def _try_model(content: bytes, name: str, inputs: Inputs) -> tuple[int, ...]:
    """The shape of the answers to a few rows. Raises `DeriveError` where the model gives none."""
    try:
        model = load_model(content)
        answers = model.session.run(None, {model.places[one]: values for one, values in inputs.items()})[0]
    except ModelError as error:
        raise DeriveError(f"{name}: {error}") from error
    except Exception as error:  # onnxruntime's errors share no base class
        raise DeriveError(f"{name}: it gives no answer for rows of the holdout: {_shorten(error)}") from error
    rows = len(next(iter(inputs.values())))
    if rows > 1 and (not answers.ndim or len(answers) != rows):
        raise DeriveError(
            f"{name}: asked for {rows} rows it gives an answer of shape {answers.shape}, not one a row"
        )
    return tuple(answers.shape)


def _make_tail(
    shape: tuple[int, ...], name: str, task: Task, classes: int
) -> list[tuple[str, dict[str, Any], list[int] | int | None]]:
    """The operators that make scores of answers of this shape. Raises `DeriveError` where it does not fit the task."""
    width = int(np.prod(shape[1:]))
    if task == "multiclass":
        if width != classes:
            raise DeriveError(
                f"{name}: it gives {width} numbers a row, and the predictions have {classes} classes: let it give "
                "their probabilities in the same order"
            )
        return [("Reshape", {}, [-1, classes]), ("Identity", {}, None)]
    if task == "classification" and width == 2:
        return [("Reshape", {}, [-1, 2]), ("Gather", {"axis": 1}, 1)]
    if width != 1:
        raise DeriveError(f"{name}: it gives {width} numbers a row, and a {task} has one")
    return [("Reshape", {}, [-1])]


def _set_properties(graph: Any, found: Sequence[_Bound]) -> None:
    """List the columns in the order of the inputs, as the service and the bots read them."""
    from onnx import TensorProto

    listed = [
        {"name": column, "kind": "category" if bound.type == TensorProto.STRING else "number"}
        for bound in found
        for column in bound.columns
    ]
    kept = [one for one in graph.metadata_props if one.key not in ("inputs", "binding")]
    _replace(graph.metadata_props, kept)
    for key, value in (("inputs", json.dumps(listed)), ("binding", "position")):
        added = graph.metadata_props.add()
        added.key, added.value = key, value


def _shorten(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def find_strange(scores: Floats, task: Task) -> Iterator[str]:
    """What is wrong with a model's own scores: no finite numbers, or no probabilities where the task needs some."""
    if bad := int((~np.isfinite(scores)).reshape(len(scores), -1).any(axis=1).sum()):
        yield f"it gives no finite number for {bad:,} of {len(scores):,} rows of the holdout"
    elif task != "regression" and ((scores < 0) | (scores > 1)).any():
        first = scores[(scores < 0) | (scores > 1)][0]
        last = "a softmax" if task == "multiclass" else "a sigmoid"
        yield f"it gives {first:g}, which is no probability: let the graph end with {last}"
