"""Verifies the registry's append-only record: nothing in it was changed, taken out, or put in by somebody else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from bots.errors import BotsError
from bots.release import tags
from bots.release.tags import Entry
from bots.release.versions import Release

if TYPE_CHECKING:
    from bots.git.bare import Tag
    from bots.naming import Naming
    from bots.release.registry import RegistryRepository
    from bots.release.versions import Assignment


class AuditUnreadable(BotsError):
    """The file of an earlier audit cannot be read."""


class AuditEntry(Struct, frozen=True, kw_only=True):
    """An entry of the record: what was done by whom and when, to which digest, on which evidence; `faults` say why it
    is not believed."""

    name: str
    at: str
    by: str
    words: str
    commit: str
    digest: str | None = None
    evidence: list[str] = []
    faults: list[str] = []


class Audit(Struct, frozen=True, kw_only=True):
    """The record, the oldest entry first, and what is wrong with it as a whole."""

    entries: list[AuditEntry]
    faults: list[str]

    @property
    def is_whole(self) -> bool:
        """Whether nothing is wrong."""
        return not self.faults and not any(one.faults for one in self.entries)


def audit_registry(repository: RegistryRepository) -> Audit:
    """Read every entry that the registry's record ever had, and verify it. Raises `RegistryError`, `GitError`."""
    there = {tag.name: tag for tag in repository.list_tags()}
    history = repository.list_ledger_history()
    faults = list(find_changes(history))
    ever = {
        name: blob
        for files in history
        for name, blob in files.items()
        if name.startswith(repository.naming.tags)
    }
    known = {**{tag.name: tag for tag in repository.read_ledger_tags(ever)}, **repository.ledger}
    names = [*known, *(name for name in there if name not in known)]
    audited = [_audit_entry(repository, name, known.get(name), there.get(name)) for name in names]
    # Of two in the same second, the one that came first into the record.
    entries = sorted(audited, key=lambda entry: entry.at)
    counters = [entry.counter for entry in _parse_all(repository, known.values()) if entry.counter]
    faults += find_gaps(counters, repository.registry.occupied)
    return Audit(entries=entries, faults=faults)


def find_changes(history: Sequence[dict[str, str]]) -> Iterator[str]:
    """Find what a later commit of the record took out or replaced: it may only add. `history` is the oldest first."""
    for before, after in pairwise(history):
        for name, blob in before.items():
            if name not in after:
                yield f"{name} was taken out of the record"
            elif after[name] != blob:
                yield f"{name} was replaced in the record"


def find_gaps(counters: Sequence[int], occupied: frozenset[str]) -> Iterator[str]:
    """Find numbers of stage entries that are missing: each entry gets the number after the last."""
    taken = {int(name.rpartition("#")[2]) for name in occupied if name.rpartition("#")[2].isdecimal()}
    for number in range(1, max(counters, default=0)):
        if number not in counters and number not in taken:
            yield f"entry number {number} of the stages is missing: it was removed, with every trace of it"


def _parse_all(repository: RegistryRepository, found: Iterable[Tag]) -> Iterator[Entry]:
    for tag in found:
        if isinstance(entry := tags.parse_entry(tag, repository.find_fault, repository.naming), Entry):
            yield entry


def _audit_entry(
    repository: RegistryRepository, name: str, kept: Tag | None, there: Tag | None
) -> AuditEntry:
    """Verify an entry: `kept` is what the record remembers, `there` the tag that is on the remote now."""
    tag = kept or there
    assert tag is not None
    faults = list[str]()
    if kept is None:
        faults.append("is not in the record")
    elif there is None:
        faults.append("its tag was deleted")
    elif there.raw != kept.raw:
        faults.append("its tag was replaced")
    read = tags.parse_entry(tag, repository.find_fault, repository.naming)
    if isinstance(read, str):
        return _describe_unread(name, tag, [read, *faults])
    if not repository.contains(tag.commit):
        faults.append(f"is of {tag.commit[:7]}, which is not on main")
    record = read.record
    if isinstance(record, Release):
        return _describe_release(name, record, faults)
    return _describe_assignment(name, record, tag.commit, faults, image=_find_image(repository, record))


def _describe_unread(name: str, tag: Tag, faults: list[str]) -> AuditEntry:
    from bots.release.registry import format_time

    at = format_time(tag.when) if tag.when else ""
    return AuditEntry(
        name=name, at=at, by="unknown", words="is not believed", commit=tag.commit, faults=faults
    )


def _describe_release(name: str, record: Release, faults: list[str]) -> AuditEntry:
    evidence = [f"review of #{record.pull_request}: {record.verdict}"] if record.pull_request else []
    if record.approvers:
        evidence.append(f"approved by {', '.join(record.approvers)}")
    if record.accepted:
        evidence.append(f"accepted by {record.accepted.by}: {record.accepted.reason}")
    evidence += [f"{check.name}: {check.words}" for check in record.checks]
    return AuditEntry(
        name=name,
        at=record.built,
        by=record.merged_by or (record.accepted and record.accepted.by) or record.author or "unknown",
        words=f"{record.version} was made",
        commit=record.commit,
        digest=record.image.rpartition("@")[2],
        evidence=evidence,
        faults=faults,
    )


def _describe_assignment(
    name: str, record: Assignment, commit: str, faults: list[str], *, image: str | None
) -> AuditEntry:
    words = f"{record.stage} has {record.version}"
    if record.paused:
        words += f", {record.paused} is paused"
    if record.rejected:
        words += f", {record.rejected} was rolled back"
    if record.held:
        words += ", on hold"
    evidence = [record.reason] if record.reason else []
    evidence += [f"{check.name}: {check.words}" for check in record.checks]
    return AuditEntry(
        name=name,
        at=record.at,
        by=record.by,
        words=words,
        commit=commit,
        digest=image,
        evidence=evidence,
        faults=faults,
    )


def _find_image(repository: RegistryRepository, record: Assignment) -> str | None:
    release = repository.registry.find_version(record.version)
    return release.image.rpartition("@")[2] if release else None


def parse_audit(path: Path) -> Audit:
    """Read an earlier audit's JSON. Raises `AuditUnreadable`."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Audit)
    except (OSError, msgspec.MsgspecError) as error:
        raise AuditUnreadable(
            f"{path}: expected what `python -m bots audit --json` printed: {error}"
        ) from error


def join_audits(audits: Mapping[str | None, Audit]) -> Audit:
    """Join the records of a project's models by their names, the oldest entry first; None is the main model."""
    entries = sorted((one for audit in audits.values() for one in audit.entries), key=lambda entry: entry.at)
    faults = [
        f"{name}: {fault}" if name else fault for name, audit in audits.items() for fault in audit.faults
    ]
    return Audit(entries=entries, faults=faults)


def keep_model(audit: Audit, naming: Naming) -> Audit:
    """Keep of an earlier audit the entries of one model."""
    return msgspec.structs.replace(
        audit, entries=[one for one in audit.entries if one.name.startswith(naming.tags)]
    )


def find_lost(earlier: Audit, now: Audit) -> Iterator[str]:
    """Find what an earlier audit had and this one has not, or has otherwise; faults do not count."""
    there = {one.name: one for one in now.entries}
    for was in earlier.entries:
        found = there.get(was.name)
        if found is None:
            yield f"{was.name} is gone: an earlier audit has it ({was.at}, {was.words}, by {was.by})"
        elif msgspec.structs.replace(found, faults=[]) != msgspec.structs.replace(was, faults=[]):
            yield f"{was.name} says something else than in an earlier audit ({was.at}, {was.words}, by {was.by})"
