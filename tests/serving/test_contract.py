"""The contract between pipeline and service: what one writes the other reads, and what does not fit is not served."""

from __future__ import annotations

import io
import json
import math
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bots.derive import contract as derived
from fixtures import served, support
from pipeline import contract as writer
from pipeline import files
from serving import __main__ as command
from serving import contract, lineage, model, settings
from serving.errors import ModelError, SettingsError
from serving.metrics import Metrics

SCORES = st.lists(st.floats(0, 1), min_size=1, max_size=400)


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy of the model's folder that a test may change."""
    shutil.copytree(made / "models" / "onnx", tmp_path / "onnx")
    return tmp_path / "onnx"


def edit(folder: Path, **changes):
    path = folder / "contract.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_what_the_pipeline_writes_is_what_the_service_reads(made):
    known = contract.load_contract(made / writer.PATH)
    inputs = {entry.name: entry for entry in known.inputs}
    assert list(inputs) == ["x", "gap", "age", "member", "group", "town"]
    assert (inputs["x"].range, inputs["x"].unit) == ((-10.0, 10.0), "m")
    assert inputs["x"].low is not None
    assert inputs["x"].low >= -3
    assert inputs["group"].categories == ["a", "b", "c"]
    assert inputs["group"].seen == ["a", "b"]
    assert 0.2 < inputs["gap"].missing < 0.4
    assert [entry.name for entry in known.identity] == ["visit", "email"]
    assert sum(known.holdout) == sum(one.rows for one in known.experience) == 1500
    assert model.load_model(made / "models" / "onnx").contract == known


def test_no_value_of_a_personal_column_is_in_the_contract(made):
    text = (made / writer.PATH).read_text()
    assert str(served.SECRET_AGE) not in text
    known = contract.load_contract(made / writer.PATH)
    age = next(entry for entry in known.inputs if entry.name == "age")
    assert (age.low, age.high, age.seen, age.example) == (None, None, None, None)
    assert all(probe.row["age"] is None for probe in known.probes)


def test_the_same_model_gives_the_same_contract(made, tmp_path):
    again = served.make_project(tmp_path)
    assert (again / writer.PATH).read_bytes() == (made / writer.PATH).read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("writer", [writer, derived], ids=["pipeline", "derive"])
@pytest.mark.parametrize("task", ["classification", "regression"])
@given(rows=st.integers(0, 1500), steps=st.integers(0, 40), seed=st.integers(0, 10))
def test_no_bin_of_experience_rests_on_a_few_rows(writer, task, rows, steps, seed):
    """Ties make bins small: half of the scores are equal, the others lie on a few steps."""
    rng = np.random.default_rng(seed)
    scores = np.where(rng.random(rows) < 0.5, 0.5, rng.integers(0, steps + 1, rows) / 40)
    found = writer.summarize_experience((rng.random(rows) < scores) * 1.0, scores, task)
    assert (sum(entry["rows"] for entry in found) == rows) if rows >= writer.FEWEST else not found
    assert all(entry["rows"] >= writer.FEWEST for entry in found)


@given(SCORES)
def test_rows_are_in_exactly_one_bin_of_experience(values):
    scores = np.repeat(values, writer.FEWEST)
    found = writer.summarize_experience((scores > 0.5) * 1.0, scores, "classification")
    assert sum(entry["rows"] for entry in found) == len(scores)
    assert all(0 <= entry["share"] <= 1 for entry in found)
    assert [entry["above"] for entry in found] == sorted({entry["above"] for entry in found})


@given(st.integers(1, 2000), st.integers(0, 10))
def test_an_interval_holds_at_least_as_many_of_its_own_rows_as_it_says(rows, seed):
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=rows) * 10
    target = scores + rng.standard_t(3, rows)
    edges = writer.summarize_experience(target, scores, "regression")
    for number, entry in enumerate(edges):
        above = edges[number + 1]["above"] if number + 1 < len(edges) else math.inf
        mine = (scores >= entry["above"]) & (scores < above)
        inside = (target >= scores + entry["low"] - 1e-9) & (target <= scores + entry["high"] + 1e-9)
        assert inside[mine].mean() >= writer.CONFIDENCE - 2 / mine.sum()


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_pipeline_and_service_count_scores_in_the_same_buckets(tmp_path, task):
    grid = writer.GRIDS[task]
    scores = np.random.default_rng(1).normal(size=500).astype(np.float32)
    scores[:20] = np.array(grid[:20], dtype=np.float32)
    one, many = Metrics(tmp_path / "one", (), (), grid), Metrics(tmp_path / "many", (), (), grid)
    for score in scores:
        one.count_scores(np.array([score]))
    many.count_scores(scores)
    text = many.render(ready=True, version="v", onnx="o").decode()
    assert re.findall("score_bucket.*", text) == re.findall(
        "score_bucket.*", one.render(ready=True, version="v", onnx="o").decode()
    )
    counted = [float(found) for found in re.findall(r'score_bucket{le=".*?"} (\S+)', text)]
    assert counted == np.cumsum(writer.count_scores(scores.astype(np.float64), grid)).tolist()


def read_refusal(folder: Path) -> str:
    with pytest.raises(ModelError) as refused:
        model.load_model(folder)
    return str(refused.value)


def test_a_model_with_one_other_byte_is_refused(folder):
    path = folder / "model.onnx"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert "one of the two was replaced or damaged" in read_refusal(folder)


def test_a_model_that_takes_other_columns_is_refused_by_their_names(folder):
    document = json.loads((folder / "contract.json").read_text())
    document["inputs"][0]["name"] = "y"
    edit(folder, inputs=document["inputs"])
    assert "x is tensor(float), expected none, y is not there, expected tensor(float)" in read_refusal(folder)


def test_a_model_of_a_newer_opset_is_refused(folder):
    graph = onnx.load(folder / "model.onnx")
    for entry in graph.opset_import:
        entry.version = 99
    (folder / "model.onnx").write_bytes(graph.SerializeToString())
    edit(folder, onnx=files.digest_file(folder / "model.onnx"))
    assert "a newer opset needs a newer one" in read_refusal(folder)


def test_a_model_that_says_something_else_than_at_its_export_is_refused(folder):
    probes = json.loads((folder / "contract.json").read_text())["probes"]
    probes[2]["score"] += 0.01
    edit(folder, probes=probes)
    assert "of probe 2" in read_refusal(folder)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format": 2}, "reads format 1"),
        ({"inputs": []}, "not a contract"),
        ({"more": 1}, "unknown field"),
        ({"onnx": "md5:1"}, "not a contract"),
    ],
)
def test_a_contract_that_is_none_is_refused(folder, changes, words):
    edit(folder, **changes)
    assert words in read_refusal(folder)


def test_a_missing_contract_says_which_command_makes_it(folder):
    (folder / "contract.json").unlink()
    assert "dvc repro" in read_refusal(folder)


@given(st.binary(max_size=200))
def test_no_bytes_are_a_contract_or_a_lineage_by_accident(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_bytes(data)
    for load in (contract.load_contract, lineage.load_lineage):
        with pytest.raises(ModelError):
            load(path)


def test_check_says_in_one_line_what_may_be_served(folder, capsys):
    assert command.main(["check", str(folder)]) == 0
    assert "answers its 8 probes" in capsys.readouterr().out
    assert command.main(["check", str(folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["opset"] == 21
    (folder / "model.onnx").unlink()
    assert command.main(["check", str(folder)]) == 1
    assert capsys.readouterr().err.startswith("ERROR: ")


@pytest.fixture
def checkout(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout whose dvc.lock, written by DVC, and reports/export.json name the model in models/onnx."""
    root = folder.parent / "checkout"
    shutil.copytree(folder, root / "models" / "onnx")
    (root / "dvc.yaml").write_text("stages: {export: {cmd: 'true', outs: [models/onnx: {persist: true}]}}")
    for words in (["init", "--no-scm", "--quiet"], ["commit", "--force", "--quiet"]):
        subprocess.run([sys.executable, "-m", "dvc", *words], cwd=root, check=True, capture_output=True)
    digest = files.digest_file(root / "models/onnx/model.onnx")
    report(root, exported=True, passed=True, digest=digest)
    monkeypatch.chdir(root)
    return root


def report(root: Path, **content: object) -> None:
    (root / "reports").mkdir(exist_ok=True)
    (root / "reports/export.json").write_text(json.dumps({"format": 1, **content}))


def test_check_knows_the_checkouts_own_model_from_another_branchs(checkout: Path, capsys):
    assert command.main(["check"]) == 0
    assert "; it is what dvc.lock of this checkout names" in capsys.readouterr().out
    edit(checkout / "models/onnx", title="Of another branch")
    assert command.main(["check"]) == 1
    assert capsys.readouterr().err == (
        "ERROR: models/onnx: not the model of this checkout: models/onnx is not what dvc.lock names (another branch's, "
        "or one that was made by hand); `dvc checkout models/onnx` or `python -m bots storage fetch models/onnx` "
        "brings the one of dvc.lock\n"
    )
    report(checkout, exported=True, passed=True, digest="sha256:" + "0" * 64)
    assert command.main(["check"]) == 1
    assert "not the model of this checkout: model.onnx is not" in capsys.readouterr().err


def test_check_says_where_nothing_tells_whose_model_it_is(checkout: Path, folder: Path, capsys):
    assert command.main(["check", str(folder), "--json"]) == 0
    assert "nothing says which commit" in json.loads(capsys.readouterr().out)["checkout"]
    for text in ("stages: {}", "stages: [", "", "stages: {a: {outs: [1]}}"):
        (checkout / "dvc.lock").write_text(text)
        assert command.main(["check"]) == 0
        assert "dvc.lock does not name models/onnx, so nothing says" in capsys.readouterr().out


def test_after_a_failed_export_check_and_serve_say_why_and_not_that_dvc_repro_writes_it(
    checkout: Path, capsys
):
    shutil.rmtree(checkout / "models/onnx")
    report(checkout, exported=False, passed=False, step="svc", reason="no converter")
    (checkout / "params.yaml").write_text("{}")
    for words in (["check"], []):
        assert command.main(words) == 1
        assert capsys.readouterr().err == (
            "ERROR: models/onnx: there is no model: the export of svc failed (no converter), and `dvc repro` alone "
            "changes nothing; change the model in params.yaml first\n"
        )


def test_check_refuses_a_model_that_did_not_answer_as_scikit_learn_does(checkout: Path, capsys):
    digest = files.digest_file(checkout / "models/onnx/model.onnx")
    report(checkout, exported=True, passed=False, step="parity", reason="3 of 9 rows differ", digest=digest)
    assert command.main(["check"]) == 1
    assert "its export did not pass (parity: 3 of 9 rows differ)" in capsys.readouterr().err


def test_the_example_is_a_row_that_the_service_answers(folder, capsys, monkeypatch):
    assert command.main(["example", str(folder)]) == 0
    row = json.loads(capsys.readouterr().out)
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps([row])))
    assert command.main(["answer", str(folder)]) == 0
    (answered,) = json.loads(capsys.readouterr().out)
    assert answered["status"] == 200


def test_an_address_that_is_taken_is_named_with_the_way_to_another(checkout, monkeypatch, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setenv("SERVING_HOST", "127.0.0.1")
        monkeypatch.setenv("SERVING_PORT", str(port))
        assert command.main([]) == 1
    said = capsys.readouterr().err
    assert f"cannot listen at 127.0.0.1:{port}: Address already in use" in said
    assert "SERVING_PORT=8090 make serve" in said


def test_a_log_that_is_not_there_is_no_log_without_files(tmp_path, capsys):
    assert command.main(["archive", str(tmp_path / "predictoins")]) == 1
    assert "there is no such folder" in capsys.readouterr().err
    assert command.main(["archive", str(tmp_path)]) == 0
    assert "no file waits to become a table" in capsys.readouterr().out


def test_the_template_writes_down_the_defaults_of_the_service(tmp_path):
    for task in ("classification", "regression"):
        (tmp_path / "params.yaml").write_text(support.render_file("params.yaml", task=task))
        assert settings.load_settings(tmp_path / "params.yaml") == settings.Settings()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("serving: {rows: {unlike: maybe}}", "serving.rows.unlike"),
        ("serving: {limit: {}}", "unknown field `limit`"),
        ("serving: {rows: {unlike: fallback}}", "say on which score"),
        ("serving: {log: {patience: 9}}", "would never be reached"),
        ("serving: [", "not YAML"),
        ("3", "expected sections"),
        ("serving: !!int ''", "not YAML"),
        ("serving:\n  rows: {}\n  rows: {}", "line 3, column 3: the key 'rows' stands a second time"),
    ],
)
def test_a_mistake_in_the_params_is_named(tmp_path, text, words):
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(SettingsError, match=re.escape(words)):
        settings.load_settings(tmp_path / "params.yaml")


def test_the_environment_is_read_and_keeps_its_secrets():
    given = {
        "SERVING_PORT": "81",
        "SERVING_API_KEYS": "key-1, key-2,",
        "SERVING_MODEL": "m",
        "SERVING_HASH_KEY": "salt",
    }
    found = settings.Environment.from_variables(given)
    assert (found.port, found.keys, found.model, found.workers) == (81, ("key-1", "key-2"), Path("m"), 1)
    assert "key-1" not in repr(found)
    assert "salt" not in repr(found)
    for name, wrong in (("PORT", "99999"), ("PORT", "http"), ("WORKERS", "0")):
        with pytest.raises(SettingsError, match=f"SERVING_{name}"):
            settings.Environment.from_variables({f"SERVING_{name}": wrong})


def test_a_lineage_as_the_release_writes_it_is_read(tmp_path):
    document = {
        "format": 1, "version": "v1.4.0", "commit": "c", "pull_request": 7, "pull_request_url": "https://x",
        "author": "a", "approvers": ["b"], "merged_by": "b", "verdict": "improved", "metrics": {"roc_auc": 0.7},
        "onnx": "sha256:1", "contract": "sha256:2", "model": "md5:3", "data": "md5:4",
        "trained": "2026-01-01T00:00:00Z", "built": "2026-01-02T00:00:00Z",
    }  # fmt: skip
    path = tmp_path / "lineage.json"
    path.write_text(json.dumps(document))
    assert msgspec.to_builtins(lineage.load_lineage(path)) == document
    path.write_text(json.dumps(document | {"format": 2}))
    with pytest.raises(ModelError, match="format 2"):
        lineage.load_lineage(path)
