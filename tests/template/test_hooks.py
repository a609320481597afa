"""The hooks beside odd machines: no git, a person's own git settings, a repository around, an old cookiecutter."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fixtures.baking import bake, make_small_template, read_manifest, run_git
from fixtures.support import ROOT, TEMPLATE

pytestmark = pytest.mark.slow


def settings_of(folder: Path, text: str) -> dict[str, str]:
    """An environment whose git has this configuration."""
    path = folder / "gitconfig"
    path.write_text(text, encoding="utf-8")
    return {"GIT_CONFIG_GLOBAL": str(path)}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A template with few files: what the hooks do with git is the same."""
    return make_small_template(tmp_path_factory.mktemp("small"))


def test_without_git_the_refusal_says_so_and_leaves_nothing(tmp_path: Path) -> None:
    done = bake(tmp_path / "out", environment={"PATH": str(tmp_path)})

    assert done.returncode == 1
    assert done.stderr.startswith("ERROR: git is not installed")
    assert list((tmp_path / "out").iterdir()) == []


def test_nothing_that_python_compiled_in_the_template_comes_into_a_project(tmp_path: Path) -> None:
    worked_in = make_small_template(tmp_path / "worked in")
    compiled = worked_in / TEMPLATE.name / "bots/__pycache__/placement.cpython-311.pyc"
    compiled.parent.mkdir()
    compiled.write_bytes(b"\xa7\r\r\n compiled")
    assert bake(tmp_path / "out", template=worked_in).returncode == 0

    assert (tmp_path / "out/late-flights/bots/placement.py").is_file()
    assert list((tmp_path / "out").rglob("__pycache__")) == []


def test_the_first_commit_is_made_under_the_person_s_own_name(tmp_path: Path, template: Path) -> None:
    settings = settings_of(tmp_path, "[user]\nname = Ada Lovelace\nemail = ada@example.com\n")
    assert bake(tmp_path / "out", environment=settings, template=template).returncode == 0

    assert (
        run_git(tmp_path / "out/late-flights", "log", "-1", "--format=%an <%ae>").strip()
        == "Ada Lovelace <ada@example.com>"
    )


@pytest.mark.parametrize(
    "settings",
    [
        "[commit]\ngpgSign = true\n[user]\nsigningKey = nobody\n[gpg]\nprogram = false\n",
        "[init]\ntemplateDir = {tmp}/templates\ndefaultBranch = trunk\n",
        "[core]\nhooksPath = {tmp}/templates/hooks\n",
        "[core]\nexcludesFile = {tmp}/excludes\n",
        "[core]\nautocrlf = true\nsafecrlf = true\n",
        "[user]\nuseConfigOnly = true\n",
    ],
    ids=["signing", "templates", "hooks", "excludes", "line ends", "no guessing"],
)
def test_a_person_s_git_settings_do_not_change_the_first_commit(
    tmp_path: Path, template: Path, settings: str
) -> None:
    hook = tmp_path / "templates/hooks/pre-commit"
    hook.parent.mkdir(parents=True)
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    (tmp_path / "excludes").write_text("*.yaml\nreports\n")
    done = bake(
        tmp_path / "out",
        environment=settings_of(tmp_path, settings.replace("{tmp}", str(tmp_path))),
        template=template,
    )

    assert done.returncode == 0, done.stderr
    project = tmp_path / "out/late-flights"
    assert run_git(project, "branch", "--show-current").strip() == "main"
    assert {"params.yaml", "reports/.gitkeep"} <= set(run_git(project, "ls-files").splitlines())
    assert run_git(project, "status", "--porcelain").strip() == ""


def test_baking_inside_another_repository_s_hook_leaves_that_repository_alone(
    tmp_path: Path, template: Path
) -> None:
    other = tmp_path / "other"
    subprocess.run(["git", "init", "--quiet", str(other)], check=True)
    done = bake(
        tmp_path / "out",
        environment={"GIT_DIR": str(other / ".git"), "GIT_WORK_TREE": str(other)},
        template=template,
    )

    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out/late-flights/.git").is_dir()
    assert not (other / ".git/index").exists()


def test_a_failing_git_leaves_nothing_behind(tmp_path: Path, template: Path) -> None:
    fake = tmp_path / "bin/git"
    fake.parent.mkdir()
    fake.write_text("#!/bin/sh\necho disk full >&2\nexit 1\n")
    fake.chmod(0o755)
    done = bake(
        tmp_path / "out",
        environment={"PATH": f"{fake.parent}{os.pathsep}{os.environ['PATH']}"},
        template=template,
    )

    assert done.returncode == 1
    assert "ERROR: `git init --quiet --template=` failed: disk full" in done.stderr
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("version", "accepted"), [("2.6.0", False), ("2.7.0", False), ("2.7.1", True), ("3.0", True)]
)
def test_an_old_cookiecutter_is_told_to_upgrade_in_one_line(version: str, accepted: bool) -> None:
    script = "import cookiecutter, sys; cookiecutter.__version__ = sys.argv[1]; import local_extensions"
    done = subprocess.run(
        [sys.executable, "-c", script, version], cwd=ROOT, text=True, capture_output=True, check=False
    )
    assert (done.returncode == 0) is accepted
    if not accepted:
        assert f"needs cookiecutter 2.7.1 or newer, and this is {version}" in done.stderr.splitlines()[-1]


def test_the_manifest_covers_every_choice_and_names_only_files_that_exist() -> None:
    questions = json.loads((ROOT / "cookiecutter.json").read_text(encoding="utf-8"))
    for question, choices in read_manifest().items():
        assert list(choices) == questions[question]
        for path in (path for paths in choices.values() for path in paths):
            assert (TEMPLATE / path).exists(), path
