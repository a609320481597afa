"""A running version is traced to what it is made of and who answers for it, and a file to the models that read it."""

from __future__ import annotations

import json
import os
import threading
import unittest.mock
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from bots.commands.trace import find_digest
from bots.layout import Layout
from bots.naming import Naming
from bots.release.trace import NotFound, find_learners, find_releases, list_steps
from bots.release.versions import Assignment, Registry
from doubles.github import GitHubDouble
from fixtures import prediction_log, release_projects, releases
from fixtures.release_projects import ReleaseProject, write_model

BETTER = (2.1, -1.5, 1.0, 0.6, 0.3, 0.0)


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReleaseProject]:
    """v1.0.0 was accepted by a person, v1.1.0 came by a review and runs in production."""
    original = release_projects.make_project(tmp_path_factory.mktemp("original"))
    folder = tmp_path_factory.mktemp("trace")
    desk = release_projects.copy_project(original, folder)
    with GitHubDouble(release_projects.REPOSITORY, git=folder / "origin.git") as double:
        double.state.permissions["grace"] = "write"
        project = ReleaseProject(desk, double)
        project.run_bots("release", "--accept", "the first model")
        write_model(project.folder, BETTER)
        project.merge()
        project.run_bots("release")
        yield project


def find_out(project: ReleaseProject, path: str) -> str:
    outs = yaml.safe_load((project.folder / "dvc.lock").read_text())["stages"]["make"]["outs"]
    return next(str(out["md5"]) for out in outs if out["path"] == path)


def test_a_version_is_traced_to_data_code_review_and_people(released: ReleaseProject) -> None:
    told = json.loads(released.run_bots("trace", "v1.1.0", "--json").stdout)
    (trace,) = told["versions"]
    assert trace["running"] == ["staging", "production"]
    assert (trace["pull_request"], trace["approvers"], trace["merged_by"]) == (101, ["linus"], "grace")
    assert trace["verdict"] == "improved"
    assert trace["model"] == "md5:" + find_out(released, "models/model.skops")
    assert [step["words"] for step in trace["history"]] == ["runs", "runs"]
    known = {file["path"]: file["digest"] for kind in ("data", "made", "code") for file in trace[kind]}
    lock = yaml.safe_load((released.folder / "dvc.lock").read_text())["stages"]["make"]
    assert known == {entry["path"]: f"md5:{entry['md5']}" for entry in [*lock.get("deps", []), *lock["outs"]]}


def test_what_a_person_took_on_and_what_became_of_it_is_told_in_words(released: ReleaseProject) -> None:
    said = released.run_bots("trace", "1.0.0").stdout
    assert "Version v1.0.0, runs nowhere now" in said
    assert "accepted by     grace: the first model (although: " in said
    assert "production: was replaced by v1.1.0" in said
    assert "git switch --detach" in said


@pytest.mark.slow
def test_digests_and_commits_lead_to_the_versions_that_have_them(released: ReleaseProject) -> None:
    digest = find_out(released, "models/model.skops")
    for word in (digest[:8], digest, f"md5:{digest}", released.get_head()[:10]):
        told = json.loads(released.run_bots("trace", word, "--json").stdout)
        assert [one["version"] for one in told["versions"]] == ["v1.1.0"], word


@pytest.mark.parametrize(
    "word", ["v9.9.9", "deadbeef", f"sha256:{'0' * 64}", "nonsense", "", "--", "../x", "é"]
)
def test_what_nothing_has_ends_with_3_and_says_where_to_look(released: ReleaseProject, word: str) -> None:
    done = released.run_bots("trace", "--", word, expect=3) if word != "--" else None
    assert done is None or "`python -m bots models` lists them" in done.stderr


def test_a_file_leads_to_the_models_that_were_made_from_it(released: ReleaseProject) -> None:
    path = "data/splits/holdout.parquet"
    if not (released.folder / path).is_file():
        path = next(
            iter(
                sorted(
                    p.relative_to(released.folder).as_posix()
                    for p in (released.folder / "data").rglob("*.parquet")
                )
            )
        )
    told = json.loads(
        released.run_bots("trace", "--data", find_out(released, "models/model.skops"), "--json").stdout
    )
    assert [(one["versions"], one["running"]) for one in told] == [
        (["v1.1.0"], ["v1.1.0 in staging", "v1.1.0 in production"])
    ]


def test_a_digest_that_no_model_of_main_knows_ends_with_3(released: ReleaseProject) -> None:
    done = released.run_bots("trace", "--data", "md5:" + "f" * 32, expect=3)
    assert "no model of main was made from md5:ffff" in done.stderr
    assert "ask for the folder's" in done.stderr
    assert "is no digest" in released.run_bots("trace", "--data", "nothing.csv", expect=1).stderr


def test_a_lock_that_cannot_be_read_hides_no_other_commit_and_is_named() -> None:
    """What was once merged stays in the history, so that nobody could be told ever again."""
    locks = {
        "a" * 40: b"<<<<<<< HEAD\nschema: '2.0'\n",
        "b" * 40: b"stages: {train: {cmd: x, deps: [{path: data.csv, md5: %s}], outs: [{path: %s, md5: cc}]}}"
        % (b"1" * 32, Layout().model.encode()),
    }
    repository: Any = SimpleNamespace(
        bare=SimpleNamespace(list_commits=lambda *words: list(locks)), tip="a" * 40, prefix="", naming=Naming(),
        read_file=lambda commit, path: locks[commit], registry=Registry(), get_time=lambda commit: "2026-01-01",
    )  # fmt: skip
    learners, unread = find_learners(repository, "MD5:" + "1" * 32, Layout())
    assert [one.commit for one in learners] == ["b" * 40]
    (words,) = unread
    assert words.startswith("dvc.lock of aaaaaaa: not a DVC lock: it holds a merge in conflict")


def test_a_folder_that_is_tracked_as_a_whole_is_found_by_its_path_and_by_a_file_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data/parts").mkdir(parents=True)
    (tmp_path / "data/parts/one.csv").touch()
    (tmp_path / "dvc.lock").write_text(
        "stages: {a: {cmd: x, deps: [{path: data/parts, md5: %s.dir}]}}" % ("2" * 32)
    )
    monkeypatch.chdir(tmp_path)
    for word in ("data/parts", "data/parts/", str(tmp_path / "data/parts/one.csv")):
        assert find_digest(word, tmp_path) == f"md5:{'2' * 32}.dir"
    assert "a folder that DVC tracks as a whole" in capsys.readouterr().err
    with pytest.raises(NotFound, match="data is a folder that dvc"):
        find_digest("data", tmp_path)
    assert find_digest("no/such", tmp_path) == "no/such"


def test_one_word_or_data_is_expected(released: ReleaseProject) -> None:
    assert "expected either WHAT or --data" in released.run_bots("trace", expect=2).stderr
    assert (
        "expected either WHAT or --data"
        in released.run_bots("trace", "v1.0.0", "--data", "x", expect=2).stderr
    )


@pytest.fixture
def service() -> Iterator[tuple[str, dict[str, object]]]:
    """An address that answers GET /model with what the test puts into the mapping."""
    answer: dict[str, object] = {"title": "Late flights"}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            ok = self.path == "/model" and answer.get("key") in (None, self.headers["Authorization"])
            self.send_response(200 if ok else 401)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode() if ok else b"{}")

        def log_message(self, *words: object) -> None:
            return

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", answer
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_running_service_leads_to_its_version(
    released: ReleaseProject, service: tuple[str, dict[str, object]]
) -> None:
    address, answer = service
    (trace,) = json.loads(released.run_bots("trace", "v1.1.0", "--json").stdout)["versions"]
    answer |= {"version": "v1.1.0", "onnx": trace["onnx"], "key": "Bearer sesame"}
    assert "SERVING_API_KEY" in released.run_bots("trace", address, expect=1).stderr
    with unittest.mock.patch.dict(os.environ, {"SERVING_API_KEY": "sesame"}):
        told = json.loads(released.run_bots("trace", f"{address}/", "--json").stdout)
    assert told["versions"] == [trace]


def test_a_service_that_was_not_released_from_here_is_told(
    released: ReleaseProject, service: tuple[str, dict[str, object]]
) -> None:
    address, answer = service
    answer |= {"version": "v1.1.0", "onnx": "sha256:" + "0" * 64}
    assert "it was not released from here" in released.run_bots("trace", address, expect=1).stderr
    answer["version"] = 3
    assert "the answer is not that of a service" in released.run_bots("trace", address, expect=1).stderr
    assert (
        "no service of this project answers"
        in released.run_bots("trace", "http://127.0.0.1:1", expect=1).stderr
    )
    assert "begins with http://" in released.run_bots("trace", "file:///etc/passwd", expect=1).stderr


@pytest.mark.slow
def test_one_prediction_leads_to_what_was_asked_and_to_the_version(
    released: ReleaseProject, tmp_path: Path
) -> None:
    (trace,) = json.loads(released.run_bots("trace", "v1.1.0", "--json").stdout)["versions"]
    table = prediction_log.make_table(50, version="v1.1.0", **{"prediction:onnx": [trace["onnx"]] * 50})
    prediction_log.write_log(tmp_path / "a.parquet", table)
    (tmp_path / "broken.parquet").write_bytes(b"no parquet")
    (tmp_path / "open.jsonl").write_text("{}")
    params = released.folder / "params.yaml"
    before = params.read_text()
    settings = yaml.safe_load(before) | {"monitoring": {"predictions": str(tmp_path)}}
    wanted = str(table["prediction:id"][7])
    try:
        params.write_text(yaml.safe_dump(settings))
        done = released.run_bots("trace", wanted, "--json")
        missing = released.run_bots("trace", "0123456789abcdef-ffff", expect=1)
        shown = released.run_bots("trace", wanted).stdout
    finally:
        params.write_text(before)
    told = json.loads(done.stdout)
    assert told["prediction"]["asked"]["carrier"] == str(table["carrier"][7])
    assert told["prediction"]["answered"]["score"] == table["prediction:score"][7].as_py()
    assert told["versions"] == [trace]
    assert "broken.parquet" in done.stderr
    assert "has the prediction 0123456789abcdef-ffff (2 were read)" in missing.stderr
    assert shown.startswith(f"Prediction {wanted}")


def test_a_digest_of_another_algorithm_is_not_taken_for_it() -> None:
    release = releases.a_release()
    registry = Registry(releases=(release,))
    assert find_releases(registry, f"md5:{'5' * 32}") == []
    assert find_releases(registry, f"sha256:{'5' * 32}") == [release]
    assert find_releases(registry, "5" * 7) == []


def assign(version: str, at: int, **what: Any) -> Assignment:
    return Assignment(stage="production", version=version, by="ada", at=f"2026-03-0{at}T00:00:00Z", **what)


def test_the_history_of_a_version_tells_pauses_and_the_way_back() -> None:
    made = [
        assign("v1.0.0", 1),
        assign("v1.0.0", 2, paused="v1.1.0"),
        assign("v1.1.0", 3),
        assign("v1.0.0", 4, rejected="v1.1.0", reason="too many errors"),
    ]
    assert [(one.at[9], one.words) for one in list_steps(made, "v1.1.0")] == [
        ("2", "is paused beside v1.0.0"),
        ("3", "runs"),
        ("4", "was rolled back: v1.0.0 runs"),
    ]
    assert [(one.at[9], one.words) for one in list_steps(made, "v1.0.0")] == [
        ("1", "runs"),
        ("3", "was replaced by v1.1.0"),
        ("4", "runs"),
    ]
