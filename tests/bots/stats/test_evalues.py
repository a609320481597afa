"""E-values: their mean is 1 where nothing changed, and e-BH names few wrongly."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bots.stats import evalues


@pytest.mark.slow
@given(st.integers(1, 2_000))
def test_every_rank_is_as_likely_so_their_worth_is_one_on_average(count: int) -> None:
    weights = evalues.weigh_ranks(count)
    assert weights.mean() == pytest.approx(1)
    assert np.all(np.diff(weights) <= 0)


@given(st.lists(st.integers(0, 5), min_size=2, max_size=60))
def test_the_mean_over_all_orders_is_at_most_one_whatever_is_equal(distances: list[int]) -> None:
    """Each day in turn is the newest among the others."""
    days = np.array(distances, dtype=float)
    found = [evalues.compute_rank_evalue(days[at], np.delete(days, at)) for at in range(len(days))]
    assert np.mean(found) <= 1 + 1e-9


@pytest.mark.parametrize(("others", "worth"), [(180, 15.9), (26, 4.5), (0, 1.0)])
def test_the_most_unusual_of_many_days_is_worth_more(others: int, worth: float) -> None:
    assert evalues.compute_rank_evalue(9.0, np.arange(others) / 100) == pytest.approx(worth, abs=0.5)


def test_a_mean_takes_the_weights_and_is_one_without() -> None:
    assert evalues.average_evalues(np.array([4.0, 0.0]), np.array([3.0, 1.0])) == 3
    assert evalues.average_evalues(np.array([4.0]), np.array([0.0])) == 1


def test_e_bh_names_the_largest_as_far_as_they_pay_for_each_other() -> None:
    assert evalues.select_by_ebh([100.0, 1.0, 45.0, 0.5], level=0.05) == [True, False, True, False]
    assert evalues.select_by_ebh([79.0, 1.0, 1.0, 0.5], level=0.05) == [False] * 4
    assert evalues.select_by_ebh([], level=0.05) == []


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=30), st.floats(0.01, 0.5))
def test_e_bh_is_as_its_definition_says(values: list[float], level: float) -> None:
    named = evalues.select_by_ebh(values, level)
    wanted = max(
        (k for k in range(1, len(values) + 1) if sorted(values)[-k] * k * level >= len(values)), default=0
    )
    assert sum(named) == wanted
    if 0 < wanted < len(values):
        assert min(v for v, n in zip(values, named, strict=True) if n) >= max(
            v for v, n in zip(values, named, strict=True) if not n
        )


def test_of_what_e_bh_names_few_are_wrong() -> None:
    chance = np.random.default_rng(1)
    wrong = []
    for _ in range(2_000):
        unchanged = evalues.weigh_ranks(2_000)[chance.integers(0, 2_000, size=20)]
        named = evalues.select_by_ebh([*unchanged, 400.0, 400.0, 400.0], level=0.1)
        wrong.append(sum(named[:20]) / max(1, sum(named)))
    assert np.mean(wrong) <= 0.1
