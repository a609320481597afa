"""Reads the registry from tags that anybody may have pushed, and says which of them it does not believe.

Tags are named as GTO names them: `model@v1.4.0` is a version, `model#production#7` puts the version of its commit into
a stage. The message of each of these annotated tags ends in one line of JSON, and before it stands a signature of that
line, the tag's name and its commit.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import msgspec

from bots.naming import ALONE, Naming
from bots.release import versions
from bots.release.versions import PART, Assignment, Record, Registry, Release, SkippedTag

if TYPE_CHECKING:
    from bots.git.bare import Tag
    from bots.release.signing import PublicKeys, Signer

# The part of gto.constants.tag_re that these tags need: GTO takes most of a second to import.
_NAME = re.compile(rf"(?:@(?P<version>v{PART}\.{PART}\.{PART})|#(?P<stage>[a-z]+)#(?P<counter>[0-9]{{1,9}}))")
SIGNED = "Signature: "
R = TypeVar("R", bound=Record)
FindFault = Callable[["Tag"], str | None]
"""Why a tag is not the bots' own; None where it is."""


@dataclass(frozen=True)
class Entry:
    """A tag of the registry: what it says, and a stage's place in the order of all."""

    tag: Tag
    record: Release | Assignment
    counter: int = 0

    def describe(self) -> str:
        """Say in a line what the tag is about, for a person who is to vouch for it."""
        if isinstance(self.record, Release):
            return f"version {self.record.version}, image {self.record.image}, built {self.record.built}"
        return f"{self.record.stage} has {self.record.version}, by {self.record.by}, {self.record.at}"


def make_fault_finder(keys: PublicKeys, added: Mapping[str, str]) -> FindFault:
    """Make the function that finds why a tag is not the bots' own: no annotated tag, or not signed by one of `keys`.

    `added` are signatures that tags got later, by the tag's name.
    """

    def find_fault(tag: Tag) -> str | None:
        if tag.fault:
            return tag.fault
        payload = build_payload(tag)
        fault = keys.find_fault(find_signature(tag.message), payload)
        if fault and (later := added.get(tag.name)):
            return keys.find_fault(later, payload)
        return fault

    return find_fault


def build_payload(tag: Tag) -> bytes:
    """Build what is signed of a tag: its name, its commit, and its last line."""
    return format_payload(tag.name, tag.commit, find_record_line(tag.message))


def format_payload(name: str, commit: str, line: str) -> bytes:
    """Format what is signed, so that it can be taken for nothing else."""
    return f"registry tag 1\n{name}\n{commit}\n{line}".encode(errors="surrogatepass")


def find_record_line(message: str) -> str:
    """Find the line of a message that holds the record: the last one."""
    return message.rstrip().rpartition("\n")[2]


def find_signature(message: str) -> str | None:
    """Find a message's signature, which stands in the line before the record."""
    before = message.rstrip().rpartition("\n")[0].rpartition("\n")[2]
    return before.removeprefix(SIGNED) if before.startswith(SIGNED) else None


def format_message(headline: str, record: Record, *, name: str, commit: str, signer: Signer) -> str:
    """A tag's message: a headline for people, the signature, a line of JSON for programs."""
    line = msgspec.json.encode(record).decode()
    signature = signer.sign(format_payload(name, commit, line))
    return f"{headline}\n\n{SIGNED}{signature}\n{line}\n"


def parse_tags(
    tags: Iterable[Tag],
    ledger: Iterable[Tag] = (),
    *,
    find_fault: FindFault,
    is_on_main: Callable[[str], bool] = lambda commit: True,
    naming: Naming = ALONE,
) -> Registry:
    """Read the registry from its tags, and from its ledger, which remembers every tag that was pushed.

    What the bots did not make, what was deleted or replaced, and what says something that cannot be is skipped and
    named. Numbers go on from what the bots made, so a tag by anybody else leads to no number.
    """
    there = {tag.name: tag for tag in tags if tag.name.startswith(naming.tags)}
    kept = {
        tag.name: entry for tag in ledger if isinstance(entry := parse_entry(tag, find_fault, naming), Entry)
    }
    made: dict[str, Entry] = {}
    skipped = dict.fromkeys(kept.keys() - there.keys(), "was deleted; its number is not used again")
    for name, tag in there.items():
        entry = parse_entry(tag, find_fault, naming)
        if isinstance(entry, str):
            skipped[name] = entry
        elif name in kept and kept[name].tag.raw != tag.raw:
            skipped[name] = "was replaced; the registry remembers another tag of this name"
        else:
            made[name] = entry
    releases = dict(_select_releases(made, is_on_main, skipped))
    assignments = sorted(_select_assignments(made, releases, skipped), key=lambda one: one[0])
    known = [*made.values(), *kept.values()]
    taken = {one.record.version for one in known if isinstance(one.record, Release)}
    return Registry(
        releases=tuple(sorted(releases.values(), key=lambda one: versions.parse_version(one.version))),
        assignments=tuple(assignment for _, assignment in assignments),
        taken=tuple(sorted(taken, key=versions.parse_version)),
        counter=max((one.counter for one in known), default=0),
        occupied=frozenset(there),
        skipped=tuple(SkippedTag(name, reason) for name, reason in sorted(skipped.items())),
        naming=naming,
    )


def match_name(name: str, naming: Naming = ALONE) -> re.Match[str] | None:
    """Match a name that the bots give a tag of this registry: `version`, or `stage` and `counter`; else None."""
    return _NAME.fullmatch(name, len(naming.artifact)) if name.startswith(naming.artifact) else None


def parse_entry(tag: Tag, find_fault: FindFault, naming: Naming = ALONE) -> Entry | str:
    """Parse a tag with a name of the registry's; the reason where it is not believed."""
    found = match_name(tag.name, naming)
    if found is None:
        return "has a name that the bots do not give"
    if fault := find_fault(tag):
        return fault
    if version := found["version"]:
        release = _decode_record(tag, Release)
        if release is None:
            return "holds no record of a version"
        if (release.version, release.commit) != (version, tag.commit):
            return f"holds the record of {release.version} at {release.commit[:7]}"
        return Entry(tag, release)
    assignment = _decode_record(tag, Assignment)
    if assignment is None or assignment.stage != found["stage"]:
        return f"holds no record of {found['stage']}"
    return Entry(tag, assignment, int(found["counter"]))


def _select_releases(
    made: Mapping[str, Entry], is_on_main: Callable[[str], bool], skipped: dict[str, str]
) -> Iterator[tuple[str, Release]]:
    """Select the versions of main's commits, by number; the others are `skipped`."""
    for name, entry in made.items():
        if isinstance(entry.record, Release):
            if is_on_main(entry.tag.commit):
                yield entry.record.version, entry.record
            else:
                skipped[name] = f"is of {entry.tag.commit[:7]}, which is not on main"


def _select_assignments(
    made: Mapping[str, Entry], releases: Mapping[str, Release], skipped: dict[str, str]
) -> Iterator[tuple[int, Assignment]]:
    """Select what puts a version that there is into a stage, with its counter; the others are `skipped`."""
    for name, entry in made.items():
        if isinstance(entry.record, Assignment):
            version = releases.get(entry.record.version)
            if version is None:
                skipped[name] = f"names {entry.record.version}, which is no version now"
            elif version.commit != entry.tag.commit:
                skipped[name] = f"names {entry.record.version}, but not its commit"
            else:
                yield entry.counter, entry.record


def _decode_record(tag: Tag, kind: type[R]) -> R | None:
    try:
        return msgspec.json.decode(find_record_line(tag.message), type=kind)
    except msgspec.DecodeError:
        return None
