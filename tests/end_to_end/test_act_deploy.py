"""deploy.yaml, run by act from a push to production and back: real git, real storage, real ONNX, the double, and a
recording stand-in for the engine that builds and runs images."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cookiecutter.main import cookiecutter

from doubles.github import GitHubDouble
from fixtures import github_actions, release_projects, releases, support
from fixtures.dvc_projects import DvcProject, run_git
from fixtures.github_actions import SimulatedGitHub, WorkflowResult
from fixtures.release_projects import ReleaseProject, write_model

pytestmark = [
    pytest.mark.act,
    pytest.mark.slow,
    pytest.mark.skipif(not github_actions.ACT.exists(), reason="act is not installed"),
    pytest.mark.skipif(shutil.which("node") is None, reason="act's hashFiles needs node"),
    pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="the workflows ask for another Python"),
]

BETTER = (2.1, -1.5, 1.0, 0.6, 0.3, 0.0)


@dataclass
class Site:
    """The repository on GitHub, and a maintainer's clone of it."""

    github: SimulatedGitHub
    project: ReleaseProject

    def train(self, weights: tuple[float, ...]) -> None:
        """Another model, in storage."""
        write_model(self.project.folder, weights)
        self.project.desk.dvc("commit", "--force", "--quiet")
        self.project.desk.bots("storage", "push")

    def pushed(self) -> WorkflowResult:
        return self.run("push", {"ref": "refs/heads/main", "after": self.github.find_head("main")})

    def by_hand(self, branch: str = "main", **inputs: str) -> WorkflowResult:
        """Run workflow, as a person does who chooses a branch."""
        event = {
            "ref": f"refs/heads/{branch}",
            "inputs": {"stage": "production", "rollback": "", "paused": "leave it", "model": "", **inputs},
        }
        return self.run("workflow_dispatch", event, at=branch, may_skip=branch != "main")

    def run(
        self, name: str, event: dict[str, Any], *, at: str = "main", may_skip: bool = False
    ) -> WorkflowResult:
        repository = self.project.double._payloads().build_repository(github_actions.REPOSITORY)
        payload = {**event, "repository": repository | {"private": False}}
        return self.github.run_act(name, "deploy.yaml", payload, at=at, may_skip=may_skip)

    def comment(self, number: int, body: str, *, by: str) -> WorkflowResult:
        """Write a comment below a merged pull request, and run what that starts."""
        made = self.project.double.add_comment(number, body, by)
        payloads = self.project.double._payloads()
        event = {
            "action": "created",
            "issue": {"number": number, "state": "closed", "labels": [], "pull_request": {"url": "x"}},
            "comment": {"id": made.id, "body": body, "created_at": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"},
            "sender": {"login": by, "type": "User"},
            "repository": payloads.build_repository(github_actions.REPOSITORY) | {"private": False},
        }
        return self.github.run_act("issue_comment", "commands.yaml", event, run=made.id)

    def list_versions(self) -> list[dict[str, Any]]:
        """The registry, the newest version first."""
        return list(json.loads(self.project.spawn_bots("models", "--json").stdout))

    def noted(self, kind: str) -> list[str]:
        path = self.github.folder / "keeps" / "registry" / kind
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Main with a first model that nobody reviewed; nothing was released yet."""
    folder = tmp_path_factory.mktemp("site")
    cookiecutter(
        str(support.ROOT),
        no_input=True,
        output_dir=str(folder),
        extra_context={"project": "visits"},
        default_config=True,
    )
    desk = DvcProject(folder / "visits")
    release_projects.write_pipeline(desk.folder)
    with (desk.folder / ".github/registry.keys").open("a") as keys:
        keys.write(releases.SIGNER.format_line("of the tests"))
    (desk.folder / "deploy").mkdir(exist_ok=True)
    (desk.folder / "deploy/compose.yaml").touch()
    origin = folder / "origin.git"
    run_git(folder, "init", "--quiet", "--bare", "--initial-branch=main", str(origin))
    for setting in ("uploadpack.allowAnySHA1InWant", "uploadpack.allowFilter"):
        run_git(origin, "config", setting, "true")
    desk.git("remote", "add", "origin", str(origin))
    with GitHubDouble(github_actions.REPOSITORY, git=origin) as double:
        double.state.permissions["grace"] = "write"
        made = SimulatedGitHub(folder, origin, double)
        made.secrets = {"REGISTRY_KEY": releases.SECRET}
        made.extra = {
            "GITHUB_TRIGGERING_ACTOR": "grace",
            "PYTHONPATH": os.pathsep.join(
                [str(release_projects.RECORDING_SITE), str(support.ROOT / "tests")]
            ),
            "RECORDING": str(folder / "engine.json"),
        }
        github_actions.prepare_tools(made, desk.folder)
        site = Site(made, ReleaseProject(desk, double))
        site.train(release_projects.WEIGHTS)
        site.project.commit("Train the first model")
        yield site
    assert double.violations == []


def test_from_the_first_model_to_a_better_one_and_back(site: Site) -> None:
    first = site.pushed()
    assert first.jobs == {"release": "failure", "others": "success"}
    assert "came to main without a pull request" in first.log
    assert site.project.list_tags() == []

    accepted = site.by_hand(reason="the first model; $(touch /tmp/never)")
    stages_of_push = dict.fromkeys(("release", "staging", "dashboard", "production"), "success")
    assert accepted.jobs == stages_of_push, accepted.log
    assert site.noted("attest")[0].startswith("ghcr.io/octo-org/visits@sha256:")
    assert all(line.startswith("ghcr.io as ") for line in site.noted("login"))

    site.train(BETTER)
    number = site.project.merge()
    better = site.pushed()
    assert better.jobs == {**stages_of_push, "others": "success"}, better.log
    assert "declares no other model" in better.log
    (board,) = [one for one in site.project.double.state.issues.values() if "dashboard" in one.labels]
    assert "| production |" in (board.body or "")
    assert site.project.double.state.started == []
    (comment,) = site.project.list_comments(number)
    assert "**v1.1.0 runs in production**" in comment
    assert "actions/runs/" in comment
    rolled = [call for call in site.project.list_calls() if call[0] == "roll_out"]
    stages = [
        ["roll_out", stage, version]
        for version in ("v1.0.0", "v1.1.0")
        for stage in ("staging", "production")
    ]
    assert rolled == stages

    (site.project.folder / "README.md").write_text("words\n")
    site.project.merge("Say more", title="Equivalent")
    words = site.pushed()
    assert words.jobs == {"release": "success", "others": "success"}
    assert "Nothing to release: v1.1.0 is." in words.log
    assert len(site.noted("attest")) == 3  # vouching again for the same digest changes nothing

    back = site.by_hand(reason="complaints", rollback="previous")
    assert back.jobs == {"rollback": "success"}, back.log
    assert site.project.list_calls()[-1] == ["restore", "production", "v1.0.0"]
    assert "v1.1.0 is not in production any more" in site.project.list_comments(number)[0]
    stages_now = json.loads(site.project.spawn_bots("models", "--json").stdout)
    assert [one["release"]["version"] for one in stages_now if one["stages"]] == ["v1.1.0", "v1.0.0"]
    assert not Path("/tmp/never").exists()


def test_a_paused_version_is_looked_at_by_the_schedule_and_promoted_by_hand(site: Site) -> None:
    site.train((2.2, -1.5, 1.0, 0.6, 0.3, 0.0))
    number = site.project.merge("Better still")
    does = site.project.log.with_name("engine-does.json")
    does.write_text(json.dumps({"roll_out": "pause production"}))
    pushed = site.pushed()
    ended = {
        **dict.fromkeys(("release", "staging", "dashboard", "others"), "success"),
        "production": "failure",
    }
    assert pushed.jobs == ended, pushed.log
    assert "is paused" in site.project.list_comments(number)[0]
    looked = site.run("schedule", {"schedule": "23 5 * * *"})
    assert looked.jobs == {"look": "success", "resume": "success", "others": "success"}, looked.log
    assert "nobody can tell" in looked.log or "is paused" in looked.log
    by_hand = site.by_hand(reason="few people fly in February", paused="promote it")
    assert by_hand.jobs == {"look": "success", "resume": "success"}, by_hand.log
    assert site.project.list_calls()[-1][:2] == ["restore", "production"]
    does.write_text("{}")
    assert site.run("schedule", {"schedule": "23 5 * * *"}).jobs == {
        "look": "success",
        "others": "success",
    }


def test_what_people_write_below_a_release_is_done_in_a_run_of_theirs_and_a_stranger_starts_no_second_job(
    site: Site,
) -> None:
    if not site.project.list_tags():
        site.by_hand(reason="the first model")
        site.train(BETTER)
        site.project.merge()
        site.pushed()
    running = next(
        one for one in site.list_versions() if "production" in [at["stage"] for at in one["stages"]]
    )
    number, version = running["release"]["pull_request"], running["release"]["version"]
    calls = site.project.list_calls()
    stranger = site.comment(number, "/rollback $(touch /tmp/never)", by="mallory")
    assert stranger.jobs == {"respond": "success"}, stranger.log
    assert site.project.list_calls() == calls
    asked = site.comment(number, "/rollback it is bad; $(touch /tmp/never)", by="grace")
    assert asked.jobs == {"respond": "success", "act": "success"}, asked.log
    (call,) = site.project.list_calls()[len(calls) :]
    assert call[:2] == ["restore", "production"]
    assert call[2] != version
    now = next(one for one in site.list_versions() if one["release"]["version"] == call[2])
    put = next(at for at in now["stages"] if at["stage"] == "production")
    assert put["by"] == "grace"
    assert put["reason"] == f"grace asked in #{number}: it is bad; $(touch /tmp/never)"
    replies = [one.body for one in site.project.double.list_comments(number) if "model-answer" in one.body]
    assert [("(not done)" in one) for one in replies] == [True, False]
    assert not Path("/tmp/never").exists()


def test_run_workflow_from_a_side_branch_runs_nothing_and_changes_nothing(site: Site) -> None:
    site.project.desk.git("push", "--quiet", "--force", "origin", "HEAD:refs/heads/side")
    tags, calls, logins = site.project.list_tags(), site.project.list_calls(), site.noted("login")
    for inputs in ({"reason": "mine now"}, {"reason": "mine now", "rollback": "previous"}):
        ran = site.by_hand(branch="side", **inputs)
        assert (ran.jobs, ran.steps) == ({}, {}), ran.log
    assert (site.project.list_tags(), site.project.list_calls(), site.noted("login")) == (tags, calls, logins)
