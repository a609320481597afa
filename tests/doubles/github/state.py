"""The double's memory: one repository as plain records."""

from __future__ import annotations

import io
import itertools
import subprocess
import zipfile
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ACTIONS = "github-actions[bot]"
EVERYTHING = dict.fromkeys(("actions", "checks", "contents", "issues", "pull_requests"), "write")


def format_time(seconds: float) -> str:
    """Format a time as GitHub does."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True)
class Token:
    """Who calls, and what the caller may do (permission -> `read` or `write`)."""

    login: str = ACTIONS
    permissions: dict[str, str] = field(default_factory=lambda: dict(EVERYTHING))

    @property
    def is_app(self) -> bool:
        """Only an App's token may write check runs."""
        return self.login.endswith("[bot]")

    def may(self, needs: str) -> bool:
        """Tell whether the token has one of `needs`: one or more of `permission=level`, joined by `|`."""
        levels = {"read": ("read", "write"), "write": ("write",)}
        wanted = (one.split("=") for one in needs.split("|") if one)
        return not needs or any(self.permissions.get(name) in levels[level] for name, level in wanted)


@dataclass
class Comment:
    id: int
    number: int
    author: str
    body: str
    created: str
    updated: str
    reactions: list[tuple[str, str]] = field(default_factory=list)


@dataclass
class Check:
    id: int
    head_sha: str
    name: str
    app: str
    status: str
    started: str
    external_id: str = ""
    details_url: str | None = None
    conclusion: str | None = None
    completed: str | None = None
    output: dict[str, Any] = field(default_factory=dict)


@dataclass
class Issue:
    """An issue, or the half of a pull request that is one."""

    number: int
    title: str
    author: str
    created: str
    body: str | None = None
    labels: list[str] = field(default_factory=list)
    state: str = "open"


@dataclass(frozen=True)
class Review:
    """What a person said of a pull request: `APPROVED`, `CHANGES_REQUESTED`, `COMMENTED` or `DISMISSED`."""

    id: int
    author: str
    state: str
    commit: str
    submitted: str


@dataclass
class Pull(Issue):
    """A pull request. `merge_commit` is what its merge made; `brought`: other commits of it that are on main now."""

    head_repository: str = ""
    head_ref: str = ""
    head_sha: str = ""
    base_ref: str = "main"
    merged: bool = False
    merge_commit: str | None = None
    merged_by: str | None = None
    brought: list[str] = field(default_factory=list)
    reviews: list[Review] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    commits: list[Commit] = field(default_factory=list)


@dataclass
class Commit:
    sha: str
    message: str
    author: str
    date: str


@dataclass
class Run:
    """A run of a workflow: what `workflow_run` names."""

    id: int
    number: int
    attempt: int
    head_sha: str
    head_branch: str
    head_repository: str
    event: str
    conclusion: str | None
    started: str
    pulls: list[int]
    name: str = "Pull request"
    title: str = "Review: A change"


@dataclass
class State:
    """One repository. `clock` gives seconds since 1970; `git` is a bare repository with its content.

    Without one, `branches` lists each branch's commits, newest first, `merged` the further parents of those that are
    merges, and `files` holds content by commit and path.
    `artifacts` is a folder with what runs uploaded: a folder or a zip file RUN/ATTEMPT/NAME each. `started` are the
    workflows that somebody started by hand, each with its branch, and `inputs` what each was given.
    """

    repository: str
    clock: Callable[[], float]
    git: Path | None = None
    artifacts: Path | None = None
    tokens: dict[str, Token] = field(default_factory=dict)
    permissions: dict[str, str] = field(default_factory=dict)
    issues: dict[int, Issue] = field(default_factory=dict)
    comments: dict[int, Comment] = field(default_factory=dict)
    checks: dict[int, Check] = field(default_factory=dict)
    commits: dict[str, Commit] = field(default_factory=dict)
    runs: dict[int, Run] = field(default_factory=dict)
    steps: dict[tuple[int, int], dict[str, str | None]] = field(default_factory=dict)
    """What became of the steps of a run and its attempt."""
    approvals: dict[int, list[tuple[str, str, str]]] = field(default_factory=dict)
    """What people said of a run that waited: who, `approved` or `rejected`, and the environment."""
    branches: dict[str, list[str]] = field(default_factory=dict)
    merged: dict[str, list[str]] = field(default_factory=dict)
    files: dict[tuple[str, str], bytes] = field(default_factory=dict)
    uploads: dict[int, Path] = field(default_factory=dict)
    rulesets: dict[int, dict[str, Any]] = field(default_factory=dict)
    environments: dict[str, dict[str, Any]] = field(default_factory=dict)
    has_reviewers: bool = True
    actions_app: int = 15368
    """GitHub Actions as an app, by its number on this server."""
    started: list[tuple[str, str]] = field(default_factory=list)
    inputs: list[dict[str, str]] = field(default_factory=list)
    ids: Iterator[int] = field(default_factory=lambda: itertools.count(1001))

    def format_now(self) -> str:
        """Format the current time as GitHub does."""
        return format_time(self.clock())

    def find_commit(self, sha: str) -> Commit | None:
        """Find a commit among those that a test added and those in git."""
        if sha not in self.commits and self.git is not None:
            shown = self._git("show", "-s", "--format=%H%n%an%n%cI%n%B", f"{sha}^{{commit}}")
            if shown:
                full, author, date, message = shown.split("\n", 3)
                self.commits[full] = Commit(full, message.strip(), author, date)
                return self.commits[full]
        return self.commits.get(sha)

    def list_artifacts(self, run: int) -> dict[int, Path]:
        """List what a run uploaded, each under its number."""
        if self.artifacts is None:
            return {}
        for path in sorted((self.artifacts / str(run)).glob("*/*")):
            if path not in self.uploads.values():
                self.uploads[next(self.ids)] = path
        return {
            number: path
            for number, path in self.uploads.items()
            if path.parent.parent.name == str(run) and path.exists()
        }

    def zip_artifact(self, number: int) -> bytes:
        """What was uploaded, as GitHub keeps it: a zip file."""
        path = self.uploads[number]
        if path.is_file():
            return path.read_bytes()
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
            for member in sorted(path.rglob("*")):
                if member.is_file():
                    file.write(member, member.relative_to(path).as_posix())
        return archive.getvalue()

    def follow_branches(self) -> None:
        """Move the head of each open pull request to where its branch is, whoever pushed there."""
        followed = [
            pull
            for pull in self.list_pulls()
            if pull.state == "open" and pull.head_repository == self.repository
        ]
        if self.git is None or not followed:
            return
        listed = self._git("for-each-ref", "--format=%(refname) %(objectname)", "refs/heads").splitlines()
        tips = dict(line.rsplit(" ", 1) for line in listed)
        for pull in followed:
            pull.head_sha = tips.get(f"refs/heads/{pull.head_ref}", pull.head_sha)

    def _git(self, *words: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(self.git), *words], capture_output=True, text=True, check=False
        )
        return done.stdout if done.returncode == 0 else ""

    def list_pulls(self) -> list[Pull]:
        """List the pull requests, newest first as GitHub does."""
        found = [issue for issue in self.issues.values() if isinstance(issue, Pull)]
        return sorted(found, key=lambda pull: -pull.number)

    def list_comments(self, number: int) -> list[Comment]:
        """List the comments of an issue or pull request, oldest first as GitHub does."""
        return [comment for comment in self.comments.values() if comment.number == number]

    def list_checks(self, sha: str) -> list[Check]:
        """List the check runs of a commit, newest first as GitHub does."""
        return [check for check in reversed(self.checks.values()) if check.head_sha == sha]
