"""The workflows of a project in a subfolder, run by act from the repository's root: its own bots, names and answers."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator

import pytest

from bots.naming import Naming
from doubles.github import GitHubDouble
from fixtures import github_actions
from fixtures.baking import bake
from fixtures.dvc_projects import run_git
from fixtures.github_actions import SimulatedGitHub

pytestmark = [
    pytest.mark.act,
    pytest.mark.slow,
    pytest.mark.skipif(not github_actions.ACT.exists(), reason="act is not installed"),
    pytest.mark.skipif(shutil.which("node") is None, reason="act's hashFiles needs node"),
    pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="the workflows ask for another Python"),
]
CHURN = Naming("churn")
FOLDER = "projects/churn"


@pytest.fixture(scope="module")
def github(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimulatedGitHub]:
    """A repository with a project in a subfolder, and a pull request."""
    folder = tmp_path_factory.mktemp("github")
    root = tmp_path_factory.mktemp("shared")
    run_git(root, "init", "--quiet", "--initial-branch=main")
    (root / "projects").mkdir()
    done = bake(root / "projects", {"project": "churn", "pipeline": "own"})
    assert done.returncode == 0, done.stdout + done.stderr
    origin = folder / "origin.git"
    run_git(folder, "init", "--quiet", "--bare", "--initial-branch=main", str(origin))
    run_git(root, "add", "--all")
    who = ("-c", "user.name=T", "-c", "user.email=t@example.invalid")
    run_git(root, *who, "commit", "--quiet", "--message", "Begin")
    run_git(root, "push", "--quiet", str(origin), "HEAD:refs/heads/main")
    with GitHubDouble(github_actions.REPOSITORY, git=origin) as double:
        made = SimulatedGitHub(folder, origin, double)
        github_actions.prepare_tools(made, root / FOLDER, below=FOLDER)
        double.add_pull(7, made.find_head("main"), author="ada", branch="better")
        yield made
    assert double.violations == []


def test_a_comment_is_answered_by_the_project_whose_name_it_says_from_its_own_folder(
    github: SimulatedGitHub,
) -> None:
    double = github.double
    for body, jobs in (("/fraud help", {"respond": "success"}), ("/churn help", {"respond": "success"})):
        comment = double.add_comment(7, body, "linus")
        event = {
            "action": "created",
            "issue": {"number": 7, "state": "open", "pull_request": {"url": "x"}},
            "comment": {"id": comment.id, "body": body, "created_at": "2030-01-01T00:00:00Z"},
            "sender": {"login": "linus", "type": "User"},
            "repository": double._payloads().build_repository(github_actions.REPOSITORY),
        }
        ran = github.run_act("issue_comment", CHURN.name_workflow("commands"), event)
        assert {name: end for name, end in ran.jobs.items() if end != "skipped"} == jobs, ran.log
    answers = [one.body for one in double.list_comments(7) if one.author != "linus"]
    assert len(answers) == 1
    assert answers[0].startswith("<!-- model-answer/churn to=")
    assert "`/churn approve [why]`" in answers[0]
