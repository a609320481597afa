"""Asks GitHub whether a review let a commit of main pass: its pull request, its check, its approvals.

A person who may merge can merge a red pull request. So a release asks again, and where the check says no, a person has
to accept the release by name.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from bots.errors import BotsError
from bots.evidence import Verdict
from bots.github.client import ACTIONS, CheckRun, DeploymentReview, MergedPullRequest, PullRequestReview
from bots.github.marker import Marker, ModelDigests, parse_marker
from bots.naming import ALONE, Naming
from bots.release.failure import EXIT_CODES
from bots.release.versions import Acceptance
from bots.retry import RequestDenied, Retry

WRITERS = ("admin", "maintain", "write")
ACCEPT = "`python -m bots release{option} --accept REASON` by someone who may write here, or {workflow} > Run workflow"


class NotApproved(BotsError):
    """No review let this pass, and nobody who may do so accepted it; the message says why and what to do."""

    exit_code = EXIT_CODES["refused"]


class ApprovalApi(Protocol):
    """What an approval asks of GitHub. Every call raises `RequestDenied` or `TemporaryFailure`."""

    def list_merged_pull_requests(self, sha: str) -> list[MergedPullRequest]:
        """The merged pull requests that brought a commit, newest first."""

    def list_reviews(self, number: int) -> list[PullRequestReview]:
        """What people said of a pull request, oldest first."""

    def list_check_runs(self, sha: str, name: str) -> list[CheckRun]:
        """Every check run of that name on a commit."""

    def get_permission(self, login: str) -> str:
        """What a person may do here: admin, write, read or none."""

    def list_deployment_reviews(self, run: int) -> list[DeploymentReview]:
        """What people said of a run of a workflow that waited for its environments."""

    def prevents_self_review(self, environment: str) -> bool:
        """Whether nobody may approve a run of their own for an environment."""


@dataclass(frozen=True)
class Approval:
    """What GitHub knows of a commit: its pull request, who approved that, and the check on what was merged.

    `in_queue`: that check is on the commit itself, which a merge queue had reviewed. `naming`: of which project and
    model the check is.
    """

    commit: str
    pull: MergedPullRequest | None
    approvers: tuple[str, ...] = ()
    check: CheckRun | None = None
    in_queue: bool = False
    naming: Naming = ALONE

    @property
    def model(self) -> ModelDigests | None:
        """The model that the check is about."""
        return self._marker.digests if self._marker else None

    @property
    def verdict(self) -> Verdict | None:
        """The review's verdict; None where an older version of the bots wrote the check."""
        return self._marker.verdict if self._marker else None

    @property
    def is_empty_pass(self) -> bool:
        """Whether the check passes without a verdict, as where the commit touches nothing of the project."""
        return self.check is not None and self.check.conclusion == "success" and self.verdict is None

    @property
    def base(self) -> str | None:
        """The branch that the check is about; None where an older version of the bots wrote the check."""
        return self._marker.base if self._marker else None

    @property
    def _marker(self) -> Marker | None:
        return parse_marker(self.check.external_id, self.naming) if self.check else None


def list_approvers(reviews: Iterable[PullRequestReview], author: str) -> tuple[str, ...]:
    """List who approves, by each person's newest review; nobody approves their own change.

    A comment takes no approval back.
    """
    newest: dict[str, str] = {}
    for one in reviews:
        if one.state in ("APPROVED", "CHANGES_REQUESTED", "DISMISSED") and one.author:
            newest[one.author] = one.state
    return tuple(
        sorted(person for person, state in newest.items() if state == "APPROVED" and person != author)
    )


def find_own_check(
    checks: Iterable[CheckRun], head: str, author: str, *, base: str, naming: Naming = ALONE
) -> CheckRun | None:
    """Find the newest check run that the bots wrote about this very commit; others' of the same name do not count.

    Nor does one about another base than `base`, unless it names none, as older ones do. GitHub Actions counts beside
    `author`: a person may release with a token of their own, which can write no check.
    """
    known = [
        (written, check.id, check)
        for check in checks
        if check.app in (author, ACTIONS)
        and (written := parse_marker(check.external_id, naming)) is not None
        and written.commit == head
        and written.base in (base, None)
    ]
    return max(known)[-1] if known else None


def find_objection(
    approval: Approval, model: ModelDigests | None, *, changes_lock: bool = False
) -> str | None:
    """Why an approval does not cover this model; None where it does.

    With `model` None any model will do; where the commit changes dvc.lock (`changes_lock`), one has to be judged.
    """
    if approval.pull is None:
        return f"{approval.commit[:7]} came to main without a pull request, so no review let it pass"
    name = f"#{approval.pull.number}"
    if approval.check is None:
        return (
            f"{name} was merged at {approval.pull.head_sha[:7]} without the check `{approval.naming.check}`"
        )
    if approval.check.conclusion is None:
        return f"the check `{approval.naming.check}` of {name} was still running when it was merged"
    if approval.check.conclusion != "success":
        said = approval.check.title or approval.check.conclusion
        return f"{name} was merged although its check says: {said}"
    if approval.base != approval.pull.base:
        return (
            f"the check of {name} does not say that it was judged for {approval.pull.base}, as checks of an older "
            "version of the bots do not; change anything in a new pull request, which is reviewed by this one"
        )
    if changes_lock and approval.verdict is None:
        return f"the check of {name} judged no model, but {approval.commit[:7]} changes dvc.lock"
    if model is None:
        return None
    if approval.model is None:
        return (
            f"the check of {name} does not name the model that it judged, as checks of an older version of the bots do "
            "not; change anything in a new pull request, which is reviewed by this one"
        )
    if approval.model != model:
        return (
            f"the check of {name} is about the model {approval.model.model[4:12]}, dvc.lock of {approval.commit[:7]} "
            f"names {model.model[4:12]} (or another ONNX form of it); open a pull request that has this dvc.lock "
            "reviewed"
        )
    return None


def find_approval(
    api: ApprovalApi, commit: str, *, base: str, author: str, retry: Retry, naming: Naming = ALONE
) -> Approval:
    """Ask GitHub about a commit. Raises `RequestDenied` and `RetriesExhausted`."""

    def step() -> Approval:
        into = [pull for pull in api.list_merged_pull_requests(commit) if pull.base == base]
        if not into:
            return Approval(commit, None, naming=naming)
        pull = into[0]
        approvers = list_approvers(api.list_reviews(pull.number), pull.author)
        known = []
        for head in (commit, pull.head_sha):
            listed = api.list_check_runs(head, naming.check)
            check = find_own_check(listed, head, author, base=base, naming=naming)
            if check is not None:
                found = Approval(commit, pull, check=check, in_queue=head == commit, naming=naming)
                known.append(replace(found, approvers=_add_decider(approvers, check, naming)))
                if not found.is_empty_pass:
                    break
        return _choose_word(known) or Approval(commit, pull, approvers=approvers, naming=naming)

    return retry.call("pull request", step)


def _choose_word(known: Sequence[Approval]) -> Approval | None:
    """Choose what counts of a commit: the check on it, else the one on the head of its pull request.

    A merge queue has its own commit reviewed, which is what main then is: the newer word, and about more. But a pass
    that judged nothing never hides what a review said.
    """
    if len(known) > 1 and known[0].is_empty_pass and known[1].verdict is not None:
        return known[1]
    return known[0] if known else None


def _add_decider(approvers: tuple[str, ...], check: CheckRun, naming: Naming) -> tuple[str, ...]:
    """Add the person who let a change pass for which the review asked one."""
    marker = parse_marker(check.external_id, naming)
    decider = (marker.approved,) if marker and marker.approved else ()
    return tuple(sorted({*approvers, *decider}))


def accept_objections(
    api: ApprovalApi,
    objections: Sequence[str],
    *,
    reason: str | None,
    by: str | None,
    retry: Retry,
    naming: Naming = ALONE,
) -> Acceptance | None:
    """Accept a release that something speaks against, in a person's name; None where nothing does.

    Raises `NotApproved` where nobody accepts it, or where the person may not.
    """
    if not objections:
        return None
    said = "; ".join(objections)
    if not (reason or "").strip():
        how = ACCEPT.format(option=naming.option, workflow=naming.title_workflow("Deploy"))
        raise NotApproved(f"{said}. To release it all the same: {how}")
    assert reason is not None
    if not by:
        raise NotApproved(f"{said}. --accept needs to know whose word it is: set GITHUB_ACTOR to your login")
    try:
        level = retry.call("permission", lambda: api.get_permission(by))
    except RequestDenied as error:
        raise NotApproved(f"{said}. Whether {by} may accept that cannot be known: {error}") from error
    if level not in WRITERS:
        raise NotApproved(
            f"{said}. {by} may only {level if level != 'none' else 'look'} here and cannot accept that"
        )
    return Acceptance(by=by, reason=" ".join(reason.split())[:500], objection=said[:900])
