"""Whether a commit of main is what a review let pass: asks GitHub for its pull request, check and approvals.

Who may merge may merge red. So a release asks again, and what the check does not say a person has to.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, get_args

from bots.errors import BotsError
from bots.evidence import Verdict
from bots.github import marker
from bots.github.client import ACTIONS, CheckRun, MergedPullRequest, PullRequestReview
from bots.github.marker import Judged
from bots.publish import publish
from bots.release.versions import Accepted
from bots.retry import RequestDenied, Retry

WRITERS = ("admin", "maintain", "write")
ACCEPT = "`python -m bots release --accept REASON` by someone who may write here, or Deploy > Run workflow"


class Refused(BotsError):
    """This must not be released; the message says why and what to do."""


class Court(Protocol):
    """What is asked of GitHub here. Every call raises `RequestDenied` or `TemporaryFailure`."""

    def list_merged_pull_requests(self, sha: str) -> list[MergedPullRequest]:
        """The merged pull requests that brought a commit, newest first."""

    def list_reviews(self, number: int) -> list[PullRequestReview]:
        """What people said of a pull request, oldest first."""

    def list_check_runs(self, sha: str, name: str) -> list[CheckRun]:
        """Every check run of that name on a commit."""

    def get_permission(self, login: str) -> str:
        """What a person may do here: admin, write, read or none."""


@dataclass(frozen=True)
class Judgement:
    """What GitHub says of a commit: its pull request, who approved it, the check on what was merged."""

    commit: str
    pull: MergedPullRequest | None
    approvers: tuple[str, ...] = ()
    check: CheckRun | None = None

    @property
    def judged(self) -> Judged | None:
        """The model that the check is about."""
        written = marker.read(self.check.external_id) if self.check else None
        return written.judged if written else None

    @property
    def verdict(self) -> Verdict | None:
        """The review's verdict, by the check's title."""
        title = ((self.check.title if self.check else None) or "").partition(":")[0].partition(",")[0]
        return next((verdict for verdict in get_args(Verdict) if verdict == title.lower()), None)


def approvers(opinions: Iterable[PullRequestReview], author: str) -> tuple[str, ...]:
    """Who approves, by each person's newest word; a comment takes nothing back, and nobody approves their own."""
    newest: dict[str, str] = {}
    for one in opinions:
        if one.state in ("APPROVED", "CHANGES_REQUESTED", "DISMISSED") and one.author:
            newest[one.author] = one.state
    return tuple(
        sorted(person for person, state in newest.items() if state == "APPROVED" and person != author)
    )


def ours(checks: Iterable[CheckRun], head: str, author: str) -> CheckRun | None:
    """The newest check run that the bots wrote about this very commit; others' of the same name do not count.

    GitHub Actions counts beside `author`: somebody may release with a token of their own, which can write no check.
    """
    known = [
        (written, check.id, check)
        for check in checks
        if check.app in (author, ACTIONS)
        and (written := marker.read(check.external_id)) is not None
        and written.commit == head
    ]
    return max(known)[-1] if known else None


def objection(of: Judgement, model: Judged | None) -> str | None:
    """Why a judgement does not let this model be released; None where it does. `model` None: any will do."""
    if of.pull is None:
        return f"{of.commit[:7]} came to main without a pull request, so no review let it pass"
    name = f"#{of.pull.number}"
    if of.check is None:
        return f"{name} was merged at {of.pull.head_sha[:7]} without the check `{publish.CHECK}`"
    if of.check.conclusion is None:
        return f"the check `{publish.CHECK}` of {name} was still running when it was merged"
    if of.check.conclusion != "success":
        return f"{name} was merged although its check says: {of.check.title or of.check.conclusion}"
    if model is None:
        return None
    if of.judged is None:
        return (
            f"the check of {name} does not name the model that it judged, as checks of an older version of the bots do "
            "not; change anything in a new pull request, which is reviewed by this one"
        )
    if of.judged != model:
        return (
            f"the check of {name} is about the model {of.judged.model[4:12]}, dvc.lock of {of.commit[:7]} names "
            f"{model.model[4:12]} (or another ONNX form of it); open a pull request that has this dvc.lock reviewed"
        )
    return None


def judgement(court: Court, commit: str, base: str, author: str, retry: Retry) -> Judgement:
    """Ask GitHub about a commit. Raises `RequestDenied` and `RetriesExhausted`."""

    def step() -> Judgement:
        into = [pull for pull in court.list_merged_pull_requests(commit) if pull.base == base]
        if not into:
            return Judgement(commit, None)
        pull = into[0]
        said = approvers(court.list_reviews(pull.number), pull.author)
        check = ours(court.list_check_runs(pull.head_sha, publish.CHECK), pull.head_sha, author)
        return Judgement(commit, pull, said, check)

    return retry.call("pull request", step)


def accepted(
    court: Court, objections: Sequence[str], reason: str | None, by: str | None, retry: Retry
) -> Accepted | None:
    """A person's word where something speaks against a release; None where nothing does.

    Raises `Refused` where there is no such word, or where who gives it may not.
    """
    if not objections:
        return None
    said = "; ".join(objections)
    if not (reason or "").strip():
        raise Refused(f"{said}. To release it all the same: {ACCEPT}")
    assert reason is not None
    if not by:
        raise Refused(f"{said}. --accept needs to know whose word it is: set GITHUB_ACTOR to your login")
    try:
        level = retry.call("permission", lambda: court.get_permission(by))
    except RequestDenied as error:
        raise Refused(f"{said}. Whether {by} may accept that cannot be known: {error}") from error
    if level not in WRITERS:
        raise Refused(
            f"{said}. {by} may only {level if level != 'none' else 'look'} here and cannot accept that"
        )
    return Accepted(by=by, reason=" ".join(reason.split())[:500], objection=said[:900])
