"""`/mute`, `/retrain` and `/acknowledge` in an issue of the watch: kept as a ticked box is; `/retrain` reviews anew."""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING, Final, Literal

from bots.monitoring.decisions import LONGEST_MUTE
from bots.observations import Decision
from bots.render.monitoring_issue import RETRAINABLE, parse_issue_marker, render_decision
from bots.respond.answer import Answer, Request, refuse

if TYPE_CHECKING:
    from bots.render.monitoring_issue import IssueMarker

NOT_OURS: Final = "belongs below an open issue of the watch, which is about a kind of trouble."


def mute(request: Request) -> Answer:
    """Mute a trouble until a day. The watch reads the answer."""
    found = _find_trouble(request, "mute")
    if isinstance(found, Answer):
        return found
    today = date.fromisoformat(request.event.comment.created_at[:10])
    last = today + timedelta(days=LONGEST_MUTE)
    try:
        until = date.fromisoformat(request.arguments)
    except ValueError:
        return refuse(f"`/mute` needs a day, such as `/mute {today + timedelta(days=7)}`.")
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
    if found.trouble not in RETRAINABLE:
        return refuse(f"Training anew does not mend trouble of the kind {found.trouble}.")
    return _keep(request, found, "retrain")


def _review_anew(request: Request) -> Answer:
    if not request.may_decide:
        return refuse("Only people who may write to this repository start a review.")
    if request.arguments:
        return refuse(
            "`/retrain` takes nothing here: the branch's own `params.yaml` says how it is trained. Change it there, "
            "which starts a review by itself."
        )
    pull = request.api.get_pull_request(request.event.issue.number)
    if pull.repository != request.repository:
        return refuse("The change comes from a fork, where nothing can be started: its author pushes to it.")
    request.api.start_workflow(request.naming.name_workflow("pull-request"), pull.branch)
    return Answer(
        f"The review of {pull.head_sha[:7]} was started anew; it trains, judges and answers in the comment above."
    )


def _find_trouble(request: Request, word: str) -> IssueMarker | Answer:
    """Find what an issue of the watch is about; the answer where it is none, or the sender may not."""
    if request.event.is_on_pull_request or request.event.issue.state != "open":
        return refuse(f"`/{word}` {NOT_OURS}")
    issue = request.api.get_issue(request.event.issue.number)
    namings = [request.naming, *(request.take_model(name).naming for name in request.settings.models)]
    markers = (parse_issue_marker(issue.body, naming) for naming in namings)
    marker = next(filter(None, markers), None) if issue.author == request.author else None
    if marker is None:
        return refuse(f"`/{word}` {NOT_OURS}")
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
