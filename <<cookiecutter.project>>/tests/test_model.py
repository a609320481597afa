"""The team's tests of how the trained model behaves: whatever is tuned, this must hold.

They need a trained model (`dvc repro`, or `python -m bots storage fetch`) and are skipped without one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from pipeline import classes, evaluate, export, files, metrics, model
from pipeline.params import Params
from pipeline.scored_rows import Rows

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
    if settings.task != "regression":
        assert ((found >= 0) & (found <= 1)).all()
    if settings.task == "multiclass":
        assert found.shape == (len(rows), len(classes.get_names(trained)))
        np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)


def test_a_prediction_depends_on_its_own_row_alone(
    trained: Pipeline, rows: pd.DataFrame, settings: Params
) -> None:
    together = scores(trained, rows, settings)
    # Numbers are float32: a linear model's sums differ in their last digits with the number of rows.
    near = 1e-6 * float(np.abs(together).max())
    np.testing.assert_allclose(
        scores(trained, rows.iloc[::-1], settings)[::-1], together, rtol=1e-5, atol=near
    )
    np.testing.assert_allclose(
        scores(trained, rows.iloc[[-1]], settings), together[[-1]], rtol=1e-5, atol=near
    )


def test_a_category_never_seen_is_answered_or_refused_by_the_column_s_name(
    trained: Pipeline, rows: pd.DataFrame, settings: Params
) -> None:
    for name in settings.features.categorical:
        answer_or_refuse(trained, replace_column(rows, name, "never seen in training"), settings, name)


def test_a_missing_number_is_answered_or_refused_by_the_column_s_name(
    trained: Pipeline, rows: pd.DataFrame, settings: Params
) -> None:
    for name in settings.features.numeric:
        answer_or_refuse(trained, replace_column(rows, name, np.float32("nan")), settings, name)


def replace_column(rows: pd.DataFrame, name: str, value: object) -> pd.DataFrame:
    """Replace all values of a column, whatever it is called."""
    changed = rows.copy()
    changed[name] = value
    return changed


def answer_or_refuse(trained: Pipeline, rows: pd.DataFrame, settings: Params, name: str) -> None:
    """Hold that each row gets a number, or that the refusal names the column."""
    refusal, found = None, np.empty(0)
    try:
        found = scores(trained, rows, settings)
    except files.StageError as error:
        refusal = str(error)
    assert refusal is None or name in refusal
    assert np.isfinite(found).all(), name


def test_the_model_is_not_worse_than_one_that_knows_nothing(trained: Pipeline, settings: Params) -> None:
    """One that knows nothing says the same of every row. Ours may be no better by chance alone (3 standard errors)."""
    if not evaluate.HOLDOUT.exists():
        pytest.skip(f"no holdout: {evaluate.HOLDOUT} is not here; run `dvc repro` or `dvc pull`")
    holdout = files.read_table(evaluate.HOLDOUT)
    found = scores(trained, holdout, settings)
    if settings.task == "multiclass":
        names = classes.get_names(trained)
        target = classes.number_labels(holdout[files.TARGET], names)
        for number in range(len(names)):
            hold_above_chance((target == number).astype("float64"), found[:, number])
        return
    target = holdout[files.TARGET].to_numpy(dtype="float64")
    if len(set(target)) == 1:
        pytest.skip("every row of the holdout has the same target, so nothing can be told")
    if settings.task == "classification":
        hold_above_chance(target, found)
    elif found.std() > 0:
        assert np.corrcoef(target, found)[0, 1] > -3 / np.sqrt(len(target))


def hold_above_chance(target: np.ndarray, found: np.ndarray) -> None:
    """Hold that scores order two classes no worse than chance; nothing where one of the two has no row."""
    auc = metrics.compute("roc_auc", Rows(target, found), "classification")
    positive, negative = int((target == 1).sum()), int((target == 0).sum())
    if auc is not None:
        # The standard error of an AUC of one half: that of the rank sum (Mann and Whitney, 1947).
        assert auc > 0.5 - 3 * np.sqrt((positive + negative + 1) / (12 * positive * negative))


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
