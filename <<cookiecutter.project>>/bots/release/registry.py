"""The registry's git side: read from the remote's tags, added to by one atomic push, so that two runs cannot both win.

Beside the tags there is one ref, refs/registry/model, that moves with each of them: who saw an older registry cannot
add to it. Nothing here touches the checkout, however shallow it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from bots.deploy.checks import Check
from bots.dvc import lockfile
from bots.errors import BotsError
from bots.git.bare import Author, BareRepository, PushRejected, RefMoved, open_bare, run_git
from bots.release import versions
from bots.release.versions import Assignment, Registry, Release, Stage
from bots.retry import RetriesExhausted, Retry
from bots.review.champion import MODEL, ONNX

MAIN: Final = "main"
HEAD: Final = f"refs/registry/{versions.MODEL}"
BOT = ("github-actions[bot]", "41898282+github-actions[bot]@users.noreply.github.com")


class RegistryError(BotsError):
    """The registry cannot be read or added to; the message says why and what to do."""


class Outgrown(Exception):
    """The registry is not what a decision was made from any more: decide again."""


@dataclass
class Book:
    """The registry of a remote, as it was read last, and main's history."""

    bare: BareRepository
    prefix: str
    retry: Retry
    clock: Callable[[], float]
    tip: str = ""
    registry: Registry = field(default_factory=Registry)

    def read(self) -> Registry:
        """Read main and the registry anew."""
        patterns = (f"refs/tags/{versions.MODEL}*", "refs/registry/*")
        tip = self.retry.call("registry", lambda: self.bare.fetch_history(MAIN, *patterns))
        if tip is None:
            raise RegistryError(f"the remote has no branch {MAIN}; push it first")
        self.tip, self.registry = tip, versions.read(self.bare.list_tags(f"{versions.MODEL}*"))
        return self.registry

    def has(self, commit: str) -> bool:
        """Whether a commit is on main."""
        return self.bare.resolve(f"{commit}^{{commit}}") is not None and self.bare.contains(self.tip, commit)

    def when(self, commit: str) -> str:
        """When a commit was made, in ISO words."""
        return moment(self.bare.read_time(commit))

    def origin(self, commit: str) -> str:
        """The commit that brought this commit's model to main: the first of those, back from here, that have it."""
        found = commit
        wanted = self._model(commit)
        for earlier in self.bare.list_commits(commit, f"{self.prefix}dvc.lock"):
            if self._model(earlier) != wanted:
                break
            found = earlier
        return found

    def _model(self, commit: str) -> tuple[str | None, str | None]:
        blob = self.bare.resolve(f"{commit}:{self.prefix}dvc.lock")
        if blob is None:
            return None, None
        self.retry.call("fetch", lambda: self.bare.fetch_blobs(commit, [blob]))
        locked = lockfile.parse_lock(
            self.bare.read_blob(blob).decode(errors="replace"), f"dvc.lock of {commit[:7]}"
        )
        return locked.find_digest(MODEL), locked.find_digest(ONNX)

    def register(self, release: Release) -> Release:
        """Add a version, and give it back as it is in the registry: another run of the same commit may have been first.

        Raises `Outgrown` where the registry has grown by something else, so that the number may not be right any more.
        """
        words = versions.message(f"Release model {release.version}", release)
        added = self._add(versions.version_tag(release.version), release.commit, words)
        found = self.registry.of_commit(release.commit)
        if found is not None:
            return found
        if added:
            raise RegistryError(f"the tag {versions.version_tag(release.version)} was taken away by somebody")
        raise Outgrown(f"another version was registered while {release.version} was being made")

    def assign(
        self,
        stage: Stage,
        release: Release,
        *,
        by: str,
        reason: str | None = None,
        rejected: str | None = None,
        checks: Sequence[Check] = (),
    ) -> Assignment:
        """Put a version into a stage; where that is what the registry says already, nothing is added."""

        def step() -> Assignment:
            running = self.registry.running(stage)
            if (
                running is not None
                and running.version == release.version
                and rejected in (None, running.rejected)
            ):
                return running
            made = Assignment(
                stage=stage,
                version=release.version,
                by=by,
                at=moment(self.clock()),
                reason=reason,
                rejected=rejected,
                checks=list(checks),
            )
            words = versions.message(f"{stage.capitalize()} has model {release.version}", made)
            if not self._add(versions.stage_tag(stage, self.registry.counter + 1), release.commit, words):
                raise RefMoved("the registry has grown")
            return made

        self.read()
        return self.retry.call("stage", step)

    def _add(self, name: str, commit: str, words: str) -> bool:
        """Add a tag if the registry is what was read last; whether it was. What there is then is read anew."""
        made = self.bare.create_tag(name, commit, words, Author(*BOT, int(self.clock())))
        refs = {f"refs/tags/{name}": (made, None), HEAD: (made, self.bare.resolve(HEAD))}

        def step() -> bool:
            try:
                self.bare.push_refs(refs)
            except RefMoved:
                # Or an earlier try arrived, and only its answer did not.
                self.read()
                return self.bare.resolve(f"refs/tags/{name}") == made
            return True

        try:
            added = self.retry.call("tag", step)
        except PushRejected as error:
            raise RegistryError(
                f"the tag {name} could not be pushed: {error}. No ruleset may keep GitHub Actions from making tags"
            ) from error
        self.read()
        return added


def moment(seconds: float) -> str:
    """A time in ISO words, to the second."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@contextmanager
def opened(root: Path, retry: Retry, clock: Callable[[], float]) -> Iterator[Book]:
    """The registry of the project's remote, read. Raises `RegistryError` and `GitError`."""
    prefix = run_git(root, "rev-parse", "--show-prefix").stdout.decode().strip()
    with open_bare(root) as bare:
        book = Book(bare, prefix, retry, clock)
        try:
            book.read()
            yield book
        except RetriesExhausted as error:
            raise RegistryError(f"{error}; what was done stays, so run it again") from error
