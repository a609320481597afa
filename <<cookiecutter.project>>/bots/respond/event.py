"""The event of a comment, as GitHub sends it; nothing in it is trusted but who sent it, which GitHub says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from bots.decoding import DECODE_ERRORS, describe_decode_error
from bots.github.client import NotInWorkflow
from bots.monitoring.decisions import IssueEdit, load_issue_edit

Login = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,60}(\[bot\])?\Z")]
Moment = Annotated[str, Meta(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\Z")]


class Person(Struct, frozen=True):
    """An account."""

    login: Login
    type: str = "User"


class Subject(Struct, frozen=True):
    """The issue or pull request that was commented on."""

    number: int
    state: str = "open"
    pull_request: dict[str, Any] | None = None


class Remark(Struct, frozen=True):
    """The comment."""

    id: int
    created_at: Moment
    body: str | None = None


class Home(Struct, frozen=True):
    """The repository."""

    default_branch: str = "main"


class CommentEvent(Struct, frozen=True):
    """What GitHub's event `issue_comment` tells of a comment."""

    action: str
    issue: Subject
    comment: Remark
    sender: Person
    repository: Home = Home()

    @property
    def is_on_pull_request(self) -> bool:
        """Whether the comment stands below a pull request."""
        return self.issue.pull_request is not None


def load_event(environ: Mapping[str, str]) -> CommentEvent | IssueEdit:
    """Load the event that started the workflow: a comment, or an edit of an issue. Raises `NotInWorkflow`."""
    path = environ.get("GITHUB_EVENT_PATH")
    if environ.get("GITHUB_EVENT_NAME") == "issues":
        return load_issue_edit(path)
    if not path:
        raise NotInWorkflow("GITHUB_EVENT_PATH must be set; GitHub Actions does")
    try:
        return msgspec.json.decode(Path(path).read_bytes(), type=CommentEvent)
    except OSError as error:
        raise NotInWorkflow(f"{path} is not the payload of an issue_comment event: {error}") from error
    except DECODE_ERRORS as error:
        said = describe_decode_error(error)
        raise NotInWorkflow(f"{path} is not the payload of an issue_comment event: {said}") from error
