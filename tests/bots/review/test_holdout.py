"""Tables of predictions held against each other: rows that are missing are said to be, whoever left them out."""

from __future__ import annotations

import pyarrow as pa
import pytest

from bots.review.champion import ChampionUnavailable
from bots.review.holdout import HoldoutPredictions
from fixtures import simulated

ROWS = ["a", "b", "c"]


def table(rows: list[str], score: list[float], **columns: list[float]) -> pa.Table:
    return pa.table({"row": rows, "score": score, **columns})


@pytest.fixture
def predictions() -> HoldoutPredictions:
    own = table(ROWS, [0.1, 0.2, 0.3], target=[0.0, 1.0, 0.0])
    return HoldoutPredictions(own, simulated.make_policy(), {})


def test_scores_in_another_order_are_the_same_scores(predictions: HoldoutPredictions) -> None:
    assert predictions.find_contradictions(table(["c", "a", "b"], [0.3, 0.1, 0.2])) == ()


def test_scores_that_the_model_does_not_give_are_counted(predictions: HoldoutPredictions) -> None:
    (found,) = predictions.find_contradictions(table(ROWS, [0.1, 0.9, 0.3]))
    assert found == "reports/predictions.parquet is not what the model gives: 1 of 3 scores differ"


def test_rows_that_a_model_does_not_score_speak_against_its_own_side(predictions: HoldoutPredictions) -> None:
    (found,) = predictions.find_contradictions(table(["a", "c"], [0.1, 0.3]))
    assert found == (
        "reports/predictions.parquet cannot be checked against the model: "
        "this change's model did not score 1 of 3 holdout rows"
    )
    with pytest.raises(ChampionUnavailable, match="main's model did not score 1 of 3 holdout rows"):
        predictions.pair_with(table(["a", "c"], [0.1, 0.3]), truth=None, policy=simulated.make_policy())
