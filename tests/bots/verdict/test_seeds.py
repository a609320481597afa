"""What seeds differ by counts as chance: the arithmetic, and who is believed without further seeds."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec import structs
from scipy import stats

from bots.evidence import Seeds, SeedScores
from bots.render import glance
from bots.stats.intervals import Interval
from bots.stats.predictions import Predictions
from bots.verdict import comparison
from bots.verdict.rules import check_comparison
from bots.verdict.seeds import agree, combine_errors, is_complete, take_first, widen_interval
from bots.verdict.sentences import describe_seeds
from fixtures import reviews, simulated

VALUES = st.lists(st.floats(-1, 1), min_size=2, max_size=6)


def side(*values: float, same: bool = False, name: str = "log_loss") -> SeedScores:
    return SeedScores(
        model=None,
        holdout=None,
        parameter="model.seed",
        seeds=list(range(7, 7 + len(values))),
        scores=[{name: value} for value in values],
        same=same,
    )


def study(champion: SeedScores, candidate: SeedScores, **more: Any) -> Seeds:
    return Seeds(asked=3, one_seed="improved", champion=champion, candidate=candidate, **more)


def interval(champion: float, candidate: float, error: float = 0.01, freedom: float = 61) -> Interval:
    return Interval(champion, candidate, candidate - champion, None, None, error=error, freedom=freedom)


def test_without_an_error_of_the_rows_it_is_the_interval_of_welch() -> None:
    one, other = [0.51, 0.53, 0.56], [0.44, 0.45, 0.50]
    found = widen_interval(
        interval(one[0], other[0], error=0.0), "log_loss", study(side(*one), side(*other)), 0.95
    )
    wanted = stats.ttest_ind(other, one, equal_var=False).confidence_interval(0.95)
    assert [found.low, found.high] == pytest.approx([wanted.low, wanted.high])
    assert (found.champion, found.candidate) == (0.51, 0.44), "the models' own values stay"


def test_a_share_cannot_change_by_more_than_one() -> None:
    wild = study(side(0.9, 0.1, name="roc_auc"), side(0.1, 0.9, name="roc_auc"))
    found = widen_interval(interval(0.9, 0.1), "roc_auc", wild, confidence=0.95)
    assert (found.low, found.high) == (-1, 1)


def test_the_variances_add_up() -> None:
    error, freedom = combine_errors(0.3, 61, [1.0, 2.0, 3.0], [1.0, 1.0])
    assert error == pytest.approx(math.sqrt(0.09 + 1 / 3))
    assert freedom == pytest.approx((0.09 + 1 / 3) ** 2 / (0.09**2 / 61 + (1 / 3) ** 2 / 2))


@given(VALUES, VALUES, st.floats(0, 1), st.floats(1, 1000))
def test_more_luck_never_narrows_the_interval_and_who_is_who_does_not_matter(
    one: list[float], other: list[float], error: float, freedom: float
) -> None:
    found, degrees = combine_errors(error, freedom, one, other)
    assert found >= error * (1 - 1e-12)
    assert found == pytest.approx(combine_errors(error, freedom, other, one)[0])
    least = min(freedom, len(one) - 1, len(other) - 1)
    most = freedom + len(one) + len(other) - 2
    assert least * (1 - 1e-9) <= degrees <= most * (1 + 1e-9)


@given(VALUES, VALUES, st.floats(0, 1), st.integers(-80, 60))
def test_the_scale_of_a_metric_changes_nothing(
    one: list[float], other: list[float], error: float, power: int
) -> None:
    assume(all(value == 0 or abs(value) > 1e-60 for value in (*one, *other, error)))
    scale = 2.0**power
    found, degrees = combine_errors(error, 30, one, other)
    scaled, again = combine_errors(
        error * scale, 30, [value * scale for value in one], [value * scale for value in other]
    )
    assert [scaled, again] == pytest.approx([found * scale, degrees], rel=1e-9, abs=0)


@given(VALUES, VALUES, st.floats(1e-6, 1), st.floats(1, 1000))
def test_exchanging_the_sides_negates_the_difference_and_its_interval(
    one: list[float], other: list[float], error: float, freedom: float
) -> None:
    there = widen_interval(
        interval(one[0], other[0], error, freedom), "log_loss", study(side(*one), side(*other)), 0.95
    )
    back = widen_interval(
        interval(other[0], one[0], error, freedom), "log_loss", study(side(*other), side(*one)), 0.95
    )
    assert there.difference is not None
    assert back.difference == pytest.approx(-there.difference)
    assert [back.low, back.high] == pytest.approx([-(there.high or 0), -(there.low or 0)])


def test_of_more_seeds_than_are_asked_for_the_first_count() -> None:
    kept = side(0.5, 0.51, 0.49, 0.52, 0.48)
    assert is_complete(kept, 3)
    assert not is_complete(kept, 6)
    assert take_first(kept, 3) == side(0.5, 0.51, 0.49)
    same = side(0.5, 0.5, same=True)
    assert is_complete(same, 6)
    assert take_first(same, 6) == same
    assert not is_complete(None, 2)


@pytest.mark.parametrize(
    ("other", "agrees"),
    [
        ({"log_loss": 0.5 + 1e-9, "mae": 1e-24}, True),
        ({"log_loss": 0.5001, "mae": 1e-24}, False),
        ({"log_loss": 0.5, "mae": 2e-24}, False),
        ({"log_loss": 0.5}, False),
    ],
)
def test_kept_scores_agree_with_what_is_measured_now_or_do_not_count(
    other: dict[str, float], agrees: bool
) -> None:
    assert agree({"log_loss": 0.5, "mae": 1e-24}, other) is agrees


def test_differences_are_listed_seed_by_seed_also_where_one_side_has_no_luck() -> None:
    found = study(side(0.5, 0.5, same=True), side(0.4, 0.45, 0.52))
    assert found.list_differences("log_loss") == pytest.approx([-0.1, -0.05, 0.02])
    assert found.list_differences("roc_auc") == []
    assert found.each_side == 3


def test_equal_seeds_leave_the_interval_as_it_is() -> None:
    found = widen_interval(
        interval(0.5, 0.4),
        "log_loss",
        study(side(0.5, 0.5, same=True), side(0.4, 0.4, same=True)),
        confidence=0.95,
    )
    half = 0.01 * stats.t.ppf(0.975, 61)
    assert [found.low, found.high] == pytest.approx([-0.1 - half, -0.1 + half])


@pytest.mark.parametrize("values", [(0.5, 1e308, -1e308), (0.5, math.inf, 0.5), (0.5, math.nan, 0.5)])
def test_scores_that_cannot_be_judge_nothing(values: tuple[float, ...]) -> None:
    found = widen_interval(
        interval(0.5, 0.4), "log_loss", study(side(*values), side(0.4, 0.4, 0.4)), confidence=0.95
    )
    assert (found.low, found.high, found.error) == (None, None, None)


def test_a_metric_that_a_seed_does_not_have_is_not_judged() -> None:
    candidate = structs.replace(side(0.4, 0.4, 0.4), scores=[{"log_loss": 0.4}, {}, {"log_loss": 0.4}])
    found = widen_interval(interval(0.5, 0.4), "log_loss", study(side(0.5, 0.5, 0.5), candidate), 0.95)
    assert found.low is None
    assert found.note == "a model of a further seed has no value of it"


@pytest.fixture(scope="module")
def better() -> Predictions:
    """A candidate that is clearly better by one seed."""
    rng = np.random.default_rng(3)
    truth = rng.normal(size=3000)
    target = (rng.random(3000) < 1 / (1 + np.exp(-2 * truth))).astype(float)
    return Predictions(
        task="classification",
        target=target,
        champion=1 / (1 + np.exp(-0.5 * truth)),
        candidate=1 / (1 + np.exp(-2 * truth)),
        champion_threshold=0.5,
        candidate_threshold=0.5,
    )


def judge(predictions: Predictions, seeds: Seeds | None, **gate: Any) -> tuple[str, dict[str, bool]]:
    """The outcome of the primary metric, and which rules hold."""
    policy = simulated.make_quick_policy(primary="log_loss", guards=[], seeds=3, slices=None, **gate)
    policy = structs.replace(policy, evaluate=structs.replace(policy.evaluate, metrics=["log_loss"]))
    found = comparison.compare(predictions, policy, seeds)
    return found.metrics[0].outcome, {each.rule: each.passed for each in check_comparison(found, policy.gate)}


def test_seeds_that_differ_by_as_much_as_the_models_take_the_word_improved_back(
    better: Predictions,
) -> None:
    assert judge(better, None) == ("improved", {"primary metric": True, "seeds": False})
    alike = study(side(0.5, 0.51, 0.50), side(0.4, 0.41, 0.4))
    assert judge(better, alike) == ("improved", {"primary metric": True, "seeds": True})
    lucky = study(side(0.5, 0.2, 0.7), side(0.4, 0.6, 0.3))
    assert judge(better, lucky)[0] not in ("improved", "regressed")


@pytest.mark.parametrize(
    "seeds",
    [
        None,
        study(side(0.5, 0.5, 0.5), side(0.4, 0.4, 0.4), failure="no memory"),
        study(side(0.5, 0.5), side(0.4, 0.4, 0.4)),
        study(side(0.5, 0.5, 0.5), side(0.4, 0.41, same=True)),
        Seeds(asked=1, one_seed="improved", candidate=side(0.4, 0.4, 0.4)),
    ],
    ids=["left out", "failed", "too few", "said to be the same", "one side"],
)
def test_whoever_leaves_further_seeds_out_does_not_improve_by_itself(
    better: Predictions, seeds: Seeds | None
) -> None:
    assert judge(better, seeds)[1]["seeds"] is False


def test_a_regression_by_one_seed_blocks_without_further_ones(better: Predictions) -> None:
    assert better.champion is not None
    worse = replace(better, champion=better.candidate, candidate=better.champion)
    assert judge(worse, None) == ("regressed", {"primary metric": False, "seeds": True})


def test_a_change_that_no_seed_moves_while_main_moves_is_to_be_looked_at() -> None:
    fixed = study(side(0.5, 0.51, 0.49), side(0.4, 0.4, same=True))
    assert "look whether the change writes its seed into a place" in describe_seeds(fixed, "log_loss")
    review = structs.replace(
        reviews.lucky_seed(),
        seeds=study(side(0.5, 0.51, 0.49, name="roc_auc"), side(0.4, 0.4, same=True, name="roc_auc")),
    )
    (line,) = (
        line
        for line in glance.collect_lines(review, glance.Style(code=str, text=str))
        if line.topic == "Seeds"
    )
    assert line.state == "note"
    assert "is a seed written elsewhere?" in line.sentence
    for other in (study(side(0.5, 0.51), side(0.4, 0.41)), study(side(0.5, 0.5, same=True), side(0.4, 0.41))):
        assert "look whether" not in describe_seeds(other, "log_loss")


def test_seeds_have_no_say_where_one_seed_says_nothing(better: Predictions) -> None:
    assert better.champion is not None
    same = replace(better, candidate=better.champion)
    lucky = study(side(0.5, 0.5, 0.5), side(0.5, 0.3, 0.3))
    assert judge(same, lucky)[0] == judge(same, None)[0] == "equivalent"


def test_where_the_means_say_better_and_the_two_models_do_not_a_person_decides(better: Predictions) -> None:
    assert better.champion is not None
    worse = replace(better, champion=better.candidate, candidate=better.champion)
    found = study(side(0.5, 0.9, 0.91, 0.9), side(0.5, 0.3, 0.31, 0.3))
    outcome, rules = judge(worse, structs.replace(found, one_seed="improved"), confidence=0.6)
    assert (outcome, rules["seeds"]) == ("improved", False), "whatever the review says of one seed"


def test_a_metric_that_rows_bring_is_judged_with_what_its_seeds_differ_by() -> None:
    name = "NDCG@5"
    alone = interval(0.5, 0.6, error=0.001)
    found = widen_interval(
        alone, name, study(side(0.5, 0.52, 0.54, name=name), side(0.6, 0.58, 0.56, name=name)), 0.95
    )
    assert found.difference == pytest.approx(0.06)
    assert found.error is not None
    assert found.error > 0.01
    assert found.low is not None
    assert found.low < 0.06 < (found.high or 0)
