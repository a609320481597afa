"""What a command is given, and what it answers."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from bots.github.client import (
        CheckRun,
        CheckRunContent,
        Comment,
        CommitComparison,
        Issue,
        JobStep,
        PullRequestText,
    )
    from bots.naming import Naming
    from bots.release.versions import Registry
    from bots.respond.event import CommentEvent
    from bots.retry import Retry
    from bots.settings import Settings


Act = Literal["promote", "pause", "rollback"]


class RespondApi(Protocol):
    """What answering asks of GitHub. Every call raises `RequestDenied` or `TemporaryFailure`."""

    def get_permission(self, login: str) -> str:
        """What a person may do here: admin, write, read or none."""

    def get_pull_request(self, number: int) -> PullRequestText:
        """A pull request as it is now."""

    def get_issue(self, number: int) -> Issue:
        """An issue."""

    def list_comments(self, number: int) -> list[Comment]:
        """The comments, oldest first."""

    def create_comment(self, number: int, body: str) -> None:
        """Add a comment."""

    def edit_issue(self, number: int, *, title: str, body: str) -> None:
        """Replace what an issue says."""

    def react(self, comment: int, content: str) -> None:
        """Put a reaction below a comment; once, however often."""

    def list_check_runs(self, sha: str, name: str) -> list[CheckRun]:
        """Every check run of that name on a commit."""

    def list_steps(self, run: int, attempt: int) -> list[JobStep]:
        """The steps of a run's jobs, and what became of each."""

    def edit_check_run(self, check_run: int, content: CheckRunContent) -> None:
        """Replace what a check run says."""

    def read_file(self, commit: str, path: str) -> bytes | None:
        """A file at a commit; None where it has none."""

    def list_messages(self, number: int) -> list[str] | None:
        """The messages of a pull request's commits, the newest last; None where GitHub lists only some."""

    def find_parent(self, commit: str) -> str | None:
        """The commit before one; None where it has none or several."""

    def commit_file(
        self, branch: str, head: str, path: str, content: str, *, message: str, who: str, at: str
    ) -> str:
        """Commit a file on top of a branch that is at `head`; the new commit. Refused where the branch has moved."""

    def compare_commits(self, base: str, head: str) -> CommitComparison:
        """How a commit stands to an earlier one."""

    def find_branch(self, name: str) -> str:
        """The newest commit of a branch."""

    def start_workflow(self, file: str, branch: str, inputs: Mapping[str, str] | None = None) -> None:
        """Start a workflow on a branch."""


@dataclass(frozen=True)
class Request:
    """A command with all that it may look at.

    `folder` is the project's place in the repository: empty, or with a slash at the end. `author` is the login under
    which the bots write, `may_decide` whether the sender may write here. `load_registry` reads versions and stages
    of a model anew (None: the main one), and raises `BotsError`. `run` is the address of the workflow's run.
    """

    arguments: str
    event: CommentEvent
    api: RespondApi
    settings: Settings
    repository: str
    author: str
    folder: str
    naming: Naming
    may_decide: bool
    retry: Retry
    load_registry: Callable[[str | None], Registry]
    run: str | None = None

    @property
    def asked_at(self) -> str:
        """When the command was written, as an ISO time."""
        return self.event.comment.created_at

    @property
    def who(self) -> str:
        """The login of who asks."""
        return self.event.sender.login

    def choose_model(self) -> Request:
        """The request as one about the further model whose name comes first, with the words after it.

        The request as it is, about the main model, where the first word is no name under `models:` of params.yaml.
        """
        name, _, rest = self.arguments.partition(" ")
        return self.take_model(name, rest.strip()) if name in self.settings.models else self

    def explain_model(self) -> str | None:
        """Explain that the first word nearly names a model: taken for a reason, it would be about the main one."""
        if self.naming.model is not None:
            return None
        known = {name.lower(): name for name in self.settings.models}
        first = re.sub(r"[^\w-]", "", self.arguments.partition(" ")[0]).lower()
        near = get_close_matches(first, known, n=1, cutoff=0.75)
        return f"There is no such model. Did you mean `{known[near[0]]}`? Nothing was done." if near else None

    def take_model(self, name: str, arguments: str = "") -> Request:
        """The request as one about a further model."""
        return replace(self, arguments=arguments, naming=replace(self.naming, model=name))


@dataclass(frozen=True)
class Order:
    """What the job behind this one does to production; each value is one line.

    `version` must still be the one that comes (promote) or leaves (rollback), or runs (pause), or nothing is done. `to`
    is what is put back, `model` the name of a further model.
    """

    act: Act
    version: str
    to: str
    reason: str
    model: str = ""

    @property
    def environment(self) -> Literal["production", "release"]:
        """The Environment of GitHub whose approvals and secrets the job needs: a hold needs the signing key alone."""
        return "release" if self.act == "pause" else "production"


@dataclass(frozen=True)
class Answer:
    """What is said to a command, as Markdown in which nothing of others is raw; `obeyed` whether it was done.

    `order`: what is done after the answer was given.
    """

    words: str
    obeyed: bool = True
    order: Order | None = None


def refuse(words: str) -> Answer:
    """A command that is not obeyed, and why."""
    return Answer(words, obeyed=False)
