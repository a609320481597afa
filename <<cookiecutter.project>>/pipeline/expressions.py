"""A small, safe arithmetic language for `features.derived`, computed alike by numpy and by ONNX.

An expression is Python's arithmetic over column names and numbers; nothing else is parsed, so nothing else
can run. Columns are float32, the arithmetic is float64, and the result is rounded to float32 once at the end:
libraries whose `exp` differs in the last bit still give the same feature. A result that is no finite number
(a division by zero, the root of a negative) is missing, as is what is computed from a missing value; a
comparison with a missing value is false.
"""

from __future__ import annotations

import ast
import functools
import math
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeVar

from pipeline.files import Refused

if TYPE_CHECKING:
    import numpy as np

ALLOWED = (
    "numbers, column names, + - * / % **, < <= > >= == !=, parentheses, "
    "abs sqrt exp log sin cos of one value, min max of two or more, and where(condition, then, otherwise)"
)
LONGEST = 1000
DEEPEST = 50
LARGEST = 3.4028234663852886e38  # what float32 can hold

# Operators and functions by the name of the ONNX operator that computes them.
_OPERATORS: dict[type[ast.AST], str] = {
    ast.Add: "Add",
    ast.Sub: "Sub",
    ast.Mult: "Mul",
    ast.Div: "Div",
    ast.Mod: "Mod",
    ast.Pow: "Pow",
    ast.USub: "Neg",
    ast.Lt: "Less",
    ast.LtE: "LessOrEqual",
    ast.Gt: "Greater",
    ast.GtE: "GreaterOrEqual",
    ast.Eq: "Equal",
    ast.NotEq: "NotEqual",
}
_OF_ONE = {"abs": "Abs", "sqrt": "Sqrt", "exp": "Exp", "log": "Log", "sin": "Sin", "cos": "Cos"}
_OF_TWO = {"min": "Min", "max": "Max"}

X = TypeVar("X")
Operations = Mapping[str, Callable[..., Any]]


@functools.cache
def parse(expression: str) -> ast.expr:
    """The checked syntax tree of an expression. Raises `Refused`, naming it and the part at fault."""
    if len(expression) > LONGEST:
        raise _refused(expression, f"it has {len(expression)} characters, more than {LONGEST}")
    try:
        tree = ast.parse(expression.strip(), mode="eval").body
    except SyntaxError as error:
        raise _refused(expression, f"it is not arithmetic ({error.msg})") from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise _refused(expression, "it cannot be read") from error
    _check(tree, expression)
    if not any(isinstance(node, ast.Name) for node in _values(tree)):
        raise _refused(expression, "it reads no column")
    return tree


def names(expression: str) -> list[str]:
    """The columns that an expression reads, each once, in order of appearance. Raises `Refused`."""
    return list(dict.fromkeys(node.id for node in _values(parse(expression)) if isinstance(node, ast.Name)))


def evaluate(expression: str, columns: Mapping[str, np.ndarray]) -> np.ndarray:
    """The float32 values of an expression; `columns` maps what it reads to float32 arrays of one length."""
    import numpy as np

    wide = {name: np.asarray(columns[name], dtype=np.float64) for name in names(expression)}
    with np.errstate(all="ignore"):
        values: np.ndarray = apply(expression, wide, _numpy()).astype(np.float32)
    return values


def apply(expression: str, columns: Mapping[str, X], operations: Operations) -> X:
    """An expression in any arithmetic: `operations` maps the names of ONNX operators, and `Constant`, to
    functions over float64 values (`Cast` makes 0 and 1 of a truth). The result fits float32 or is NaN."""
    value = _apply(parse(expression), columns, operations)
    fits = operations["LessOrEqual"](operations["Abs"](value), operations["Constant"](LARGEST))
    finite: X = operations["Where"](fits, value, operations["Constant"](math.nan))
    return finite


def _apply(node: ast.expr, columns: Mapping[str, Any], op: Operations) -> Any:
    if isinstance(node, ast.Constant):
        return op["Constant"](float(node.value))  # type: ignore[arg-type]
    if isinstance(node, ast.Name):
        return columns[node.id]
    values = [_apply(child, columns, op) for child in _operands(node)]
    if isinstance(node, ast.Compare):
        tests = zip(node.ops, pairwise(values), strict=True)
        return functools.reduce(
            op["Mul"], [_compare(_OPERATORS[type(test)], *pair, op) for test, pair in tests]
        )
    if isinstance(node, ast.Call):
        return _call(node.func.id, values, op)  # type: ignore[attr-defined]
    name = _OPERATORS[type(node.op)]  # type: ignore[attr-defined]
    return _modulo(values, op) if name == "Mod" else op[name](*values)


def _call(name: str, values: list[Any], op: Operations) -> Any:
    if name == "where":
        return op["Where"](op["Not"](op["Equal"](values[0], op["Constant"](0.0))), *values[1:])
    if name in _OF_TWO:
        return functools.reduce(op[_OF_TWO[name]], values)
    return op[_OF_ONE[name]](*values)


def _compare(name: str, left: Any, right: Any, op: Operations) -> Any:
    if name == "NotEqual":  # "less or greater" is false for a missing value, as every comparison is
        return op["Add"](op["Cast"](op["Less"](left, right)), op["Cast"](op["Greater"](left, right)))
    return op["Cast"](op[name](left, right))


def _modulo(values: list[Any], op: Operations) -> Any:
    """Python's remainder, which has the divisor's sign, from C's, which has the dividend's."""
    left, right = values
    rest = op["Mod"](left, right)
    other_sign = op["Less"](op["Mul"](rest, right), op["Constant"](0.0))
    return op["Where"](other_sign, op["Add"](rest, right), rest)


def _numpy() -> Operations:
    import numpy as np

    return {
        "Add": np.add,
        "Sub": np.subtract,
        "Mul": np.multiply,
        "Div": np.divide,
        "Mod": np.fmod,
        "Pow": np.power,
        "Neg": np.negative,
        "Abs": np.abs,
        "Sqrt": np.sqrt,
        "Exp": np.exp,
        "Log": np.log,
        "Sin": np.sin,
        "Cos": np.cos,
        "Min": np.minimum,
        "Max": np.maximum,
        "Less": np.less,
        "LessOrEqual": np.less_equal,
        "Greater": np.greater,
        "GreaterOrEqual": np.greater_equal,
        "Equal": np.equal,
        "Not": np.logical_not,
        "Where": np.where,
        "Cast": functools.partial(np.asarray, dtype=np.float64),
        "Constant": np.float64,
    }


def _operands(node: ast.expr) -> list[ast.expr]:
    match node:
        case ast.BinOp():
            return [node.left, node.right]
        case ast.UnaryOp():
            return [node.operand]
        case ast.Compare():
            return [node.left, *node.comparators]
        case ast.Call():
            return list(node.args)
    return []


def _values(node: ast.expr) -> Iterator[ast.expr]:
    yield node
    for operand in _operands(node):
        yield from _values(operand)


def _check(node: ast.expr, expression: str, depth: int = 1) -> None:
    if depth > DEEPEST:
        raise _refused(expression, f"it is nested deeper than {DEEPEST}")
    if problem := _problem(node):
        raise _refused(expression, f"`{ast.unparse(node)[:100]}` {problem}")
    for operand in _operands(node):
        _check(operand, expression, depth + 1)


def _problem(node: ast.expr) -> str | None:
    """What is wrong with one node, its operands aside."""
    match node:
        case (
            ast.Name() | ast.BinOp(op=ast.Add() | ast.Sub() | ast.Mult() | ast.Div() | ast.Mod() | ast.Pow())
        ):
            return None
        case ast.UnaryOp(op=ast.USub()):
            return None
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            return None if abs(number) <= LARGEST else "is too large a number"
        case ast.Compare():
            return (
                None if all(type(test) in _OPERATORS for test in node.ops) else "is no comparison of numbers"
            )
        case ast.Call(func=ast.Name(id=name), keywords=[]):
            return _arity_problem(name, len(node.args))
    return "is not allowed"


def _arity_problem(name: str, given: int) -> str | None:
    if name in _OF_ONE:
        return None if given == 1 else f"gives {name} {given} values, it takes 1"
    if name in _OF_TWO:
        return None if given >= 2 else f"gives {name} {given} values, it takes 2 or more"
    if name == "where":
        return None if given == 3 else f"gives where {given} values, it takes 3 (condition, then, otherwise)"
    return f"calls {name}, which is no function here"


def _refused(expression: str, reason: str) -> Refused:
    return Refused(f"features.derived: cannot use {expression[:100]!r}: {reason}; allowed are {ALLOWED}")
