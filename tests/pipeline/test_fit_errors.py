"""What scikit-learn raises at fitting names column, cause and edit, and the edit works."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from fixtures import flights
from pipeline import files, model, train
from pipeline.files import StageError
from pipeline.fit_errors import explain_fit_error

if TYPE_CHECKING:
    from pathlib import Path

ROWS = 200
LOGISTIC = {"use": "sklearn.linear_model.LogisticRegression"}
SCALER = {"columns": "numeric", "use": "sklearn.preprocessing.StandardScaler"}


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> flights.Bench:
    monkeypatch.chdir(tmp_path)
    bench = flights.Bench(tmp_path)
    bench.edit(
        "params.features", {"numeric": ["temp", "distance"], "categorical": ["carrier"], "derived": {}}
    )
    bench.edit("params.model.steps", [SCALER])
    bench.edit("params.model.estimator", LOGISTIC)
    return bench


def fit(bench: flights.Bench, target: np.ndarray | None = None, **columns: Any) -> str | None:
    """Fit on a small table with these columns instead of the usual ones; the refusal, if there is one."""
    rng, settings = np.random.default_rng(0), bench.settings
    usual = {
        "temp": rng.normal(size=ROWS).astype(np.float32),
        "distance": rng.normal(size=ROWS).astype(np.float32),
        "carrier": rng.choice(["UA", "AA"], ROWS),
    }
    frame = pd.DataFrame(usual | columns)[settings.features.raw]
    try:
        train.fit(
            model.build_pipeline(settings),
            frame,
            target=(np.arange(ROWS) % 2).astype(float) if target is None else target,
            settings=settings,
        )
    except StageError as error:
        return str(error)
    return None


def test_gaps_name_the_column_their_share_and_a_step_that_fills_them(bench: flights.Bench) -> None:
    gaps = {"temp": np.where(np.arange(ROWS) % 4, 1.5, np.nan).astype(np.float32)}
    said = fit(bench, **gaps)
    assert said is not None
    assert said.startswith(
        "params.yaml: model.steps: sklearn.linear_model.LogisticRegression takes no missing values, and training has "
        "some in temp (25.0%); fill them by a step such as `use: sklearn.impute.SimpleImputer`"
    )
    bench.edit("params.model.steps", [{"columns": "numeric", "use": "sklearn.impute.SimpleImputer"}])
    assert fit(bench, **gaps) is None


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_a_derived_feature_that_cannot_be_computed_is_named(bench: flights.Bench) -> None:
    bench.edit("params.features.derived", {"ratio": "temp / distance"})
    said = fit(bench, temp=np.zeros(ROWS, np.float32), distance=np.zeros(ROWS, np.float32))
    assert said is not None
    assert "training has some in a derived feature (ratio; a division by zero" in said


def test_text_where_numbers_are_needed_names_the_categories_and_an_encoder(bench: flights.Bench) -> None:
    bench.edit("params.model.steps", [SCALER, {"columns": "categorical", "use": "passthrough"}])
    said = fit(bench)
    assert said is not None
    assert said.startswith(
        "params.yaml: model.steps: the categories carrier come as text to what takes numbers only; give them a step "
        "such as `use: sklearn.preprocessing.OrdinalEncoder`"
    )
    bench.edit(
        "params.model.steps",
        [SCALER, {"columns": "categorical", "use": "sklearn.preprocessing.OrdinalEncoder"}],
    )
    assert fit(bench) is None


def test_numbers_without_end_name_the_column(bench: flights.Bench) -> None:
    said = fit(bench, distance=np.full(ROWS, np.inf, np.float32))
    assert said is not None
    assert said.startswith("params.yaml: features: distance has numbers that are infinite or above 3.4e38")


def test_numbers_below_zero_name_the_column_and_a_step_that_moves_them(bench: flights.Bench) -> None:
    bench.edit("params.model.estimator", {"use": "sklearn.naive_bayes.MultinomialNB"})
    said = fit(bench, temp=np.full(ROWS, 2, np.float32))
    assert said is not None
    assert "takes no numbers below zero, and distance has some" in said or "temp, distance" in said
    bench.edit("params.model.steps", [{"columns": "numeric", "use": "sklearn.preprocessing.MinMaxScaler"}])
    assert fit(bench) is None


@pytest.mark.parametrize(
    ("use", "params"),
    [
        ("sklearn.linear_model.PoissonRegressor", {}),
        ("sklearn.linear_model.TweedieRegressor", {"power": 2}),
        ("sklearn.ensemble.HistGradientBoostingRegressor", {"loss": "poisson"}),
    ],
)
def test_a_target_below_what_the_loss_takes_is_named(
    bench: flights.Bench, use: str, params: dict[str, object]
) -> None:
    bench.edit("params.data.task", "regression")
    bench.edit("params.data.target", "arr_delay")
    bench.edit("params.model.estimator", {"use": use, "params": params})
    said = fit(bench, target=np.linspace(-5.0, 10.0, ROWS))
    assert said is not None
    assert said.startswith(
        f"params.yaml: model.estimator: the loss of {use} does not take every target: the training rows' arr_delay "
        "goes below what it takes"
    )


def test_too_many_folds_name_the_parameters_that_say_how_many(bench: flights.Bench) -> None:
    bench.edit(
        "params.model.estimator",
        {
            "use": "sklearn.calibration.CalibratedClassifierCV",
            "params": {"estimator": LOGISTIC, "cv": 150},
        },
    )
    said = fit(bench)
    assert said is not None
    assert (
        "of the 200 training rows are of one class for so many folds; lower `cv` in model.estimator.params"
        in said
    )


def test_any_other_words_are_told_as_they_are_in_one_line(bench: flights.Bench) -> None:
    told = explain_fit_error(ValueError("window shape\ncannot be larger"), pd.DataFrame(), bench.settings)
    assert told == "params.yaml: model: cannot be fitted: window shape cannot be larger"


def test_a_value_that_a_parameter_does_not_take_is_told_before_anything_is_fitted(
    bench: flights.Bench,
) -> None:
    bench.edit("params.model.estimator.params", {"C": -1, "max_iter": "many"})
    with pytest.raises(StageError) as raised:
        model.build_pipeline(bench.settings)
    said = str(raised.value)
    assert said.startswith("params.yaml: model.estimator: sklearn.linear_model.LogisticRegression: The '")
    assert "InvalidParameterError" not in said


def test_before_a_long_training_a_few_rows_show_what_cannot_be_kept(
    bench: flights.Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A type that is not trusted was told only once everything was fitted."""
    bench.edit("params.model.estimator", {"use": "sklearn.gaussian_process.GaussianProcessClassifier"})
    known = [name for name in model.TRUSTED if "gaussian_process" not in name]
    monkeypatch.setattr(model, "TRUSTED", known)
    monkeypatch.setattr(train, "REHEARSED_FROM", 100)
    monkeypatch.setattr(train, "REHEARSED", 20)
    monkeypatch.setattr(train, "fit", lambda *_, **__: pytest.fail("the training began"))
    rng = np.random.default_rng(0)
    numbers = {name: rng.normal(size=ROWS).astype(np.float32) for name in ("temp", "distance")}
    frame = pd.DataFrame(numbers | {"carrier": "UA", files.TARGET: np.arange(ROWS) % 2, files.ROW_NAME: "r"})
    files.write_table(frame, train.TRAIN)
    assert bench.run("train") == 1
    assert "holds types that are not trusted: sklearn.gaussian_process" in bench.refusal()
