"""Reads the predictions that were reviewed: each row's score, and how wide each metric's confidence interval is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bots.stats import intervals, metrics, predictions
from bots.stats.predictions import PredictionsError

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow
    from numpy.typing import NDArray

    from bots.settings import Settings
    from bots.stats.metrics import Floats


def load_reviewed_scores(path: Path, row: NDArray[Any]) -> Floats | None:
    """Load the scores that were reviewed, (n,) or (n, k), in the order of these rows; None where they are about other
    rows."""
    found = _load_reviewed(path, row)
    if found is None:
        return None
    return predictions.get_scores(found, path.name, predictions.list_classes(found.column_names))


def load_reviewed_targets(path: Path, row: NDArray[Any]) -> Floats | None:
    """Load what happened, (n,), in the order of these rows, a class by its place; None where they are other rows."""
    found = _load_reviewed(path, row)
    if found is None:
        return None
    return predictions.get_targets(found, path.name, predictions.list_classes(found.column_names))


def load_reviewed_weights(path: Path, row: NDArray[Any]) -> Floats | None:
    """Load how much each row counted, in the order of these rows; None where each counts once, or rows are others."""
    found = _load_reviewed(path, row)
    return None if found is None else predictions.get_weights(found, path.name)


def list_reviewed_classes(path: Path) -> tuple[str, ...]:
    """The classes that the reviewed predictions have scores of, in order; none where they have one score a row."""
    with predictions.open_table(path, path.name) as file:
        return predictions.list_classes(file.schema_arrow.names)


def _load_reviewed(path: Path, row: NDArray[Any]) -> pyarrow.Table | None:
    import pyarrow
    import pyarrow.compute as arrow

    scores = [predictions.CLASS_SCORE + one for one in list_reviewed_classes(path)]
    found = predictions.read_table(path, path.name, ["row", "target", "score", *scores, predictions.WEIGHT])
    at = arrow.index_in(pyarrow.array(row), value_set=found["row"].cast(pyarrow.string()).combine_chunks())
    return None if at.null_count or len(found) != len(row) else found.take(at)


def estimate_half_widths(path: Path, settings: Settings, threshold: float | None) -> dict[str, float]:
    """Estimate half the width of each metric's confidence interval, as the review does.

    A metric without an interval is left out; all are where the predictions are not valid ones.
    """
    evaluate, gate = settings.evaluate, settings.gate
    try:
        judged = predictions.make_predictions(
            predictions.read_table(path, path.name),
            path.name,
            task=settings.task,
            slices=(),
            resample=gate.resample,
            days_together=gate.days_together,
            threshold=threshold,
            costs=evaluate.costs,
            bins=evaluate.calibration_bins,
        )
    except PredictionsError:
        return {}
    chosen = metrics.choose_measures(evaluate.metrics, settings.task)
    rows = intervals.choose_rows(judged)
    found = [intervals.estimate_interval(rows, measure, confidence=gate.confidence) for measure in chosen]
    return {
        measure.name: (interval.high - interval.low) / 2
        for measure, interval in zip(chosen, found, strict=True)
        if interval.low is not None and interval.high is not None
    }
