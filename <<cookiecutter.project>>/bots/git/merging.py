"""Merges trees of files by git's three-way merge, from a base that is given and needs no common history."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bots.git.bare import Author, build_environment, run_git
from bots.git.repository import GitError

REGULAR: Final = frozenset({"100644", "100755"})
_NOBODY: Final = Author("merge", "merge@localhost", 0)
# A folder that one side renamed draws no new files of the other side's after it: each stays where it was added.
_SETTINGS: Final = (
    ("merge.directoryRenames", "false"),
    ("merge.renames", "true"),
    ("merge.renameLimit", "5000"),
)
_HUNK: Final = re.compile(rb"^<{7}[^\n]*\n.*?^>{7}[^\n]*$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Entry:
    """A file of a tree: git's mode, and the blob that holds its content."""

    mode: str
    blob: str


Files = dict[str, Entry]
"""The files of a tree by their path."""


@dataclass(frozen=True)
class Conflict:
    """A path on which git could not merge: its entries in the base, here and there; None where a side has none."""

    path: str
    base: Entry | None
    ours: Entry | None
    theirs: Entry | None

    @property
    def is_text(self) -> bool:
        """Tell whether both sides changed the same regular file."""
        sides = (self.base, self.ours, self.theirs)
        return all(side is not None and side.mode in REGULAR for side in sides)


@dataclass(frozen=True)
class MergedTrees:
    """What a merge gave: a tree, in which files in conflict hold markers, and the conflicts."""

    tree: str
    conflicts: tuple[Conflict, ...]


def list_entries(folder: Path, tree: str) -> Files:
    """List every file of a tree or commit; also links and submodules, whose modes say so."""
    listed = run_git(folder, "ls-tree", "-r", "-z", "--full-tree", tree).stdout
    found: Files = {}
    for line in listed.decode("utf-8", errors="surrogateescape").split("\0"):
        about, _, path = line.partition("\t")
        if path:
            mode, _, blob = about.split(" ")
            found[path] = Entry(mode, blob)
    return found


def write_entries(folder: Path, files: Mapping[str, Entry]) -> str:
    """Write a tree of these files and return it."""
    lines = "".join(f"{entry.mode} {entry.blob}\t{path}\0" for path, entry in files.items())
    with tempfile.TemporaryDirectory() as scratch:
        environment = build_environment() | {"GIT_INDEX_FILE": str(Path(scratch) / "index")}

        def run(*words: str, stdin: bytes = b"") -> bytes:
            done = subprocess.run(
                ["git", *words], cwd=folder, env=environment, input=stdin, capture_output=True, check=False
            )
            if done.returncode:
                raise GitError(f"`git {words[0]}` failed: {done.stderr.decode(errors='replace').strip()}")
            return done.stdout

        run("update-index", "-z", "--index-info", stdin=lines.encode("utf-8", errors="surrogateescape"))
        return run("write-tree").decode().strip()


def commit_tree(folder: Path, tree: str, parents: Sequence[str], *, message: str, author: Author) -> str:
    """Commit a tree; equal arguments make equal commits."""
    who = author.format_line()
    lines = [
        f"tree {tree}",
        *(f"parent {parent}" for parent in parents),
        f"author {who}",
        f"committer {who}",
        "",
        message,
    ]
    words = ("hash-object", "-t", "commit", "-w", "--stdin")
    return run_git(folder, *words, stdin="\n".join(lines).encode()).stdout.decode().strip()


def merge_trees(folder: Path, *, base: str, ours: str, theirs: str) -> MergedTrees:
    """Merge what changed from `base` to `theirs` into `ours`; all three are trees."""
    start = commit_tree(folder, base, (), message="base\n", author=_NOBODY)
    sides = [
        commit_tree(folder, tree, (start,), message=f"{name}\n", author=_NOBODY)
        for name, tree in (("ours", ours), ("theirs", theirs))
    ]
    return merge_commits(folder, *sides)


def merge_commits(folder: Path, ours: str, theirs: str) -> MergedTrees:
    """Merge two commits as `git merge` would, without a work tree."""
    words = ("merge-tree", "--write-tree", "--no-messages", "-z", ours, theirs)
    done = run_git(folder, *words, settings=_SETTINGS, expect=None)
    if done.returncode not in (0, 1):
        said = done.stderr.decode(errors="replace").strip()
        raise GitError(f"`git merge-tree` failed; it needs git 2.38 or newer: {said[:500]}")
    tree, *lines = done.stdout.decode("utf-8", errors="surrogateescape").split("\0")
    stages: dict[str, dict[str, Entry]] = {}
    for line in lines:
        about, _, path = line.partition("\t")
        if path:
            mode, blob, stage = about.split(" ")
            stages.setdefault(path, {})[stage] = Entry(mode, blob)
    conflicts = tuple(
        Conflict(path, found.get("1"), found.get("2"), found.get("3")) for path, found in stages.items()
    )
    return MergedTrees(tree, conflicts)


def read_blob(folder: Path, blob: str) -> bytes:
    """Read a blob's content."""
    return run_git(folder, "cat-file", "blob", blob).stdout


def write_blob(folder: Path, content: bytes) -> str:
    """Write a blob and return it."""
    return run_git(folder, "hash-object", "-w", "--stdin", stdin=content).stdout.decode().strip()


def merge_contents(ours: bytes, base: bytes, theirs: bytes, *, labels: Sequence[str] | None) -> bytes:
    """Merge a file line by line. With `labels` (ours, base, theirs) conflicts stand between markers; without, ours
    stands where both changed the same lines."""
    style = ["--diff3", *(word for label in labels for word in ("-L", label))] if labels else ["--ours"]
    with tempfile.TemporaryDirectory() as scratch:
        paths = [Path(scratch) / name for name in ("ours", "base", "theirs")]
        for path, content in zip(paths, (ours, base, theirs), strict=True):
            path.write_bytes(content)
        done = run_git(Path(scratch), "merge-file", "--stdout", *style, *map(str, paths), expect=None)
    if not 0 <= done.returncode < 128:
        raise GitError(f"`git merge-file` failed: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout


def list_hunks(merged: bytes) -> list[str]:
    """List the places of a merged file that stand between the markers of a conflict, each with its markers."""
    return [found.group().decode("utf-8", errors="replace") for found in _HUNK.finditer(merged)]


def describe_difference(folder: Path, before: str | None, after: str | None) -> str:
    """Describe how a file differs between two blobs as lines with `+` and `-`; None is a file that is not there."""
    empty = write_blob(folder, b"")
    words = ("diff", "--no-color", "--no-ext-diff", "--no-textconv", before or empty, after or empty)
    lines = run_git(folder, *words).stdout.decode("utf-8", errors="replace").splitlines()
    at = next((number for number, line in enumerate(lines) if line.startswith("@@")), len(lines))
    return "\n".join(lines[at:]) or "\n".join(lines[-1:])
