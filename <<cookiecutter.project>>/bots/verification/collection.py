"""Collects what a review is verified by: the review, what its run packed, and the same files of main from storage.

`collect_files` reaches storage and so may have a token; it runs nothing. `load_collection` reads the folder where no
token is. Every file is hashed when it is read: neither a pack nor storage is believed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Struct

from bots import evidence
from bots.decoding import DECODE_ERRORS, describe_decode_error
from bots.dvc import cache, lockfile
from bots.dvc.cache import CacheError
from bots.dvc.model_stages import narrow_lock
from bots.errors import BotsError
from bots.evidence import Review
from bots.files import write_file
from bots.layout import DVC_LOCK
from bots.publish import model_bundle
from bots.publish.model_bundle import InvalidBundle, ModelBundle
from bots.verdict.confirmation import ASKED_FROM

if TYPE_CHECKING:
    from bots.dvc.lockfile import Lock
    from bots.dvc.storage import Storage
    from bots.layout import Layout
    from bots.settings import Settings

REVIEW: Final = "review.json"
TEXTS: Final = "texts"
TOLD: Final = "collected.json"
Tell = Callable[[str], None]


class CollectionError(BotsError):
    """What a review is verified by cannot be had; the message says what is missing, and why."""


class _Told(Struct, frozen=True, forbid_unknown_fields=True):
    """What the collecting job leaves beside the files: why there is no pack."""

    problem: str | None = None


@dataclass(frozen=True)
class Files:
    """Files by their digest, in folders that are laid out like DVC's cache."""

    folders: tuple[Path, ...]

    def find(self, digest: str) -> Path | None:
        """The file with this digest, without the `md5:`, hashed now; None where none fits."""
        for folder in self.folders:
            path = folder / cache.build_path(digest)
            try:
                if path.is_file() and not path.is_symlink():
                    cache.verify_file(path, digest)
                    return path
            except (CacheError, OSError):
                continue
        return None

    def find_output(self, lock: Lock, path: str) -> Path:
        """The file of a path, as a lock names it or the folder that it lies in. Raises `CollectionError`."""
        digest = self.find_digest(lock, path)
        found = self.find(digest)
        if found is None:
            raise CollectionError(f"neither the pack nor storage has {path} as {DVC_LOCK} names it")
        return found

    def find_digest(self, lock: Lock, path: str) -> str:
        """The digest of a path, without the `md5:`. Raises `CollectionError`."""
        for parent in (path, *map(str, PurePosixPath(path).parents)):
            if (named := lock.find_digest(parent)) is None:
                continue
            digest = named.removeprefix("md5:")
            if parent == path:
                return digest
            member = self.map_members(digest, parent).get(str(PurePosixPath(path).relative_to(parent)))
            if member is None:
                raise CollectionError(f"{parent} holds no {PurePosixPath(path).name}, by {DVC_LOCK}")
            return member
        raise CollectionError(f"{DVC_LOCK} names no {path}")

    def map_members(self, digest: str, path: str) -> dict[str, str]:
        """The files of a folder that storage keeps, by their paths in it. Raises `CollectionError`."""
        listing = self.find(digest)
        if listing is None:
            raise CollectionError(f"neither the pack nor storage has the list of the files of {path}")
        try:
            return cache.map_members(listing.read_bytes(), digest)
        except CacheError as error:
            raise CollectionError(f"{path}: {error}") from error


@dataclass(frozen=True)
class Collected:
    """A review, what its run packed, and files of both sides. `problem` says why there is no bundle."""

    review: Review
    bundle: ModelBundle | None
    files: Files
    problem: str | None = None


def list_paths_of_candidate(files: Layout) -> tuple[str, ...]:
    """The files of a change that its review is verified by."""
    return f"{files.onnx}/model.onnx", files.predictions, files.holdout_features


def name_contract(files: Layout) -> str:
    """The path of the contract beside the ONNX model, which says what callers of the service send and get."""
    return f"{files.onnx}/contract.json"


def list_records(near: Files, main: Lock, files: Layout) -> list[str]:
    """Main's tables of rows that did not train: those in the folder of its splits but one. Raises `CollectionError`."""
    named = main.find_digest(files.splits)
    if named is None or not named.endswith(".dir"):
        known = (files.holdout_rows, files.production_rows)
        return [path for path in known if main.find_holder(path) is not None]
    members = near.map_members(named.removeprefix("md5:"), files.splits)
    paths = [f"{files.splits}/{name}" for name in sorted(members) if name.endswith(".parquet")]
    return [path for path in paths if path != files.training_rows]


def list_paths_of_moved(files: Layout) -> tuple[str, ...]:
    """The files of main that a holdout which moved is verified by, beside the tables that `list_records` finds."""
    return f"{files.onnx}/model.onnx", files.training_rows


def list_paths_of_main(files: Layout) -> tuple[str, ...]:
    """The files of main that a review is verified by."""
    return files.predictions, files.holdout_features, files.holdout_rows


def list_fresh_paths(files: Layout) -> tuple[str, ...]:
    """The files of main that an improvement is confirmed by; the change's own rows are held against the first."""
    return files.production_rows, files.holdout_rows, f"{files.onnx}/model.onnx"


def collect_files(
    root: Path,
    review: Review,
    pack: Path,
    *,
    settings: Settings,
    open_storage: Callable[[], Storage],
    out: Path,
    tell: Tell,
) -> list[str]:
    """Collect into `out`, a folder that does not exist yet, what `load_collection` reads of a model's review.

    `settings` are main's for that model. A pack that is missing or no pack becomes the reason why nothing can be
    verified; a file that storage does not have is left out. Returns what is missing, a line each. Raises
    `StorageError` and `LockfileError`.
    """
    write_file(out / REVIEW, evidence.encode(review))
    try:
        bundle = model_bundle.load_bundle(pack)
    except InvalidBundle as error:
        _tell(out, f"what the run handed over as its model cannot be read: {error}")
        return [str(error)]
    for path, content in bundle.texts.items():
        write_file(out / TEXTS / path, content)
    files = settings.review.files
    candidate, main = (narrow_lock(lock, files, settings) for lock in (bundle.lock, load_lock(root)))
    near = Files((pack, out, root / ".dvc" / "cache"))
    wanted = _list_wanted(candidate, main, files, moved=review.moved is not None, praised=is_praised(review))
    _fetch(near, wanted, open_storage=open_storage, out=out, tell=tell)
    missing = []
    if review.moved is not None:
        try:
            records = [(main, path) for path in list_records(near, main, files)]
        except CollectionError as error:
            missing, records = [f"main: {error}"], []
        _fetch(near, records, open_storage=open_storage, out=out, tell=tell)
        wanted += [one for one in records if one not in wanted]
    for lock, path in wanted:
        try:
            found = near.find_output(lock, path)
        except CollectionError as error:
            # Not every project has such rows, or a model that the service can answer with.
            if path not in (files.production_rows, name_contract(files)):
                missing.append(f"{'main' if lock is main else 'the change'}: {error}")
            continue
        for source, digest in _list_chain(near, lock, path, found):
            cache.place_file(source, out / cache.build_path(digest))
    _tell(out, None)
    return missing


def is_praised(review: Review) -> bool:
    """Whether a review calls the primary metric improved at a look at which fresh rows have a say."""
    look = review.looks.count if review.looks else 1
    improved = any(metric.role == "primary" and metric.outcome == "improved" for metric in review.metrics)
    return improved and look >= ASKED_FROM


def _list_wanted(
    candidate: Lock, main: Lock, files: Layout, *, moved: bool, praised: bool
) -> list[tuple[Lock, str]]:
    """Each file that a verification reads, with the lock that names it; none where the change made nothing.

    `moved`: the holdout is not main's. Of a change that is `praised`, what fresh rows say too.
    """
    if main.stages and not lockfile.find_changed_outputs(main, candidate):
        return []
    own = [*list_paths_of_candidate(files), name_contract(files), *([files.holdout_rows] if moved else [])]
    mains = [
        *list_paths_of_main(files),
        name_contract(files),
        *(list_paths_of_moved(files) if moved else []),
    ]
    if praised and main.stages:
        own.append(files.production_rows)
        mains += list_fresh_paths(files)
    return [(candidate, path) for path in own] + [
        (main, path) for path in dict.fromkeys(mains) if main.stages
    ]


def load_collection(folder: Path) -> Collected:
    """Load what `collect_files` left, all of it checked again. Raises `CollectionError`."""
    try:
        review = evidence.load(folder / REVIEW, Review, REVIEW)
        told = msgspec.json.decode((folder / TOLD).read_bytes(), type=_Told)
        if told.problem is not None:
            return Collected(review, None, Files((folder,)), told.problem)
        bundle = model_bundle.load_texts(folder / TEXTS)
    except DECODE_ERRORS as error:
        raise CollectionError(f"{folder}/{TOLD}: {describe_decode_error(error)}") from error
    except (OSError, BotsError) as error:
        raise CollectionError(f"{folder} is not what `python -m bots collect` leaves: {error}") from error
    return Collected(review, bundle, Files((folder,)))


def load_lock(root: Path) -> Lock:
    """The dvc.lock of a checkout; an empty one where there is none. Raises `LockfileError`."""
    path = root / DVC_LOCK
    return lockfile.parse_lock(
        path.read_text(encoding="utf-8") if path.exists() else None, f"main's {DVC_LOCK}"
    )


def _tell(out: Path, problem: str | None) -> None:
    write_file(out / TOLD, msgspec.json.encode(_Told(problem)))


def _fetch(
    near: Files, wanted: list[tuple[Lock, str]], *, open_storage: Callable[[], Storage], out: Path, tell: Tell
) -> None:
    """Fetch from storage what is not here: first the lists of folders, then files."""
    for step in (_list_missing_folders, _list_missing_files):
        if missing := sorted(set(step(near, wanted))):
            tell(f"fetching {len(missing)} files from storage")
            open_storage().fetch_files(missing, out)


def _list_missing_folders(near: Files, wanted: Iterable[tuple[Lock, str]]) -> Iterator[str]:
    for lock, path in wanted:
        for parent in map(str, PurePosixPath(path).parents):
            if (named := lock.find_digest(parent)) is not None and near.find(
                named.removeprefix("md5:")
            ) is None:
                yield named.removeprefix("md5:")


def _list_missing_files(near: Files, wanted: Iterable[tuple[Lock, str]]) -> Iterator[str]:
    for lock, path in wanted:
        try:
            digest = near.find_digest(lock, path)
        except CollectionError:
            continue
        if near.find(digest) is None:
            yield digest


def _list_chain(near: Files, lock: Lock, path: str, found: Path) -> Iterator[tuple[Path, str]]:
    """A file with its digest, and the lists of the folders that lead to it."""
    yield found, near.find_digest(lock, path)
    for parent in map(str, PurePosixPath(path).parents):
        if (named := lock.find_digest(parent)) is not None:
            digest = named.removeprefix("md5:")
            if listing := near.find(digest):
                yield listing, digest
