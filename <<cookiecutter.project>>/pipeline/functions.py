"""Name functions in params.yaml by their import path, and write those of numpy as ONNX nodes."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.files import StageError

if TYPE_CHECKING:
    from collections.abc import Iterable

Node = Callable[..., str]
"""Adds an ONNX node of this kind on these inputs, with these attributes, and returns its output's name."""

Number = Callable[[float], str]
"""Adds a constant of one float64 number, and returns its name."""


def import_function(path: str, where: str) -> Any:
    """Import the function of a path such as `numpy.log1p`. Raises `StageError` that names the place in params.yaml."""
    module, _, name = path.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise StageError(f"params.yaml: {where}: no function {path!r} to import{_suggest(name)}") from error
    if isinstance(found, type) or not callable(found):
        raise StageError(f"params.yaml: {where}: {path} is no function; name one such as numpy.log1p")
    return found


def name_function(function: Any) -> str:
    """Name a function by the path that it is imported from."""
    if isinstance(function, np.ufunc):
        return f"numpy.{function.__name__}"
    return f"{getattr(function, '__module__', '?')}.{getattr(function, '__qualname__', function)}"


def write_function(function: Any, value: str, node: Node, number: Number) -> str:
    """Write what a function of numpy computes of float64 values as ONNX nodes, and return the output's name.

    Raises `NotImplementedError` for a function without such a form.
    """
    write = _FORMS.get(name_function(function))
    if write is None:
        raise NotImplementedError(
            f"the function {name_function(function)} has no ONNX form; those of numpy that have one are "
            f"{', '.join(sorted(list_functions()))}"
        )
    return write(value, node, number)


def list_functions() -> Iterable[str]:
    """List the functions of numpy that have an ONNX form, by their names without `numpy.`."""
    return [path.removeprefix("numpy.") for path in _FORMS]


def _suggest(name: str) -> str:
    near = difflib.get_close_matches(name, list_functions(), n=1)
    return f"; did you mean numpy.{near[0]}?" if near else ""


def _plain(kind: str) -> Callable[[str, Node, Number], str]:
    def write(value: str, node: Node, number: Number) -> str:
        del number
        return node(kind, value)

    return write


def _with_number(kind: str, operand: float, after: str | None = None) -> Callable[[str, Node, Number], str]:
    """The operation with a number, and an operation on its result."""

    def write(value: str, node: Node, number: Number) -> str:
        made = node(kind, value, number(operand))
        return node(after, made) if after else made

    return write


def _after(first: str, kind: str, operand: float) -> Callable[[str, Node, Number], str]:
    def write(value: str, node: Node, number: Number) -> str:
        return node(kind, node(first, value), number(operand))

    return write


def _write_cbrt(value: str, node: Node, number: Number) -> str:
    return node("Mul", node("Sign", value), node("Pow", node("Abs", value), number(1 / 3)))


_FORMS: dict[str, Callable[[str, Node, Number], str]] = {
    "numpy.abs": _plain("Abs"),
    "numpy.absolute": _plain("Abs"),
    "numpy.cbrt": _write_cbrt,
    "numpy.ceil": _plain("Ceil"),
    "numpy.cos": _plain("Cos"),
    "numpy.exp": _plain("Exp"),
    "numpy.expm1": _after("Exp", "Sub", 1.0),
    "numpy.floor": _plain("Floor"),
    "numpy.log": _plain("Log"),
    "numpy.log10": _after("Log", "Div", float(np.log(10.0))),
    "numpy.log1p": _with_number("Add", 1.0, "Log"),
    "numpy.log2": _after("Log", "Div", float(np.log(2.0))),
    "numpy.negative": _plain("Neg"),
    "numpy.reciprocal": _plain("Reciprocal"),
    "numpy.sign": _plain("Sign"),
    "numpy.sin": _plain("Sin"),
    "numpy.sqrt": _plain("Sqrt"),
    "numpy.square": _with_number("Pow", 2.0),
    "numpy.tanh": _plain("Tanh"),
}
