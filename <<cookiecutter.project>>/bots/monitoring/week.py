"""Chooses the newest whole week of the version that runs, and makes one table of its samples for Evidently's page.

The samples have nothing of a column that is personal or that the log leaves out. What goes into the table is chosen by
name nevertheless: the model's inputs and its score.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Struct

from bots.decoding import DECODE_ERRORS
from bots.errors import BotsError
from bots.evidence import Count, Name, Text
from bots.monitoring.summary_spec import ANSWER, FALLBACK, LARGEST, SCORE
from bots.observations import Day, DayInputs

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

    from bots.monitoring.summary_spec import SummarySpec

DAYS: Final = 7
TABLE: Final = "week.parquet"
PAGE: Final = "week.html"
_ABOUT: Final = b"week"


class WeekError(BotsError):
    """What should be the table of a week is none."""


class WeekAbout(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a table of a week is about: `rows` of `days` days are a sample of the `asked` predictions."""

    first: Day
    last: Day
    version: Name
    onnx: Text
    days: Count
    rows: Count
    asked: Count

    @property
    def name(self) -> str:
        """What the table is, in words."""
        return (
            f"{self.rows:,} of {self.asked:,} predictions by version {self.version}, {self.first} to {self.last}, "
            "drawn day by day, so that days weigh alike"
        )


def find_bounds(today: Day) -> tuple[Day, Day]:
    """Find the newest week that is over: its Monday and its Sunday."""
    known = date.fromisoformat(today)
    monday = known - timedelta(days=known.weekday() + DAYS)
    return monday.isoformat(), (monday + timedelta(days=DAYS - 1)).isoformat()


def choose_days(days: Iterable[DayInputs], running: tuple[str, str], today: Day) -> list[DayInputs]:
    """Choose the days of the newest whole week on which this version (its name, its model) was asked, in order."""
    first, last = find_bounds(today)
    chosen = [
        day for day in days if first <= day.day <= last and (day.version, day.onnx) == running and day.rows
    ]
    return sorted(chosen, key=lambda day: day.day)


def build_table(samples: Sequence[pa.Table], spec: SummarySpec) -> pa.Table:
    """Build one table of the samples: the model's inputs that are not personal, its score, and of several classes the
    one that was called.

    Numbers are float64, all else is text; what the fallback answered is none of the model's, and is left out.
    """
    import pyarrow as pa

    def read_column(sample: pa.Table, name: str, kind: pa.DataType) -> pa.Array:
        column = sample[name].combine_chunks() if name in sample.column_names else pa.nulls(len(sample), kind)
        if name in (SCORE, ANSWER):
            column = _take_out_fallback(column, sample)
        return _convert_values(column, kind)

    kinds = dict.fromkeys((name for name in spec.numbers if name not in spec.personal), pa.float64())
    kinds |= dict.fromkeys((name for name in spec.categories if name not in spec.personal), pa.string())
    kinds[SCORE] = pa.float64()
    if spec.classes and spec.class_slice is not None:
        kinds[ANSWER] = pa.string()
    there = {name for sample in samples for name in sample.column_names}
    return pa.table(
        {
            name: pa.chunked_array([read_column(sample, name, kind) for sample in samples], type=kind)
            for name, kind in kinds.items()
            if name in there
        }
    )


def _take_out_fallback(scores: pa.Array, sample: pa.Table) -> pa.Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    if FALLBACK not in sample.column_names:
        return scores
    answered = pc.invert(pc.fill_null(sample[FALLBACK].combine_chunks(), False))
    return pc.if_else(answered, scores, pa.scalar(None, scores.type))


def _convert_values(column: pa.Array, kind: pa.DataType) -> pa.Array:
    """The values as that type; null where one is none of it, or no number that float32 holds."""
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        values = column.cast(kind, safe=False)
    except pa.ArrowException:
        # Text in a column of numbers: the summaries count no number there either.
        return pa.nulls(len(column), kind)
    if not pa.types.is_floating(kind):
        return values
    usual = pc.less_equal(pc.abs(values), LARGEST)
    return pc.if_else(pc.fill_null(usual, False), values, pa.scalar(None, kind))


def describe_week(days: Sequence[DayInputs], rows: int, today: Day) -> WeekAbout:
    """Describe the table of these days."""
    first, last = find_bounds(today)
    return WeekAbout(
        first=first,
        last=last,
        version=days[0].version,
        onnx=days[0].onnx,
        days=len(days),
        rows=rows,
        asked=sum(day.rows for day in days),
    )


def write_table(table: pa.Table, about: WeekAbout) -> bytes:
    """Write a week's table as Parquet that says what it is about; the same bytes for the same rows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    said = {_ABOUT: msgspec.json.encode(about)}
    pq.write_table(table.replace_schema_metadata(said), sink, compression="zstd")
    content: bytes = sink.getvalue().to_pybytes()
    return content


def read_about(path: Path) -> WeekAbout:
    """Read what the table of a week is about. Raises `WeekError`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        said = (pq.read_schema(path).metadata or {}).get(_ABOUT)
        if said is None:
            raise WeekError(f"{path}: is not the table of a week that `python -m bots watch` wrote")
        return msgspec.json.decode(said, type=WeekAbout)
    except (pa.ArrowException, OSError, *DECODE_ERRORS) as error:
        told = " ".join(str(error).split())[:300]
        raise WeekError(f"{path}: cannot be read as the table of a week: {told}") from error
