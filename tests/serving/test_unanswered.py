"""A row that the model cannot answer is refused by its column, or falls back: no answer ever holds a score of null."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as trials
from hypothesis import strategies as st

from fixtures import served
from serving import contract, model, openapi
from serving.errors import RequestError
from serving.predictor import Predictor
from serving.settings import RowPolicy, Settings

LINEAR: dict[str, Any] = {
    "steps": [
        {"columns": "categorical", "use": "sklearn.preprocessing.OneHotEncoder"},
        {"columns": "numeric", "use": "sklearn.preprocessing.StandardScaler"},
    ],
    "estimator": {"use": "sklearn.linear_model.LogisticRegression"},
}
# Encodes a new category as scikit-learn refuses to: the graph has a number for it.
ORDINAL = {**LINEAR["steps"][0], "use": "sklearn.preprocessing.OrdinalEncoder"}
TREES = {
    "steps": [ORDINAL, LINEAR["steps"][1]],
    "estimator": {"use": "sklearn.ensemble.RandomForestClassifier", "params": {"n_estimators": 5}},
}
ROW = {name: value for name, value in served.ROW.items() if name != "email"}


class Sink:
    """Takes what is logged and counted."""

    async def append(self, entries: bytes) -> None: ...
    def count_scores(self, scores: np.ndarray) -> None: ...
    def count_warning(self, field: str, kind: str) -> None: ...


def make_predictor(folder: Path, **rows: Any) -> Predictor:
    loaded = model.load_model(folder / "models" / "onnx")
    settings = Settings(rows=RowPolicy(**rows))
    return Predictor(loaded, settings, Sink(), version="v1", hash_key="")  # type: ignore[arg-type]


def ask(predictor: Predictor, *rows: dict[str, Any]) -> list[dict[str, Any]]:
    body = json.dumps(list(rows)).encode()
    answer = asyncio.run(predictor.predict(body, Sink()))  # type: ignore[arg-type]
    found: list[dict[str, Any]] = msgspec.json.decode(answer)["predictions"]
    return found


def refuse(predictor: Predictor, row: dict[str, Any]) -> list[tuple[str, str, str]]:
    errors = []
    for call in (ask, lambda asked, row: asked.explain(json.dumps(row).encode())):
        with pytest.raises(RequestError) as caught:
            call(predictor, row)
        assert caught.value.status == 422
        errors.append([(error.field, error.kind, error.message) for error in caught.value.members["errors"]])
    assert errors[0] == errors[1]
    return errors[0]


@pytest.fixture(scope="module")
def linear(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A linear model that takes no gap and no new category, and divides by `gap - 7`."""
    folder = tmp_path_factory.mktemp("linear")
    return served.make_project(folder, model_settings=LINEAR, derived={"ratio": "x / (gap - 7)"}, full=True)


@pytest.fixture(scope="module")
def forest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return served.make_project(tmp_path_factory.mktemp("forest"), model_settings=TREES, full=True)


def test_the_contract_says_which_inputs_must_have_a_known_value(linear: Path, forest: Path) -> None:
    found = contract.load_contract(linear / "models/onnx/contract.json")
    assert {field.name for field in found.inputs if field.required} == {
        "x", "gap", "age", "member", "group", "town",
    }  # fmt: skip
    assert {field.name for field in found.inputs if field.closed} == {"group", "town"}
    found = contract.load_contract(forest / "models/onnx/contract.json")
    assert {field.name for field in found.inputs if field.required} == {"group", "town"}
    assert {field.name for field in found.inputs if field.closed} == {"group", "town"}


@pytest.mark.parametrize("name", ["x", "gap", "age", "member", "group", "town"])
def test_a_missing_value_without_an_answer_is_refused_by_its_column(linear: Path, name: str) -> None:
    predictor = make_predictor(linear)
    assert (name, "missing", "no value, and the model has no answer without one") in refuse(
        predictor, {**ROW, name: None}
    )


@pytest.mark.parametrize("kind", ["linear", "forest"])
@pytest.mark.parametrize(("name", "value"), [("group", "c"), ("town", "Köln")])
def test_a_new_category_without_an_answer_is_refused_by_its_column(
    kind: str, name: str, value: str, request: pytest.FixtureRequest
) -> None:
    predictor = make_predictor(request.getfixturevalue(kind))
    words = f"{value!r} did not occur in training, and the model has no answer for it"
    assert refuse(predictor, {**ROW, name: value}) == [(name, "unseen", words)]


def test_a_zero_divisor_is_refused_by_the_column_that_makes_it(linear: Path) -> None:
    errors = refuse(make_predictor(linear), {**ROW, "gap": 7})
    assert [error[:2] for error in errors] == [("gap", "unanswered")]


def test_a_row_without_an_answer_spoils_no_other_row(linear: Path) -> None:
    predictor = make_predictor(linear, whole_batch=False)
    alone = ask(predictor, ROW)[0]["score"]
    found = ask(predictor, ROW, {**ROW, "town": "Köln"}, {**ROW, "gap": 7}, {**ROW, "x": None}, ROW)
    assert [prediction.get("score") for prediction in found] == [alone, None, None, None, alone]
    assert ["errors" in prediction for prediction in found] == [False, True, True, True, False]


def test_a_row_without_an_answer_falls_back_where_the_policy_says_so(linear: Path) -> None:
    predictor = make_predictor(linear, missing="fallback", unlike="fallback", fallback=0.25)
    for row in ({**ROW, "x": None}, {**ROW, "town": "Köln"}):
        (found,) = ask(predictor, row)
        assert (found["score"], found["fallback"]) == (0.25, True)


def test_a_good_row_is_explained_although_the_contract_shows_no_typical_age(linear: Path) -> None:
    found = msgspec.json.decode(make_predictor(linear).explain(json.dumps(ROW).encode()))
    assert isinstance(found["typical_score"], float)
    assert found["reasons"]
    assert all(isinstance(reason["effect"], float) for reason in found["reasons"])
    assert "age" not in {reason["field"] for reason in found["reasons"]}


def test_the_description_for_programs_requires_what_the_service_requires(linear: Path) -> None:
    found = contract.load_contract(linear / "models/onnx/contract.json")
    row = openapi.describe(found, Settings(), "v1", keys=False)["components"]["schemas"]["Row"]
    assert set(row["required"]) == {"x", "gap", "age", "member", "group", "town"}
    assert row["properties"]["x"]["type"] == "number"
    assert row["properties"]["town"]["enum"] == ["Bonn", "Ulm"]
    relaxed = Settings(rows=RowPolicy(missing="fallback", fallback=0.5))
    assert (
        "required" not in openapi.describe(found, relaxed, "v1", keys=False)["components"]["schemas"]["Row"]
    )


def test_a_contract_that_was_made_before_is_read_as_one_that_requires_nothing(linear: Path) -> None:
    path = linear / "models/onnx/contract.json"
    document = json.loads(path.read_text())
    for field in document["inputs"]:
        del field["required"], field["closed"]
    found = contract.decode_contract(json.dumps(document).encode(), path)
    assert not any(field.required or field.closed for field in found.inputs)


def test_without_limits_in_the_contract_no_score_is_null(linear: Path) -> None:
    predictor = make_predictor(linear)
    predictor._required, predictor._closed = set(), set()
    with pytest.raises(RequestError) as caught:
        ask(predictor, {**ROW, "x": None})
    assert [(error.field, error.kind) for error in caught.value.members["errors"]] == [("x", "unanswered")]


@pytest.mark.slow
@trials(max_examples=60, deadline=None)
@given(
    st.lists(
        st.fixed_dictionaries(
            {"group": st.sampled_from(["a", "b"])},
            optional={
                "x": st.none() | st.floats(-10, 10, width=32),
                "gap": st.none() | st.sampled_from([7.0, 0.0, 3e38]),
                "age": st.integers(0, 120),
                "member": st.booleans(),
                "town": st.sampled_from(["Ulm", "Bonn", "", "Köln"]),
            },
        ),
        min_size=1,
        max_size=80,
    )
)
def test_every_row_has_a_finite_score_or_errors(linear: Path, rows: list[dict[str, Any]]) -> None:
    predictor = make_predictor(linear, whole_batch=False)
    found = ask(predictor, ROW, *rows)
    for prediction in found:
        assert isinstance(prediction.get("score"), float) != bool(prediction.get("errors"))
