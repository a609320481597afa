"""What the pages say to type about storage, branches and DVC is typed, in projects whose training takes a moment."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import yaml

from fixtures import dvc_projects, support
from fixtures.documents import read_command, type_command
from fixtures.dvc_projects import DvcProject

pytestmark = pytest.mark.slow

ENVIRON = {"PYTHONPATH": str(support.TEMPLATE)}
PIPELINE = {
    "stages": {
        "train": {
            "cmd": "python make.py",
            "deps": ["make.py"],
            "params": ["model.estimator.params.max_iter"],
            "outs": ["model.bin"],
            "metrics": [{"metrics.json": {"cache": False}}],
            "plots": [{"curve.csv": {"cache": False, "x": "x", "y": "y"}}],
        }
    }
}
MAKE = """\
import json, pathlib, yaml
steps = yaml.safe_load(open("params.yaml"))["model"]["estimator"]["params"]["max_iter"]
pathlib.Path("model.bin").write_text(f"{steps} steps")
pathlib.Path("metrics.json").write_text(json.dumps({"log_loss": 1 / steps}))
pathlib.Path("curve.csv").write_text("x,y\\n0,0\\n1,1\\n")
"""


def type_here(project: DvcProject, command: str) -> str:
    return type_command(project.folder, command, environ=ENVIRON)


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> DvcProject:
    """A project with a remote and the tools in its folder, brought to the remote as the page about workflows says."""
    project = dvc_projects.create_project(tmp_path_factory.mktemp("stored"))
    (project.folder / ".venv").symlink_to(sys.prefix)
    (project.folder / ".git/info/exclude").write_text(".venv\n")
    project.git("remote", "remove", "origin")
    address = (project.folder.parent / "origin.git").as_uri()
    for command in (
        read_command(
            "docs/workflows.md",
            "git remote add origin https://github.com/OWNER/NAME",
            {"https://github.com/OWNER/NAME": address},
        ),
        read_command("docs/workflows.md", "git push --set-upstream origin main"),
        read_command("docs/workflows.md", ".venv/bin/python -m bots storage push"),
    ):
        type_here(project, command)
    return project


@pytest.fixture
def project(stored: DvcProject, tmp_path: Path) -> DvcProject:
    return dvc_projects.copy_project(stored, tmp_path)


def test_what_the_lock_names_is_kept_and_comes_back(project: DvcProject) -> None:
    type_here(project, read_command("docs/storage.md", "python -m bots storage push"))
    (project.folder / "model.bin").unlink()
    type_here(project, read_command("docs/storage.md", "python -m bots storage fetch"))
    assert (project.folder / "model.bin").read_bytes() == b"model one"
    assert "branch" in type_here(project, read_command("docs/storage.md", "python -m bots storage"))


def test_everything_moves_to_another_storage(project: DvcProject) -> None:
    move = read_command(
        "docs/storage.md",
        "python -m bots storage s3://bucket/folder",
        {"s3://bucket/folder": "../moved"},
    )
    type_here(project, move)
    assert "moved" in (project.folder / ".dvc/config").read_text()
    assert [path for path in (project.folder.parent / "moved").rglob("*") if path.is_file()]


def test_a_clone_leaves_the_branch_of_the_models_where_it_is(project: DvcProject) -> None:
    address = (project.folder.parent / "origin.git").as_uri()
    type_here(project, read_command("docs/storage.md", "git clone --single-branch") + f" {address} ../one")
    one = DvcProject(project.folder.parent / "one")
    assert "dvc-storage" not in one.git("branch", "--remotes")
    type_here(project, read_command("docs/storage.md", "git clone") + f" {address} ../all")
    everything = DvcProject(project.folder.parent / "all")
    assert "dvc-storage" in everything.git("branch", "--remotes")
    for command in (
        read_command("docs/storage.md", "git config --add remote.origin.fetch '^refs/heads/dvc-storage'"),
        read_command("docs/monitoring.md", "git config --add remote.origin.fetch '^refs/heads/monitoring'"),
    ):
        type_here(everything, command)
    everything.git("update-ref", "-d", "refs/remotes/origin/dvc-storage")
    type_here(everything, read_command("docs/storage.md", "git pull --rebase"))
    assert "dvc-storage" not in everything.git("branch", "--remotes")


def test_a_merge_is_taken_back_and_the_old_model_comes_without_a_training(project: DvcProject) -> None:
    project.git("switch", "--quiet", "--create", "better")
    project.train("two")
    project.git("switch", "--quiet", "main")
    project.git("merge", "--quiet", "--no-ff", "--message", "Merge", "better")
    assert (project.folder / "model.bin").read_bytes() == b"model two"
    type_here(project, read_command("docs/operator.md", "git revert --mainline 1 COMMIT", {"COMMIT": "HEAD"}))
    type_here(project, read_command("docs/operator.md", "python -m bots storage fetch"))
    assert (project.folder / "model.bin").read_bytes() == b"model one"


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> DvcProject:
    """A project with the template's params.yaml, a metric and a curve, on a branch beside main."""
    project = dvc_projects.create_project(tmp_path_factory.mktemp("tuned"))
    (project.folder / "params.yaml").write_text(support.render_file("params.yaml"), encoding="utf-8")
    (project.folder / "dvc.yaml").write_text(yaml.safe_dump(PIPELINE, sort_keys=False))
    (project.folder / "make.py").write_text(MAKE)
    type_here(project, read_command("docs/evidence.md", "dvc repro"))
    project.git("add", "--all")
    project.git("commit", "--quiet", "--message", "Train by a parameter")
    (project.folder / ".venv").symlink_to(sys.prefix)
    type_here(project, read_command("docs/data-scientist.md", "git switch --create more-trees"))
    return project


def test_values_are_tried_without_an_edit_and_held_beside_each_other(tuned: DvcProject) -> None:
    type_here(
        tuned, read_command("docs/data-scientist.md", "dvc exp run -S model.estimator.params.max_iter=300")
    )
    assert (tuned.folder / "model.bin").read_text() == "300 steps"
    assert "log_loss" in type_here(tuned, read_command("docs/data-scientist.md", "dvc exp show"))
    assert "log_loss" in type_here(tuned, read_command("docs/data-scientist.md", "dvc metrics diff main"))
    assert "log_loss" in type_here(tuned, read_command("docs/evidence.md", "dvc metrics show"))
    type_here(tuned, read_command("docs/data-scientist.md", "dvc plots diff main"))
    type_here(tuned, read_command("docs/evidence.md", "dvc plots show"))
    assert "train" in type_here(tuned, read_command("docs/data-scientist.md", "dvc dag"))
    type_here(
        tuned,
        read_command("docs/data-scientist.md", 'git add --all && git commit --message "Try more trees"'),
    )


def test_a_record_is_made_without_the_cache_or_for_what_lies_there(tuned: DvcProject) -> None:
    command = read_command("docs/attacks.md", "dvc repro --no-run-cache")
    assert "up to date" in type_here(tuned, command)
    type_here(tuned, read_command("docs/evidence.md", "dvc commit"))
    (tuned.folder / "table.csv").write_text("a\n1\n")
    type_here(tuned, read_command("docs/onboarding.md", "dvc add") + " table.csv")
    assert (tuned.folder / "table.csv.dvc").is_file()
    with (tuned.folder / ".dvc/config").open("a") as config:
        config.write("['remote \"far\"']\n    url = ssh://host/folder\n")
    type_here(tuned, read_command("docs/storage.md", "dvc remote modify --local") + " far password x")
    assert "password = x" in (tuned.folder / ".dvc/config.local").read_text()


def test_the_tools_come_onto_the_path(tuned: DvcProject) -> None:
    activate = read_command("docs/data-scientist.md", "source .venv/bin/activate")
    path = type_command(tuned.folder, f"bash -c '{activate} && command -v dvc'", environ=ENVIRON)
    assert path.strip().endswith("/bin/dvc")
