"""Asks GitHub what waits for a person: pull requests whose review asks one, and the open issues of the bots."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Protocol

from bots.github.marker import parse_marker
from bots.release.registry import MAIN
from bots.release.report import LABEL as RELEASE
from bots.render.monitoring_issue import LABEL as MONITORING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bots.github.client import CheckRun, Issue, PullRequestText
    from bots.naming import Naming
    from bots.retry import Retry


class WaitingApi(Protocol):
    """What is asked of GitHub. Every call raises `RequestDenied` or `TemporaryFailure`."""

    def list_pull_request_texts(self, base: str) -> list[PullRequestText]:
        """The open pull requests to a branch."""

    def list_check_runs(self, sha: str, name: str) -> list[CheckRun]:
        """Every check run of that name on a commit."""

    def list_issues(self, label: str, *, closed: bool = False) -> list[Issue]:
        """The open issues with a label."""


def list_waiting(api: WaitingApi, *, author: str, namings: Sequence[Naming], retry: Retry) -> list[str]:
    """List what waits for these models, each in a sentence. Raises `RequestDenied`, `RetriesExhausted`."""
    said = []
    for pull in retry.call("pull requests", lambda: api.list_pull_request_texts(MAIN)):
        for naming in namings:
            checks = retry.call("check", partial(api.list_check_runs, pull.head_sha, naming.check))
            ours = [one for one in checks if one.app == author and parse_marker(one.external_id, naming)]
            newest = max(ours, key=lambda one: one.id) if ours else None
            if newest is not None and newest.conclusion not in (None, "success"):
                of = f"{naming.model}: " if naming.model else ""
                said.append(
                    f"{of}Pull request #{pull.number} ({pull.title}) by {pull.author}: {newest.title}."
                )
    for label in (RELEASE, MONITORING):
        issues = retry.call("issues", partial(api.list_issues, label))
        said += [f"Issue #{one.number}: {one.title}." for one in issues if one.author == author]
    return said
