"""Tells people of a release: the comment on its pull request, and one issue while a release has failed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from bots.github import sticky_comment
from bots.github.client import GitHubApi, Issue
from bots.release import report
from bots.retry import RequestDenied, RetriesExhausted, Retry

GRANTS = {"comment": "pull-requests: write", "issue": "issues: write"}


class Board(GitHubApi, Protocol):
    """What a release asks of GitHub. Every call raises `RequestDenied` or `TemporaryFailure`."""

    def list_issues(self, label: str) -> list[Issue]:
        """The open issues with a label."""

    def create_issue(self, title: str, body: str, label: str) -> None:
        """Open an issue."""

    def edit_issue(self, number: int, *, title: str, body: str) -> None:
        """Replace what an issue says."""

    def close_issue(self, number: int, body: str) -> None:
        """Close an issue, with its last word."""


def comment(board: Board, number: int, body: str, author: str, retry: Retry) -> str | None:
    """One comment that says this; None, or why it could not be said."""
    return _said("comment", lambda: sticky_comment.upsert(board, number, body, author, report.is_ours), retry)


def complain(board: Board, title: str, body: str, author: str, retry: Retry) -> str | None:
    """One open issue that says this, however many releases fail; None, or why it could not be said."""

    def step() -> str:
        existing = _ours(board, author)
        if not existing:
            board.create_issue(title, body, report.LABEL)
            existing = _ours(board, author)
        for other in existing[1:]:
            board.close_issue(other.number, other.body)
        if existing and (existing[0].title, existing[0].body.split()) != (title, body.split()):
            board.edit_issue(existing[0].number, title=title, body=body)
        return "written"

    return _said("issue", step, retry)


def settle(board: Board, last: Callable[[str], str], author: str, retry: Retry) -> str | None:
    """Close the issue, if there is one, with `last` of its body; None, or why it could not be closed."""

    def step() -> str:
        for issue in _ours(board, author):
            board.close_issue(issue.number, last(issue.body))
        return "closed"

    return _said("issue", step, retry)


def _ours(board: Board, author: str) -> list[Issue]:
    found = [
        one for one in board.list_issues(report.LABEL) if one.author == author and report.is_ours(one.body)
    ]
    return sorted(found, key=lambda issue: issue.number)


def _said(what: str, step: Callable[[], str], retry: Retry) -> str | None:
    try:
        retry.call(what, step)
    except (RequestDenied, RetriesExhausted) as error:
        said = f"the {what} could not be written: {error}"
        if isinstance(error, RequestDenied) and error.status in (401, 403, 404):
            said += (
                f". Grant `{GRANTS[what]}` under `permissions:` of the job in .github/workflows/deploy.yaml"
            )
        return said
    return None
