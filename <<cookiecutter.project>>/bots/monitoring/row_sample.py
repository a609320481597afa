"""A bounded sample of a day's rows that adds up: the rows whose prediction ids have the smallest hashes.

Whichever way files are cut, ordered or counted twice, a day has the same sample. It is as good as drawn at random:
the hash knows nothing of the row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from bots.errors import BotsError
from bots.monitoring.summary_spec import ANSWER, FALLBACK, ID, SCORE, TIME

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

HASH: Final = "prediction:hash"
"""The column of a sample that stands for the id: without it, the sample says nothing of who asked."""
_MULTIPLIERS: Final = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
_STEP: Final = np.uint64(0x9E3779B97F4A7C15)


class SampleError(BotsError):
    """What was kept is no sample; the message says why."""


class SampleCount:
    """Keeps the sample of a day batch by batch."""

    def __init__(self, size: int) -> None:
        """`size` is how many rows it keeps at most."""
        self.size = size
        self._parts: list[pa.Table] = []
        self._rows = 0
        self._worst = np.uint64(2**64 - 1)

    def add_batch(self, batch: pa.RecordBatch, columns: Sequence[str]) -> None:
        """Add rows of the day with these columns, as far as they are there."""
        import pyarrow as pa

        hashes = hash_values(batch.column(ID))
        chosen = np.flatnonzero(hashes <= self._worst)
        if len(chosen) > self.size:
            chosen = np.sort(chosen[np.argpartition(hashes[chosen], self.size - 1)[: self.size]])
        if not len(chosen):
            return
        wanted = [name for name in (TIME, SCORE, ANSWER, FALLBACK, *columns) if name in batch.schema.names]
        rows = batch.select(wanted).take(pa.array(chosen))
        table = pa.Table.from_batches([rows]).add_column(0, HASH, pa.array(hashes[chosen]))
        self._parts.append(_decode_columns(table))
        self._rows += len(chosen)
        if self._rows > 4 * self.size:
            self._shrink_parts()

    def _shrink_parts(self) -> None:
        kept = keep_smallest(self._parts, self.size)
        self._parts, self._rows = [kept], len(kept)
        if len(kept) == self.size:
            self._worst = np.uint64(kept[HASH][-1].as_py())

    def close_sample(self) -> pa.Table:
        """The sample, by its hashes."""
        return keep_smallest(self._parts, self.size)


def add_samples(first: pa.Table, second: pa.Table, size: int) -> pa.Table:
    """Add two samples of a day; a row that is in both is there once."""
    return keep_smallest([first, second], size)


def keep_smallest(tables: Sequence[pa.Table], size: int) -> pa.Table:
    """The rows with the smallest hashes of all tables, in their order; columns that one lacks are null there."""
    import pyarrow as pa

    if not tables:
        return pa.table({HASH: pa.array([], type=pa.uint64())})
    table = pa.concat_tables(tables, promote_options="permissive")
    hashes = table[HASH].to_numpy()
    _, first = np.unique(hashes, return_index=True)
    return table.take(pa.array(first[:size])).combine_chunks()


def read_sample(content: bytes) -> pa.Table:
    """Read a sample that was kept. Raises `SampleError`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(pa.BufferReader(content))
    except (pa.ArrowException, OSError) as error:
        raise SampleError(" ".join(str(error).split())) from error
    if HASH not in table.column_names or not pa.types.is_uint64(table[HASH].type):
        raise SampleError(f"it has no column {HASH} of hashes")
    return table


def write_sample(table: pa.Table) -> bytes:
    """Write a sample as Parquet, the same bytes for the same rows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    content: bytes = sink.getvalue().to_pybytes()
    return content


def _decode_columns(table: pa.Table) -> pa.Table:
    """The table without dictionaries: those of a whole file would be kept with a few rows."""
    import pyarrow as pa

    for at, column in enumerate(table.schema):
        if pa.types.is_dictionary(column.type):
            kind = column.type.value_type
            table = table.set_column(at, column.name, table[column.name].cast(kind))
    return table


def hash_values(array: pa.Array) -> NDArray[np.uint64]:
    """A 64-bit hash of each text, (n,): its bytes in words of eight, mixed as in SplitMix64 (Steele et al. 2014)."""
    import pyarrow as pa

    text = array.cast(pa.large_binary())
    offsets = np.frombuffer(text.buffers()[1], dtype=np.int64)[text.offset : text.offset + len(text) + 1]
    starts, lengths = offsets[:-1], np.diff(offsets)
    content = text.buffers()[2]
    held = np.frombuffer(content, dtype=np.uint8) if content is not None else np.empty(0, dtype=np.uint8)
    first = int(offsets[0]) if len(offsets) else 0
    padded = np.zeros(int(offsets[-1]) - first + 8, dtype=np.uint8)
    padded[:-8] = held[first : int(offsets[-1])]
    words: NDArray[Any] = np.ndarray((len(padded) - 7,), dtype="<u8", buffer=padded, strides=(1,))
    hashes = _mix_words(lengths.astype(np.uint64))
    rows = np.arange(len(lengths))
    for place in range(0, int(lengths.max(initial=0)), 8):
        rows = rows[lengths[rows] > place]
        word = words[starts[rows] - first + place]
        short = np.minimum(lengths[rows] - place, 8).astype(np.uint64)
        word = word & (np.uint64(2**64 - 1) >> ((np.uint64(8) - short) * np.uint64(8)))
        hashes[rows] = _mix_words(hashes[rows] ^ word)
    return hashes


def _mix_words(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    with np.errstate(over="ignore"):
        words = words + _STEP
        words = (words ^ (words >> np.uint64(30))) * _MULTIPLIERS[0]
        words = (words ^ (words >> np.uint64(27))) * _MULTIPLIERS[1]
    return words ^ (words >> np.uint64(31))
