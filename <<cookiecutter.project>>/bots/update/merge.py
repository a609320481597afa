"""Merges a template's update into main: what git can merge, what a person has to decide, and what stays as it is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bots.git.merging import (
    Conflict,
    Entry,
    Files,
    MergedTrees,
    describe_difference,
    list_entries,
    list_hunks,
    merge_contents,
    merge_trees,
    read_blob,
    write_blob,
    write_entries,
)
from bots.render.template_update import ConflictText, KeptPath
from bots.template import RECORD
from bots.update.fetch import CannotUpdate

NEVER: Final = (
    "dvc.lock",
    "LICENSE",
    "MODEL_CARD.md",
    "reports/",
    "data/",
    "models/",
    ".github/registry.keys",
)
"""What is the project's alone once it is made: records and data, the licence with its year, the keys that it trusts."""
_ROUNDS: Final = 6
_BINARY: Final = 8_000


@dataclass(frozen=True)
class MergePlan:
    """What came of a merge. `wanted` is the template's side without what stays as it is, `merged` the merged tree.

    In `merged` each file in conflict has this side's lines where both changed the same.
    """

    merged: str
    wanted: str
    conflicts: tuple[ConflictText, ...]
    kept: tuple[KeptPath, ...]


def is_never_updated(path: str, prefix: str = "") -> bool:
    """Tell whether a path is no longer the template's once the project is made."""
    inside = path.removeprefix(prefix)
    return any(inside == name or (name.endswith("/") and inside.startswith(name)) for name in NEVER)


def place_files(files: Files, prefix: str) -> Files:
    """Put a project's files at its place in the repository; `prefix` is empty or ends with a slash."""
    return {prefix + path: entry for path, entry in files.items()}


def check_files(files: Files) -> None:
    """Refuse what a template has no business to bring: links and other repositories. Raises `CannotUpdate`."""
    for path, entry in files.items():
        if entry.mode not in ("100644", "100755"):
            raise CannotUpdate(
                f"the template brings {path!r}, which is a link or a repository; it must bring files alone"
            )


def plan_merge(
    folder: Path, *, base: Files, ours: Files, theirs: Files, prefix: str, labels: tuple[str, str, str]
) -> MergePlan:
    """Plan the merge of `theirs`, a newer bake, into `ours`, from the bake `base` that ours came from.

    The record of the template is taken from `theirs`. `labels` name ours, base and theirs in the markers. Raises
    `CannotUpdate` where git cannot merge and nothing says how.
    """
    wanted, mine = dict(theirs), dict(ours)
    record = prefix + RECORD
    if record in base:
        mine[record] = base[record]
    else:
        mine.pop(record, None)
    for path in {*wanted, *base}:
        if is_never_updated(path, prefix):
            _reset(wanted, base, path)
    kept: dict[str, KeptPath] = {}
    for _ in range(_ROUNDS):
        merged = merge_trees(
            folder,
            base=write_entries(folder, base),
            ours=write_entries(folder, mine),
            theirs=write_entries(folder, wanted),
        )
        settled = [one for one in merged.conflicts if not _is_for_a_person(folder, one)]
        if not settled:
            return _finish(folder, merged, wanted=wanted, kept=kept, labels=labels)
        moved = {one.path for one in settled if _reset(wanted, base, one.path)}
        if not moved:
            break
        for path in sorted(moved):
            kept[path] = _describe_kept(folder, path, base=base, ours=ours, theirs=theirs)
    names = ", ".join(sorted({one.path for one in settled})[:10])
    raise CannotUpdate(
        f"git cannot merge {names} with what the template has; merge it by hand from the branch of its bakes"
    )


def _reset(wanted: Files, base: Files, path: str) -> bool:
    """Let the template want of a path what it had before; tells whether that is something else."""
    if wanted.get(path) == base.get(path):
        return False
    if path in base:
        wanted[path] = base[path]
    else:
        del wanted[path]
    return True


def _is_for_a_person(folder: Path, conflict: Conflict) -> bool:
    """Tell whether both changed the same lines of a text file, which GitHub's page can settle."""
    if not conflict.is_text:
        return False
    sides = (conflict.base, conflict.ours, conflict.theirs)
    return not any(b"\0" in read_blob(folder, side.blob)[:_BINARY] for side in sides if side)


def _describe_kept(folder: Path, path: str, *, base: Files, ours: Files, theirs: Files) -> KeptPath:
    before, here, there = base.get(path), ours.get(path), theirs.get(path)
    if before is None:
        why = "you and the template both added it; yours stands"
    elif there is None:
        why = (
            "the template deleted or moved it, and you changed it; yours stands"
            if here
            else "you and the template moved it, each elsewhere"
        )
    elif here is None:
        why = "you deleted or moved it, and the template changed it; it stays as you have it"
    else:
        why = "you and the template changed it, and it is no text; yours stands"
    wanted = "" if there is None else _describe_wanted(folder, before, there)
    return KeptPath(path, why, wanted)


def _describe_wanted(folder: Path, before: Entry | None, after: Entry) -> str:
    return describe_difference(folder, before.blob if before else None, after.blob)


def _finish(
    folder: Path,
    merged: MergedTrees,
    *,
    wanted: Files,
    kept: dict[str, KeptPath],
    labels: tuple[str, str, str],
) -> MergePlan:
    files = list_entries(folder, merged.tree)
    told = []
    for one in merged.conflicts:
        assert one.ours is not None
        sides = [read_blob(folder, side.blob) for side in _list_sides(one)]
        hunks = list_hunks(merge_contents(*sides, labels=labels))
        told.append(ConflictText(one.path, tuple(hunks)))
        files[one.path] = Entry(one.ours.mode, write_blob(folder, merge_contents(*sides, labels=None)))
    return MergePlan(
        merged=write_entries(folder, files),
        wanted=write_entries(folder, wanted),
        conflicts=tuple(told),
        kept=tuple(kept[path] for path in sorted(kept)),
    )


def _list_sides(conflict: Conflict) -> Iterable[Entry]:
    return [side for side in (conflict.ours, conflict.base, conflict.theirs) if side]
