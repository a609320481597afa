"""How many models a holdout has judged, and how much better a further one must be to be called improved."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from bots.evidence import MetricComparison, Statistics
from bots.stats import intervals
from bots.verdict import comparison, looks, sentences
from fixtures import simulated
from fixtures.simulated import make_quick_policy

GATE = simulated.make_policy().gate
LEVELS = st.floats(0.5, 0.999)
COUNTS = st.integers(1, 1_000_000)


def metric(difference: float, error: float, **more: Any) -> MetricComparison:
    """The primary metric at 61 degrees of freedom, judged at a first look; `higher` is better, anything matters."""
    half = intervals.find_t_quantile(0.975, 61) * error
    low, high = difference - half, difference + half
    better = difference > 0 if more.get("direction", "higher") == "higher" else difference < 0
    values = {
        "direction": "higher",
        "role": "primary",
        "champion": 0.7,
        "candidate": 0.7 + difference,
        "matters": 0.0,
        "outcome": "equivalent" if low <= 0 <= high else "improved" if better else "regressed",
    }
    return MetricComparison(
        name="roc_auc",
        difference=difference,
        low=low,
        high=high,
        error=error,
        freedom=61,
        **{**values, **more},
    )


def judge(*metrics: MetricComparison, count: int) -> list[str]:
    """The outcomes at a look."""
    statistics = Statistics(rows=1000, confidence=0.95, resampled="rows", units=62, slices_judged=0)
    found = comparison.Comparison(metrics=list(metrics), slices=[], statistics=statistics)
    return [one.outcome for one in looks.judge_at_look(found, GATE, count).metrics]


@given(LEVELS)
def test_the_first_look_is_judged_by_the_gate_s_own_two_sided_interval(confidence: float) -> None:
    assert looks.find_praise_confidence(confidence, 1) == pytest.approx(confidence, abs=1e-15)
    one = metric(0.02, 0.005)
    assert looks.find_praise_interval(one, confidence, 1) == (one.low, one.high)


@given(LEVELS, COUNTS, COUNTS)
def test_a_later_look_never_asks_for_less(confidence: float, one: int, other: int) -> None:
    earlier, later = sorted((one, other))
    assert looks.find_praise_confidence(confidence, earlier) <= looks.find_praise_confidence(
        confidence, later
    )
    assert looks.find_praise_confidence(confidence, later) < 1
    wide, wider = (looks.find_praise_interval(metric(0.1, 0.01), confidence, at) for at in (earlier, later))
    if earlier > 1:
        assert wide is not None
        assert wider is not None
        assert wider[0] <= wide[0] <= wide[1] <= wider[1]
        assert math.isfinite(wider[0])


@given(LEVELS, st.integers(1, 100))
def test_false_praise_over_all_looks_stays_below_half_of_alpha_times_the_harmonic_number(
    confidence: float, count: int
) -> None:
    errors = sum((1 - looks.find_praise_confidence(confidence, at)) / 2 for at in range(1, count + 1))
    assert errors <= (1 - confidence) / 2 * (1 + math.log(count)) + 1e-9


def test_twenty_nine_looks_at_95_percent_praise_less_than_one_innocent_change_in_ten() -> None:
    assert sum((1 - looks.find_praise_confidence(0.95, at)) / 2 for at in range(1, 30)) < 0.1


def test_there_is_no_look_before_the_first() -> None:
    with pytest.raises(ValueError, match="at least one"):
        looks.find_praise_confidence(0.95, 0)


def test_what_is_better_at_a_first_look_may_not_be_at_the_seventh() -> None:
    just = metric(0.0225, 0.01)
    assert judge(just, count=1) == ["improved"]
    assert judge(just, count=7) == ["undecided"]
    assert judge(metric(0.035, 0.01), count=7) == ["improved"]


def test_a_metric_whose_better_is_lower_is_judged_alike() -> None:
    assert judge(metric(-0.0225, 0.01, direction="lower"), count=1) == ["improved"]
    assert judge(metric(-0.0225, 0.01, direction="lower"), count=7) == ["undecided"]
    assert judge(metric(-0.035, 0.01, direction="lower"), count=7) == ["improved"]


@given(st.floats(-1, 1), st.floats(1e-6, 1), COUNTS, st.sampled_from(["primary", "guard", "shown"]))
def test_looks_only_ever_take_praise_of_the_primary_metric_back(
    difference: float, error: float, count: int, role: str
) -> None:
    one = metric(difference, error, role=role)
    (outcome,) = judge(one, count=count)
    assert outcome == one.outcome or (role, one.outcome, outcome) == ("primary", "improved", "undecided")


def test_a_gain_that_no_interval_supports_is_not_praised_at_a_later_look() -> None:
    without = structs.replace(metric(0.05, 0.01), error=None, freedom=None)
    assert judge(without, count=2) == ["undecided"]


def test_the_words_say_that_the_looks_made_the_difference() -> None:
    taken_back = structs.replace(metric(0.0225, 0.01), outcome="undecided")
    assert "first look" in sentences.explain_outcome(taken_back)
    assert "first look" not in sentences.explain_outcome(metric(0.001, 0.01))
    said = looks.describe_looks(taken_back, 0.95, looks.LookCount(count=7))
    assert (said.count, said.missed, said.unknown) == (7, True, None)
    assert said.confidence == pytest.approx(1 - 0.05 / 7)
    assert said.low is not None
    assert said.low < 0 < 0.0225


def test_a_real_comparison_is_judged_at_its_look() -> None:
    policy = make_quick_policy(primary="log_loss")
    predictions = simulated.draw_predictions("classification", 3000, np.random.default_rng(3))
    found = comparison.compare(predictions, policy)
    primary = next(one for one in found.metrics if one.role == "primary")
    assert primary.outcome == "improved"
    score = abs((primary.difference or 0) / (primary.error or 1))
    needed = next(
        count
        for count in range(1, 10**6)
        if -intervals.find_t_quantile(0.05 / 2 / count, primary.freedom or 1) > score
    )
    for count, outcome in ((needed - 1, "improved"), (needed, "undecided")):
        judged = looks.judge_at_look(found, policy.gate, count)
        assert next(one.outcome for one in judged.metrics if one.role == "primary") == outcome
