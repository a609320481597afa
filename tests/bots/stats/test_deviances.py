"""Pinball loss and deviances: scikit-learn's values in both rooms, with intervals, and watched afterwards."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from bots.render.words import explain_metric, mark_direction, name_metric
from bots.stats import deviances, intervals, losses, metrics
from bots.stats.metrics import Context
from fixtures import simulated
from pipeline import metrics as pipeline
from pipeline.files import StageError
from pipeline.scored_rows import Rows

SEEDS = st.integers(0, 2**32 - 1)
LEVELS = st.integers(1, 9_999).map(lambda number: f"{number / 10_000:.4f}".rstrip("0"))


def draw_counts(seed: int, rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Counts with their means, and what each row weighs."""
    random = np.random.default_rng(seed)
    score = random.gamma(2, 3, rows) + 1e-3
    return random.poisson(score).astype(float), score, random.integers(1, 5, rows).astype(float)


@given(SEEDS, st.integers(1, 300), LEVELS, st.booleans())
@settings(max_examples=80, deadline=None)
def test_a_pinball_loss_is_that_of_scikit_learn_in_both_rooms(
    seed: int, rows: int, level: str, heavy: bool
) -> None:
    random = np.random.default_rng(seed)
    target, score = random.normal(size=rows) * 30, random.normal(size=rows) * 30
    weights = random.integers(1, 5, rows).astype(float) if heavy else None
    name = f"pinball:{level}"
    expected = sk.mean_pinball_loss(target, score, sample_weight=weights, alpha=float(level))
    assert metrics.compute_value(name, target, score, Context(), weights) == pytest.approx(expected, rel=1e-9)
    assert pipeline.compute(name, Rows(target, score, weight=weights), "regression") == expected


@given(SEEDS, st.integers(1, 300), st.booleans())
@settings(max_examples=80, deadline=None)
def test_deviances_are_those_of_scikit_learn_in_both_rooms(seed: int, rows: int, heavy: bool) -> None:
    target, score, weights = draw_counts(seed, rows)
    used = weights if heavy else None
    for name, above, compute in (
        ("poisson_deviance", 0.0, sk.mean_poisson_deviance),
        ("gamma_deviance", 0.5, sk.mean_gamma_deviance),
    ):
        y = target + above
        expected = compute(y, score, sample_weight=used)
        found = metrics.compute_value(name, y, score, Context(), used)
        assert found == pytest.approx(expected, rel=1e-9, abs=1e-12), name
        assert pipeline.compute(name, Rows(y, score, weight=used), "regression") == pytest.approx(expected)


def test_the_quantile_has_the_smallest_pinball_loss_of_its_level() -> None:
    target = np.random.default_rng(3).exponential(20, 20_000)

    def measure(score: float) -> float:
        found = metrics.compute_value("pinball:0.9", target, np.full(len(target), score), Context())
        assert found is not None
        return found

    best = float(np.quantile(target, 0.9))
    assert measure(best) < min(measure(best * 0.9), measure(best * 1.1))
    assert measure(best) < measure(float(target.mean()))


@pytest.mark.parametrize(
    "level", ["0.90", "1", "0", "0.0", "90", ".9", "0.9 ", "1.5", "0.00001", "0,9", "\u0660.\u0669", ""]
)
def test_a_level_has_one_spelling_and_another_is_refused_with_it(level: str) -> None:
    name = f"pinball:{level}"
    assert metrics.find_measure(name, "regression") is None
    assert "`pinball:0.9`" in str(deviances.explain_name(name))
    with pytest.raises(StageError, match=r"`pinball:0\.9`"):
        pipeline.find_metric(name, "regression")


def test_a_quantile_is_no_metric_of_a_classification() -> None:
    assert metrics.find_measure("pinball:0.9", "classification") is None
    assert metrics.find_measure("poisson_deviance", "multiclass") is None
    with pytest.raises(StageError, match=r"no metric 'pinball:0\.9' for a classification"):
        pipeline.find_metric("pinball:0.9", "classification")


def test_params_yaml_says_how_a_pinball_loss_is_named() -> None:
    policy = simulated.make_quick_policy("regression")
    from msgspec import structs

    from bots.settings import _find_problems

    wrong = structs.replace(policy, evaluate=structs.replace(policy.evaluate, metrics=["mae", "pinball:90"]))
    assert any(
        "evaluate.metrics: no metric `pinball:90` for a regression; a pinball loss is named with its level"
        in one
        for one in _find_problems(wrong)
    )


def test_a_deviance_has_no_value_where_a_prediction_is_not_above_zero() -> None:
    target, score, _ = draw_counts(5, 50)
    score[7] = -1.0
    assert metrics.compute_value("poisson_deviance", target, score, Context()) is None
    with pytest.raises(
        StageError, match="poisson_deviance has no value: 1 of 50 predictions are zero or below"
    ):
        pipeline.compute("poisson_deviance", Rows(target, score), "regression")
    with pytest.raises(StageError, match=r"gamma_deviance has no value: .* targets are zero or below"):
        pipeline.compute("gamma_deviance", Rows(target * 0, np.abs(score)), "regression")


def test_both_rooms_know_the_same_deviances_with_the_same_direction_and_unit() -> None:
    for name in (*deviances.DEVIANCES, "pinball:0.25"):
        ours, theirs = metrics.get_measure(name, "regression"), pipeline.find_metric(name, "regression")
        assert (ours.direction, theirs.direction) == ("lower", "lower")
        assert (ours.kind == "quantity") == (pipeline.find_unit(name, None, "minutes") == "minutes")


@pytest.mark.parametrize("name", ["pinball:0.9", "poisson_deviance", "gamma_deviance"])
def test_an_interval_and_words_for_people_belong_to_each(name: str) -> None:
    random = np.random.default_rng(3)
    drawn = simulated.draw_predictions("regression", 4_000, random)
    target, candidate = np.abs(drawn.target) + 1, np.abs(drawn.candidate) + 1
    champion = candidate * np.exp(random.normal(0, 0.3, len(target)))
    rows = intervals.choose_rows(replace(drawn, target=target, candidate=candidate, champion=champion))
    found = intervals.estimate_interval(rows, metrics.get_measure(name, "regression"), confidence=0.95)
    assert found.low is not None
    assert found.high is not None
    assert found.difference is not None
    assert found.low < found.difference < found.high < 0
    assert explain_metric(name)
    assert mark_direction(name, "lower") == "↓"
    assert name_metric(name) in {"Pinball loss at 0.9", "Poisson deviance", "Gamma deviance"}


@pytest.mark.parametrize("primary", ["pinball:0.9", "poisson_deviance", "gamma_deviance"])
def test_the_watch_bets_on_the_metric_itself_and_what_has_no_value_loses_all(primary: str) -> None:
    target, score, _ = draw_counts(9, 2_000)
    target += 0.5
    chosen = losses.choose_loss(primary, "regression", target, score=score, context=Context())
    assert chosen.plain == primary
    plain = chosen.compute_plain(target, score, Context())
    assert plain.mean() == pytest.approx(metrics.compute_value(primary, target, score, Context()))
    assert np.mean(plain > chosen.limit) < 0.01
    lost = chosen.compute_plain(np.array([4.0]), np.array([-1e6]), Context())
    assert chosen.bound_losses(lost).tolist() == [1.0]
