"""Lining up rows, and holding inputs and figures against main's: what is the same passes, the rest is named."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from bots.evidence import MetricComparison, Sensitivity, Statistics
from bots.verdict.comparison import Comparison
from bots.verification.figures import EXACT, SPREAD, describe_figures, find_different_figures
from bots.verification.rows import align_rows, compare_inputs

NAMES = st.lists(st.text(max_size=5), min_size=1, max_size=20, unique=True)


@given(NAMES.flatmap(lambda names: st.tuples(st.just(names), st.permutations(names))))
def test_rows_in_any_order_are_lined_up(names: tuple[list[str], list[str]]) -> None:
    ours, theirs = names
    table = pa.table({"row": theirs, "place": list(range(len(theirs)))})

    found = align_rows(table, pa.chunked_array([ours]))

    assert found is not None
    assert found["row"].to_pylist() == ours
    assert [theirs[place] for place in found["place"].to_pylist()] == ours


@pytest.mark.parametrize("rows", [["a", "b"], ["a", "b", "d"], ["a", "b", "b"], ["a", "b", "c", "d"]])
def test_other_rows_are_not_lined_up(rows: list[str]) -> None:
    assert align_rows(pa.table({"row": rows}), pa.chunked_array([["a", "b", "c"]])) is None


def test_a_table_without_rows_names_is_not_lined_up() -> None:
    assert align_rows(pa.table({"x": [1, 2, 3]}), pa.chunked_array([["a", "b", "c"]])) is None


@pytest.mark.parametrize(
    ("theirs", "ours", "off"),
    [
        ([1.0, 2.0, None], [1.0, 2.0, float("nan")], 0),
        (pa.array([0.1, 0.2, 0.3], pa.float32()), [0.1, 0.2, 0.3], 0),
        ([1, 2, 3], [1.0, 2.0, 3.0], 0),
        ([True, False, True], [1.0, 0.0, 1.0], 0),
        ([1.0, 2.0, 3.0], [1.0, 2.5, None], 2),
        (["a", "", "c"], ["a", None, "c"], 0),
        (["a", "b", "c"], ["a", "x", "c"], 1),
        (["1", "2", "3"], [1, 2, 4], 1),
    ],
)
def test_inputs_are_held_against_mains_value_by_value(theirs: Any, ours: Any, off: int) -> None:
    found = compare_inputs(["x"], pa.table({"x": theirs}), [pa.table({"x": ours})])

    assert found.other == ({"x": off} if off else {})
    assert found.same == ([] if off else ["x"])


def test_a_column_that_main_does_not_have_is_unknown_and_the_first_table_that_has_one_counts() -> None:
    table = pa.table({"x": [1.0], "new": [2.0]})

    found = compare_inputs(["x", "new", "gone"], table, [pa.table({"x": [1.0]}), pa.table({"x": [9.0]})])

    assert (found.same, found.other, found.unknown) == (["x"], {}, ["new", "gone"])


def make_comparison(**fields: Any) -> Comparison:
    metric = MetricComparison(
        name="log_loss", direction="lower", role="primary", champion=0.5, candidate=0.4, difference=-0.1, low=-0.12,
        high=-0.08, matters=0.003, outcome="improved",
    )  # fmt: skip
    statistics = Statistics(rows=100, confidence=0.95, resampled="rows", units=100, slices_judged=0)
    return Comparison(metrics=[structs.replace(metric, **fields)], slices=[], statistics=statistics)


@pytest.mark.parametrize(
    ("field", "value", "off"),
    [
        ("candidate", 0.4 * (1 + EXACT / 2), False),
        ("candidate", 0.4 * (1 + EXACT * 3), True),
        ("low", -0.12 + 0.02 * SPREAD / 2, False),
        ("low", -0.12 + 0.02 * SPREAD * 3, True),
        ("outcome", "equivalent", True),
        ("role", "shown", True),
        ("low", None, True),
        ("candidate", float("nan"), True),
    ],
)
def test_a_figure_may_be_off_by_rounding_and_by_no_more(field: str, value: Any, off: bool) -> None:
    found = list(find_different_figures(make_comparison(**{field: value}), make_comparison()))

    assert bool(found) is off
    assert not off or f"log_loss: {field}" in describe_figures(found)


@given(st.floats(1e-24, 1e18))
def test_what_may_be_off_follows_the_scale_of_the_metric(scale: float) -> None:
    names = ("champion", "candidate", "difference", "low", "high", "matters")
    base = make_comparison()
    scaled = {name: getattr(base.metrics[0], name) * scale for name in names}

    assert list(find_different_figures(make_comparison(**scaled), make_comparison(**scaled))) == []
    off = {**scaled, "candidate": scaled["candidate"] * 1.001}
    assert list(find_different_figures(make_comparison(**off), make_comparison(**scaled)))


def test_what_a_comparison_could_show_is_a_figure_too() -> None:
    known = Sensitivity(error=0.01, shows=0.03, rows_to_decide=5_000, basis="this comparison")
    found = make_comparison()
    honest, faked = (
        replace(found, statistics=structs.replace(found.statistics, sensitivity=one))
        for one in (known, structs.replace(known, rows_to_decide=50))
    )

    assert list(find_different_figures(honest, honest)) == []
    assert "rows_to_decide, said 50, came out 5000" in describe_figures(find_different_figures(faked, honest))
    assert "sensitivity" in describe_figures(find_different_figures(found, honest))


def test_a_metric_on_one_side_alone_is_a_difference() -> None:
    whole, empty = (
        make_comparison(),
        Comparison(metrics=[], slices=[], statistics=make_comparison().statistics),
    )

    assert "not said" in describe_figures(find_different_figures(empty, whole))
    assert "nowhere else" in describe_figures(find_different_figures(whole, empty))
