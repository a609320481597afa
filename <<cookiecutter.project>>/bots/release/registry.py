"""Reads the registry from a remote's tags, and adds to it by one atomic push, so that two runs cannot both win.

Beside the tags there is one ref, refs/registry/model, that moves with each of them: a run that has seen an older
registry cannot add to it. It is the registry's ledger: a commit for each tag, whose tree holds every tag object that
was pushed, so that a deleted tag is noticed and its number not used again. The checkout is never touched, however
shallow it is.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bots.deploy.checks import Check
from bots.dvc import lockfile
from bots.errors import BotsError
from bots.git.bare import Author, BareRepository, PushRejected, RefMoved, Tag, open_bare, parse_tag, run_git
from bots.layout import DVC_LOCK
from bots.release import tags, versions
from bots.release.versions import Assignment, Registry, Release, Stage
from bots.retry import RetriesExhausted, Retry

if TYPE_CHECKING:
    from bots.layout import Layout

MAIN: Final = "main"
BUDGET: Final = 600.0  # seconds
REF: Final = f"refs/registry/{versions.MODEL}"
TAGGER: Final = ("github-actions[bot]", "41898282+github-actions[bot]@users.noreply.github.com")


class RegistryError(BotsError):
    """The registry cannot be read or added to; the message says why and what to do."""


class RegistryMoved(Exception):
    """The registry has grown since a number was chosen from it: choose again."""


@dataclass
class RegistryRepository:
    """The registry of a remote, as it was read last, and main's history."""

    bare: BareRepository
    prefix: str
    retry: Retry
    clock: Callable[[], float]
    tip: str = ""
    registry: Registry = field(default_factory=Registry)
    ledger: dict[str, Tag] = field(default_factory=dict)

    def refresh(self) -> Registry:
        """Read main and the registry anew."""
        patterns = (f"refs/tags/{versions.MODEL}*", "refs/registry/*")
        tip = self.retry.call("registry", lambda: self.bare.fetch_history(MAIN, *patterns))
        if tip is None:
            raise RegistryError(f"the remote has no branch {MAIN}; push it first")
        self.tip, self.ledger = tip, self._load_ledger()
        self.registry = tags.parse_tags(
            self.bare.list_tags(f"{versions.MODEL}*"),
            self.ledger.values(),
            is_on_main=self.bare.list_ancestors(tip).__contains__,
        )
        return self.registry

    def _load_ledger(self) -> dict[str, Tag]:
        """Load every tag that the ledger remembers, by name; none from a ref as older bots wrote it."""
        if self.bare.get_kind(REF) != "commit":
            return {}
        blobs = {name: blob for name, blob in self.bare.list_files(REF).items() if name.startswith(tags.OURS)}
        self.retry.call("registry", lambda: self.bare.fetch_blobs(REF, blobs.values()))
        contents = self.bare.read_objects(blobs.values())
        return {name: parse_tag(name, "tag", contents.get(blob, b"")) for name, blob in blobs.items()}

    def contains(self, commit: str) -> bool:
        """Whether a commit is on main."""
        return self.bare.resolve(f"{commit}^{{commit}}") is not None and self.bare.contains(self.tip, commit)

    def get_time(self, commit: str) -> str:
        """Get when a commit was made, as an ISO time."""
        return format_time(self.bare.read_time(commit))

    def find_origin(self, commit: str, files: Layout) -> str:
        """Find the commit that brought this commit's model to main.

        That is the first of those, going back from here, whose dvc.lock has the same digests for `files`.
        """
        found = commit
        wanted = self._load_digests(commit, files)
        for earlier in self.bare.list_commits(commit, f"{self.prefix}{DVC_LOCK}"):
            if self._load_digests(earlier, files) != wanted:
                break
            found = earlier
        return found

    def _load_digests(self, commit: str, files: Layout) -> tuple[str | None, str | None]:
        blob = self.bare.resolve(f"{commit}:{self.prefix}{DVC_LOCK}")
        if blob is None:
            return None, None
        self.retry.call("fetch", lambda: self.bare.fetch_blobs(commit, [blob]))
        text = self.bare.read_blob(blob).decode(errors="replace")
        locked = lockfile.parse_lock(text, f"{DVC_LOCK} of {commit[:7]}")
        return locked.find_digest(files.model), locked.find_digest(files.onnx)

    def register(self, release: Release) -> Release:
        """Add a version; return it as the registry has it, since another run of the same commit may have been first.

        Raises `RegistryMoved` where something else was registered meanwhile, so that the number may be wrong now.
        """
        tag = versions.format_version_tag(release.version)
        words = tags.format_message(f"Release model {release.version}", release)
        added = self._push_tag(tag, release.commit, words)
        found = self.registry.find_commit(release.commit)
        if found is not None:
            return found
        if added:
            raise RegistryError(f"the tag {tag} was taken away by somebody")
        raise RegistryMoved(f"another version was registered while {release.version} was being made")

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
        """Put a version into a stage; where the registry says that already, nothing is added."""

        def step() -> Assignment:
            running = self.registry.get_running(stage)
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
                at=format_time(self.clock()),
                reason=reason,
                rejected=rejected,
                checks=list(checks),
            )
            tag = versions.format_stage_tag(stage, versions.choose_counter(self.registry, stage))
            words = tags.format_message(f"{stage.capitalize()} has model {release.version}", made)
            if not self._push_tag(tag, release.commit, words):
                raise RefMoved("the registry has grown")
            return made

        self.refresh()
        return self.retry.call("stage", step)

    def _push_tag(self, name: str, commit: str, words: str) -> bool:
        """Add a tag if the registry is what was read last; whether it was. The registry is read anew afterwards."""
        author = Author(*TAGGER, int(self.clock()))
        made = self.bare.create_tag(name, commit, message=words, author=author)
        refs = {
            f"refs/tags/{name}": (made, None),
            REF: (self._extend_ledger(name, made, author), self.bare.resolve(REF)),
        }

        def step() -> bool:
            try:
                self.bare.push_refs(refs)
            except RefMoved:
                # Or an earlier try arrived, and only its answer did not.
                self.refresh()
                return self.bare.resolve(f"refs/tags/{name}") == made
            return True

        try:
            added = self.retry.call("tag", step)
        except PushRejected as error:
            raise RegistryError(
                f"the tag {name} could not be pushed: {error}. No ruleset may keep GitHub Actions from making tags"
            ) from error
        self.refresh()
        return added

    def _extend_ledger(self, name: str, made: str, author: Author) -> str:
        """Create the ledger's next commit: what it remembers, every tag that is believed, and the new one."""
        believed = [tag for tag in self._list_believed() if tag.name not in self.ledger]
        contents = {**{tag.name: tag.raw for tag in believed}, name: self.bare.read_objects([made])[made]}
        parent = self.bare.resolve(REF) if self.bare.get_kind(REF) == "commit" else None
        blobs = {path: self.bare.add_blob(content) for path, content in contents.items()}
        return self.bare.create_commit(parent, blobs, message=f"Add {name}\n", author=author)

    def _list_believed(self) -> list[Tag]:
        skipped = {one.name for one in self.registry.skipped}
        return [
            tag
            for tag in self.bare.list_tags(f"{versions.MODEL}*")
            if tag.name.startswith(tags.OURS) and tag.name not in skipped
        ]


def start_retry(
    tell: Callable[[str], None],
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> Retry:
    """Start a retry of requests to GitHub and git: the time that it has begins now."""
    return Retry(clock, sleep, tell, deadline=clock() + BUDGET)


def format_time(seconds: float) -> str:
    """Seconds since 1970 as an ISO time, to the second."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@contextmanager
def open_registry(root: Path, retry: Retry, clock: Callable[[], float]) -> Iterator[RegistryRepository]:
    """Open the registry of the project's remote, and read it. Raises `RegistryError` and `GitError`."""
    prefix = run_git(root, "rev-parse", "--show-prefix").stdout.decode().strip()
    with open_bare(root) as bare:
        repository = RegistryRepository(bare, prefix, retry, clock)
        try:
            repository.refresh()
            yield repository
        except RetriesExhausted as error:
            raise RegistryError(f"{error}; what was done stays, so run it again") from error
