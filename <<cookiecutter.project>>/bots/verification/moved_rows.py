"""Loads what main itself knows of the rows of a holdout that moved: its own tables are the record, not the change's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bots.stats import predictions
from bots.stats.copies import KnownRows, choose_columns, find_known_rows
from bots.stats.predictions import SLICE, PredictionsError
from bots.stats.split_columns import PLAIN_ROW, PLAIN_TARGET, ROW, TARGET, find_row_column
from bots.stats.targets import get_target
from bots.verification.collection import CollectionError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    import pyarrow

    from bots.dvc.lockfile import Lock
    from bots.stats.metrics import Floats
    from bots.stats.predictions import Labels
    from bots.verification.collection import Collected
    from bots.verification.main_side import Main


@dataclass(frozen=True, eq=False)
class Record:
    """The rows of a holdout as main has them, in the order of the change's predictions.

    `unknown` of them are in no table of main's: those stand there as the change has them.
    """

    table: pyarrow.Table
    unknown: int

    def get_target(self, main: Main, classes: Sequence[str] = ()) -> Floats:
        """The target of each row, (n,), of several classes its place among these; not a number where main has none.

        Raises `PredictionsError`.
        """
        name = main.settings.data.target
        column = name if name and name in self.table.column_names else "target"
        positive = main.settings.data.positive if column == name else None
        return get_target(self.table, column, "main's rows", positive, classes)

    def find_other_labels(self, predicted: pyarrow.Table, column: str, *, by_name: bool) -> str | None:
        """Why the labels of a column are not a name for each of its values; None where they are.

        `by_name`: the labels must be those values, as far as a date goes, because their order counts.
        """
        import pyarrow

        labels = predictions.get_labels(predicted, column)
        if labels is None:
            return f"the change's predictions have no labels of {column}"
        if column not in self.table.column_names:
            return f"main's rows have no column {column} to hold its labels against"
        known = predictions.get_labels(
            pyarrow.table({SLICE + column: self.table[column].cast(pyarrow.string())}), column
        )
        assert known is not None
        if by_name and not _have_same_dates(labels, known):
            return f"the labels of {column} are not the dates that main's rows have"
        return (
            None if _are_one_to_one(labels, known) else f"the labels of {column} are not those of main's rows"
        )


def _are_one_to_one(one: Labels, other: Labels) -> bool:
    """Whether each label of one side stands for exactly one of the other."""
    pairs = np.unique(one.codes.astype(np.int64) * (len(other.names) + 1) + other.codes)
    return len(pairs) == len(np.unique(one.codes)) == len(np.unique(other.codes))


def _have_same_dates(one: Labels, other: Labels) -> bool:
    dates = [np.array([name[:10] for name in side.names], dtype=object)[side.codes] for side in (one, other)]
    return bool((dates[0] == dates[1]).all())


def load_record(
    collected: Collected, candidate: Lock, main: Main, rows: pyarrow.ChunkedArray, paths: Iterable[str]
) -> Record:
    """Load these rows from main's tables, and from the change's own holdout those that main does not have.

    Raises `CollectionError` where a table is not there, `PredictionsError` where one cannot be read, does not fit the
    others, or neither side has a row.
    """
    import pyarrow
    import pyarrow.compute as arrow

    wanted = rows.cast(pyarrow.string()).combine_chunks()
    if not (paths := list(paths)):
        raise CollectionError("main keeps no table of rows that did not train")
    tables = [
        _load_rows(collected.files.find_output(main.lock, path), f"main's {path}", wanted) for path in paths
    ]
    known = _join(tables)
    missing = wanted.filter(arrow.invert(arrow.is_in(wanted, value_set=known[ROW].combine_chunks())))
    if len(missing):
        path = main.settings.review.files.holdout_rows
        own = collected.files.find_output(candidate, path)
        known = _join([known, _load_rows(own, f"the change's {path}", missing)])
    at = arrow.index_in(wanted, value_set=known[ROW].combine_chunks())
    if at.null_count:
        raise PredictionsError(f"{at.null_count:,} rows of the predictions are in no table of rows")
    return Record(known.take(at), len(missing))


def _load_rows(path: Path, name: str, wanted: pyarrow.Array) -> pyarrow.Table:
    """The rows of a table that are wanted, their names as text in `split:row`; by batches: production may be long."""
    import pyarrow
    import pyarrow.compute as arrow

    found = []
    with predictions.open_table(path, name) as file:
        row = find_row_column(file.schema_arrow.names)
        if row not in file.schema_arrow.names:
            raise PredictionsError(f"{name}: no column `{ROW}` or `{PLAIN_ROW}` that names each row")
        for batch in file.iter_batches():
            names = batch.column(row).cast(pyarrow.string())
            part = pyarrow.Table.from_batches([batch]).set_column(
                batch.schema.get_field_index(row), ROW, names
            )
            found.append(part.filter(arrow.is_in(names, value_set=wanted)))
        empty = file.schema_arrow.empty_table()
    at = empty.schema.get_field_index(row)
    return pyarrow.concat_tables([empty.set_column(at, ROW, pyarrow.array([], pyarrow.string())), *found])


def _join(tables: list[pyarrow.Table]) -> pyarrow.Table:
    """The rows of all tables by the columns that all have."""
    import pyarrow

    shared = [name for name in tables[0].column_names if all(name in one.column_names for one in tables)]
    try:
        joined = pyarrow.concat_tables(
            [one.select(shared) for one in tables], promote_options="permissive"
        ).combine_chunks()
    except pyarrow.ArrowException as error:
        raise PredictionsError(f"the tables of rows do not fit each other: {error}") from error
    return joined


def write_record(record: Record, path: Path) -> None:
    """Write the rows as a table."""
    import pyarrow.parquet as parquet

    parquet.write_table(record.table, path)


def find_known(table: Path, record: Path, main: Main) -> KnownRows:
    """Which rows of a record a table of main's has too, by what main's model takes. Raises `PredictionsError`."""
    target = main.settings.data.target
    wanted = set(main.inputs), {TARGET, target or PLAIN_TARGET}
    return find_known_rows(table, record, choose_columns(table, record, wanted))


def write_inputs(record: Record, target: Floats, main: Main, path: Path) -> None:
    """Write the rows as a model takes them: numbers as float32, all else as text with "" for nothing."""
    import pyarrow
    import pyarrow.parquet as parquet

    columns = {ROW: record.table[ROW], TARGET: pyarrow.array(np.nan_to_num(target))}
    for name in main.inputs:
        if name in record.table.column_names:
            columns[name] = _convert_input(record.table[name])
    parquet.write_table(pyarrow.table(columns), path)


def _convert_input(column: pyarrow.ChunkedArray) -> pyarrow.ChunkedArray:
    import pyarrow
    import pyarrow.types as types

    kind = column.type.value_type if types.is_dictionary(column.type) else column.type
    if types.is_boolean(kind) or types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind):
        return column.cast(pyarrow.float64(), safe=False).cast(pyarrow.float32(), safe=False)
    return column.cast(pyarrow.string()).fill_null("")
