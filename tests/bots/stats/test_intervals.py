"""Intervals: the jackknife of whole units, handfuls that are not judged, and what must not change anything."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs
from sklearn import metrics as sk

from bots.render import numbers
from bots.render.comment import render_comment
from bots.settings import Limit
from bots.stats import intervals, metrics
from bots.stats.predictions import Predictions
from bots.verdict import comparison, rules, sentences
from fixtures import reviews, simulated
from fixtures.simulated import make_quick_policy

if TYPE_CHECKING:
    from bots.evidence import MetricComparison, Task
    from bots.stats.intervals import Interval
    from bots.stats.metrics import Floats

SEEDS = st.integers(0, 2**32 - 1)


def estimate(predictions: Predictions, name: str, confidence: float = 0.95) -> Interval:
    rows = intervals.choose_rows(predictions, name="days")
    return intervals.estimate_interval(rows, metrics.MEASURES[name], confidence=confidence)


def drawn(rows: int = 800, seed: int = 0, task: Task = "classification", **more: Any) -> Predictions:
    return simulated.draw_predictions(task, rows, np.random.default_rng(seed), **more)


def classify(target: Floats, champion: Floats, candidate: Floats) -> Predictions:
    """Predictions with a threshold of one half."""
    return Predictions(
        task="classification",
        target=target,
        champion=champion,
        candidate=candidate,
        champion_threshold=0.5,
        candidate_threshold=0.5,
    )


def compare(predictions: Predictions) -> dict[str, MetricComparison]:
    found = comparison.compare(predictions, make_quick_policy(predictions.task))
    return {metric.name: metric for metric in found.metrics}


def known(number: float | None) -> float:
    assert number is not None
    return number


@pytest.mark.parametrize("clusters", [0, 25])
def test_the_error_is_the_jackknife_s_with_whole_units_left_out(clusters: int) -> None:
    predictions = drawn(300, task="regression", clusters=clusters)
    units = np.arange(300) if predictions.clusters is None else np.asarray(predictions.clusters)

    def difference(kept: np.ndarray) -> float:
        y, new, old = (
            column[kept] for column in (predictions.target, predictions.candidate, known_scores(predictions))
        )
        return float(sk.root_mean_squared_error(y, new) - sk.root_mean_squared_error(y, old))

    without = np.array([difference(units != unit) for unit in np.unique(units)])
    count = len(without)
    expected = np.sqrt((count - 1) / count * ((without - without.mean()) ** 2).sum())
    assert known(estimate(predictions, "rmse").error) == pytest.approx(expected, rel=1e-9)


def known_scores(predictions: Predictions) -> Floats:
    assert predictions.champion is not None
    return predictions.champion


def test_a_day_with_a_third_of_the_rows_leaves_few_degrees_of_freedom() -> None:
    even, uneven = drawn(6000, clusters=62), drawn(6000, clusters=62, giant=0.3)
    assert known(estimate(even, "log_loss").freedom) > 20
    assert known(estimate(uneven, "log_loss").freedom) < 11


def test_a_change_that_touches_few_rows_has_the_degrees_of_freedom_of_those() -> None:
    everywhere, somewhere = drawn(3000, task="regression"), drawn(3000, task="regression", touched=0.01)
    assert known(estimate(everywhere, "mae").freedom) > 500
    assert known(estimate(somewhere, "mae").freedom) < 60


@pytest.mark.slow
@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize(
    "design",
    [{"rows": 3000, "clusters": 62, "giant": 0.3}, {"rows": 20_000, "clusters": 62, "touched": 0.01}],
)
def test_uneven_units_are_covered_as_often_as_even_ones(task: Task, design: dict[str, Any]) -> None:
    found = simulated.measure_coverage(task, draws=400, **design)
    # Three standard errors of 400 draws are 3.3 points.
    assert all(share >= 0.95 - 0.033 for share in found.values()), found


def test_one_lucky_alarm_is_no_better_precision() -> None:
    """Main calls hundreds of rows, the change a single one, which happens to be right."""
    base = drawn(2000, clusters=40)
    candidate = np.full(2000, 0.1)
    candidate[np.flatnonzero(base.target)[0]] = 0.9
    found = compare(replace(base, candidate=candidate))["precision"]
    assert (found.outcome, found.low) == ("not judged", None)
    assert sentences.explain_outcome(found) == "Not judged: fewer than 20 rows are called positive."


def test_alarms_on_few_days_are_no_precision() -> None:
    base = drawn(2000, clusters=40)
    candidate = np.where(np.asarray(base.clusters) < 5, 0.9, 0.1)
    found = estimate(replace(base, candidate=candidate), "precision")
    assert found.note == "rows are called positive in fewer than 10 days"


@pytest.mark.parametrize("name", ["roc_auc", "average_precision", "recall", "f1"])
def test_positives_on_few_days_are_not_judged(name: str) -> None:
    base = drawn(2000, clusters=40)
    target = np.where(np.asarray(base.clusters) < 9, base.target, 0.0)
    assert target.sum() > 40
    found = estimate(replace(base, target=target), name)
    assert (found.low, found.note) == (None, "positive rows in fewer than 10 days")
    assert found.candidate is not None


def test_two_hundred_right_answers_do_not_prove_that_there_is_no_wrong_one() -> None:
    target = np.resize([0.0, 1.0], 200)
    champion, candidate = 0.25 + target / 2, 0.3 + 0.4 * target
    found = compare(classify(target, champion, candidate))
    for name in ("accuracy", "precision", "recall", "f1", "roc_auc", "average_precision"):
        metric = found[name]
        assert (metric.champion, metric.candidate, metric.difference) == (1, 1, 0)
        assert known(metric.high) == -known(metric.low) > 3 / 200, name
        assert sentences.explain_outcome(metric) != "Exactly the same."
    assert known(found["accuracy"].high) == pytest.approx(4.303 / 200, rel=1e-3)


@given(SEEDS, st.sampled_from(["classification", "regression"]), st.sampled_from([0, 12]))
@settings(max_examples=25, deadline=None)
def test_only_equal_scores_are_exactly_the_same(seed: int, task: Task, clusters: int) -> None:
    """One row's score moves by an amount that changes no decision: no interval has a width of zero any more."""
    base = drawn(300, seed, task, clusters=clusters)
    moved = known_scores(base).copy()
    moved[0] += 1e-3 if moved[0] < 0.1 else -1e-3 * moved[0]
    for metric in compare(replace(base, candidate=known_scores(base))).values():
        if metric.low is not None:
            assert (metric.low, metric.high) == (0, 0)
            assert sentences.explain_outcome(metric) == "Exactly the same."
    for metric in compare(replace(base, candidate=moved)).values():
        if metric.low is not None:
            assert known(metric.low) < known(metric.high), metric.name


@given(SEEDS)
@settings(max_examples=25, deadline=None)
def test_a_share_cannot_change_by_more_than_one(seed: int) -> None:
    random = np.random.default_rng(seed)
    target = (random.random(60) < 0.5).astype(np.float64)
    found = compare(classify(target, random.random(60), np.clip(target + random.normal(size=60) / 9, 0, 1)))
    for metric in found.values():
        if metric.low is not None and metrics.MEASURES[metric.name].bounds == (0.0, 1.0):
            assert -1 <= metric.low <= known(metric.high) <= 1
            # What is added to main's value may not lead out of the range by more than chance in main's value.
            assert known(metric.high) <= 1 - known(metric.champion) + 0.35


@given(SEEDS, st.sampled_from(["classification", "regression"]), st.sampled_from([0, 15]))
@settings(max_examples=30, deadline=None)
def test_the_order_of_rows_changes_nothing(seed: int, task: Task, clusters: int) -> None:
    base = drawn(400, seed, task, clusters=clusters)
    order = np.random.default_rng(seed).permutation(400)
    mixed = replace(
        base,
        target=base.target[order],
        champion=known_scores(base)[order],
        candidate=base.candidate[order],
        clusters=None if base.clusters is None else np.asarray(base.clusters)[order],
    )
    for name in simulated.METRICS[task]:
        one, other = estimate(base, name), estimate(mixed, name)
        scale = 1e-12 * max(1, abs(one.candidate or 0), abs(one.champion or 0))
        for field in ("champion", "candidate", "difference", "error", "low", "high"):
            assert getattr(one, field) == pytest.approx(getattr(other, field), rel=1e-9, abs=scale), name
        assert one.note == other.note


@given(SEEDS, st.sampled_from([-80, -20, 7, 60]), st.sampled_from([0, 15]))
@settings(max_examples=30, deadline=None)
def test_the_unit_of_the_target_changes_nothing_but_the_unit(seed: int, power: int, clusters: int) -> None:
    """From about 1e-24 to 1e18: results are scaled exactly by the same power of two."""
    base, factor = drawn(300, seed, "regression", clusters=clusters), 2.0**power
    scaled = replace(
        base,
        target=base.target * factor,
        champion=known_scores(base) * factor,
        candidate=base.candidate * factor,
    )
    for name in simulated.METRICS["regression"]:
        one, other = estimate(base, name), estimate(scaled, name)
        by = 1.0 if name == "r2" else factor
        for field in ("champion", "candidate", "difference", "error", "low", "high"):
            assert known(getattr(one, field)) * by == getattr(other, field), name
        assert (one.freedom, one.note) == (other.freedom, other.note)


@pytest.mark.parametrize("scale", [1e-24, 1.0, 1e18])
def test_wrong_figures_are_noticed_at_any_scale_and_right_ones_believed(scale: float) -> None:
    base = drawn(300, task="regression")
    scaled = replace(
        base, target=base.target * scale, candidate=base.candidate * scale, champion=None, costs=base.costs
    )
    sample = intervals.choose_rows(scaled).samples[1]
    values = {
        name: known(metrics.compute_sample_value(metrics.MEASURES[name], sample))
        for name in simulated.METRICS["regression"]
    }
    assert comparison.find_disagreements(values, scaled) == []
    for name, value in values.items():
        assert len(comparison.find_disagreements({name: value * 1.01}, scaled)) == 1, name


def test_bias_has_a_sign_and_is_compared_by_its_size() -> None:
    random = np.random.default_rng(1)
    target, noise = random.normal(size=(2, 2000)) * 10
    base = Predictions(
        task="regression", target=target, champion=target + noise + 3, candidate=target + noise - 1
    )
    found = estimate(base, "bias")
    assert known(found.champion) == pytest.approx(3 + noise.mean())
    assert known(found.candidate) == pytest.approx(-1 + noise.mean())
    assert known(found.difference) == pytest.approx(abs(-1 + noise.mean()) - abs(3 + noise.mean()))
    assert known(found.high) < 0
    assert metrics.MEASURES["bias"].direction == "lower"


@pytest.mark.parametrize(
    ("limit", "value", "holds"),
    [
        ({"at_most": 5.0}, -7.0, False),
        ({"at_most": 5.0}, 4.0, True),
        ({"at_least": -1.0}, -2.0, False),
        ({"at_least": -1.0, "at_most": 5.0}, 2.0, True),
    ],
)
def test_a_limit_on_bias_bounds_its_size(limit: dict[str, float], value: float, holds: bool) -> None:
    (found,) = rules.check_limits(
        {"bias": value}, make_quick_policy("regression", limits={"bias": Limit(**limit)}).gate
    )
    assert found.passed == holds


def test_a_limit_says_that_it_is_held_against_the_value_itself() -> None:
    gate = make_quick_policy().gate
    for value in (0.59, 0.61):
        (found,) = rules.check_limits({"roc_auc": value}, gate)
        assert found.message.endswith("(the value itself, not its interval).")


def test_a_tiny_quantity_is_written_with_its_digits() -> None:
    assert numbers.format_value("mae", 1.234e-24) == "1.23e−24"
    assert numbers.format_difference("mae", -1.234e-24) == "−1.23e−24"
    assert numbers.format_value("mae", 0.5) == "0.500"
    assert numbers.format_value("roc_auc", 1e-9) == "0.000"


def test_a_median_of_rounded_errors_is_refused_and_says_why() -> None:
    base = drawn(3000, task="regression")
    rounded = replace(
        base,
        target=base.target.round(),
        champion=known_scores(base).round(),
        candidate=base.candidate.round(),
    )
    found = estimate(rounded, "median_absolute_error")
    assert found.low is None
    assert found.note == "many errors are equal around the median, so that it jumps instead of moving"
    # Whole minutes alone are no reason: the scores are not whole.
    assert estimate(replace(base, target=base.target.round()), "median_absolute_error").low is not None


def test_r2_is_refused_where_the_target_varies_in_one_unit_only() -> None:
    base = drawn(400, task="regression", clusters=20)
    days = np.asarray(base.clusters)
    target = np.where((days == 3) & (np.arange(400) % 2 == 0), 5.0, 1.0)
    assert estimate(replace(base, target=target), "r2").note == "no value without one of the days"
    assert estimate(replace(base, target=np.full(400, 0.1)), "r2").candidate is None


def test_a_reader_sees_why_a_metric_is_not_judged_and_where_zero_is_best() -> None:
    review = reviews.ALL["regression"]()
    told = "fewer than 10 values of date"
    judged = [
        structs.replace(metric, outcome="not judged", low=None, high=None, note=told)
        if metric.name == "rmse"
        else metric
        for metric in review.metrics
    ]
    comment = render_comment(structs.replace(review, metrics=judged))
    assert f"not judged: {told}" in comment
    assert "Bias →0" in comment
    assert "models are compared by its size" in comment
    assert "→0" not in render_comment(reviews.improved())


@pytest.mark.parametrize(
    ("name", "expected"),
    [("precision", (-1.0, 1.0)), ("mae", (-2.0, 3.0)), ("r2", (-2.0, 3.0)), ("our_own", (-2.0, 3.0))],
)
def test_wider_intervals_of_shares_stop_at_one(name: str, expected: tuple[float, float]) -> None:
    assert intervals.clip_difference(name, -2.0, 3.0) == expected
