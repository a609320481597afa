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


@dataclass(frozen=True)
class _Ends:
    """The first and the last value of a column of times: texts, dates or numbers, as the table has them."""

    first: Any
    last: Any


def build_split_report(
    judged: Judged, holdout: Rows | None, training: Rows | None, settings: Settings, time: str | None = None
) -> SplitReport:
    """Describe the rows that judge and, where they are told, those that train; `time` is the column of their times.

    The split is by time where all rows that train are earlier than those that judge; else nobody tells how it was made.
    Raises `DeriveError`.
    """
    judging, learning = _find_ends(holdout, time), _find_ends(training, time)
    whole = holdout if settings.task == "scores" else None
    parts = [_describe_holdout(judged, judging, whole)]
    if training is not None:
        parts.insert(0, _describe_training(training, judged, settings, learning))
    in_order = judging is not None and learning is not None and bool(learning.last <= judging.first)
    return SplitReport(
        by="time" if in_order else None,
        parts=parts,
        unlabelled=0,
        answers=judged.answers,
        classes=list(judged.classes),
    )


def _describe_holdout(judged: Judged, ends: _Ends | None, whole: Rows | None) -> Part:
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


def _describe_training(training: Rows, judged: Judged, settings: Settings, ends: _Ends | None) -> Part:
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


def _find_ends(rows: Rows | None, time: str | None) -> _Ends | None:
    """The first and the last time of these rows. Raises `DeriveError` where they have no such column, or no times."""
    import pyarrow
    import pyarrow.compute as arrow

    if rows is None or time is None:
        return None
    if time not in rows.columns:
        raise DeriveError(f"{rows.path}: no column `{time}`, which --time names")
    column = rows.table[time]
    if pyarrow.types.is_string(column.type):
        strange = column.filter(arrow.invert(arrow.match_substring_regex(column, _DATE)))
        if len(strange):
            raise DeriveError(
                f"{rows.path}: {time}: expected dates such as 2024-07-01, or with a time of day 2024-07-01T08:30, got "
                f"{strange[0].as_py()!r}"
            )
    found = arrow.min_max(column).as_py()
    return None if found["min"] is None else _Ends(found["min"], found["max"])


def _write_ends(ends: _Ends | None) -> dict[str, str]:
    return {} if ends is None else {"first": write_value(ends.first), "last": write_value(ends.last)}


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
