"""Brings this branch as a pull request: pushes it, opens one with the onboarding's report, or says how.

For a person at a terminal, with the person's own login of git and the person's own token. It looks first, so it may be
run again: a branch has one pull request at most.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Protocol

from bots.errors import BotsError
from bots.git.bare import REMOTE, Remote, run_git
from bots.git.repository import Repository
from bots.github.client import Connection, PullRequest, find_api
from bots.log import make_visible
from bots.retry import RequestDenied, Retry

REPORT: Final = "reports/onboarding.md"
LONGEST_BODY: Final = 60_000
"""GitHub takes 65,536 characters."""
LONGEST_TITLE: Final = 200
TOKENS: Final = ("GITHUB_TOKEN", "GH_TOKEN")

Done = Literal["opened", "there", "closed", "would open", "told"]

_PLACE = re.compile(
    r"(?:(?:https?|ssh|git)://(?:[^/@]*@)?(?P<host>[^/:]+)(?::\d+)?/|(?:[^/@:]+@)(?P<scp>[^/:]+):)"
    r"(?P<name>[\w.-]+/[\w.-]+?)(?:\.git)?/?"
)


class CannotPropose(BotsError):
    """This branch cannot become a pull request; the message says what to do first."""


class ProposalApi(Protocol):
    """What a proposal asks of GitHub. Every call raises `RequestDenied` or `TemporaryFailure`."""

    def list_pull_requests(self, head: str) -> list[PullRequest]:
        """List the pull requests, open and closed, from a branch named `owner:branch`, newest first."""

    def create_pull_request(self, *, title: str, body: str, head: str, base: str) -> int:
        """Open a pull request; returns its number."""


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """What is to become a pull request: a branch's newest commit, and what the pull request says."""

    branch: str
    base: str
    commit: str
    title: str
    body: str


@dataclass(frozen=True, kw_only=True)
class ProposalResult:
    """What became of it, in sentences; `commands` are what a person can type where it could not be done from here."""

    done: Done
    words: str
    branch: str
    number: int | None = None
    commands: tuple[str, ...] = ()


def find_proposal(root: Path, base: str) -> Proposal:
    """Find what the checkout proposes. Raises `CannotPropose` for main itself, for no branch, and for no new commit."""
    repository = Repository(root)
    commit = repository.resolve("HEAD")
    found = run_git(root, "symbolic-ref", "--quiet", "--short", "HEAD", expect=None)
    branch = found.stdout.decode().strip()
    if found.returncode or not branch:
        raise CannotPropose("no branch is checked out; make one of this commit: `git switch --create NAME`")
    if branch == base:
        raise CannotPropose(f"this is {base} itself; make a branch of the change: `git switch --create NAME`")
    if repository.resolve(base) == commit:
        raise CannotPropose(f"{branch} has no commit that {base} lacks; commit the change first")
    subject, _, message = run_git(root, "log", "-1", "--format=%B", commit).stdout.decode().partition("\n")
    report = repository.read_text(commit, REPORT)
    return Proposal(
        branch=branch,
        base=base,
        commit=commit,
        title=make_visible(subject, LONGEST_TITLE),
        body=shorten_body(report if report and report.strip() else message.strip()),
    )


def shorten_body(body: str) -> str:
    """Cut a description to what GitHub takes, at the end of a line, and say where the rest is."""
    if len(body) <= LONGEST_BODY:
        return body
    return f"{body[:LONGEST_BODY].rpartition(chr(10))[0]}\n\nThe rest is in `{REPORT}`.\n"


def find_connection(url: str, environ: Mapping[str, str]) -> Connection | str:
    """Find how to reach the repository of a remote on GitHub, or say in a sentence why that cannot be done from here.

    A token is sent to GitHub alone: to github.com, or to the server that GITHUB_SERVER_URL names.
    """
    match = _PLACE.fullmatch(url)
    server = environ.get("GITHUB_SERVER_URL", "https://github.com").rstrip("/")
    host = re.sub(r"^\w+://(?:[^/@]*@)?|[:/].*$", "", server)
    repository = environ.get("GITHUB_REPOSITORY") or (match["name"] if match else "")
    on_github = match is not None and (match["host"] or match["scp"]).lower() == host.lower()
    if not repository or not (on_github or environ.get("GITHUB_REPOSITORY")):
        return f"the remote {REMOTE} is not on {host}"
    token = next((environ[name] for name in TOKENS if environ.get(name)), None)
    if token is None:
        return f"there is no token in {' or '.join(TOKENS)}"
    return Connection(repository=repository, token=token, api_url=find_api(environ))


def list_commands(proposal: Proposal, *, remote: bool) -> tuple[str, ...]:
    """List what a person types to do the same by hand."""
    add = () if remote else (f"git remote add {REMOTE} ADDRESS",)
    create = (
        "gh",
        "pr",
        "create",
        "--base",
        proposal.base,
        "--head",
        proposal.branch,
        "--title",
        proposal.title,
    )
    return (
        *add,
        "python -m bots storage push",
        shlex.join(("git", "push", "--set-upstream", REMOTE, proposal.branch)),
        f"{shlex.join(create)} --body-file {REPORT}",
    )


@dataclass(frozen=True, kw_only=True)
class Proposer:
    """What a proposal needs of the outside: GitHub, git's push, the storage's push; `owner` owns the repository."""

    api: ProposalApi
    owner: str
    push_data: Callable[[], object]
    push_branch: Callable[[Proposal], None]
    retry: Retry

    def propose(self, proposal: Proposal, *, dry_run: bool = False) -> ProposalResult:
        """Open the pull request of a branch, unless it has one. Raises `BotsError`."""
        if (found := self._find(proposal)) is not None:
            return found
        if dry_run:
            words = f"{proposal.branch} would be pushed, and a pull request to {proposal.base} opened: {proposal.title}"
            return ProposalResult(done="would open", words=words, branch=proposal.branch)
        self.push_data()
        self.push_branch(proposal)
        number = self.retry.call("pull request", lambda: self._create(proposal))
        words = f"pull request #{number} brings {proposal.branch} to {proposal.base}"
        return ProposalResult(done="opened", words=words, branch=proposal.branch, number=number)

    def _find(self, proposal: Proposal) -> ProposalResult | None:
        """Find the branch's pull request: an open one, or a closed one of the very same commit."""
        head = f"{self.owner}:{proposal.branch}"
        pulls = self.retry.call("pull requests", lambda: self.api.list_pull_requests(head))
        ours = [pull for pull in pulls if pull.base == proposal.base]
        for pull in ours:
            if pull.open:
                pushed = pull.head_sha == proposal.commit
                rest = (
                    "" if pushed else f"; `git push {REMOTE} {proposal.branch}` brings it your newest commit"
                )
                return ProposalResult(
                    done="there", words=f"pull request #{pull.number} has this branch already{rest}",
                    branch=proposal.branch, number=pull.number,
                )  # fmt: skip
        for pull in ours:
            if pull.head_sha == proposal.commit:
                words = f"pull request #{pull.number} had this very commit and was closed; a person may open it again"
                return ProposalResult(done="closed", words=words, branch=proposal.branch, number=pull.number)
        return None

    def _create(self, proposal: Proposal) -> int:
        """Open it, unless an earlier try that broke has opened it."""
        found = self._find(proposal)
        if found is not None and found.number is not None:
            return found.number
        try:
            return self.api.create_pull_request(
                title=proposal.title, body=proposal.body, head=proposal.branch, base=proposal.base
            )
        except RequestDenied as error:
            again = self._find(proposal) if error.status == 422 else None
            if again is None or again.number is None:
                raise
            return again.number


def read_remote(root: Path) -> str | None:
    """Read where `origin` is, without what logs in there; None where the checkout has none."""
    found = run_git(root, "config", "--get", f"remote.{REMOTE}.url", expect=None)
    url = found.stdout.decode().strip()
    return None if found.returncode or not url else Remote(url).hide_password()


def push_branch(root: Path, proposal: Proposal) -> None:
    """Push the commit to the branch on `origin` by the checkout's own login.

    Raises `GitError` where git refuses, and `CannotPropose` where the base was never pushed.
    """
    if not run_git(root, "ls-remote", REMOTE, f"refs/heads/{proposal.base}").stdout.strip():
        raise CannotPropose(
            f"{REMOTE} has no branch {proposal.base} yet: `git push {REMOTE} {proposal.base}` first"
        )
    run_git(root, "push", "--quiet", REMOTE, f"{proposal.commit}:refs/heads/{proposal.branch}")


def tell_by_hand(proposal: Proposal, why: str, *, remote: bool) -> ProposalResult:
    """Say why it cannot be done from here, and what a person types to do it."""
    words = f"{proposal.branch} is ready as a pull request to {proposal.base}, but {why}. By hand:"
    commands = list_commands(proposal, remote=remote)
    return ProposalResult(done="told", words=words, branch=proposal.branch, commands=commands)
