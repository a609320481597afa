"""The team's tests of the trained model: whatever is tuned, this must hold.

They read what `make repro` left (or `python -m bots storage fetch` brought), and are skipped without it.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet

from bots.settings import Settings, load_settings
from bots.stats.predictions import list_classes

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def settings() -> Settings:
    return load_settings(ROOT)


def read(path: str) -> pyarrow.Table:
    if not (ROOT / path).is_file():
        pytest.skip(f"{path} is not here: run `make repro` or `python -m bots storage fetch`")
    return parquet.read_table(ROOT / path)


def read_names(path: str) -> list[str]:
    return sorted(map(str, read(path)["row"].to_pylist()))


def test_every_prediction_is_a_number_in_range(settings: Settings) -> None:
    predictions = read(settings.review.files.predictions).to_pandas()
    several = [f"score:{name}" for name in list_classes(predictions.columns)]
    scores = predictions[several or ["score"]]
    assert scores.notna().all(axis=None)
    if settings.task != "regression":
        assert ((scores >= 0) & (scores <= 1)).all(axis=None)


def test_no_row_both_trains_and_judges(settings: Settings) -> None:
    files = settings.review.files
    assert not set(read_names(files.training_rows)) & set(read_names(files.holdout_rows))


def test_the_predictions_are_of_exactly_the_rows_that_judge(settings: Settings) -> None:
    files = settings.review.files
    assert read_names(files.predictions) == read_names(files.holdout_rows)
