"""Reads the rows that confirm an improvement: those of the production part that have labels."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from bots.stats.predictions import (
    SLICE,
    WEIGHT,
    PredictionsError,
    get_class_names,
    get_numbers,
    make_predictions,
    open_table,
    read_table,
)
from bots.stats.split_columns import PLAIN_ROW, ROW, find_row_column
from bots.stats.targets import get_target

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pyarrow
    from numpy.typing import NDArray

    from bots.settings import Settings
    from bots.stats.metrics import Floats
    from bots.stats.predictions import Predictions

TARGET: Final = "target"
MOST_ROWS: Final = 100_000
"""So many rows are asked at most. They lie evenly over the table, so that each time gives the same ones."""


def draw_labelled_rows(path: Path, name: str, policy: Settings) -> pyarrow.Table:
    """Draw the rows that have a target, with all their columns; none of them where no row has one.

    Messages call the table `name`. Raises `PredictionsError` where it cannot be read, or lacks a column that is needed.
    """
    import pyarrow

    target, together, weight = policy.data.target or TARGET, policy.gate.resample, policy.data.weight
    with open_table(path, name) as file:
        schema = file.schema_arrow
        wanted = {
            find_row_column(schema.names),
            target,
            *({together} - {"rows"}),
            *([weight] if weight else []),
        }
        missing = wanted - set(schema.names)
        if missing:
            raise PredictionsError(f"{name}: no column {', '.join(sorted(missing))}")
        labelled = np.flatnonzero(_find_labelled(file.read([target]), target, name, policy))
    chosen = labelled[
        np.arange(min(len(labelled), MOST_ROWS)) * len(labelled) // min(len(labelled), MOST_ROWS)
    ]
    drawn, start = [], 0
    with open_table(path, name) as file:
        for batch in file.iter_batches():
            inside = chosen[(chosen >= start) & (chosen < start + len(batch))] - start
            drawn.append(batch.take(pyarrow.array(inside)))
            start += len(batch)
    return pyarrow.Table.from_batches(drawn, schema=schema)


def _find_labelled(table: pyarrow.Table, target: str, name: str, policy: Settings) -> NDArray[np.bool_]:
    """Which rows have a target, (n,)."""
    if policy.task != "multiclass":
        return np.isfinite(get_target(table, target, name, policy.data.positive))
    labels = get_class_names(table, target, name)
    return np.array([bool(label) for label in labels.to_pylist()], dtype=np.bool_)


def count_missing_rows(wanted: Path, path: Path, name: str) -> int:
    """Count the rows of a table that another table lacks, by their names. Raises `PredictionsError`."""
    import pyarrow
    import pyarrow.compute as arrow

    tables = [read_table(one, name, [ROW, PLAIN_ROW]) for one in (wanted, path)]
    if not all(table.column_names for table in tables):
        raise PredictionsError(f"{name}: no column {ROW} or {PLAIN_ROW}")
    texts = [table[find_row_column(table.column_names)].cast(pyarrow.string()) for table in tables]
    if not len(texts[1]):
        return len(texts[0])
    return int(arrow.index_in(texts[0], value_set=texts[1].combine_chunks()).null_count)


def pair_scores(
    rows: pyarrow.Table,
    name: str,
    *,
    champion: Floats,
    candidate: Floats,
    policy: Settings,
    thresholds: tuple[float | None, float | None],
    classes: Sequence[str] = (),
) -> Predictions:
    """Both models' scores in the order of the rows, (n,) each or (n, k) of these classes, as a comparison takes them.

    `thresholds` are the champion's and the candidate's. Raises `PredictionsError`.
    """
    import pyarrow

    together = policy.gate.resample
    target = get_target(rows, policy.data.target or TARGET, name, policy.data.positive, classes)
    columns = {PLAIN_ROW: rows[find_row_column(rows.column_names)]}
    if (weight := policy.data.weight) is not None:
        columns[WEIGHT] = get_numbers(rows, weight, name)
    if together != "rows":
        columns[SLICE + together] = rows[together].cast(pyarrow.string())
    own = make_predictions(
        pyarrow.table(columns),
        name,
        scores=candidate,
        classes=classes,
        target=target,
        task=policy.task,
        slices=[],
        resample=together,
        days_together=policy.gate.days_together,
        threshold=thresholds[1],
        costs=policy.evaluate.costs,
        bins=policy.evaluate.calibration_bins,
    )
    return replace(own, champion=champion, champion_threshold=thresholds[0])
