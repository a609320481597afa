"""What can be said of the generated workflows without running them: permissions, pins, limits, names, lint."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest
import yaml

from bots.naming import ALONE
from bots.render.dashboard import LABEL
from bots.respond.approve import TESTS
from bots.respond.respond import list_outputs
from fixtures import github_actions
from fixtures.baking import bake_project
from fixtures.support import TEMPLATE

SCRIPTS = Path(sysconfig.get_path("scripts"))
NAMES = (
    "pull-request",
    "publish",
    "deploy",
    "caches",
    "stale",
    "monitor",
    "history",
    "commands",
    "dashboard",
    "update",
)

# Read from the actions' own repositories: a tag, and the commit that it named on that day.
PINS = {
    "actions/checkout": ("v7.0.1", "3d3c42e5aac5ba805825da76410c181273ba90b1"),
    "actions/setup-python": ("v7.0.0", "5fda3b95a4ea91299a34e894583c3862153e4b97"),
    "actions/cache": ("v5.0.5", "27d5ce7f107fe9357f9df03efb73ab90386fccae"),
    "actions/upload-artifact": ("v7.0.0", "bbbca2ddaa5d8feaa63e36b76fdaad77386f024f"),
    "actions/download-artifact": ("v8.0.1", "3e5f45b2cfb9172054b4087a40e8e0b5a5461e7c"),
    "aws-actions/configure-aws-credentials": ("v6.2.3", "e6de054238d6b7531b4efff3b6587d9aade6a06c"),
    "google-github-actions/auth": ("v3.0.0", "7c6bc770dae815cd3e89ee6cdf493a5fab2cc093"),
    "Azure/login": ("v3.0.1", "f5d393ae46f8fde4be8b75f32e3fc50e654ad0ca"),
    "docker/login-action": ("v4.1.0", "4907a6ddec9925e35a0a9e82d7399ccc52663121"),
    "actions/attest-build-provenance": ("v4.1.0", "a2bbfa25375fe432b6a289bc6b6cd05ecd0c4c32"),
    "actions/create-github-app-token": ("v3.1.1", "1b10c78c7865c340bc4f6099eb2f838309f1e8c3"),
    "actions/upload-pages-artifact": ("v5.0.0", "fc324d3547104276b827a68afc52ff2a11cc49c9"),
    "actions/deploy-pages": ("v5.0.0", "cd2ce8fcbc39b97be8ca5fce6e763baed58fa128"),
}

# What each job may do beyond nothing.
GRANTS = {
    "pull-request": {"review": {"contents": "read", "id-token": "write"}},
    "stale": {
        "stale": {"checks": "write", "contents": "read", "pull-requests": "read"},
        "update": {"actions": "write", "checks": "read", "contents": "write", "pull-requests": "write"},
        "update-as-app": {"checks": "read", "contents": "read", "pull-requests": "write"},
    },
    "history": {
        "page": {
            "checks": "read",
            "contents": "read",
            "id-token": "write",
            "issues": "read",
            "pull-requests": "read",
        },
        "site": {"id-token": "write", "pages": "write"},
    },
    "dashboard": {
        "dashboard": {"checks": "read", "contents": "read", "issues": "write", "pull-requests": "read"}
    },
    "caches": {"save": {"contents": "read", "id-token": "write"}},
    "update": {
        "fetch": {"contents": "read"},
        "bake": {"contents": "read"},
        "propose": {"contents": "write", "issues": "write", "pull-requests": "write"},
        "start": {"actions": "write", "checks": "read", "contents": "read", "pull-requests": "read"},
    },
    "monitor": {
        "decide": {"contents": "read", "issues": "write"},
        "watch": {
            "checks": "read",
            "contents": "write",
            "id-token": "write",
            "issues": "write",
            "pull-requests": "write",
        },
        "week": {"contents": "read", "id-token": "write"},
        "start": {"actions": "write", "checks": "read", "contents": "read", "pull-requests": "read"},
    },
    "publish": {
        "announce": {"checks": "write", "contents": "read", "pull-requests": "read"},
        "collect": {"actions": "read", "contents": "read", "id-token": "write"},
        "verify": {"contents": "read"},
        "publish": {"actions": "read", "checks": "write", "contents": "read", "pull-requests": "write"},
        "look": {"contents": "write"},
        "lock": {
            "actions": "read",
            "checks": "write",
            "contents": "write",
            "id-token": "write",
            "pull-requests": "read",
        },
    },
    "commands": {
        "respond": {
            "actions": "write",
            "checks": "write",
            "contents": "write",
            "issues": "write",
            "pull-requests": "write",
        },
        "act": {
            "checks": "read",
            "contents": "write",
            "issues": "write",
            "packages": "read",
            "pull-requests": "write",
        },
    },
    "deploy": {
        "release": {
            "attestations": "write",
            "checks": "read",
            "contents": "write",
            "id-token": "write",
            "issues": "write",
            "packages": "write",
            "pull-requests": "write",
        },
        **{
            stage: {
                **({"actions": "read"} if stage != "rollback" else {}),
                "checks": "read",
                "contents": "write",
                "issues": "write",
                "packages": "read",
                "pull-requests": "write",
            }
            for stage in ("staging", "production", "resume", "rollback")
        },
        "others": {"actions": "write", "contents": "read"},
        "dashboard": {"checks": "read", "contents": "read", "issues": "write", "pull-requests": "read"},
        "look": {"contents": "read"},
    },
}


def text(name: str) -> str:
    return (TEMPLATE / github_actions.WORKFLOWS / f"{name}.yaml").read_text(encoding="utf-8")


def workflow(name: str) -> dict[str, Any]:
    """A workflow; `on`, which YAML 1.1 takes for true, under its own name."""
    document = yaml.safe_load(text(name))
    document["on"] = document.pop(True)
    return document


def jobs(name: str) -> list[tuple[str, dict[str, Any]]]:
    return list(workflow(name)["jobs"].items())


def steps(name: str) -> list[dict[str, Any]]:
    return [step for _, job in jobs(name) for step in job["steps"]]


ACTION = TEMPLATE / ".github/actions/setup/action.yaml"


@pytest.mark.parametrize("name", NAMES)
def test_a_workflow_says_first_what_starts_it_and_why_it_is_there(name: str) -> None:
    header = text(name).split("name:", maxsplit=1)[0]
    assert all(line.startswith("#") for line in header.splitlines())
    assert "Starts " in header


@pytest.mark.parametrize("name", NAMES)
def test_a_job_may_do_what_it_needs_and_no_more(name: str) -> None:
    assert workflow(name)["permissions"] == {}
    assert {job: settings["permissions"] for job, settings in jobs(name)} == GRANTS[name]


@pytest.mark.parametrize("name", NAMES)
def test_every_job_ends_in_time_on_a_runner_that_a_team_can_choose(name: str) -> None:
    for _, job in jobs(name):
        assert job["timeout-minutes"]
        assert re.fullmatch(r"\$\{\{ vars\.(BOT_)?RUNNER \|\| 'ubuntu-latest' \}\}", job["runs-on"])


def test_a_machine_that_runs_a_changes_code_gets_no_token_that_writes() -> None:
    writing = {job["runs-on"] for _, job in jobs("publish")}
    assert writing.isdisjoint(job["runs-on"] for _, job in jobs("pull-request"))


def test_a_newer_push_cancels_a_review_and_nothing_that_writes() -> None:
    review, said = workflow("pull-request")["concurrency"], workflow("publish")["concurrency"]
    assert review["cancel-in-progress"] is True
    assert said["cancel-in-progress"] is False
    assert "head_branch" in said["group"]
    assert "head_repository.full_name" in said["group"]


def test_publish_follows_the_review_from_its_start_to_its_end() -> None:
    assert set(workflow("pull-request")["on"]) == {"pull_request", "merge_group", "workflow_dispatch"}
    assert workflow("publish")["on"] == {
        "workflow_run": {"workflows": [workflow("pull-request")["name"]], "types": ["requested", "completed"]}
    }


def test_another_base_is_reviewed_and_other_words_are_not() -> None:
    review, said = workflow("pull-request"), workflow("publish")
    assert "edited" in review["on"]["pull_request"]["types"]
    assert review["jobs"]["review"]["if"] == (
        "${{ github.event.action != 'edited' || github.event.changes.base }}"
    )
    # Such a run cancels no review, announces nothing, and takes nobody's turn.
    words = "github.event.action == 'edited' && !github.event.changes.base"
    assert f"{words} && format('-words-{{0}}', github.run_id)" in review["concurrency"]["group"]
    assert f"{words} && 'Nothing to review'" in review["run-name"]
    assert "display_title != 'Nothing to review'" in said["jobs"]["announce"]["if"]
    assert "display_title == 'Nothing to review'" in said["jobs"]["publish"]["if"]
    assert (
        "display_title == 'Nothing to review' && format('-{0}', github.run_id)"
        in said["concurrency"]["group"]
    )


def test_a_review_by_hand_takes_no_choices_and_cancels_none_of_a_pull_request() -> None:
    review, said = workflow("pull-request"), workflow("publish")
    assert review["on"]["workflow_dispatch"] is None
    assert "|| format('branch-{0}', github.ref_name) }}" in review["concurrency"]["group"]
    assert "|| github.ref_name) }}" in review["run-name"]
    started = [job["if"] for job in said["jobs"].values() if "workflow_run.event)" in job.get("if", "")]
    # The lock too: the bots start the review of what they pushed themselves, and its model is kept as any other.
    assert len(started) == 4
    assert all('"workflow_dispatch"]' in one for one in started)


def test_no_title_of_a_pull_request_is_taken_for_nothing_to_review() -> None:
    assert "format('Review: {0}', github.event.pull_request.title" in workflow("pull-request")["run-name"]


def test_nothing_of_a_pull_request_is_checked_out_where_something_can_be_written() -> None:
    for step in steps("publish"):
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"] == {"persist-credentials": False}
        if step.get("uses", "").startswith("actions/download-artifact@"):
            assert step["with"]["path"].startswith("${{ runner.temp }}/")
        if " download " in step.get("run", ""):
            assert '--out "$RUNNER_TEMP/' in step["run"]


def test_what_another_run_uploaded_is_fetched_by_the_bots_within_limits_alone() -> None:
    unbounded = [
        step
        for name in NAMES
        for step in steps(name)
        if "actions/download-artifact@" in step.get("uses", "") and "run-id" in step["with"]
    ]
    assert unbounded == []
    fetched = [step["run"] for step in steps("publish") if " download " in step.get("run", "")]
    assert {run.split(" download ")[1].split()[0] for run in fetched} == {"review", "model"}


def test_where_a_model_is_asked_there_is_no_token_no_login_and_nothing_that_can_be_written() -> None:
    verify = workflow("publish")["jobs"]["verify"]

    assert "secrets." not in json.dumps(verify)
    assert "token" not in json.dumps(verify)
    assert not any("env" in step for step in verify["steps"])
    assert not any(step["name"].startswith("Log in") for step in verify["steps"])


def test_the_review_is_said_after_its_verification_whatever_became_of_that() -> None:
    publish = workflow("publish")["jobs"]["publish"]

    assert publish["needs"] == ["collect", "verify"]
    assert publish["if"].startswith("${{ !cancelled() && ")
    assert "verification" in next(step["run"] for step in publish["steps"] if step["name"] == "Publish")


def test_the_review_knows_no_secret_and_leaves_no_login_behind() -> None:
    assert "secrets." not in text("pull-request")
    checkouts = [step for step in steps("pull-request") if "actions/checkout@" in step.get("uses", "")]
    assert all(step["with"]["persist-credentials"] is False for step in checkouts)
    assert checkouts[-1]["with"]["ref"] == (
        "${{ github.event.pull_request.head.sha || github.event.merge_group.head_sha || github.sha }}"
    )


def test_a_branch_is_checked_out_by_its_whole_name_so_that_none_that_begins_like_it_comes_along() -> None:
    refs = [step["with"]["ref"] for name in NAMES for step in steps(name) if "ref" in step.get("with", {})]
    assert refs
    by_hash = re.compile(r"\$\{\{ github[\w.]+sha( \|\| github[\w.]+sha)* \}\}")
    assert all(ref.startswith("refs/heads/") or by_hash.fullmatch(ref) for ref in refs), refs
    base = workflow("pull-request")["jobs"]["review"]["env"]["BASE"]
    assert base.startswith("refs/remotes/origin/")


def test_only_a_branch_of_this_repository_is_locked_and_only_after_its_review_was_said() -> None:
    lock = workflow("publish")["jobs"]["lock"]
    assert lock["needs"] == "publish"
    assert "head_repository.full_name == github.repository" in lock["if"]


def test_no_fork_logs_in_to_a_cloud_and_nobody_with_a_stored_key() -> None:
    for name in NAMES:
        for step in steps(name):
            if step["name"].startswith("Log in"):
                if step["name"] == "Log in to the registry":
                    continue
                assert set(re.findall(r"\b(secrets|vars)\.", json.dumps(step))) == {"vars"}
                assert name != "pull-request" or "env.FORK == 'false'" in step["if"]


@pytest.mark.parametrize("file", github_actions.list_workflow_files(TEMPLATE), ids=lambda path: path.name)
def test_every_action_is_the_one_that_was_read(file: Path) -> None:
    for line in file.read_text(encoding="utf-8").splitlines():
        if not (found := re.search(r"uses: (\S+)(?: # (\S+))?$", line)) or found[1].startswith("./"):
            continue
        name, _, commit = found[1].partition("@")
        assert (found[2], commit) == PINS["/".join(name.split("/")[:2])], line


@pytest.mark.parametrize("file", github_actions.list_workflow_files(TEMPLATE), ids=lambda path: path.name)
def test_values_reach_a_shell_by_its_environment_and_more_than_three_lines_are_python(file: Path) -> None:
    def runs(value: Any) -> list[str]:
        if isinstance(value, dict):
            own = [value["run"]] if isinstance(value.get("run"), str) else []
            return own + [run for inner in value.values() for run in runs(inner)]
        return [run for inner in value for run in runs(inner)] if isinstance(value, list) else []

    for run in runs(yaml.safe_load(file.read_text(encoding="utf-8"))):
        assert "${{" not in run
        assert len(run.strip().splitlines()) <= 3


@pytest.mark.parametrize("file", github_actions.list_workflow_files(TEMPLATE), ids=lambda path: path.name)
def test_a_stand_in_knows_every_input_that_the_real_action_is_given(file: Path) -> None:
    for used, step in github_actions.find_uses(yaml.safe_load(file.read_text(encoding="utf-8"))):
        if used.startswith("./"):
            place = TEMPLATE / used / "action.yaml"
        else:
            name = used.partition("@")[0]
            repository, below = "/".join(name.split("/")[:2]), name.split("/")[2:]
            place = github_actions.ACTIONS.joinpath(
                github_actions.STAND_INS[repository], *below, "action.yml"
            )
        known = yaml.safe_load(place.read_text(encoding="utf-8")).get("inputs", {})
        assert set(step.get("with", {})) <= set(known)


def test_only_runs_of_the_default_branch_save_a_cache() -> None:
    default = "github.ref == format('refs/heads/{0}', github.event.repository.default_branch)"
    saving = [
        step for step in yaml.safe_load(ACTION.read_text(encoding="utf-8"))["runs"]["steps"] if saves(step)
    ]
    assert len(saving) == 1
    assert default in saving[0]["if"]
    assert "!startsWith(github.event_name, 'pull_request')" in saving[0]["if"]
    assert {name for name in NAMES for step in steps(name) if saves(step)} == {"caches"}
    assert workflow("caches")["on"] == {"push": {"branches": ["main"]}}


def saves(step: dict[str, Any]) -> bool:
    return bool(re.match(r"actions/cache(/save)?@", step.get("uses", "")))


def test_what_a_stage_once_gave_is_in_no_cache() -> None:
    restored = [
        step["with"]["path"] for name in NAMES for step in steps(name) if "/restore@" in step.get("uses", "")
    ]
    assert set(restored) == {".dvc/cache/files", ".packages", ".wheels"}


def test_a_pull_request_restores_nothing_that_runs_and_finds_the_packages_that_main_saved() -> None:
    found = yaml.safe_load(ACTION.read_text(encoding="utf-8"))["runs"]["steps"]
    names = [step["name"] for step in found]
    tools, packages, wheels = (
        step for step in found if "/restore@" in step.get("uses", "") and "path" in step["with"]
    )
    assert tools["with"]["path"] == ".venv"
    assert "!startsWith(github.event_name, 'pull_request')" in tools["if"]
    assert "github.ref == format('refs/heads/{0}', github.event.repository.default_branch)" in tools["if"]
    saved = {
        step["with"]["path"]: step["with"]["key"]
        for step in steps("caches")
        if "/restore@" in step.get("uses", "")
    }
    assert packages["with"]["key"].replace("${{ inputs.room }}", "dev") == saved[".packages"]
    assert (wheels["with"]["path"], wheels["with"]["key"]) == (".wheels", saved[".wheels"])
    cleaning = next(step for step in found if step["name"] == "Remove packages that no lock file names")
    assert all(
        f'keep_known.py" {folder} requirements' in cleaning["run"] for folder in (".packages", ".wheels")
    )
    assert names.index("Remove packages that no lock file names") < names.index("Install the tools")


def test_only_packages_that_a_lock_file_names_by_their_hash_are_left(tmp_path: Path) -> None:
    packages, requirements = tmp_path / ".packages", tmp_path / "requirements"
    packages.mkdir()
    requirements.mkdir()
    (packages / "good-1.0-py3-none-any.whl").write_bytes(b"good")
    (packages / "setuptools-999-py3-none-any.whl").write_bytes(b"evil")
    (packages / "changed-1.0-py3-none-any.whl").write_bytes(b"changed")
    (packages / "link-1.0-py3-none-any.whl").symlink_to(packages / "good-1.0-py3-none-any.whl")
    (packages / "folder").mkdir()
    (packages / "folder/x.whl").write_bytes(b"evil")
    known = hashlib.sha256(b"good").hexdigest()
    (requirements / "dev.txt").write_text(f"good==1.0 \\\n    --hash=sha256:{known}\n", encoding="utf-8")
    tool = ACTION.parent / "keep_known.py"
    words = [sys.executable, str(tool), str(packages), str(requirements)]
    done = subprocess.run(words, text=True, capture_output=True, check=True)
    assert [path.name for path in packages.iterdir()] == ["good-1.0-py3-none-any.whl"]
    assert len(done.stdout.splitlines()) == 4
    (tmp_path / "away").mkdir()
    subprocess.run([*words[:2], str(tmp_path / "none"), str(requirements)], check=True)


def test_an_environment_is_cached_for_the_interpreter_that_it_names_by_path() -> None:
    found = yaml.safe_load(ACTION.read_text(encoding="utf-8"))["runs"]["steps"]
    restore, *_ = [step for step in found if "key" in step.get("with", {})]
    assert "steps.python.outputs.python-path" in restore["with"]["key"]


def test_a_copied_environment_whose_interpreter_is_not_here_is_not_taken_for_complete(tmp_path: Path) -> None:
    project = bake_project(tmp_path / "out")
    (project / ".venv/bin").mkdir(parents=True)
    (project / ".venv/bin/python").symlink_to("/not/here/python")
    (project / ".venv/lock").write_bytes((project / "requirements/dev.txt").read_bytes())
    words = ["make", "setup", "PYTHON=/bin/false"]
    done = subprocess.run(words, cwd=project, text=True, capture_output=True, check=False)
    assert done.returncode == 2
    assert "ERROR: Python 3.11 or newer is needed" in done.stderr


def script(action: str, step: str) -> str:
    """What a step of one of the project's own actions runs."""
    text = (TEMPLATE / f".github/actions/{action}/action.yaml").read_text(encoding="utf-8")
    return next(one["run"] for one in yaml.safe_load(text)["runs"]["steps"] if one["name"] == step)


@pytest.mark.skipif(shutil.which("ssh-agent") is None, reason="ssh is not installed")
def test_a_deploy_key_is_in_an_agent_alone_and_nothing_is_left_of_it(tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "key")], check=True)
    key = (tmp_path / "key").read_text(encoding="utf-8")
    (tmp_path / "key").unlink()
    home, temp = tmp_path / "home", tmp_path / "temp"
    home.mkdir()
    temp.mkdir()
    job = {
        "HOME": str(home),
        "RUNNER_TEMP": str(temp),
        "GITHUB_ENV": str(temp / "env"),
        "PATH": os.environ["PATH"],
    }

    def run(words: str, **more: str) -> str:
        done = subprocess.run(
            ["bash", "-e", "-c", words], env=job | more, text=True, capture_output=True, check=True
        )
        return done.stdout

    run(script("reach", "Hand the key to an agent"), KEY=key)
    run(script("reach", "Lay the service's secrets down"), CONTENT="SERVING_API_KEYS=secret")
    agent = dict([(temp / "env").read_text(encoding="utf-8").strip().split("=", 1)])
    assert "ED25519" in run("ssh-add -l", **agent)
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not any("PRIVATE KEY" in path.read_text(encoding="utf-8", errors="replace") for path in written)

    for step in ("Stop the agent", "Remove the files"):
        run(script("leave", step))
    with pytest.raises(subprocess.CalledProcessError):
        run("ssh-add -l", **agent)
    assert not (temp / "service.env").exists()
    for step in ("Stop the agent", "Remove the files"):
        run(script("leave", step))  # a job that was given no key leaves like any other


def test_a_job_that_is_given_keys_leaves_none_behind_however_it_ends() -> None:
    for name, job in jobs("deploy"):
        used = [(step.get("uses"), step.get("if")) for step in job["steps"]]
        if ("./.github/actions/reach", None) in used:
            assert used[-1] == ("./.github/actions/leave", "${{ always() }}"), name


def test_the_step_whose_failure_forbids_an_approval_is_the_one_that_runs_the_tests() -> None:
    (step,) = [one for one in steps("pull-request") if one.get("run") == "make test"]
    assert step["name"] == TESTS


def test_a_comment_or_a_tick_of_a_person_is_answered_each_in_a_run_of_its_own() -> None:
    commands = workflow("commands")
    assert commands["on"] == {"issue_comment": {"types": ["created"]}, "issues": {"types": ["edited"]}}
    assert "github.event.comment.id || github.run_id" in commands["concurrency"]["group"]
    condition = commands["jobs"]["respond"]["if"]
    assert "github.event.sender.type == 'User' && (" in condition
    assert f"contains(github.event.issue.labels.*.name, '{LABEL}')" in condition


def test_a_comment_changes_production_in_the_environment_that_the_answer_names_and_hands_words_over_as_data() -> (
    None
):
    respond, act = (workflow("commands")["jobs"][key] for key in ("respond", "act"))
    assert act["needs"] == "respond"
    assert act["if"] == "${{ needs.respond.outputs.act }}"
    assert act["environment"] == "${{ needs.respond.outputs.environment }}"
    assert set(respond["outputs"]) == set(list_outputs(None))
    assert act["steps"][-1]["uses"] == "./.github/actions/leave"
    assert act["steps"][-1]["if"].startswith("${{ always() ")
    # Nothing of a comment stands in the workflow but by what the bots made of it.
    assert "github.event.comment.body" not in json.dumps(act)
    runs = [step["run"] for step in act["steps"] if "run" in step]
    assert len(runs) == 2
    assert not [run for run in runs if "${{" in run]


def test_run_workflow_does_nothing_from_a_side_branch() -> None:
    assert "workflow_dispatch" in workflow("deploy")["on"]
    for name, job in jobs("deploy"):
        assert (
            "github.ref == format('refs/heads/{0}', github.event.repository.default_branch)" in job["if"]
        ), name


def test_production_is_watched_from_the_default_branch_alone_and_no_run_pushes_another_out() -> None:
    watch = workflow("monitor")["jobs"]["watch"]
    assert "github.ref == format('refs/heads/{0}', github.event.repository.default_branch)" in watch["if"]
    assert "github.event_name == 'schedule'" in watch["if"]
    assert watch["environment"] == "monitoring"
    assert watch["concurrency"]["cancel-in-progress"] is False
    assert watch["steps"][-1]["uses"] == "./.github/actions/leave"
    assert "monitoring: {branches: [main]" in (TEMPLATE / ".github/protection.yaml").read_text(
        encoding="utf-8"
    )


def test_the_pipeline_s_code_draws_the_week_where_no_secret_of_production_is() -> None:
    jobs_of = workflow("monitor")["jobs"]
    week = jobs_of["week"]
    assert "secrets." not in json.dumps(week)
    assert "environment" not in week
    assert not [name for name in ("DEPLOY_HOST", "reach", "RETRAIN") if name in json.dumps(week)]
    assert week["continue-on-error"] is True
    assert "needs.watch.outputs.week == 'true'" in week["if"]
    # Of the same attempt that watched, also where only this job runs again.
    (got,) = [step for step in week["steps"] if "actions/download-artifact@" in step.get("uses", "")]
    assert got["with"]["name"] == "${{ needs.watch.outputs.artifact }}"
    (kept,) = [step for step in jobs_of["watch"]["steps"] if "upload-artifact@" in step.get("uses", "")]
    assert kept["with"]["name"] == jobs_of["watch"]["outputs"]["artifact"]
    # What watches has the keys, and never runs the pipeline.
    setups = {name: step["with"]["room"] for name in ("watch", "week") for step in jobs_of[name]["steps"]
              if step.get("uses") == "./.github/actions/setup"}  # fmt: skip
    assert setups == {"watch": "bots", "week": "pipeline"}


def test_a_tick_is_obeyed_by_a_job_that_reads_no_secret_and_each_in_a_run_of_its_own() -> None:
    monitor = workflow("monitor")
    assert monitor["on"]["issues"] == {"types": ["edited"]}
    assert "format('issue-{0}', github.run_id)" in monitor["concurrency"]["group"]
    assert "secrets." not in json.dumps(monitor["jobs"]["decide"])
    assert "github.event.sender.type == 'User'" in monitor["jobs"]["decide"]["if"]


def test_the_dashboard_is_written_after_whatever_changes_it_by_main_s_code_without_a_secret() -> None:
    dashboard = workflow("dashboard")
    after = dashboard["on"]["workflow_run"]["workflows"]
    assert set(after) == {workflow(name)["name"] for name in ("publish", "deploy", "monitor", "commands")}
    job = dashboard["jobs"]["dashboard"]
    assert "secrets." not in json.dumps(dashboard)
    assert "github.event.workflow_run.conclusion != 'skipped'" in job["if"]
    assert "github.ref == format('refs/heads/{0}', github.event.repository.default_branch)" in job["if"]
    assert "ref" not in job["steps"][0]["with"]


def test_only_a_job_that_reads_no_secret_may_start_workflows() -> None:
    starting = {
        (name, key)
        for name in NAMES
        for key, job in jobs(name)
        if job["permissions"].get("actions") == "write"
    }
    assert starting == {
        ("monitor", "start"),
        ("commands", "respond"),
        ("stale", "update"),
        ("deploy", "others"),
        ("update", "start"),
    }
    for name, key in starting:
        assert "secrets." not in json.dumps(workflow(name)["jobs"][key])


def test_the_history_follows_each_release_watch_and_command_and_is_public_only_where_its_name_was_given() -> (
    None
):
    history = workflow("history")
    named = [workflow(name)["name"] for name in ("deploy", "monitor", "commands")]
    assert history["on"]["workflow_run"] == {"workflows": named, "types": ["completed"]}
    assert "refs/heads/{0}" in history["jobs"]["page"]["if"]
    assert "secrets." not in text("history")
    site = history["jobs"]["site"]
    assert "vars.HISTORY_PAGES == github.workflow" in site["if"]
    assert all("uses" in step and "run" not in step for step in site["steps"])
    public = [step for step in history["jobs"]["page"]["steps"] if "site" in step["name"].lower()]
    assert {step["if"] for step in public} == {"${{ vars.HISTORY_PAGES == github.workflow }}"}


def test_branches_are_updated_with_the_default_branchs_code_alone_and_no_update_is_cancelled() -> None:
    stale = workflow("stale")
    assert stale["jobs"]["stale"]["if"] == "${{ github.event_name != 'workflow_dispatch' }}"
    for key in ("update", "update-as-app"):
        job = stale["jobs"][key]
        by_hand = "github.ref == format('refs/heads/{0}', github.event.repository.default_branch)"
        assert re.search(rf"inputs\.pull_request\s+&& {re.escape(by_hand)}", job["if"])
        assert job["concurrency"]["cancel-in-progress"] is False
        # What somebody gave reaches no shell but as a value.
        assert "inputs." not in "".join(step.get("run", "") for step in job["steps"])
    apps = [key for key in ("update", "update-as-app") if "!vars.RETRAIN_APP_ID" in stale["jobs"][key]["if"]]
    assert apps == ["update"]


def test_the_template_s_code_is_baked_where_no_secret_and_nothing_to_write_is() -> None:
    bake = workflow("update")["jobs"]["bake"]
    assert "secrets." not in json.dumps(bake)
    assert "token" not in json.dumps(bake)
    assert "environment" not in bake
    assert set(bake["permissions"].values()) == {"read"}
    done = {name: re.findall(r"bots update (\w+)", json.dumps(job)) for name, job in jobs("update")}
    assert done == {"fetch": ["fetch"], "bake": ["bake"], "propose": ["propose"], "start": []}
    # What the machine of the bots keeps, the template's code must not reach.
    assert "BOT_RUNNER" not in bake["runs-on"]


def test_no_job_could_be_taken_for_the_check() -> None:
    called = [job.get("name", key) for name in NAMES for key, job in jobs(name)]
    assert ALONE.check not in [name.lower() for name in called]
    assert len(set(called)) == len(called)


def test_the_choices_that_docs_name_are_the_ones_that_workflows_read() -> None:
    read = {found for name in NAMES for found in re.findall(r"vars\.([A-Z_]+)", text(name))}
    said = (TEMPLATE / "docs/workflows.md").read_text(encoding="utf-8")
    kinds = "AWS|GCP|AZURE|BOT|RUNNER|REVIEW|REGISTRY|IMAGE|ATTEST|DEPLOY|MONITORING|RETRAIN|HISTORY|UPDATE|TEMPLATE"
    names = rf"`((?:{kinds})[A-Z_]*)`"
    secrets = {found for name in NAMES for found in re.findall(r"secrets\.([A-Z_]+)", text(name))}
    assert set(re.findall(names, said)) == read | secrets


def test_a_release_is_never_cancelled_and_no_approval_holds_up_another_stage() -> None:
    groups = [job["concurrency"]["group"] for _, job in jobs("deploy")]
    assert len(set(groups)) == len(groups)
    assert all(job["concurrency"]["cancel-in-progress"] is False for _, job in jobs("deploy"))
    assert "run_id" in workflow("deploy")["concurrency"]["group"]


def test_each_model_has_runs_of_its_own_and_none_waits_for_another() -> None:
    """Every job that changes something is told the model, and its group bears the model's name."""
    deploy = workflow("deploy")
    assert deploy["on"]["workflow_dispatch"]["inputs"]["model"]["default"] == ""
    named = "${{ inputs.model && format('-of-{0}', inputs.model) || '' }}"
    for key, job in jobs("deploy"):
        if key == "others":
            assert "!inputs.model" in job["if"], "a further model's run starts no others"
            assert "github.event_name != 'workflow_dispatch'" in job["if"]
            continue
        assert job["concurrency"]["group"] == f"deploy-{key}{named}"
        if key == "dashboard":
            continue  # It tells of all models.
        (run,) = (step for step in job["steps"] if "-m bots " in step.get("run", ""))
        assert '${MODEL:+--model "$MODEL"}' in run["run"], key
        assert run["env"]["MODEL"] == "${{ inputs.model }}", key


def test_a_person_who_promotes_or_goes_back_says_why_and_a_run_for_a_model_accepts_nothing() -> None:
    inputs = workflow("deploy")["on"]["workflow_dispatch"]["inputs"]
    assert not any(about.get("required") for about in inputs.values()), "a bot starts it with the model alone"
    (run,) = (step["run"] for step in jobs_of("release") if "-m bots " in step.get("run", ""))
    assert '${REASON:+--accept "$REASON"}' in run
    for key in ("resume", "rollback"):
        (run,) = (step["run"] for step in jobs_of(key) if "-m bots " in step.get("run", ""))
        assert '"${REASON:?say why}"' in run


def jobs_of(key: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = workflow("deploy")["jobs"][key]["steps"]
    return found


def test_only_main_is_released_and_each_stage_is_an_environment_with_secrets_of_its_own() -> None:
    deploy = workflow("deploy")
    assert deploy["on"]["push"] == {"branches": ["main"]}
    stages = {key: job.get("environment") for key, job in jobs("deploy")}
    assert stages == {
        "release": "release",
        "staging": "staging",
        "dashboard": None,
        "production": "production",
        "others": None,
        "look": None,
        "resume": "production",
        "rollback": "${{ inputs.stage }}",
    }
    assert "DEPLOY" not in json.dumps(deploy["jobs"]["release"])


def test_what_logs_in_or_signs_stands_in_an_environment_and_in_no_workflow_of_a_branch() -> None:
    for name in NAMES:
        for key, job in jobs(name):
            said = json.dumps(job)
            if "docker/login-action" in said or "secrets." in said:
                assert job.get("environment"), (
                    f"{name}: {key} logs in or reads a secret outside of an environment"
                )
    for key, job in jobs("deploy"):
        if key in ("look", "others", "dashboard"):
            assert "secrets." not in json.dumps(job)
            continue
        run = next(step for step in job["steps"] if "-m bots " in step.get("run", ""))
        assert run["env"]["REGISTRY_KEY"] == "${{ secrets.REGISTRY_KEY }}", key
        assert run["env"]["RELEASE_IMAGE"] == "${{ vars.IMAGE }}", key
        signing = [step for step in job["steps"] if "secrets.REGISTRY_KEY" in json.dumps(step)]
        assert all(step["run"].startswith(".venv/bin/python -m bots ") for step in signing), key
        assert len(signing) == 1, key


def test_nobody_is_asked_to_approve_what_has_nothing_to_deploy() -> None:
    deploy = workflow("deploy")["jobs"]
    for stage in ("staging", "production"):
        assert f"needs.release.outputs.{stage} == 'true'" in deploy[stage]["if"]
        assert deploy["release"]["outputs"][stage] == f"${{{{ steps.release.outputs.{stage} }}}}"


def test_the_schedule_asks_nobody_and_changes_nothing_where_nothing_is_paused() -> None:
    deploy = workflow("deploy")
    assert deploy["on"]["schedule"]
    assert "github.event_name != 'schedule'" in deploy["jobs"]["release"]["if"]
    assert deploy["jobs"]["look"]["permissions"] == {"contents": "read"}
    assert deploy["jobs"]["resume"]["needs"] == "look"
    assert "needs.look.outputs.paused == 'true'" in deploy["jobs"]["resume"]["if"]


def lint(project: Path, *words: str) -> None:
    """Fail with what a linter says of a project, if it finds anything."""
    tool = shutil.which(words[0], path=str(SCRIPTS))
    if tool is None:
        pytest.skip(f"{words[0]} is not installed")
    done = subprocess.run([tool, *words[1:]], cwd=project, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A baked project; test_bake.py holds that every other answer gives the same workflows."""
    return bake_project(tmp_path_factory.mktemp("baked"))


LINTERS = (
    ("zizmor", "--offline", "--persona", "pedantic", "--no-progress", "--quiet", "."),
    ("jactionlint",),
    (
        "act",
        "--validate",
        "--strict",
        "--workflows",
        github_actions.WORKFLOWS,
        "--platform",
        "ubuntu-latest=-self-hosted",
    ),
)


@pytest.mark.parametrize("words", LINTERS, ids=lambda words: words[0])
def test_the_linters_find_nothing_in_a_baked_project(project: Path, words: tuple[str, ...]) -> None:
    lint(project, *words)
