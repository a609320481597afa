"""Two branches that both trained are merged by git itself, and `merge` settles what a clone without set-up left."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from bots.__main__ import main
from fixtures.documents import read_words
from fixtures.support import TEMPLATE

LOCK = """schema: '2.0'
stages:
  prepare:
    cmd: prepare
    outs:
    - path: table
      hash: md5
      md5: {table}
      size: 1
  train:
    cmd: train
    deps:
    - path: table
      hash: md5
      md5: {table}
      size: 1
    outs:
    - path: model
      hash: md5
      md5: {model}
      size: 1
  page:
    cmd: page
    outs:
    - path: page
      hash: md5
      md5: {page}
      size: 1
"""


def run_git(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", *words], cwd=folder, text=True, capture_output=True, check=False)


def commit(folder: Path, branch: str, *, params: str = "a", **digests: str) -> None:
    run_git(folder, "switch", "--quiet", "--create", branch, "main")
    write_files(folder, params=params, **digests)
    run_git(folder, "commit", "--quiet", "--all", "--message", branch)


def write_files(folder: Path, *, params: str = "a", **digests: str) -> None:
    found = {"table": "t", "model": "m", "page": "p", **digests}
    (folder / "dvc.lock").write_text(LOCK.format(**found))
    (folder / "reports/metrics.json").write_text(json.dumps(found))
    (folder / "params.yaml").write_text(f"x: {params}\n")


@pytest.fixture(params=["project", "a b's $project"])
def project(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone whose main has a lock, reports and parameters, and the template's bots and attributes."""
    root = tmp_path / request.param
    (root / "reports").mkdir(parents=True)
    run_git(root, "init", "--quiet", "--initial-branch=main")
    run_git(root, "config", "user.name", "A")
    run_git(root, "config", "user.email", "a@localhost")
    (root / "bots").symlink_to(TEMPLATE / "bots")
    (root / ".git/info/exclude").write_text("/bots\n")
    shutil.copy(TEMPLATE / ".gitattributes", root / ".gitattributes")
    write_files(root)
    run_git(root, "add", "--all")
    run_git(root, "commit", "--quiet", "--message", "main")
    monkeypatch.chdir(root)
    return root


def test_git_merges_branches_that_changed_different_stages_by_itself(project: Path):
    assert main(["merge", "--install"]) == 0
    commit(project, "one", page="p2")
    commit(project, "two", model="m2")
    done = run_git(project, "merge", "--no-edit", "one")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (project / "dvc.lock").read_text() == LOCK.format(table="t", model="m2", page="p2")


@pytest.mark.slow
def test_git_drops_what_both_trained_and_says_what_to_do(project: Path):
    assert main(["merge", "--install"]) == 0
    commit(project, "one", model="m1")
    commit(project, "two", model="m2")
    done = run_git(project, "merge", "--no-edit", "one")
    assert done.returncode == 0, done.stdout + done.stderr
    text = (project / "dvc.lock").read_text()
    assert "model" not in text
    assert "<<<" not in text
    assert "train is to be made again: both sides made it anew" in done.stderr
    assert "`make repro`" in done.stderr
    assert json.loads((project / "reports/metrics.json").read_text())["model"] == "m2"


@pytest.mark.slow
def test_parameters_in_conflict_are_left_to_people_and_the_lock_is_settled(project: Path):
    assert main(["merge", "--install"]) == 0
    commit(project, "one", params="1", model="m1")
    commit(project, "two", params="2", model="m2")
    assert run_git(project, "merge", "--no-edit", "one").returncode == 1
    assert run_git(project, "diff", "--name-only", "--diff-filter=U").stdout.split() == ["params.yaml"]


def test_a_clone_without_set_up_is_settled_afterwards(project: Path, capsys: pytest.CaptureFixture[str]):
    commit(project, "one", model="m1")
    commit(project, "two", model="m2")
    assert run_git(project, "merge", "--no-edit", "one").returncode == 1
    assert "<<<<" in (project / "dvc.lock").read_text()
    assert main(["merge", "--json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out) == {
        "settled": ["dvc.lock", "reports/metrics.json"],
        "dropped": {"train": "both sides made it anew"},
        "left": [],
    }
    assert "now `make repro`, `git add --all` and `git commit`" in said.err
    assert run_git(project, "diff", "--name-only", "--diff-filter=U").stdout == ""
    assert "prepare" in (project / "dvc.lock").read_text()


def test_what_people_must_resolve_is_named(project: Path, capsys: pytest.CaptureFixture[str]):
    commit(project, "one", params="1", model="m1")
    commit(project, "two", params="2", model="m2")
    run_git(project, "merge", "--no-edit", "one")
    assert main(["merge"]) == 1
    assert "still in conflict: params.yaml. Resolve them" in capsys.readouterr().err
    assert "<<<" in (project / "params.yaml").read_text()


def test_without_a_conflict_nothing_happens(project: Path, capsys: pytest.CaptureFixture[str]):
    assert main(read_words("docs/data-scientist.md", "python -m bots merge")) == 0
    assert "not in conflict" in capsys.readouterr().err
    assert run_git(project, "status", "--porcelain").stdout == ""


def test_a_lock_that_cannot_be_read_stays_as_it_is(project: Path):
    assert main(["merge", "--install"]) == 0
    commit(project, "one", model="m1")
    run_git(project, "switch", "--quiet", "--create", "two", "main")
    (project / "dvc.lock").write_text("stages: [broken]\n")
    run_git(project, "commit", "--quiet", "--all", "--message", "two")
    done = run_git(project, "merge", "--no-edit", "one")
    assert done.returncode == 1
    assert "dvc.lock of this side: not a DVC lock" in done.stderr
    assert (project / "dvc.lock").read_text() == "stages: [broken]\n"


def test_outside_of_git_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    assert main(["merge"]) == 1
    assert "not a git repository" in capsys.readouterr().err
