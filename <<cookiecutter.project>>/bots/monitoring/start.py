"""Starts the review of a retrain pull request by hand, because one that GitHub Actions opened starts none by itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from bots.github.client import ACTIONS, CheckRun, PullRequestText
from bots.monitoring.retrain import find_check
from bots.naming import ALONE, Naming
from bots.render.retrain import parse_retrain_marker
from bots.retry import Retry

WORKFLOW: Final = "pull-request"


class StartApi(Protocol):
    """What starting a review asks of GitHub. Every call raises `RequestDenied` or `TemporaryFailure`."""

    def list_pull_request_texts(self, base: str) -> list[PullRequestText]:
        """List the open pull requests to a branch."""

    def list_check_runs(self, sha: str, name: str) -> Sequence[CheckRun]:
        """List every check run of that name on a commit."""

    def start_workflow(self, file: str, branch: str) -> None:
        """Start a workflow on a branch's newest commit."""


def start_reviews(
    api: StartApi,
    *,
    branch: str,
    repository: str,
    author: str,
    retry: Retry,
    checks_by: str = ACTIONS,
    naming: Naming = ALONE,
) -> list[int]:
    """Start a review for each of the bot's open retrain pull requests whose head has no check; returns their numbers.

    One that an App opened has its review already. Raises `RequestDenied`, `RetriesExhausted`.
    """
    started = []
    file = naming.name_workflow(WORKFLOW)
    for pull in retry.call("pull requests", lambda: api.list_pull_request_texts(branch)):
        ours = (pull.author, pull.repository) == (author, repository)
        if not ours or not pull.branch.startswith(naming.retrain_prefix):
            continue
        if parse_retrain_marker(pull.body, naming) is None:
            continue
        sha = pull.head_sha
        checks = retry.call("check", lambda sha=sha: api.list_check_runs(sha, naming.check))  # type: ignore[misc]
        if find_check(checks, checks_by, naming) is None:
            name = pull.branch
            retry.call("start", lambda name=name: api.start_workflow(file, name))  # type: ignore[misc]
            started.append(pull.number)
    return started
