"""Where the project stores its data and models: a branch of its repository, or a DVC remote."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from bots.dvc.storage.base import NAME, Status, Storage, StorageError, Tell, WrongContentError
from bots.dvc.storage.branch import BRANCH, FOLDER, BranchStorage
from bots.dvc.storage.remote import DvcStorage

__all__ = ["Status", "Storage", "StorageError", "WrongContentError", "open_storage", "prepare_storage"]


def open_storage(root: Path, tell: Tell) -> Storage:
    """Open the storage that .dvc/config names. Raises `StorageError` where it names none."""
    from dvc.config import Config, ConfigError

    try:
        config = Config(str(root / ".dvc"))
        url = str(config["remote"][str(config["core"]["remote"])]["url"])
    except ConfigError as error:
        raise StorageError(f"{root / '.dvc' / 'config'}: {' '.join(str(error).split())}") from error
    except KeyError as error:
        known = sorted(config.get("remote", {}))
        edit = (
            f"`dvc remote default NAME` chooses one of {', '.join(known)}"
            if known
            else f"`dvc remote add --default {NAME} ADDRESS` adds one"
        )
        raise StorageError(f"{root / '.dvc' / 'config'} names no storage; {edit}") from error
    cache = Path(config["cache"].get("dir") or root / ".dvc" / "cache")
    if url == str(root / FOLDER):
        return BranchStorage(root, cache, tell)
    return DvcStorage(root=root, cache=cache, where=url, tell=tell)


def prepare_storage(root: Path, revisions: Collection[str], tell: Tell) -> None:
    """Fetch what the work tree and these commits name to where `dvc pull` finds it.

    Does nothing for a storage that DVC reaches by itself. Raises `StorageError`, `GitError`, `LockfileError`.
    """
    came = open_storage(root, tell).prepare(revisions)
    if came:
        tell(f"{came} files came from {BRANCH}")
