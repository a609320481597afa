"""The language of derived features: what it refuses, what it means, and that numpy and ONNX agree about it."""

from __future__ import annotations

import math

import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import FloatTensorType

from pipeline import export, expressions, table
from pipeline.config import ConfigError
from pipeline.model import Derive

COLUMNS = ("a", "b", "c")
NAN = float("nan")


def value(expression: str, **columns: float) -> float:
    arrays = {name: np.array([x], dtype=np.float32) for name, x in columns.items()}
    return float(expressions.evaluate(expression, arrays)[0])


@pytest.mark.parametrize(
    ("expression", "wanted"),
    [
        ("a * 60 + b", 125.0),
        ("-a ** 2", -4.0),
        ("-a % 5", 3.0),
        ("b % -3", -1.0),
        ("where(a < 3, 1, 0)", 1.0),
        ("where(0, a, b)", 5.0),
        ("1 < a <= 2", 1.0),
        ("a != 2", 0.0),
        ("max(a, b, 7) - min(a, b)", 5.0),
        ("sqrt(a + 2) + abs(0 - b) + log(exp(a))", 9.0),
        ("sin(a - 2) + cos(a - 2)", 1.0),
        ("a < 3 and b < 3", 0.0),
        ("a < 3 or b < 3", 1.0),
        ("not a < 3 < b or not (a == 2 and b != 5)", 1.0),
        ("3 * (a < 3 and not b < 3 or a == b)", 3.0),
    ],
)
def test_expressions_mean_what_they_mean_in_python(expression: str, wanted: float) -> None:
    assert value(expression, a=2, b=5) == pytest.approx(wanted)


@pytest.mark.parametrize(
    "expression", ["a / 0", "log(a - 2)", "sqrt(0 - a)", "exp(a * 1000)", "a % 0", "c + a", "min(a, c)"]
)
def test_what_is_no_finite_number_is_missing(expression: str) -> None:
    assert math.isnan(value(expression, a=2.0, c=NAN))


@pytest.mark.parametrize("comparison", ["<", "<=", ">", ">=", "==", "!="])
def test_a_comparison_with_a_missing_value_is_false(comparison: str) -> None:
    assert value(f"where(a {comparison} 1, 10, 20)", a=NAN) == 20


@pytest.mark.parametrize(
    ("expression", "fault"),
    [
        ("__import__('os').system('true')", "__import__"),
        ("a.real", "a.real"),
        ("a[0]", "a[0]"),
        ("lambda: a", "lambda"),
        ("a if b else c", "a if b else c"),
        ("a and b", "a and b"),
        ("not a", "not a"),
        ("a + 1 > 1 or b", "joins what is no comparison"),
        ("a == 'x'", "compares text"),
        ("'x'", "no column"),
        ("where(a > 1, 'x', 'y')", "computes with text"),
        ("a // 2", "a // 2"),
        ("open(a)", "calls open"),
        ("abs(a, b)", "takes 1"),
        ("where(a, b)", "takes 3"),
        ("min(a)", "2 or more"),
        ("abs(x=a)", "abs(x=a)"),
        ("a + 'x'", "'x'"),
        ("a + True", "True"),
        ("a + 1e39", "too large"),
        ("1 + 2", "no column"),
        ("a +", "not arithmetic"),
        ("", "not arithmetic"),
        ("a := 1", "not arithmetic"),
        ("-" * 100 + "a", "nested"),
        ("a + " * 400 + "a", "characters"),
    ],
)
def test_anything_but_arithmetic_is_refused_by_name(expression: str, fault: str) -> None:
    with pytest.raises(ConfigError) as refused:
        expressions.parse(expression)
    message = str(refused.value)
    assert fault in message
    assert expression[:90] in message
    assert "allowed are numbers" in message


def test_the_columns_of_an_expression_are_named_once_in_order() -> None:
    assert expressions.list_columns("b + where(a < b, c, 1)") == ["b", "a", "c"]


def _exact(children: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Operations that IEEE 754 defines to the bit."""
    two = st.tuples(
        children, st.sampled_from(["+", "-", "*", "/", "%", "<", "<=", ">", ">=", "==", "!="]), children
    )
    return st.one_of(
        two.map(lambda parts: f"({' '.join(parts)})"),
        children.map(lambda x: f"(-{x})"),
        st.tuples(children, children, st.sampled_from(["and", "or"]), children, children).map(
            lambda p: f"({p[0]} < {p[1]} {p[2]} not {p[3]} == {p[4]})"
        ),
        st.tuples(st.sampled_from(["abs", "sqrt"]), children).map(lambda parts: f"{parts[0]}({parts[1]})"),
        st.tuples(st.sampled_from(["min", "max"]), children, children).map(
            lambda p: f"{p[0]}({p[1]}, {p[2]})"
        ),
        st.tuples(children, children, children).map(lambda p: f"where({p[0]}, {p[1]}, {p[2]})"),
    )


LEAVES = st.one_of(st.sampled_from(COLUMNS), st.sampled_from(["0", "1", "2.5", "60", "1e-3", "1e30"]))
EXACT = st.recursive(LEAVES, _exact, max_leaves=8).map(lambda text: f"a + {text}")
ROUNDED = st.tuples(st.sampled_from(["exp", "log", "sin", "cos"]), EXACT).map(lambda p: f"{p[0]}({p[1]})")
POWERS = st.tuples(EXACT, st.sampled_from(["2", "0.5", "-1", "b"])).map(lambda p: f"({p[0]}) ** {p[1]}")
SPECIAL = [0.0, -0.0, 1.0, -1.0, NAN, 2.5, 1e-40, 3e38, -3e38, 60.0]
NUMBERS = st.one_of(st.sampled_from(SPECIAL), st.floats(width=32, allow_infinity=False))
TABLES = st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS), min_size=1, max_size=20)


def both(expression: str, table: list[tuple[float, float, float]]) -> tuple[np.ndarray, np.ndarray]:
    """What numpy and what onnxruntime make of a derived column."""
    rows = np.array(table, dtype=np.float32)
    derive = Derive({"new": expression}, list(COLUMNS), ["new"]).fit(rows)
    export.register_converter()
    model = convert_sklearn(
        derive, "derive", [("x", FloatTensorType([None, len(COLUMNS)]))], target_opset=export.OPSET
    )
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return derive.transform(rows), session.run(None, {"x": rows})[0]


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(EXACT, TABLES)
def test_numpy_and_onnx_agree_to_the_bit(expression: str, table: list[tuple[float, float, float]]) -> None:
    ours, theirs = both(expression, table)
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(st.one_of(ROUNDED, POWERS), TABLES)
def test_numpy_and_onnx_agree_on_functions_that_round(
    expression: str, table: list[tuple[float, float, float]]
) -> None:
    ours, theirs = both(expression, table)
    assert (np.isnan(ours) == np.isnan(theirs)).all()
    np.testing.assert_allclose(ours, theirs, rtol=2e-7, atol=1e-44)


@settings(max_examples=200)
@given(st.text(max_size=60))
def test_no_text_does_more_than_parse_or_be_refused(text: str) -> None:
    try:
        names = expressions.list_columns(text)
    except ConfigError:
        return
    values = expressions.evaluate(text, {name: np.ones(2, dtype=np.float32) for name in names})
    assert values.shape == (2,)
    assert values.dtype == np.float32


def test_derive_appends_named_float32_columns_to_tables_and_arrays() -> None:
    rows = np.array([[1, 2], [3, NAN]], dtype=np.float32)
    derive = Derive({"sum": "a + b", "twice": "a * 2"}, ["a", "b"]).fit(rows)
    assert list(derive.get_feature_names_out()) == ["a", "b", "sum", "twice"]
    np.testing.assert_array_equal(derive.transform(rows), np.array([[1, 2, 3, 2], [3, NAN, NAN, 6]]))
    assert derive.transform(rows).dtype == np.float32


@given(st.text(max_size=20))
@settings(max_examples=300)
def test_a_plain_word_is_suggested_for_whatever_name(name: str) -> None:
    word = table.suggest_alias(name)
    assert expressions.is_word(word)
    assert expressions.list_columns(f"{word} + 1") == [word]


@pytest.mark.parametrize(
    ("name", "word"),
    [("size m²", "size_m2"), ("fee net", "fee_net"), ("2023", "column_2023"), ("ﬁeld", "field")],
)
def test_the_suggested_word_is_near_the_name(name: str, word: str) -> None:
    assert table.suggest_alias(name) == word
    assert not expressions.is_word(name)
