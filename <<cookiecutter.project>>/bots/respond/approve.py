"""`/approve`: lets a change pass for which the review asks a person; bound to its commit and to the judged model."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from bots.evidence import Verdict
from bots.github.check_run import build_content
from bots.github.client import CheckRun
from bots.github.marker import Marker, parse_marker
from bots.publish.base import compare_judges
from bots.publish.decision import RUN_FAILED, is_held_by_others
from bots.publish.publish import NEVER_PASS, describe_verdict
from bots.render.escape import check_address, escape_prose, escape_text
from bots.respond.answer import Answer, Request, refuse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bots.github.client import CheckRunContent, PullRequestText

ASKS: Final[tuple[Verdict, ...]] = ("undecided", "not comparable", "no baseline")
"""The verdicts with which a review asks a person."""
LONGEST: Final = 300
TESTS: Final = "Run the team's tests"
"""The step of the pull request's workflow that runs `make test`."""
WORKFLOWS: Final = ".github/workflows"
ASKED_BY: Final = "Asked-by"
"""The trailer of a commit that the bots made because a person asked for it."""


def approve(request: Request) -> Answer:
    """Turn the check of the head into a success in the sender's name, where the review asks for that."""
    if not request.event.is_on_pull_request:
        return refuse(f"`{request.naming.command_start}approve` belongs below a pull request.")
    if not request.may_decide:
        return refuse("Only people who may write to this repository approve a change.")
    pull = request.api.get_pull_request(request.event.issue.number)
    if pull.author == request.who:
        return refuse("Nobody approves their own change: ask a colleague.")
    request = request.choose_model()
    if unclear := request.explain_model():
        return refuse(unclear)
    found = find_check(request, pull)
    if found is None:
        return refuse(
            f"The newest commit, {pull.head_sha[:7]}, has no review yet: wait for its check `{request.naming.check}`."
        )
    marker, check = found
    if (marker.approved, check.conclusion) == (request.who, "success"):
        return _describe_approval(marker, check, pull)
    if problem := (
        explain_refusal(
            marker,
            check,
            pull,
            seen_at=request.event.comment.created_at,
            unsettled=list_unsettled(request, pull, marker),
        )
        or _find_unread(request, marker)
        or find_own_values(request, pull)
        or find_failed_tests(request, marker, check)
        or _find_move(request, marker)
    ):
        return refuse(problem)
    approved = replace(marker, approved=request.who)
    request.api.edit_check_run(check.id, _build_approval(request, approved, check))
    if problem := _find_move(request, marker):
        request.api.edit_check_run(check.id, _build_stale(approved, check, problem))
        return refuse(problem)
    return _describe_approval(approved, check, pull)


def _build_approval(request: Request, approved: Marker, check: CheckRun) -> CheckRunContent:
    why = " ".join(request.arguments.split())[:LONGEST]
    return build_content(
        approved,
        conclusion="success",
        title=f"Approved by {request.who}: {approved.verdict}",
        summary=f"{escape_text(request.who)} approved the model {name_model(approved)} for which the review asked a "
        f"person{': ' + escape_prose(why) if why else ''}. The comment on the pull request has the review.",
        details_url=check.details_url,
    )


def _build_stale(approved: Marker, check: CheckRun, problem: str) -> CheckRunContent:
    return build_content(
        replace(approved, approved=None),
        conclusion="action_required",
        title="Stale: main moved while it was approved",
        summary=problem,
        details_url=check.details_url,
    )


def _describe_approval(marker: Marker, check: CheckRun, pull: PullRequestText) -> Answer:
    model = f"{name_model(marker)} of {pull.head_sha[:7]}"
    if marker.naming.model is not None:
        name = marker.naming.model
        return Answer(
            f"Approved: {name}'s model {model}, which its review calls {marker.verdict}. This is about {name} alone: "
            "the change passes where the main model's check does, which "
            f"`{marker.naming.command_start}approve` without a name turns green where nothing but another model held "
            "it up. A new push voids this. Whether the team's tests passed, "
            f"[the run]({check_address(check.details_url)}) says."
        )
    return Answer(
        f"Approved: the model {model}, which the review calls {marker.verdict}, may be merged. A new push voids this. "
        "The check of the bots is about the model alone: whether the team's tests passed, "
        f"[the run]({check_address(check.details_url)}) says."
    )


def _find_unread(request: Request, marker: Marker) -> str | None:
    """Why the check is not about the review that stood on the page when the command was written; None where it is.

    A commit that was reviewed before may become the head again, after the command or unseen: then the bots' comment is
    about another run.
    """
    shown = [
        (one.updated_at, found)
        for one in request.api.list_comments(request.event.issue.number)
        if one.author == request.author and (found := parse_marker(one.body, request.naming)) is not None
    ]
    for at, found in shown:
        same = (found.started, found.run, found.attempt) == (marker.started, marker.run, marker.attempt)
        if same and at <= request.event.comment.created_at:
            return None
    return (
        "The bots' comment on this pull request is not the review of the newest commit, or came after this command. "
        "Read that one, then approve again."
    )


def find_own_values(request: Request, pull: PullRequestText) -> str | None:
    """Find why a person has a part in the change: a commit in the bots' name that they asked for; None where not."""
    wanted = f"\n{ASKED_BY}: {request.who}\n"
    messages = request.api.list_messages(pull.number)
    if messages is None:
        return "The change has more commits than GitHub lists, so nobody can tell who asked for them."
    if any(wanted in f"{one}\n" for one in messages):
        return "You asked for values that this change trains with: nobody approves their own change, ask a colleague."
    return None


def find_failed_tests(request: Request, marker: Marker, check: CheckRun) -> str | None:
    """Find why the team's tests do not speak for a change, in the run that reviewed it; None where they passed.

    Also None where main's own workflow does not run them.
    """
    path = f"{WORKFLOWS}/{request.naming.name_workflow('pull-request')}"
    main = request.api.read_file(request.api.find_branch(str(marker.base)), path)
    if main is None or TESTS not in main.decode(errors="replace"):
        return None
    run = f"[the run]({check_address(check.details_url)})"
    became = {
        one.conclusion for one in request.api.list_steps(marker.run, marker.attempt) if one.name == TESTS
    }
    if became == {"success"}:
        return None
    if "failure" in became:
        return f"The team's tests failed in {run}. Nobody approves that: mend them, which starts a review by itself."
    if not became:
        return f"{run} did not run the team's tests, as main's workflow does, so nobody can tell whether they pass."
    return f"The team's tests did not run to their end in {run}. Run it again, then approve."


def _find_move(request: Request, marker: Marker) -> str | None:
    """Why main no longer judges as it did for the review; None where it does."""
    base = str(marker.base)
    tip = request.api.find_branch(base)
    standing, why = compare_judges(
        request.api, str(marker.base_commit), tip, branch=base, folder=request.folder, retry=request.retry
    )
    return None if standing == "current" else f"The review is stale: {escape_prose(why or standing)}."


def find_check(request: Request, pull: PullRequestText) -> tuple[Marker, CheckRun] | None:
    """Find the newest check run that the bots wrote about the head."""
    ours = [
        (check.id, marker, check)
        for check in request.api.list_check_runs(pull.head_sha, request.naming.check)
        if check.app == request.author
        and (marker := parse_marker(check.external_id, request.naming)) is not None
        and marker.commit == pull.head_sha
    ]
    return max(ours, key=lambda one: one[0])[1:] if ours else None


def list_unsettled(request: Request, pull: PullRequestText, marker: Marker) -> list[str]:
    """List the further models, of those that main declares, whose check by the same run is no success."""
    settled = set[str]()
    for name in request.settings.models:
        found = find_check(request.take_model(name), pull)
        if found is not None and found[1].conclusion == "success" and found[0] == marker:
            settled.add(name)
    return [name for name in request.settings.models if name not in settled]


def is_approvable(marker: Marker, title: str | None) -> bool:
    """Whether a check says nothing but what a person may decide.

    That is what its own review asks a person; of the main model's also that another model holds the change up, and of
    a further one's that the run failed, maybe by another model's review.
    """
    verdict = marker.verdict
    if verdict is None:
        return False
    if verdict in ASKS and title == describe_verdict(verdict):
        return True
    if marker.naming.model is not None:
        return verdict not in NEVER_PASS and title == f"{verdict.capitalize()}, {RUN_FAILED}"
    return _is_held(marker, title)


def _is_held(marker: Marker, title: str | None) -> bool:
    """Whether a check says that another model holds the change up, which its own review lets pass or asks about."""
    verdict = marker.verdict
    if verdict is None or verdict in NEVER_PASS:
        return False
    own = [verdict.capitalize(), *([describe_verdict(verdict)] if verdict in ASKS else [])]
    return any(is_held_by_others(title, one) for one in own)


def explain_refusal(
    marker: Marker,
    check: CheckRun,
    pull: PullRequestText,
    *,
    seen_at: str,
    unsettled: Sequence[str] | None = None,
) -> str | None:
    """Why a check is nothing to approve; None where it is.

    `seen_at` is when the command was written, `unsettled` the further models whose checks are no success; None: that
    was not asked.
    """
    head = pull.head_sha[:7]
    if check.conclusion is None:
        return f"The review of {head} is still running. Read it, then approve."
    if check.completed_at is None or check.completed_at > seen_at:
        return f"The review of {head} is newer than this command. Read it, then approve again."
    if check.conclusion == "success":
        return (
            f"There is nothing to approve: the check of {head} says {escape_text(check.title or 'success')}."
        )
    if marker.base != pull.base:
        return f"The review of {head} is not about {escape_text(pull.base)}."
    said = escape_text(check.title or marker.verdict or check.conclusion)
    held = marker.naming.model is None and _is_held(marker, check.title)
    if not is_approvable(marker, check.title) or (held and unsettled is None):
        if marker.verdict not in ASKS:
            return (
                f"This cannot be approved: the check says “{said}”. A person decides only where the review asks for "
                f"one: {', '.join(ASKS)}."
            )
        return f"This cannot be approved: the check says “{said}”. Mend that first."
    if held and unsettled:
        first = unsettled[0]
        return (
            f"This cannot be approved: the check says “{said}”, and `{marker.naming.check}: {first}` has not passed. "
            f"Where that review asks a person, `{marker.naming.command_start}approve {first}` comes first; it approves "
            "that model alone."
        )
    if marker.digests is None:
        return f"The review of {head} does not name the model that it judged, so nobody can say what is approved."
    return None


def name_model(marker: Marker) -> str:
    """A model by the first digits of its digest."""
    return f"`{marker.digests.model[4:12]}`" if marker.digests else "unknown"
