"""Asks GitHub for what the dashboard tells: open pull requests and their checks, retrain pull requests, open issues."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeVar

from bots.monitoring.dashboard import GitHubFacts, PullFacts, TroubleIssue
from bots.monitoring.retrain import find_check, is_put_off
from bots.release.registry import MAIN
from bots.release.report import LABEL as RELEASE
from bots.release.report import is_own
from bots.render.monitoring_issue import LABEL as MONITORING
from bots.render.monitoring_issue import parse_decision, parse_issue_marker
from bots.render.retrain import LABEL as RETRAIN
from bots.retry import RequestDenied, RetriesExhausted

if TYPE_CHECKING:
    from bots.github.client import CheckRun, Comment, Issue, LabelledPullRequest, PullRequestText
    from bots.naming import Naming
    from bots.retry import Retry

T = TypeVar("T")


class FactsApi(Protocol):
    """What is asked of GitHub. Every call raises `RequestDenied` or `TemporaryFailure`."""

    def list_pull_request_texts(self, base: str) -> list[PullRequestText]:
        """The open pull requests to a branch."""

    def list_check_runs(self, sha: str, name: str) -> list[CheckRun]:
        """Every check run of that name on a commit."""

    def list_labelled_pull_requests(self, label: str) -> list[LabelledPullRequest]:
        """The pull requests with a label, open and closed, the newest first."""

    def list_issues(self, label: str | None, *, closed: bool = False) -> list[Issue]:
        """The open issues with a label."""

    def list_comments(self, number: int) -> list[Comment]:
        """The comments of an issue, oldest first."""


@dataclass
class _Asking:
    """Asks one thing after the other; what is not answered becomes a sentence, and stops no other."""

    retry: Retry
    unknown: list[str] = field(default_factory=list)

    def ask(self, what: str, step: Callable[[], list[T]]) -> list[T]:
        try:
            return self.retry.call(what, step)
        except (RequestDenied, RetriesExhausted) as error:
            self.unknown.append(f"GitHub does not list the {what}: {error}.")
            return []


def ask_github(api: FactsApi, *, author: str, namings: Sequence[Naming], retry: Retry) -> GitHubFacts:
    """Ask for everything; what GitHub does not say stands in `unknown`."""
    asking = _Asking(retry)
    pulls = [
        PullFacts(pull=pull, checks=tuple(_ask_checks(api, asking, pull, author=author, namings=namings)))
        for pull in asking.ask("open pull requests", lambda: api.list_pull_request_texts(MAIN))
    ]
    retrains = asking.ask("retrain pull requests", lambda: api.list_labelled_pull_requests(RETRAIN))
    releases = [
        one
        for one in asking.ask("issues of releases", lambda: api.list_issues(RELEASE))
        if one.author == author and any(is_own(one.body, naming) for naming in namings)
    ]
    troubles = [
        found
        for issue in asking.ask("issues of the watch", lambda: api.list_issues(MONITORING))
        if issue.author == author
        for naming in namings
        if (found := _ask_trouble(api, asking, issue, naming=naming, author=author)) is not None
    ]
    return GitHubFacts(
        pulls=pulls, retrains=retrains, troubles=troubles, releases=releases, unknown=asking.unknown
    )


def _ask_checks(
    api: FactsApi, asking: _Asking, pull: PullRequestText, *, author: str, namings: Sequence[Naming]
) -> Iterator[tuple[Naming, CheckRun]]:
    for naming in namings:
        what = f"checks of pull request {pull.number}"
        listed = asking.ask(what, partial(api.list_check_runs, pull.head_sha, naming.check))
        found = find_check(listed, author, naming)
        if found is not None and found[0].commit == pull.head_sha:
            yield naming, found[1]


def _ask_trouble(
    api: FactsApi, asking: _Asking, issue: Issue, *, naming: Naming, author: str
) -> TroubleIssue | None:
    """Ask what people decided in an issue; None where it is not about trouble of this model."""
    marker = parse_issue_marker(issue.body, naming)
    if marker is None:
        return None
    comments = asking.ask(f"comments of issue {issue.number}", partial(api.list_comments, issue.number))
    own = [one.body for one in comments if one.author == author]
    return TroubleIssue(
        naming=naming,
        trouble=marker.trouble,
        number=issue.number,
        decisions=tuple(found for body in own if (found := parse_decision(body, issue.number)) is not None),
        put_off=any(is_put_off(body) for body in own),
    )
