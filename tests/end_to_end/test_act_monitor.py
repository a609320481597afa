"""monitor.yaml, run by act: a tick that is obeyed or refused, and the retrain pull request whose review is started."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bots.observations import Episode, Finding, TroubleState
from bots.render import monitoring_issue
from bots.render.retrain import RetrainMarker
from doubles.github import ACTIONS, GitHubDouble
from fixtures import github_actions
from fixtures.baking import bake_project
from fixtures.dvc_projects import run_git
from fixtures.github_actions import SimulatedGitHub

pytestmark = [
    pytest.mark.act,
    pytest.mark.slow,
    pytest.mark.skipif(not github_actions.ACT.exists(), reason="act is not installed"),
    pytest.mark.skipif(shutil.which("node") is None, reason="act's hashFiles needs node"),
    pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="the workflows ask for another Python"),
]


@pytest.fixture(scope="module")
def github(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimulatedGitHub]:
    """A repository with the project and an issue of the watch."""
    folder = tmp_path_factory.mktemp("github")
    project = bake_project(tmp_path_factory.mktemp("baked"), project="visits")
    origin = folder / "origin.git"
    run_git(folder, "init", "--quiet", "--bare", "--initial-branch=main", str(origin))
    run_git(project, "add", "--all")
    who = ("-c", "user.name=T", "-c", "user.email=t@example.invalid")
    run_git(project, *who, "commit", "--quiet", "--allow-empty", "--message", "Begin")
    run_git(project, "push", "--quiet", str(origin), "HEAD:refs/heads/main")
    with GitHubDouble(github_actions.REPOSITORY, git=origin) as double:
        made = SimulatedGitHub(folder, origin, double)
        github_actions.prepare_tools(made, project)
        issue = double.add_issue(1, "Production", author=ACTIONS, labels=[monitoring_issue.LABEL])
        finding = Finding(trouble="performance", level="alarm", check="loss", words="It is worse.")
        episode = Episode(trouble="performance", since="2026-11-20", words="It is worse.", told=True)
        state = TroubleState(
            trouble="performance", standing="alarm", findings=[finding], episode=episode, calm_needed=7
        )
        issue.body = monitoring_issue.render_issue(state, now="2026-11-26T06:00:00Z").body
        yield made
    assert double.violations == []


def tick(github: SimulatedGitHub, by: str) -> dict[str, Any]:
    """Tick *Acknowledge*; the event that GitHub sends of it."""
    issue = github.double.state.issues[1]
    before = monitoring_issue.untick_boxes(issue.body or "")
    issue.body = before.replace("- [ ] **Acknowledge", "- [x] **Acknowledge")
    payload = github.double._payloads()
    told = payload.build_issue(issue) | {"user": {"login": ACTIONS, "type": "Bot"}}
    return {
        "action": "edited",
        "issue": told,
        "changes": {"body": {"from": before}},
        "sender": {"login": by, "type": "User"},
        "repository": payload.build_repository(github_actions.REPOSITORY),
    }


def test_a_tick_of_a_stranger_is_refused_and_nothing_is_watched_for_it(github: SimulatedGitHub) -> None:
    ran = github.run_act("issues", "monitor.yaml", tick(github, "mallory"))
    assert ran.jobs == {"decide": "failure"}, ran.log
    (comment,) = github.double.list_comments(1)
    assert "mallory" in comment.body
    assert "[x]" not in (github.double.state.issues[1].body or "")


def test_a_tick_of_somebody_who_may_write_is_obeyed_and_production_is_looked_at_for_it(
    github: SimulatedGitHub,
) -> None:
    github.double.state.permissions["ada"] = "write"
    ran = github.run_act("issues", "monitor.yaml", tick(github, "ada"))
    assert ran.jobs["decide"] == "success", ran.log
    assert "watch" in ran.jobs
    assert "**ada** has acknowledged this" in github.double.list_comments(1)[-1].body


def test_an_edit_of_another_issue_starts_nothing(github: SimulatedGitHub) -> None:
    event = tick(github, "ada")
    event["issue"]["labels"] = []
    assert github.run_act("issues", "monitor.yaml", event, may_skip=True).jobs == {}


def test_the_schedule_starts_the_review_that_opening_a_retrain_pull_request_did_not(
    github: SimulatedGitHub, tmp_path: Path
) -> None:
    head = github.find_head("main")
    run_git(github.origin, "branch", "retrain/2026-11-26", head)
    body = RetrainMarker("performance", "2026-11-20", "0" * 16).format_line()
    github.double.add_pull(7, head, branch="retrain/2026-11-26", author=ACTIONS, body=body)
    repository = github.double._payloads().build_repository(github_actions.REPOSITORY)
    ran = github.run_act("schedule", "monitor.yaml", {"schedule": "47 4 * * *", "repository": repository})
    assert ran.jobs["start"] == "success", ran.log
    assert github.double.state.started == [("pull-request.yaml", "retrain/2026-11-26")]
