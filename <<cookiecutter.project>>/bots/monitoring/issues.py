"""Keeps one issue for each kind of trouble: opened, edited, closed when it is over; reads what people decided there.

An issue is known by its marker, its author and its label. Everything here says how it should be and looks how it is
first, so it may be repeated after whatever stopped it. When a trouble is over its issue is closed, and the next one
gets an issue of its own: its number then names one time of trouble. An issue that a person closed while the trouble
goes on is opened again, because closing it is none of the decisions that the bot knows: it would silence an alarm
without a trace.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

from bots.github.client import GitHubApi, Issue
from bots.naming import ALONE, Naming
from bots.observations import Decision, Episode, Instant, Trouble, TroubleState
from bots.render import monitoring_issue as rendering
from bots.render.monitoring_issue import LABEL, IssueLinks, IssueMarker, parse_issue_marker
from bots.retry import RequestDenied, RetriesExhausted, Retry

Done = Literal["opened", "edited", "reopened", "closed", "none", "not written"]
GRANT = "Grant `issues: write` under `permissions:` of the job in .github/workflows/{file}."
ADVICE = {
    401: "The token is not accepted.",
    403: GRANT,
    404: GRANT,
    410: "Issues are switched off in this repository: Settings > General > Features > Issues.",
}


class WatchIssueApi(GitHubApi, Protocol):
    """What the watch asks of GitHub about issues. Every call raises `RequestDenied` or `TemporaryFailure`."""

    def list_issues(self, label: str, *, closed: bool = False) -> list[Issue]:
        """List the issues with a label."""

    def create_issue(self, title: str, body: str, label: str) -> None:
        """Open an issue."""

    def edit_issue(self, number: int, *, title: str, body: str) -> None:
        """Replace what an issue says."""

    def reopen_issue(self, number: int, *, title: str, body: str) -> None:
        """Open a closed issue again and replace what it says."""

    def close_issue(self, number: int, body: str) -> None:
        """Close an issue, with its last text."""


@dataclass(frozen=True, kw_only=True)
class IssueResult:
    """What became of the issue of a kind of trouble. `page`: people are to be told now, and were not yet.

    `words` says in a sentence what was done, or why it could not be.
    """

    trouble: Trouble
    done: Done
    words: str
    number: int | None = None
    page: bool = False


@dataclass(frozen=True)
class _OwnIssue:
    issue: Issue
    marker: IssueMarker


@dataclass
class WatchIssues:
    """The issues of the watch. `author` is the login under which the bot writes, `now` the time of the run."""

    api: WatchIssueApi
    author: str
    retry: Retry
    now: Instant
    links: IssueLinks = field(default_factory=IssueLinks)
    naming: Naming = ALONE

    def settle_issues(self, states: Sequence[TroubleState]) -> list[IssueResult]:
        """Bring the issue of each kind of trouble to how it stands. What fails is told and stops no other."""
        return [self._try_settle(state) for state in states]

    def read_decisions(self) -> list[Decision]:
        """Read what people decided in the issues of troubles that go on, oldest first.

        The bot kept each decision as a comment of its own, after GitHub had confirmed who made it. Raises
        `RequestDenied`, `RetriesExhausted`.
        """
        return self.retry.call("decisions", self._read_decisions)

    def mark_told(self, state: TroubleState) -> None:
        """Keep in the issue that people were told of its alarm. Raises `RequestDenied`, `RetriesExhausted`."""

        def step() -> None:
            for own in self._list_own(state.trouble):
                if own.issue.open and own.marker.state == "open":
                    told = replace(own.marker, paged=self.now)
                    body = rendering.replace_issue_marker(own.issue.body, told)
                    self.api.edit_issue(own.issue.number, title=own.issue.title, body=body)

        self.retry.call("issue", step)

    def _read_decisions(self) -> list[Decision]:
        found = []
        for own in self._list_own(None):
            if own.marker.state == "open":
                for comment in self.api.list_comments(own.issue.number):
                    decision = rendering.parse_decision(comment.body, own.issue.number)
                    if comment.author == self.author and decision is not None:
                        found.append(decision)
        return sorted(found, key=lambda one: one.at)

    def _try_settle(self, state: TroubleState) -> IssueResult:
        try:
            return self.retry.call("issue", lambda: self._settle(state))
        except (RequestDenied, RetriesExhausted) as error:
            status = error.status if isinstance(error, RequestDenied) else 0
            advice = ADVICE.get(status, "").format(file=self.naming.name_workflow("monitor"))
            words = f"the issue about {state.trouble} could not be written: {error}. {advice}"
            # Nothing remembers who was told, so only the run in which an alarm begins tells people.
            page = state.page and state.episode is not None and state.episode.alarm == self.now
            return IssueResult(trouble=state.trouble, done="not written", words=words.strip(), page=page)

    def _settle(self, state: TroubleState) -> IssueResult:
        own = self._list_own(state.trouble)
        episode = state.episode
        if episode is None and not state.looked:
            # Nothing is known, as where what the watch kept is lost: that ends nothing.
            return IssueResult(trouble=state.trouble, done="none", words="")
        if episode is None or episode.until is not None:
            return self._close_all(state, own)
        living = [one for one in own if one.marker.state == "open"]
        chosen = self._choose(living, episode)
        if chosen is None and (not episode.told or state.standing == "muted"):
            return IssueResult(trouble=state.trouble, done="none", words="")
        done: Done = "edited"
        if chosen is None:
            text = rendering.render_issue(state, now=self.now, links=self.links, naming=self.naming)
            self.api.create_issue(text.title, text.body, LABEL)
            done, chosen = "opened", self._choose(self._list_own(state.trouble), episode)
            if chosen is None:
                words = f"the issue about {state.trouble} was opened, and GitHub does not list it yet"
                return IssueResult(trouble=state.trouble, done=done, words=words, page=state.page)
            living = [one for one in self._list_own(state.trouble) if one.marker.state == "open"]
        elif not chosen.issue.open:
            done = "reopened"
        self._close_doubles(living, chosen)
        self._write(state, chosen)
        return IssueResult(
            trouble=state.trouble,
            done=done,
            number=chosen.issue.number,
            words=f"issue #{chosen.issue.number} about {state.trouble} was {done}",
            page=state.page and (chosen.marker.paged or "") < (episode.alarm or self.now),
        )

    def _write(self, state: TroubleState, chosen: _OwnIssue) -> None:
        """Write an issue as it should be, open."""
        number = chosen.issue.number
        ticked = any(box.ticked for box in rendering.parse_boxes(chosen.issue.body))
        text = rendering.render_issue(
            state,
            now=self.now,
            paged=chosen.marker.paged,
            links=self.links,
            unconfirmed=ticked,
            naming=self.naming,
        )
        if not chosen.issue.open:
            self.api.reopen_issue(number, title=text.title, body=text.body)
        elif (chosen.issue.title, chosen.issue.body.split()) != (text.title, text.body.split()):
            self.api.edit_issue(number, title=text.title, body=text.body)

    def _choose(self, own: Sequence[_OwnIssue], episode: Episode) -> _OwnIssue | None:
        """Choose the oldest open issue, else the one of this very episode that a person closed."""
        living = [one for one in own if one.marker.state == "open"]
        opened = [one for one in living if one.issue.open]
        if opened:
            return opened[0]
        return next((one for one in reversed(living) if one.marker.since == episode.since), None)

    def _close_doubles(self, living: Sequence[_OwnIssue], chosen: _OwnIssue) -> None:
        """Close other open issues about the same: another run opened one at the same time."""
        for other in living:
            if other.issue.open and other.issue.number != chosen.issue.number:
                marker = replace(other.marker, state="doubled")
                body = rendering.replace_issue_marker(other.issue.body, marker)
                self.api.close_issue(other.issue.number, body)

    def _close_all(self, state: TroubleState, own: Sequence[_OwnIssue]) -> IssueResult:
        """Close what is open about a trouble that is over; also what an earlier run could not."""
        closed = None
        for one in own:
            if one.marker.state != "open" or not one.issue.open:
                continue
            closed = one.issue.number
            episode = state.episode or Episode(
                trouble=state.trouble, since=one.marker.since, until=self.now[:10], words=""
            )
            if not any(
                comment.author == self.author and rendering.is_recovery(comment.body, episode.since)
                for comment in self.api.list_comments(closed)
            ):
                self.api.create_comment(closed, rendering.render_recovery(episode))
            if state.episode is None:
                body = rendering.replace_issue_marker(one.issue.body, replace(one.marker, state="recovered"))
            else:
                body = rendering.render_issue(
                    state, now=self.now, paged=one.marker.paged, links=self.links, naming=self.naming
                ).body
            self.api.close_issue(closed, body)
        if closed is None:
            return IssueResult(trouble=state.trouble, done="none", words="")
        words = f"issue #{closed} about {state.trouble} was closed: it is over"
        return IssueResult(trouble=state.trouble, done="closed", number=closed, words=words)

    def _list_own(self, trouble: Trouble | None) -> list[_OwnIssue]:
        """List the bot's issues about a trouble (None: all), the oldest first, open and closed."""
        found = []
        for issue in self.api.list_issues(LABEL, closed=True):
            is_bots = issue.author == self.author
            marker = parse_issue_marker(issue.body, self.naming) if is_bots else None
            if marker is not None and trouble in (None, marker.trouble):
                found.append(_OwnIssue(issue, marker))
        return sorted(found, key=lambda one: one.issue.number)


def merge_decisions(known: Sequence[Decision], read: Sequence[Decision]) -> list[Decision]:
    """Merge what was kept with what was read just now; each decision once, oldest first."""
    by_key = {(one.trouble, one.what, one.by, one.at): one for one in (*known, *read)}
    return sorted(by_key.values(), key=lambda one: one.at)
