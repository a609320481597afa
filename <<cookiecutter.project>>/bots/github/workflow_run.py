"""The workflow run that made a review, as GitHub tells it: the only source of what the review is of."""

from __future__ import annotations

from pathlib import Path

import msgspec
from msgspec import Struct

from bots.github.client import NotInWorkflow
from bots.github.marker import Marker


class _Owner(Struct, frozen=True):
    login: str


class _Repository(Struct, frozen=True):
    full_name: str
    owner: _Owner


class Run(Struct, frozen=True, kw_only=True):
    """`workflow_run` of the event of that name. `head_repository` is None when a fork is gone."""

    id: int
    run_number: int
    run_attempt: int
    event: str
    conclusion: str | None
    head_sha: str
    head_branch: str | None
    head_repository: _Repository | None
    run_started_at: str
    html_url: str

    @property
    def head(self) -> str | None:
        """The branch as `owner:branch`, by which GitHub finds its pull requests; None when none is left."""
        if self.head_repository is None or self.head_branch is None:
            return None
        return f"{self.head_repository.owner.login}:{self.head_branch}"

    @property
    def marker(self) -> Marker:
        """What tells this run's words from an older run's."""
        return Marker(self.run_started_at, self.run_number, self.run_attempt, self.head_sha)

    def is_of_fork(self, repository: str) -> bool:
        """Whether the change comes from another repository."""
        return self.head_repository is None or self.head_repository.full_name != repository


class _Event(Struct, frozen=True):
    workflow_run: Run


def read(path: str | None) -> Run:
    """The run that the event in `GITHUB_EVENT_PATH` is about. Raises `NotInWorkflow` for any other event."""
    if not path:
        raise NotInWorkflow("GITHUB_EVENT_PATH must be set; GitHub Actions does")
    try:
        run = msgspec.json.decode(Path(path).read_bytes(), type=_Event).workflow_run
    except (OSError, msgspec.DecodeError) as error:
        raise NotInWorkflow(f"{path} is not the payload of a workflow_run event: {error}") from error
    if run.event != "pull_request":
        raise NotInWorkflow(
            f"the run was started by {run.event!r}; only a pull request's run has a review to publish"
        )
    return run
