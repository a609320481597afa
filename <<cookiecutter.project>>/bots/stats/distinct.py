"""Tells whether texts are distinct without keeping a table of them: ten million take a tenth of the memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow
    from numpy.typing import NDArray

BLOCK: Final = 1 << 21
"""So many bytes of text are hashed at once; a longer text is a block of its own."""
_SEED: Final = 20130701


def are_distinct(column: pyarrow.ChunkedArray) -> bool:
    """Whether no value of a column stands twice; a missing one is a value.

    Each text becomes a number of 64 bits. Where no two of these are equal, neither are two texts; where some are, the
    texts themselves are counted.
    """
    import pyarrow
    import pyarrow.compute as arrow

    if pyarrow.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    text = pyarrow.types.is_string(column.type) or pyarrow.types.is_large_string(column.type)
    if text and not column.null_count:
        numbers = np.concatenate([_hash_texts(chunk) for chunk in column.chunks] or [np.empty(0, np.uint64)])
        numbers.sort()
        if not (numbers[1:] == numbers[:-1]).any():
            return True
    return bool(arrow.count_distinct(column, mode="all").as_py() == len(column))


def _hash_texts(texts: pyarrow.Array) -> NDArray[np.uint64]:
    """A number for each text, (n,): the sum of its bytes, each times a random number for its place, modulo 2^64.

    Equal texts have equal numbers. Unequal ones have, unless somebody means it, at odds of 2^-56 or less (multilinear
    hashing: Carter and Wegman, 1979).
    """
    import pyarrow

    if not len(texts):
        return np.empty(0, np.uint64)
    large = pyarrow.types.is_large_string(texts.type)
    _, places, content = texts.buffers()
    raw: NDArray[Any] = np.frombuffer(places, np.int64 if large else np.int32)
    ends: NDArray[np.integer[Any]] = raw[texts.offset : texts.offset + len(texts) + 1]
    whole = np.frombuffer(content, np.uint8) if content is not None else np.empty(0, np.uint8)
    factors = np.random.default_rng(_SEED).integers(
        1, 1 << 64, int(np.diff(ends).max()) + 1, dtype=np.uint64, endpoint=False
    )
    found = np.empty(len(texts), np.uint64)
    for first, last in _cut_blocks(ends):
        starts, lengths = ends[first:last], np.diff(ends[first : last + 1])
        place = np.arange(int(ends[last]) - int(starts[0])) - np.repeat(starts - starts[0], lengths)
        sums = np.zeros(len(place) + 1, np.uint64)
        block = whole[int(starts[0]) : int(ends[last])].astype(np.uint64) + np.uint64(1)
        np.cumsum(block * factors[place], out=sums[1:])
        found[first:last] = sums[ends[first + 1 : last + 1] - starts[0]] - sums[starts - starts[0]]
    return found


def _cut_blocks(ends: NDArray[np.integer]) -> Iterator[tuple[int, int]]:
    """From which text to before which a block reaches; `ends` is where each text begins, and where the last ends."""
    first, count = 0, len(ends) - 1
    while first < count:
        last = int(np.searchsorted(ends, int(ends[first]) + BLOCK, side="right")) - 1
        last = min(max(last, first + 1), count)
        yield first, last
        first = last
