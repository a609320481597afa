"""The language of the expressions in params.yaml: checked arithmetic over columns, alike in numpy and in ONNX.

`data.derive` and `features.derived` are written in it. An expression is Python's arithmetic over column names and
numbers; nothing else is parsed, so nothing else can run. A result that is no finite number (a division by zero,
the root of a negative) is missing, as is what is computed from a missing value; a comparison with a missing value
is false.

A feature is computed from float32 columns in float64, and rounded to float32 once at the end: libraries whose `exp`
differs in the last bit still give the same feature.
"""

from __future__ import annotations

import ast
import functools
import keyword
import math
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from pipeline.config import ConfigError

if TYPE_CHECKING:
    import numpy as np

Kind = Literal["number", "truth", "text"]
ALLOWED = (
    "numbers, column names, + - * / % **, < <= > >= == !=, and or not of comparisons, 'text' beside == or !=, "
    "parentheses, abs sqrt exp log sin cos of one value, min max of two or more, and where(condition, then, otherwise)"
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
Kinds = Mapping[str, Kind]
NUMBERS: Kinds = MappingProxyType({})
# The column that a word of an expression stands for, where that is not the column's name.
NO_ALIASES: Mapping[str, str] = MappingProxyType({})


def parse(expression: str, kinds: Kinds = NUMBERS, where: str = "features.derived") -> ast.expr:
    """The checked syntax tree of an expression.

    `kinds` says which columns are no numbers. Raises `ConfigError` that names `where` the expression stands, the
    expression and the part at fault.
    """
    try:
        tree = _read(expression)
        if _check_kind(tree, kinds) == "text":
            raise _Unusable(tree, "is text, not a number or a truth")
    except _Unusable as error:
        raise ConfigError(
            f"{where}: cannot use {expression[:100]!r}: {error}; allowed are {ALLOWED}"
        ) from error
    return tree


def list_columns(expression: str, kinds: Kinds = NUMBERS, where: str = "features.derived") -> list[str]:
    """The columns that an expression reads, each once, in order of appearance. Raises `ConfigError`."""
    tree = parse(expression, kinds, where)
    return list(dict.fromkeys(node.id for node in _walk(tree) if isinstance(node, ast.Name)))


def is_word(name: str) -> bool:
    """Whether a name can stand in an expression as it is: Python reads `ﬁ` as `fi`, which would be another name."""
    plain = unicodedata.normalize("NFKC", name) == name
    return plain and name.isidentifier() and not keyword.iskeyword(name)


def bind_aliases(columns: Mapping[str, X], aliases: Mapping[str, str]) -> dict[str, X]:
    """Columns by their names, and by their aliases too."""
    return {**columns, **{word: columns[name] for word, name in aliases.items() if name in columns}}


def is_truth(expression: str, kinds: Kinds = NUMBERS) -> bool:
    """Whether an expression says yes or no, as a comparison does, instead of giving a number."""
    return _check_kind(parse(expression, kinds), kinds) == "truth"


def evaluate(expression: str, columns: Mapping[str, np.ndarray]) -> np.ndarray:
    """The float32 values of an expression; `columns` maps what it reads to float32 arrays of one length."""
    import numpy as np

    wide = {name: np.asarray(columns[name], dtype=np.float64) for name in list_columns(expression)}
    with np.errstate(all="ignore"):
        values: np.ndarray = apply(expression, wide, _list_numpy_operations()).astype(np.float32)
    return values


def evaluate_typed(expression: str, columns: Mapping[str, np.ndarray], kinds: Kinds) -> np.ndarray:
    """The float64 values of an expression over arrays of one length: float64, or objects where the kind is text."""
    import numpy as np

    with np.errstate(all="ignore"):
        return np.asarray(
            _apply(parse(expression, kinds), columns, _list_numpy_operations()), dtype=np.float64
        )


def apply(expression: str, columns: Mapping[str, X], operations: Operations) -> X:
    """An expression in any arithmetic: `operations` maps the names of ONNX operators, and `Constant`, to
    functions over float64 values (`Cast` makes 0 and 1 of a truth). The result fits float32 or is NaN."""
    value = _apply(parse(expression), columns, operations)
    fits = operations["LessOrEqual"](operations["Abs"](value), operations["Constant"](LARGEST))
    finite: X = operations["Where"](fits, value, operations["Constant"](math.nan))
    return finite


def _apply(node: ast.expr, columns: Mapping[str, Any], op: Operations) -> Any:
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else op["Constant"](float(node.value))  # type: ignore[arg-type]
    if isinstance(node, ast.Name):
        return columns[node.id]
    values = [_apply(child, columns, op) for child in _list_operands(node)]
    if isinstance(node, ast.Compare):
        tests = zip(node.ops, pairwise(values), strict=True)
        return functools.reduce(
            op["Mul"], [_compare(_OPERATORS[type(test)], *pair, op) for test, pair in tests]
        )
    if isinstance(node, ast.BoolOp):
        return functools.reduce(op["Mul" if isinstance(node.op, ast.And) else "Max"], values)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        return op["Sub"](op["Constant"](1.0), *values)
    if isinstance(node, ast.Call):
        return _call(node.func.id, values, op)  # type: ignore[attr-defined]
    name = _OPERATORS[type(node.op)]  # type: ignore[attr-defined]
    return _compute_modulo(values, op) if name == "Mod" else op[name](*values)


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


def _compute_modulo(values: list[Any], op: Operations) -> Any:
    """Python's remainder, which has the divisor's sign, from C's, which has the dividend's."""
    left, right = values
    rest = op["Mod"](left, right)
    other_sign = op["Less"](op["Mul"](rest, right), op["Constant"](0.0))
    return op["Where"](other_sign, op["Add"](rest, right), rest)


def _list_numpy_operations() -> Operations:
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


def _list_operands(node: ast.expr) -> list[ast.expr]:
    match node:
        case ast.BinOp():
            return [node.left, node.right]
        case ast.UnaryOp():
            return [node.operand]
        case ast.Compare():
            return [node.left, *node.comparators]
        case ast.BoolOp():
            return list(node.values)
        case ast.Call():
            return list(node.args)
    return []


def _walk(node: ast.expr) -> Iterator[ast.expr]:
    yield node
    for operand in _list_operands(node):
        yield from _walk(operand)


class _Unusable(Exception):
    """What is wrong with an expression: a part of it, or all of it."""

    def __init__(self, node: ast.expr | None, problem: str) -> None:
        super().__init__(f"`{ast.unparse(node)[:100]}` {problem}" if node is not None else problem)


@functools.cache
def _read(expression: str) -> ast.expr:
    """The syntax tree of an expression, whatever the kinds of its columns. Raises `_Unusable`."""
    if len(expression) > LONGEST:
        raise _Unusable(None, f"it has {len(expression)} characters, more than {LONGEST}")
    source = expression.strip()
    try:
        tree = ast.parse(source, mode="eval").body
    except SyntaxError as error:
        raise _Unusable(None, f"it is not arithmetic ({error.msg})") from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise _Unusable(None, "it cannot be read") from error
    _check_syntax(tree)
    names = [node for node in _walk(tree) if isinstance(node, ast.Name)]
    if not names:
        raise _Unusable(None, "it reads no column")
    for node in names:  # Python would call a column by its name's normal form (NFKC)
        node.id = ast.get_source_segment(source, node) or node.id
    return tree


def _check_syntax(node: ast.expr, depth: int = 1) -> None:
    if depth > DEEPEST:
        raise _Unusable(None, f"it is nested deeper than {DEEPEST}")
    if problem := _find_problem(node):
        raise _Unusable(node, problem)
    for operand in _list_operands(node):
        _check_syntax(operand, depth + 1)


def _find_problem(node: ast.expr) -> str | None:
    """What is wrong with one node, its operands aside."""
    match node:
        case (
            ast.Name()
            | ast.BoolOp()
            | ast.BinOp(op=ast.Add() | ast.Sub() | ast.Mult() | ast.Div() | ast.Mod() | ast.Pow())
            | ast.UnaryOp(op=ast.USub() | ast.Not())
            | ast.Constant(value=str())
        ):
            return None
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            return None if abs(number) <= LARGEST else "is too large a number"
        case ast.Compare():
            return (
                None if all(type(test) in _OPERATORS for test in node.ops) else "is no comparison of numbers"
            )
        case ast.Call(func=ast.Name(id=name), keywords=[]):
            return _find_arity_problem(name, len(node.args))
    return "is not allowed"


def _find_arity_problem(name: str, given: int) -> str | None:
    if name in _OF_ONE:
        return None if given == 1 else f"gives {name} {given} values, it takes 1"
    if name in _OF_TWO:
        return None if given >= 2 else f"gives {name} {given} values, it takes 2 or more"
    if name == "where":
        return None if given == 3 else f"gives where {given} values, it takes 3 (condition, then, otherwise)"
    return f"calls {name}, which is no function here"


def _check_kind(node: ast.expr, kinds: Kinds) -> Kind:
    """The kind of a node's values. Raises `_Unusable` for an operand that its operator cannot take."""
    found = [_check_kind(operand, kinds) for operand in _list_operands(node)]
    match node:
        case ast.Name():
            return kinds.get(node.id, "number")
        case ast.Constant():
            return "text" if isinstance(node.value, str) else "number"
        case ast.Compare():
            for test, pair in zip(node.ops, pairwise(found), strict=True):
                if "text" in pair and not (pair == ("text", "text") and isinstance(test, ast.Eq | ast.NotEq)):
                    raise _Unusable(node, "compares text, which takes == or != and text on both sides")
            return "truth"
        case ast.BoolOp() | ast.UnaryOp(op=ast.Not()):
            if set(found) != {"truth"}:
                raise _Unusable(node, "joins what is no comparison")
            return "truth"
    if "text" in found:
        raise _Unusable(node, "computes with text, which can only be compared")
    return "number"
