"""The template's update as GitHub runs it: fetched, baked where no secret is, proposed, and its review started."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from doubles.github import GitHubDouble
from fixtures import github_actions
from fixtures.baking import bake_project, run_git
from fixtures.github_actions import SimulatedGitHub
from fixtures.support import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.act, pytest.mark.slow]

MORE = "\nA sentence of the newer template.\n"
ANSWERS = {"project": "visits", "storage": "local", "owner": "octo-org"}
WHO = ("-c", "user.name=Ada", "-c", "user.email=ada@example.invalid")


def commit(folder: Path, message: str) -> str:
    run_git(folder, "add", "--all", "--force")
    run_git(folder, *WHO, "commit", "--quiet", "--message", message)
    return run_git(folder, "rev-parse", "HEAD").strip()


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """This template as a repository of two commits: as it is, and with a sentence more on a page."""
    folder = tmp_path_factory.mktemp("template") / "template"
    listed = run_git(ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file() and not name.startswith(("tests/", "benchmarks/")):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    run_git(folder, "init", "--quiet", "--initial-branch=main")
    older = commit(folder, "As it was")
    page = folder / "<<cookiecutter.project>>/docs/serving.md"
    page.write_text(page.read_text(encoding="utf-8") + MORE, encoding="utf-8")
    return folder, older, commit(folder, "Say more")


@pytest.fixture(scope="module")
def github(
    template: tuple[Path, str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SimulatedGitHub]:
    """A repository whose project was made by the older commit, and whose team has edited another page."""
    folder = tmp_path_factory.mktemp("github")
    project = bake_project(folder / "out", **ANSWERS)
    record = {
        "template": str(template[0]),
        "version": "0.1.0",
        "commit": template[1],
        "answers": ANSWERS,
    }
    (project / ".template.json").write_text(json.dumps(record), encoding="utf-8")
    run_git(project, *WHO, "commit", "--quiet", "--all", "--amend", "--no-edit")
    (project / "README.md").write_text("Ours.\n", encoding="utf-8")
    commit(project, "Say it in our words")
    origin = folder / "origin.git"
    subprocess.run(["git", "clone", "--quiet", "--bare", str(project), str(origin)], check=True)
    with GitHubDouble(github_actions.REPOSITORY, git=origin) as double:
        made = SimulatedGitHub(folder, origin, double)
        for room in ("bots", "update"):
            github_actions.prepare_tools(made, project, room=room)
        yield made
    assert double.violations == []


def test_a_newer_template_comes_as_a_pull_request_whose_review_is_started(
    github: SimulatedGitHub, template: tuple[Path, str, str]
) -> None:
    event = {
        "ref": "refs/heads/main",
        "inputs": {"to": ""},
        "repository": github.double._payloads().build_repository(github_actions.REPOSITORY),
    }
    github.secrets["TEMPLATE_TOKEN"] = "of-the-template-alone"

    ran = github.run_act("workflow_dispatch", "update.yaml", event)

    assert ran.jobs == {"fetch": "success", "bake": "success", "propose": "success", "start": "success"}, (
        ran.log
    )
    assert github.git("show", "template-update:docs/serving.md").strip().endswith(MORE.strip())
    assert github.git("show", "template-update:README.md").strip() == "Ours."
    assert json.loads(github.git("show", "template-update:.template.json"))["commit"] == template[2]
    changed = github.git("diff", "--name-only", "main", "template-update").split()
    assert sorted(changed) == [".template.json", "docs/serving.md"]
    (pull,) = github.double.state.list_pulls()
    assert (pull.head_ref, pull.base_ref) == ("template-update", "main")
    assert ("pull-request.yaml", "template-update") in github.double.state.started
    assert "of-the-template-alone" not in ran.log
