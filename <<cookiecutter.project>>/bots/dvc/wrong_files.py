"""Hashes again what DVC would believe: a file in its cache that is not what its name says is removed before it is used.

DVC trusts a file of its cache that is read-only, and what its own state database remembers of it. Whoever could write
to that folder, or to a copy of it that CI restores, could so give any content the name of main's predictions or model.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bots.dvc import cache
from bots.dvc.cache import CacheError
from bots.dvc.storage.branch import FOLDER

_STATE = "DVC_SITE_CACHE_DIR"


@contextmanager
def forget_state() -> Iterator[None]:
    """Let DVC start without its state database, so that it hashes what lies in the work tree, and forget it after."""
    before = os.environ.get(_STATE)
    with tempfile.TemporaryDirectory(prefix="dvc-state-", ignore_cleanup_errors=True) as folder:
        os.environ[_STATE] = folder
        try:
            yield
        finally:
            del os.environ[_STATE]
            if before is not None:
                os.environ[_STATE] = before


def find_folders(root: Path) -> list[Path]:
    """Find where files lie that DVC takes without a look: its cache, and `.storage/` where that is its remote."""
    chosen = _read_cache_setting(root, "dir")
    return [Path(chosen) if chosen else root / ".dvc" / "cache", root / FOLDER]


def asks_for_links(root: Path) -> bool:
    """Tell whether the project's DVC settings say how the work tree gets files from the cache."""
    return bool(_read_cache_setting(root, "type"))


def _read_cache_setting(root: Path, name: str) -> Any:
    from dvc.config import Config, ConfigError

    try:
        return Config(str(root / ".dvc"))["cache"].get(name)
    except (ConfigError, KeyError):
        return None


def has_all(root: Path, named: Iterable[str]) -> bool:
    """Tell whether DVC's cache has every file of these digests, those of folders included."""
    folder = find_folders(root)[0]
    wanted = cache.expand_folders(named, cache.make_reader([folder]))
    return all((folder / cache.build_path(digest)).is_file() for digest in wanted)


def remove_wrong_files(folders: Iterable[Path], named: Mapping[str, str]) -> list[str]:
    """Hash every file of these digests in these folders, and those of a folder's list; remove each wrong one.

    `named` maps a digest to the path that people know it by. Returns the paths of what was removed. Several files are
    hashed at once. Raises `CacheError` for one that cannot be removed.
    """
    removed: set[str] = set()
    for folder in folders:
        lists = {digest: path for digest, path in named.items() if digest.endswith(".dir")}
        removed.update(_remove_wrong(folder, lists))
        members: dict[str, str] = {}
        for digest, path in lists.items():
            members |= dict.fromkeys(_list_members(folder, digest), path)
        removed.update(_remove_wrong(folder, {**members, **_drop(named, lists)}))
    return sorted(removed)


def _drop(named: Mapping[str, str], lists: Mapping[str, str]) -> dict[str, str]:
    return {digest: path for digest, path in named.items() if digest not in lists}


def _list_members(folder: Path, digest: str) -> list[str]:
    """List the digests of a folder's files; none where its list is not here, or its content is not one."""
    try:
        return cache.parse_members((folder / cache.build_path(digest)).read_bytes(), digest)
    except (OSError, CacheError):
        return []


def _remove_wrong(folder: Path, named: Mapping[str, str]) -> set[str]:
    paths = {digest: folder / cache.build_path(digest) for digest in named}
    there = [digest for digest in named if os.path.lexists(paths[digest])]
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        fits = list(pool.map(lambda digest: _fits(paths[digest], digest), there))
    wrong = [digest for digest, fit in zip(there, fits, strict=True) if not fit]
    for digest in wrong:
        _remove(paths[digest])
    return {named[digest] for digest in wrong}


def _remove(path: Path) -> None:
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    except OSError as error:
        raise CacheError(
            f"{path}: its content is not what its name says, and it cannot be removed ({error}); remove it by hand"
        ) from error


def _fits(path: Path, digest: str) -> bool:
    try:
        cache.verify_file(path, digest)
    except (CacheError, OSError):
        return False
    return True
