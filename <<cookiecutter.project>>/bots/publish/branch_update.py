"""Brings the default branch into the branches of open pull requests, so that their reviews are of what would merge.

Only default-branch code runs here. A merge is pushed only on top of the commit that was read, only to a branch of this
repository that is neither the default one nor one of the bots', and never while a merge queue has the pull request.
Everything looks first, so it may be repeated after whatever stopped it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, Protocol

import msgspec
from msgspec import Struct

from bots.git.bare import BareRepository, PushRejected, RefMoved
from bots.git.merge import list_entries
from bots.git.repository import GitError
from bots.github.client import ACTIONS, GitHubApi
from bots.github.sticky_comment import upsert_comment
from bots.publish.base import FAILURES
from bots.publish.lock import explain_branch
from bots.publish.merged_branch import MergedBranch, Unmergeable, find_own_merge, merge_branch
from bots.publish.stale import StaleChecks
from bots.render import branch_update as rendering
from bots.retry import RequestDenied, RetriesExhausted, Retry

if TYPE_CHECKING:
    from bots.evidence import Verdict
    from bots.github.client import PullRequestText
    from bots.naming import Naming

Done = Literal["updated", "review started", "up to date", "conflict", "left", "waits", "not known"]
PASSING: Final[tuple[Verdict, ...]] = ("improved", "equivalent")
"""What was good enough before main moved is brought up to date first."""
# Several projects of one repository have one each.
_REVIEW_WORKFLOW: Final = re.compile(r"\.github/workflows/((?:[A-Za-z0-9-]+-)?pull-request\.yaml)")


class UpdateApi(GitHubApi, Protocol):
    """What bringing branches up to date asks of GitHub. Every call raises `RequestDenied` or `TemporaryFailure`."""

    def get_pull_request(self, number: int) -> PullRequestText:
        """Get a pull request as it is now."""

    def list_pull_request_texts(self, base: str) -> list[PullRequestText]:
        """List the open pull requests to a branch."""

    def start_workflow(self, file: str, branch: str) -> None:
        """Start a workflow on a branch's newest commit."""


class UpdateResult(Struct, frozen=True, kw_only=True):
    """What became of a pull request's branch, and why. `commit` is the merge, `dropped` the stages that each lock lost.

    `conflicts` are the paths that people have to settle in `branch`. `failed` says what could not be done, which a
    person should look at; then another run goes on from there.
    """

    number: int
    done: Done
    words: str
    branch: str | None = None
    commit: str | None = None
    dropped: dict[str, dict[str, str]] = {}
    conflicts: dict[str, str] = {}
    failed: str | None = None


class _Left(Exception):
    """The branch is left as it is; the message says why."""


@dataclass
class BranchUpdates:
    """Brings `default` into the branches of pull requests of `repository`.

    `author` is the login under which the bots comment, `checks_by` the one under which they write checks. `namings`
    are of the project's models, the main one's first; `folder` is its place in the repository. `pushes_start`: the
    token that pushes is an App's, whose pushes start workflows; those of GitHub Actions do not, so the review is
    started.
    """

    api: UpdateApi
    bare: BareRepository
    repository: str
    default: str
    author: str
    retry: Retry
    namings: Sequence[Naming]
    folder: str = ""
    pushes_start: bool = False
    checks_by: str = ACTIONS
    _tip: str | None = field(default=None, init=False)

    @property
    def naming(self) -> Naming:
        """Of which project it is."""
        return self.namings[0]

    def update(self, number: int, *, seen: str | None = None, asked: bool = False) -> UpdateResult:
        """Bring a pull request's branch up to date, start its review, and say so in its comment.

        `seen` is the newest commit that a person saw who asked for it: another one is left alone. `asked`: a comment
        is written whatever comes out.
        """
        try:
            result = self._update(number, seen)
        except _Left as error:
            result = UpdateResult(number=number, done="left", words=str(error))
        except (RequestDenied, RetriesExhausted, GitError) as error:
            words = f"it could not be brought up to date: {error}"
            result = UpdateResult(number=number, done="not known", words=words, failed=words)
        return self._comment(result, asked=asked)

    def update_stale(self, most: int) -> list[UpdateResult]:
        """Bring up to date, in order, the branches whose review main's move made stale.

        At most `most` reviews run at once, those that run already among them; the others wait. Raises `RequestDenied`,
        `RetriesExhausted` where the open pull requests are not known.
        """
        tip = self.retry.call("base", lambda: self.api.find_branch(self.default))
        pulls = self.retry.call("pull requests", lambda: self.api.list_pull_request_texts(self.default))
        checks = [
            StaleChecks(
                api=self.api, branch=self.default, tip=tip, folder=self.folder, author=self.checks_by,
                retry=self.retry, naming=naming,
            )
            for naming in self.namings
        ]  # fmt: skip
        results, stale, free = list[UpdateResult](), list[tuple[bool, int]](), most
        for pull in pulls:
            try:
                judged = [one.judge(pull.head_sha) for one in checks]
                kinds = {kind for kind, _ in judged}
                if "running" in kinds:
                    free -= 1
                elif "stale" in kinds or (kinds == {"no review"} and self._is_unfinished(pull)):
                    stale.append((judged[0][1] not in PASSING, pull.number))
            except (*FAILURES, GitError) as error:
                words = f"whether its review is stale is not known: {error}"
                results.append(UpdateResult(number=pull.number, done="not known", words=words, failed=words))
        for _, number in sorted(stale):
            if free <= 0:
                words = f"it waits: {most} reviews may run at once"
                results.append(UpdateResult(number=number, done="waits", words=words))
                continue
            result = self.update(number)
            free -= result.done in ("updated", "review started")
            results.append(result)
        return results

    def _update(self, number: int, seen: str | None) -> UpdateResult:
        pull = self._get_open(number)
        tip, head = self._fetch(pull)
        if seen is not None and head != seen and not self._follows(head, seen):
            raise _Left(
                f"the command was about {seen[:7]}, and the newest commit is {head[:7]}: look at that, and ask again"
            )
        if self.bare.contains(head, tip):
            return self._finish(pull, head)
        merged = self.retry.call("merge", lambda: merge_branch(self.bare, head, tip))
        if isinstance(merged, Unmergeable):
            words = merged.why or f"only people can settle {', '.join(list(merged.paths)[:10])}"
            return UpdateResult(
                number=number, done="conflict", words=words, branch=pull.branch, conflicts=dict(merged.paths)
            )
        if self._get_open(number).branch != pull.branch:
            raise _Left("its branch was given another name meanwhile")
        self._push(pull.branch, merged.commit, expected=head)
        return self._start(pull, merged, "updated")

    def _get_open(self, number: int) -> PullRequestText:
        """Get a pull request whose branch the bots may push to now. Raises `_Left` with the reason for every other."""
        pull = self.retry.call("pull request", lambda: self.api.get_pull_request(number))
        if not pull.open:
            raise _Left("the pull request is closed")
        if pull.base != self.default:
            raise _Left(
                f"it goes to {pull.base}; the bots bring only pull requests to {self.default} up to date"
            )
        if pull.repository != self.repository:
            raise _Left(
                f"the change comes from a fork, to which the bots never push: its author merges {self.default} of this "
                "repository into the branch and pushes it"
            )
        default = self.retry.call("fetch", self.bare.find_default_branch)
        if words := explain_branch(pull.branch, default):
            raise _Left(words)
        group = f"refs/heads/gh-readonly-queue/{self.default}/pr-{number}-*"
        if self.retry.call("fetch", lambda: self.bare.list_remote_refs(group)):
            raise _Left(
                f"it is in the merge queue, which merges {self.default} with it by itself; a push would take it out"
            )
        return pull

    def _fetch(self, pull: PullRequestText) -> tuple[str, str]:
        """Fetch the default branch, once, and a pull request's branch; returns the newest commit of each."""
        if self._tip is None:
            self._tip = self.retry.call("fetch", lambda: self.bare.fetch_history(self.default))
        head = self.retry.call("fetch", lambda: self.bare.fetch_history(pull.branch))
        if self._tip is None:
            raise GitError(f"the remote has no branch {self.default}")
        if head is None:
            raise _Left(f"its branch {pull.branch} is gone")
        return self._tip, head

    def _follows(self, head: str, seen: str) -> bool:
        """Tell whether a head is what an earlier try of ours made of the commit that was seen."""
        found = find_own_merge(self.bare, head)
        return found is not None and found[0] == seen and self._make_again(head) is not None

    def _make_again(self, head: str) -> MergedBranch | None:
        """Make a merge of ours again; None where a commit only looks like one: equal sides make an equal merge."""
        sides = find_own_merge(self.bare, head)
        again = self.retry.call("merge", lambda: merge_branch(self.bare, *sides)) if sides else None
        return again if isinstance(again, MergedBranch) and again.commit == head else None

    def _is_unfinished(self, pull: PullRequestText) -> bool:
        """Tell whether a head without a check is a merge of ours, whose review could not be started."""
        if self.pushes_start or pull.repository != self.repository:
            return False
        head = self.retry.call("fetch", lambda: self.bare.fetch_history(pull.branch))
        return head is not None and find_own_merge(self.bare, head) is not None

    def _finish(self, pull: PullRequestText, head: str) -> UpdateResult:
        """Start the review of a branch that is up to date, where an earlier try of ours could not."""
        checks = self.retry.call("check", lambda: self.api.list_check_runs(head, self.naming.check))
        if not self.pushes_start and not any(check.app == self.checks_by for check in checks):
            again = self._make_again(head)
            if again is not None:
                return self._start(pull, again, "review started")
        return UpdateResult(
            number=pull.number,
            done="up to date",
            words=f"it holds {self.default} at {str(self._tip)[:7]} already",
        )

    def _push(self, branch: str, commit: str, *, expected: str) -> None:
        """Move a branch from `expected` to a commit. Raises `_Left` where somebody else moved or deleted it."""

        def step() -> None:
            try:
                self.bare.push(commit, branch, expected)
            except RefMoved:
                # An earlier try may have moved it, and only the answer was lost.
                now = self.bare.find_remote_ref(f"refs/heads/{branch}")
                if now != commit:
                    raise _Left(
                        f"somebody moved its branch meanwhile, to {now[:7]}"
                        if now
                        else "its branch was deleted meanwhile"
                    ) from None

        try:
            self.retry.call("push", step)
        except PushRejected as error:
            advice = (
                f": {self.default} changed workflows, which only a person, or an App with that permission, may push; "
                f"merge {self.default} into the branch yourself"
                if "workflow" in str(error)
                else ", and no rule may keep the bots from pushing to branches of pull requests"
            )
            raise GitError(f"{error}{advice}") from error

    def _start(self, pull: PullRequestText, merged: MergedBranch, done: Done) -> UpdateResult:
        """Start the reviews of a merge that was pushed, where the push did not."""
        result = UpdateResult(
            number=pull.number,
            done=done,
            words=f"{self.default} at {str(self._tip)[:7]} is merged into {pull.branch} by {merged.commit[:7]}",
            branch=pull.branch,
            commit=merged.commit,
            dropped={path: dict(lost) for path, lost in merged.dropped.items()},
        )
        # Those of the default branch: a branch does not choose what the bots start.
        known = [] if self.pushes_start else list_entries(self.bare, str(self._tip))
        files = [found[1] for path in known if (found := _REVIEW_WORKFLOW.fullmatch(path))]
        try:
            for file in files:
                self.retry.call("start", lambda file=file: self.api.start_workflow(file, pull.branch))  # type: ignore[misc]
        except (RequestDenied, RetriesExhausted) as error:
            words = f"its review could not be started: {error}"
            return msgspec.structs.replace(result, words=f"{result.words}, but {words}", failed=words)
        return result

    def _comment(self, result: UpdateResult, *, asked: bool) -> UpdateResult:
        """Say in the pull request's one comment about its branch what became of it."""
        body = self._render(result)
        if result.done in ("left", "not known") and not asked:
            return result
        try:
            self.retry.call(
                "comment",
                lambda: upsert_comment(
                    self.api,
                    result.number,
                    body,
                    author=self.author,
                    is_ours=lambda text: rendering.is_update_comment(text, self.naming),
                    opens=asked or result.done in ("updated", "review started", "conflict"),
                ),
            )
        except (RequestDenied, RetriesExhausted) as error:
            words = f"the comment could not be written: {error}"
            return msgspec.structs.replace(
                result, failed=f"{result.failed}; {words}" if result.failed else words
            )
        return result

    def _render(self, result: UpdateResult) -> str:
        tip = self._tip or ""
        if result.commit is not None:
            return rendering.render_updated(
                branch=self.default, tip=tip, commit=result.commit, dropped=result.dropped,
                starts=not self.pushes_start, failed=result.failed, naming=self.naming,
            )  # fmt: skip
        if result.done == "conflict":
            return rendering.render_conflict(
                branch=self.default, into=result.branch or "", tip=tip, paths=result.conflicts,
                why="" if result.conflicts else result.words, naming=self.naming,
            )  # fmt: skip
        if result.done == "not known":
            return rendering.render_failure(result.words, self.naming)
        return rendering.render_left(result.words, self.naming)
