"""What a review says of several classes is held against what the predictions and the packed model give."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from msgspec import structs

from bots.evidence import ExportReport, Metric, MetricsReport
from bots.stats import metrics
from bots.verdict import comparison
from bots.verification import figures
from bots.verification.model_checks import check_metrics, check_parity
from bots.verification.reviewed_predictions import (
    list_reviewed_classes,
    load_reviewed_scores,
    load_reviewed_targets,
)
from fixtures.several_classes import NAMES, draw_predictions, make_class_policy

EXPORT = ExportReport(exported=True, passed=True, tolerance=1e-4, flips=0)


@pytest.fixture(scope="module")
def said() -> comparison.Comparison:
    return comparison.compare(draw_predictions(candidate=1.6), make_class_policy())


def find(said: comparison.Comparison, again: comparison.Comparison) -> list[str]:
    return [one.name for one in figures.find_different_figures(said, again)]


def test_the_same_figures_of_classes_come_out_again(said: comparison.Comparison) -> None:
    again = comparison.compare(draw_predictions(candidate=1.6), make_class_policy())
    assert find(said, again) == []


def test_a_class_that_is_shown_better_than_it_is_is_found(said: comparison.Comparison) -> None:
    first = said.classes[0]
    better = structs.replace(first, candidate=structs.replace(first.candidate, recall=0.999))
    forged = replace(said, classes=[better, *said.classes[1:]])
    assert find(forged, said) == ["class setosa: candidate: recall"]


@pytest.mark.parametrize("field", ["low", "high", "difference"])
def test_an_interval_of_a_class_that_was_moved_is_found(said: comparison.Comparison, field: str) -> None:
    forged = replace(said, classes=[structs.replace(one, **{field: 0.5}) for one in said.classes])
    assert len(find(forged, said)) == len(NAMES)


def test_a_class_that_is_hidden_or_renamed_is_found(said: comparison.Comparison) -> None:
    hidden = replace(said, classes=said.classes[1:])
    renamed = replace(said, classes=[structs.replace(said.classes[0], name="Setosa"), *said.classes[1:]])
    assert find(hidden, said) == find(renamed, said) == ["classes: not those of the predictions"]


def test_other_counts_of_which_class_is_called_which_are_found(said: comparison.Comparison) -> None:
    assert find(replace(said, confusion=[]), said) == ["how often this change calls one class another"]
    turned = replace(said, champion_confusion=said.champion_confusion[::-1])
    assert find(turned, said) == ["how often main's model calls one class another"]


def test_a_packed_model_whose_classes_stand_in_another_order_does_not_answer_alike() -> None:
    scores = draw_predictions().candidate
    same = check_parity(scores, scores, EXPORT, task="multiclass", threshold=None)
    assert same.passed
    assert same.figures["flips"] == 0
    turned = check_parity(scores[:, ::-1], scores, EXPORT, task="multiclass", threshold=None)
    assert not turned.passed
    assert turned.figures["flips"] > 0


@pytest.mark.parametrize("shape", [(600,), (600, 2), (600, 5), (599, 4)])
def test_a_packed_model_with_another_number_of_scores_is_refused_in_words(shape: tuple[int, ...]) -> None:
    found = check_parity(
        np.zeros(shape), draw_predictions().candidate, EXPORT, task="multiclass", threshold=None
    )
    assert found.passed is False
    assert "scores of shape" in found.words


def make_report(**values: float) -> MetricsReport:
    return MetricsReport(
        task="multiclass",
        primary="log_loss",
        values=values,
        metrics=[Metric(name=name, value=value, direction="lower") for name, value in values.items()],
        slices=[],
        calibration=[],
        rows=600,
        holdout="md5:" + "0" * 32,
    )


def test_the_packed_model_s_own_scores_must_have_the_reviewed_metrics() -> None:
    both = draw_predictions()
    context = metrics.Context(classes=NAMES)
    values = {
        name: metrics.compute_value(name, both.target, both.candidate, context) or 0.0
        for name in ("log_loss", "balanced_accuracy", "recall:setosa")
    }
    given: dict[str, Any] = {"bins": 10, "half_widths": dict.fromkeys(values, 0.05), "classes": NAMES}
    assert check_metrics(both.target, both.candidate, evaluation=make_report(**values), **given).passed
    values["recall:setosa"] += 0.01
    found = check_metrics(both.target, both.candidate, evaluation=make_report(**values), **given)
    assert not found.passed
    assert found.words.startswith("recall of setosa")


def test_reviewed_predictions_are_read_in_the_order_of_the_rows_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "predictions.parquet"
    table = {"row": ["r1", "r2"], "target": ["b", "a"], "score:b": [0.9, 0.2], "score:a": [0.1, 0.8]}
    pq.write_table(pa.table(table), path)
    rows = np.array(["r2", "r1"], dtype=object)
    scores, targets = load_reviewed_scores(path, rows), load_reviewed_targets(path, rows)
    assert scores is not None
    assert targets is not None
    assert list_reviewed_classes(path) == ("b", "a")
    assert scores.tolist() == [[0.2, 0.8], [0.9, 0.1]]
    assert targets.tolist() == [1, 0]
    assert load_reviewed_scores(path, np.array(["r2", "r9"], dtype=object)) is None
