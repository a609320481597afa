"""A column may have any name: it reaches the model by its place, and people see the name that they gave it."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import onnx
import pandas as pd
import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from bots import evidence
from bots.verification import onnx_model
from fixtures import flights, served
from pipeline import contract, explain, export, features, files, leakage, model, parity, table
from pipeline.config import ConfigError
from pipeline.conversion import Kind
from pipeline.files import StageError
from pipeline.onboarding.inference import give_aliases
from pipeline.onboarding.proposal import ColumnPlan
from serving.errors import ModelError as ServedModelError
from serving.model import load_model

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.params import Params

# SHAP and Evidently, where they are imported first, use what their own libraries will drop.
pytestmark = [
    pytest.mark.filterwarnings("ignore::PendingDeprecationWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

ROWS = 600
HISTORY = [
    "target",
    "label",
    "probabilities",
    "row",
    "score",
    "weight",
    "index",
    "variable",
    "prediction",
    "id",
]
ODD = [
    "fee net",
    "fee.net",
    "fee-net",
    "größe",
    "2023",
    'say "it"',
    "it's [so], {or} not",
    "a=b%c",
    "naïve\tüber",
    "x__y",
    "😀",
    "self",
    "<b>bold</b>",
    "input_0",
    "input_1",
    "n" * 200,
]
REPORTS: dict[str, Any] = {
    "drift": evidence.DriftReport,
    "explanation": evidence.ExplanationReport,
    "features": evidence.FeaturesReport,
    "training": evidence.TrainingReport,
    "export": evidence.ExportReport,
    "metrics": evidence.MetricsReport,
    "split": evidence.SplitReport,
}
NAMES = st.sampled_from([*HISTORY, *ODD]) | st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=30
)


def make_columns(numbers: tuple[str, str], texts: tuple[str, str]) -> pd.DataFrame:
    """Two numbers and two texts; the outcome follows the first number and the first text."""
    rng = np.random.default_rng(3)
    values = {name: rng.normal(size=ROWS).round(3) for name in numbers}
    values |= {
        texts[0]: rng.choice(["basic", "plus", "pro__2"], ROWS),
        texts[1]: rng.choice(["x", "y"], ROWS),
    }
    return pd.DataFrame(values)


def draw_outcome(frame: pd.DataFrame) -> np.ndarray:
    """What follows the first number and the first text."""
    return (frame.iloc[:, 0] + 2.0 * (frame.iloc[:, 2] == "basic") > 0.5).to_numpy(dtype=np.float64)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Params:
    """The settings of the example with a small linear model."""
    folder = tmp_path_factory.mktemp("names")
    with contextlib.chdir(folder):
        bench = flights.Bench(folder)
        bench.edit("params.model.estimator", {"use": "sklearn.linear_model.LogisticRegression", "params": {}})
        bench.edit(
            "params.model.steps",
            [
                {"columns": "numeric", "use": "sklearn.preprocessing.StandardScaler"},
                {
                    "columns": "categorical",
                    "use": "sklearn.preprocessing.OneHotEncoder",
                    "params": {"handle_unknown": "ignore"},
                },
            ],
        )
        bench.edit("params.explain", {"rows": 200, "worst": 2})
        return bench.settings


def choose(base: Params, numbers: list[str], texts: list[str], target: str = "outcome") -> Params:
    """The settings of a model that reads these columns."""
    return flights.settings_with(
        base,
        features={"numeric": numbers, "categorical": texts, "derived": {}},
        data={"target": target, "derive": {}},
        evaluate={"slices": [], "fairness": []},
    )


def declare(settings: Params) -> table.Schema:
    """The contract of such a table."""
    kinds: dict[str, Kind] = dict.fromkeys(settings.features.numeric, "number")
    kinds |= dict.fromkeys(settings.features.categorical, "category")
    columns = {name: table.Column(type=kind, known="before") for name, kind in kinds.items()}
    columns[settings.data.target] = table.Column(type="boolean", known="after")
    return table.Schema(row="one visit", columns=columns)


@pytest.mark.slow
@given(names=st.lists(NAMES, min_size=4, max_size=4, unique=True))
@example(names=["target", "label", "probabilities", "row"])
@example(names=["plan_basic", "plan_plus", "plan", "score"])
@example(names=["input_1", "input_0", "input_3", "input_2"])
@example(names=["a_b", "A_b", "a", "A"])
@example(names=["2023", "self", "b__2023", "😀 (%=,)"])
@settings(deadline=None, max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_table_with_any_names_is_explained_exported_and_served_alike(
    base: Params, names: list[str]
) -> None:
    numbers, texts = (names[0], names[1]), (names[2], names[3])
    chosen = choose(base, list(numbers), list(texts), target="outcome" if "outcome" not in names else "it")
    schema = declare(chosen)
    frame = features.build_inputs(make_columns(numbers, texts), chosen, schema)
    target = draw_outcome(frame)
    fitted = model.build_pipeline(chosen).fit(frame, target)
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        model.save(fitted)
        loaded = model.load()
        shuffled = frame[[*reversed(names)]]
        expected = model.predict(loaded, shuffled, "classification")

        rows = frame.set_axis([f"r{at}" for at in range(ROWS)])
        predictions = pd.DataFrame({"target": target, "score": expected}, index=rows.index)
        report = explain.build_report(loaded, rows, predictions=predictions, settings=chosen)
        shares = {one["feature"]: one["share"] for one in report["ranking"]}
        assert set(shares) == set(names), "a feature is called as its column is, and each has its own effect"
        assert shares[names[0]] > 5 * shares[names[1]]
        assert shares[names[2]] > 5 * shares[names[3]]

        content = export.convert_model(loaded, chosen)
        found = export.run_model(content, frame, chosen.features)
        np.testing.assert_allclose(found, expected, atol=1e-5)

        files.ONNX.parent.mkdir(parents=True, exist_ok=True)
        files.ONNX.write_bytes(content)
        described = contract.describe(
            chosen,
            schema,
            train=frame,
            holdout=frame,
            target=target,
            scores=expected,
            score=lambda some: export.run_model(content, some, chosen.features),
            opset=export.OPSET,
            onnx=files.digest_file(files.ONNX),
            limits=parity.Limits([], [], []),
        )
        contract.write(described)
        service = load_model(files.ONNX.parent)
        body = frame.head(3).astype(object).to_json(orient="records").encode()
        batch = service.build_batch([one.row for one in service.reader.decode(body)])
        np.testing.assert_allclose(service.score(batch), expected[:3], atol=1e-4)

        added = {files.TARGET: target, files.ROW_NAME: rows.index}
        files.write_table(pd.concat([frame, pd.DataFrame(added)], axis=1), Path("holdout.parquet"))
        asked = onnx_model.load_model(content)
        known = onnx_model.load_rows(Path("holdout.parquet"), asked)
        assert list(known.inputs) == names
        np.testing.assert_allclose(asked.score(known.inputs), expected, atol=1e-5)
        np.testing.assert_array_equal(known.target, target)


# All stages


@pytest.fixture(scope="module")
def odd_project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[flights.Bench]:
    """A project whose columns are called as what the pipeline, its libraries and the bots call their own."""
    folder = tmp_path_factory.mktemp("odd")
    numbers, texts = [*HISTORY[:7], *ODD[:8]], [*HISTORY[7:], *ODD[8:14]]
    rng = np.random.default_rng(1)
    values: dict[str, Any] = {name: rng.normal(size=2 * ROWS).round(3) for name in numbers}
    values |= {name: rng.choice(["a", "b__c", "target"], 2 * ROWS) for name in texts}
    values["bought"] = (values["target"] + (values[texts[0]] == "a") + rng.normal(size=2 * ROWS)) > 0.5
    kinds = dict.fromkeys(numbers, "number") | dict.fromkeys(texts, "category")
    with contextlib.chdir(folder):
        bench = flights.Bench(folder)
        columns = {
            name: {"type": kind, "known": "before", "description": "x"} for name, kind in kinds.items()
        }
        columns["bought"] = {"type": "boolean", "known": "after", "description": "x"}
        (folder / "schema.yaml").write_text(yaml.safe_dump({"row": "one visit", "columns": columns}))
        for where, value in {
            "params.data": {"source": "x.csv", "task": "classification", "target": "bought"},
            "params.split": {"by": "random"},
            "params.features": {"numeric": numbers, "categorical": texts},
            "params.model.estimator": {
                "use": "sklearn.ensemble.HistGradientBoostingClassifier",
                "params": {"max_iter": 10},
            },
            "params.evaluate.slices": [texts[0], "x__y"],
            "params.evaluate.fairness": ["id"],
            "params.drift": {},
            "params.explain": {"rows": 100, "worst": 2},
            "params.gate.resample": "variable",
        }.items():
            bench.edit(where, value)
        bench.keep(pd.DataFrame(values))
        for stage in ("validate", "split", "features", "train", "evaluate", "explain", "drift", "export"):
            assert bench.run(stage) == 0, bench.refusal()
        yield bench


def test_every_stage_takes_columns_called_as_its_own(odd_project: flights.Bench) -> None:
    raw = odd_project.settings.features.raw
    reports = {name: json.loads((files.REPORTS / f"{name}.json").read_text()) for name in REPORTS}
    assert {one["column"] for one in reports["drift"]["comparisons"][0]["columns"]} >= {*raw, "bought"}
    ranked = {one["feature"]: one["share"] for one in reports["explanation"]["ranking"]}
    assert set(ranked) == set(raw)
    assert ranked["target"] == max(ranked.values()), (
        "the column that the outcome follows, not another's category"
    )
    assert [one["name"] for one in reports["features"]["features"]] == raw
    assert reports["training"]["inputs"] == raw
    assert reports["export"]["passed"]
    assert {one["column"] for one in reports["metrics"]["slices"]} == {"variable", "x__y"}
    for name, kind in REPORTS.items():
        evidence.load(files.REPORTS / f"{name}.json", kind)


def test_a_feature_called_target_is_judged_by_its_own_values(odd_project: flights.Bench) -> None:
    found = odd_project.evidence(evidence.FeaturesReport).features
    (one,) = [feature for feature in found if feature.name == "target"]
    assert one.association is not None
    assert 0.2 < one.association < 0.8, "it says something of the outcome, and is not the outcome"


def test_the_drift_page_shows_every_name(odd_project: flights.Bench) -> None:
    page = (files.REPORTS / "drift.html").read_text()
    for name in ("fee net", "2023", "target", "prediction", "x__y"):
        assert f"Value Drift for column {name}" in page
    assert "<b>bold" not in page


# Models that were exported before


def call_inputs_as_columns(content: bytes) -> bytes:
    """The same model as it was exported before: each input of the graph is called as its column."""
    graph = onnx.load_model_from_string(content)
    properties = {one.key: one.value for one in graph.metadata_props}
    names = [one["name"] for one in json.loads(properties.pop("inputs"))]
    called = dict(zip([one.name for one in graph.graph.input], names, strict=True))
    for one in graph.graph.input:
        one.name = called[one.name]
    for node in graph.graph.node:
        node.input[:] = [called.get(name, name) for name in node.input]
    del properties["binding"]
    onnx.helper.set_model_props(graph, properties)
    return bytes(graph.SerializeToString())


@pytest.fixture(scope="module")
def served_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model and its contract as they are exported now."""
    return served.share_project(tmp_path_factory) / "models" / "onnx"


def rewrite(folder: Path, target: Path, content: bytes, **changed: Any) -> Path:
    """A copy of a model's folder with another model, whose contract speaks of it."""
    shutil.copytree(folder, target)
    (target / "model.onnx").write_bytes(content)
    document = json.loads((target / "contract.json").read_text()) | changed
    document["onnx"] = files.digest_file(target / "model.onnx")
    (target / "contract.json").write_text(json.dumps(document))
    return target


def test_a_model_whose_inputs_are_called_as_its_columns_still_serves_and_verifies(
    served_folder: Path, tmp_path: Path
) -> None:
    content = (served_folder / "model.onnx").read_bytes()
    old = call_inputs_as_columns(content)
    folder = rewrite(served_folder, tmp_path / "old", old)
    rows = served.make_rows(50)
    body = rows.drop(columns="outcome").to_json(orient="records").encode()
    given = []
    for one in (served_folder, folder):
        service = load_model(one)
        given.append(service.score(service.build_batch([row.row for row in service.reader.decode(body)])))
    np.testing.assert_array_equal(given[0], given[1])

    table = rows.astype({"member": "float32"}).rename(columns={"outcome": "target"})
    files.write_table(table.assign(row=[f"r{at}" for at in range(50)]), tmp_path / "holdout.parquet")
    for model_bytes in (content, old):
        asked = onnx_model.load_model(model_bytes)
        known = onnx_model.load_rows(tmp_path / "holdout.parquet", asked)
        np.testing.assert_allclose(asked.score(known.inputs), given[0], atol=1e-6)


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ("no list", "does not name its columns"),
        ('[{"name": "x"}]', "has 6 inputs, and names 1 columns for them"),
        (json.dumps([{"name": "x"}] * 6), "has 6 inputs, and names"),
    ],
)
def test_a_model_that_does_not_name_its_columns_is_refused(
    served_folder: Path, tmp_path: Path, inputs: str, said: str
) -> None:
    graph = onnx.load(served_folder / "model.onnx")
    properties = {one.key: one.value for one in graph.metadata_props} | {"inputs": inputs}
    onnx.helper.set_model_props(graph, properties)
    folder = rewrite(served_folder, tmp_path / "odd", graph.SerializeToString())
    with pytest.raises(ServedModelError, match=said):
        load_model(folder)
    with pytest.raises(onnx_model.ModelError, match=said):
        onnx_model.load_model((folder / "model.onnx").read_bytes())


# Expressions


@pytest.mark.parametrize("name", ["fee net", "fee-net", "2023", "größe €", "class"])
def test_an_expression_calls_a_column_by_its_alias(base: Params, name: str) -> None:
    chosen = choose(base, [name, "calls"], ["plan", "region"])
    chosen = flights.settings_with(chosen, features={"derived": {"per call": "fee_word / (calls + 10)"}})
    schema = declare(chosen)
    schema.columns[name] = msgspec.structs.replace(schema.columns[name], alias="fee_word")
    rows = make_columns((name, "calls"), ("plan", "region"))
    frame = features.build_inputs(rows, chosen, schema)
    assert not leakage.check_features(chosen, schema)
    fitted = model.build_pipeline(chosen, schema.aliases).fit(frame, draw_outcome(frame))
    found = export.run_model(export.convert_model(fitted, chosen), frame, chosen.features)
    np.testing.assert_allclose(found, model.predict(fitted, frame, "classification"), atol=1e-5)
    undefined = frame.copy()
    undefined.loc[5, "calls"] = -10.0
    with pytest.raises(StageError, match=r"per call \(fee_word / \(calls \+ 10\)\) cannot be computed from"):
        model.predict(fitted, undefined, "classification")
    derived = explain.compute_features(frame, chosen.features, schema.aliases)["per call"]
    np.testing.assert_allclose(derived, rows[name] / (rows["calls"] + 10), rtol=1e-5)


@pytest.mark.parametrize("name", ["fee net", "fee-net", "2023"])
def test_a_name_that_is_no_word_is_told_with_the_alias_to_give_it(base: Params, name: str) -> None:
    chosen = choose(base, [name], [])
    chosen = flights.settings_with(chosen, features={"derived": {"twice": f"{name} * 2"}})
    (found, *_) = leakage.check_features(chosen, declare(chosen))
    assert (
        f"{name!r} is no plain word: give it one in schema.yaml, columns: {name}: alias: " in found["message"]
    )


@pytest.mark.parametrize(
    ("alias", "said"),
    [
        ("two words", "columns.fee net.alias: 'two words' is no plain word; say two_words, for instance"),
        ("calls", "columns.fee net.alias: 'calls' is the name of another column"),
        ("other", "columns.fee net.alias: 'other' is the alias of 'taken' too"),
    ],
)
def test_an_alias_is_a_word_of_its_own(tmp_path: Path, alias: str, said: str) -> None:
    column = {"type": "number", "known": "before"}
    columns = {"fee net": {**column, "alias": alias}, "calls": column, "taken": {**column, "alias": "other"}}
    path = tmp_path / "schema.yaml"
    path.write_text(yaml.safe_dump({"row": "one", "columns": columns}))
    with pytest.raises(ConfigError, match=re.escape(said)):
        table.load(path)


@pytest.mark.parametrize("name", ["split:row", "slice:x", "prediction:score", "metric:auc"])
def test_a_name_of_the_pipelines_own_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "schema.yaml"
    column = {"type": "number", "known": "before"}
    path.write_text(yaml.safe_dump({"row": "one", "columns": {name: column}}))
    with pytest.raises(ConfigError, match="are the pipeline's own; rename the column"):
        table.load(path)


def test_an_onboarded_column_whose_name_is_no_word_has_an_alias_of_its_own() -> None:
    names = ["fee net", "fee-net", "fee_net", "2023", "😀", "€", "plan"]
    plans = [ColumnPlan(name, "input", {"type": "number", "known": "before"}, "", 1.0) for name in names]
    found = {plan.name: plan.contract.get("alias") for plan in give_aliases(plans)}
    assert found == {
        "fee net": "fee_net_2",
        "fee-net": "fee_net_3",
        "fee_net": None,
        "2023": "column_2023",
        "😀": "column",
        "€": "column_2",
        "plan": None,
    }
