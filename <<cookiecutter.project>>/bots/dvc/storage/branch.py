"""A storage that needs no account: an orphan branch of this repository holds the DVC remote's files."""

from __future__ import annotations

import itertools
import random
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bots.dvc import cache
from bots.dvc.storage.base import Status, StorageError, Tell, folders_last, run_dvc
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
    """Raise `StorageError` where GitHub would refuse a file; warn where it would.

    `sizes` maps what a person knows a file by to its bytes.
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


def batches(sizes: Mapping[str, int], most: int = BATCH) -> list[list[str]]:
    """Digests in the order in which they are pushed, cut into pushes of at most `most` bytes (a larger file goes
    alone). A folder comes after all files, so that one that is there is there with everything in it."""
    cut: list[list[str]] = [[]]
    held = 0
    for digest in sorted(sizes, key=folders_last):
        if cut[-1] and held + sizes[digest] > most:
            cut.append([])
            held = 0
        cut[-1].append(digest)
        held += sizes[digest]
    return [batch for batch in cut if batch]


@dataclass(frozen=True)
class Tally:
    """How much the branch holds, as its newest commit's message says; None where it does not."""

    files: int
    bytes: int | None

    def message(self, files: int, size: int) -> str:
        """The message of a commit that adds to it."""
        total = f"\nBytes: {self.bytes + size}" if self.bytes is not None else ""
        return f"Keep {files} more files of data and models\n\nFiles: {self.files + files}{total}\n"


def tally(message: str, files: int) -> Tally:
    """Read what `Tally.message` wrote; sizes cannot be asked of a branch whose files were not fetched."""
    for line in message.splitlines():
        if line.startswith("Bytes: ") and line[7:].isdecimal():
            return Tally(files, int(line[7:]))
    return Tally(files, None)


@dataclass
class BranchStorage:
    """An orphan branch of this repository that holds a DVC remote's files; `.storage/` has those needed here."""

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
        """Bring what is named and neither in the cache nor here already; asks the network only for that."""
        digests = cache.named(self.root)
        for revision in revisions:
            digests |= cache.named(self.root, revision)
        return self._bring(digests)

    def fetch(self, targets: Collection[str] = ()) -> None:
        """`prepare` for these paths, then `dvc pull`."""
        self._bring(cache.named(self.root, targets=targets))
        run_dvc(self.root, "pull", *targets)

    def fetch_all(self) -> None:
        """Bring everything that the branch holds into the folder."""
        with self._opened() as bare:
            tip = self._tip(bare)
            kept = _kept(bare, tip)
            self._save(bare, tip, kept, set(kept) - cache.below(self.folder))

    def push(self) -> int:
        """`dvc push` into the folder, then everything new there onto the branch."""
        run_dvc(self.root, "push")
        return self.keep(self.here())

    def here(self) -> dict[str, Path]:
        """The folder's files: digest to path."""
        return {digest: self.folder / cache.path_of(digest) for digest in cache.below(self.folder)}

    def keep(self, files: Mapping[str, Path]) -> int:
        """Add files to the branch, again and again while others do so too.

        What was pushed stays pushed: whatever stops this in between, running it again does the rest.
        """
        if not files:
            return 0
        with self._opened() as bare:
            kept = _kept(bare, self._tip(bare))
            new = {digest: path for digest, path in files.items() if digest not in kept}
            sizes = {digest: path.stat().st_size for digest, path in new.items()}
            refuse_large(
                {f"{digest} ({self._known_as(digest)})": size for digest, size in sizes.items()}, self.tell
            )
            for digest, path in new.items():
                cache.verify(path, digest)
            for part in batches(sizes, self.batch):
                self._push(bare, {digest: new[digest] for digest in part}, sizes)
        return len(new)

    def holds(self, digests: Collection[str]) -> set[str]:
        """Which of these are on the branch now."""
        with self._opened() as bare:
            return set(digests) & set(_kept(bare, self._tip(bare)))

    def status(self) -> Status:
        """Files and bytes of the branch; what dvc.lock names, is here, and is not there."""
        with self._opened() as bare:
            tip = self._tip(bare)
            kept = _kept(bare, tip)
            size = tally(bare.read_message(tip), len(kept)).bytes if tip else 0
            where = f"branch {BRANCH} of {bare.remote.hide_password()}"
        here = cache.below(self.folder) | cache.below(self.cache)
        wanted = cache.complete(cache.named(self.root), cache.reader([self.cache, self.folder]))
        return Status(where, len(kept), size, sorted((wanted & here) - set(kept)))

    def _bring(self, digests: set[str]) -> int:
        read = cache.reader([self.cache, self.folder])
        here = cache.below(self.folder) | cache.below(self.cache)
        wanted = cache.complete(digests, read)
        if wanted <= here:
            return 0
        with self._opened() as bare:
            tip = self._tip(bare)
            kept = _kept(bare, tip)
            folders = {digest for digest in wanted - here if digest.endswith(".dir") and digest in kept}
            self._transfer(bare, tip, [kept[digest] for digest in folders])
            wanted |= cache.complete(folders, lambda digest: bare.read_blob(kept[digest]))
            missing = (wanted - here) & set(kept)
            self._save(bare, tip, kept, missing)
        return len(missing)

    def _transfer(self, bare: BareRepository, tip: str | None, blobs: Collection[str]) -> None:
        if tip is not None and blobs:
            self._retry("fetch").call("fetch", lambda: bare.fetch_blobs(tip, blobs))

    def _save(
        self, bare: BareRepository, tip: str | None, kept: Mapping[str, str], digests: Collection[str]
    ) -> None:
        """Put files of the branch into the folder and, sharing their bytes, into DVC's cache; folders last."""
        if not digests:
            return
        self._transfer(bare, tip, [kept[digest] for digest in digests])
        with tempfile.TemporaryDirectory(dir=bare.folder) as scratch:
            files = {Path(scratch) / digest: kept[digest] for digest in sorted(digests, key=folders_last)}
            bare.save_blobs(files)
            for path in files:
                cache.verify(path, path.name)
            for path in files:
                for place in (self.folder, self.cache):
                    cache.put(path, place / cache.path_of(path.name))

    def _push(self, bare: BareRepository, files: Mapping[str, Path], sizes: Mapping[str, int]) -> None:
        """One batch: a commit on top of the newest one, made anew each time that somebody else was faster."""
        blobs = dict(zip(files, bare.add_files(files.values()), strict=True))
        tries = itertools.count(1)

        def step() -> None:
            try:
                tip = bare.fetch_tip(BRANCH)
                kept = _kept(bare, tip)
                if new := [digest for digest in files if digest not in kept]:
                    told = tally(bare.read_message(tip), len(kept)) if tip else Tally(0, 0)
                    message = told.message(len(new), sum(sizes[digest] for digest in new))
                    added = {cache.path_of(digest): blobs[digest] for digest in new}
                    commit = bare.create_commit(tip, added, message, Author(*KEEPER, int(self.clock())))
                    bare.push(commit, BRANCH, tip)
            except TemporaryFailure as busy:
                # Writers that were turned away together must not come back together.
                wait = random.uniform(0, min(8.0, 0.25 * 2 ** next(tries)))  # noqa: S311
                raise TemporaryFailure(str(busy), wait) from busy

        self._retry("push").call("push", step)

    def _tip(self, bare: BareRepository) -> str | None:
        return self._retry("fetch").call("fetch", lambda: bare.fetch_tip(BRANCH))

    def _retry(self, what: str) -> Retry:
        max_tries = 100 if what == "push" else 5
        return Retry(self.clock, self.sleep, self.tell, deadline=self.clock() + BUDGET, max_tries=max_tries)

    @contextmanager
    def _opened(self) -> Iterator[BareRepository]:
        try:
            with open_bare(self.root) as bare:
                yield bare
        except RetriesExhausted as error:
            raise StorageError(
                f"{self.where}: {error}; what was pushed stays, so simply run it again"
            ) from error
        except cache.CacheError as error:
            raise StorageError(str(error)) from error

    def _known_as(self, digest: str) -> str:
        """The output that a person knows by its path; `folder` members keep their digest."""
        from bots.dvc import lockfile

        path = self.root / "dvc.lock"
        outputs = lockfile.parse_lock(path.read_text(encoding="utf-8")).outputs if path.exists() else {}
        return next((out for out, named in outputs.items() if named == f"md5:{digest}"), "part of a folder")


def _kept(bare: BareRepository, tip: str | None) -> dict[str, str]:
    """The branch's content-addressed files: digest to blob."""
    tree = bare.list_files(tip) if tip else {}
    return {digest: blob for path, blob in tree.items() if (digest := cache.digest_of(path))}
