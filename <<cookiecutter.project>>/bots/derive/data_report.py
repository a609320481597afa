"""Makes `data.json` from tables of rows: what each column looks like, and what is wrong or unusual in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from bots.derive.parts import compute_digest
from bots.derive.tables import write_names
from bots.evidence import ColumnProfile, DataReport, Finding
from bots.stats.split_columns import PLAIN_ROW
from bots.stats.targets import TRUTHS, write_label

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
    checked = [one for name in names for one in _check_column(name, parts, schema)]
    checked += list(_check_presence(parts, schema))
    findings = [one for found in checked for one in found]
    return DataReport(
        passed=all(one.severity != "error" for one in findings),
        row=schema.row or None,
        moment=schema.moment,
        rows=sum(map(len, parts)),
        digest=compute_digest(holdout.table),
        checks=len(checked) + len(parts),
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
    filled = [one for one in columns if one.null_count < len(one)] or columns
    kind = find_kind(next((one for one in filled if not _is_number(one)), filled[-1]), said)
    texts = pyarrow.chunked_array(
        [chunk for one in columns for chunk in write_names(one).chunks], pyarrow.string()
    )
    low = high = None
    if not said.personal and all(_is_number(one) for one in filled):
        numbers = np.concatenate([read_numbers(one) for one in filled])
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


def _check_column(name: str, parts: list[Rows], schema: Schema) -> Iterator[list[Finding]]:
    """What is wrong with a column, by check: the findings of each check that was made."""
    said, label = schema.find_column(name), name[:200]
    tables = [part for part in parts if name in part.columns]
    columns = [part.table[name] for part in tables]
    if said.nullable is False:
        yield list(_check_gaps(label, sum(one.null_count for one in columns)))
    filled = [part for part in tables if part.table[name].null_count < len(part)]
    if not filled:
        words = f"{label} has no value in any row"
        yield [Finding(check="values", severity="warning", column=label, message=words)]
        return
    yield []  # it has values
    columns = [part.table[name] for part in filled]
    if len(filled) > 1:
        yield list(_check_kinds(label, name, filled))
    if said.type in ("number", "boolean"):
        yield list(_check_type(label, columns, said))
    if said.range is not None and all(map(_is_number, columns)):
        yield list(_check_range(label, np.concatenate([read_numbers(one) for one in columns]), said))
    if said.categories is not None:
        yield list(_check_categories(label, columns, said))


def _check_presence(parts: list[Rows], schema: Schema) -> Iterator[list[Finding]]:
    """Whether the columns of schema.yaml are in each table; those that are known afterwards need not be."""
    for name, said in schema.columns.items():
        if name == PLAIN_ROW or said.known == "after":
            continue
        lost = [part.path for part in parts if name not in part.columns]
        words = f"{name[:200]} is in schema.yaml and not in {' and '.join(lost)}"
        yield (
            [Finding(check="columns", severity="warning", column=name[:200], message=words[:4_000])]
            if lost
            else []
        )


def _check_gaps(label: str, gaps: int) -> Iterator[Finding]:
    if gaps:
        words = f"{label} has no value in {gaps:,} rows, and schema.yaml says `nullable: false`"
        yield Finding(check="nullable", severity="error", column=label, message=words, rows=gaps)


def _check_kinds(label: str, name: str, tables: list[Rows]) -> Iterator[Finding]:
    """Numbers in a table that says so and text in the other; cells of CSV are text, which may look like numbers."""
    told = any(_is_number(one.table[name]) for one in tables if not one.path.endswith(".csv"))
    if told and not all(_is_number(one.table[name]) for one in tables):
        words = f"{label} is numbers in one table and text in the other: write it alike in both"
        yield Finding(check="type", severity="error", column=label, message=words)


def _check_type(label: str, columns: list[pyarrow.ChunkedArray], said: Column) -> Iterator[Finding]:
    """Values that are no numbers, or no truths, where schema.yaml says that all are."""
    texts = [text for one in columns for text in write_names(one).unique().to_pylist() if text is not None]
    if said.type == "number":
        strange = (
            [] if all(map(_is_number, columns)) else [text for text in texts if not _reads_as_number(text)]
        )
    else:
        strange = [text for text in texts if text.strip().lower() not in TRUTHS]
    if strange:
        yield Finding(
            check="type",
            severity="error",
            column=label,
            message=f"{label} has {len(strange):,} values that are no {said.type}, which schema.yaml says it is",
            examples=[] if said.personal else [text[:200] for text in sorted(strange)[:_SHOWN]],
        )


def _reads_as_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


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
