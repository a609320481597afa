"""Sequential detectors: the mean time to a false alarm is kept, harm is found, and no day can break the bound."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bots.stats import sequential
from bots.stats.metrics import Floats
from bots.stats.sequential import Bets, Usual

UNIT = st.floats(0, 1)


def make_usual(deviation: float = 0.1, correlation: float = 0.0, **more: float) -> Usual:
    error = deviation * math.sqrt((1 + correlation) / (1 - correlation) / 60)
    known = {"days": 60, "rows": 60_000, "mean": 0.5, "middle_rows": 1_000.0, "error": error, **more}
    return Usual(deviation=deviation, correlation=correlation, **known)  # type: ignore[arg-type]


def run_until(bets: Bets, days: Floats, threshold: float) -> Floats:
    """The day of the first alarm of many streams, (streams, days); their number of days + 1 where there is none."""
    values = np.zeros((len(days), len(bets.fractions)))
    found = np.full(len(days), days.shape[1] + 1)
    fractions = np.asarray(bets.fractions)
    for day in range(days.shape[1]):
        gain = np.maximum((days[:, day] - bets.limit) / (bets.limit - bets.floor), -1.0)
        values = (values + 1) * (1 + fractions * gain[:, None])
        found = np.where((found > days.shape[1]) & (values.mean(axis=1) >= threshold), day + 1, found)
    return found


@given(st.lists(UNIT, min_size=1, max_size=40), st.floats(0.05, 0.95))
def test_the_values_stay_above_zero_whatever_comes(days: list[float], limit: float) -> None:
    bets = sequential.choose_bets(None, expected=limit / 2, tolerance=limit / 2, lowest=0.0)
    values = [0.0] * len(bets.fractions)
    for day in days:
        values = sequential.update_values(values, sequential.compute_factors(bets, day, rows=1))
        assert min(values) > 0


@given(
    limit=st.floats(0.01, 0.9),
    low=st.floats(0, 1),
    high=st.floats(0, 1),
    rows=st.integers(1, 2_000),
)
def test_no_bet_gains_on_average_where_the_mean_is_the_limit(
    limit: float, low: float, high: float, rows: int
) -> None:
    """A day with two outcomes around the limit, whose mean it is: the worst case of all distributions."""
    low, high = limit * low, limit + (1 - limit) * high
    bets = sequential.choose_bets(None, expected=limit / 2, tolerance=limit / 2, lowest=0.0)
    bets = Bets(limit=bets.limit, floor=bets.floor, fractions=bets.fractions, rows=500)
    chance = 1.0 if high == low else (limit - low) / (high - low)
    mean = chance * sequential.compute_factors(bets, high, rows) + (1 - chance) * sequential.compute_factors(
        bets, low, rows
    )
    assert np.all(mean <= 1 + 1e-12)


def test_the_mean_time_to_a_false_alarm_is_kept_where_the_mean_is_the_limit() -> None:
    """At the limit itself, by the worst of what is allowed: days of two outcomes. The bound says at least 100."""
    chance = np.random.default_rng(1)
    bets = sequential.choose_bets(None, expected=0.1, tolerance=0.1, lowest=0.0)
    days = (chance.random((2_000, 2_000)) < 0.2).astype(float)
    times = run_until(bets, days, threshold=100)
    assert times.mean() >= 100


def draw_days(streams: int, days: int, correlation: float, seed: int) -> Floats:
    """Days around 0.5 with a deviation of 0.1, each of which goes with the one before: (streams, days)."""
    chance = np.random.default_rng(seed)
    found, state = np.empty((streams, days)), chance.normal(size=streams)
    for day in range(days):
        state = correlation * state + math.sqrt(1 - correlation**2) * chance.normal(size=streams)
        found[:, day] = 0.5 + 0.1 * state
    return found


@pytest.mark.parametrize("correlation", [0.0, 0.4, 0.7])
def test_days_that_follow_each_other_are_paid_for_out_of_the_tolerance(correlation: float) -> None:
    usual = make_usual(deviation=0.1, correlation=correlation)
    bets = sequential.choose_bets(usual, expected=0.5, tolerance=0.02, lowest=0.0)
    days = draw_days(400, 3_000, correlation, seed=2)
    assert run_until(bets, days, threshold=1_000).mean() >= 1_000


def test_without_regard_to_that_the_same_days_alarm_too_often() -> None:
    bets = sequential.choose_bets(make_usual(), expected=0.5, tolerance=0.02, lowest=0.0)
    days = draw_days(400, 3_000, 0.7, seed=2)
    assert run_until(bets, days, threshold=1_000).mean() < 1_000


def test_harm_is_found_within_weeks() -> None:
    chance = np.random.default_rng(4)
    bets = sequential.choose_bets(make_usual(), expected=0.5, tolerance=0.05, lowest=0.0)
    days = 0.65 + 0.1 * chance.normal(size=(300, 400))
    assert np.median(run_until(bets, days, threshold=5_000)) <= 30


@given(st.floats(0.02, 0.3), st.floats(0, 0.8))
def test_days_as_on_the_reference_are_below_the_limit_although_the_best_are_cut(
    deviation: float, correlation: float
) -> None:
    usual = make_usual(deviation=deviation, correlation=correlation)
    bets = sequential.choose_bets(usual, expected=0.5, tolerance=0.05, lowest=0.0)
    grid = 0.5 + deviation * np.linspace(-8, 8, 20_001)
    weights = np.exp(-0.5 * ((grid - 0.5) / deviation) ** 2)
    cut = float((np.maximum(grid, bets.floor) * weights).sum() / weights.sum())
    assert cut <= bets.limit - 0.05 + 1e-3 * deviation
    assert max(bets.fractions) <= sequential.LARGEST


def test_a_day_of_few_rows_moves_less() -> None:
    bets = sequential.choose_bets(make_usual(), expected=0.5, tolerance=0.05, lowest=0.0)
    many = sequential.compute_factors(bets, 0.9, rows=1_000)
    few = sequential.compute_factors(bets, 0.9, rows=20)
    assert np.all(many > few)
    assert np.all(few > 1)
    assert np.all(sequential.compute_factors(bets, 0.9, rows=0) == 1)


def test_the_change_is_dated_to_the_day_it_came() -> None:
    bets = sequential.choose_bets(make_usual(), expected=0.5, tolerance=0.05, lowest=0.0)
    days = [0.5, 0.45, 0.55, 0.48, 0.5, *[0.8] * 6]
    factors = np.array([sequential.compute_factors(bets, day, rows=1_000) for day in days])
    assert sequential.find_change(factors) == 5
    assert sequential.find_change(np.empty((0, 6))) is None


def test_what_is_cut_off_keeps_the_proportions_of_the_bets() -> None:
    values = sequential.update_values([100.0, 10.0], np.array([2.0, 1.0]), most=50.0)
    assert sequential.compute_evidence(values) == pytest.approx(50)
    assert values[0] / values[1] == pytest.approx(202 / 11)


@pytest.mark.parametrize(
    ("every", "days"), [("5 years", 1826.25), ("1 month", 30.4375), ("2 weeks", 14), ("1 day", 1)]
)
def test_a_time_is_counted_in_days(every: str, days: float) -> None:
    assert sequential.count_days(every) == pytest.approx(days)


def test_usual_days_are_measured_with_how_they_follow_each_other() -> None:
    chance = np.random.default_rng(5)
    state, means = 0.0, []
    for _ in range(4_000):
        state = 0.5 * state + math.sqrt(0.75) * chance.normal()
        means.append(0.3 + 0.05 * state)
    rows = np.full(4_000, 500.0)
    usual = sequential.measure_usual(rows, rows * np.array(means))
    assert usual is not None
    assert usual.correlation == pytest.approx(0.5, abs=0.05)
    assert usual.deviation == pytest.approx(0.05, rel=0.05)
    assert usual.error == pytest.approx(0.05 * math.sqrt(3 / 4_000), rel=0.15)


def test_without_rows_nothing_is_usual() -> None:
    assert sequential.measure_usual(np.zeros(3), np.zeros(3)) is None
