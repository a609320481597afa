"""A DVC remote of any kind, used through DVC's own library, which knows how to log in there."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from bots.dvc import cache
from bots.dvc.storage.base import NAME, Status, StorageError, Tell, order_folders_last, pull, run_dvc
from bots.git.repository import GitError

if TYPE_CHECKING:
    from dvc.repo import Repo
    from dvc_data.hashfile.db import HashFileDB


@dataclass
class DvcStorage:
    """Stores files in a remote that DVC reaches by itself: a bucket, a server, a folder."""

    root: Path
    cache: Path
    where: str
    tell: Tell

    def prepare(self, revisions: Collection[str]) -> int:
        """Do nothing: DVC fetches files when it needs them."""
        return 0

    def bring(self, digests: Collection[str]) -> int:
        """Do nothing: DVC fetches files when it needs them."""
        return 0

    def fetch(self, targets: Collection[str] = ()) -> None:
        """Run `dvc pull`."""
        pull(self.root, targets, self)

    def fetch_files(self, digests: Collection[str], folder: Path) -> None:
        """Download the files; one that is not what its name says is left out."""
        with open_remote(self.root) as there:
            for digest in select_kept(there, digests):
                with TemporaryDirectory() as scratch:
                    part = Path(scratch) / digest
                    there.fs.get_file(there.oid_to_path(digest), str(part))
                    cache.place_fitting_file(part, digest, folder)

    def push(self) -> int:
        """Run `dvc push`."""
        unpushed = len(self.read_status().unpushed)
        run_dvc(self.root, "push")
        return unpushed

    def keep(self, files: Mapping[str, Path]) -> int:
        """Add files under their digests, folders last."""
        with open_remote(self.root) as there:
            new = set(files) - select_kept(there, files)
            for digest in sorted(new, key=order_folders_last):
                add_file(there, digest, files[digest])
        return len(new)

    def find_kept(self, digests: Collection[str]) -> set[str]:
        """Find which of these digests are in the remote now."""
        with open_remote(self.root) as there:
            return select_kept(there, digests)

    def read_status(self) -> Status:
        """Count files and bytes of the remote; list what dvc.lock names and only the cache has."""
        wanted = cache.expand_folders(cache.list_named_digests(self.root), cache.make_reader([self.cache]))
        with open_remote(self.root) as there:
            stored = list_sizes(there)
        return Status(
            where=self.where,
            files=len(stored),
            bytes=sum(stored.values()),
            unpushed=sorted((wanted & cache.list_digests(self.cache)) - set(stored)),
        )


@contextmanager
def open_repo(root: Path, config: Mapping[str, Any] | None = None) -> Iterator[Repo]:
    """Open the project with DVC's library, with `config` added to .dvc/config.

    Whatever DVC and the remote's library raise becomes a `StorageError`.
    """
    from dvc.repo import Repo

    try:
        with Repo(str(root), config=dict(config or {})) as repo:
            yield repo
    except (StorageError, GitError):
        raise
    except Exception as error:
        # Every remote's library has its own errors, without a common base class.
        raise StorageError(f"the storage cannot be reached: {type(error).__name__}: {error}") from error


@contextmanager
def open_remote(root: Path, name: str | None = None) -> Iterator[HashFileDB]:
    """Open the default remote, or the one of that name."""
    with open_repo(root) as repo:
        yield repo.cloud.get_remote_odb(name)


def list_sizes(there: HashFileDB) -> dict[str, int]:
    """List everything in a remote: digest to bytes."""
    if not there.fs.exists(there.path):
        return {}
    listed = there.fs.fs.find(there.path, detail=True)
    about = listed if isinstance(listed, dict) else {path: there.fs.info(path) for path in listed}
    found = {"".join(PurePath(path).parts[-2:]): int(entry["size"]) for path, entry in about.items()}
    return {digest: size for digest, size in found.items() if cache.DIGEST.fullmatch(digest)}


def select_kept(there: HashFileDB, digests: Collection[str]) -> set[str]:
    """Select those of the digests that a remote has."""
    ask: Callable[[list[str]], Collection[str]] = there.oids_exist
    return set(ask(list(digests)))


def add_file(there: HashFileDB, digest: str, path: Path) -> None:
    """Add a file to a remote under its digest."""
    from dvc.fs import localfs

    there.add(str(path), localfs, digest, check_exists=False)


def copy_files(
    source: HashFileDB, target: HashFileDB, *, digests: Collection[str], tell: Callable[[str], None]
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
