"""A model of several classes: what is answered, explained, logged and counted, whatever the classes are called."""

from __future__ import annotations

import itertools
import json
import math
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bots.deploy.prometheus import parse_samples
from fixtures import browsers, served
from fixtures.documents import read_words
from fixtures.served import Service, run_service
from fixtures.served_classes import HOSTILE, ROW, ask, build_contract, build_model, make_project
from serving.answers import MAX_PROBABILITIES, build_interpreter, find_most_rows
from serving.contract import Contract, load_contract
from serving.errors import ModelError, SettingsError
from serving.metrics import Metrics
from serving.model import load_model
from serving.settings import Limits, load_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

SPECIES = ["Adelie", "Chinstrap", "Gentoo"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_project(tmp_path_factory.mktemp("made"), SPECIES)


@pytest.fixture(scope="module")
def service(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that several tests ask."""
    own = tmp_path_factory.mktemp("served") / "own"
    shutil.copytree(made, own)
    with run_service(own, environment={"SERVING_WORKERS": "2"}) as running:
        yield running


def read_model(service: Service) -> bytes:
    return (service.folder / "models/onnx/model.onnx").read_bytes()


def change_contract(folder: Path, **parts: Any) -> None:
    path = folder / "models/onnx/contract.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | parts))


def test_an_answer_is_the_likeliest_class_with_the_probability_of_each(service: Service):
    sent = [{**ROW, "x": x, "group": group} for x, group in itertools.product((-3, 0.5, 4), "ab")]
    answers = service.predict(sent).json()["predictions"]
    alone = service.predict(sent[0]).json()["predictions"][0]
    about = service.client.get("/model").json()
    expected = ask(read_model(service), sent)
    for answer, scores in zip(answers, expected.tolist(), strict=True):
        assert answer["probabilities"] == pytest.approx(dict(zip(SPECIES, scores, strict=True)), abs=1e-6)
        assert sum(answer["probabilities"].values()) == pytest.approx(1, abs=1e-6)
        assert answer["label"] == max(answer["probabilities"], key=answer["probabilities"].get)
        assert answer["score"] == max(answer["probabilities"].values())
        likely = answer["score"] >= 0.6
        assert answer["observed"] == (
            {"share": 0.875, "rows": 600} if likely else {"share": 0.45, "rows": 400}
        )
        assert "answer" not in answer
        assert "interval" not in answer
    assert len({answer["label"] for answer in answers}) == 3
    assert {**alone, "id": ""} == {**answers[0], "id": ""}
    assert (about["task"], about["classes"], about["threshold"]) == ("multiclass", SPECIES, None)


def test_of_equal_probabilities_the_first_class_in_order_is_called(made: Path):
    interpreter = build_interpreter(load_contract(made / "models/onnx/contract.json"), None)
    assert interpreter.interpret([0.2, 0.4, 0.4]).label == "Chinstrap"


def test_an_explanation_is_of_the_class_that_is_called_and_says_which(service: Service):
    sent = {**ROW, "x": 4, "group": "b"}
    found = service.client.post("/explain", json=sent).json()
    own, typical, without_x, without_group = ask(
        read_model(service), [sent, {"x": 0, "group": "a"}, {**sent, "x": 0}, {**sent, "group": "a"}]
    )
    at = int(own.argmax())
    assert found["label"] == SPECIES[at]
    assert found["score"] == pytest.approx(own[at])
    assert found["probabilities"][found["label"]] == found["score"]
    assert found["typical_score"] == pytest.approx(typical[at])
    effects = {reason["field"]: reason["effect"] for reason in found["reasons"]}
    assert effects == pytest.approx({"x": own[at] - without_x[at], "group": own[at] - without_group[at]})


@pytest.mark.slow
def test_the_log_has_the_class_and_a_column_for_the_probability_of_each(folder: Path):
    with run_service(folder) as service:
        told = service.predict([{**ROW, "x": -3}, {**ROW, "x": 4}]).json()["predictions"]
        text = b"".join(path.read_bytes() for path in service.log.glob("*.jsonl"))
    header, first, _ = (json.loads(line) for line in text.splitlines())
    assert header["classes"] == SPECIES
    assert (first["label"], first["scores"]) == ("Adelie", list(told[0]["probabilities"].values()))
    assert b"a@example.invalid" not in text
    for answer, entry in zip(told, served.read_log(service.log), strict=True):
        assert entry["prediction:id"] == answer["id"]
        assert (entry["prediction:label"], entry["prediction:score"]) == (answer["label"], answer["score"])
        assert {name: entry[f"prediction:score:{name}"] for name in SPECIES} == answer["probabilities"]
        assert (entry["visit"], pd.isna(entry["email"])) == ("v1", True)


def read_counts(service: Service) -> np.ndarray:
    """The predictions of each class, all of them, and the sum of their scores."""
    names = [f'model_class_predictions_total{{class="{name}"}}' for name in SPECIES]
    names += ["model_predictions_total", "model_prediction_score_sum"]
    return np.array([service.read_metric(name) for name in names])


def test_predictions_are_counted_by_class_and_by_their_largest_probability(service: Service):
    before = read_counts(service)
    answers = service.predict([{**ROW, "x": x} for x in (-3, -2, 4)]).json()["predictions"]
    answers += service.predict({**ROW, "x": 4}).json()["predictions"]
    counted = [sum(answer["label"] == name for answer in answers) for name in SPECIES]
    expected = [*counted, 4, sum(answer["score"] for answer in answers)]
    assert read_counts(service) - before == pytest.approx(expected, rel=1e-6)


FALLBACKS = [
    ("Gentoo", {"Adelie": 0, "Chinstrap": 0, "Gentoo": 1}),
    ({"Adelie": 0.25, "Chinstrap": 0.75}, {"Adelie": 0.25, "Chinstrap": 0.75, "Gentoo": 0}),
]


@pytest.mark.slow
@pytest.mark.parametrize(("fallback", "expected"), FALLBACKS)
def test_a_row_falls_back_on_a_class_or_on_probabilities(
    folder: Path, fallback: Any, expected: dict[str, float]
):
    policy = {"rows": {"missing": "fallback", "fallback": fallback}}
    with run_service(folder, policy=policy) as service:
        (answer,) = service.predict({"group": "a"}).json()["predictions"]
    assert answer["fallback"] is True
    assert answer["probabilities"] == expected
    assert answer["label"] == max(expected, key=lambda name: expected[name])
    assert answer["score"] == max(expected.values())
    assert answer["observed"] is None


@pytest.mark.parametrize(
    ("fallback", "words"),
    [
        ("Emperor", "'Emperor' is none of the model's classes: 'Adelie', 'Chinstrap', 'Gentoo'"),
        (3, "in quotes where it is a number"),
        ({"Adelie": 0.5, "Emperor": 0.5}, "'Emperor' is none of the model's classes"),
        ({"Adelie": 0.5}, "the probabilities add up to 0.5, expected 1"),
        ({"Adelie": 1.5, "Gentoo": -0.5}, "'Adelie': 1.5 is no probability"),
        ({"Adelie": math.nan}, "'Adelie': nan is no probability"),
        ({}, "the probabilities add up to 0, expected 1"),
    ],
)
def test_a_fallback_that_is_no_answer_of_the_model_is_refused_by_name(
    folder: Path, fallback: Any, words: str
):
    service = Service(folder)
    service.change_settings(rows={"missing": "fallback", "fallback": fallback})
    settings = load_settings(folder / "params.yaml")
    contract = load_contract(folder / "models/onnx/contract.json")
    with pytest.raises(SettingsError) as error:
        build_interpreter(contract, settings.rows.fallback)
    assert words in str(error.value)
    assert str(error.value).startswith("serving.rows.fallback: ")


@pytest.mark.slow
def test_a_service_with_a_wrong_fallback_is_not_ready_and_check_says_why(folder: Path):
    with run_service(folder, policy={"rows": {"fallback": "Emperor"}}) as service:
        answer = service.client.get("/health/ready")
        checked = service.run_command(*read_words("docs/serving.md", "python -m serving check"))
    assert answer.status_code == 503
    assert "'Emperor' is none of the model's classes" in answer.json()["detail"]
    assert checked.returncode == 1
    assert "'Emperor' is none of the model's classes" in checked.stderr


@pytest.fixture(scope="module")
def two(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of two classes."""
    return Path(shutil.copytree(exported, tmp_path_factory.mktemp("two") / "own"))


def test_a_fallback_of_two_classes_is_a_probability(two: Path):
    contract = load_contract(two / "models/onnx/contract.json")
    assert build_interpreter(contract, 0.25).fallback == 0.25
    for wrong, words in (
        (5.0, "5 is no probability"),
        ("yes", "expected a number"),
        ({"yes": 1.0}, "a number"),
    ):
        with pytest.raises(SettingsError, match=words):
            build_interpreter(contract, wrong)


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"classes": ["a", "b"]}, "probe 0: expected a list of 2 scores, one for each class"),
        ({"classes": ["a", "b", "a"]}, "classes: 'a' is there more than once"),
        ({"classes": ["a", "", "b"]}, "not a contract"),
        ({"classes": []}, "0 classes"),
        ({"classes": [str(number) for number in range(101)]}, "not a contract"),
        ({"task": "classification", "threshold": 0.5}, "classes: the task is classification, which has none"),
    ],
)
def test_a_contract_whose_parts_do_not_fit_is_refused(folder: Path, parts: dict[str, Any], words: str):
    change_contract(folder, **parts)
    with pytest.raises(ModelError, match=words):
        load_model(folder / "models/onnx")


def test_a_model_with_more_or_fewer_scores_than_classes_is_refused_when_it_is_loaded(folder: Path):
    data = build_model(4)
    (folder / "models/onnx/model.onnx").write_bytes(data)
    change_contract(folder, onnx=build_contract(["a", "b", "c", "d"], data)["onnx"])
    with pytest.raises(
        ModelError, match=r"scores of shape \(8, 4\), expected \(8, 3\), one for each of 3 classes"
    ):
        load_model(folder / "models/onnx")


def test_a_model_whose_classes_were_put_in_another_order_is_refused(folder: Path):
    contract = json.loads((folder / "models/onnx/contract.json").read_text())
    probes = [{**one, "score": one["score"][::-1]} for one in contract["probes"]]
    change_contract(folder, probes=probes, classes=SPECIES[::-1])
    with pytest.raises(ModelError, match="for 'Gentoo' of probe 0"):
        load_model(folder / "models/onnx")


@pytest.mark.slow
def test_a_row_without_an_answer_is_refused_and_says_which_value_it_is(folder: Path):
    change_contract(folder, inputs=[{**one, "required": False} for one in load_inputs(folder)])
    with run_service(folder) as service:
        answer = service.predict([{"group": "a"}, ROW])
        explained = service.client.post("/explain", json={"group": "a"})
    assert answer.status_code == explained.status_code == 422
    assert {(one["row"], one["field"], one["kind"]) for one in answer.json()["errors"]} == {
        (0, "x", "unanswered")
    }


def load_inputs(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((folder / "models/onnx/contract.json").read_text())["inputs"]
    return found


def test_the_description_names_the_classes_and_allows_no_others(service: Service):
    document = service.client.get("/openapi.json").json()
    assert document["info"]["x-target"]["classes"] == SPECIES
    for name in ("Prediction", "Explanation"):
        fields = document["components"]["schemas"][name]["properties"]
        assert fields["label"]["enum"] == SPECIES
        assert list(fields["probabilities"]["properties"]) == fields["probabilities"]["required"] == SPECIES
        assert fields["probabilities"]["additionalProperties"] is False
        assert fields["score"]["description"] == "Probability of the class in `label`"


@pytest.mark.slow
def test_a_request_has_fewer_rows_where_the_classes_are_many(tmp_path: Path):
    make_project(tmp_path, [f"kind {number}" for number in range(100)])
    contract = load_contract(tmp_path / "models/onnx/contract.json")
    most = find_most_rows(contract, Limits())
    assert most == MAX_PROBABILITIES // 100 == 200
    with run_service(tmp_path) as service:
        assert len(service.predict([ROW] * most).json()["predictions"]) == most
        refused = service.predict([ROW] * (most + 1))
        document = service.client.get("/openapi.json").json()
    assert refused.status_code == 413
    assert "a request may have 200" in refused.json()["detail"]
    body = document["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert body["oneOf"][1]["maxItems"] == most


@pytest.mark.slow
def test_check_says_how_many_classes_and_which(service: Service):
    said, listed = service.run_command("check"), service.run_command("check", "--json")
    assert "multiclass of species (3 classes)" in said.stdout
    assert json.loads(listed.stdout)["classes"] == SPECIES


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with run_service(make_project(tmp_path_factory.mktemp("hostile"), HOSTILE)) as running:
        yield running


def test_classes_of_any_name_are_answered_logged_and_described_as_they_are(hostile: Service):
    answers = hostile.predict([{**ROW, "x": x} for x in np.linspace(-3, 5, 50)]).json()["predictions"]
    document = hostile.client.get("/openapi.json").json()
    samples = list(parse_samples(hostile.client.get("/metrics").text))
    assert all(list(answer["probabilities"]) == HOSTILE for answer in answers)
    called = [answer["label"] for answer in answers]
    assert len(set(called)) > 3
    counted = {
        one.labels["class"]: one.value for one in samples if one.name == "model_class_predictions_total"
    }
    assert counted == {name: float(called.count(name)) for name in HOSTILE}
    assert document["components"]["schemas"]["Prediction"]["properties"]["label"]["enum"] == HOSTILE
    (path,) = hostile.log.glob("*.jsonl")
    copy = hostile.folder / "copy"
    copy.mkdir()
    shutil.copy(path, copy)
    entries = served.read_log(copy)
    assert [entry["prediction:label"] for entry in entries] == called
    for answer, entry in zip(answers, entries, strict=True):
        assert {name: entry[f"prediction:score:{name}"] for name in HOSTILE} == answer["probabilities"]


@given(
    st.lists(
        st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20), min_size=2, unique=True
    )
)
def test_whatever_a_class_is_called_its_count_is_read_as_it_was_written(names: list[str]):
    with tempfile.TemporaryDirectory() as folder:
        metrics = Metrics(Path(folder), (), (), grid=(0.5, 1.0), classes=names)
        for number, name in enumerate(names):
            for _ in range(number):
                metrics.count_class(name)
        text = metrics.render(ready=True, version="v1", onnx="sha256:1").decode()
    counted = [one for one in parse_samples(text) if one.name == "model_class_predictions_total"]
    assert {one.labels["class"]: one.value for one in counted} == {name: at for at, name in enumerate(names)}


@pytest.mark.slow
def test_a_contract_and_a_log_of_two_classes_stay_as_they_were(two: Path):
    contract = json.loads((two / "models/onnx/contract.json").read_text())
    assert not {"classes", "called"} & contract.keys()
    assert isinstance(load_contract(two / "models/onnx/contract.json"), Contract)
    with run_service(two) as service:
        answer = service.predict(served.ROW).json()["predictions"][0]
        (path,) = service.log.glob("*.jsonl")
        header, entry = (json.loads(line) for line in path.read_bytes().splitlines())
    assert list(header) == ["format", "version", "onnx", "columns"]
    assert list(answer) == ["id", "score", "label", "observed", "fallback", "warnings"]
    assert list(entry) == ["id", "time", "row", "score", "label"]
    (kept,) = served.read_log(service.log)
    assert [name for name in kept if name.startswith("prediction:")] == [
        f"prediction:{name}"
        for name in ("id", "time", "version", "onnx", "score", "label", "low", "high", "fallback", "warnings")
    ]
    assert isinstance(kept["prediction:label"], bool | np.bool_)


@pytest.mark.browser
@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1280, "light")])
def test_the_page_shows_every_class_with_its_bar_the_likeliest_first(
    hostile: Service, width: int, scheme: Literal["dark", "light"]
):
    sent = {"x": 1.5, "group": "a"}
    shares = hostile.client.post("/explain", json=sent).json()["probabilities"]
    best_first = sorted(HOSTILE, key=lambda name: -shares[name])
    with browsers.open_chromium() as started:
        page = started.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        said: list[str] = []
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(hostile.url)
        page.wait_for_selector("#answer[aria-busy=false]")
        page.fill("[data-column='x']", "1.5")
        page.locator("#reasons").filter(has_text="x 1.5, typically 0").wait_for()
        assert page.locator("#classes .class bdi").all_text_contents() == best_first
        widths = page.locator("#classes .part i").evaluate_all("bars => bars.map((bar) => bar.style.width)")
        assert [float(one.rstrip("%")) for one in widths] == pytest.approx(
            [100 * shares[name] for name in best_first], abs=1e-3
        )
        assert page.locator("#classes > .class").count() == 10
        assert page.locator("#classes .class:visible").count() == 10
        page.click("#classes summary")
        assert page.locator("#classes .class:visible").count() == len(HOSTILE)
        assert page.text_content("#score bdi") == best_first[0]
        assert f"How the probability of {best_first[0]} would differ" in page.inner_text("#how")
        page.fill("[data-column='x']", "-3")
        page.locator("#reasons").filter(has_text="x -3").wait_for()
        assert page.locator("#classes .class:visible").count() == len(HOSTILE)  # unfolded as it was left
        assert page.locator("#classes b, #score b").count() == 0
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.goto(f"{hostile.url}/docs")
        page.wait_for_selector("#Problem")
        assert "back\\slash {brace} }" in page.inner_text("main")
    assert said == []
