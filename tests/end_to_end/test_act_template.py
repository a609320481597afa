"""The template's own workflows: a tag is proven before it is released, and newer locks come as a pull request.

What takes minutes in them is a stand-in's here: installing tools, resolving, a baked project's own checks.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from typing import TYPE_CHECKING, Any

import pytest

from doubles.github import GitHubDouble
from fixtures import github_actions
from fixtures.baking import run_git
from fixtures.github_actions import SimulatedGitHub
from fixtures.support import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.act,
    pytest.mark.slow,
    pytest.mark.skipif(not github_actions.ACT.exists(), reason="act is not installed"),
    pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="the workflows ask for another Python"),
]
WHO = ("-c", "user.name=Ada", "-c", "user.email=ada@example.invalid")
PROJECT = "<<cookiecutter.project>>"
# As `make` of the template and of a project, with what they would have done written down.
MAKEFILE = """
setup:
	@ln -sfn "$$(dirname "$$(dirname "$$STAND_IN_PYTHON")")" .venv
lock: setup
	@test '$(UPGRADE)' = --upgrade
	@for file in requirements/dev.txt '<<cookiecutter.project>>/requirements/models/torch.txt' README.md; do \\
		echo '# newer' >> "$$file"; done
"""
CHECKED = """
check:
	@$(PYTHON) -c '' && mkdir -p "$$STAND_IN_KEEPS" && cp .template.json "$$STAND_IN_KEEPS/checked.json"
"""


@pytest.fixture(scope="module")
def github(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimulatedGitHub]:
    """This template on GitHub, tagged as the version that its changelog is about."""
    folder = tmp_path_factory.mktemp("github")
    work = folder / "work"
    for name in run_git(ROOT, "ls-files", "-z").split("\0"):
        if (ROOT / name).is_file() and not name.startswith(("tests/", "benchmarks/")):
            (work / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, work / name)
    (work / "Makefile").write_text(MAKEFILE, encoding="utf-8")
    (work / PROJECT / "Makefile").write_text(CHECKED, encoding="utf-8")
    version = json.loads((work / "cookiecutter.json").read_text(encoding="utf-8"))["_version"]
    (work / "CHANGELOG.md").write_text(
        f"# Changelog\n\n## {version}, 2027-01-31\n\n- New.\n", encoding="utf-8"
    )
    run_git(work, "init", "--quiet", "--initial-branch=main")
    run_git(work, "add", "--all", "--force")
    run_git(work, *WHO, "commit", "--quiet", "--message", "Release")
    run_git(work, *WHO, "tag", "--annotate", "--message", "A release", f"v{version}")
    run_git(folder, "clone", "--quiet", "--bare", str(work), str(folder / "origin.git"))
    with (
        GitHubDouble(github_actions.REPOSITORY, git=folder / "origin.git") as double,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("PATH", f"{ROOT / 'tests/doubles/gh'}{os.pathsep}{os.environ['PATH']}")
        yield SimulatedGitHub(folder, folder / "origin.git", double)
    assert double.violations == []


def make_event(github: SimulatedGitHub, ref: str) -> dict[str, Any]:
    repository = github.double._payloads().build_repository(github_actions.REPOSITORY)
    return {"ref": ref, "after": github.find_head("main"), "inputs": None, "repository": repository}


def test_a_tag_is_released_with_its_notes_once_a_project_baked_from_it_passed_its_checks(
    github: SimulatedGitHub,
) -> None:
    tag = github.git("tag", "--list")
    matrix = {"python": "3.11", "storage": "s3", "deploy": "compose"}
    ran = github.run_act(
        "push", "release.yaml", make_event(github, f"refs/tags/{tag}"), at=tag, matrix=matrix
    )
    assert ran.jobs == {"prove": "success", "publish": "success"}, ran.log
    baked = json.loads((github.folder / "keeps/checked.json").read_text(encoding="utf-8"))
    assert baked["commit"] == github.find_head("main")
    assert (baked["answers"]["storage"], baked["answers"]["deploy"]) == ("s3", "compose")
    made = json.loads((github.folder / f"keeps/releases/{tag}.json").read_text(encoding="utf-8"))
    assert made == {"title": tag, "notes": "- New.\n"}


def test_newer_locks_come_as_one_pull_request_that_holds_nothing_else_and_is_tested(
    github: SimulatedGitHub,
) -> None:
    ran = github.run_act("workflow_dispatch", "renew.yaml", make_event(github, "refs/heads/main"))
    assert ran.jobs == {"lock": "success", "propose": "success"}, ran.log
    (pull,) = github.double.state.list_pulls()
    assert (pull.head_ref, pull.base_ref) == ("renew-locks", "main")
    assert github.double.state.started == [("test.yaml", "renew-locks")]
    changed = github.git("diff", "--name-only", "main", "renew-locks").splitlines()
    assert changed == [f"{PROJECT}/requirements/models/torch.txt", "requirements/dev.txt"]
