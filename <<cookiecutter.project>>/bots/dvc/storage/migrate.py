"""Moves a project to another storage with all files: copies, checks, and only then changes .dvc/config."""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bots.dvc import cache
from bots.dvc.storage import open_storage, remote
from bots.dvc.storage.base import NAME, Storage, StorageError, Tell
from bots.dvc.storage.branch import BRANCH, FOLDER, BranchStorage, refuse_large
from bots.git import bare

if TYPE_CHECKING:
    from dvc.repo import Repo
    from dvc_data.hashfile.db import HashFileDB

NEXT = "next-storage"
# Settings of DVC that are secrets, so they must not be in a file that git has.
_SECRET = re.compile(r".*(secret|token|password|passphrase|key|connection_string|sas).*")
_KEPT = {"keyfile", "key_path", "sse_kms_key_id"}
_PATH = r"(/[A-Za-z0-9._~=@+-]+)*/?"
_BUCKET = rf"[a-z0-9][a-z0-9._-]{{1,61}}[a-z0-9]{_PATH}"
_HOST = rf"([A-Za-z0-9_][A-Za-z0-9._-]*@)?[A-Za-z0-9][A-Za-z0-9.-]*(:\d{{1,5}})?{_PATH}"
KINDS = {
    "s3": ("s3", re.compile(f"s3://{_BUCKET}"), "s3://bucket/folder"),
    "gs": ("gcs", re.compile(f"gs://{_BUCKET}"), "gs://bucket/folder"),
    "azure": ("azure", re.compile(f"azure://{_BUCKET}"), "azure://container/folder"),
    "ssh": ("ssh", re.compile(f"ssh://{_HOST}"), "ssh://user@host/folder"),
}
_FOLDER = re.compile(r"[\w.~/]([\w.~@+ /-]*[\w.~@+/-])?")


@dataclass(frozen=True)
class Address:
    """Where to move. `module` is the package by which DVC reaches it, `requirements` the lock file that has it."""

    url: str
    module: str | None = None
    requirements: str | None = None


def parse_address(text: str) -> Address:
    """Parse what a person typed: `branch`, a folder, or the address of a bucket, container or server.

    Raises `StorageError` for anything else.
    """
    if text == "branch":
        return Address(FOLDER)
    scheme, found, _ = text.partition("://")
    if not found:
        if not _FOLDER.fullmatch(text):
            raise StorageError(f"{text[:60]!r} is not a folder such as /srv/dvc or ../storage")
        return Address(text)
    if scheme not in KINDS:
        raise StorageError(
            f"{text[:60]!r}: expected branch, a folder, or one of {', '.join(f'{kind}://' for kind in KINDS)}"
        )
    name, pattern, example = KINDS[scheme]
    if not pattern.fullmatch(text):
        raise StorageError(f"{text[:60]!r} does not look like {example}")
    return Address(text, f"dvc_{scheme}", f"storage-{name}")


def parse_options(words: list[str]) -> dict[str, str]:
    """Parse `NAME=VALUE` as DVC's settings of a remote. Raises `StorageError` for a secret: .dvc/config is in git."""
    found = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not re.fullmatch(r"[a-z_]+", name):
            raise StorageError(f"--option {word[:60]!r}: expected NAME=VALUE, such as region=eu-central-1")
        if _SECRET.fullmatch(name) and name not in _KEPT:
            raise StorageError(
                f"--option {name}: .dvc/config is kept by git, so no secret must be in it; set it in the environment, "
                f"or by `dvc remote modify --local {NAME} {name} VALUE` after the move"
            )
        found[name] = value
    return found


def move_storage(root: Path, text: str, *, options: list[str], tell: Tell) -> list[str]:
    """Move the storage to an address, and return what the person does next, line by line.

    Every file of the old storage is copied, and so is what only this machine's cache has. Running it again continues
    where it stopped. Raises `StorageError` before anything is changed where the new storage cannot be used.
    """
    to, settings = parse_address(text), parse_options(options)
    _refuse_missing(root, to)
    old = open_storage(root, tell)
    if isinstance(old, BranchStorage):
        if text == "branch":
            raise StorageError(f"the storage is {old.where} already")
        old.fetch_all()
    config = {"remote": {NEXT: {"url": _make_absolute(root, to.url), **settings}}}
    with remote.open_repo(root, config) as repo:
        source, target = repo.cloud.get_remote_odb(), repo.cloud.get_remote_odb(NEXT)
        if source == target:
            raise StorageError(f"the storage is {text} already")
        _copy_files(repo, source, target, to_branch=text == "branch", tell=tell)
    if text == "branch":
        branch = BranchStorage(root, root / ".dvc" / "cache", tell)
        branch.keep(branch.list_local_files())
    _write_config(root, to.url, settings)
    return _describe_next_steps(old, to)


def _refuse_missing(root: Path, to: Address) -> None:
    """Raise `StorageError`, and say how to install it, where the package is missing that DVC needs for the address."""
    if to.module is None or importlib.util.find_spec(to.module):
        return
    locked = root / "requirements" / f"{to.requirements}.txt"
    if locked.exists():
        how = f"`make setup` installs requirements/{locked.name}"
    else:
        package = to.module.replace("_", "-")
        how = f"write `{package}` into requirements/{to.requirements}.in, then `make lock` and `make setup`"
    raise StorageError(f"DVC cannot reach {to.url} yet, so nothing was changed: {how}; then run this again")


def _make_absolute(root: Path, url: str) -> str:
    """Make the path of a folder absolute; it was typed relative to the project's root."""
    return url if "://" in url else str((root / Path(url).expanduser()).resolve())


def _copy_files(repo: Repo, source: HashFileDB, target: HashFileDB, *, to_branch: bool, tell: Tell) -> None:
    """Copy everything from the old storage, and what only the cache has; then check that all of it arrived."""
    kept, cached, there = remote.list_sizes(source), _list_cached(repo), remote.list_sizes(target)
    if to_branch:
        refuse_large({**kept, **cached}, tell)
    remote.copy_files(source, target, digests=set(kept) - set(there), tell=tell)
    only_cached = set(cached) - set(kept) - set(there)
    remote.copy_files(repo.cache.local, target, digests=only_cached, tell=tell)
    arrived = remote.list_sizes(target)
    lost = [digest for digest, size in {**cached, **kept}.items() if arrived.get(digest) != size]
    if lost:
        raise StorageError(
            f"{len(lost)} files did not arrive whole, {lost[0]} among them; run it again to go on"
        )
    if not to_branch:
        # DVC stores the run cache beside the files, below the root of the remote.
        repo.stage_cache.transfer(_get_root(repo, None), _get_root(repo, NEXT))
    tell(f"{len(arrived)} files are there, {sum(arrived.values())} bytes")


def _get_root(repo: Repo, name: str | None) -> HashFileDB:
    return repo.cloud.get_remote_odb(name, hash_name="md5-dos2unix")


def _list_cached(repo: Repo) -> dict[str, int]:
    """List what this machine's cache has of all that commits, branches and tags name: digest to bytes."""
    used = repo.used_objs(all_commits=True, all_branches=True, all_tags=True, skip_failed=True)
    digests = cache.expand_folders(
        {one.value for ones in used.values() for one in ones if one.name == "md5"},
        cache.make_reader([Path(repo.cache.local.path).parents[1]]),
    )
    here = remote.list_sizes(repo.cache.local)
    return {digest: here[digest] for digest in digests if digest in here}


def _write_config(root: Path, url: str, settings: Mapping[str, str]) -> None:
    """Write the new storage into .dvc/config; everything else in it stays."""
    with remote.open_repo(root) as repo, repo.config.edit("repo") as config:
        # DVC reads a relative path from the working directory, and writes it relative to .dvc/config.
        anywhere = "://" in url or url[0] in "/~"
        entry: dict[str, Any] = {"url": url if anywhere else os.path.relpath(root / url), **settings}
        config["core"]["remote"] = NAME
        config["remote"][NAME] = entry


def _describe_next_steps(old: Storage, to: Address) -> list[str]:
    files = ".dvc/config" + (f" and requirements/{to.requirements}.*" if to.requirements else "")
    lines = [f"Commit {files}. From that commit on, the project's data and models are at {to.url}."]
    if to.requirements:
        lines.append("Let the workflows log in there: docs/storage.md says how. Others run `make setup`.")
    if isinstance(old, BranchStorage):
        lines.append(
            f"The old storage stays until you remove it, once every open branch has the new .dvc/config: `git push "
            f"{bare.REMOTE} --delete {BRANCH}`"
        )
    else:
        lines.append(f"The old storage, {old.where}, stays as it is.")
    return lines
