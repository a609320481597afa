"""`/mute`, `/retrain` and `/acknowledge` in an issue of the watch: kept as a ticked box is; `/retrain` reviews anew."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from typing import TYPE_CHECKING, Final, Literal

from bots.layout import PARAMS
from bots.monitoring.decisions import LONGEST_MUTE
from bots.observations import Decision
from bots.publish.lock import explain_branch
from bots.render.escape import escape_prose, escape_text
from bots.render.monitoring_issue import RETRAINABLE, parse_issue_marker, render_decision
from bots.respond import parameters
from bots.respond.answer import Answer, Request, refuse
from bots.respond.approve import ASKED_BY, find_check
from bots.retry import RequestDenied
from bots.settings import parse_settings

if TYPE_CHECKING:
    from bots.github.client import PullRequestText
    from bots.render.monitoring_issue import IssueMarker

NOT_OURS: Final = "belongs below an open issue of the watch, which is about a kind of trouble."


def mute(request: Request) -> Answer:
    """Mute a trouble until a day. The watch reads the answer."""
    found = _find_trouble(request, "mute")
    if isinstance(found, Answer):
        return found
    today = date.fromisoformat(request.event.comment.created_at[:10])
    start = request.naming.command_start
    last = today + timedelta(days=LONGEST_MUTE)
    try:
        until = date.fromisoformat(request.arguments)
    except ValueError:
        return refuse(f"`{start}mute` needs a day, such as `{start}mute {today + timedelta(days=7)}`.")
    if not today <= until <= last:
        return refuse(f"A trouble can be muted from {today} until {last}; {until} is not within them.")
    return _keep(request, found, "muted", until.isoformat())


def acknowledge(request: Request) -> Answer:
    """Acknowledge a trouble. The watch reads the answer."""
    found = _find_trouble(request, "acknowledge")
    return found if isinstance(found, Answer) else _keep(request, found, "acknowledged")


def retrain(request: Request) -> Answer:
    """Below a pull request: review its head anew. Below an issue of the watch: ask for a retrain pull request."""
    if request.event.is_on_pull_request:
        return _review_anew(request)
    found = _find_trouble(request, "retrain")
    if isinstance(found, Answer):
        return found
    if request.arguments:
        return refuse(
            f"`{request.naming.command_start}retrain` takes values below a pull request alone: write them below the "
            "one that it opens."
        )
    if found.trouble not in RETRAINABLE:
        return refuse(f"Training anew does not mend trouble of the kind {found.trouble}.")
    return _keep(request, found, "retrain")


def _review_anew(request: Request) -> Answer:
    if not request.may_decide:
        return refuse("Only people who may write to this repository start a review.")
    pull = request.api.get_pull_request(request.event.issue.number)
    if not pull.open:
        return refuse("This pull request is closed.")
    if pull.repository != request.repository:
        return refuse("The change comes from a fork, where nothing can be started: its author pushes to it.")
    if request.arguments:
        return _train_with_values(request, pull)
    request.api.start_workflow(request.naming.name_workflow("pull-request"), pull.branch)
    return Answer(
        f"The review of {pull.head_sha[:7]} was started anew; it trains, judges and answers in the comment above."
    )


def _train_with_values(request: Request, pull: PullRequestText) -> Answer:
    """Commit values of params.yaml on the head that the person saw, and start its review. Raises `BotsError`."""
    if words := explain_branch(pull.branch, request.event.repository.default_branch):
        return refuse(f"Nothing is committed there: {escape_prose(words)}.")
    changes = parameters.parse_changes(request.arguments)
    parameters.require_allowed(changes, request.settings.commands.retrain)
    said = escape_prose(parameters.describe_changes(changes), 600)
    commit = pull.head_sha
    if not _is_done(request, pull, changes):
        if unseen := _explain_unseen(request, pull):
            return refuse(unseen)
        try:
            commit = _commit_changes(request, pull, changes)
        except RequestDenied as error:
            if error.status != 422:
                raise
            return refuse(
                f"The branch has moved on from {pull.head_sha[:7]}: look at it, and write it again."
            )
    done = f"{commit[:7]} sets {said} on top of what you saw, in your name"
    try:
        workflow = request.naming.name_workflow("pull-request")
        request.retry.call("review", lambda: request.api.start_workflow(workflow, pull.branch))
    except RequestDenied as error:
        return refuse(f"{done}, but its review could not be started: {escape_text(str(error), 300)}")
    return Answer(
        f"{done}, and its review was started. Who asked for values does not approve what comes of them."
    )


def _is_done(request: Request, pull: PullRequestText, changes: parameters.Changes) -> bool:
    """Tell whether the newest commit is what this command made: these values alone, on a commit that the person saw.

    Anybody who may push can write its message.
    """
    newest = (request.api.list_messages(pull.number) or [""])[-1]
    parent = request.api.find_parent(pull.head_sha) if f"\n{_name_comment(request)}\n" in newest else None
    if parent is None or _explain_unseen(request, replace(pull, head_sha=parent)):
        return False
    path = f"{request.folder}{PARAMS}"
    if request.api.compare_commits(parent, pull.head_sha).paths != frozenset({path}):
        return False
    before, now = (request.api.read_file(commit, path) for commit in (parent, pull.head_sha))
    if before is None or now is None:
        return False
    return parameters.change_values(before.decode(errors="replace"), changes).encode() == now


def _explain_unseen(request: Request, pull: PullRequestText) -> str | None:
    """Explain why the newest commit may not be the one that the person saw; None where its review began before."""
    found = find_check(request, pull)
    if found is not None and found[0].started <= request.asked_at:
        return None
    return (
        f"The newest commit, {pull.head_sha[:7]}, is newer than this command, or its review has not begun: look at it, "
        "and write it again."
    )


def _commit_changes(request: Request, pull: PullRequestText, changes: parameters.Changes) -> str:
    """Commit the changed params.yaml on top of the head; the new commit. The same request makes the same commit."""
    path = f"{request.folder}{PARAMS}"
    content = request.api.read_file(pull.head_sha, path)
    if content is None:
        raise parameters.WrongChange(f"{pull.head_sha[:7]} has no {path}")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise parameters.WrongChange(f"{path} of {pull.head_sha[:7]} is no UTF-8") from error
    made = parameters.change_values(text, changes)
    parse_settings(made, f"{PARAMS} with these values")
    message = (
        f"Train with {parameters.describe_changes(changes)}\n\n"
        f"{request.who} asked for it in #{pull.number}. Only {PARAMS} changes.\n\n"
        f"{_name_comment(request)}\n{ASKED_BY}: {request.who}\n"
    )
    return request.api.commit_file(
        pull.branch, pull.head_sha, path, made, message=message, who=request.who, at=request.asked_at
    )


def _name_comment(request: Request) -> str:
    return f"Asked-in: comment {request.event.comment.id}"


def _find_trouble(request: Request, word: str) -> IssueMarker | Answer:
    """Find what an issue of the watch is about; the answer where it is none, or the sender may not."""
    if request.event.is_on_pull_request or request.event.issue.state != "open":
        return refuse(f"`{request.naming.command_start}{word}` {NOT_OURS}")
    issue = request.api.get_issue(request.event.issue.number)
    namings = [request.naming, *(request.take_model(name).naming for name in request.settings.models)]
    markers = (parse_issue_marker(issue.body, naming) for naming in namings)
    marker = next(filter(None, markers), None) if issue.author == request.author else None
    if marker is None:
        return refuse(f"`{request.naming.command_start}{word}` {NOT_OURS}")
    if not request.may_decide:
        return refuse("Only people who may write to this repository decide about it.")
    return marker


def _keep(
    request: Request,
    marker: IssueMarker,
    what: Literal["acknowledged", "muted", "retrain"],
    until: str | None = None,
) -> Answer:
    decision = Decision(
        trouble=marker.trouble,
        what=what,
        by=request.who,
        at=request.event.comment.created_at,
        until=until,
        issue=request.event.issue.number,
    )
    body = render_decision(decision)
    known = request.api.list_comments(request.event.issue.number)
    if not any(one.author == request.author and one.body == body for one in known):
        request.api.create_comment(request.event.issue.number, body)
    return Answer("Kept; the next run of the watch reads it.")
