"""The team's tests of how the trained model behaves: whatever is tuned, this must hold.

They need a trained model (`dvc repro`, or `python -m bots storage fetch`) and are skipped without one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from pipeline import evaluate, export, files, metrics, model
from pipeline.params import Params

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline


@pytest.fixture(scope="module")
def trained(settings: Params) -> Pipeline:
    if not files.MODEL.exists():
        pytest.skip(
            f"no model is trained yet: {files.MODEL} is not here; run `dvc repro` or `python -m bots storage fetch`"
        )
    return model.load(trusted=settings.model.trusted)


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    if not evaluate.HOLDOUT.exists():
        pytest.skip(
            f"no holdout: {evaluate.HOLDOUT} is not here; run `dvc repro` or `python -m bots storage fetch`"
        )
    return files.read_table(evaluate.HOLDOUT).head(1000)


def scores(trained: Pipeline, rows: pd.DataFrame, settings: Params) -> np.ndarray:
    return model.predict(trained, rows, settings.task)


def test_every_prediction_is_a_number_in_range(
    trained: Pipeline, rows: pd.DataFrame, settings: Params
) -> None:
    found = scores(trained, rows, settings)
    assert np.isfinite(found).all()
    if settings.task == "classification":
        assert ((found >= 0) & (found <= 1)).all()


def test_a_prediction_depends_on_its_own_row_alone(
    trained: Pipeline, rows: pd.DataFrame, settings: Params
) -> None:
    together = scores(trained, rows, settings)
    np.testing.assert_allclose(scores(trained, rows.iloc[::-1], settings)[::-1], together, rtol=1e-12)
    np.testing.assert_allclose(scores(trained, rows.iloc[[5]], settings), together[[5]], rtol=1e-12)


def test_a_category_never_seen_is_answered(trained: Pipeline, rows: pd.DataFrame, settings: Params) -> None:
    for name in settings.features.categorical:
        strange = rows.assign(**{name: "never seen in training"})
        assert np.isfinite(scores(trained, strange, settings)).all(), name


def test_a_missing_number_is_answered(trained: Pipeline, rows: pd.DataFrame, settings: Params) -> None:
    for name in settings.features.numeric:
        unknown = rows.assign(**{name: np.float32("nan")})
        assert np.isfinite(scores(trained, unknown, settings)).all(), name


def test_the_model_beats_a_constant(trained: Pipeline, settings: Params) -> None:
    """A model that knows nothing says the same of every row; ours must order or hit them better than that."""
    holdout = files.read_table(evaluate.HOLDOUT)
    target, found = holdout[files.TARGET].to_numpy(), scores(trained, holdout, settings)
    if settings.task == "classification":
        auc = metrics.compute("roc_auc", metrics.Rows(target, found), settings.task)
        assert auc is not None
        assert auc > 0.5
    else:
        assert np.corrcoef(target, found)[0, 1] > 0


def test_the_onnx_model_answers_alike(trained: Pipeline, rows: pd.DataFrame, settings: Params) -> None:
    if not files.ONNX.exists():
        pytest.skip(
            f"no exported model: {files.ONNX} is not here; reports/export.json says why, or run `dvc repro`"
        )
    found = export.run_model(files.ONNX.read_bytes(), rows, settings.features)
    expected = scores(trained, rows, settings)
    np.testing.assert_allclose(
        found, expected, rtol=settings.export.tolerance, atol=settings.export.tolerance
    )
