"""The Python client that is generated from the service's OpenAPI document, called against the real service."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bots.__main__ import main
from bots.render.client import ClientError, render_client
from fixtures import served, support
from fixtures.documents import read_words
from fixtures.served import ROW
from serving.contract import Contract
from serving.openapi import describe
from serving.settings import RowPolicy, Settings

DIGEST = "sha256:" + "0" * 64


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def run(text: str) -> dict[str, Any]:
    """What a client's text defines."""
    module = ModuleType("generated_client")
    sys.modules["generated_client"] = module
    exec(compile(text, "generated_client.py", "exec"), module.__dict__)
    return module.__dict__


def make_document(task: str, names: list[str], *, settings: Settings | None = None, words: str = "") -> Any:
    inputs = [
        {
            "name": name, "kind": "number", "type": "number", "description": words, "unit": None, "nullable": True,
            "personal": False, "range": None, "categories": None, "missing": 0.0, "low": None, "high": None,
            "seen": None, "example": None,
        }
        for name in names
    ]  # fmt: skip
    several = task == "multiclass"
    contract = {
        "format": 1, "title": words or "T", "question": "Q?", "row": words or "a row", "moment": None, "task": task,
        "target": {"name": "risk", "description": words, "unit": None, "answers": None}, "opset": 22,
        "threshold": 0.5 if task == "classification" else None, "onnx": DIGEST, "inputs": inputs, "identity": [],
        "confidence": 0.9, "experience": [], "grid": [0.0, 1.0], "holdout": [1],
        "probes": [{"row": {names[0]: 1.0}, "score": 0.5}],
        "classes": ["a b", "c'"] if several else [], "called": [1, 1] if several else [],
    }  # fmt: skip
    return describe(msgspec.convert(contract, Contract), settings or Settings(), "v1", keys=True)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[served.Service]:
    folder = served.make_project(tmp_path_factory.mktemp("client"))
    (folder / "serving").symlink_to(support.TEMPLATE / "serving")
    with served.run_service(folder, path="/health/ready") as running:
        yield running


def test_the_client_that_the_verb_writes_gets_the_answers_of_the_real_service(
    service: served.Service, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(service.folder)
    assert (
        main(
            read_words(
                "docs/callers.md", "python -m bots callers --client my_model.py", {"my_model": "visits"}
            )
        )
        == 0
    )
    assert "from visits import Client, Row" in capsys.readouterr().out
    visits = load(service.folder / "visits.py")
    client = visits.Client(service.url)
    raw = service.predict(ROW).json()["predictions"][0]
    got = client.predict(visits.Row(**ROW))
    assert (got.score, got.label, got.observed.share) == (
        raw["score"],
        raw["label"],
        raw["observed"]["share"],
    )
    assert [one.score for one in client.predict_rows([visits.Row(x=1.0), visits.Row(x=-1.0)])] == [
        one["score"] for one in service.predict([{"x": 1.0}, {"x": -1.0}]).json()["predictions"]
    ]
    assert client.explain(visits.Row(**ROW)).reasons[0].field in ROW
    with pytest.raises(visits.ServiceError, match="x") as caught:
        client.predict(visits.Row(x=1e9))
    assert caught.value.status == 422
    with pytest.raises(OSError, match="refused"):
        visits.Client("http://127.0.0.1:1").predict(visits.Row(x=1.0))
    with pytest.raises(ValueError, match="expected an address"):
        visits.Client("localhost:8080")
    assert main(["callers", "--client", "not a module.txt"]) == 1


@pytest.mark.parametrize("task", ["classification", "regression", "multiclass"])
@pytest.mark.parametrize("whole", [True, False])
def test_each_task_has_a_client_that_decodes_its_answers(task: str, whole: bool) -> None:
    settings = Settings(rows=RowPolicy(whole_batch=whole))
    client = run(render_client(make_document(task, ["x"], settings=settings)))
    answers: dict[str, dict[str, Any]] = {
        "classification": {"label": True, "observed": {"share": 0.5, "rows": 3}},
        "regression": {"interval": None},
        "multiclass": {"label": "a b", "probabilities": {"a b": 0.5, "c'": 0.5}, "observed": None},
    }
    common = {
        "id": "1",
        "score": 0.5,
        "fallback": False,
        "warnings": [],
        "later": "a field of a later version",
    }
    body = {"version": "v1", "predictions": [{**common, **answers[task]}]}
    found = msgspec.json.decode(json.dumps(body), type=client["Predictions"])
    assert found.predictions[0].score == 0.5
    if not whole:
        refused = {
            "version": "v1",
            "predictions": [{"errors": [{"field": "x", "kind": "k", "message": "m"}]}],
        }
        assert (
            msgspec.json.decode(json.dumps(refused), type=client["Predictions"]).predictions[0].score
            is msgspec.UNSET
        )
    wrong = {"version": "v1", "predictions": [{**common, **answers[task], "score": [1]}]}
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(json.dumps(wrong), type=client["Predictions"])


def test_a_row_is_sent_by_the_names_of_the_columns_and_what_is_not_set_is_not_sent() -> None:
    client = run(render_client(make_document("regression", ["class", "a b", "a-b", "1st", "_", "x"])))
    row = client["Row"](class_=1.0, a_b=2.0, a_b_2=3.0, field_1st=4.0, field=None)
    assert msgspec.json.decode(msgspec.json.encode(row)) == {
        "class": 1,
        "a b": 2,
        "a-b": 3,
        "1st": 4,
        "_": None,
    }


NAMES = st.lists(st.text(min_size=1, max_size=12), min_size=1, max_size=5, unique=True)


@example(["msgspec", "UNSET", "float", "str", "Any", "Literal", "a b"], "")
@given(
    NAMES,
    st.sampled_from(['"""', "'''\nimport os\n", "\\", "{x}", "é\u2028", "a" * 300]) | st.text(max_size=30),
)
def test_names_and_words_of_a_contract_never_become_code(names: list[str], words: str) -> None:
    document = make_document("classification", names, words=words)
    if any(set(name) & {'"', "\\"} or min(name) < " " for name in names):
        with pytest.raises(ClientError, match="rename the column"):
            render_client(document)
        return
    client = run(render_client(document))
    fields = msgspec.structs.fields(client["Row"])
    assert [one.encode_name for one in fields] == names
