"""Turns the checks of open pull requests stale when main judges otherwise than it did when they were reviewed.

It only ever takes a conclusion away: what it did not look at, or looked at twice, does no harm.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Literal

from msgspec import Struct

from bots.github.check_run import build_content
from bots.github.marker import parse_marker
from bots.naming import ALONE, Naming
from bots.publish.base import FAILURES, UPDATE, compare_judges
from bots.render.escape import escape_prose, escape_text

if TYPE_CHECKING:
    from bots.evidence import Verdict
    from bots.github.client import CheckRun, GitHubApi, PullRequest
    from bots.github.marker import Marker
    from bots.publish.base import Standing
    from bots.retry import Retry

Done = Literal["made stale", "stale already", "current", "no review", "not known"]
LONGEST_REVIEW: Final = 6 * 3600.0
"""GitHub ends a job of its own machines after so many seconds."""

Judged = Literal["stale", "running", "no review", "other"]


class Outcome(Struct, frozen=True, kw_only=True):
    """What was done about an open pull request, and why; `not known` is a failure, which a person should look at."""

    number: int
    commit: str
    done: Done
    words: str


@dataclass
class StaleChecks:
    """The open pull requests to a branch, held against its newest commit `tip`.

    `folder` is the project's place in the repository: empty, or with a slash at the end. `author` is the login under
    which the bots write. `naming` says of which project and model the checks are.
    """

    api: GitHubApi
    branch: str
    tip: str
    folder: str
    author: str
    retry: Retry
    naming: Naming = ALONE
    _known: dict[str, tuple[Standing, str | None]] = field(default_factory=dict)

    def settle(self, pull: PullRequest) -> Outcome:
        """Turn the check of a pull request stale where main judges otherwise than it did for it. Safe to repeat."""
        try:
            done, words = self.retry.call("check", lambda: self._settle(pull))
        except FAILURES as error:
            done, words = "not known", f"whether its review is stale is not known: {error}"
        return Outcome(number=pull.number, commit=pull.head_sha, done=done, words=words)

    def judge(self, sha: str) -> tuple[Judged, Verdict | None]:
        """Judge what a head's check is worth on the newest main, with the verdict of its review.

        A review that began too long ago ended without a word, and runs no more.
        Raises `RequestDenied`, `RetriesExhausted`, `LockfileError` and `SettingsError`.
        """
        found = self.retry.call("check", lambda: self._find_check(sha))
        if found is None:
            return "no review", None
        marker, check = found
        if check.conclusion is None:
            earliest = datetime.fromtimestamp(self.retry.clock() - LONGEST_REVIEW, UTC)
            return "running" if marker.started > f"{earliest:%Y-%m-%dT%H:%M:%SZ}" else "other", None
        if marker.verdict is None or marker.base not in (None, self.branch):
            return "other", marker.verdict
        standing, _ = self._find_standing(marker)
        return "stale" if standing == "stale" else "other", marker.verdict

    def _settle(self, pull: PullRequest) -> tuple[Done, str]:
        found = self._find_check(pull.head_sha)
        if found is None:
            return "no review", "its head has no check of the bots"
        marker, check = found
        if check.conclusion is None:
            return "no review", "its review is running, and will be held against main when it is published"
        if marker.verdict is None or marker.base not in (None, self.branch):
            return "no review", f"its check says: {check.title}"
        standing, why = self._find_standing(marker)
        if standing == "current":
            return "current", "main judges as it did for its review"
        title = f"Stale: {why}"
        if (check.conclusion, check.title) == ("action_required", title):
            return "stale already", title
        # Asking about main takes time, in which a new review may have been written.
        if self._find_check(pull.head_sha) != found:
            return "no review", "its check was written meanwhile"
        self.api.edit_check_run(
            check.id,
            build_content(
                marker,
                conclusion="action_required",
                title=title,
                summary=self._explain(check, str(why)),
                details_url=check.details_url,
            ),
        )
        return "made stale", title

    def _find_check(self, sha: str) -> tuple[Marker, CheckRun] | None:
        """Find the newest check run that the bots wrote about a commit: the one that counts."""
        ours = [
            (check.id, marker, check)
            for check in self.api.list_check_runs(sha, self.naming.check)
            if check.app == self.author
            and (marker := parse_marker(check.external_id, self.naming)) is not None
        ]
        return max(ours, key=lambda one: one[0])[1:] if ours else None

    def _find_standing(self, marker: Marker) -> tuple[Standing, str | None]:
        commit = marker.base_commit
        if commit is None:
            return "unknown", f"its review does not say which commit of {self.branch} it was held against"
        if commit not in self._known:
            self._known[commit] = compare_judges(
                self.api, commit, self.tip, branch=self.branch, folder=self.folder, retry=self.retry
            )
        return self._known[commit]

    def _explain(self, check: CheckRun, why: str) -> str:
        before = "" if check.title is None or check.title.startswith("Stale: ") else check.title
        said = f"\n\nBefore that it said: {escape_text(before, 200)}." if before else ""
        update = UPDATE.format(branch=self.branch, start=self.naming.command_start)
        advice = f"{why[0].upper()}{why[1:]} since this review. {update}"
        return f"{escape_prose(advice, 900)}{said} The comment on the pull request has the review."


def settle_all(
    api: GitHubApi, *, branch: str, folder: str, author: str, retry: Retry, naming: Naming = ALONE
) -> list[Outcome]:
    """Settle every open pull request to a branch. Raises `RequestDenied`, `RetriesExhausted` where none are known."""
    tip = retry.call("base", lambda: api.find_branch(branch))
    pulls = retry.call("pull requests", lambda: api.list_open_pull_requests(branch))
    checks = StaleChecks(
        api=api, branch=branch, tip=tip, folder=folder, author=author, retry=retry, naming=naming
    )
    return [checks.settle(pull) for pull in pulls]
