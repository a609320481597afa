"""Reads the predictions that were reviewed: each row's score, and how wide each metric's confidence interval is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from threadpoolctl import threadpool_limits

from bots.stats import bootstrap, metrics
from bots.stats.bootstrap import Predictions, PredictionsError

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow
    from numpy.typing import NDArray

    from bots.settings import Settings
    from bots.stats.metrics import Floats


def load_reviewed_scores(path: Path, row: NDArray[Any]) -> Floats | None:
    """Load the scores that were reviewed, in the order of these rows; None where they are about other rows."""
    import pyarrow
    import pyarrow.compute as arrow
    import pyarrow.parquet as parquet

    found = parquet.read_table(path, columns=["row", "score"])
    at = arrow.index_in(pyarrow.array(row), value_set=found["row"].cast(pyarrow.string()).combine_chunks())
    if at.null_count or len(found) != len(row):
        return None
    return _to_numbers(found["score"].take(at))


def estimate_half_widths(path: Path, settings: Settings, threshold: float | None) -> dict[str, float]:
    """Estimate half the width of each metric's confidence interval, by the review's own bootstrap.

    A metric without an interval is left out; all are where the predictions are not valid ones.
    """
    import pyarrow.parquet as parquet

    gate = settings.gate
    chosen = [
        metrics.MEASURES[name]
        for name in settings.evaluate.metrics
        if settings.task in metrics.MEASURES[name].tasks
    ]
    try:
        predictions = _read_predictions(parquet.read_table(path), settings, threshold)
    except PredictionsError:
        return {}
    units = bootstrap.number_units(predictions.clusters, len(predictions.target))
    with threadpool_limits(1):
        found = bootstrap.estimate_intervals(
            predictions,
            chosen,
            units=units,
            rows=np.arange(len(units)),
            replicates=gate.replicates,
            confidence=gate.confidence,
        )
    return {
        measure.name: (interval.high - interval.low) / 2
        for measure, interval in zip(chosen, found, strict=True)
        if interval.low is not None and interval.high is not None
    }


def _read_predictions(table: pyarrow.Table, settings: Settings, threshold: float | None) -> Predictions:
    import pyarrow

    evaluate, column = settings.evaluate, f"slice:{settings.gate.resample}"
    try:
        target, score = _to_numbers(table["target"]), _to_numbers(table["score"])
    except (pyarrow.ArrowException, KeyError) as error:
        raise PredictionsError(f"expected numbers ({error})") from error
    clusters = None
    if settings.gate.resample != "rows" and column in table.column_names:
        clusters = np.asarray(table[column].cast(pyarrow.string()).to_numpy(zero_copy_only=False))
    return Predictions(
        task=settings.task,
        target=target,
        candidate=score,
        clusters=clusters,
        candidate_threshold=threshold,
        costs=evaluate.costs,
        bins=evaluate.calibration_bins,
    )


def _to_numbers(column: pyarrow.ChunkedArray) -> Floats:
    import pyarrow

    return np.asarray(column.cast(pyarrow.float64()).to_numpy(zero_copy_only=False))
