"""What the bots need of a storage, and what every kind of storage shares.

Files are found by their content, so two writers never want different things in one place.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bots.dvc import command_line
from bots.errors import BotsError

NAME = "storage"

Tell = Callable[[str], None]


class StorageError(BotsError):
    """The storage cannot do what was asked; the message says why and what to do."""


@dataclass(frozen=True)
class Status:
    """Where things are kept, how many, how large together (None: not known), and which digests here are not there."""

    where: str
    files: int
    bytes: int | None
    unpushed: list[str]


class Storage(Protocol):
    """What the bots need of a place that keeps data and models."""

    where: str

    def prepare(self, revisions: Collection[str]) -> int:
        """Bring what the work tree and these commits name within DVC's reach; how many files came."""

    def fetch(self, targets: Collection[str] = ()) -> None:
        """Bring what dvc.lock names into the work tree: everything, or these paths."""

    def push(self) -> int:
        """Keep what dvc.lock names and this machine has; how many files were new."""

    def keep(self, files: Mapping[str, Path]) -> int:
        """Keep these files (digest to path), verified by the caller; how many were new."""

    def holds(self, digests: Collection[str]) -> set[str]:
        """Which of these digests are kept."""

    def status(self) -> Status:
        """What there is, and what is missing there."""


def folders_last(digest: str) -> tuple[bool, str]:
    """Sorts digests so that a folder never comes before its files."""
    return digest.endswith(".dir"), digest


def run_dvc(root: Path, *words: str) -> None:
    """Run a DVC command. Raises `StorageError` with DVC's words."""
    done = command_line.run_dvc(root, *words, "--quiet")
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).split())
        raise StorageError(f"`dvc {words[0]}` failed: {said[:1000] or 'no output'}")
