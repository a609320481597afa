"""Makes `split.json` from tables of rows: how many train and judge, and digests of what they are."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from bots.derive.predictions import find_target
from bots.derive.tables import DeriveError, write_names, write_value
from bots.evidence import Part, SplitReport
from bots.stats.predictions import PredictionsError, get_class_names
from bots.stats.split_columns import PLAIN_ROW
from bots.stats.targets import get_target

if TYPE_CHECKING:
    import pyarrow

    from bots.derive.predictions import Judged
    from bots.derive.tables import Rows
    from bots.settings import Settings


_DATE: Final = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}([T ].*)?$"
_UNTOLD: Final = "split.json does not say that the split is by time"
_EXAMPLES: Final = "2024-07-01, or with a time of day 2024-07-01T08:30"


@dataclass(frozen=True)
class Ends:
    """The first and the last of a column of times, as they are compared and as the table writes them.

    `zoned` says whether they name a time zone, None of numbers; `gaps` how many rows have no time.
    """

    first: Any
    last: Any
    written: tuple[str, str]
    zoned: bool | None
    days: bool
    gaps: int


@dataclass(frozen=True)
class Order:
    """The times of the rows that judge and of those that train, whether all of these are earlier, and why not."""

    judging: Ends | None = None
    learning: Ends | None = None
    by_time: bool = False
    note: str | None = None


def find_order(holdout: Rows | None, training: Rows | None, time: str | None) -> Order:
    """Hold the times of both tables against each other; `time` is the column of their times.

    Raises `DeriveError` for a column that is not there, that holds no times, or that is another kind in each table.
    """
    if time is None:
        return Order()
    judging = None if holdout is None else _find_ends(holdout, time)
    learning = None if training is None else _find_ends(training, time)
    if holdout is None or training is None:
        return Order(judging, learning)
    if judging is None or learning is None:
        empty = (holdout if judging is None else training).path
        return Order(judging, learning, note=f"{_UNTOLD}: no row of {empty} has a {time}")
    if judging.zoned != learning.zoned:
        kinds = {None: "numbers", True: "times with a zone", False: "times without a zone"}
        raise DeriveError(
            f"{time}: {kinds[learning.zoned]} in {training.path} and {kinds[judging.zoned]} in {holdout.path}: write "
            "them alike in both"
        )
    reasons = [
        f"{ends.gaps:,} rows of {rows.path} have no {time}"
        for rows, ends in ((training, learning), (holdout, judging))
        if ends.gaps
    ]
    if not _are_earlier(learning.last, judging.first, days=judging.days or learning.days):
        reasons.append(
            f"the last {time} of {training.path} ({learning.written[1]}) is not earlier than the first of "
            f"{holdout.path} ({judging.written[0]})"
        )
    note = f"{_UNTOLD}: {'; '.join(reasons)}" if reasons else None
    return Order(judging, learning, by_time=not reasons, note=note)


def _are_earlier(last: Any, first: Any, *, days: bool) -> bool:
    """Whether one time is before another: by whole days, where one table tells no more."""
    return bool(last.date() < first.date()) if days else bool(last < first)


def build_split_report(
    judged: Judged, holdout: Rows | None, training: Rows | None, settings: Settings, order: Order
) -> SplitReport:
    """Describe the rows that judge and, where they are told, those that train.

    The split is by time where the order says so; else nobody tells how it was made. Raises `DeriveError`.
    """
    if settings.task == "scores" and holdout is None:
        raise DeriveError(
            "--holdout FILE: name the table of the rows that judge: where rows bring their metrics, only their whole "
            "table tells whether the holdout is the same"
        )
    whole = holdout if settings.task == "scores" else None
    parts = [_describe_holdout(judged, order.judging, whole)]
    if training is not None:
        parts.insert(0, _describe_training(training, judged, settings, order.learning))
    return SplitReport(
        by="time" if order.by_time else None,
        parts=parts,
        unlabelled=0,
        answers=judged.answers,
        classes=list(judged.classes),
    )


def _describe_holdout(judged: Judged, ends: Ends | None, whole: Rows | None) -> Part:
    """The holdout is the same while the same rows have the same target, whatever other columns say.

    Where rows bring their metrics nobody knows which column has the truth: then it is the `whole` table, if there is.
    """
    import pyarrow
    import pyarrow.compute as arrow

    columns = [name for name in (PLAIN_ROW, "target") if name in judged.table.column_names]
    known = judged.table.select(columns)
    order = arrow.sort_indices(known, sort_keys=[(PLAIN_ROW, "ascending")])
    several, told = bool(judged.classes), "target" in columns
    return Part(
        name="holdout",
        rows=len(judged.table),
        digest=compute_digest(
            whole.table if whole else pyarrow.table(known.take(order).columns, names=columns)
        ),
        **_write_ends(ends),
        target=None if several or not told else float(judged.target.mean()),
        classes=_count_shares(judged.target, len(judged.classes)) if several else [],
    )


def _describe_training(training: Rows, judged: Judged, settings: Settings, ends: Ends | None) -> Part:
    if settings.task == "scores":
        digest, rows = compute_digest(training.table), len(training)
        return Part(name="train", rows=rows, digest=digest, **_write_ends(ends), target=None, classes=[])
    column, classes = find_target(training, settings), judged.classes
    if column is None:
        wanted = settings.data.target or "target"
        raise DeriveError(
            f"{training.path}: no column `{wanted}`: write the target of the rows that train there, too"
        )
    try:
        positive = settings.data.positive
        target = get_target(training.table, column, training.path, positive, classes)
    except PredictionsError as error:
        raise DeriveError(f"{error}{_suggest_class(training, column, judged)}") from error
    known = target[np.isfinite(target)]
    mean = float(known.mean()) if len(known) and not classes else None
    return Part(
        name="train",
        rows=len(training),
        digest=compute_digest(training.table),
        **_write_ends(ends),
        target=mean,
        classes=_count_shares(known, len(classes)) if classes and len(known) else [],
    )


def _suggest_class(training: Rows, column: str, judged: Judged) -> str:
    """What to do where the rows that train have classes that no prediction is of."""
    if not judged.classes:
        return ""
    found = get_class_names(training.table, column, training.path).dictionary.to_pylist()
    more = sorted({str(name) for name in found if name} - set(judged.classes))
    return f"; write a column `score:{more[0]}` in the predictions, too" if more else ""


def _count_shares(places: np.ndarray, classes: int) -> list[float]:
    counts = np.bincount(places.astype(np.int64), minlength=classes)
    return [float(share) for share in counts / counts.sum()]


def _find_ends(rows: Rows, time: str) -> Ends | None:
    """The first and the last time of these rows, None where none has one. Raises `DeriveError`."""
    import pyarrow
    import pyarrow.compute as arrow

    if time not in rows.columns:
        raise DeriveError(f"{rows.path}: no column `{time}`, which --time names")
    column = rows.table[time]
    times = _read_times(column, f"{rows.path}: {time}")
    if times.null_count == len(times):
        return None
    found = arrow.min_max(times)
    at = [arrow.index(times, found[name]).as_py() for name in ("min", "max")]
    is_time = pyarrow.types.is_timestamp(times.type)
    days = is_time and bool(arrow.all(arrow.equal(arrow.floor_temporal(times, unit="day"), times)).as_py())
    return Ends(
        first=found["min"].as_py(),
        last=found["max"].as_py(),
        written=(write_value(column[at[0]].as_py()), write_value(column[at[1]].as_py())),
        zoned=times.type.tz is not None if is_time else None,
        days=days,
        gaps=times.null_count,
    )


def _read_times(column: pyarrow.ChunkedArray, name: str) -> pyarrow.ChunkedArray:
    """A column as points in time, or as numbers, where it has numbers; a gap is null. Raises `DeriveError`."""
    import pyarrow
    import pyarrow.compute as arrow
    from pyarrow import types

    kind = column.type
    if types.is_integer(kind) or types.is_floating(kind):
        numbers = column.cast(pyarrow.float64())
        return arrow.if_else(arrow.is_finite(numbers), numbers, pyarrow.scalar(None, pyarrow.float64()))
    if types.is_timestamp(kind):
        return column.cast(pyarrow.timestamp("us", kind.tz), safe=False)
    if types.is_date(kind):
        return column.cast(pyarrow.timestamp("us"))
    if not (types.is_string(kind) or types.is_large_string(kind)):
        raise DeriveError(f"{name}: expected dates such as {_EXAMPLES}, got {kind}")
    texts = column.cast(pyarrow.string())
    strange = texts.filter(arrow.invert(arrow.match_substring_regex(texts, _DATE)))
    if len(strange):
        raise DeriveError(f"{name}: expected dates such as {_EXAMPLES}, got {strange[0].as_py()!r}")
    for wanted in (pyarrow.timestamp("ns"), pyarrow.timestamp("ns", "UTC"), pyarrow.timestamp("us")):
        try:
            return texts.cast(wanted).cast(pyarrow.timestamp("us", wanted.tz), safe=False)
        except pyarrow.ArrowException as error:
            said = str(error)
    raise DeriveError(f"{name}: expected dates such as {_EXAMPLES}, all with a time zone or none ({said})")


def _write_ends(ends: Ends | None) -> dict[str, str]:
    return {} if ends is None else {"first": ends.written[0], "last": ends.written[1]}


def compute_digest(table: pyarrow.Table) -> str:
    """`sha256:…` of a table's content: columns in the order of their names, values as the texts that they are read as.

    The same rows in the same order have the same digest, whether they came as CSV or Parquet.
    """
    import pyarrow
    import pyarrow.compute as arrow

    found = hashlib.sha256()
    for name in sorted(table.column_names):
        column = table[name]
        if pyarrow.types.is_integer(column.type) or pyarrow.types.is_boolean(column.type):
            column = column.cast(pyarrow.float64())
        if pyarrow.types.is_floating(column.type):
            texts = column.cast(pyarrow.float64())
            numbers = np.asarray(arrow.fill_null(texts, np.nan).to_numpy(zero_copy_only=False), dtype="<f8")
            content = np.where(np.isnan(numbers), np.nan, numbers + 0.0).astype("<f8").tobytes()
        else:
            texts = arrow.fill_null(write_names(column), "")
            lengths = np.asarray(arrow.binary_length(texts).to_numpy(zero_copy_only=False), dtype="<i8")
            content = lengths.tobytes() + "".join(texts.to_pylist()).encode()
        found.update(name.encode() + b"\0" + len(content).to_bytes(8, "little"))
        found.update(content)
    return "sha256:" + found.hexdigest()
