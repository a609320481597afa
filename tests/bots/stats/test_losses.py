"""The bounded loss of a row: in [0, 1] whatever comes, the plain loss where nothing is clipped, worse is larger."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bots.evidence import Costs
from bots.stats import losses
from bots.stats.metrics import MEASURES, Context, compute_value

if TYPE_CHECKING:
    from bots.evidence import Task

CELLS = Costs(currency="USD", true_positive=12.0, false_positive=-4.0, true_negative=0.0, false_negative=0.0)
PRICES = Costs(currency="USD", under=-1.0, over=-0.4)
CLASSES = Context(threshold=0.3, costs=CELLS)
NUMBERS = Context(costs=PRICES)
BY_TASK = [(name, task) for name, measure in MEASURES.items() for task in measure.tasks]


def draw_rows(task: Task, seed: int, rows: int = 400) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    if task == "regression":
        target = 30 * random.standard_t(2, rows)
        return target, target + 10 * random.standard_t(2, rows)
    score = random.beta(1, 3, rows)
    return (random.random(rows) < score).astype(float), score


@pytest.mark.parametrize(("primary", "task"), BY_TASK)
@given(seed=st.integers(0, 2**32 - 1), far=st.floats(-1e30, 1e30))
@settings(max_examples=15, deadline=None)
def test_every_primary_metric_has_a_loss_between_0_and_1(
    primary: str, task: Task, seed: int, far: float
) -> None:
    context = CLASSES if task == "classification" else NUMBERS
    target, score = draw_rows(task, seed)
    chosen = losses.choose_loss(primary, task, target=target, score=score, context=context)
    if task == "regression":
        target = target + far
    else:
        score[:2] = 0.0, 1.0
    bounded = chosen.bound_losses(chosen.compute_plain(target, score, context))
    assert bounded.shape == target.shape
    assert np.all((bounded >= 0) & (bounded <= 1))


@pytest.mark.parametrize(("primary", "task"), BY_TASK)
def test_less_than_one_percent_of_the_holdout_is_clipped(primary: str, task: Task) -> None:
    context = CLASSES if task == "classification" else NUMBERS
    target, score = draw_rows(task, 7, rows=20_000)
    chosen = losses.choose_loss(primary, task, target=target, score=score, context=context)
    plain = chosen.compute_plain(target, score, context)
    assert np.all(plain >= 0)
    assert np.mean(plain > chosen.limit) < 0.01
    inside = plain <= chosen.limit
    assert chosen.bound_losses(plain)[inside] == pytest.approx(plain[inside] / chosen.limit)


@pytest.mark.parametrize(("primary", "task"), [("log_loss", "classification"), ("mae", "regression")])
def test_the_mean_of_the_plain_loss_is_the_metric(primary: str, task: Task) -> None:
    context = CLASSES if task == "classification" else NUMBERS
    target, score = draw_rows(task, 3)
    chosen = losses.choose_loss(primary, task, target=target, score=score, context=context)
    assert chosen.compute_plain(target, score, context).mean() == pytest.approx(
        compute_value(primary, target, score, context)
    )


@pytest.mark.parametrize(("task", "context"), [("classification", CLASSES), ("regression", NUMBERS)])
def test_what_a_row_costs_is_what_it_is_worth_less_than_the_best(task: Task, context: Context) -> None:
    target, score = draw_rows(task, 5)
    chosen = losses.choose_loss("value", task, target=target, score=score, context=context)
    best = 12.0 if task == "classification" else 0.0
    value = MEASURES["value"].components(target, score, context)[:, 0]
    assert chosen.compute_plain(target, score, context) == pytest.approx(best - value)


def test_the_cost_of_a_decision_is_scaled_by_the_range_of_the_cells() -> None:
    target, score = draw_rows("classification", 5)
    assert losses.choose_loss("value", "classification", target, score=score, context=CLASSES).limit == 16.0


def test_an_amount_that_matters_is_scaled_like_the_loss() -> None:
    assert losses.BoundedLoss(plain="log_loss", limit=4.0).scale_amount(0.01) == 0.0025


def test_no_row_and_a_metric_of_the_other_task_are_refused() -> None:
    with pytest.raises(ValueError, match="there are none"):
        losses.choose_loss("mae", "regression", np.empty(0), score=np.empty(0), context=NUMBERS)
    with pytest.raises(ValueError, match="mae is no metric of a classification"):
        losses.choose_loss("mae", "classification", np.ones(3), score=np.ones(3), context=CLASSES)


def test_a_model_that_was_never_wrong_has_a_loss_too() -> None:
    target = np.arange(5.0)
    chosen = losses.choose_loss("mae", "regression", target, score=target, context=NUMBERS)
    assert chosen.bound_losses(np.array([0.0, 0.5, 9.0])).tolist() == [0.0, 0.5, 1.0]
