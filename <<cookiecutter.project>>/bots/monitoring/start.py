"""Starts the review of a pull request of the bots by hand, because what GitHub Actions opened starts none by itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from bots.github.client import ACTIONS, CheckRun, PullRequestText
from bots.monitoring.retrain import find_check
from bots.naming import ALONE, Naming
from bots.render.retrain import parse_retrain_marker
from bots.render.template_update import parse_update_marker
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
    """Start a review for each open pull request of the bot's whose head has no check; returns their numbers.

    Those are the watch's, which retrain, and the one that updates the template.

    One that an App opened has its review already. Raises `RequestDenied`, `RetriesExhausted`.
    """
    started = []
    file = naming.name_workflow(WORKFLOW)
    for pull in retry.call("pull requests", lambda: api.list_pull_request_texts(branch)):
        ours = (pull.author, pull.repository) == (author, repository)
        if not ours or not is_of_the_bots(pull, naming):
            continue
        sha = pull.head_sha
        checks = retry.call("check", lambda sha=sha: api.list_check_runs(sha, naming.check))  # type: ignore[misc]
        if find_check(checks, checks_by, naming) is None:
            name = pull.branch
            retry.call("start", lambda name=name: api.start_workflow(file, name))  # type: ignore[misc]
            started.append(pull.number)
    return started


def is_of_the_bots(pull: PullRequestText, naming: Naming) -> bool:
    """Tell by branch and marker whether a pull request is one that the bots open."""
    if pull.branch == naming.update_branch:
        return parse_update_marker(pull.body, naming) is not None
    return (
        pull.branch.startswith(naming.retrain_prefix) and parse_retrain_marker(pull.body, naming) is not None
    )
