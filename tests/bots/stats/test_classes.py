"""The metrics of several classes: scikit-learn's values, intervals that cover, and names that are refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn

from bots.evidence import Costs
from bots.stats import classes, intervals, metrics, predictions
from bots.stats.metrics import Context
from bots.stats.predictions import Predictions, PredictionsError
from fixtures.several_classes import METRICS, NAMES, draw_predictions, draw_scores

SEEDS = st.integers(0, 2**32 - 1)
COSTS = Costs(currency="USD", matrix={"setosa": {"versicolor": -3.0}, "other": {"other": 2.0}})
CONTEXT = Context(classes=NAMES, costs=COSTS)


def compute_by_scikit_learn(target: Any, score: Any, weights: Any) -> dict[str, float]:
    """The same metrics by the library that people know them from."""
    called, each = score.argmax(axis=1), {"sample_weight": weights}
    whole = {**each, "labels": range(len(NAMES)), "average": None, "zero_division": 0}
    recall = sklearn.recall_score(target, called, **whole)
    precision = sklearn.precision_score(target, called, **whole)
    return {
        "log_loss": sklearn.log_loss(target, score, labels=range(len(NAMES)), **each),
        "brier": sklearn.brier_score_loss(target, score, labels=range(len(NAMES)), **each),
        "accuracy": sklearn.accuracy_score(target, called, **each),
        "balanced_accuracy": recall[np.unique(target).astype(int)].mean(),
        "f1_macro": sklearn.f1_score(target, called, average="macro", **each),
        "precision_macro": sklearn.precision_score(target, called, average="macro", zero_division=0, **each),
        "recall:setosa": recall[0],
        "precision:versicolor": precision[1],
    }


@pytest.mark.slow
@given(seed=SEEDS, rows=st.integers(12, 200), weighted=st.booleans())
@settings(max_examples=40, deadline=None)
def test_each_metric_is_what_scikit_learn_says(seed: int, rows: int, *, weighted: bool) -> None:
    random = np.random.default_rng(seed)
    target = np.concatenate([np.arange(4), random.choice(4, rows - 4)]).astype(np.float64)
    score = draw_scores(target, 1.0, random)
    weights = random.uniform(0.5, 2, rows) if weighted else None
    for name, wanted in compute_by_scikit_learn(target, score, weights).items():
        assert metrics.compute_value(name, target, score, CONTEXT, weights) == pytest.approx(
            wanted, abs=1e-12
        ), name
    auc = sklearn.roc_auc_score(target, score, multi_class="ovr", sample_weight=weights)
    assert metrics.compute_value("roc_auc_ovr", target, score, CONTEXT, weights) == pytest.approx(auc)


def test_the_worth_of_a_decision_is_that_of_its_cell_and_0_where_nobody_named_it() -> None:
    target = np.array([0.0, 0.0, 3.0, 1.0])
    score = np.eye(4)[[1, 0, 3, 2]]
    assert metrics.compute_value("value", target, score, CONTEXT) == (-3.0 + 0.0 + 2.0 + 0.0) / 4


def test_of_equal_probabilities_the_first_class_is_called() -> None:
    assert classes.call_classes(np.array([[0.4, 0.4, 0.2]])).tolist() == [0]


@pytest.mark.slow
@pytest.mark.parametrize("name", METRICS)
def test_an_interval_covers_the_true_difference_as_often_as_it_says(name: str) -> None:
    """Both models are equally good, so the true difference is zero; of 150 95% intervals 133 or more must hold it."""
    measure = metrics.get_measure(name, "multiclass")
    held = 0
    for seed in range(150):
        rows = intervals.choose_rows(draw_predictions(300, seed))
        found = intervals.estimate_interval(rows, measure, confidence=0.95)
        assert found.low is not None, found.note
        assert found.high is not None
        held += found.low <= 0 <= found.high
    assert held >= 133, held


@pytest.mark.parametrize("name", METRICS)
def test_the_error_of_a_difference_is_that_of_a_bootstrap(name: str) -> None:
    both = draw_predictions(500, seed=3, candidate=1.5)
    rows, random = intervals.choose_rows(both), np.random.default_rng(1)
    found = intervals.estimate_interval(rows, metrics.get_measure(name, "multiclass"), confidence=0.95)
    differences = []
    for _ in range(200):
        drawn = random.integers(0, 500, 500)
        values = [
            metrics.compute_value(name, both.target[drawn], score[drawn], Context(classes=NAMES))
            for score in (both.champion, both.candidate)
            if score is not None
        ]
        differences.append(values[1] - values[0])  # type: ignore[operator]
    # The bins of the calibration error are chosen anew in each drawing, which makes it vary otherwise.
    slack = 0.5 if name == "expected_calibration_error" else 0.2
    assert found.error == pytest.approx(np.std(differences), rel=slack)


def test_a_mean_over_classes_has_no_interval_where_a_class_has_hardly_any_rows() -> None:
    both = draw_predictions(200)
    few = np.flatnonzero((both.target != 3) | (np.cumsum(both.target == 3) <= 5))
    rows = intervals.choose_rows(both, few)
    found = intervals.estimate_interval(
        rows, metrics.get_measure("balanced_accuracy", "multiclass"), confidence=0.95
    )
    assert found.low is None
    assert found.note == "fewer than 10 rows of class other"
    assert found.candidate is not None


def test_a_metric_of_a_class_that_nobody_has_has_no_value() -> None:
    both = draw_predictions(100)
    assert metrics.compute_value("recall:ghost", both.target, both.candidate, Context(classes=NAMES)) is None


@pytest.mark.parametrize("name", ["recall:", "mae:setosa", "recall", "value:setosa", "roc_auc", ":setosa"])
def test_a_name_that_is_no_metric_of_several_classes_is_none(name: str) -> None:
    assert metrics.find_measure(name, "multiclass") is None


def test_a_class_may_be_called_whatever_people_call_it() -> None:
    name = "recall:a: b|c"
    measure = metrics.get_measure(name, "multiclass")
    assert measure.label == "recall of a: b|c"
    assert metrics.compute_value(
        name, np.array([0.0, 1.0]), np.eye(2), Context(classes=("a: b|c", "x"))
    ) == pytest.approx(1.0)


def make_table(**columns: Any) -> pa.Table:
    return pa.table({name.replace("__", ":"): column for name, column in columns.items()})


def test_a_table_of_predictions_says_its_classes_and_their_order() -> None:
    table = make_table(target=["b", "a", "b"], score__b=[0.7, 0.1, 0.5], score__a=[0.3, 0.9, 0.5])
    found = predictions.make_predictions(
        table, "predictions", task="multiclass", slices=[], resample="rows", days_together=1,
        threshold=None, costs=None, bins=10, class_slice="species",
    )  # fmt: skip
    assert found.classes == ("b", "a")
    assert found.target.tolist() == [0, 1, 0]
    assert found.candidate.tolist() == [[0.7, 0.3], [0.1, 0.9], [0.5, 0.5]]
    assert list(found.slices) == ["species"]


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"target": ["c"]}, "no such class: 'c'"),
        ({"score__b": [0.6]}, "probabilities that add up to 1"),
        ({"score__b": [-0.1], "score__a": [1.1]}, "probabilities from 0 to 1"),
        ({"score__b": [float("nan")]}, "finite numbers"),
        ({"score__b": ["x"]}, "expected numbers"),
    ],
)
def test_predictions_that_are_no_probabilities_of_classes_are_refused(
    columns: dict[str, Any], said: str
) -> None:
    table = make_table(**{"target": ["a"], "score__b": [0.3], "score__a": [0.7], **columns})
    with pytest.raises(PredictionsError, match=said):
        predictions.make_predictions(
            table, "predictions", task="multiclass", slices=[], resample="rows", days_together=1,
            threshold=None, costs=None, bins=10,
        )  # fmt: skip


def test_a_single_column_of_scores_is_no_model_of_several_classes() -> None:
    with pytest.raises(PredictionsError, match="score:CLASS"):
        Predictions(task="multiclass", target=np.zeros(2), candidate=np.ones((2, 1)), classes=("a",))


@pytest.mark.parametrize(
    ("column", "names"),
    [([1, 2, 1], ["1", "2"]), ([True, False, True], ["true", "false"]), ([1.0, 2.0, 1.0], ["1", "2"])],
)
def test_classes_that_are_numbers_or_truths_go_by_their_text(column: list[Any], names: list[str]) -> None:
    table = pa.table({"species": column})
    assert predictions.encode_classes(table, "species", "rows", names).tolist() == [0, 1, 0]


def test_a_model_that_does_not_know_a_class_gives_it_no_probability() -> None:
    scores = predictions.spread_scores(np.array([[0.2, 0.8]]), ("a", "b"), ("b", "c", "a"))
    assert scores.tolist() == [[0.8, 0.0, 0.2]]


def test_exchanging_the_models_changes_nothing_but_signs() -> None:
    both = draw_predictions(400, seed=5, candidate=1.5)
    assert both.champion is not None
    swapped = replace(both, champion=both.candidate, candidate=both.champion)
    for name in METRICS:
        measure = metrics.get_measure(name, "multiclass")
        one, other = (
            intervals.estimate_interval(intervals.choose_rows(each), measure, confidence=0.9)
            for each in (both, swapped)
        )
        assert one.low is not None
        assert other.high is not None
        assert one.low == pytest.approx(-other.high, abs=1e-9)
