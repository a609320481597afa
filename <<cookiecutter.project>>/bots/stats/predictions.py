"""Reads the table of predictions on the holdout as the metrics take it: `row`, `target`, `score`, `slice:<column>`.

Without pandas, which pyarrow's shorter ways (`read_table`, `to_numpy`, any null) load: that takes longer than to read.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from bots.stats.bootstrap import Predictions, PredictionsError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import pyarrow
    from numpy.typing import NDArray

    from bots.evidence import Costs, Task

SLICE = "slice:"


def read_table(path: Path, name: str, columns: list[str] | None = None) -> pyarrow.Table:
    """Read a table, which messages call `name`. Raises `PredictionsError`."""
    import pyarrow
    import pyarrow.parquet as parquet

    try:
        with parquet.ParquetFile(path) as file:
            return file.read(columns)
    except (OSError, pyarrow.ArrowException) as error:
        raise PredictionsError(f"{name}: not a readable Parquet table ({error})") from error


def get_numbers(table: pyarrow.Table, column: str, name: str) -> NDArray[Any]:
    """A column as float64, shape (rows,). Raises `PredictionsError`."""
    import pyarrow

    try:
        known = table[column].cast(pyarrow.float64())
    except (pyarrow.ArrowException, KeyError) as error:
        raise PredictionsError(f"{name}: {column}: expected numbers ({error})") from error
    if known.null_count:
        known = known.fill_null(math.nan)
    return np.array(np.from_dlpack(known.combine_chunks()))


def get_labels(table: pyarrow.Table, column: str) -> NDArray[Any] | None:
    """The labels of a column that results are cut by, as text; None where the table has none."""
    if SLICE + column not in table.column_names:
        return None
    import pyarrow

    coded = table[SLICE + column].cast(pyarrow.string()).combine_chunks().dictionary_encode("encode")
    return np.array(coded.dictionary.to_pylist(), dtype=object)[np.from_dlpack(coded.indices)]


def make_predictions(
    table: pyarrow.Table,
    name: str,
    *,
    scores: NDArray[Any] | None = None,
    task: Task,
    slices: Iterable[str],
    resample: str,
    threshold: float | None,
    costs: Costs | None,
    bins: int,
) -> Predictions:
    """One model's predictions: its scores are the table's, or `scores` in the order of the table's rows.

    `resample` is `rows`, or the column whose rows are resampled together. Raises `PredictionsError`.
    """
    labels = {column: get_labels(table, column) for column in slices}
    return Predictions(
        task=task,
        target=get_numbers(table, "target", name),
        candidate=get_numbers(table, "score", name) if scores is None else scores,
        slices={column: known for column, known in labels.items() if known is not None},
        clusters=None if resample == "rows" else get_labels(table, resample),
        candidate_threshold=threshold,
        costs=costs,
        bins=bins,
    )
