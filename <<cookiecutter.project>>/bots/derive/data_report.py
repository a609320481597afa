"""Makes `data.json` from tables of rows: what each column looks like, and what is wrong or unusual in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from bots.derive.parts import compute_digest
from bots.derive.tables import write_names
from bots.evidence import ColumnProfile, DataReport, Finding
from bots.stats.split_columns import PLAIN_ROW
from bots.stats.targets import write_label

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow

    from bots.derive.schema import Column, Schema
    from bots.derive.tables import Rows

_SHOWN = 5
Kind = Literal["number", "category", "datetime", "boolean", "text"]


def build_data_report(holdout: Rows, training: Rows | None, schema: Schema) -> DataReport:
    """Describe the columns of both tables, and hold them against each other and against schema.yaml.

    That rows have distinct names and targets was checked before: without them there is no report.
    """
    parts = [part for part in (training, holdout) if part is not None]
    names = [
        name for name in dict.fromkeys(name for part in parts for name in part.columns) if name != PLAIN_ROW
    ]
    findings = [one for name in names for one in _check_column(name, parts, schema)]
    return DataReport(
        passed=all(one.severity != "error" for one in findings),
        row=schema.row or None,
        moment=schema.moment,
        rows=sum(map(len, parts)),
        digest=compute_digest(holdout.table),
        checks=len(names) * 3 + len(parts),
        findings=findings[:500],
        columns=[_profile_column(name, parts, schema.find_column(name)) for name in names],
    )


def find_kind(column: pyarrow.ChunkedArray, said: Column) -> Kind:
    """What a column is: as schema.yaml says, else by the type of its values."""
    import pyarrow

    if said.type is not None:
        return said.type
    kind = column.type
    if pyarrow.types.is_boolean(kind):
        return "boolean"
    if pyarrow.types.is_integer(kind) or pyarrow.types.is_floating(kind):
        return "number"
    return "datetime" if pyarrow.types.is_temporal(kind) else "category"


def read_numbers(column: pyarrow.ChunkedArray) -> np.ndarray:
    """A column of numbers or truths as float64, NaN where there is no value."""
    import pyarrow
    import pyarrow.compute as arrow

    known = arrow.fill_null(column.cast(pyarrow.float64()), np.nan)
    return np.asarray(known.to_numpy(zero_copy_only=False))


def _list_columns(name: str, parts: list[Rows]) -> list[pyarrow.ChunkedArray]:
    return [part.table[name] for part in parts if name in part.columns]


def _profile_column(name: str, parts: list[Rows], said: Column) -> ColumnProfile:
    """What a column looks like; of a personal one no value is shown."""
    import pyarrow
    import pyarrow.compute as arrow

    columns = _list_columns(name, parts)
    kind = find_kind(columns[-1], said)
    texts = pyarrow.chunked_array(
        [chunk for one in columns for chunk in write_names(one).chunks], pyarrow.string()
    )
    low = high = None
    if not said.personal and all(_is_number(one) for one in columns):
        numbers = np.concatenate([read_numbers(one) for one in columns])
        known = numbers[np.isfinite(numbers)]
        low, high = (float(known.min()), float(known.max())) if len(known) else (None, None)
    return ColumnProfile(
        name=name[:200],
        type=kind,
        missing=texts.null_count / len(texts),
        distinct=arrow.count_distinct(texts, mode="only_valid").as_py(),
        low=low,
        high=high,
        description=said.description[:4_000],
        unit=said.unit,
        known=said.known,
        personal=said.personal,
    )


def _is_number(column: pyarrow.ChunkedArray) -> bool:
    import pyarrow

    kind = column.type
    return bool(
        pyarrow.types.is_integer(kind) or pyarrow.types.is_floating(kind) or pyarrow.types.is_boolean(kind)
    )


def _check_column(name: str, parts: list[Rows], schema: Schema) -> Iterator[Finding]:
    """What is wrong with a column: no value at all, numbers in one table and text in the other, beyond its bounds."""
    said, columns = schema.find_column(name), _list_columns(name, parts)
    label = name[:200]
    if all(column.null_count == len(column) for column in columns):
        yield Finding(
            check="values", severity="warning", column=label, message=f"{label} has no value in any row"
        )
        return
    if len({_is_number(column) for column in columns}) > 1:
        yield Finding(
            check="type",
            severity="error",
            column=label,
            message=f"{label} is numbers in one table and text in the other: write it alike in both",
        )
        return
    if said.range is not None and all(map(_is_number, columns)):
        yield from _check_range(label, np.concatenate([read_numbers(one) for one in columns]), said)
    if said.categories is not None:
        yield from _check_categories(label, columns, said)


def _check_range(label: str, numbers: np.ndarray, said: Column) -> Iterator[Finding]:
    low, high = said.range or (None, None)
    off = (numbers < (-np.inf if low is None else low)) | (numbers > (np.inf if high is None else high))
    if off.any():
        yield Finding(
            check="range",
            severity="error",
            column=label,
            message=f"{label} has {int(off.sum()):,} values outside of what schema.yaml allows",
            expected=f"{'any' if low is None else f'{low:g}'} to {'any' if high is None else f'{high:g}'}",
            found=None if said.personal else write_label(float(numbers[off][0])),
            rows=int(off.sum()),
        )


def _check_categories(label: str, columns: list[pyarrow.ChunkedArray], said: Column) -> Iterator[Finding]:
    found = {text for one in columns for text in write_names(one).unique().to_pylist() if text is not None}
    strange = sorted(found - set(said.categories or []))
    if strange:
        shown = [] if said.personal else [text[:200] for text in strange[:_SHOWN]]
        yield Finding(
            check="category",
            severity="error",
            column=label,
            message=f"{label} has {len(strange):,} values that schema.yaml does not list",
            examples=shown,
        )
