"""Turns what names a prediction into 128 bits that are equal where the names are, whatever types hold them.

The log's type decides how values are compared: 1, "1" and 1.0 are one number in a column of numbers, and "1" alone is
the text "1". Times are compared as instants. A missing value is equal to nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from bots.stats.targets import TRUTHS, read_answer

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from bots.evidence import Answers

    Bits = NDArray[np.uint64]
    Mask = NDArray[np.bool_]

Kind = Literal["number", "boolean", "text", "time"]

LARGEST_WHOLE: Final = 2**53
"""From here on the log's float64 holds several whole numbers as one."""
NO_TIME: Final = np.iinfo(np.int64).min
"""Stands for no time, among times in microseconds since 1970 (UTC)."""

_INLINE_BYTES: Final = 64
_LANES: Final = 4
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Keys:
    """128 bits of each row. `valid` rows have every column; `refused` ones have a value that cannot be compared."""

    high: Bits
    low: Bits
    valid: Mask
    refused: Mask


def find_kinds(schema: pa.Schema, join: Sequence[str], times: Collection[str]) -> tuple[Kind, ...] | None:
    """Return how each column that names a prediction is compared; None where the log has not all of them.

    `times` are the columns that the data contract calls datetime: the log has them as text.
    """
    if any(name not in schema.names for name in join):
        return None
    return tuple("time" if name in times else _find_kind(schema.field(name).type) for name in join)


def _find_kind(kind: pa.DataType) -> Kind:
    from pyarrow import types

    if types.is_boolean(kind):
        return "boolean"
    if types.is_integer(kind) or types.is_floating(kind):
        return "number"
    return "time" if types.is_timestamp(kind) or types.is_date(kind) else "text"


class KeyHasher:
    """Hashes keys with random multipliers, so that nobody can prepare names that collide.

    Multilinear hashing (Lemire and Kaser 2014): four lanes of 32 bits, each strongly universal, so two different
    keys are taken for one with a probability of 2^-128. Texts beyond 64 bytes count by their BLAKE2b digest.
    """

    def __init__(self, columns: int, seed: int) -> None:
        words = 2 + _INLINE_BYTES // 4
        draw = np.random.default_rng(seed)
        self._secret = seed.to_bytes(32, "little", signed=False)[:32]
        self._starts = draw.integers(0, 2**64, size=_LANES, dtype=np.uint64)
        self._multipliers = draw.integers(0, 2**64, size=(columns, words, _LANES), dtype=np.uint64)

    def hash_columns(self, columns: Sequence[pa.Array], kinds: Sequence[Kind]) -> Keys:
        """Hash the rows of columns, each compared as its kind says."""
        rows = len(columns[0])
        lanes = np.repeat(self._starts[:, None], rows, axis=1)
        valid, refused = np.ones(rows, dtype=bool), np.zeros(rows, dtype=bool)
        for column, kind, multipliers in zip(columns, kinds, self._multipliers, strict=True):
            words, there, wrong = self._cut_words(column, kind)
            for at, word in enumerate(words):
                for lane in range(_LANES):
                    lanes[lane] += multipliers[at, lane] * word
            valid &= there
            refused |= wrong
        halves = lanes >> np.uint64(32)
        shift = np.uint64(32)
        return Keys(halves[0] << shift | halves[1], halves[2] << shift | halves[3], valid, refused)

    def _cut_words(self, column: pa.Array, kind: Kind) -> tuple[list[Bits], Mask, Mask]:
        """Return a column's values as words of 32 bits, which rows have one, and which have one that is refused."""
        if kind == "text":
            texts = convert_texts(column)
            return (*self._cut_texts(texts), _find_refused(column, ~_find_missing(texts)))
        if kind == "number":
            numbers = convert_numbers(column)
            there = np.abs(numbers) < LARGEST_WHOLE
            bits = (np.where(there, numbers, 0.0) + 0.0).view(np.uint64)
        elif kind == "boolean":
            truths = convert_truths(column)
            there, bits = ~np.isnan(truths), np.nan_to_num(truths).astype(np.uint64)
        else:
            times = convert_times(column)
            there, bits = times != NO_TIME, times.view(np.uint64)
        low = bits & np.uint64(0xFFFFFFFF)
        return [low, bits >> np.uint64(32)], there, _find_refused(column, there)

    def _cut_texts(self, texts: pa.Array) -> tuple[list[Bits], Mask]:
        there = ~_find_missing(texts)
        offsets, data = _read_buffers(texts)
        starts, lengths = offsets[:-1], np.diff(offsets)
        width = -(-min(int(lengths.max(initial=0)), _INLINE_BYTES) // 4) * 4
        places = np.arange(width)
        inside = places < lengths[:, None]
        spots = np.minimum(starts[:, None] + places, max(len(data) - 1, 0))
        cells = np.where(inside, data[spots] if len(data) else np.uint8(0), np.uint8(0)).astype(np.uint8)
        sizes = lengths.astype(np.uint64)
        if (long := np.flatnonzero(lengths > _INLINE_BYTES)).size:
            for row in long:
                value = data[starts[row] : starts[row] + lengths[row]].tobytes()
                digest = hashlib.blake2b(value, digest_size=_INLINE_BYTES, key=self._secret).digest()
                cells[row] = np.frombuffer(digest, dtype=np.uint8)
            sizes[long] |= np.uint64(1 << 31)
        words = np.ascontiguousarray(cells).view("<u4").astype(np.uint64)
        return [sizes, *(words[:, at] for at in range(words.shape[1]))], there


def _find_missing(column: pa.Array) -> Mask:
    return column.is_null().to_numpy(zero_copy_only=False)


def _find_refused(column: pa.Array, there: Mask) -> Mask:
    """Which rows have a value that could not be converted. Not a number (NaN) is no value."""
    return ~column.is_null(nan_is_null=True).to_numpy(zero_copy_only=False) & ~there


def _read_buffers(texts: pa.Array) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Return the offsets and the bytes of an array of large strings, without a copy."""
    _, offsets, data = texts.buffers()
    places = np.frombuffer(offsets, dtype=np.int64, count=len(texts) + 1, offset=texts.offset * 8)
    return places, np.frombuffer(data, dtype=np.uint8) if data is not None else np.empty(0, dtype=np.uint8)


def convert_texts(column: pa.Array) -> pa.Array:
    """Return a column as large strings. Whole numbers are written without a point."""
    import pyarrow as pa
    from pyarrow import types

    column, kind = _unpack(column)
    if types.is_floating(kind) or types.is_decimal(kind):
        return pa.array([_write_number(value) for value in column.to_pylist()], pa.large_string())
    if types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind):
        return pa.array([_decode(value) for value in column.to_pylist()], pa.large_string())
    try:
        return column.cast(pa.large_string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return pa.nulls(len(column), pa.large_string())


def _unpack(column: pa.Array) -> tuple[pa.Array, pa.DataType]:
    from pyarrow import types

    if types.is_dictionary(column.type):
        column = column.dictionary_decode()
    return column, column.type


def _write_number(value: Any) -> str | None:
    if value is None or value != value:
        return None
    if abs(value) < LARGEST_WHOLE and value == int(value):
        return str(int(value))
    return format(value, "f") if not isinstance(value, float) else repr(value)


def _decode(value: bytes | None) -> str | None:
    try:
        return None if value is None else value.decode("utf-8")
    except UnicodeDecodeError:
        return None


def convert_numbers(column: pa.Array) -> NDArray[np.float64]:
    """Return a column as float64, NaN where there is no number."""
    import pyarrow as pa
    from pyarrow import types

    column, kind = _unpack(column)
    if types.is_boolean(kind):
        column, kind = column.cast(pa.int8()), pa.int8()
    if types.is_integer(kind):
        whole = column.fill_null(0).to_numpy(zero_copy_only=False)
        return np.where(_find_missing(column), np.nan, whole.astype(np.float64))
    if types.is_floating(kind):
        return column.cast(pa.float64()).fill_null(np.nan).to_numpy(zero_copy_only=False)
    if types.is_decimal(kind) or types.is_string(kind) or types.is_large_string(kind):
        try:
            return column.cast(pa.float64()).fill_null(np.nan).to_numpy(zero_copy_only=False)
        except pa.ArrowInvalid:
            return _convert_each(column, _parse_number, np.float64)
    return np.full(len(column), np.nan)


def _parse_number(value: Any) -> float:
    text = str(value).strip()
    if "_" in text:
        return np.nan
    try:
        return float(text)
    except ValueError:
        return np.nan


def convert_truths(column: pa.Array) -> NDArray[np.float64]:
    """Return a column as 1 and 0 for true and false, NaN for everything else."""
    from pyarrow import types

    column, kind = _unpack(column)
    if types.is_boolean(kind) or types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind):
        numbers = convert_numbers(column)
        return np.where((numbers == 0) | (numbers == 1), numbers, np.nan)
    if types.is_string(kind) or types.is_large_string(kind):
        return _convert_each(column, lambda value: TRUTHS.get(value.strip().lower(), np.nan), np.float64)
    return np.full(len(column), np.nan)


def convert_answers(column: pa.Array, answers: Answers) -> NDArray[np.float64]:
    """Return a column as 1 and 0 for the labels that count as yes and as no, NaN for everything else."""
    texts = convert_texts(column)
    return _convert_each(texts, lambda text: read_answer(text, answers), np.float64)


def convert_times(column: pa.Array) -> NDArray[np.int64]:
    """Return a column as microseconds since 1970 in UTC, `NO_TIME` where there is no time.

    A time without a zone is one in UTC, as everywhere in a project; a date is its midnight.
    """
    import pyarrow as pa
    from pyarrow import types

    column, kind = _unpack(column)
    if types.is_date(kind) or types.is_timestamp(kind):
        zone = kind.tz if types.is_timestamp(kind) else None
        times = column.cast(pa.timestamp("us", tz=zone), safe=False).cast(pa.int64())
        return times.fill_null(NO_TIME).to_numpy(zero_copy_only=False)
    if types.is_string(kind) or types.is_large_string(kind):
        return _convert_each(column, _parse_time, np.int64)
    return np.full(len(column), NO_TIME)


def _parse_time(text: str) -> int:
    try:
        time = datetime.fromisoformat(text.strip())
    except ValueError:
        return NO_TIME
    time = time.replace(tzinfo=UTC) if time.tzinfo is None else time
    passed = time - _EPOCH
    return (passed.days * 86_400 + passed.seconds) * 1_000_000 + passed.microseconds


def _convert_each(column: pa.Array, convert: Callable[[Any], Any], kind: Any) -> NDArray[Any]:
    """Convert each different value once; a missing one becomes NaN or no time."""
    missing = np.nan if kind is np.float64 else NO_TIME
    encoded = column.dictionary_encode()
    values = [missing if value is None else convert(value) for value in encoded.dictionary.to_pylist()]
    codes = encoded.indices.fill_null(len(values)).to_numpy(zero_copy_only=False)
    return np.array([*values, missing], dtype=kind)[codes]
