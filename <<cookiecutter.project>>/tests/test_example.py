"""What the example's team knows about its subject. It goes when your own table comes: write such tests of your own."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline import evaluate, files, model
from pipeline.params import Params


def test_an_evening_flight_is_expected_to_be_later_than_one_in_the_morning(settings: Params) -> None:
    """Delays add up over a day."""
    if "hour" not in settings.features.numeric:
        pytest.skip("hour is no feature of this model")
    if not (files.MODEL.exists() and evaluate.HOLDOUT.exists()):
        pytest.skip(f"no model is trained yet: {files.MODEL} is not here; run `dvc repro` or `dvc pull`")
    trained = model.load(trusted=settings.model.trusted)
    rows = files.read_table(evaluate.HOLDOUT).head(1000)
    morning = model.predict(trained, rows.assign(hour=np.float32(7)), settings.task).mean()
    evening = model.predict(trained, rows.assign(hour=np.float32(19)), settings.task).mean()
    assert evening > morning
