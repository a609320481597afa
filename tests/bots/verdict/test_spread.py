"""What training again says of a committed model: how often it is wrong, and the words that a person reads."""

from __future__ import annotations

import numpy as np
import pytest

from bots import settings
from bots.evidence import SpreadOutcome, TrainingSpread
from bots.verdict import spread

GATE = settings.Gate(primary="log_loss", guards=["roc_auc"], matters={"log_loss": 0.01, "roc_auc": 0.01})


def judge(
    committed: float, trained: list[float], unlike: float = 0.01, apart: float = 0.01
) -> TrainingSpread:
    """The spread of trainings with these log losses; their ROC AUC moves with it."""
    return spread.judge_spread(
        "train",
        {"log_loss": committed, "roc_auc": 1 - committed},
        [{"log_loss": value, "roc_auc": 1 - value} for value in trained],
        GATE,
        unlike=unlike,
        apart=apart,
    )


def test_a_model_that_training_gave_is_called_another_one_as_seldom_as_said():
    """Five trainings and the committed one, all alike by nature, with metrics that move on their own."""
    rng = np.random.default_rng(3)
    wrong = 0
    for _ in range(4_000):
        draws = rng.normal(0.4, 1e-4, (6, 2))
        committed, *trained = ({"log_loss": a, "roc_auc": b} for a, b in draws)
        found = spread.judge_spread("train", committed, trained, GATE, unlike=0.01, apart=0.01)
        wrong += found.outcome == "outside"
    assert 0.002 < wrong / 4_000 < spread.RISK + 0.005


def test_distances_alone_call_no_model_of_the_same_training_another_one():
    """Models that differ along one direction, and such whose rows differ on their own."""
    rng = np.random.default_rng(4)
    wrong = 0
    for _ in range(4_000):
        places = rng.normal(size=4)
        unlike = np.abs(places[0] - places[1:]).mean()
        apart = np.abs(places[1:, None] - places[None, 1:]).max()
        wrong += unlike > spread.UNLIKE * apart
    assert wrong / 4_000 < 0.12, "three trainings along one line are the worst case"


def test_a_better_model_than_any_training_gives_is_blocked_with_the_figures():
    finding = spread.check_spread(judge(0.30, [0.400, 0.401, 0.402]))
    assert (finding.passed, finding.verdict, finding.reason) == (False, "blocked", "lock-does-not-reproduce")
    assert finding.message == (
        "The committed dvc.lock does not reproduce: training is not deterministic, and no training gives this model. "
        "3 trainings of this same commit gave Log loss 0.4000 to 0.4020 (committed: 0.3000); ROC AUC 0.598 to 0.600 "
        "(committed: 0.700)."
    )


def test_another_model_with_the_same_metrics_is_blocked_by_its_predictions():
    finding = spread.check_spread(judge(0.401, [0.400, 0.401, 0.402], unlike=0.2, apart=0.01))
    assert not finding.passed
    assert finding.message.endswith(
        "Its predictions lie 0.2 from theirs on average, and theirs at most 0.01 from each other."
    )


def test_a_model_like_the_trainings_is_judged_and_the_spread_is_told():
    finding = spread.check_spread(judge(0.4005, [0.4000, 0.4004, 0.4009]))
    assert (finding.passed, finding.judged) == (True, True)
    assert finding.message.startswith(
        "Training is not deterministic: 3 trainings of this same commit gave Log loss "
    )
    assert finding.message.endswith("The committed model is like them, and it is what is judged.")


def test_trainings_that_differ_by_more_than_the_gate_tolerates_leave_it_to_a_person():
    """Else noise by design would hide any model."""
    finding = spread.check_spread(judge(0.40, [0.30, 0.40, 0.52]))
    assert (finding.passed, finding.verdict, finding.reason) == (
        False,
        "undecided",
        "training-differs-too-much",
    )
    assert "nobody can tell" in finding.message


def test_where_nothing_is_said_to_matter_a_person_decides():
    gate = settings.Gate(primary="log_loss", guards=[], matters={})
    values = [{"log_loss": 0.4 + step / 1e4} for step in range(3)]
    found = spread.judge_spread("train", values[1], values, gate, unlike=0.0, apart=0.0)
    assert found.outcome == "too wide"


@pytest.mark.parametrize(
    ("outcome", "passed", "said"),
    [
        ("alike", True, "as another processor may"),
        ("repeats", False, "the same in each of 2 trainings"),
        ("could not", False, "could not be tried: the storage does not have it."),
    ],
)
def test_each_other_outcome_says_what_happened(outcome: SpreadOutcome, passed: bool, said: str):
    found = TrainingSpread(
        stage="train", outcome=outcome, trainings=2, failure="the storage does not have it"
    )
    finding = spread.check_spread(found)
    assert finding.passed == passed
    assert said in finding.message
