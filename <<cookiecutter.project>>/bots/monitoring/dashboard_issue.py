"""Keeps the dashboard's one issue: found by its mark and its author, written in place, never doubled.

Everything here looks how it is before it writes, so it may be repeated after whatever stopped it, and two runs at once
come to the same issue: the oldest open one. An issue that a person closed is opened again: `dashboard.issue: false` in
params.yaml is what ends it. One that was deleted, transferred or made a discussion is not there any more, so a new one
is made.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from bots.github.client import Issue
from bots.naming import ALONE, Naming
from bots.render import dashboard as rendering
from bots.render.dashboard import LABEL, Dashboard, DashboardTooLong, find_parts
from bots.retry import RequestDenied, RetriesExhausted, Retry

Done = Literal["opened", "edited", "reopened", "closed", "none", "not written"]
GONE: Final = (301, 404, 410)
"""What GitHub answers about an issue that was transferred or deleted; also where the token may not see it."""
ADVICE: Final = {
    301: "It was transferred to another repository; the next run makes a new one.",
    401: "The token is not accepted.",
    403: "Grant `issues: write` under `permissions:` of the job in .github/workflows/dashboard.yaml.",
    404: "Grant `issues: write` under `permissions:` of the job in .github/workflows/dashboard.yaml.",
    410: "Issues are switched off in this repository (Settings > General > Features > Issues), or it was just deleted. "
    "`dashboard: {issue: false}` in params.yaml ends it.",
}


class DashboardIssueApi(Protocol):
    """What the dashboard asks of GitHub about issues. Every call raises `RequestDenied` or `TemporaryFailure`."""

    def list_issues(self, label: str | None, *, closed: bool = False) -> list[Issue]:
        """List the issues with a label (None: whatever label they have)."""

    def get_issue(self, number: int) -> Issue:
        """Get an issue."""

    def create_issue(self, title: str, body: str, label: str) -> None:
        """Open an issue."""

    def edit_issue(self, number: int, *, title: str, body: str) -> None:
        """Replace what an issue says."""

    def reopen_issue(self, number: int, *, title: str, body: str) -> None:
        """Open a closed issue again and replace what it says."""

    def close_issue(self, number: int, body: str) -> None:
        """Close an issue, with its last text."""

    def add_label(self, number: int, label: str) -> None:
        """Give it a label."""


@dataclass(frozen=True)
class Settled:
    """What became of the issue, in a sentence that names it."""

    done: Done
    words: str
    number: int | None = None


@dataclass(frozen=True)
class DashboardIssue:
    """The dashboard of a project. `author` is the login under which the bots write."""

    api: DashboardIssueApi
    author: str
    retry: Retry
    naming: Naming = ALONE

    def settle(self, told: Dashboard) -> Settled:
        """Write the issue as it should be. What fails is told, and the next run does it again."""
        return self._try(lambda: self._settle(told))

    def switch_off(self) -> Settled:
        """Close the issue, where there is an open one."""
        return self._try(self._switch_off)

    def _try(self, step: Callable[[], Settled]) -> Settled:
        try:
            try:
                return self.retry.call("dashboard", step)
            except RequestDenied as error:
                # It may have been deleted or transferred after it was listed: then it is not listed now.
                if error.status not in GONE:
                    raise
                return self.retry.call("dashboard", step)
        except DashboardTooLong as error:
            return Settled("not written", f"{error}.")
        except (RequestDenied, RetriesExhausted) as error:
            status = error.status if isinstance(error, RequestDenied) else 0
            words = f"The dashboard could not be written: {error}. {ADVICE.get(status, 'The next run tries again.')}"
            return Settled("not written", words)

    def _settle(self, told: Dashboard) -> Settled:
        done: Done = "edited"
        own = self._list_own()
        if not own:
            title = rendering.render_title(self.naming)
            self.api.create_issue(title, rendering.render_body(told, naming=self.naming), LABEL)
            done, own = "opened", self._list_own()
            if not own:
                return Settled(done, "The dashboard was opened, and GitHub does not list it yet.")
        chosen = _choose(own)
        for other in own:
            if other.open and other.number != chosen.number:
                body = rendering.render_doubled(other.body, chosen.number, self.naming)
                self.api.close_issue(other.number, body)
        # Read again: what a person wrote or ticked since it was listed stays.
        now = self.api.get_issue(chosen.number)
        body = rendering.render_body(told, now.body, self.naming)
        if not now.open:
            self.api.reopen_issue(now.number, title=now.title, body=body)
            done = "reopened"
        elif now.body.split() != body.split():
            self.api.edit_issue(now.number, title=now.title, body=body)
        self.api.add_label(now.number, LABEL)
        return Settled(done, f"The dashboard is issue #{now.number}: {done}.", now.number)

    def _switch_off(self) -> Settled:
        try:
            opened = self._keep_own(self.api.list_issues(LABEL))
        except RequestDenied as error:
            if error.status != 410:
                raise
            opened = []  # Issues are switched off, so that none is open.
        for one in opened:
            self.api.close_issue(one.number, rendering.render_switched_off(one.body, self.naming))
        if not opened:
            return Settled("none", "No dashboard is wanted, and none is open.")
        return Settled("closed", f"The dashboard, issue #{opened[0].number}, was closed.", opened[0].number)

    def _list_own(self) -> list[Issue]:
        """List the bots' dashboards of this project, open and closed, the oldest first.

        Where somebody took the label off, an open one is found without it.
        """
        found = self._keep_own(self.api.list_issues(LABEL, closed=True))
        return found or self._keep_own(self.api.list_issues(None))

    def _keep_own(self, issues: list[Issue]) -> list[Issue]:
        own = [
            one
            for one in issues
            if one.author == self.author and find_parts(one.body, self.naming) is not None
        ]
        return sorted(own, key=lambda one: one.number)


def _choose(own: list[Issue]) -> Issue:
    """Choose the oldest open issue, else the newest of those that were closed."""
    return next((one for one in own if one.open), own[-1])
