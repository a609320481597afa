"""What every kind of storage can do, and what all of them share.

Files are named by their content, so two writers never need different files under one name.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bots.dvc import cache, command_line
from bots.errors import BotsError

NAME = "storage"

Tell = Callable[[str], None]


class StorageError(BotsError):
    """The storage cannot be used, or refuses something; the message says why and what to do."""


class WrongContentError(StorageError):
    """What the storage gave is not what its name says."""


@dataclass(frozen=True)
class Status:
    """Where files are stored, how many and how many bytes (None: not known), and which digests are only here."""

    where: str
    files: int
    bytes: int | None
    unpushed: list[str]


class Storage(Protocol):
    """A place that stores data and models."""

    where: str
    cache: Path

    def prepare(self, revisions: Collection[str]) -> int:
        """Fetch what the work tree and these commits name to where DVC finds it; return how many files came."""

    def bring(self, digests: Collection[str]) -> int:
        """Fetch these files, and those of folders among them, to where DVC finds them; return how many came."""

    def fetch(self, targets: Collection[str] = ()) -> None:
        """Fetch what dvc.lock names into the work tree: everything, or these paths."""

    def fetch_files(self, digests: Collection[str], folder: Path) -> None:
        """Fetch these files into a folder that is laid out like DVC's cache; what is not stored is left out."""

    def push(self) -> int:
        """Store what dvc.lock names and this machine has; return how many files were new."""

    def keep(self, files: Mapping[str, Path]) -> int:
        """Store these files (digest to path), which the caller has verified; return how many were new."""

    def find_kept(self, digests: Collection[str]) -> set[str]:
        """Find which of these digests are stored."""

    def read_status(self) -> Status:
        """Ask what is stored, and what is not stored yet."""


def order_folders_last(digest: str) -> tuple[bool, str]:
    """Sort key for digests: folders come after all files."""
    return digest.endswith(".dir"), digest


def pull(root: Path, targets: Collection[str], storage: Storage) -> None:
    """Run `dvc pull`. Raises `StorageError` that names what the storage lacks, or with DVC's words."""
    try:
        run_dvc(root, "pull", *targets)
    except StorageError:
        named = cache.map_named_digests(root, targets=targets)
        here = cache.list_digests(storage.cache)
        kept = storage.find_kept(set(named) - here)
        if lost := sorted({path for digest, path in named.items() if digest not in here | kept}):
            more = f" and {len(lost) - 5} more" if len(lost) > 5 else ""
            raise StorageError(
                f"{storage.where} does not have {', '.join(lost[:5])}{more}; run `python -m bots storage push` on a "
                "machine that has them, or `dvc repro` to make them here"
            ) from None
        raise


def run_dvc(root: Path, *words: str) -> None:
    """Run a DVC command. Raises `StorageError` with DVC's words."""
    done = command_line.run_dvc(root, *words, "--quiet")
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).split())
        raise StorageError(f"`dvc {words[0]}` failed: {said[:1000] or 'no output'}")
