"""A row that the model cannot answer is refused in words: which column, in how many rows, and which edit helps."""

from __future__ import annotations

import functools
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
import yaml

from fixtures import flights, support
from pipeline import files, model, params
from pipeline.files import StageError

ONEHOT = {"columns": "categorical", "use": "sklearn.preprocessing.OneHotEncoder"}
ORDINAL = {"columns": "categorical", "use": "sklearn.preprocessing.OrdinalEncoder"}
SCALED = {"columns": "numeric", "use": "sklearn.preprocessing.StandardScaler"}
IMPUTED = {
    "columns": "numeric",
    "use": "sklearn.pipeline.Pipeline",
    "params": {
        "steps": [
            ["impute", {"use": "sklearn.impute.SimpleImputer"}],
            ["then", {"use": "sklearn.preprocessing.StandardScaler"}],
        ]
    },
}
PASSED = {"columns": "numeric", "use": "passthrough"}
LINEAR = "sklearn.linear_model.LogisticRegression"
POISSON = "sklearn.linear_model.PoissonRegressor"


@functools.cache
def load_settings() -> params.Params:
    document = yaml.safe_load(support.render_file("params.yaml", task="classification"))
    document["gate"] = {"primary": "log_loss"}
    return msgspec.convert(
        {name: part for name, part in document.items() if name in params.Params.__struct_fields__},
        params.Params,
    )


def make_rows() -> pd.DataFrame:
    rng = np.random.default_rng(1)
    return pd.DataFrame(
        {
            "fee": rng.uniform(10, 50, 120).astype("float32"),
            "calls": rng.integers(1, 6, 120).astype("float32"),
            "plan": rng.choice(["basic", "pro"], 120),
            "region": rng.choice(["north", "south"], 120),
        }
    )


def fit_model(
    steps: list[dict[str, Any]], derived: dict[str, str] | None = None, use: str = LINEAR
) -> tuple[Any, params.Params]:
    rows = make_rows()
    task = "classification" if use == LINEAR else "regression"
    settings = flights.settings_with(
        load_settings(),
        data={"task": task},
        features={"numeric": ["fee", "calls"], "categorical": ["plan", "region"], "derived": derived or {}},
        model={
            "steps": [msgspec.convert(step, params.Step) for step in steps],
            "estimator": params.Estimator(use=use),
        },
    )
    answer = (rows["fee"] > 30).astype(float)
    return model.build_pipeline(settings).fit(rows, answer), settings


def refuse(
    steps: list[dict[str, Any]], rows: pd.DataFrame, shown: tuple[str, ...] = (), **options: Any
) -> StageError:
    fitted, settings = fit_model(steps, **options)
    with pytest.raises(StageError) as caught:
        model.predict(fitted, rows, settings.task, what="holdout", shown=shown)
    return caught.value


def change(name: str, at: list[int], value: Any) -> pd.DataFrame:
    rows = make_rows()
    rows.loc[at, name] = value
    return rows


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (ONEHOT, "handle_unknown: ignore"),
        (ORDINAL, "handle_unknown: use_encoded_value, unknown_value: -1"),
    ],
)
def test_a_new_category_is_refused_with_the_encoders_parameter(step: dict[str, Any], words: str) -> None:
    error = refuse([step, SCALED], change("plan", [3, 5, 90], "gold"), shown=("plan",))
    assert str(error) == (
        "the model has no answer for some of the 120 holdout rows: plan has a category ('gold') in 3 rows that "
        f"training did not have: give {step['use']} in model.steps of params.yaml the params {{{words}}}"
    )
    assert [(found["column"], found["rows"]) for found in error.findings] == [("plan", 3)]


def test_a_value_of_a_personal_column_is_not_repeated() -> None:
    assert "gold" not in str(refuse([ONEHOT, SCALED], change("plan", [3], "gold")))


def test_several_new_categories_are_counted_together() -> None:
    rows = change("plan", [3], "gold")
    rows.loc[[7, 8], "plan"] = "silver"
    assert "in 3 rows that training did not have" in str(refuse([ONEHOT, SCALED], rows))


def test_a_missing_category_is_refused_with_the_encoders_parameter() -> None:
    error = refuse([ONEHOT, SCALED], change("region", [9], ""))
    assert "region is missing in 1 row, and in training it never was: give " in str(error)


CHAIN = "{steps: [[impute, {use: sklearn.impute.SimpleImputer}], [then, {use: sklearn.preprocessing.StandardScaler}]]}"


@pytest.mark.parametrize(
    ("step", "advice"),
    [
        (
            SCALED,
            f"instead of sklearn.preprocessing.StandardScaler use sklearn.pipeline.Pipeline with params {CHAIN}",
        ),
        (PASSED, "put it through sklearn.impute.SimpleImputer in model.steps of params.yaml"),
    ],
)
def test_a_missing_number_is_refused_with_the_step_that_fills_it(step: dict[str, Any], advice: str) -> None:
    error = refuse([ONEHOT, step], change("fee", [0, 119], np.nan))
    assert "fee is missing in 2 rows: " in str(error)
    assert advice in str(error)


def test_the_advice_for_a_missing_number_works() -> None:
    fitted, settings = fit_model([ONEHOT, IMPUTED])
    assert np.isfinite(model.predict(fitted, change("fee", [0, 119], np.nan), settings.task)).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    "expression", ["fee / calls", "fee / (fee - calls * 0 - fee + calls)", "log(calls) * fee"]
)
def test_a_zero_divisor_is_refused_by_the_derived_feature_and_its_columns(expression: str) -> None:
    error = refuse([ONEHOT, SCALED], change("calls", [4, 6], 0), derived={"ratio": expression})
    assert f"ratio ({expression}) cannot be computed from calls in 2 rows: say in features.derived" in str(
        error
    )
    assert "SimpleImputer" in str(error)


def test_a_zero_divisor_has_an_answer_where_the_feature_is_filled() -> None:
    fitted, settings = fit_model([ONEHOT, IMPUTED], {"ratio": "fee / calls"})
    assert np.isfinite(model.predict(fitted, change("calls", [4, 6], 0), settings.task)).all()


def test_everything_that_is_wrong_is_told_at_once() -> None:
    rows = change("plan", [1], "gold")
    rows.loc[[1, 2], "fee"] = np.nan
    rows.loc[[3], "region"] = "east"
    error = refuse([ONEHOT, SCALED], rows)
    assert {found["column"]: found["rows"] for found in error.findings} == {"plan": 1, "fee": 2, "region": 1}


def test_a_cause_is_found_where_no_row_at_all_is_answered() -> None:
    error = refuse([ONEHOT, SCALED], make_rows().assign(plan="gold", fee=np.float32("nan")))
    assert {found["column"]: found["rows"] for found in error.findings} == {"plan": 120, "fee": 120}


def test_a_number_that_the_model_computes_infinity_from_is_refused_by_its_column() -> None:
    error = refuse([ONEHOT, PASSED], change("fee", [5], 3e38), use=POISSON)
    assert "fee has a number in 1 row that the model computes nothing finite from" in str(error)


def test_a_model_that_answers_no_row_is_refused_in_the_librarys_words() -> None:
    fitted, settings = fit_model([ONEHOT, SCALED])
    fitted[-1].coef_ = fitted[-1].coef_[:, :1]
    with pytest.raises(StageError, match="no answer for the given rows: ValueError: "):
        model.predict(fitted, make_rows(), settings.task)


STRICT = {"columns": ["carrier"], "use": "sklearn.preprocessing.OneHotEncoder"}


@pytest.fixture
def strict(bench: flights.Bench) -> flights.Bench:
    """A project whose model takes no carrier that training did not have."""
    bench.edit("params.model.steps", [STRICT])
    bench.edit("params.model.estimator", {"use": LINEAR})
    assert bench.run("train") == 0
    return bench


def rename_carrier(path: Any, rows: int = 4) -> None:
    table = files.read_table(path)
    table["carrier"] = table["carrier"].astype(object)
    table.loc[table.index[:rows], "carrier"] = "ZZ"
    files.write_table(table, path)


def test_evaluate_refuses_a_new_category_of_the_holdout(strict: flights.Bench) -> None:
    rename_carrier(files.FEATURES / "holdout.parquet")
    assert strict.run("evaluate") == 1
    assert "holdout rows: carrier has a category ('ZZ') in 4 rows" in strict.refusal()


def test_drift_refuses_a_new_category_of_production(strict: flights.Bench) -> None:
    assert strict.run("evaluate") == 0
    rename_carrier(files.SPLITS / "production.parquet")
    assert strict.run("drift") == 1
    assert "production rows: carrier has a category ('ZZ') in 4 rows" in strict.refusal()


def test_score_refuses_a_new_category_for_the_review(
    strict: flights.Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    from pipeline import __main__ as command

    path = files.SPLITS / "holdout.parquet"
    rename_carrier(path)
    assert command.main(["score", "--rows", str(path), "--out", "scores.parquet"]) == 1
    assert "carrier has a category in 4 rows that training did not have: give" in capsys.readouterr().err


@pytest.mark.slow
def test_a_search_refuses_a_category_that_only_the_judging_rows_have() -> None:
    from pipeline import train

    _, settings = fit_model([ONEHOT, SCALED])
    search = params.Search(iterations=2, params={"estimator__C": [0.1, 1.0]}, folds=2)
    settings = flights.settings_with(settings, model={"search": search})
    rows = change("plan", [*range(80, 120)], "gold")
    with pytest.raises(StageError, match=r"held-out \(model\.search\) rows: plan has a category in 40 rows"):
        train.fit(
            model.build_pipeline(settings),
            rows,
            target=np.arange(120) % 2.0,
            settings=settings,
        )
