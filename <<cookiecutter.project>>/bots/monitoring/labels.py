"""Loads labels, and joins them to predictions, in memory that hardly grows with the number of either.

Labels are written to a folder once, as they came. For the types that the log's columns have they are then indexed by
key (`bots.monitoring.label_index`), and predictions stream past. On the disk a label takes about 90 bytes and its
columns.
"""

from __future__ import annotations

import secrets as random_bits
import shutil
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from bots import evidence
from bots.layout import name_report
from bots.log import make_visible
from bots.monitoring.label_index import (
    PROBE_ROWS,
    Found,
    HitCounter,
    IndexBuilder,
    LabelIndex,
    build_records,
)
from bots.monitoring.label_keys import (
    NO_TIME,
    KeyHasher,
    Kind,
    convert_answers,
    convert_numbers,
    convert_times,
    convert_truths,
    find_kinds,
)
from bots.monitoring.label_sources import LabelsError, LabelsUnreachable, WantedColumns, open_source
from bots.monitoring.summary_spec import AGE, ID, LABEL, ONNX, TIME, VERSION
from bots.observations import LabelCounts
from bots.stats.targets import write_label

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from bots.evidence import Answers, Task
    from bots.settings import Data, Labels

DAY: Final = 86_400_000_000
"""A day in microseconds."""
ABSURD_DAYS: Final = 366
"""A label that was known so many days before its prediction is one of another prediction with the same name."""

JoinedKey = tuple[str, str, str]
"""A day, a version, and the digest of its ONNX model."""


@dataclass
class JoinedDay:
    """What became of one version's predictions of one day. The counts are rows; `unjoinable` ones have no name."""

    predicted: int = 0
    labelled: int = 0
    duplicated: int = 0
    contradicted: int = 0
    unjoinable: int = 0


@dataclass
class _Tally:
    """What was seen of labels while they were read and joined."""

    rows: int = 0
    missing: int = 0
    unreadable: int = 0
    keyless: int = 0
    older: int = 0
    early: int = 0
    absurd: int = 0
    future: int = 0
    unreadable_example: str | None = None
    keyless_row: int | None = None


@dataclass
class LabelTable:
    """Labels in a folder: `key` columns as they came, the label as a number, and when it became known.

    `times` are the key columns that are compared as instants because the labels have them as times. With several
    `classes` a label is the place of its class among them.
    """

    folder: Path
    settings: Labels
    task: Task
    where: str
    times: frozenset[str] = frozenset()
    answers: Answers | None = None
    classes: tuple[str, ...] = ()
    tally: _Tally = field(default_factory=_Tally)
    newest: str | None = None
    """the newest day on which a label became known"""
    _parts: list[tuple[Path, int, int]] = field(default_factory=list)
    _indexes: dict[tuple[Kind, ...], tuple[KeyHasher, LabelIndex]] = field(default_factory=dict)
    _hits: HitCounter | None = None

    @property
    def timed(self) -> bool:
        """Whether labels say when they became known."""
        return self.settings.time is not None

    def write_batches(
        self, batches: Iterable[pa.RecordBatch], wanted: WantedColumns, since: datetime, now: datetime
    ) -> None:
        """Write the labels that can be read to the folder, a new file wherever the columns' types change."""
        import pyarrow as pa

        writer, schema, sink = None, None, None
        row = 0
        try:
            for batch in batches:
                kept = self._convert_batch(batch, wanted, since=since, now=now)
                if kept.num_rows == 0:
                    continue
                if kept.schema != schema or writer is None:
                    _close_all(writer, sink)
                    path, schema = self.folder / f"labels-{len(self._parts)}.arrow", kept.schema
                    sink = pa.OSFile(str(path), "wb")
                    writer = pa.ipc.new_stream(sink, schema)
                    self._parts.append((path, row, row))
                    self.times |= _find_times(schema, self.settings.join)
                writer.write_batch(kept)
                row += kept.num_rows
                path, first, _ = self._parts[-1]
                self._parts[-1] = (path, first, row)
        finally:
            _close_all(writer, sink)
        self._hits = HitCounter(self.folder / "hits", row)

    def _convert_batch(
        self, batch: pa.RecordBatch, wanted: WantedColumns, *, since: datetime, now: datetime
    ) -> pa.RecordBatch:
        """Return the rows that have a label which can be read: key columns, `label`, `known`. Count the others."""
        import pyarrow as pa

        tally = self.tally
        tally.rows += batch.num_rows
        column = batch.column(wanted.target)
        labels = read_labels(column, self.task, self.answers, self.classes)
        missing = find_missing_labels(column)
        unreadable = np.isnan(labels) & ~missing
        if unreadable.any() and tally.unreadable_example is None:
            value = column[int(np.flatnonzero(unreadable)[0])].as_py()
            tally.unreadable_example = make_visible(value, 60)
        known = (
            convert_times(batch.column(wanted.time))
            if wanted.time
            else np.full(batch.num_rows, NO_TIME, dtype=np.int64)
        )
        older = (known != NO_TIME) & (known < _count_microseconds(since) - DAY)
        future = known > _count_microseconds(now) + DAY
        tally.missing += int(missing.sum())
        tally.unreadable += int(unreadable.sum())
        tally.older += int((older & ~missing & ~unreadable).sum())
        kept = np.flatnonzero(~missing & ~unreadable & ~older)
        tally.future += int(future[kept].sum())
        self._note_newest(known[kept], now)
        arrays = [batch.column(name).take(pa.array(kept)) for name in self.settings.join]
        names = [f"key:{at}" for at in range(len(arrays))]
        return pa.RecordBatch.from_arrays(
            [*arrays, pa.array(labels[kept]), pa.array(known[kept])], names=[*names, LABEL, "known"]
        )

    def _note_newest(self, known: NDArray[np.int64], now: datetime) -> None:
        newest = int(np.minimum(known, _count_microseconds(now)).max(initial=NO_TIME))
        if newest != NO_TIME:
            self.newest = max(self.newest or "", _name_day(newest))

    def open_index(self, kinds: tuple[Kind, ...]) -> tuple[KeyHasher, LabelIndex]:
        """Return the index of the labels for a log whose columns are compared like this; it is built once."""
        if kinds not in self._indexes:
            hasher = KeyHasher(len(kinds), random_bits.randbits(128))
            folder = self.folder / f"index-{len(self._indexes)}"
            keyless = 0
            with IndexBuilder(folder, self.settings.corrections) as builder:
                for row, batch in self._read_batches():
                    keys = hasher.hash_columns(batch.columns[:-2], kinds)
                    keyless += int((~keys.valid).sum())
                    if keys.refused.any() and self.tally.keyless_row is None:
                        self.tally.keyless_row = row + int(np.flatnonzero(keys.refused)[0])
                    labels, known = (column.to_numpy() for column in batch.columns[-2:])
                    builder.add_records(build_records(keys, labels, known, row))
                index = builder.build_index()
            self.tally.keyless = max(self.tally.keyless, keyless)
            self._indexes[kinds] = hasher, index
        return self._indexes[kinds]

    def _read_batches(self) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Yield the written labels again, each batch with the place of its first row."""
        import pyarrow as pa

        for path, row, _ in self._parts:
            with pa.OSFile(str(path), "rb") as source, pa.ipc.open_stream(source) as reader:
                for batch in reader:
                    yield row, batch
                    row += batch.num_rows

    def describe_row(self, row: int, private: Collection[str] | None) -> str:
        """Describe the key of a row, for people, without the values of `private` columns.

        Where nobody knows which these are (None), only the id that the service gave is shown.
        """
        hidden = {name for name in self.settings.join if name != ID} if private is None else private
        for first, batch in self._read_batches():
            if first <= row < first + batch.num_rows:
                return ", ".join(
                    f"{name} …"
                    if name in hidden
                    else f"{name} {make_visible(batch.column(place)[row - first].as_py(), 60)}"
                    for place, name in enumerate(self.settings.join)
                )
        raise IndexError(row)

    def note_hits(self, rows: NDArray[np.int64]) -> None:
        """Count the predictions that each label went to."""
        if self._hits is not None:
            self._hits.add_hits(rows)

    def count_labels(self, private: Collection[str] | None = None) -> LabelCounts:
        """Count what became of the labels, after the predictions of all open days were joined to them.

        Where the log's columns changed their types, what was compared first counts. Examples show no value of the
        `private` columns; where these are not known (None), of none but the prediction's id.
        """
        tally = self.tally
        rows: dict[str, int | None] = {"keyless": tally.keyless_row}
        index = next((index for _, index in self._indexes.values()), None)
        keys = joined = shared = 0
        if index is not None and self._hits is not None:
            joined, shared, rows["orphaned"] = self._hits.count_hits(index)
            keys, rows["contradicted"] = index.counts.keys, index.counts.contradicted_row
        examples = {
            name: self.describe_row(row, private) for name, row in sorted(rows.items()) if row is not None
        }
        if tally.unreadable_example is not None:
            examples["unreadable"] = tally.unreadable_example
        return LabelCounts(
            rows=tally.rows,
            joined=joined,
            orphaned=keys - joined,
            duplicated=index.counts.duplicated if index else 0,
            contradicted=index.counts.contradicted if index else 0,
            corrected=index.counts.corrected if index else 0,
            unreadable=tally.unreadable,
            missing=tally.missing,
            keyless=tally.keyless,
            older=tally.older,
            early=tally.early + tally.absurd,
            future=tally.future,
            shared=shared,
            examples=examples,
        )


def _close_all(*files: Any) -> None:
    for file in files:
        if file is not None:
            file.close()


def _find_times(schema: pa.Schema, join: tuple[str, ...]) -> frozenset[str]:
    from pyarrow import types

    return frozenset(name for at, name in enumerate(join) if types.is_timestamp(schema.field(at).type))


def _count_microseconds(time: datetime) -> int:
    return (time - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def _name_day(time: int) -> str:
    return str(np.datetime64(time, "us").astype("datetime64[D]"))


def read_labels(
    column: pa.Array, task: Task, answers: Answers | None = None, classes: Sequence[str] = ()
) -> NDArray[np.float64]:
    """Return labels as numbers, NaN where there is none: 1 and 0 for a classification, finite ones for a regression,
    the place of the class among several `classes`.

    A classification takes numbers 0 and 1, truths, and the words that the data contract takes for them; or `answers`,
    what its two labels are called.
    """
    if task == "multiclass":
        return convert_classes(column, classes)
    if task == "classification":
        return convert_truths(column) if answers is None else convert_answers(column, answers)
    from pyarrow import types

    if types.is_boolean(column.type):
        return np.full(len(column), np.nan)
    numbers = convert_numbers(column)
    return np.where(np.isfinite(numbers), numbers, np.nan)


def convert_classes(column: pa.Array, classes: Sequence[str]) -> NDArray[np.float64]:
    """Return the place of each row's class among these, (n,); NaN where it is none of them."""
    places = {name: float(code) for code, name in enumerate(classes)}
    coded = column if hasattr(column, "dictionary") else column.dictionary_encode()
    names = [write_label(value) for value in coded.dictionary.to_pylist()]
    table = np.array([places.get(name, places.get(name.strip(), np.nan)) for name in names] + [np.nan])
    found: NDArray[np.float64] = table[
        coded.indices.fill_null(len(names)).to_numpy(zero_copy_only=False).astype(np.int64)
    ]
    return found


def find_missing_labels(column: pa.Array) -> NDArray[np.bool_]:
    """Return which rows have no label yet: null, not a number, or an empty text."""
    import pyarrow.compute as pc
    from pyarrow import types

    if types.is_dictionary(column.type):
        column = column.dictionary_decode()
    missing = column.is_null(nan_is_null=True)
    if types.is_string(column.type) or types.is_large_string(column.type):
        missing = pc.or_(
            missing, pc.fill_null(pc.equal(pc.utf8_trim_whitespace(column), ""), fill_value=True)
        )
    return missing.to_numpy(zero_copy_only=False)


def load_labels(
    settings: Labels,
    data: Data,
    *,
    root: Path,
    environ: Mapping[str, str],
    folder: Path,
    since: datetime,
    now: datetime,
    tell: Callable[[str], None],
    split: str = name_report("split"),
) -> LabelTable:
    """Load the labels that may belong to predictions from `since` on into `folder`, which is made anew.

    `split` is the path of the model's split report. Raises `LabelsError`; then the folder holds nothing.
    """
    source = open_source(settings, root, environ)
    wanted = find_wanted_columns(settings, data)
    tell(f"labels from {source.where}")
    shutil.rmtree(folder, ignore_errors=True)
    table = LabelTable(
        folder,
        settings,
        data.task,
        source.where,
        answers=load_answers(data, root, split),
        classes=load_classes(data, root, split),
    )
    try:
        folder.mkdir(parents=True)
        table.write_batches(source.read_batches(wanted, since), wanted, since, now)
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise LabelsUnreachable(
            f"{source.where}: labels cannot be kept in {folder}: {make_visible(error, 200)}"
        ) from error
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return table


def load_answers(data: Data, root: Path, path: str = name_report("split")) -> Answers | None:
    """Load what the two labels of the target are called; None where it is a truth, or 0 and 1.

    Raises `LabelsError` where `data.positive` is named and main's split does not say what the other one is.
    """
    if data.positive is None:
        return None
    try:
        report = evidence.load_if_there(root / path, evidence.SplitReport, path)
    except evidence.EvidenceError as error:
        raise LabelsError(str(error)) from error
    if report is None or report.answers is None:
        raise LabelsError(
            f"{path}: answers: expected what yes and no are called, data.positive is {write_label(data.positive)!r}; "
            "run `dvc repro` and commit the report"
        )
    return report.answers


def load_classes(data: Data, root: Path, path: str = name_report("split")) -> tuple[str, ...]:
    """Load what several classes are called; none for another task.

    Raises `LabelsError` where main's split does not name them.
    """
    if data.task != "multiclass":
        return ()
    try:
        report = evidence.load_if_there(root / path, evidence.SplitReport, path)
    except evidence.EvidenceError as error:
        raise LabelsError(str(error)) from error
    if report is None or not report.classes:
        raise LabelsError(
            f"{path}: classes: expected the names of the classes; run `dvc repro` and commit the report"
        )
    return tuple(report.classes)


def find_wanted_columns(settings: Labels, data: Data) -> WantedColumns:
    """Return the columns that the labels' source must have."""
    target = settings.target or data.target or "label"
    derived = data.derive.get(target)
    return WantedColumns(settings.join, target, settings.time, None if derived is None else str(derived))


@dataclass
class JoinResult:
    """Predictions with `label` and `age`, batch by batch; `days` is complete once all batches were taken.

    `label` is null where no label came, or where labels contradict each other. `age` is in days of the calendar in UTC
    (0: the same day); it is there only where labels say when they became known.
    """

    batches: Iterator[pa.RecordBatch]
    days: dict[JoinedKey, JoinedDay]


def join_labels(
    predictions: Iterable[pa.RecordBatch],
    labels: LabelTable,
    *,
    now: datetime,
    times: Collection[str] = (),
) -> JoinResult:
    """Join labels to predictions as the log has them, in any order and any number of calls.

    `times` are the columns that the data contract calls datetime. Predictions with the same key all get its label:
    asked twice, or answered by two versions. A key of which a part is missing joins nothing.
    """
    days: dict[JoinedKey, JoinedDay] = defaultdict(JoinedDay)
    return JoinResult(_join_batches(predictions, labels, days, frozenset(times), now=now), days)


def _join_batches(
    predictions: Iterable[pa.RecordBatch],
    labels: LabelTable,
    days: dict[JoinedKey, JoinedDay],
    times: frozenset[str],
    *,
    now: datetime,
) -> Iterator[pa.RecordBatch]:
    for whole in predictions:
        for start in range(0, whole.num_rows, PROBE_ROWS):
            yield _join_batch(whole.slice(start, PROBE_ROWS), labels, days, times, now=now)


def _join_batch(
    batch: pa.RecordBatch,
    labels: LabelTable,
    days: dict[JoinedKey, JoinedDay],
    times: frozenset[str],
    *,
    now: datetime,
) -> pa.RecordBatch:
    import pyarrow as pa

    kinds = find_kinds(batch.schema, labels.settings.join, times | labels.times)
    made = convert_times(batch.column(TIME))
    if kinds is None:
        found, named = _find_nothing(batch.num_rows), np.zeros(batch.num_rows, dtype=bool)
    else:
        hasher, index = labels.open_index(kinds)
        keys = hasher.hash_columns([batch.column(name) for name in labels.settings.join], kinds)
        found, named = index.find_labels(keys), keys.valid
    before = made - found.known
    known = found.there & (found.known != NO_TIME)
    absurd = known & (before > ABSURD_DAYS * DAY)
    labelled = found.there & ~found.contradicted & ~absurd
    labels.tally.absurd += int(absurd.sum())
    labels.tally.early += int((known & ~absurd & (before > 0) & ~_is_same_date(made, found.known)).sum())
    labels.note_hits(found.rows[found.there & ~absurd])
    marks = {
        "labelled": labelled,
        "duplicated": labelled & found.duplicated,
        "contradicted": found.there & found.contradicted & ~absurd,
        "unjoinable": ~named,
    }
    _count_days(batch, made, marks, days)
    joined = batch.append_column(LABEL, pa.array(found.labels, mask=~labelled))
    if labels.timed:
        ages = np.minimum(found.known, _count_microseconds(now)) // DAY - made // DAY
        joined = joined.append_column(
            AGE, pa.array(np.maximum(ages, 0).astype(np.int32), mask=~(labelled & known))
        )
    return joined


def _is_same_date(made: NDArray[np.int64], known: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether a label says no time of its day, only the date, and that is its prediction's: it may have come after."""
    return (known % DAY == 0) & (known // DAY == made // DAY)


def _find_nothing(rows: int) -> Found:
    never = np.zeros(rows, dtype=bool)
    return Found(
        there=never,
        labels=np.zeros(rows),
        known=np.full(rows, NO_TIME),
        rows=np.zeros(rows, dtype=np.int64),
        duplicated=never,
        contradicted=never,
    )


def _count_days(
    batch: pa.RecordBatch,
    made: NDArray[np.int64],
    marks: Mapping[str, NDArray[np.bool_]],
    days: dict[JoinedKey, JoinedDay],
) -> None:
    """Add a batch's rows to the counts of their days and versions."""
    import pyarrow as pa

    table = pa.table(
        {
            "day": pa.array(made // DAY),
            "version": batch.column(VERSION),
            "onnx": batch.column(ONNX),
            **{name: pa.array(mark.astype(np.int64)) for name, mark in marks.items()},
        }
    )
    counted = table.group_by(["day", "version", "onnx"]).aggregate(
        [([], "count_all"), *((name, "sum") for name in marks)]
    )
    for row in counted.to_pylist():
        day = days[_name_day(row["day"] * DAY), str(row["version"]), str(row["onnx"])]
        day.predicted += row["count_all"]
        for name in marks:
            setattr(day, name, getattr(day, name) + row[f"{name}_sum"])
