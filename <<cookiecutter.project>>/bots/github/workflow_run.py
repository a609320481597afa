"""The workflow run that made a review, as GitHub's event names it: the only source of which commit was reviewed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import replace

from bots.decoding import DECODE_ERRORS, describe_decode_error
from bots.github.client import NotInWorkflow
from bots.github.marker import Marker
from bots.naming import ALONE, Naming

# As GitHub names the branch of a group; nobody else may push to branches of this name.
_GROUP = re.compile(r"gh-readonly-queue/(?P<base>.+)/pr-\d+-[0-9a-f]{40,64}")
REVIEWED = ("pull_request", "merge_group", "workflow_dispatch")
"""What starts a review; by hand: a person or the watch, on a branch. GitHub names branch and commit in each case."""


class _Owner(Struct, frozen=True):
    login: str


class _Repository(Struct, frozen=True):
    full_name: str
    owner: _Owner


class WorkflowRun(Struct, frozen=True, kw_only=True):
    """The `workflow_run` of the event of that name. `head_repository` is None when the fork was deleted.

    `default_branch` is the repository's, which the event names beside the run.
    """

    id: int
    run_number: Annotated[int, Meta(ge=0, lt=10**12)]
    run_attempt: Annotated[int, Meta(ge=1, lt=10**6)]
    event: str
    conclusion: str | None
    head_sha: Annotated[str, Meta(pattern=r"^[0-9a-f]{40}([0-9a-f]{24})?$")]
    head_branch: str | None
    head_repository: _Repository | None
    run_started_at: Annotated[str, Meta(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")]
    html_url: Annotated[str, Meta(pattern=r"^https?://[\w.-]+(:\d+)?/[\w./-]*$")]
    default_branch: str = "main"

    @property
    def head(self) -> str | None:
        """The branch as `owner:branch`, by which GitHub finds its pull requests; None when it was deleted."""
        if self.head_repository is None or self.head_branch is None:
            return None
        return f"{self.head_repository.owner.login}:{self.head_branch}"

    @property
    def is_of_group(self) -> bool:
        """Tell whether a merge queue started it, for a group of pull requests at once."""
        return self.event == "merge_group"

    @property
    def queue(self) -> str | None:
        """The branch that a merge group is to become; None where GitHub's name of the group does not say."""
        found = _GROUP.fullmatch(self.head_branch or "")
        return found["base"] if found else None

    def make_marker(self, naming: Naming = ALONE) -> Marker:
        """Make the marker of what this run writes about a project and its model."""
        return Marker(
            started=self.run_started_at,
            run=self.run_number,
            attempt=self.run_attempt,
            commit=self.head_sha,
            naming=naming,
        )

    def is_of_fork(self, repository: str) -> bool:
        """Tell whether the change comes from another repository."""
        return self.head_repository is None or self.head_repository.full_name != repository


class _Home(Struct, frozen=True):
    default_branch: str


class _Event(Struct, frozen=True):
    workflow_run: WorkflowRun
    repository: _Home


def load_workflow_run(path: str | None) -> WorkflowRun:
    """Load the run from the event file that `GITHUB_EVENT_PATH` names. Raises `NotInWorkflow` for any other event."""
    if not path:
        raise NotInWorkflow("GITHUB_EVENT_PATH must be set; GitHub Actions does")
    try:
        event = msgspec.json.decode(Path(path).read_bytes(), type=_Event)
    except OSError as error:
        raise NotInWorkflow(f"{path} is not the payload of a workflow_run event: {error}") from error
    except DECODE_ERRORS as error:
        said = describe_decode_error(error)
        raise NotInWorkflow(f"{path} is not the payload of a workflow_run event: {said}") from error
    run = replace(event.workflow_run, default_branch=event.repository.default_branch)
    if run.event not in REVIEWED:
        raise NotInWorkflow(
            f"the run was started by {run.event!r}; only a pull request's or a merge group's run, or one by hand, "
            "has a review to publish"
        )
    return run
