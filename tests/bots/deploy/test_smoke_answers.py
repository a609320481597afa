"""What a tried image answers is held against the review, also where a row has the probabilities of several classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from bots.deploy.smoke_test import Sample, compare_answers, load_sample
from bots.layout import Layout
from bots.settings import Smoke

NAMES = ["a", 'b "c"', "score"]


def write(path: Path, **columns: list[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pa.table(columns), path)


def answer(*shares: float, names: list[str] = NAMES, **other: Any) -> dict[str, Any]:
    given = dict(zip(names, shares, strict=True))
    return {"label": max(given, key=lambda name: given[name]), "probabilities": given, **other}


def test_rows_of_several_classes_are_asked_with_the_probability_of_each(tmp_path: Path) -> None:
    files = Layout()
    write(
        tmp_path / files.holdout_features,
        x=[1.0, 2.0],
        **{"split:target": ["a", "a"], "split:row": ["r", "s"]},
    )
    scores = {"score:a": [0.1, 0.2], 'score:b "c"': [0.3, 0.3], "score:score": [0.6, 0.5]}
    write(tmp_path / files.predictions, row=["s", "r"], target=["a", "a"], **scores)
    sample = load_sample(tmp_path, files, 2)
    assert sample.classes == NAMES
    assert sample.rows == [{"x": 1.0}, {"x": 2.0}]
    assert sample.scores == [[0.2, 0.3, 0.5], [0.1, 0.3, 0.6]]


def test_an_image_that_answers_as_reviewed_passes_and_another_does_not() -> None:
    sample = Sample([{"x": 1.0}], [[0.2, 0.3, 0.5]], NAMES)
    assert compare_answers([answer(0.2, 0.3, 0.50001)], sample, Smoke()).passed
    assert not compare_answers([answer(0.3, 0.2, 0.5)], sample, Smoke()).passed
    assert not compare_answers([answer(0.2, 0.3, float("nan"))], sample, Smoke()).passed
    assert "0 answers for 1 rows" in compare_answers([], sample, Smoke()).words


@pytest.mark.parametrize(
    "given",
    [
        answer(0.2, 0.8, names=["a", "z"]),
        answer(0.2, 0.3, 0.4, 0.1, names=[*NAMES, "new"]),
        answer(0.2, 0.3, 0.5, label="z"),
        {"score": 0.5, "label": True},
    ],
)
def test_an_image_of_other_classes_is_named(given: dict[str, Any]) -> None:
    found = compare_answers([given], Sample([{"x": 1.0}], [[0.2, 0.3, 0.5]], NAMES), Smoke())
    assert not found.passed
    assert "it does not answer with the reviewed classes" in found.words


def test_one_score_for_a_row_is_compared_as_before() -> None:
    sample = Sample([{"x": 1.0}], [[0.25]])
    assert compare_answers([{"score": 0.25, "label": True}], sample, Smoke()).passed
    assert not compare_answers([{"score": 0.75, "label": True}], sample, Smoke()).passed
