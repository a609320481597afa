"""Remembers what GitHub said while a review is written, so that its parts never ask the same thing twice.

Main may move meanwhile: who has to know what it is now asks GitHub itself.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from bots.github.client import CommitComparison


class ReadApi(Protocol):
    """What is asked of GitHub. Every call raises `RequestDenied` or `TemporaryFailure`."""

    def find_branch(self, name: str) -> str:
        """The newest commit of a branch."""

    def compare_commits(self, base: str, head: str) -> CommitComparison:
        """How a commit stands to an earlier one."""

    def read_file(self, commit: str, path: str) -> bytes | None:
        """A file at a commit; None where it has none."""

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Send any request."""


class RememberedAnswers:
    """The same questions; each is sent once, and again only where GitHub gave no answer."""

    def __init__(self, api: ReadApi) -> None:
        """Ask this API."""
        self._api = api
        self._find_branch = cache(api.find_branch)
        self._compare_commits = cache(api.compare_commits)
        self._read_file = cache(api.read_file)
        self._get = cache(lambda path: api.call("GET", path))

    def find_branch(self, name: str) -> str:
        """The newest commit of a branch, as it was when it was first asked for."""
        return self._find_branch(name)

    def compare_commits(self, base: str, head: str) -> CommitComparison:
        """How a commit stands to an earlier one."""
        return self._compare_commits(base, head)

    def read_file(self, commit: str, path: str) -> bytes | None:
        """A file at a commit; None where it has none."""
        return self._read_file(commit, path)

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Send a request; one that only reads is sent once."""
        return self._get(path) if method == "GET" and body is None else self._api.call(method, path, body)
