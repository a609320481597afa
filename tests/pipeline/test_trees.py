"""Models of trees keep every decision in ONNX: on public tables, on made ones of neighbouring values, and on gaps."""

from __future__ import annotations

import functools
import importlib.util
import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
import sklearn.datasets
from hypothesis import given
from hypothesis import strategies as st

from fixtures import flights, support
from pipeline import export, model, params, trees

ROWS = 200


def read_installed(package: str, path: str) -> pd.DataFrame:
    """A table out of an installed package, without importing the package."""
    found = importlib.util.find_spec(package)
    assert found is not None
    assert found.submodule_search_locations
    file = Path(found.submodule_search_locations[0]) / path
    if file.suffix == ".json":
        return pd.DataFrame(json.loads(file.read_text(encoding="utf-8")))
    return pd.read_csv(file, encoding="latin-1")


def load_sklearn(name: str) -> pd.DataFrame:
    return getattr(sklearn.datasets, f"load_{name}")(as_frame=True).frame


def make_neighbours(around: float, columns: int = 4, seed: int = 3) -> pd.DataFrame:
    """Every column holds a handful of float32 values that follow each other without a gap."""
    rng = np.random.default_rng(seed)
    values = [np.float32(around)]
    while len(values) < 8:
        values.append(np.nextafter(values[-1], np.float32(np.inf)))
    frame = pd.DataFrame({f"c{at}": rng.choice(values, ROWS) for at in range(columns)})
    ranks = sum(frame[name].rank(method="dense") for name in frame)
    return frame.assign(answer=ranks + rng.normal(0, 0.5, ROWS))


TABLES = {
    **{
        f"sklearn {name}": functools.partial(load_sklearn, name)
        for name in ("iris", "wine", "breast_cancer", "diabetes", "digits")
    },
    **{
        f"vega {name}": functools.partial(read_installed, "vega_datasets", f"_data/{name}")
        for name in (
            "cars.json",
            "ohlc.json",
            "seattle-weather.csv",
            "airports.csv",
            "us-employment.csv",
        )
    },
    **{
        f"statsmodels {path}": functools.partial(read_installed, "statsmodels", f"datasets/{path}.csv")
        for path in (
            "fair/fair",
            "ccard/ccard",
            "randhie/randhie",
            "star98/star98",
            "heart/heart",
            "engel/engel",
        )
    },
    "palmerpenguins": functools.partial(read_installed, "palmerpenguins", "data/penguins.csv"),
    **{
        f"neighbours of {around:g}": functools.partial(make_neighbours, around)
        for around in (1.0, -0.1, 1e-30, 16_777_210.0, 3e37)
    },
}
ESTIMATORS: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "classification": [
        ("sklearn.ensemble.HistGradientBoostingClassifier", {"max_iter": 30, "min_samples_leaf": 1}),
        ("sklearn.tree.DecisionTreeClassifier", {}),
        ("sklearn.ensemble.RandomForestClassifier", {"n_estimators": 10}),
        ("sklearn.ensemble.ExtraTreesClassifier", {"n_estimators": 10}),
        ("sklearn.ensemble.GradientBoostingClassifier", {"n_estimators": 20}),
        ("sklearn.ensemble.AdaBoostClassifier", {"n_estimators": 10}),
        ("sklearn.ensemble.BaggingClassifier", {"n_estimators": 5}),
    ],
    "regression": [
        ("sklearn.ensemble.HistGradientBoostingRegressor", {"max_iter": 30, "min_samples_leaf": 1}),
        ("sklearn.tree.DecisionTreeRegressor", {}),
        ("sklearn.ensemble.RandomForestRegressor", {"n_estimators": 10}),
        ("sklearn.ensemble.ExtraTreesRegressor", {"n_estimators": 10}),
        ("sklearn.ensemble.GradientBoostingRegressor", {"n_estimators": 20}),
        ("sklearn.ensemble.BaggingRegressor", {"n_estimators": 5}),
    ],
}
TAKES_GAPS = ("HistGradientBoosting", "DecisionTree", "RandomForest", "ExtraTrees", "Bagging")


@functools.cache
def load_settings() -> params.Params:
    text = support.render_file("params.yaml", task="classification")
    return msgspec.convert(
        {name: part for name, part in msgspec.yaml.decode(text).items() if name in params.Params.__struct_fields__}
        | {"gate": {"primary": "log_loss"}},
        params.Params,
    )  # fmt: skip


def describe_model(frame: pd.DataFrame, task: str, use: str, parameters: dict[str, Any]) -> params.Params:
    """The settings of this estimator on every column of the table as it is."""
    return flights.settings_with(
        load_settings(),
        data={"task": task},
        features={"numeric": list(frame.columns), "categorical": [], "derived": {}},
        model={
            "steps": [params.Step(columns="numeric", use="passthrough")],
            "estimator": params.Estimator(use=use, params=parameters),
        },
    )


def list_numbers(table: pd.DataFrame) -> pd.DataFrame:
    """The columns of numbers that vary, as the model reads them; the last is the answer."""
    numbers = table.select_dtypes("number").astype("float32")
    numbers = numbers.loc[:, (numbers.nunique() > 1).to_numpy()]
    numbers.columns = [f"x{at}" for at in range(numbers.shape[1])]
    numbers = numbers.dropna(subset=[numbers.columns[-1]])
    return numbers.iloc[:: max(1, len(numbers) // ROWS)].head(ROWS).reset_index(drop=True)


def fit_and_compare(
    inputs: pd.DataFrame, answer: np.ndarray, rows: pd.DataFrame, settings: params.Params
) -> np.ndarray:
    """How far ONNX is from scikit-learn on these rows, beside what size matters in."""
    fitted = model.build_pipeline(settings).fit(inputs, answer)
    expected = model.predict(fitted, rows, settings.task)
    found = export.run_model(export.convert_model(fitted, settings), rows, settings.features)
    return export._scale_differences(found, expected, settings)


def add_neighbours(inputs: pd.DataFrame) -> pd.DataFrame:
    """The rows, and the rows whose values are the next ones up and down in float32."""
    values = inputs.to_numpy()
    near = [np.nextafter(values, np.float32(way)) for way in (-np.inf, np.inf)]
    return pd.DataFrame(np.vstack([values, *near]), columns=inputs.columns)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "task"),
    # Each public table in one of the two tasks; made tables in both.
    [
        *((name, ("classification", "regression")[at % 2]) for at, name in enumerate(TABLES)),
        *((name, "classification") for name in list(TABLES)[1::2] if name.startswith("neighbours")),
        *((name, "regression") for name in list(TABLES)[::2] if name.startswith("neighbours")),
    ],
)
def test_no_row_of_a_table_changes_sides(name: str, task: str) -> None:
    numbers = list_numbers(TABLES[name]())
    inputs, answer = numbers.iloc[:, :-1], numbers.iloc[:, -1].to_numpy(dtype=np.float64)
    if task == "classification":
        answer = (answer > answer.mean()).astype(float)
    assert len(np.unique(answer)) > 1
    for use, parameters in ESTIMATORS[task]:
        gaps = inputs.isna().any(axis=None)
        if gaps and not any(word in use for word in TAKES_GAPS):
            continue
        settings = describe_model(inputs, task, use, parameters)
        differences = fit_and_compare(inputs, answer, add_neighbours(inputs), settings)
        assert differences.max() < 1e-4, (use, int((differences >= 1e-4).sum()))


@pytest.mark.parametrize(
    ("task", "use", "parameters"),
    [
        (task, use, parameters)
        for task, several in ESTIMATORS.items()
        for use, parameters in several
        if any(word in use for word in TAKES_GAPS)
    ],
)
def test_a_gap_goes_the_way_that_training_sent_it(task: str, use: str, parameters: dict[str, Any]) -> None:
    rng = np.random.default_rng(5)
    inputs = pd.DataFrame(rng.normal(size=(ROWS, 3)).astype("float32"), columns=["a", "b", "c"])
    answer = inputs["a"].to_numpy() + 2 * inputs["b"].to_numpy()
    inputs.loc[rng.random(ROWS) < 0.2, "a"] = np.nan
    inputs.loc[answer > 1.5, "b"] = np.nan
    answer = (answer > 0).astype(float) if task == "classification" else answer
    asked = pd.concat([inputs, *(inputs.assign(**{name: np.float32("nan")}) for name in inputs)])
    settings = describe_model(inputs, task, use, parameters)
    assert fit_and_compare(inputs, answer, asked, settings).max() < 1e-4


SCALERS = [
    ("StandardScaler", {}),
    ("StandardScaler", {"with_mean": False}),
    ("MinMaxScaler", {"clip": True}),
    ("MaxAbsScaler", {}),
    ("RobustScaler", {}),
]


@pytest.mark.slow
@pytest.mark.parametrize(("scaler", "parameters"), SCALERS)
@pytest.mark.parametrize("use", ["RandomForestRegressor", "HistGradientBoostingRegressor"])
def test_no_row_changes_sides_behind_a_scaler(scaler: str, parameters: dict[str, Any], use: str) -> None:
    """On a regular grid a value often is the midpoint of its neighbours, and so a threshold."""
    rng = np.random.default_rng(11)
    inputs = pd.DataFrame(rng.integers(-40, 900, (600, 4)) / 10, columns=list("abcd")).astype("float32")
    answer = inputs["a"].to_numpy() + rng.normal(0, 5, 600)
    settings = describe_model(inputs, "regression", f"sklearn.ensemble.{use}", {})
    step = params.Step(columns="numeric", use=f"sklearn.preprocessing.{scaler}", params=parameters)
    settings = flights.settings_with(settings, model={"steps": [step]})
    asked = pd.concat([inputs, inputs * 3 - 50])
    assert fit_and_compare(inputs, answer, asked, settings).max() < 1e-4


@given(st.lists(st.floats(allow_nan=False, width=64), min_size=1, max_size=20))
def test_rounding_down_parts_float32_values_as_the_value_itself(values: list[float]) -> None:
    given_values = np.array(values)
    rounded = trees.round_down(given_values)
    assert rounded.dtype == np.float32
    assert (rounded <= given_values).all()
    with np.errstate(over="ignore"):
        above = np.nextafter(rounded, np.float32(np.inf))
    assert ((above > given_values) | np.isposinf(rounded)).all()
