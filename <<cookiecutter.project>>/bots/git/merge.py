"""Merges two commits in a bare repository: nothing is checked out, and no program that a branch names is run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from bots.git.bare import Author, BareRepository, classify_error
from bots.git.repository import GitError

REGULAR: Final = "100644"
# What a branch's .gitattributes says of merging is taken back: neither a driver nor a filter of its choice is asked.
_ATTRIBUTES: Final = (
    "* !merge !conflict-marker-size !text !eol !crlf !ident !filter !diff !working-tree-encoding\n"
)
_SETTINGS: Final = (
    "-c", "merge.default=text",
    "-c", "merge.renormalize=false",
    "-c", "submodule.recurse=false",
)  # fmt: skip
_UNREACHABLE = re.compile(r"promisor|could not fetch|unable to access|early EOF|Could not read from remote")


@dataclass(frozen=True)
class Entry:
    """A path of a commit: git's mode, its kind (`blob`; `commit` is a submodule), and the object."""

    mode: str
    kind: str
    object: str

    @property
    def is_regular(self) -> bool:
        """Tell whether it is an ordinary file, and neither a link nor a submodule nor a program."""
        return self.mode == REGULAR


@dataclass(frozen=True)
class MergedTrees:
    """What git made of two commits: the tree, and the paths in which their changes contradict each other."""

    tree: str
    conflicts: frozenset[str]


def merge_trees(bare: BareRepository, ours: str, theirs: str) -> MergedTrees:
    """Merge two fetched commits as git does, renamed files too. Raises `GitError`, `TemporaryFailure`."""
    info = bare.folder / "info"
    info.mkdir(exist_ok=True)
    (info / "attributes").write_text(_ATTRIBUTES, encoding="ascii")
    words = ("merge-tree", "--write-tree", "-z", "--name-only", "--no-messages", ours, theirs)
    done = bare.run(*_SETTINGS, *words, expect=None)
    if done.returncode not in (0, 1):
        said = done.stderr.decode(errors="replace")
        if _UNREACHABLE.search(said):
            raise classify_error(said, "fetch")
        raise GitError(
            f"git cannot merge {theirs[:7]} into {ours[:7]}: {said.strip()[:300] or 'no reason given'}"
        )
    tree, *paths = done.stdout.decode(errors="surrogateescape").rstrip("\0").split("\0")
    return MergedTrees(tree, frozenset(path for path in paths if path))


def find_merge_bases(bare: BareRepository, one: str, other: str) -> list[str]:
    """Find the commits that two fetched commits come from; of several, no one of them is the base alone."""
    done = bare.run("merge-base", "--all", one, other, expect=None)
    return done.stdout.decode().split()


def list_entries(bare: BareRepository, tree: str) -> dict[str, Entry]:
    """List every path of a commit or tree, also links and submodules."""
    listed = bare.run("ls-tree", "-r", "-z", "--full-tree", tree).stdout.decode(errors="surrogateescape")
    found = (line.partition("\t")[::2] for line in listed.split("\0") if line)
    return {path: Entry(*about.split()) for about, path in found}


def measure_blob(bare: BareRepository, blob: str) -> int:
    """Measure how many bytes a blob has."""
    return int(bare.run("cat-file", "-s", blob).stdout)


def replace_entries(bare: BareRepository, tree: str, changes: Mapping[str, Entry | None]) -> str:
    """Make a tree with other entries, None for a path that is to be gone, and return it."""
    if not changes:
        return tree
    bare.run("read-tree", tree)
    lines = [
        f"{entry.mode} {entry.object}\t{path}" if entry else f"0 {'0' * 40}\t{path}"
        for path, entry in changes.items()
    ]
    stdin = "".join(f"{line}\0" for line in lines).encode(errors="surrogateescape")
    bare.run("update-index", "-z", "--index-info", stdin=stdin)
    return bare.run("write-tree", "--missing-ok").stdout.decode().strip()


def create_merge(
    bare: BareRepository, tree: str, parents: tuple[str, ...], *, message: str, author: Author
) -> str:
    """Create a commit with a tree and several parents, and return it. Equal arguments make equal commits."""
    lines = [
        f"tree {tree}",
        *(f"parent {parent}" for parent in parents),
        f"author {author.format_line()}",
        f"committer {author.format_line()}",
        "",
        message,
    ]
    return (
        bare.run("hash-object", "-t", "commit", "-w", "--stdin", stdin="\n".join(lines).encode())
        .stdout.decode()
        .strip()
    )


def list_parents(bare: BareRepository, commit: str) -> tuple[str, ...]:
    """List a fetched commit's parents."""
    return tuple(bare.run("rev-parse", f"{commit}^@").stdout.decode().split())
