"""A storage that needs no account: an orphan branch of this repository with the files of a DVC remote."""

from __future__ import annotations

import itertools
import random
import tempfile
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bots.dvc import cache
from bots.dvc.storage.base import (
    Status,
    StorageError,
    Tell,
    WrongContentError,
    order_folders_last,
    pull,
    run_dvc,
)
from bots.git.bare import Author, BareRepository, open_bare
from bots.retry import RetriesExhausted, Retry, TemporaryFailure

BRANCH = "dvc-storage"
FOLDER = ".storage"
KEEPER = (BRANCH, "noreply@localhost")

MIB = 1 << 20
LARGEST = 100 * MIB  # docs.github.com/repositories/working-with-files/managing-large-files
LARGE = 50 * MIB
BATCH = 512 * MIB  # GitHub takes at most 2 GiB in one push
BUDGET = 600.0


def refuse_large(sizes: Mapping[str, int], tell: Tell) -> None:
    """Raise `StorageError` for a file that GitHub would refuse; warn of one that it would warn of.

    `sizes` maps a name that a person knows the file by to its bytes.
    """
    too_large = {name: size for name, size in sizes.items() if size > LARGEST}
    if too_large:
        listed = ", ".join(f"{name} ({size / MIB:.0f} MiB)" for name, size in sorted(too_large.items())[:5])
        raise StorageError(
            f"GitHub takes no file larger than {LARGEST // MIB} MiB, so nothing was pushed: {listed}. Move the "
            "storage to a bucket, a server or a folder, everything in it included: `python -m bots storage s3://BUCKET/FOLDER`"
        )
    for name, size in sorted(sizes.items()):
        if size > LARGE:
            tell(
                f"WARNING: {name} has {size / MIB:.0f} MiB. GitHub takes up to {LARGEST // MIB} MiB a file; "
                "`python -m bots storage s3://BUCKET/FOLDER` moves the storage before that"
            )


def split_batches(sizes: Mapping[str, int], most: int = BATCH) -> list[list[str]]:
    """Order digests and split them into pushes of at most `most` bytes; a larger file is a push of its own.

    Folders come after all files, so that a folder on the branch always has all of its files there.
    """
    cut: list[list[str]] = [[]]
    held = 0
    for digest in sorted(sizes, key=order_folders_last):
        if cut[-1] and held + sizes[digest] > most:
            cut.append([])
            held = 0
        cut[-1].append(digest)
        held += sizes[digest]
    return [batch for batch in cut if batch]


@dataclass(frozen=True)
class Tally:
    """How much the branch holds. `bytes` is None where its newest commit's message does not say it."""

    files: int
    bytes: int | None

    def format_message(self, files: int, size: int) -> str:
        """Write the message of a commit that adds this many files and bytes."""
        total = f"\nBytes: {self.bytes + size}" if self.bytes is not None else ""
        return f"Keep {files} more files of data and models\n\nFiles: {self.files + files}{total}\n"


def parse_tally(message: str, files: int) -> Tally:
    """Read what `Tally.format_message` wrote: git cannot tell the sizes of files that were not fetched."""
    for line in message.splitlines():
        if line.startswith("Bytes: ") and line[7:].isdecimal():
            return Tally(files, int(line[7:]))
    return Tally(files, None)


@dataclass
class BranchStorage:
    """Stores files on an orphan branch of this repository; the folder `.storage/` has those needed here."""

    root: Path
    cache: Path
    tell: Tell
    clock: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep
    batch: int = BATCH
    where: str = f"the branch {BRANCH} of this repository"

    @property
    def folder(self) -> Path:
        """The DVC remote of .dvc/config."""
        return self.root / FOLDER

    def prepare(self, revisions: Collection[str]) -> int:
        """Fetch what is named and not here yet; without such a file it uses no network."""
        digests = cache.list_named_digests(self.root)
        for revision in revisions:
            digests |= cache.list_named_digests(self.root, revision)
        return self._fetch_missing(digests)

    def bring(self, digests: Collection[str]) -> int:
        """Fetch those of these files that are not here yet; without such a file it uses no network."""
        return self._fetch_missing(set(digests))

    def fetch(self, targets: Collection[str] = ()) -> None:
        """Fetch these paths into the folder, then run `dvc pull`."""
        self._fetch_missing(cache.list_named_digests(self.root, targets=targets))
        pull(self.root, targets, self)

    def fetch_files(self, digests: Collection[str], folder: Path) -> None:
        """Fetch the files from the branch; one that is not what its name says is left out."""
        with self._open_bare() as bare:
            tip = self._fetch_tip(bare)
            kept = {digest: blob for digest, blob in _list_kept(bare, tip).items() if digest in set(digests)}
            self._fetch_blobs(bare, tip, list(kept.values()))
            with tempfile.TemporaryDirectory(dir=bare.folder) as scratch:
                files = {Path(scratch) / digest: blob for digest, blob in kept.items()}
                bare.save_blobs(files)
                for path in files:
                    cache.place_fitting_file(path, path.name, folder)

    def fetch_all(self) -> None:
        """Fetch everything that the branch has into the folder."""
        with self._open_bare() as bare:
            tip = self._fetch_tip(bare)
            kept = _list_kept(bare, tip)
            self._save_files(bare, tip, kept, digests=set(kept) - cache.list_digests(self.folder))

    def push(self) -> int:
        """Run `dvc push` into the folder, then store everything new there on the branch."""
        run_dvc(self.root, "push")
        return self.keep(self.list_local_files())

    def list_local_files(self) -> dict[str, Path]:
        """List the folder's files: digest to path."""
        return {digest: self.folder / cache.build_path(digest) for digest in cache.list_digests(self.folder)}

    def keep(self, files: Mapping[str, Path]) -> int:
        """Add files to the branch, and try again while others push to it too.

        What was pushed stays pushed: if this stops half-way, running it again does the rest.
        """
        if not files:
            return 0
        with self._open_bare() as bare:
            kept = _list_kept(bare, self._fetch_tip(bare))
            new = {digest: path for digest, path in files.items() if digest not in kept}
            sizes = {digest: path.stat().st_size for digest, path in new.items()}
            refuse_large(
                {f"{digest} ({self._find_output(digest)})": size for digest, size in sizes.items()}, self.tell
            )
            for digest, path in new.items():
                cache.verify_file(path, digest)
            for part in split_batches(sizes, self.batch):
                self._push(bare, {digest: new[digest] for digest in part}, sizes)
        return len(new)

    def find_kept(self, digests: Collection[str]) -> set[str]:
        """Find which of these digests are on the branch now."""
        with self._open_bare() as bare:
            return set(digests) & set(_list_kept(bare, self._fetch_tip(bare)))

    def read_status(self) -> Status:
        """Count files and bytes of the branch; list what dvc.lock names and only this machine has."""
        with self._open_bare() as bare:
            tip = self._fetch_tip(bare)
            kept = _list_kept(bare, tip)
            size = parse_tally(bare.read_message(tip), len(kept)).bytes if tip else 0
            where = f"branch {BRANCH} of {bare.remote.hide_password()}"
        here = cache.list_digests(self.folder) | cache.list_digests(self.cache)
        wanted = cache.expand_folders(
            cache.list_named_digests(self.root), cache.make_reader([self.cache, self.folder])
        )
        return Status(where=where, files=len(kept), bytes=size, unpushed=sorted((wanted & here) - set(kept)))

    def _fetch_missing(self, digests: set[str]) -> int:
        read = cache.make_reader([self.cache, self.folder])
        here = cache.list_digests(self.folder) | cache.list_digests(self.cache)
        wanted = cache.expand_folders(digests, read)
        if wanted <= here:
            return 0
        with self._open_bare() as bare:
            tip = self._fetch_tip(bare)
            kept = _list_kept(bare, tip)
            folders = {digest for digest in wanted - here if digest.endswith(".dir") and digest in kept}
            self._fetch_blobs(bare, tip, [kept[digest] for digest in folders])
            wanted |= cache.expand_folders(folders, lambda digest: bare.read_blob(kept[digest]))
            missing = (wanted - here) & set(kept)
            self._save_files(bare, tip, kept, digests=missing)
        return len(missing)

    def _fetch_blobs(self, bare: BareRepository, tip: str | None, blobs: Collection[str]) -> None:
        if tip is not None and blobs:
            self._make_retry("fetch").call("fetch", lambda: bare.fetch_blobs(tip, blobs))

    def _save_files(
        self, bare: BareRepository, tip: str | None, kept: Mapping[str, str], *, digests: Collection[str]
    ) -> None:
        """Put files of the branch into the folder and, as hard links, into DVC's cache; folders last."""
        if not digests:
            return
        self._fetch_blobs(bare, tip, [kept[digest] for digest in digests])
        with tempfile.TemporaryDirectory(dir=bare.folder) as scratch:
            files = {
                Path(scratch) / digest: kept[digest] for digest in sorted(digests, key=order_folders_last)
            }
            bare.save_blobs(files)
            self._refuse_wrong(files)
            for path in files:
                for place in (self.folder, self.cache):
                    cache.place_file(path, place / cache.build_path(path.name))

    def _refuse_wrong(self, files: Iterable[Path]) -> None:
        """Raise `WrongContentError` where the content of fetched files is not what their names, digests, say."""
        wrong = []
        for path in files:
            try:
                cache.verify_file(path, path.name)
            except cache.CacheError:
                wrong.append(cache.build_path(path.name))
        if wrong:
            more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
            raise WrongContentError(
                f"{self.where}: {', '.join(wrong[:3])}{more}: the content is not what its name says (it was cut short, "
                "or changed); take it out of that branch by a commit, then run `python -m bots storage push` on a "
                "machine that has the right one"
            )

    def _push(self, bare: BareRepository, files: Mapping[str, Path], sizes: Mapping[str, int]) -> None:
        """Push one batch as a commit on top of the newest one; make it again whenever somebody else was faster."""
        blobs = dict(zip(files, bare.add_files(files.values()), strict=True))
        tries = itertools.count(1)

        def step() -> None:
            try:
                tip = bare.fetch_tip(BRANCH)
                kept = _list_kept(bare, tip)
                if new := [digest for digest in files if digest not in kept]:
                    told = parse_tally(bare.read_message(tip), len(kept)) if tip else Tally(0, 0)
                    message = told.format_message(len(new), sum(sizes[digest] for digest in new))
                    added = {cache.build_path(digest): blobs[digest] for digest in new}
                    author = Author(*KEEPER, int(self.clock()))
                    commit = bare.create_commit(tip, added, message=message, author=author)
                    bare.push(commit, BRANCH, tip)
            except TemporaryFailure as busy:
                # Writers that were refused at the same time must not all try again at the same time.
                wait = random.uniform(0, min(8.0, 0.25 * 2 ** next(tries)))  # noqa: S311
                raise TemporaryFailure(str(busy), wait) from busy

        self._make_retry("push").call("push", step)

    def _fetch_tip(self, bare: BareRepository) -> str | None:
        return self._make_retry("fetch").call("fetch", lambda: bare.fetch_tip(BRANCH))

    def _make_retry(self, what: str) -> Retry:
        max_tries = 100 if what == "push" else 5
        return Retry(self.clock, self.sleep, self.tell, deadline=self.clock() + BUDGET, max_tries=max_tries)

    @contextmanager
    def _open_bare(self) -> Iterator[BareRepository]:
        try:
            with open_bare(self.root) as bare:
                yield bare
        except RetriesExhausted as error:
            raise StorageError(
                f"{self.where}: {error}; what was pushed stays, so simply run it again"
            ) from error
        except cache.CacheError as error:
            raise StorageError(str(error)) from error

    def _find_output(self, digest: str) -> str:
        """Find the output of dvc.lock with this digest, for a message; files inside of folders have none."""
        from bots.dvc import lockfile

        path = self.root / "dvc.lock"
        outputs = lockfile.parse_lock(path.read_text(encoding="utf-8")).outputs if path.exists() else {}
        return next((out for out, named in outputs.items() if named == f"md5:{digest}"), "part of a folder")


def _list_kept(bare: BareRepository, tip: str | None) -> dict[str, str]:
    """List the branch's files: digest to blob."""
    tree = bare.list_files(tip) if tip else {}
    return {digest: blob for path, blob in tree.items() if (digest := cache.parse_digest(path))}
