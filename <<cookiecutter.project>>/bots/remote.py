"""A DVC remote as a set of digests, whatever it is made of: asked through DVC, which knows how to log in there."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from bots import objects
from bots.repository import GitError
from bots.storage import NAME, StorageError

if TYPE_CHECKING:
    from dvc.repo import Repo
    from dvc_data.hashfile.db import HashFileDB


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
    return {digest: size for digest, size in found.items() if objects.DIGEST.fullmatch(digest)}


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
