"""Estimates before labels: right where a score means what it meant, and not believed where it does not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bots.monitoring import estimation
from bots.monitoring.estimated_metrics import backtest_estimates
from bots.monitoring.estimation import EstimateJudgement
from bots.monitoring.reference import Reference
from bots.observations import DayInputs, DayOutcomes, EstimateRecord
from bots.stats.estimates import fit_rates
from bots.stats.metrics import Floats
from fixtures.watched import ONNX, VERSION, make_day, make_reference, make_settings, name_day
from fixtures.watched_inputs import EDGES, make_counts

SETTINGS = make_settings()
NAMES = ["log_loss", "roc_auc", "brier", "value", "target"]
ROWS = 2_000
COMPLETE = name_day(10_000)


def draw_rows(chance: np.random.Generator, *, hard: float = 0.0, wrong: float = 1.0) -> tuple[Floats, Floats]:
    """Scores and labels of a day. `hard` moves scores towards the middle; with `wrong` other than 1 they do not mean
    what they say."""
    score = chance.beta(2 + hard, 6 - hard, ROWS)
    return score, (chance.random(ROWS) < score**wrong).astype(float)


def make_labelled(number: int, score: Floats, target: Floats, **more: Any) -> DayOutcomes:
    loss = -np.log(np.where(target == 1, score, 1 - score))
    called = score >= 0.3
    value = np.where(called, np.where(target == 1, 12.0, -4.0), 0.0)
    return make_day(
        number,
        rows=ROWS,
        loss=float(loss.mean()),
        score=float(score.mean()),
        target=float(target.mean()),
        value=float(value.mean()),
        scores=make_counts(score, target),
        **more,
    )


def make_asked(number: int, score: Floats) -> DayInputs:
    return DayInputs(
        day=name_day(number), version=VERSION, onnx=ONNX, rows=len(score), scores=make_counts(score)
    )


def make_known() -> Reference:
    """A holdout of nine weeks with its back-test."""
    chance = np.random.default_rng(1)
    days = [make_labelled(at - 63, *draw_rows(chance)) for at in range(63)]

    def fit(left: set[str]) -> tuple[Floats, Floats]:
        counts = [day.scores for day in days if day.day not in left and day.scores]
        rows, positives = (
            np.array([getattr(one, name) for one in counts], dtype=float).sum(axis=0)
            for name in ("rows", "positives")
        )
        return fit_rates(rows, positives), np.empty(0)

    missed = backtest_estimates(days, NAMES, fit, context=SETTINGS.context, task="classification")
    return make_reference(days, edges=EDGES.tolist(), rates=fit(set())[0].tolist(), missed=missed)


REFERENCE = make_known()


def estimate(
    inputs: list[DayInputs], outcomes: list[DayOutcomes], records: Any = (), **more: Any
) -> EstimateJudgement:
    given = {"reference": REFERENCE, "settings": SETTINGS, "complete": COMPLETE, **more}
    return estimation.estimate_weeks(inputs, outcomes, records, **given)


def draw_weeks(weeks: int, seed: int = 2, **more: float) -> tuple[list[DayInputs], list[DayOutcomes]]:
    """Whole weeks from Monday 5 January 2026 on."""
    chance = np.random.default_rng(seed)
    drawn = [(at, *draw_rows(chance, **more)) for at in range(4, 4 + 7 * weeks)]
    return [make_asked(at, score) for at, score, _ in drawn], [make_labelled(*one) for one in drawn]


def find(records: list[EstimateRecord], metric: str) -> EstimateRecord:
    return next(one for one in records if one.metric == metric)


def test_a_week_is_estimated_before_any_label_came() -> None:
    inputs, outcomes = draw_weeks(1)
    judgement = estimate(inputs, [])
    assert {one.metric for one in judgement.records} == set(NAMES)
    assert judgement.records[-1].metric == "log_loss"
    assert judgement.coverage is None
    found, truth = find(judgement.records, "log_loss"), sum(day.sums["log_loss"] for day in outcomes) / 14_000
    assert found.day == name_day(4)
    assert found.rows == 14_000
    assert found.low <= truth <= found.high
    assert found.truth is None


def test_estimates_hold_the_truth_where_scores_mean_what_they_meant_although_rows_are_harder() -> None:
    judgement = estimate(*draw_weeks(10, hard=0.5))
    assert judgement.coverage is not None
    assert judgement.coverage >= 0.8
    assert not [one for one in judgement.findings if one.check == "estimates"]


def test_estimates_are_not_to_be_believed_where_scores_mean_something_else() -> None:
    judgement = estimate(*draw_weeks(10, wrong=2.0))
    words = [one.words for one in judgement.findings if one.subject == "log_loss"]
    assert words == [
        (
            "Do not believe the estimates of log loss: the truth lay outside of them in 10 of 10 weeks. "
            "What a score means has changed since the review."
        )
    ]
    assert {one.level for one in judgement.findings} == {"warning"}


def test_harder_rows_warn_before_labels_and_say_what_only_labels_tell() -> None:
    inputs, _ = draw_weeks(1, hard=2.0)
    findings = estimate(inputs, []).findings
    assert [one.level for one in findings] == ["warning"]
    assert (
        "Before labels came, the log loss of the week of 5 Jan 2026 is estimated to be 0."
        in findings[0].words
    )
    assert "only labels tell" in findings[0].words


def test_a_truth_waits_for_every_day_of_the_week() -> None:
    inputs, outcomes = draw_weeks(1)
    assert find(estimate(inputs, outcomes[:6]).records, "target").truth is None
    assert find(estimate(inputs, outcomes).records, "target").truth is not None


def test_a_running_week_is_estimated_anew_with_a_wider_interval_and_others_stay() -> None:
    inputs, outcomes = draw_weeks(2)
    first = estimate(inputs[:9], outcomes[:7])
    assert [one.rows for one in first.records if one.metric == "target"] == [14_000, 4_000]
    wide, narrow = (one.high - one.low for one in reversed([*first.records]) if one.metric == "brier")
    assert wide > narrow
    second = estimate(inputs, outcomes, first.records)
    assert [one.rows for one in second.records if one.metric == "target"] == [14_000, 14_000]
    assert second.records[: len(NAMES)] == first.records[: len(NAMES)]
    assert estimate(inputs, outcomes, second.records) == second


def test_days_that_are_not_whole_are_not_estimated() -> None:
    inputs, _ = draw_weeks(1)
    assert not estimate(inputs, [], complete=name_day(3)).records


@pytest.mark.parametrize(("by_day", "words"), [(False, "no day"), (True, "fewer than four weeks")])
def test_without_a_back_test_nothing_is_estimated_and_that_is_said(by_day: bool, words: str) -> None:
    inputs, outcomes = draw_weeks(1)
    judgement = estimate(inputs, outcomes, reference=make_reference(by_day=by_day))
    assert not judgement.records
    assert words in judgement.words


def test_the_chance_of_misses_is_the_binomial_one() -> None:
    assert estimation._find_chance(0, 5) == pytest.approx(1)
    assert estimation._find_chance(5, 5) == pytest.approx(0.05**5)
    assert estimation._find_chance(3, 10) == pytest.approx(0.0115, abs=1e-4)
