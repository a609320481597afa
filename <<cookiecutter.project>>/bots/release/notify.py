"""Tells people about a release: a comment on its pull request, and an issue while a release has failed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from bots.github.client import GitHubApi, Issue
from bots.github.sticky_comment import upsert_comment
from bots.naming import ALONE, Naming
from bots.release import report
from bots.retry import RequestDenied, RetriesExhausted, Retry

GRANTS = {"comment": "pull-requests: write", "issue": "issues: write"}


class IssueApi(GitHubApi, Protocol):
    """What a release asks of GitHub to tell people. Every call raises `RequestDenied` or `TemporaryFailure`."""

    def list_issues(self, label: str) -> list[Issue]:
        """The open issues with a label."""

    def create_issue(self, title: str, body: str, label: str) -> None:
        """Open an issue."""

    def edit_issue(self, number: int, *, title: str, body: str) -> None:
        """Replace what an issue says."""

    def close_issue(self, number: int, body: str) -> None:
        """Close an issue, with its last text."""


def write_comment(
    api: IssueApi, number: int, body: str, *, author: str, retry: Retry, naming: Naming = ALONE
) -> str | None:
    """Create or update the release's comment on a pull request; None, or why that failed."""
    return _try(
        "comment",
        lambda: upsert_comment(
            api, number, body, author=author, is_ours=lambda text: report.is_own(text, naming)
        ),
        retry,
        naming,
    )


def write_issue(
    api: IssueApi, title: str, body: str, *, author: str, retry: Retry, naming: Naming = ALONE
) -> str | None:
    """Create or update the one open issue of failed releases; None, or why that failed."""

    def step() -> str:
        existing = _list_own_issues(api, author, naming)
        if not existing:
            api.create_issue(title, body, report.LABEL)
            existing = _list_own_issues(api, author, naming)
        for other in existing[1:]:
            api.close_issue(other.number, other.body)
        if existing and (existing[0].title, existing[0].body.split()) != (title, body.split()):
            api.edit_issue(existing[0].number, title=title, body=body)
        return "written"

    return _try("issue", step, retry, naming)


def close_issue(
    api: IssueApi, rewrite: Callable[[str], str], *, author: str, retry: Retry, naming: Naming = ALONE
) -> str | None:
    """Close the issue, if there is one, with its text rewritten; None, or why that failed."""

    def step() -> str:
        for issue in _list_own_issues(api, author, naming):
            api.close_issue(issue.number, rewrite(issue.body))
        return "closed"

    return _try("issue", step, retry, naming)


def _list_own_issues(api: IssueApi, author: str, naming: Naming) -> list[Issue]:
    listed = api.list_issues(report.LABEL)
    found = [one for one in listed if one.author == author and report.is_own(one.body, naming)]
    return sorted(found, key=lambda issue: issue.number)


def _try(what: str, step: Callable[[], str], retry: Retry, naming: Naming) -> str | None:
    """Carry out a step; None, or why it failed and which permission is missing."""
    try:
        retry.call(what, step)
    except (RequestDenied, RetriesExhausted) as error:
        said = f"the {what} could not be written: {error}"
        if isinstance(error, RequestDenied) and error.status in (401, 403, 404):
            file = naming.name_workflow("deploy")
            said += f". Grant `{GRANTS[what]}` under `permissions:` of the job in .github/workflows/{file}"
        return said
    return None
