"""Obeys what a person ticked in an issue of the watch, once GitHub has confirmed who it was and that they may.

GitHub's API does not say who ticked a box: it names the author of an issue, not of its edits. The event that an edit
sends does, so a workflow that it starts is the only place where a tick counts. A tick that no event confirmed is taken
out by the next run of the watch, which says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Annotated, Protocol

import msgspec
from msgspec import Meta, Struct

from bots.decoding import DECODE_ERRORS, describe_decode_error
from bots.github.client import Comment, Issue, NotInWorkflow
from bots.naming import ALONE, Naming
from bots.observations import Decision, Instant
from bots.render import monitoring_issue as rendering
from bots.render.monitoring_issue import LABEL, Box, parse_boxes, parse_issue_marker
from bots.retry import RequestDenied, Retry

MAY_DECIDE = ("admin", "maintain", "write")
LONGEST_MUTE = 366


class DecisionApi(Protocol):
    """What obeying asks of GitHub. Every call raises `RequestDenied` or `TemporaryFailure`."""

    def get_permission(self, login: str) -> str:
        """Get what somebody may do in the repository."""

    def get_issue(self, number: int) -> Issue:
        """Get an issue."""

    def edit_issue(self, number: int, *, title: str, body: str) -> None:
        """Replace what an issue says."""

    def list_comments(self, number: int) -> list[Comment]:
        """List the comments of an issue, oldest first."""

    def create_comment(self, number: int, body: str) -> None:
        """Add a comment."""


class _Login(Struct, frozen=True):
    login: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,60}(\[bot\])?\Z")]


class _Label(Struct, frozen=True):
    name: str


class _Edited(Struct, frozen=True):
    number: int
    updated_at: Instant
    user: _Login | None = None
    body: str | None = None
    labels: list[_Label] = []


class _From(Struct, frozen=True):
    before: str = msgspec.field(name="from", default="")


class _Changes(Struct, frozen=True):
    body: _From | None = None


class _Home(Struct, frozen=True):
    default_branch: str = "main"


class IssueEdit(Struct, frozen=True):
    """An edit of an issue, as GitHub's event `issues` tells of it."""

    action: str
    issue: _Edited
    sender: _Login
    changes: _Changes = _Changes()
    repository: _Home = _Home()


@dataclass(frozen=True)
class ObeyResult:
    """What was obeyed, and in whole sentences what was not."""

    decisions: list[Decision]
    refused: list[str]


def load_issue_edit(path: str | None) -> IssueEdit:
    """Load the event that `GITHUB_EVENT_PATH` names. Raises `NotInWorkflow` for any other event."""
    if not path:
        raise NotInWorkflow("GITHUB_EVENT_PATH must be set; GitHub Actions does")
    try:
        return msgspec.json.decode(Path(path).read_bytes(), type=IssueEdit)
    except OSError as error:
        raise NotInWorkflow(f"{path} is not the payload of an issues event: {error}") from error
    except DECODE_ERRORS as error:
        said = describe_decode_error(error)
        raise NotInWorkflow(f"{path} is not the payload of an issues event: {said}") from error


def find_new_ticks(edit: IssueEdit, author: str, naming: Naming = ALONE) -> list[Box]:
    """Find the boxes that this edit ticked in an issue of this project's watch; none in any other."""
    issue = edit.issue
    body = issue.body or ""
    is_ours = (
        issue.user is not None
        and issue.user.login == author
        and any(label.name == LABEL for label in issue.labels)
    )
    if edit.action != "edited" or edit.changes.body is None or not is_ours or edit.sender.login == author:
        return []
    marker = parse_issue_marker(body, naming)
    if marker is None or marker != parse_issue_marker(edit.changes.body.before, naming):
        return []
    before = {(box.what, box.until) for box in parse_boxes(edit.changes.body.before) if box.ticked}
    return [box for box in parse_boxes(body) if box.ticked and (box.what, box.until) not in before]


def obey_edit(
    edit: IssueEdit, api: DecisionApi, *, author: str, retry: Retry, naming: Naming = ALONE
) -> ObeyResult:
    """Keep each decision as a comment of the bot's, and take the ticks out. Safe to repeat.

    Raises `RequestDenied`, `RetriesExhausted` where GitHub does not say what the sender may do, or takes no comment:
    then nothing was obeyed that is not kept.
    """
    ticks = find_new_ticks(edit, author, naming)
    marker = parse_issue_marker(edit.issue.body or "", naming)
    if not ticks or marker is None:
        return ObeyResult([], [])
    number, who = edit.issue.number, edit.sender.login
    decisions, refused = [], []
    why = retry.call("permission", lambda: _explain_refusal(api, who))
    for box in ticks:
        problem = why or _explain_day(box, edit.issue.updated_at[:10])
        if problem is not None:
            refused.append(problem)
            continue
        decisions.append(
            Decision(
                trouble=marker.trouble,
                what=box.what,
                by=who,
                at=edit.issue.updated_at,
                until=box.until,
                issue=number,
            )
        )
    said = [rendering.render_decision(one) for one in decisions]
    said += [rendering.render_refusal(who, one) for one in sorted(set(refused))]
    for body in said:
        retry.call("comment", _build_comment_step(api, number, body, author))
    retry.call("issue", lambda: _untick(api, number))
    return ObeyResult(decisions, sorted(set(refused)))


def choose_naming(edit: IssueEdit, namings: Sequence[Naming]) -> Naming:
    """Choose the naming of the model that an edited issue is about; the first one where it is about none of them."""
    body = edit.issue.body or ""
    return next((one for one in namings if parse_issue_marker(body, one) is not None), namings[0])


def _build_comment_step(api: DecisionApi, number: int, body: str, author: str) -> Callable[[], None]:
    def step() -> None:
        if not any(one.author == author and one.body == body for one in api.list_comments(number)):
            api.create_comment(number, body)

    return step


def _explain_refusal(api: DecisionApi, who: str) -> str | None:
    try:
        permission = api.get_permission(who)
    except RequestDenied as error:
        if error.status != 404:
            raise
        permission = "none"
    if permission in MAY_DECIDE:
        return None
    return "only people who may write to this repository decide about it"


def _explain_day(box: Box, today: str) -> str | None:
    if box.what != "muted":
        return None
    try:
        until = date.fromisoformat(box.until or "")
    except ValueError:
        return f"{box.until} is no day"
    begin = date.fromisoformat(today)
    if begin - timedelta(days=1) <= until <= begin + timedelta(days=LONGEST_MUTE):
        return None
    return f"a trouble can be muted for {LONGEST_MUTE} days at most, and {until} is not within them"


def _untick(api: DecisionApi, number: int) -> None:
    issue = api.get_issue(number)
    body = rendering.untick_boxes(issue.body)
    if body != issue.body.replace("\r\n", "\n"):
        api.edit_issue(number, title=issue.title, body=body)
