"""Rows that count unlike: a whole weight is so many rows, and a weight of one changes nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from bots.evidence import Costs
from bots.stats import intervals, metrics
from bots.stats.predictions import Predictions, PredictionsError
from bots.stats.weights import find_quantiles
from bots.verdict.fit_gap import compare_fit
from pipeline import metrics as pipeline_metrics
from pipeline.params import Costs as PipelineCosts
from pipeline.scored_rows import Rows

CLASSES = [name for name, one in metrics.MEASURES.items() if "classification" in one.tasks]
QUANTITIES = [name for name, one in metrics.MEASURES.items() if "regression" in one.tasks]
CELLS: dict[str, Any] = {
    "currency": "USD",
    "true_positive": 5.0,
    "false_positive": -2.0,
    "true_negative": 0.0,
    "false_negative": -1.0,
}
PRICES: dict[str, Any] = {"currency": "USD", "under": -1.0, "over": -0.4}


def draw_rows(task: str, rows: int, seed: int, *, coarse: bool) -> tuple[Any, Any, Any]:
    """Targets and two models' scores; coarse ones are often equal."""
    rng = np.random.default_rng(seed)
    if task == "classification":
        target = (rng.random(rows) < 0.4).astype(float)
        scores = np.clip(rng.normal(0.35 + 0.3 * target, 0.2, (2, rows)), 0.001, 0.999)
    else:
        target = rng.normal(10, 4, rows)
        scores = target + rng.normal(0, 2, (2, rows))
    scores = np.round(scores, 1 if coarse else 6)
    return target, scores[0], scores[1]


def is_alike(one: float | None, other: float | None) -> bool:
    """Whether both are the same to nine digits, or both are none."""
    if one is None or other is None:
        return one is other
    return one == pytest.approx(other, rel=1e-9, abs=1e-9)


def get_context(task: str) -> metrics.Context:
    costs = Costs(**(CELLS if task == "classification" else PRICES))
    return metrics.Context(threshold=0.45 if task == "classification" else None, costs=costs)


@pytest.mark.slow
@pytest.mark.parametrize("task", ["classification", "regression"])
@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10_000), st.integers(2, 60), st.booleans(), st.data())
def test_whole_weights_are_repeated_rows(
    task: str, seed: int, rows: int, coarse: bool, data: st.DataObject
) -> None:
    target, _, score = draw_rows(task, rows, seed, coarse=coarse)
    weights = np.array(data.draw(st.lists(st.integers(0, 5), min_size=rows, max_size=rows)), dtype=float)
    assume(weights.any())
    times, context = weights.astype(int), get_context(task)
    for name in CLASSES if task == "classification" else QUANTITIES:
        repeated = metrics.compute_value(name, target.repeat(times), score.repeat(times), context)
        weighted = metrics.compute_value(name, target, score, context, weights)
        assert is_alike(weighted, repeated), name


@pytest.mark.slow
@pytest.mark.parametrize("task", ["classification", "regression"])
@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.integers(2, 60), st.booleans(), st.data())
def test_pipeline_and_bots_weigh_alike(
    task: Any, seed: int, rows: int, coarse: bool, data: st.DataObject
) -> None:
    target, _, score = draw_rows(task, rows, seed, coarse=coarse)
    weights = np.array(
        data.draw(
            st.one_of(
                st.lists(st.integers(0, 5), min_size=rows, max_size=rows),
                st.lists(st.floats(0, 9).map(lambda one: round(one, 3)), min_size=rows, max_size=rows),
            )
        ),
        dtype=float,
    )
    assume(weights.any())
    context = get_context(task)
    own = Rows(
        target=target,
        score=score,
        threshold=0.45,
        costs=PipelineCosts(**(CELLS if task == "classification" else PRICES)),
        weight=weights,
    )
    for name in CLASSES if task == "classification" else QUANTITIES:
        found = metrics.compute_value(name, target, score, context, weights)
        said = pipeline_metrics.compute(name, own, task)
        assert is_alike(found, said), name


@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize("clustered", [False, True])
def test_intervals_of_whole_weights_are_those_of_repeated_rows(task: Any, clustered: bool) -> None:
    """A row that weighs n is left out as a whole, as n equal rows of one unit are."""
    rows = 400
    target, champion, candidate = draw_rows(task, rows, 3, coarse=False)
    rng = np.random.default_rng(4)
    weights = rng.integers(0, 4, rows).astype(float)
    unit = np.array([f"u{at % 40:03d}" if clustered else f"r{at:03d}" for at in range(rows)])
    times, context = weights.astype(int), get_context(task)
    shared = {"task": task, "costs": context.costs, "champion_threshold": 0.45, "candidate_threshold": 0.45}
    weighted = Predictions(
        target=target, champion=champion, candidate=candidate, weights=weights,
        clusters=unit if clustered else None, **shared,
    )  # fmt: skip
    repeated = Predictions(
        target=target.repeat(times), champion=champion.repeat(times), candidate=candidate.repeat(times),
        clusters=unit.repeat(times), **shared,
    )  # fmt: skip
    for name in CLASSES if task == "classification" else QUANTITIES:
        if name == "median_absolute_error":
            continue  # how dense errors are around the median is told from the rows, not from their copies
        one, other = (
            intervals.estimate_interval(intervals.choose_rows(side), metrics.MEASURES[name], confidence=0.95)
            for side in (weighted, repeated)
        )
        for field in ("champion", "candidate", "difference", "low", "high", "error", "freedom"):
            assert getattr(one, field) == pytest.approx(getattr(other, field), rel=1e-8), (name, field)


def test_the_fit_of_two_models_weighs_its_rows() -> None:
    target, champion, candidate = draw_rows("regression", 300, 5, coarse=False)
    weights = np.random.default_rng(6).integers(1, 4, 300).astype(float)
    times, unit = weights.astype(int), np.array([f"r{at}" for at in range(300)])
    weighted = Predictions(
        task="regression", target=target, champion=champion, candidate=candidate, weights=weights
    )
    repeated = Predictions(
        task="regression", target=target.repeat(times), champion=champion.repeat(times),
        candidate=candidate.repeat(times), clusters=unit.repeat(times),
    )  # fmt: skip
    one, other = compare_fit(weighted, weighted), compare_fit(repeated, repeated)
    assert (one.champion_holdout, one.low, one.high) == pytest.approx(
        (other.champion_holdout, other.low, other.high)
    )


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_a_weight_of_one_changes_no_bit(task: Any) -> None:
    target, champion, candidate = draw_rows(task, 500, 7, coarse=True)
    shared = {"task": task, "target": target, "champion": champion, "candidate": candidate}
    shared |= {"costs": get_context(task).costs, "champion_threshold": 0.5, "candidate_threshold": 0.5}
    for name in CLASSES if task == "classification" else QUANTITIES:
        found = [
            intervals.estimate_interval(
                intervals.choose_rows(Predictions(**shared, weights=weights)),
                metrics.MEASURES[name],
                confidence=0.95,
            )
            for weights in (None, np.ones(500))
        ]
        assert found[0] == found[1]


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10_000), st.floats(0.001, 1000), st.integers(12, 80))
def test_only_the_proportion_of_weights_counts(seed: int, factor: float, rows: int) -> None:
    target, _, score = draw_rows("classification", rows, seed, coarse=False)
    weights = np.random.default_rng(seed).random(rows) + 0.05
    context = get_context("classification")
    for name in CLASSES:
        one = metrics.compute_value(name, target, score, context, weights)
        other = metrics.compute_value(name, target, score, context, weights * factor)
        if other is None:  # one class alone was drawn
            assert one is None, name
        else:
            assert one == pytest.approx(other, rel=1e-9, abs=1e-12), name


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(-5, 5), st.integers(1, 6)), min_size=1, max_size=30),
    st.lists(st.floats(0, 1), min_size=1, max_size=5),
)
def test_quantiles_of_whole_weights_are_numpys_of_repeated_rows(
    rows: list[tuple[int, int]], levels: list[float]
) -> None:
    values, weights = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    expected = np.quantile(values.repeat(weights.astype(int)), levels)
    np.testing.assert_allclose(find_quantiles(values, weights, levels), expected, atol=1e-12)


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ([1.0, -1.0, 2.0], r"weights: expected zero or more .* the first is row 1 \(-1\.0\)"),
        ([1.0, np.nan, 2.0], "weights: expected a finite number"),
        ([1.0, np.inf, 2.0], "weights: expected a finite number"),
        ([0.0, 0.0, 0.0], "weights: expected a row that weighs more than nothing"),
        ([1.0, 1.0], "weights: expected 3 rows as in the target, got 2"),
    ],
)
def test_weights_that_weigh_nothing_or_less_are_refused(weights: list[float], words: str) -> None:
    with pytest.raises(PredictionsError, match=words):
        Predictions(
            task="regression", target=np.arange(3.0), candidate=np.arange(3.0), weights=np.array(weights)
        )
