"""The decision: what counts as better, worse, the same and undecided, and what a holdout can show."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec import structs

from bots.evidence import Direction, MetricComparison, Outcome
from bots.stats.intervals import Interval, find_t_quantile
from bots.stats.predictions import Predictions
from bots.verdict import comparison, decision
from fixtures.simulated import make_quick_policy

DIRECTIONS = st.sampled_from(get_args(Direction))
NUMBERS = st.floats(-10, 10)
ERRORS = st.floats(1e-3, 10)
FREEDOMS = st.floats(9, 1e6)
MATTERS = st.floats(0, 10)
CONFIDENCES = st.sampled_from([0.8, 0.9, 0.95, 0.99])


def make_interval(difference: float, error: float, freedom: float = 61, confidence: float = 0.95) -> Interval:
    """The interval of a difference by its standard error."""
    half = error * find_t_quantile((1 + confidence) / 2, freedom)
    return Interval(0.0, difference, difference, difference - half, difference + half, error, freedom)


def judge(difference: float, error: float, matters: float = 1.0, **more: Any) -> Outcome:
    options = {"direction": "higher", "confidence": 0.95, **more}
    return decision.judge(make_interval(difference, error), matters=matters, **options)


def metric(
    low: float, high: float, matters: float = 1.0, direction: Direction = "higher"
) -> MetricComparison:
    return MetricComparison(
        name="roc_auc", direction=direction, role="primary", champion=0.0, candidate=0.0,
        difference=(low + high) / 2, low=low, high=high, matters=matters, outcome="undecided",
    )  # fmt: skip


def test_a_wide_interval_around_zero_is_undecided_and_a_narrow_one_equivalent() -> None:
    """With 61 degrees of freedom the ends of the 90% interval are 1.67 standard errors away."""
    assert judge(0.0, 0.61) == "undecided"
    assert judge(0.0, 0.59) == "equivalent"
    assert judge(0.5, 0.31) == judge(-0.5, 0.31) == "undecided"
    assert judge(0.5, 0.29) == judge(-0.5, 0.29) == "equivalent"


def test_a_difference_beyond_chance_is_only_a_verdict_where_it_is_large_enough_to_matter() -> None:
    assert judge(1.0, 0.45) == "improved"
    assert judge(-1.0, 0.45) == "regressed"
    assert judge(-1.0, 0.45, direction="lower") == "improved"
    assert judge(0.99, 0.45) == judge(-0.99, 0.45) == "undecided"
    assert judge(1.0, 0.55) == "undecided"


def test_equal_models_are_equivalent_even_where_nothing_is_said_to_matter() -> None:
    assert judge(0.0, 0.0, matters=0.0) == "equivalent"
    assert judge(0.0, 0.1, matters=0.0) == "undecided"
    assert judge(0.3, 0.1, matters=0.0) == "improved"


def test_without_an_interval_nothing_is_judged() -> None:
    none = Interval(0.5, 0.6, 0.1, None, None)
    assert decision.judge(none, direction="higher", matters=1.0, confidence=0.95) == "not judged"
    assert decision.narrow_interval(none, 0.95) is None


@given(NUMBERS, ERRORS, FREEDOMS, MATTERS, CONFIDENCES, DIRECTIONS)
def test_exchanging_the_models_exchanges_better_and_worse_and_keeps_the_rest(
    difference: float, error: float, freedom: float, matters: float, confidence: float, direction: Direction
) -> None:
    def found(sign: int) -> Outcome:
        interval = make_interval(sign * difference, error, freedom, confidence)
        return decision.judge(interval, direction=direction, matters=matters, confidence=confidence)

    opposite: dict[str, str] = {"improved": "regressed", "regressed": "improved"}
    assert found(1) == opposite.get(found(-1), found(-1))


@given(NUMBERS, ERRORS, MATTERS, st.integers(-20, 20))
def test_another_unit_changes_no_outcome(difference: float, error: float, matters: float, power: int) -> None:
    scale = 2.0**power
    assert judge(scale * difference, scale * error, scale * matters) == judge(difference, error, matters)


@given(NUMBERS, ERRORS, MATTERS, st.floats(1, 100))
def test_more_uncertainty_only_ever_leads_to_undecided(
    difference: float, error: float, matters: float, times: float
) -> None:
    before, after = judge(difference, error, matters), judge(difference, error * times, matters)
    assert after in (before, "undecided")


@given(NUMBERS, ERRORS, MATTERS, st.floats(1, 100))
def test_where_more_is_needed_to_matter_nothing_equivalent_is_doubted_and_nothing_new_is_praised(
    difference: float, error: float, matters: float, times: float
) -> None:
    before, after = judge(difference, error, matters), judge(difference, error, matters * times)
    assert after == "equivalent" if before == "equivalent" else after in (before, "equivalent", "undecided")


@given(NUMBERS, ERRORS, FREEDOMS, CONFIDENCES)
def test_the_narrow_interval_lies_within_the_other(
    difference: float, error: float, freedom: float, confidence: float
) -> None:
    interval = make_interval(difference, error, freedom, confidence)
    inner = decision.narrow_interval(interval, confidence)
    assert inner is not None
    assert interval.low is not None
    assert interval.high is not None
    assert interval.low <= inner[0] <= difference <= inner[1] <= interval.high


def test_how_much_worse_it_could_be_is_the_bad_end_of_the_interval() -> None:
    assert decision.find_worst(metric(-3.5, 1.0)) == 3.5
    assert decision.find_worst(metric(-3.5, 1.0, direction="lower")) == 1.0
    assert decision.find_worst(metric(0.5, 1.0)) == 0.0
    assert decision.count_multiples(metric(-3.5, 1.0, matters=0.0)) is None
    assert decision.count_multiples(metric(-3.01, 1.0)) == 3.1
    assert decision.count_multiples(metric(-0.3, 1.0, matters=0.1)) == 3.0


def test_of_the_primary_metric_it_is_what_is_ruled_out_at_99_percent() -> None:
    """At 61 degrees of freedom Student's t is 2.389 there, and 2.000 at the end of the 95% interval."""
    primary = structs.replace(metric(-2.0, 2.0), name="mae", error=1.0, freedom=61.0)
    assert decision.find_worst(primary) == pytest.approx(2.389, abs=1e-3)
    assert decision.find_worst(structs.replace(primary, direction="lower")) == pytest.approx(2.389, abs=1e-3)
    assert decision.find_worst(structs.replace(primary, role="guard")) == 2.0
    assert decision.find_worst(structs.replace(primary, low=-3.0)) == 3.0, "a wider interval holds as it is"
    share = structs.replace(primary, name="accuracy", low=-1.0, high=1.0)
    assert decision.find_worst(share) == 1.0, "no share falls by more than one"


def test_what_could_be_lost_at_99_percent_decides_whether_a_person_is_asked() -> None:
    primary = structs.replace(metric(-2.9, 1.1), name="mae", error=1.0, freedom=61.0)
    assert not decision.is_tolerated(primary, 3)
    assert decision.is_tolerated(structs.replace(primary, role="guard"), 3)


def test_what_is_tolerated_is_counted_in_what_matters() -> None:
    assert decision.is_tolerated(metric(-3.0, 1.0), 3)
    assert not decision.is_tolerated(metric(-3.01, 1.0), 3)
    assert not decision.is_tolerated(metric(-1e-9, 1.0, matters=0.0), 3)
    nothing = structs.replace(metric(-1.0, 1.0), low=None, high=None)
    assert not decision.is_tolerated(nothing, 1e9)


@given(st.integers(10, 10**7), ERRORS, st.floats(1e-3, 10))
def test_twice_the_error_needs_four_times_the_rows(rows: int, error: float, matters: float) -> None:
    def count(error: float) -> tuple[int | None, int | None]:
        return (
            decision.count_rows_to_decide(rows, error, 61, matters=matters, confidence=0.95),
            decision.count_rows_to_pass(rows, error, 61, tolerated=3 * matters, confidence=0.95),
        )

    (decide, passes), (more, many) = count(error), count(2 * error)
    assert decide is not None
    assert passes is not None
    assert more is not None
    assert many is not None
    assume(more < decision.MOST_ROWS)
    assert 4 * decide - 4 <= more <= 4 * decide
    assert 4 * passes - 4 <= many <= 4 * passes
    assert passes <= decide


def test_no_number_of_rows_shows_a_difference_of_nothing() -> None:
    assert decision.count_rows_to_decide(1000, 0.1, 61, matters=0.0, confidence=0.95) is None
    assert decision.count_rows_to_pass(1000, 0.1, 61, tolerated=0.0, confidence=0.95) is None
    assert decision.count_rows_to_decide(1000, 1e300, 61, matters=1e-300, confidence=0.95) == 10**12


def test_a_difference_that_the_holdout_shows_is_found_in_four_of_five_draws_and_so_is_equality() -> None:
    random = np.random.default_rng(6)
    error, freedom, draws = 0.4, 1e6, 4000
    shown = decision.find_smallest_shown(error, freedom, matters=0.3, confidence=0.95)
    found = [judge(shown + error * noise, error, 0.3) for noise in random.normal(size=draws)]
    assert found.count("improved") / draws == pytest.approx(0.8, abs=0.03)
    rows = decision.count_rows_to_decide(1000, error, freedom, matters=0.3, confidence=0.95)
    assert rows is not None
    less = error * np.sqrt(1000 / rows)
    found = [judge(less * noise, less, 0.3) for noise in random.normal(size=draws)]
    assert found.count("equivalent") / draws == pytest.approx(0.8, abs=0.03)


@pytest.mark.slow
def test_a_model_three_times_what_matters_worse_is_not_called_equivalent_on_a_thousand_rows() -> None:
    """The mean absolute error is three times what matters worse, and chance is as large as what matters."""
    random = np.random.default_rng(10)
    policy = make_quick_policy("regression", matters={"mae": 0.1}, guards=[], slices=None)
    policy = structs.replace(policy, evaluate=structs.replace(policy.evaluate, metrics=["mae"]))
    outcomes = []
    for _ in range(300):
        target = random.normal(size=1000)
        worse = 10.3 + random.normal(size=1000) * 0.15 * np.sqrt(1000)
        predictions = Predictions(
            task="regression", target=target, champion=target + 10, candidate=target + worse, clusters=None
        )
        (found,) = comparison.compare(predictions, policy).metrics
        outcomes.append(found.outcome)
        by_chance = replace(predictions, candidate=target + worse - 0.3)
        assert comparison.compare(by_chance, policy).metrics[0].outcome != "equivalent"
    assert outcomes.count("equivalent") == 0
    assert outcomes.count("undecided") > 60
    assert outcomes.count("regressed") > 60
