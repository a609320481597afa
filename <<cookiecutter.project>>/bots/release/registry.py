"""Reads the registry from a remote's tags, and adds to it by one atomic push, so that two runs cannot both win.

Beside the tags there is one ref, refs/registry/model, that moves with each of them: a run that has seen an older
registry cannot add to it. It is the registry's ledger: a commit for each tag, whose tree holds every tag object that
was pushed, so that a deleted tag is noticed and its number not used again. Tags are believed that a key of main's file
of public keys has signed. The checkout is never touched, however shallow it is.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from bots.deploy.checks import Check
from bots.dvc import lockfile
from bots.errors import BotsError
from bots.git.bare import (
    Author,
    BareRepository,
    PushRejected,
    RefMoved,
    Remote,
    Tag,
    open_bare,
    parse_tag,
    run_git,
)
from bots.layout import DVC_LOCK
from bots.naming import ALONE, Naming
from bots.release import signing, tags, versions
from bots.release.signing import PublicKeys, Signer, SigningError
from bots.release.tags import Entry
from bots.release.versions import Assignment, Record, Registry, Release, Stage
from bots.retry import RetriesExhausted, Retry
from bots.settings import load_naming

if TYPE_CHECKING:
    from bots.deploy.watch import Watch
    from bots.layout import Layout

MAIN: Final = "main"
BUDGET: Final = 600.0  # seconds
ADDED: Final = "signed/"
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
    signer: Signer | None = None
    naming: Naming = ALONE
    tip: str = ""
    registry: Registry = field(default_factory=Registry)
    ledger: dict[str, Tag] = field(default_factory=dict)
    keys: PublicKeys = field(default_factory=lambda: PublicKeys({}))
    added: dict[str, str] = field(default_factory=dict)
    _refs: dict[str, str] = field(default_factory=dict)
    _files: dict[tuple[str, str], bytes] = field(default_factory=dict)

    def refresh(self) -> Registry:
        """Read main and the registry anew. Where all of it is what was read last, that is not read again."""
        patterns = self.naming.registry_refs
        tip = self.retry.call("registry", lambda: self.bare.fetch_history(MAIN, *patterns))
        if tip is None:
            raise RegistryError(f"the remote has no branch {MAIN}; push it first")
        # Leases come and go, and are no part of it.
        named = (f"refs/tags/{name}*" for name in self.naming.tags)
        refs = self.bare.list_refs(f"refs/heads/{MAIN}", *named, self.naming.ledger)
        if refs == self._refs:
            return self.registry
        self._refs = {}
        self.tip, self.keys = tip, self._load_keys(tip)
        self.ledger, self.added = self._load_ledger()
        self.registry = tags.parse_tags(
            self.list_tags(),
            self.ledger.values(),
            find_fault=self.find_fault,
            is_on_main=self.bare.list_ancestors(tip).__contains__,
            naming=self.naming,
        )
        self._refs = refs
        return self.registry

    def has_grown(self) -> bool:
        """Tell whether the remote's registry is another than the one read last. Raises `TemporaryFailure`."""
        return self.bare.find_remote_ref(self.naming.ledger) != self.bare.resolve(self.naming.ledger)

    def list_tags(self) -> list[Tag]:
        """List the tags that were fetched with a name of this registry's, by their names."""
        found = self.bare.list_tags(*(f"{name}*" for name in self.naming.tags))
        return sorted(found, key=lambda tag: tag.name)

    def _load_keys(self, tip: str) -> PublicKeys:
        """Load the public keys that main's newest commit has. Raises `SigningError`."""
        content = self.read_file(tip, signing.KEYS)
        return PublicKeys.parse((content or b"").decode(errors="replace"))

    def read_file(self, commit: str, path: str) -> bytes | None:
        """Read a file of the project at a commit, named by its hash; None where the commit has none."""
        content = self._files.get((commit, path))
        if content is None and (content := self._load_file(commit, path)) is not None:
            self._files[commit, path] = content
        return content

    def _load_file(self, commit: str, path: str) -> bytes | None:
        blob = self.bare.resolve(f"{commit}:{self.prefix}{path}")
        if blob is None:
            return None
        self.retry.call("fetch", lambda: self.bare.fetch_blobs(commit, [blob]))
        return self.bare.read_blob(blob)

    def get_signer(self) -> Signer:
        """Get the key that signs here, which must be one of main's. Raises `SigningError`."""
        signer = self.signer or Signer.from_secret(None, self.naming)
        if signer.name not in self.keys.keys:
            raise SigningError(
                f"{signing.VARIABLE} is the key {signer.name}, which main's {signing.KEYS} does not have: commit the "
                "line that `python -m bots key` wrote, by a pull request"
            )
        return signer

    def _load_ledger(self) -> tuple[dict[str, Tag], dict[str, str]]:
        """Load every tag that the ledger remembers, and signatures that were added later, by the tags' names.

        Nothing from a ref as older bots wrote it.
        """
        if self.bare.get_kind(self.naming.ledger) != "commit":
            return {}, {}
        wanted = (*self.naming.tags, *(f"{ADDED}{name}" for name in self.naming.tags))
        blobs = {
            path: blob
            for path, blob in self.bare.list_files(self.naming.ledger).items()
            if path.startswith(wanted)
        }
        self.retry.call("registry", lambda: self.bare.fetch_blobs(self.naming.ledger, blobs.values()))
        contents = self.bare.read_objects(blobs.values())
        read = {path: contents.get(blob, b"") for path, blob in blobs.items()}
        ledger = {
            path: parse_tag(path, "tag", raw)
            for path, raw in read.items()
            if path.startswith(self.naming.tags)
        }
        added = {
            path.removeprefix(ADDED): raw.decode(errors="replace").strip()
            for path, raw in read.items()
            if path.startswith(ADDED)
        }
        return ledger, added

    def list_ledger_history(self) -> list[dict[str, str]]:
        """List the files of each commit of the ledger, path to blob, the oldest first; empty where it is none yet."""
        if self.bare.get_kind(self.naming.ledger) != "commit":
            return []
        return [
            self.bare.list_files(commit) for commit in reversed(self.bare.list_history(self.naming.ledger))
        ]

    def read_ledger_tags(self, blobs: Mapping[str, str]) -> list[Tag]:
        """Read tags from blobs that any commit of the ledger has, by the tags' names."""
        if not blobs:
            return []
        self.retry.call("registry", lambda: self.bare.fetch_blobs(self.naming.ledger, blobs.values()))
        contents = self.bare.read_objects(blobs.values())
        return [parse_tag(name, "tag", contents.get(blob, b"")) for name, blob in blobs.items()]

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
        wanted = self.load_digests(commit, files)
        for earlier in self.bare.list_commits(commit, f"{self.prefix}{DVC_LOCK}"):
            if self.load_digests(earlier, files) != wanted:
                break
            found = earlier
        return found

    def changes_lock(self, commit: str) -> bool:
        """Tell whether a commit of main changes the project's dvc.lock."""
        return self.bare.list_commits(commit, f"{self.prefix}{DVC_LOCK}")[:1] == [commit]

    def load_digests(self, commit: str, files: Layout) -> tuple[str | None, str | None]:
        """Load what dvc.lock of a commit names as the model, and as its ONNX form."""
        content = self.read_file(commit, DVC_LOCK)
        if content is None:
            return None, None
        text = content.decode(errors="replace")
        locked = lockfile.parse_lock(text, f"{DVC_LOCK} of {commit[:7]}")
        return locked.find_digest(files.model), locked.find_digest(files.onnx)

    def register(self, release: Release) -> Release:
        """Add a version; return it as the registry has it, since another run of the same commit may have been first.

        Raises `RegistryMoved` where something else was registered meanwhile, so that the number may be wrong now.
        """
        tag = versions.format_version_tag(release.version, self.naming)
        added = self._push_tag(
            tag, release.commit, f"Release {self.naming.artifact} {release.version}", release
        )
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
        paused: str | None = None,
        watch: Watch | None = None,
        held: bool | None = None,
        checks: Sequence[Check] = (),
    ) -> Assignment:
        """Put a version into a stage; where the registry says that already, nothing is added.

        A stage that is on hold stays so, unless `held` says otherwise.
        """

        def step() -> Assignment:
            running = self.registry.get_running(stage)
            was_held = running is not None and running.held
            is_held = was_held if held is None else held
            if (
                running is not None
                and (running.version, running.paused, running.held) == (release.version, paused, is_held)
                and (paused is None or running.watch == watch)
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
                paused=paused,
                watch=watch,
                held=is_held,
                checks=list(checks),
            )
            return self._append(made, release)

        self.refresh()
        return self.retry.call("stage", step)

    def hold(
        self, stage: Stage, *, by: str, reason: str | None, held: bool = True, expect: str | None = None
    ) -> Assignment:
        """Put a stage on hold, or with `held` False end that; what runs there stays. Nothing is added where it is so.

        Raises `RegistryError` where nothing runs in the stage, or another version than `expect`.
        """

        def step() -> Assignment:
            running = self.registry.get_running(stage)
            release = self.registry.find_version(running.version) if running else None
            if running is None or release is None:
                raise RegistryError(f"nothing runs in {stage} yet, so that there is nothing to put on hold")
            if expect not in (None, running.version):
                raise RegistryError(
                    f"{expect} was to stay in {stage}, but {running.version} runs there now: nothing was done. Look "
                    "what runs there, and decide anew"
                )
            if running.held == held:
                return running
            at = format_time(self.clock())
            made = replace(running, by=by, at=at, reason=reason, held=held, rejected=None, checks=[])
            return self._append(made, release)

        self.refresh()
        return self.retry.call("hold", step)

    def _append(self, made: Assignment, release: Release) -> Assignment:
        """Add an assignment to what was read of the registry. Raises `RefMoved` where that has grown since."""
        counter = versions.choose_counter(self.registry, made.stage)
        tag = versions.format_stage_tag(made.stage, counter, self.naming)
        headline = f"{made.stage.capitalize()} has {self.naming.artifact} {release.version}"
        if not self._push_tag(tag, release.commit, headline, made):
            raise RefMoved("the registry has grown")
        return made

    def _push_tag(self, name: str, commit: str, headline: str, record: Record) -> bool:
        """Add a tag if the registry is what was read last; whether it was. The registry is read anew afterwards."""
        author = Author(*TAGGER, int(self.clock()))
        words = tags.format_message(headline, record, name=name, commit=commit, signer=self.get_signer())
        made = self.bare.create_tag(name, commit, message=words, author=author)
        refs = {
            f"refs/tags/{name}": (made, None),
            self.naming.ledger: (self._extend_ledger(name, made), self.bare.resolve(self.naming.ledger)),
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

    def _extend_ledger(self, name: str, made: str) -> str:
        """Create the ledger's next commit: what it remembers, every tag that is believed, and the new one."""
        believed = [tag for tag in self._list_believed() if tag.name not in self.ledger]
        contents = {**{tag.name: tag.raw for tag in believed}, name: self.bare.read_objects([made])[made]}
        return self._commit_ledger(contents, f"Add {name}")

    def _commit_ledger(self, contents: Mapping[str, bytes], message: str) -> str:
        """Create a commit of the ledger that adds these files to it."""
        parent = (
            self.bare.resolve(self.naming.ledger)
            if self.bare.get_kind(self.naming.ledger) == "commit"
            else None
        )
        blobs = {path: self.bare.add_blob(content) for path, content in contents.items()}
        author = Author(*TAGGER, int(self.clock()))
        return self.bare.create_commit(parent, blobs, message=f"{message}\n", author=author)

    def list_unsigned(self) -> list[Entry]:
        """List the tags that would be believed if a key of today had signed them."""
        skipped = {one.name for one in self.registry.skipped}
        read = [
            tags.parse_entry(tag, lambda tag: tag.fault, self.naming)
            for tag in self.list_tags()
            if tag.name in skipped and self.find_fault(tag)
        ]
        return [entry for entry in read if isinstance(entry, Entry) and self.contains(entry.tag.commit)]

    def add_signatures(self, names: Sequence[str]) -> None:
        """Sign tags that no key of today has signed, and push the signatures into the ledger.

        Raises `RegistryError` where one of the names is no such tag, `SigningError` without a key.
        """
        signer = self.get_signer()

        def step() -> None:
            known = {entry.tag.name: entry.tag for entry in self.list_unsigned()}
            if unknown := [name for name in names if name not in known]:
                raise RegistryError(
                    f"{', '.join(unknown)[:300]}: no tags that lack only a signature; `python -m bots sign` lists those"
                )
            made = {f"{ADDED}{name}": f"{signer.sign(tags.build_payload(known[name]))}\n" for name in names}
            tip = self._commit_ledger(
                {path: text.encode() for path, text in made.items()}, "Sign " + ", ".join(names)
            )
            try:
                self.bare.push_refs({self.naming.ledger: (tip, self.bare.resolve(self.naming.ledger))})
            except RefMoved:
                self.refresh()
                raise

        self.retry.call("sign", step)
        self.refresh()

    def find_fault(self, tag: Tag) -> str | None:
        """Find why a tag is not the bots' own."""
        return tags.make_fault_finder(self.keys, self.added)(tag)

    def _list_believed(self) -> list[Tag]:
        skipped = {one.name for one in self.registry.skipped}
        return [
            tag
            for tag in self.list_tags()
            if tag.name.startswith(self.naming.tags) and tag.name not in skipped
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
def open_registry(
    root: Path,
    retry: Retry,
    clock: Callable[[], float],
    signer: Signer | None = None,
    model: str | None = None,
    remote: Remote | None = None,
) -> Iterator[RegistryRepository]:
    """Open the registry of the project's remote, and read it; with a key it can be added to.

    `model` names another model than the project's main one, `remote` another place than `origin`.
    Raises `RegistryError`, `SigningError` and `GitError`.
    """
    prefix = run_git(root, "rev-parse", "--show-prefix").stdout.decode().strip()
    naming = load_naming(root, model)
    with open_bare(root, remote) as bare:
        repository = RegistryRepository(bare, prefix, retry, clock, signer, naming)
        try:
            repository.refresh()
            yield repository
        except RetriesExhausted as error:
            raise RegistryError(f"{error}; what was done stays, so run it again") from error
