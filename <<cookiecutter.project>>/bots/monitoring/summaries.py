"""Counts the prediction log into one small summary for each day of a version; summaries of days add up.

A file is read in batches, so memory stays flat however many rows there are. Counts are exact. Sketches of numbers and
counts of categories have a stated error (`bots/stats/sketches.py`, `bots/monitoring/categories.py`), which does not
grow with the number of files, days or workers that were added.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import reduce
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np

from bots.errors import BotsError
from bots.monitoring import row_sample
from bots.monitoring.categories import CategoryCount, add_categories
from bots.monitoring.outcomes import add_outcomes, sum_outcomes, summarize_outcomes
from bots.monitoring.summary_spec import (
    ANSWER,
    CLASS_SCORE,
    FALLBACK,
    ID,
    LARGEST,
    ONNX,
    SCORE,
    TIME,
    VERSION,
    WARNINGS,
    SummarySpec,
    build_spec,
)
from bots.observations import CategorySummary, DayInputs, NumberSummary, ScoreCounts
from bots.stats.histograms import add_counts, count_scores
from bots.stats.metrics import Floats
from bots.stats.sketches import Sketch, add_sketches

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    import pyarrow as pa
    from numpy.typing import NDArray

__all__ = [
    "FileSummary",
    "SummaryError",
    "SummarySpec",
    "add_inputs",
    "add_outcomes",
    "build_spec",
    "sum_inputs",
    "sum_outcomes",
    "summarize_file",
    "summarize_outcomes",
    "summarize_rows",
]

T = TypeVar("T")
BATCH_ROWS: Final = 2**16
# What the service calls its findings; rows with any other are refused, and not in the log.
WARNING_KINDS: Final = ("unknown", "missing", "range", "category", "beyond", "unseen")
_KIND = re.compile(rf":({'|'.join(WARNING_KINDS)})(?: |\Z)")
_HOUR = re.compile(r"\d{4}-\d{2}-\d{2}T([01]\d|2[0-3])\Z")


class SummaryError(BotsError):
    """A table that should be a file of the prediction log cannot be counted."""


@dataclass(frozen=True, kw_only=True)
class FileSummary:
    """What a file adds: its days, and for each a bounded sample of rows (`row_sample` says how samples add up)."""

    version: str
    onnx: str
    days: dict[str, DayInputs]
    samples: dict[str, pa.Table]


@dataclass
class NumberCount:
    """Counts a numeric column batch by batch."""

    rows: int = 0
    missing: int = 0
    low: float = np.inf
    high: float = -np.inf
    total: float = 0.0
    squares: float = 0.0
    sketch: Sketch = field(default_factory=Sketch)

    def add_array(self, array: pa.Array) -> None:
        """Add the values of a batch; null, NaN and what is no number are missing."""
        values = read_numbers(array)
        self.rows += len(array)
        self.missing += len(array) - len(values)
        if not len(values):
            return
        self.low = min(self.low, float(values.min()))
        self.high = max(self.high, float(values.max()))
        self.total += float(values.sum())
        self.squares += float(
            np.einsum("i,i->", values, values)
        )  # `@` would start threads for so few numbers
        self.sketch.add_values(values)

    def close_summary(self) -> NumberSummary:
        """What was counted."""
        if self.missing == self.rows:
            return NumberSummary(rows=self.rows, missing=self.missing)
        return NumberSummary(
            rows=self.rows,
            missing=self.missing,
            low=self.low,
            high=self.high,
            total=self.total,
            squares=self.squares,
            sketch=self.sketch.write_bytes(),
        )


@dataclass
class PresenceCount:
    """Counts a personal column: in how many rows it has a value, and nothing of the value."""

    rows: int = 0
    missing: int = 0

    def add_array(self, array: pa.Array) -> None:
        """Add a batch."""
        self.rows += len(array)
        self.missing += array.null_count


class DayCount:
    """Counts one day of one version, batch by batch. A column that a batch lacks is not counted for its rows."""

    def __init__(self, spec: SummarySpec) -> None:
        """`spec` says what is counted."""
        self.spec = spec
        self.rows = self.fallback = 0
        self.hours = np.zeros(24, dtype=np.int64)
        self.warnings: dict[str, int] = {}
        self.numbers: dict[str, NumberCount | PresenceCount] = {}
        self.categories: dict[str, CategoryCount | PresenceCount] = {}
        self.scores: ScoreCounts | None = None
        self.called: dict[str, int] = {}
        self.sample = row_sample.SampleCount(spec.sample)
        self._edges = np.asarray(spec.edges)

    def add_batch(self, batch: pa.RecordBatch, hours: NDArray[np.int64] | None = None) -> None:
        """Add rows of the day; `hours` (24) are how many of them are of each hour."""
        spec, names = self.spec, set(batch.schema.names)
        self.rows += batch.num_rows
        if hours is not None:
            self.hours += hours
        self._count_columns(batch, names)
        if WARNINGS in names:
            self._count_warnings(batch.column(WARNINGS))
        if SCORE in names:
            self._count_scores(batch)
        if ID in names and spec.sample:
            # Of a personal target no class is kept.
            hidden = {ANSWER} if spec.classes and spec.class_slice is None else set()
            shown = batch.select([name for name in batch.schema.names if name not in hidden])
            self.sample.add_batch(shown, [name for name in spec.columns if name not in spec.personal])

    def _count_columns(self, batch: pa.RecordBatch, names: set[str]) -> None:
        personal = self.spec.personal
        for name in self.spec.numbers:
            if name in names:
                if name not in self.numbers:
                    self.numbers[name] = PresenceCount() if name in personal else NumberCount()
                self.numbers[name].add_array(batch.column(name))
        for name, known in self.spec.categories.items():
            if name in names:
                if name not in self.categories:
                    self.categories[name] = (
                        PresenceCount() if name in personal else CategoryCount(self.spec.cap, known)
                    )
                self.categories[name].add_array(batch.column(name))

    def _count_scores(self, batch: pa.RecordBatch) -> None:
        """Count the model's own answers: not those that `serving.rows.fallback` gave in its place."""
        scores = batch.column(SCORE)
        if FALLBACK in batch.schema.names:
            import pyarrow.compute as pc

            answered = pc.invert(pc.fill_null(batch.column(FALLBACK), False))
            own = answered.true_count
            self.fallback += batch.num_rows - own
            if own < batch.num_rows:
                scores, batch = scores.filter(answered), batch.filter(answered)
        counted = self.spec.classes and self.spec.class_slice is not None
        if counted and ANSWER in batch.schema.names:
            self._count_called(batch.column(ANSWER))
        self.scores = add_counts(self.scores, count_scores(read_numbers(scores), self._edges))

    def _count_called(self, answers: pa.Array) -> None:
        """Count the rows that each of several classes was the answer of."""
        known, counted = set(self.spec.classes), answers.value_counts()
        for name, rows in zip(
            counted.field("values").to_pylist(), counted.field("counts").to_pylist(), strict=True
        ):
            if name in known:
                self.called[name] = self.called.get(name, 0) + rows

    def _count_warnings(self, array: pa.Array) -> None:
        counted = array.value_counts()
        for words, rows in zip(
            counted.field("values").to_pylist(), counted.field("counts").to_pylist(), strict=True
        ):
            for name in set(_list_warnings(words or "", self.spec.columns)):
                self.warnings[name] = self.warnings.get(name, 0) + rows

    def close_summary(self, day: str, version: str, onnx: str) -> DayInputs:
        """What was counted, as the inputs of a day."""
        return DayInputs(
            day=day,
            version=version,
            onnx=onnx,
            rows=self.rows,
            fallback=self.fallback,
            hours=self.hours.tolist() if self.hours.any() else [],
            warnings=dict(sorted(self.warnings.items())),
            numbers={name: _close_number(count) for name, count in self.numbers.items()},
            categories={name: _close_category(count) for name, count in self.categories.items()},
            scores=self.scores,
            called={name: self.called[name] for name in self.spec.classes if name in self.called},
        )


def _close_number(count: NumberCount | PresenceCount) -> NumberSummary:
    if isinstance(count, PresenceCount):
        return NumberSummary(rows=count.rows, missing=count.missing)
    return count.close_summary()


def _close_category(count: CategoryCount | PresenceCount) -> CategorySummary:
    if isinstance(count, PresenceCount):
        return CategorySummary(rows=count.rows, missing=count.missing, other=count.rows - count.missing)
    return count.close_summary()


def read_numbers(array: pa.Array) -> Floats:
    """The numbers of an array as float64, (n,), within what float32 holds; what is none is left out."""
    import pyarrow as pa

    kind = array.type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
        if not pa.types.is_boolean(kind):
            return np.empty(0)
        array = array.cast(pa.uint8())
    if not pa.types.is_float64(array.type):
        array = array.cast(pa.float64(), safe=False)
    values: Floats = (array.drop_null() if array.null_count else array).to_numpy(zero_copy_only=False)
    if not len(values):
        return values
    low, high = values.min(), values.max()
    if np.isnan(low):
        values = values[~np.isnan(values)]
    elif low >= -LARGEST and high <= LARGEST:
        return values if low else values + 0.0
    clipped: Floats = np.clip(values, -LARGEST, LARGEST) + 0.0
    return clipped


def _list_warnings(words: str, columns: Sequence[str]) -> Iterator[str]:
    """The kinds of a row's warnings, and `column:kind` where the column is an input: callers choose other names.

    A name may hold spaces and colons: the longest name of an input that stands there is taken.
    """
    while words:
        own = sorted((name for name in columns if words.startswith(f"{name}:")), key=len, reverse=True)
        found = next(((name, kind) for name in own if (kind := _KIND.match(words, len(name)))), None)
        column, match = found or (None, _KIND.search(words))
        if match is None:
            return
        yield match[1]
        if column is not None:
            yield f"{column}:{match[1]}"
        words = words[match.end() :]


def summarize_file(path: Path, spec: SummarySpec) -> FileSummary:
    """Count a file of the prediction log, batch by batch. Raises `SummaryError`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path, read_dictionary=[VERSION, ONNX, WARNINGS, *spec.categories]) as file:
            there = file.schema_arrow.names
            needed = [ID, TIME, VERSION, ONNX, SCORE, *(CLASS_SCORE + name for name in spec.classes)]
            if lost := [name for name in needed if name not in there]:
                raise SummaryError(
                    f"{path.name}: is no file of the prediction log: it has no {', '.join(lost)}"
                )
            wanted = [ID, TIME, VERSION, ONNX, SCORE, ANSWER, FALLBACK, WARNINGS, *spec.columns]
            columns = [name for name in wanted if name in there]
            return _summarize_log(file.iter_batches(BATCH_ROWS, columns=columns), spec, name=path.name)
    except (pa.ArrowException, OSError) as error:
        raise SummaryError(f"{path.name}: cannot be read: {' '.join(str(error).split())}") from error


def _summarize_log(batches: Iterable[pa.RecordBatch], spec: SummarySpec, *, name: str) -> FileSummary:
    days: dict[str, DayCount] = {}
    versions: set[tuple[str, str]] = set()
    for batch in batches:
        versions |= _list_versions(batch)
        if len(versions) > 1:
            raise SummaryError(f"{name}: has rows of more than one version: {sorted(versions)}")
        for day, rows, hours in split_days(batch, name=name):
            days.setdefault(day, DayCount(spec)).add_batch(rows, hours)
    if not versions:
        raise SummaryError(f"{name}: has no row")
    version, onnx = versions.pop()
    return FileSummary(
        version=version,
        onnx=onnx,
        days={day: count.close_summary(day, version, onnx) for day, count in sorted(days.items())},
        samples={day: count.sample.close_sample() for day, count in sorted(days.items())},
    )


def _list_versions(batch: pa.RecordBatch) -> set[tuple[str, str]]:
    version, onnx = (batch.column(name).unique().to_pylist() for name in (VERSION, ONNX))
    return {(str(one), str(other)) for one in version for other in onnx}


def split_days(
    batch: pa.RecordBatch, *, name: str
) -> Iterator[tuple[str, pa.RecordBatch, NDArray[np.int64]]]:
    """Split a batch by the UTC day of its predictions: the day, its rows, and how many are of each hour, (24,).

    Raises `SummaryError` for a time that is none; `name` is the file's.
    """
    if not batch.num_rows:
        return
    codes, keys = _code_hours(batch.column(TIME))
    if None in keys or not all(_HOUR.match(key or "") for key in keys):
        wrong = next(key for key in keys if not _HOUR.match(key or ""))
        raise SummaryError(f"{name}: {TIME}: expected a time such as 2026-01-31T12:00:00Z, found {wrong!r}")
    counts = np.bincount(codes, minlength=len(keys))
    for day in sorted({key[:10] for key in keys}):
        own = [at for at, key in enumerate(keys) if key[:10] == day]
        hours = np.zeros(24, dtype=np.int64)
        for at in own:
            hours[int(keys[at][11:])] += counts[at]
        rows = batch if len(own) == len(keys) else _take_rows(batch, np.isin(codes, own))
        yield day, rows, hours


def _take_rows(batch: pa.RecordBatch, chosen: NDArray[np.bool_]) -> pa.RecordBatch:
    return batch.take(np.flatnonzero(chosen))


def _code_hours(times: pa.Array) -> tuple[NDArray[Any], list[Any]]:
    """The hour of each row as a number, (n,), and what the numbers stand for, such as 2026-01-31T12."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_timestamp(times.type):
        times = pc.strftime(times, format="%Y-%m-%dT%H")
    coded = pc.utf8_slice_codeunits(times, 0, 13).dictionary_encode("encode")
    return coded.indices.to_numpy(zero_copy_only=False), coded.dictionary.to_pylist()


def summarize_rows(
    batches: Iterable[pa.RecordBatch], spec: SummarySpec, *, day: str, version: str, onnx: str
) -> DayInputs:
    """Count rows that are no log, such as those that trained a model, as one day; columns that lack are not counted."""
    count = DayCount(spec)
    for batch in batches:
        count.add_batch(batch)
    return count.close_summary(day, version, onnx)


def add_inputs(first: DayInputs, second: DayInputs, cap: int) -> DayInputs:
    """Add what two summaries counted; the day, version and ONNX model are those of the first."""
    return DayInputs(
        day=first.day,
        version=first.version,
        onnx=first.onnx,
        rows=first.rows + second.rows,
        fallback=first.fallback + second.fallback,
        hours=_add_hours(first.hours, second.hours),
        warnings=_add_mappings(first.warnings, second.warnings, int.__add__),
        numbers=_add_mappings(first.numbers, second.numbers, _add_numbers),
        categories=_add_mappings(
            first.categories, second.categories, lambda one, other: add_categories(one, other, cap)
        ),
        scores=add_counts(first.scores, second.scores),
        called=_add_mappings(first.called, second.called, int.__add__),
    )


def sum_inputs(days: Iterable[DayInputs], cap: int) -> DayInputs | None:
    """The sum of summaries, named after the first; None where there is none."""
    found = list(days)
    return reduce(lambda one, other: add_inputs(one, other, cap), found) if found else None


def _add_hours(first: list[int], second: list[int]) -> list[int]:
    if not first or not second:
        return first or second
    return [one + other for one, other in zip(first, second, strict=True)]


def _add_mappings(first: Mapping[str, T], second: Mapping[str, T], add: Callable[[T, T], T]) -> dict[str, T]:
    """Add value by value; the order is the first's, then what only the second has."""
    return {
        name: add(first[name], second[name])
        if name in first and name in second
        else (first if name in first else second)[name]
        for name in dict.fromkeys([*first, *second])
    }


def _add_numbers(first: NumberSummary, second: NumberSummary) -> NumberSummary:
    lows = [low for low in (first.low, second.low) if low is not None]
    highs = [high for high in (first.high, second.high) if high is not None]
    return NumberSummary(
        rows=first.rows + second.rows,
        missing=first.missing + second.missing,
        low=min(lows, default=None),
        high=max(highs, default=None),
        total=first.total + second.total,
        squares=first.squares + second.squares,
        sketch=add_sketches(first.sketch, second.sketch),
    )
