"""A DVC remote as a set of digests, whatever it is made of: asked through DVC, which knows how to log in there."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from bots.dvc import cache
from bots.dvc.storage.base import NAME, Status, StorageError, Tell, folders_last, run_dvc
from bots.git.repository import GitError

if TYPE_CHECKING:
    from dvc.repo import Repo
    from dvc_data.hashfile.db import HashFileDB


@dataclass
class DvcStorage:
    """A DVC remote that DVC reaches by itself: a bucket, a server, a folder."""

    root: Path
    cache: Path
    where: str
    tell: Tell

    def prepare(self, revisions: Collection[str]) -> int:
        """Nothing: DVC fetches what it needs when it needs it."""
        return 0

    def fetch(self, targets: Collection[str] = ()) -> None:
        """`dvc pull`."""
        run_dvc(self.root, "pull", *targets)

    def push(self) -> int:
        """`dvc push`."""
        unpushed = len(self.status().unpushed)
        run_dvc(self.root, "push")
        return unpushed

    def keep(self, files: Mapping[str, Path]) -> int:
        """Add files under their digests: folders last."""
        with reached(self.root) as there:
            new = set(files) - holding(there, files)
            for digest in sorted(new, key=folders_last):
                add(there, digest, files[digest])
        return len(new)

    def holds(self, digests: Collection[str]) -> set[str]:
        """Which of these are there now."""
        with reached(self.root) as there:
            return holding(there, digests)

    def status(self) -> Status:
        """Files and bytes there; what dvc.lock names, is in the cache, and is not there."""
        wanted = cache.complete(cache.named(self.root), cache.reader([self.cache]))
        with reached(self.root) as there:
            stored = sizes(there)
        return Status(
            self.where,
            len(stored),
            sum(stored.values()),
            sorted((wanted & cache.below(self.cache)) - set(stored)),
        )


@contextmanager
def opened(root: Path, config: Mapping[str, Any] | None = None) -> Iterator[Repo]:
    """The project as DVC sees it, with more configuration than .dvc/config has. What DVC and the remote's library
    raise becomes a `StorageError`."""
    from dvc.repo import Repo

    try:
        with Repo(str(root), config=dict(config or {})) as repo:
            yield repo
    except (StorageError, GitError):
        raise
    except Exception as error:
        # Every remote's library has errors of its own, with no common kind.
        raise StorageError(f"the storage cannot be reached: {type(error).__name__}: {error}") from error


@contextmanager
def reached(root: Path, name: str | None = None) -> Iterator[HashFileDB]:
    """The default remote, or the one of that name."""
    with opened(root) as repo:
        yield repo.cloud.get_remote_odb(name)


def sizes(there: HashFileDB) -> dict[str, int]:
    """Everything that is kept: digest to bytes."""
    if not there.fs.exists(there.path):
        return {}
    listed = there.fs.fs.find(there.path, detail=True)
    about = listed if isinstance(listed, dict) else {path: there.fs.info(path) for path in listed}
    found = {"".join(PurePath(path).parts[-2:]): int(entry["size"]) for path, entry in about.items()}
    return {digest: size for digest, size in found.items() if cache.DIGEST.fullmatch(digest)}


def holding(there: HashFileDB, digests: Collection[str]) -> set[str]:
    """Which of these digests are kept."""
    ask: Callable[[list[str]], Collection[str]] = there.oids_exist
    return set(ask(list(digests)))


def add(there: HashFileDB, digest: str, path: Path) -> None:
    """Keep one file under its digest."""
    from dvc.fs import localfs

    there.add(str(path), localfs, digest, check_exists=False)


def copy(
    source: HashFileDB, target: HashFileDB, digests: Collection[str], tell: Callable[[str], None]
) -> None:
    """Copy files from one remote to another, folders last. Raises `StorageError` for what could not be copied."""
    from dvc_data.hashfile.hash_info import HashInfo
    from dvc_data.hashfile.transfer import transfer

    for part in (
        {digest for digest in digests if not digest.endswith(".dir")},
        {digest for digest in digests if digest.endswith(".dir")},
    ):
        if part:
            tell(f"copying {len(part)} {'files' if not next(iter(part)).endswith('.dir') else 'folders'}")
            done = transfer(source, target, {HashInfo("md5", digest) for digest in part}, shallow=True)
            if done.failed:
                raise StorageError(
                    f"{len(done.failed)} files could not be copied to {NAME}; run it again to go on"
                )
