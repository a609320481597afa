"""Makes the commit that merges the default branch into a pull request's: dvc.lock stage by stage, the rest by git.

Everything is read from git's objects: nothing is checked out, so no code, hook, filter or driver of either side runs.
What people alone can settle is named and left to them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Self

from bots.dvc.cache import compute_md5
from bots.dvc.lock_merge import drop_unheld, merge_locks
from bots.dvc.lockfile import LockfileError, parse_lock
from bots.git.bare import Author, BareRepository
from bots.git.merge import (
    REGULAR,
    Entry,
    create_merge,
    find_merge_bases,
    list_entries,
    list_parents,
    measure_blob,
    merge_trees,
    replace_entries,
)
from bots.layout import CARD, DVC_LOCK, REPORTS
from bots.log import make_visible
from bots.publish.lock import BOT
from bots.publish.model_bundle import LARGEST_LOCK

LARGEST_INPUT: Final = 8 << 20
"""Of larger files that a stage read nobody asks here whether they are still the same; DVC does."""
_WORKFLOW: Final = re.compile(r"\.github/workflows/[^/]+\.ya?ml")
# With Git LFS git holds such a pointer instead of the content that DVC hashed.
_POINTER: Final = b"version https://git-lfs"
_SUBJECT: Final = re.compile(r"Merge the default branch at ([0-9a-f]{7}) into this branch\n")


@dataclass(frozen=True)
class MergedBranch:
    """The merge, and for each project's lock the stages whose record it lost, with the reason."""

    commit: str
    dropped: Mapping[str, Mapping[str, str]]


@dataclass(frozen=True)
class Unmergeable:
    """What people have to settle: paths, each with why; or, without any, one reason for the whole branch."""

    paths: Mapping[str, str]
    why: str = ""


def merge_branch(bare: BareRepository, head: str, tip: str) -> MergedBranch | Unmergeable:
    """Merge a fetched commit `tip` of the default branch into a branch's `head`; equal commits make an equal merge.

    Raises `GitError` and `TemporaryFailure`.
    """
    bases = find_merge_bases(bare, head, tip)
    if len(bases) != 1:
        why = "has several common commits with it" if bases else "has no common commit with it"
        return Unmergeable({}, f"the branch {why}, so that nobody can tell what either side changed")
    merge = _Merge.begin(bare, bases[0], head, tip)
    dropped = merge.settle()
    if merge.left:
        return Unmergeable({show_path(path): why for path, why in sorted(merge.left.items())})
    tree = replace_entries(bare, merge.tree, merge.changes)
    when = max(bare.read_time(head), bare.read_time(tip))
    commit = create_merge(
        bare, tree, (head, tip), message=build_message(tip, dropped), author=Author(*BOT, when)
    )
    return MergedBranch(commit, {show_path(path): lost for path, lost in dropped.items()})


def show_path(path: str) -> str:
    """Show a path of git's, which need not be text, as one line of text."""
    return make_visible(path.encode(errors="surrogateescape").decode(errors="replace"), 300)


def build_message(tip: str, dropped: Mapping[str, Mapping[str, str]]) -> str:
    """Build the merge's message, which says what has to be made anew."""
    lines = [f"Merge the default branch at {tip[:7]} into this branch", ""]
    for path, stages in dropped.items():
        names = ", ".join(make_visible(name, 100) for name in list(stages)[:20])
        lines.append(f"{show_path(path)}: {names} to be made anew, as the merge has no record that holds.")
    if dropped:
        lines.append("")
    return "\n".join([*lines, f"Merged-Commit: {tip}", ""])


def find_own_merge(bare: BareRepository, commit: str) -> tuple[str, str] | None:
    """Find what a fetched commit merged, where it is one of these merges: the branch's commit before, and main's."""
    parents = list_parents(bare, commit)
    message = bare.read_message(commit)
    found = _SUBJECT.match(message)
    if len(parents) != 2 or found is None or f"\nMerged-Commit: {parents[1]}\n" not in message:
        return None
    return (parents[0], parents[1]) if parents[1].startswith(found[1]) else None


@dataclass
class _Merge:
    """A merge on its way: each side's entries and git's, what is put in their place, and what is left to people."""

    bare: BareRepository
    head: str
    tip: str
    base: dict[str, Entry]
    ours: dict[str, Entry]
    theirs: dict[str, Entry]
    tree: str
    merged: dict[str, Entry]
    conflicts: frozenset[str]
    changes: dict[str, Entry | None] = field(default_factory=dict)
    left: dict[str, str] = field(default_factory=dict)

    @classmethod
    def begin(cls, bare: BareRepository, base: str, head: str, tip: str) -> Self:
        made = merge_trees(bare, head, tip)
        old, ours, theirs, merged = (list_entries(bare, one) for one in (base, head, tip, made.tree))
        return cls(bare, head, tip, old, ours, theirs, made.tree, merged, made.conflicts)

    def settle(self) -> dict[str, dict[str, str]]:
        """Settle what the pipeline makes, and name what is left; returns what each lock lost."""
        locks, reports = self._list_made()
        for path in reports:
            if self._is_changed_by_both(path):
                self.changes[path] = self.ours.get(path)
        undecided = self.conflicts - self.changes.keys() - locks.keys()
        self.left |= dict.fromkeys(undecided, "both sides changed it")
        # Also a clean merge of its text would be a workflow that nobody wrote.
        self.left |= {
            path: "both sides changed this workflow, and the bots may push none of their own making"
            for path, entry in self.merged.items()
            if _WORKFLOW.fullmatch(path) and entry not in (self.ours.get(path), self.theirs.get(path))
        }
        return {path: lost for path, folder in locks.items() if (lost := self._settle_lock(path, folder))}

    def _list_made(self) -> tuple[dict[str, str], list[str]]:
        """List every project's dvc.lock with its folder, and what else the pipelines write into git."""
        every = sorted({*self.base, *self.ours, *self.theirs})
        locks = {path: path[: -len(DVC_LOCK)] for path in every if path.split("/")[-1] == DVC_LOCK}
        made = [
            path
            for folder in locks.values()
            for path in every
            if path == f"{folder}{CARD}"
            or (path.startswith(f"{folder}{REPORTS}/") and path.endswith(".json"))
        ]
        return locks, made

    def _is_changed_by_both(self, path: str) -> bool:
        old, ours, theirs = (side.get(path) for side in (self.base, self.ours, self.theirs))
        return ours != theirs and old not in (ours, theirs)

    def _settle_lock(self, path: str, folder: str) -> dict[str, str]:
        """Merge a lock, and take out of it what the merge's own files contradict; returns what was dropped."""
        sides = [side.get(path) for side in (self.base, self.ours, self.theirs)]
        if None in sides[1:]:
            if path in self.conflicts:
                self.left[path] = "one side changed it, the other moved or removed it"
            return {}
        if any(one is not None and not one.is_regular for one in sides):
            self.left[path] = "it is no ordinary file, as a lock of DVC's is"
            return {}
        try:
            old, ours, theirs = map(self._read_lock, sides)
            merged = merge_locks(old, ours, theirs)
            held = drop_unheld(merged.text, self._find_digests(merged.text, folder).get)
        except LockfileError as error:
            self.left[path] = str(error)
            return {}
        self.changes[path] = Entry(REGULAR, "blob", self.bare.add_blob(held.text.encode()))
        return {**merged.dropped, **held.dropped}

    def _read_lock(self, entry: Entry | None) -> str:
        if entry is None:
            return ""
        if measure_blob(self.bare, entry.object) > LARGEST_LOCK:
            raise LockfileError(f"it has more than {LARGEST_LOCK >> 20} MiB, which no lock of a pipeline has")
        return self.bare.read_blob(entry.object).decode(errors="replace")

    def _find_digests(self, lock: str, folder: str) -> dict[str, str]:
        """Find the MD5 of each file of the merge that a lock's stages read, by its path in the project."""
        read = {path for stage in parse_lock(lock).stages.values() for path in stage.deps}
        found = {
            path: entry for path in read if (entry := self.merged.get(folder + path)) and entry.kind == "blob"
        }
        blobs = [entry.object for entry in found.values()]
        for commit in (self.head, self.tip):
            self.bare.fetch_blobs(commit, blobs)
        small = {
            path: self.bare.read_blob(entry.object)
            for path, entry in found.items()
            if measure_blob(self.bare, entry.object) <= LARGEST_INPUT
        }
        return {path: compute_md5(one) for path, one in small.items() if not one.startswith(_POINTER)}
