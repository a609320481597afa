"""Finds the label of a key among a hundred million of them, in memory that hardly grows with their number.

Labels are sorted into 256 files by the first byte of their key's hash. Each file fits in memory, is sorted there, and
equal keys become one record. The files one after the other are the sorted index, which is read through a memory map.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Final, Literal

import numpy as np

from bots.monitoring.label_keys import NO_TIME, Keys

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Records = NDArray[Any]

Corrections = Literal["refuse", "newest"]

RECORD: Final = np.dtype(
    [
        ("high", "<u8"),
        ("low", "<u8"),
        ("label", "<f8"),
        ("first", "<i8"),
        ("newest", "<i8"),
        ("row", "<i8"),
        ("count", "<u4"),
        ("differs", "?"),
        ("tied", "?"),
    ]
)
"""A key's labels: the one that counts, when the first and the newest became known (microseconds since 1970), the place
of one in the source, how many there are, whether they differ, and whether the newest ones do."""

PROBE_ROWS: Final = 32_768
_BUCKETS: Final = 256
_RELEASE_BYTES: Final = 64 << 20
_NEIGHBOURS: Final = 4
_TOUCHED_ROWS: Final = 2_048
_NEVER: Final = np.iinfo(np.int64).max


def build_records(
    keys: Keys, labels: NDArray[np.float64], known: NDArray[np.int64], first_row: int
) -> Records:
    """Build one record of each row that has a valid key; `first_row` is the place of the first one in the source."""
    records = np.zeros(len(labels), dtype=RECORD)
    records["high"], records["low"], records["label"] = keys.high, keys.low, labels
    records["first"], records["newest"] = np.where(known == NO_TIME, _NEVER, known), known
    records["row"] = np.arange(first_row, first_row + len(labels))
    records["count"] = 1
    return records[keys.valid]


def merge_records(records: Records) -> Records:
    """Merge the records of each key into one, sorted by key. Merging parts first, in any order, gives the same."""
    if len(records) == 0:
        return records
    order = np.argsort(records["high"], kind="stable")
    high = records["high"][order]
    if not (high[1:] == high[:-1]).any():
        return records[order]
    order = np.lexsort((records["label"], records["newest"], records["low"], records["high"]))
    ordered = records[order]
    same = (ordered["high"][1:] == ordered["high"][:-1]) & (ordered["low"][1:] == ordered["low"][:-1])
    starts = np.flatnonzero(np.concatenate(([True], ~same)))
    ends = np.append(starts[1:], len(ordered)) - 1
    merged = ordered[ends].copy()
    group = np.repeat(np.arange(len(starts)), ends - starts + 1)
    other = ordered["label"] != merged["label"][group]
    newest = ordered["newest"] == merged["newest"][group]
    merged["first"] = np.minimum.reduceat(ordered["first"], starts)
    merged["row"] = np.minimum.reduceat(ordered["row"], starts)
    merged["count"] = np.minimum(np.add.reduceat(ordered["count"], starts, dtype=np.uint64), 2**32 - 1)
    merged["differs"] = np.logical_or.reduceat(ordered["differs"] | other, starts)
    merged["tied"] = np.logical_or.reduceat(newest & (ordered["tied"] | other), starts)
    return merged


@dataclass(frozen=True)
class Found:
    """The labels of the rows that were asked for; `there` rows have a key that the index knows."""

    there: NDArray[np.bool_]
    labels: NDArray[np.float64]
    known: NDArray[np.int64]
    rows: NDArray[np.int64]
    duplicated: NDArray[np.bool_]
    contradicted: NDArray[np.bool_]


@dataclass
class IndexCounts:
    """The keys of an index, and how many of them have the same label several times, different ones, a newer one."""

    keys: int = 0
    duplicated: int = 0
    contradicted: int = 0
    corrected: int = 0
    contradicted_row: int | None = None


class IndexBuilder:
    """Collects records in files of a folder, and sorts them into an index."""

    def __init__(self, folder: Path, corrections: Corrections) -> None:
        self._folder, self._corrections = folder, corrections
        folder.mkdir(parents=True, exist_ok=True)
        self._files: dict[int, IO[bytes]] = {}

    def __enter__(self) -> IndexBuilder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in self._files.values():
            file.close()

    def add_records(self, records: Records) -> None:
        """Add records; equal ones of one call take the place of one."""
        merged = merge_records(records)
        if len(merged) == 0:
            return
        buckets = (merged["high"] >> np.uint64(56)).astype(np.int64)
        borders = np.flatnonzero(np.diff(buckets, prepend=-1))
        for start, end in zip(borders, [*borders[1:], len(merged)], strict=True):
            self._open_file(int(buckets[start])).write(merged[start:end].tobytes())

    def _open_file(self, bucket: int) -> IO[bytes]:
        if bucket not in self._files:
            self._files[bucket] = self._name_bucket(bucket).open("wb")
        return self._files[bucket]

    def _name_bucket(self, bucket: int) -> Path:
        return self._folder / f"{bucket:03d}.records"

    def build_index(self) -> LabelIndex:
        """Sort the files one after the other into the index, and remove them."""
        counts = IndexCounts()
        records, heads = self._folder / "index.records", self._folder / "index.heads"
        with records.open("wb") as file, heads.open("wb") as head:
            for bucket in sorted(self._files):
                self._files.pop(bucket).close()
                path = self._name_bucket(bucket)
                merged = merge_records(np.fromfile(path, dtype=RECORD))
                path.unlink()
                file.write(merged.tobytes())
                head.write(np.ascontiguousarray(merged["high"]).tobytes())
                self._count_records(counts, merged)
        return LabelIndex(records, heads, counts, self._corrections)

    def _count_records(self, counts: IndexCounts, merged: Records) -> None:
        contradicted = find_contradicted(merged, self._corrections)
        counts.keys += len(merged)
        counts.duplicated += int((merged["count"] > 1).sum())
        counts.contradicted += int(contradicted.sum())
        counts.corrected += int((merged["differs"] & ~contradicted).sum())
        if contradicted.any() and counts.contradicted_row is None:
            counts.contradicted_row = int(merged["row"][contradicted][0])


def find_contradicted(records: Records, corrections: Corrections) -> NDArray[np.bool_]:
    """Which keys have labels of which none may be believed."""
    return records["differs"] if corrections == "refuse" else records["tied"]


class LabelIndex:
    """A sorted index of labels on the disk. A look-up holds the pages that it touches, and lets them go."""

    def __init__(self, records: Path, heads: Path, counts: IndexCounts, corrections: Corrections) -> None:
        self.counts, self._corrections = counts, corrections
        self._maps: list[mmap.mmap] = []
        self._records = self._map_file(records, RECORD)
        self._heads = self._map_file(heads, np.dtype("<u8"))

    def _map_file(self, path: Path, kind: np.dtype[Any]) -> NDArray[Any]:
        if path.stat().st_size == 0:
            return np.empty(0, dtype=kind)
        with path.open("rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._maps.append(mapped)
        return np.frombuffer(mapped, dtype=kind)

    def find_labels(self, keys: Keys) -> Found:
        """Find the labels of rows by their keys, in the rows' order."""
        order = np.argsort(keys.high, kind="stable")
        taken, there = np.zeros(len(order), dtype=RECORD), np.zeros(len(order), dtype=bool)
        # In the index's own order, and a few at a time: each touches a page of it, and the system maps its neighbours.
        for start in range(0, len(order), _TOUCHED_ROWS):
            rows = order[start : start + _TOUCHED_ROWS]
            places = self._find_places(keys.high[rows], keys.low[rows])
            found = (places >= 0) & keys.valid[rows]
            taken[rows[found]] = self._records[places[found]]
            there[rows[found]] = True
            self._release_pages()
        return Found(
            there=there,
            labels=taken["label"],
            known=np.where(taken["first"] == _NEVER, NO_TIME, taken["first"]),
            rows=taken["row"],
            duplicated=taken["count"] > 1,
            contradicted=there & find_contradicted(taken, self._corrections),
        )

    def _find_places(self, high: NDArray[np.uint64], low: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Return where the index has these keys, -1 for those that it does not have."""
        first = np.searchsorted(self._heads, high)
        places = np.full(len(high), -1, dtype=np.int64)
        for step in range(_NEIGHBOURS):  # several keys with the same first 64 bits are rare beyond words
            at = first + step
            inside = np.flatnonzero(at < len(self._heads))
            hit = inside[self._heads[at[inside]] == high[inside]]
            if hit.size == 0:
                break
            exact = hit[self._records["low"][at[hit]] == low[hit]]
            places[exact] = at[exact]
        return places

    def read_rows(self) -> Iterator[NDArray[np.int64]]:
        """Yield the place in the source that stands for each key, so many at a time."""
        for start in range(0, len(self._records), 1 << 20):
            yield self._records["row"][start : start + (1 << 20)].copy()
            self._release_pages()

    def _release_pages(self) -> None:
        """Let go what was read of a large index: the system keeps it while it has room, this process does not."""
        if sum(map(len, self._maps)) > _RELEASE_BYTES and hasattr(mmap, "MADV_DONTNEED"):
            for mapped in self._maps:
                mapped.madvise(mmap.MADV_DONTNEED)


class HitCounter:
    """Counts for each row of the labels' source the predictions that its label went to, in a file of the folder."""

    def __init__(self, path: Path, rows: int) -> None:
        self._mapped: mmap.mmap | None = None
        self._counts: NDArray[np.uint32] = np.empty(0, dtype=np.uint32)
        if rows:
            with path.open("w+b") as file:
                file.truncate(rows * 4)
                self._mapped = mmap.mmap(file.fileno(), 0)
            self._counts = np.frombuffer(self._mapped, dtype=np.uint32)

    def add_hits(self, rows: NDArray[np.int64]) -> None:
        """Count one prediction for each of these rows."""
        np.add.at(self._counts, rows, np.uint32(1))
        if self._mapped is not None and len(self._mapped) > _RELEASE_BYTES and hasattr(mmap, "MADV_DONTNEED"):
            self._mapped.madvise(mmap.MADV_DONTNEED)

    def count_hits(self, index: LabelIndex) -> tuple[int, int, int | None]:
        """Return the keys that went to a prediction, the predictions that share theirs, and a row that went to none."""
        joined = shared = 0
        orphan: int | None = None
        for rows in index.read_rows():
            hits = self._counts[rows]
            joined += int((hits > 0).sum())
            shared += int(hits[hits > 1].sum())
            if orphan is None and (hits == 0).any():
                orphan = int(rows[hits == 0][0])
        return joined, shared, orphan
