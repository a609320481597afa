"""Counts of the most frequent categories in bounded space, with a bound of what they lack, however they were added.

The summary of Misra and Gries (1982), which adds up (Agarwal et al., Mergeable Summaries, PODS 2012): where more than
`cap` values are counted, as much as the next largest has is taken from all of them. So a value's true count is at most
`other / (cap + 1)` above the one that is told, and every value with more rows than that is among them. Up to `cap`
values all counts are exact.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from bots.observations import CategorySummary

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

LONGEST_NAME: Final = 120
_KEPT: Final = 80


def shorten_value(value: str) -> str:
    """The name of a category in summaries: itself, or for a long one its beginning and 16 digits of its SHA-256."""
    if len(value) <= LONGEST_NAME:
        return value
    digest = hashlib.sha256(value.encode(errors="surrogatepass")).hexdigest()[:16]
    return f"{value[:_KEPT]}…{digest}"


def find_count_error(summary: CategorySummary, cap: int) -> float:
    """By how many rows a count of the summary may be too small."""
    return summary.other / (cap + 1)


def add_categories(first: CategorySummary, second: CategorySummary, cap: int) -> CategorySummary:
    """Add two summaries of a column."""
    counts = dict(first.counts)
    for value, rows in second.counts.items():
        counts[value] = counts.get(value, 0) + rows
    return close_counts(
        counts,
        rows=first.rows + second.rows,
        missing=first.missing + second.missing,
        unseen=first.unseen + second.unseen,
        cap=cap,
    )


def close_counts(
    counts: Mapping[str, int], rows: int, missing: int, *, unseen: int, cap: int
) -> CategorySummary:
    """Build a summary; `other` is whatever `counts` do not name."""
    kept = reduce_counts(counts, cap)
    return CategorySummary(
        rows=rows,
        missing=missing,
        counts=dict(sorted(kept.items())),
        other=rows - missing - sum(kept.values()),
        unseen=unseen,
    )


def reduce_counts(counts: Mapping[str, int], cap: int) -> dict[str, int]:
    """At most `cap` of the counts, less what the next largest has."""
    if len(counts) <= cap:
        return dict(counts)
    less = sorted(counts.values(), reverse=True)[cap]
    return {value: rows - less for value, rows in counts.items() if rows > less}


class CategoryCount:
    """Counts a column batch by batch; `known` are the values that training showed, None if that is not known."""

    def __init__(self, cap: int, known: frozenset[str] | None) -> None:
        """`cap` is how many values are named."""
        self.cap, self.known = cap, known
        self.rows = self.missing = self.unseen = 0
        self.counts: dict[str, int] = {}
        self._known: pa.Array | None = None

    def add_array(self, array: pa.Array) -> None:
        """Add the values of a batch; null and empty text are missing."""
        values, counts = count_values(array)
        self.rows += len(array)
        self.missing += len(array) - int(counts.sum())
        if self.known is not None:
            self.unseen += int(counts[self._find_unseen(values)].sum())
        kept = np.arange(len(counts))
        if len(counts) > self.cap:
            less = int(np.partition(counts, -self.cap - 1)[-self.cap - 1])
            kept, counts = np.flatnonzero(counts > less), counts - less
        for value, rows in zip(values.take(kept).to_pylist(), counts[kept].tolist(), strict=True):
            name = shorten_value(value)
            self.counts[name] = self.counts.get(name, 0) + rows
        self.counts = reduce_counts(self.counts, self.cap)

    def _find_unseen(self, values: pa.Array) -> NDArray[np.bool_]:
        """Which of some distinct values training did not show."""
        import pyarrow.compute as pc

        if self._known is None:
            self._known = make_text(sorted(self.known or ()))
        unseen = ~pc.is_in(values, value_set=self._known).to_numpy(zero_copy_only=False)
        long = np.flatnonzero(pc.utf8_length(values).to_numpy(zero_copy_only=False) > LONGEST_NAME)
        for at in long:
            unseen[at] = shorten_value(values[int(at)].as_py()) not in (self.known or ())
        return np.asarray(unseen)

    def close_summary(self) -> CategorySummary:
        """What was counted."""
        return close_counts(
            self.counts, rows=self.rows, missing=self.missing, unseen=self.unseen, cap=self.cap
        )


def count_values(array: pa.Array) -> tuple[pa.Array, NDArray[np.int64]]:
    """The distinct values of a batch as text, and how often each is there. Null and empty text are left out."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not pa.types.is_dictionary(array.type):
        array = array.dictionary_encode()
    codes = array.indices.drop_null().to_numpy(zero_copy_only=False)
    counts = np.bincount(codes, minlength=len(array.dictionary)).astype(np.int64)
    used = np.flatnonzero(counts)
    values, counts = array.dictionary.take(pa.array(used)), counts[used]
    if not _is_text(values.type):
        values = make_text([make_label(value) for value in values.to_pylist()])
    there = pc.fill_null(pc.not_equal(values, ""), False).to_numpy(zero_copy_only=False)
    return values.filter(pa.array(there)), counts[there]


def _is_text(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def make_text(values: Sequence[str | None]) -> pa.Array:
    """Values as an array of text."""
    import pyarrow as pa

    return pa.array(values, type=pa.string())


def make_label(value: Any) -> str | None:
    """A value as the pipeline names it as a category: whole numbers without a fraction, `true` and `false`."""
    if value is None or value != value:
        return None
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if hasattr(value, "isoformat"):
        return str(value.isoformat()).replace("+00:00", "Z")
    return str(value)
