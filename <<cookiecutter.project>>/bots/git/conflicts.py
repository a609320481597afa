"""Reads and settles the paths that a merge left in conflict, and tells git which program merges dvc.lock."""

from __future__ import annotations

import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from bots.git.repository import GitError

DRIVER = "dvc-lock"
"""The name that .gitattributes gives the merge driver."""
_BASE, _OURS, _THEIRS = "1", "2", "3"


@dataclass(frozen=True)
class Conflict:
    """A path in conflict, from the project's root, and its content in the common commit and on both sides; None
    where it has none."""

    path: str
    base: bytes | None
    ours: bytes | None
    theirs: bytes | None


def list_conflicts(root: Path) -> list[Conflict]:
    """List what the index of the project at `root` has in conflict, in git's order. Raises `GitError`."""
    found: dict[str, dict[str, bytes]] = {}
    for line in _run_git(root, "ls-files", "--unmerged", "-z", "--", ".").split(b"\0"):
        if line:
            entry, _, name = line.partition(b"\t")
            _, blob, side = entry.decode("ascii").split()
            path = name.decode("utf-8", errors="surrogateescape")
            found.setdefault(path, {})[side] = _run_git(root, "cat-file", "blob", blob)
    return [
        Conflict(path, sides.get(_BASE), sides.get(_OURS), sides.get(_THEIRS))
        for path, sides in found.items()
    ]


def settle_conflict(root: Path, path: str, content: bytes | None) -> None:
    """Write a path's content, or delete it for None, and take the path out of conflict. Raises `GitError`."""
    if content is None:
        _run_git(root, "rm", "--quiet", "--force", "--", path)
        return
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_bytes(content)
    _run_git(root, "add", "--force", "--", path)


def install_driver(root: Path) -> None:
    """Let git merge dvc.lock in this clone with the project's own command; .gitattributes says of which path.

    git runs it in the top folder of the repository, so all paths are absolute. Raises `GitError`.
    """
    python = f"PYTHONPATH={shlex.quote(str(root))} {shlex.quote(sys.executable)} -P"
    _run_git(root, "config", f"merge.{DRIVER}.name", "merge the stages of dvc.lock one by one")
    _run_git(root, "config", f"merge.{DRIVER}.driver", f"{python} -m bots merge --driver %O %A %B")
    _run_git(root, "config", "merge.ours.driver", "true")


def _run_git(root: Path, *words: str) -> bytes:
    try:
        done = subprocess.run(["git", *words], cwd=root, capture_output=True, check=False)
    except FileNotFoundError as error:
        raise GitError("git is not installed, or not on the PATH") from error
    if done.returncode:
        said = done.stderr.decode("utf-8", errors="replace").strip()
        raise GitError(f"`git {words[0]}` failed: {said}")
    return done.stdout
