"""GitHub as far as a project's workflows see it: a bare repository, the double for the API, and act for the runners.

act runs one workflow for one event. What GitHub does between them, chaining `workflow_run` and following the heads of
pull requests, is done here, step by step, so that a test can let things happen in between.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
import sys
import sysconfig
import tempfile
import venv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from github_double import TOKEN, GitHubDouble
from support import ROOT

ACT = Path(sysconfig.get_path("scripts")) / "act"
ACTIONS = ROOT / "tests" / "actions"
REPOSITORY = "octo-org/visits"
WORKFLOWS = ".github/workflows"

# Each action that the workflows use, by its pin, and the folder of its stand-in.
STAND_INS = {
    "actions/checkout": "checkout",
    "actions/setup-python": "setup-python",
    "actions/cache": "cache",
    "actions/upload-artifact": "upload-artifact",
    "actions/download-artifact": "download-artifact",
    "aws-actions/configure-aws-credentials": "cloud",
    "google-github-actions/auth": "cloud",
    "Azure/login": "cloud",
    "docker/login-action": "login",
    "actions/attest-build-provenance": "attest",
}


def uses(document: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every `uses` of a workflow or action, with the step that it stands in."""
    if isinstance(document, dict):
        if isinstance(document.get("uses"), str):
            yield document["uses"], document
        for value in document.values():
            yield from uses(value)
    elif isinstance(document, list):
        for value in document:
            yield from uses(value)


def files(project: Path) -> list[Path]:
    """A project's workflows and its own actions."""
    return sorted([*(project / WORKFLOWS).glob("*"), *(project / ".github/actions").glob("*/action.yaml")])


@dataclass(frozen=True)
class Ran:
    """What act did with a workflow: each job's result, each step's, the log, the summary, and how long it took."""

    jobs: Mapping[str, str]
    steps: Mapping[str, str]
    log: str
    summary: str

    @property
    def conclusion(self) -> str:
        """The run's, as GitHub would say it."""
        return "failure" if "failure" in self.jobs.values() else "success"


@dataclass(frozen=True)
class Review:
    """A run of pull-request.yaml: its number, attempt and commit, and what it did."""

    pull: int
    run: int
    attempt: int
    sha: str
    started: float
    ran: Ran


@dataclass
class Hub:
    """One repository on GitHub. `folder` holds everything; `origin` is the bare repository."""

    folder: Path
    origin: Path
    double: GitHubDouble
    variables: dict[str, str] = field(default_factory=dict)
    extra: dict[str, str] = field(default_factory=dict)
    runs: int = 0

    def git(self, *words: str, at: Path | None = None) -> str:
        """What git says, in the bare repository or in a checkout."""
        done = subprocess.run(
            ["git", *words],
            cwd=at or self.origin,
            text=True,
            capture_output=True,
            check=False,
            encoding="utf-8",
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def head(self, branch: str) -> str:
        """The newest commit of a branch."""
        return self.git("rev-parse", f"refs/heads/{branch}")

    def file(self, commit: str, path: str) -> str:
        """A file's text at a commit."""
        return self.git("show", f"{commit}:{path}")

    def push(self, checkout: Path, branch: str, *, fork: str | None = None, number: int = 0) -> str:
        """Push a checkout's HEAD to a branch, or to a fork, whose commits the repository knows by the pull request."""
        sha = self.git("rev-parse", "HEAD", at=checkout)
        where = f"refs/pull/{number}/head" if fork else f"refs/heads/{branch}"
        self.git("push", "--quiet", "--force", str(self.origin), f"HEAD:{where}", at=checkout)
        return sha

    def open(self, number: int, checkout: Path, branch: str, *, fork: str | None = None) -> str:
        """Open a pull request from a checkout's HEAD."""
        sha = self.push(checkout, branch, fork=fork, number=number)
        self.double.add_pull(number, sha, branch=branch, fork=fork)
        return sha

    def announce(self, number: int) -> dict[str, Any]:
        """A run of the review begins: its `requested` event, with publish.yaml's answer."""
        self.runs += 1
        event = self.double.add_run(number, run=self.runs, conclusion=None)
        assert self.act("workflow_run", "publish.yaml", event).jobs == {"announce": "success"}
        return event

    def review(self, number: int, *, attempt: int = 1, run: int | None = None) -> Review:
        """Run pull-request.yaml for a pull request's head."""
        if run is None:
            self.runs += 1
        number_of_run = run or self.runs
        started = self.double.clock()
        pull = self.double.pull(number)
        payloads = self.double._payloads()
        event = {
            "action": "synchronize",
            "number": number,
            "pull_request": payloads.pull(pull),
            "repository": payloads.repository(REPOSITORY),
        }
        ran = self.act(
            "pull_request", "pull-request.yaml", event, at=pull.head_sha, run=number_of_run, attempt=attempt
        )
        return Review(number, number_of_run, attempt, pull.head_sha, started, ran)

    def publish(self, review: Review) -> Ran:
        """The run of the review ends: its `completed` event, with publish.yaml's answer."""
        event = self.double.add_run(
            review.pull,
            run=review.run,
            attempt=review.attempt,
            sha=review.sha,
            conclusion=review.ran.conclusion,
            started=review.started,
        )
        return self.act("workflow_run", "publish.yaml", event)

    def act(
        self,
        event_name: str,
        workflow: str,
        event: dict[str, Any],
        *,
        at: str = "main",
        run: int = 900_000,
        attempt: int = 1,
    ) -> Ran:
        """Run one workflow as it is at a commit."""
        scratch = Path(tempfile.mkdtemp(prefix="act-", dir=self.folder))
        checkout = scratch / "checkout"
        self.git("clone", "--quiet", "--no-local", "--no-checkout", str(self.origin), str(checkout))
        self.git("fetch", "--quiet", "origin", at, at=checkout)
        self.git("checkout", "--quiet", "--detach", "FETCH_HEAD", at=checkout)
        (scratch / "event.json").write_text(json.dumps(event), encoding="utf-8")
        command = [
            str(ACT), event_name, "--workflows", f"{WORKFLOWS}/{workflow}", "--eventpath", str(scratch / "event.json"),
            "--platform", "ubuntu-latest=-self-hosted", "--no-cache-server", "--no-skip-checkout", "--json",
            "--action-cache-path", str(scratch / "cache"), "--secret", f"GITHUB_TOKEN={TOKEN}",
            *(f"--env={name}={value}" for name, value in self.environment(run, attempt).items()),
            *(f"--var={name}={value}" for name, value in self.variables.items()),
            *(f"--local-repository={pin}={place}" for pin, place in stand_ins(checkout).items()),
        ]  # fmt: skip
        done = subprocess.run(
            command,
            cwd=checkout,
            text=True,
            capture_output=True,
            check=False,
            encoding="utf-8",
            env=surroundings(),
        )
        assert done.returncode in (0, 1), done.stderr
        ran = read(done.stdout)
        (scratch / "log.txt").write_text(ran.log + done.stderr, encoding="utf-8")
        assert ran.jobs, done.stdout + done.stderr
        return ran

    def environment(self, run: int, attempt: int) -> dict[str, str]:
        """What GitHub sets for a job, what the stand-ins need, and a detour: github.com is the bare repository."""
        return {
            "GITHUB_API_URL": self.double.api_url,
            "GITHUB_REPOSITORY": REPOSITORY,
            "GITHUB_RUN_ID": str(7_000_000 + run),
            "GITHUB_RUN_ATTEMPT": str(attempt),
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": f"url.file://{self.origin}.insteadOf",
            "GIT_CONFIG_VALUE_0": f"https://github.com/{REPOSITORY}",
            "STAND_INS": str(ACTIONS),
            "STAND_IN_KEEPS": str(self.folder / "keeps"),
            "STAND_IN_PYTHON": sys.executable,
            "UV_OFFLINE": "1",
            **self.extra,
        }


def surroundings() -> dict[str, str]:
    """This process's environment, less what a runner would not have: the tests' own virtual environment above all."""
    mine = {"VIRTUAL_ENV", "PYTHONPATH"}
    return {
        name: value
        for name, value in os.environ.items()
        if name not in mine and not name.startswith("GITHUB_")
    }


def stand_ins(project: Path) -> dict[str, Path]:
    """For each pin of the project's workflows, its stand-in."""
    found = {}
    for file in files(project):
        for used, _ in uses(yaml.safe_load(file.read_text(encoding="utf-8"))):
            if not used.startswith("./"):
                name, _, ref = used.partition("@")
                repository = "/".join(name.split("/")[:2])
                found[f"{repository}@{ref}"] = ACTIONS / STAND_INS[repository]
    return found


def read(output: str) -> Ran:
    """act's log of JSON lines."""
    jobs: dict[str, str] = {}
    steps: dict[str, str] = {}
    log, summary = [], []
    for line in output.splitlines():
        entry = json.loads(line)
        if entry.get("jobResult"):
            jobs[entry["jobID"]] = entry["jobResult"]
        if entry.get("stepResult", "skipped") != "skipped" and entry.get("stage") == "Main":
            steps[entry["step"]] = entry["stepResult"]
        if entry.get("command") == "summary":
            summary.append(entry["content"])
        log.append(str(entry.get("msg", "")).rstrip("\n"))
    return Ran(jobs, steps, "\n".join(log), "\n".join(summary))


def keep(hub: Hub, name: str, source: Path, path: str) -> None:
    """Put a folder into the default branch's cache, where every workflow finds it."""
    event = source / "event.json"
    event.write_text("{}", encoding="utf-8")
    environment = {
        **os.environ,
        "GITHUB_EVENT_PATH": str(event),
        "STAND_IN_KEEPS": str(hub.folder / "keeps"),
        "GITHUB_WORKSPACE": str(source),
        "INPUTS": json.dumps({"path": path, "key": name}),
    }
    subprocess.run(
        [sys.executable, ACTIONS / "cache.py", "save"], env=environment, check=True, capture_output=True
    )


def prepare_tools(hub: Hub, project: Path) -> None:
    """For each room, a `.venv` in the cache that `make setup` finds complete: it has what this interpreter has."""
    locked = [path.read_bytes() for path in sorted((project / "requirements").glob("*.txt"))]
    digest = hashlib.sha256(b"".join(hashlib.sha256(content).digest() for content in locked)).hexdigest()
    for room in ("dev", "bots"):
        place = hub.folder / "tools" / room
        venv.create(place / ".venv", with_pip=False, symlinks=True)
        site = place / f".venv/lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
        (site / "here.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
        (place / ".venv/lock").write_bytes((project / "requirements" / f"{room}.txt").read_bytes())
        system = f"{platform.system()}-{ {'x86_64': 'X64', 'aarch64': 'ARM64'}[platform.machine()] }"
        keep(hub, f"{room}-{system}-{platform.python_version()}-{digest}", place, ".venv")
