"""Two models of several classes, lined up: the order of classes, a class that one does not know, wrong tables."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from msgspec import structs

from bots.review.champion import ChampionUnavailable
from bots.review.holdout import HoldoutPredictions, PredictionsError
from fixtures.several_classes import make_class_policy

POLICY = structs.replace(
    make_class_policy(), evaluate=structs.replace(make_class_policy().evaluate, metrics=["log_loss"])
)


def make_table(target: list[str] | None, rows: list[str] | None = None, **scores: list[float]) -> pa.Table:
    columns: dict[str, Any] = {"row": rows or ["r1", "r2"]}
    columns |= {} if target is None else {"target": target}
    return pa.table(columns | {f"score:{name}": score for name, score in scores.items()})


def load(table: pa.Table, policy: Any = POLICY) -> HoldoutPredictions:
    return HoldoutPredictions(table, policy, {})


def test_main_s_classes_may_stand_in_another_order() -> None:
    own = load(make_table(["a", "b"], a=[0.9, 0.2], b=[0.1, 0.8]))
    pair = own.pair_with(make_table(["a", "b"], b=[0.3, 0.6], a=[0.7, 0.4]), truth=None, policy=POLICY)
    assert pair.classes == ("a", "b")
    assert pair.champion is not None
    assert pair.champion.tolist() == [[0.7, 0.3], [0.4, 0.6]]
    assert pair.candidate.tolist() == [[0.9, 0.1], [0.2, 0.8]]
    assert "species" in pair.slices


def test_a_class_that_main_s_model_has_beyond_the_holdout_s_does_not_stop_the_comparison() -> None:
    own = load(make_table(["a", "b"], a=[0.9, 0.2], b=[0.1, 0.8]))
    mains = make_table(["a", "b"], a=[0.6, 0.1], b=[0.3, 0.6], c=[0.1, 0.3])
    pair = own.pair_with(mains, truth=mains, policy=POLICY)
    assert pair.classes == ("a", "b", "c")
    assert pair.candidate.tolist() == [[0.9, 0.1, 0.0], [0.2, 0.8, 0.0]]


def test_a_class_of_the_holdout_that_main_s_model_does_not_know_makes_both_not_comparable() -> None:
    own = load(make_table(["a", "c"], a=[0.9, 0.2], b=[0.1, 0.2], c=[0.0, 0.6]))
    with pytest.raises(
        ChampionUnavailable, match=r"main.s model does not know every class of the holdout.*'c'"
    ):
        own.pair_with(make_table(None, a=[0.7, 0.4], b=[0.3, 0.6]), truth=None, policy=POLICY)


def test_a_class_of_the_holdout_that_the_change_dropped_makes_both_not_comparable() -> None:
    own = load(make_table(["a", "b"], a=[0.9, 0.2], b=[0.1, 0.8]))
    mains = make_table(["a", "c"], a=[0.7, 0.1], b=[0.3, 0.1], c=[0.0, 0.8])
    with pytest.raises(PredictionsError, match="1 rows differ"):
        own.pair_with(mains, truth=mains, policy=POLICY)
    own = load(make_table(["a", "c"], a=[0.9, 0.2], b=[0.1, 0.8]))
    with pytest.raises(ChampionUnavailable, match="this change's model does not know every class"):
        own.pair_with(mains, truth=mains, policy=POLICY)


def test_another_actual_class_than_main_s_record_says_is_refused() -> None:
    own = load(make_table(["b", "b"], a=[0.9, 0.2], b=[0.1, 0.8]))
    mains = make_table(["a", "b"], a=[0.7, 0.1], b=[0.3, 0.9])
    with pytest.raises(PredictionsError, match="1 rows differ"):
        own.pair_with(mains, truth=mains, policy=POLICY)


def test_scores_that_the_model_does_not_give_are_counted_by_row() -> None:
    own = load(make_table(["a", "b"], a=[0.9, 0.2], b=[0.1, 0.8]))
    (found,) = own.find_contradictions(make_table(None, a=[0.9, 0.1], b=[0.1, 0.9]))
    assert found.endswith("is not what the model gives: 1 of 2 scores differ")
    (found,) = own.find_contradictions(make_table(None, x=[0.9, 0.1]))
    assert "score:CLASS" in found


def test_a_metric_or_a_worth_of_a_class_that_nobody_has_is_named() -> None:
    policy = structs.replace(
        POLICY, evaluate=structs.replace(POLICY.evaluate, metrics=["log_loss", "recall:ghost"])
    )
    own = load(make_table(["a", "b"], a=[0.9, 0.2], b=[0.1, 0.8]), policy)
    with pytest.raises(PredictionsError, match=r"evaluate.metrics: `recall:ghost`: no class `ghost`"):
        own.summarize()
