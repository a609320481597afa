"""Sketches: quantiles within the stated error, however they were added; small, exact for few values, never a crash."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bots.stats import sketches
from bots.stats.sketches import Sketch

FLOATS = st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=150)


def build_sketch(values: np.ndarray) -> Sketch:
    sketch = Sketch()
    sketch.add_values(values)
    return sketch


@given(FLOATS)
@settings(max_examples=60, deadline=None)
def test_few_values_are_kept_exactly(values: list[float]) -> None:
    found = build_sketch(np.array(values)).measure_shares(values)
    held = np.array(values, dtype=np.float32)
    assert found == pytest.approx([np.mean(held <= value) for value in held])


@given(st.lists(FLOATS, min_size=1, max_size=6))
@settings(max_examples=40, deadline=None)
def test_sketches_of_parts_add_up_to_the_sketch_of_all(parts: list[list[float]]) -> None:
    together: bytes | None = None
    for part in parts:
        together = sketches.add_sketches(together, build_sketch(np.array(part)).write_bytes())
    held = np.array([value for part in parts for value in part], dtype=np.float32)
    sketch = sketches.read_sketch(together)
    assert sketch.rows == len(held)
    truth = np.array([np.mean(held <= value) for value in held])
    assert np.abs(sketch.measure_shares(held) - truth).max() <= 0.03


@pytest.mark.parametrize("draw", ["normal", "heavy", "few values", "one value"])
def test_shares_of_a_million_values_are_within_the_stated_error(draw: str) -> None:
    random = np.random.default_rng(11)
    draws: dict[str, Callable[[], np.ndarray]] = {
        "normal": lambda: random.normal(size=10**6),
        "heavy": lambda: random.standard_cauchy(10**6),
        "few values": lambda: random.integers(0, 7, 10**6).astype(float),
        "one value": lambda: np.full(10**6, 3.5),
    }
    values = draws[draw]()
    sketch = Sketch()
    for part in np.array_split(values, 37):
        sketch.add_sketch(build_sketch(part))
    points = np.quantile(values, np.linspace(0.01, 0.99, 21)).astype(np.float32)
    truth = np.array([np.mean(values.astype(np.float32) <= point) for point in points])
    found = sketch.measure_shares(points)
    assert np.mean(np.abs(found - truth) <= sketches.RANK_ERROR) > 0.9
    assert np.abs(found - truth).max() <= 2 * sketches.RANK_ERROR
    assert len(sketch.write_bytes()) < 4_000


def test_the_stated_error_is_the_one_of_the_library() -> None:
    from datasketches import kll_floats_sketch

    assert kll_floats_sketch(sketches.K).normalized_rank_error(False) <= sketches.RANK_ERROR
    assert kll_floats_sketch(sketches.K).normalized_rank_error(True) <= sketches.SHARE_ERROR


def test_a_sketch_without_a_value_has_no_quantile() -> None:
    assert np.isnan(Sketch().find_quantiles([0.5])).all()
    assert np.isnan(Sketch().measure_shares([1.0, 2.0])).all()
    assert sketches.add_sketches(None, None) is None


def test_shares_are_asked_in_any_order_and_more_than_once() -> None:
    sketch = build_sketch(np.arange(100.0))
    assert sketch.measure_shares([99.0, 0.0, 49.0, 49.0]) == pytest.approx([1.0, 0.01, 0.5, 0.5])


@given(st.binary(max_size=200))
@settings(max_examples=100, deadline=None)
def test_bytes_that_are_no_sketch_are_refused_and_end_no_process(content: bytes) -> None:
    with contextlib.suppress(sketches.SketchError):
        sketches.read_sketch(content)


def test_a_sketch_that_was_cut_off_is_refused_in_words() -> None:
    content = build_sketch(np.arange(5_000.0)).write_bytes()
    with pytest.raises(sketches.SketchError, match=r"a sketch of \d+ bytes cannot be read"):
        sketches.read_sketch(content[:-40])
