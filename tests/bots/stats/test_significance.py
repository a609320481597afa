"""The canary's tests of significance: the textbook's probabilities, and alarms as often as stated."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from bots.stats import significance


@pytest.mark.parametrize("allowed", [0.0, 0.1])
def test_a_shift_just_as_large_as_allowed_is_called_one_as_often_as_stated(allowed: float) -> None:
    rng = np.random.default_rng(5)
    base = stats.beta(2, 4).cdf(np.linspace(0, 1, 21))
    q = np.diff(base)
    tilt = np.linspace(-1, 1, 20)

    def tilted(amount: float) -> np.ndarray:
        p = q * np.exp(amount * tilt)
        return p / p.sum()

    low, high = 0.0, 3.0
    for _ in range(40):
        middle = (low + high) / 2
        p = tilted(middle)
        low, high = (middle, high) if ((p - q) * np.log(p / q)).sum() < allowed else (low, middle)
    p = tilted(low)
    calls = [
        significance.compute_shift(
            rng.multinomial(500, p).tolist(),
            rng.multinomial(4500, q).tolist(),
            allowed=allowed,
            size=500,
            size_before=4500,
        )[1]
        < 0.05
        for _ in range(4000)
    ]
    assert 0.03 <= np.mean(calls) <= 0.07


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 30), st.integers(0, 300), st.integers(0, 60), st.integers(0, 900))
def test_the_rise_is_fishers_exact_test(bad: int, good: int, bad_before: int, good_before: int) -> None:
    expected = (
        stats.fisher_exact([[bad, good], [bad_before, good_before]], alternative="greater").pvalue
        if bad + good and bad_before + good_before
        else 1.0
    )
    found = significance.compute_rise_p(bad, bad + good, bad_before, bad_before + good_before)
    assert found == pytest.approx(expected, abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 400), st.integers(1, 400), st.floats(0.001, 0.5))
def test_the_tail_is_the_binomial_one(count: int, total: int, share: float) -> None:
    assert significance.compute_at_least_p(count, total, share) == pytest.approx(
        stats.binom.sf(count - 1, total, share), abs=1e-9
    )


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.integers(0, 50), min_size=21, max_size=21),
    st.lists(st.integers(0, 50), min_size=21, max_size=21),
)
def test_merging_bins_loses_no_row(counts: list[int], before: list[int]) -> None:
    merged = significance.merge_bins(counts, before) if sum(counts) + sum(before) else ([], [])
    if merged[0]:
        assert sum(merged[0]) == sum(counts)
        assert sum(merged[1]) == sum(before)


def test_the_tail_of_a_shift_is_the_noncentral_chi_square_s() -> None:
    counts, before = [40.0, 60.0, 100.0, 50.0], [500.0, 500.0, 900.0, 600.0]
    index, p = significance.compute_shift(counts, before, allowed=0.02, size=250, size_before=2500)
    assert index == pytest.approx(significance.compute_stability_index(counts, before))
    assert p == pytest.approx(stats.ncx2.sf(index / (1 / 250 + 1 / 2500), 3, 0.02 / (1 / 250 + 1 / 2500)))
    assert significance.compute_shift(counts, before, allowed=0.0, size=0, size_before=2500) == (0.0, 1.0)
