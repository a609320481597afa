"""From prediction tables to the comparison: read, line up by row, hand to the statistics."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.compute as arrow
import pyarrow.parquet as parquet
from numpy.typing import NDArray

from bots import compare
from bots.champion import PREDICTIONS, ChampionUnavailable
from bots.compare import Comparison, PredictionsError
from bots.evidence import MetricsReport
from bots.settings import Settings

SLICE = "slice:"

__all__ = ["HoldoutPredictions", "PredictionsError", "of"]


@dataclass(frozen=True)
class HoldoutPredictions:
    """The candidate's predictions on its holdout: columns `row`, `target`, `score`, and labels `slice:<column>`."""

    table: pyarrow.Table
    settings: Settings
    units: dict[str, str | None]

    def disagreements(self, written: MetricsReport) -> tuple[str, ...]:
        """Where metrics.json says something else than the predictions beside it."""
        own = compare.Predictions(
            task=self.settings.task,
            target=_numbers(self.table, "target"),
            candidate=_numbers(self.table, "score"),
            candidate_threshold=written.threshold,
            costs=written.costs[0] if written.costs else None,
            bins=self.settings.evaluate.calibration_bins,
        )
        return tuple(compare.disagreements(written.values, own))

    def alone(self, policy: Settings, threshold: float | None) -> Comparison:
        """The candidate's own figures, where there is no champion to hold it against."""
        return compare.compare(self._with(policy, None, None, threshold), policy)

    def against(
        self, champion: pyarrow.Table, theirs: float | None, policy: Settings, threshold: float | None
    ) -> Comparison:
        """The candidate against main's scores for the same rows, each at its own decision threshold."""
        return compare.compare(self._with(policy, self._line_up(champion), theirs, threshold), policy)

    def _with(
        self, policy: Settings, champion: NDArray[Any] | None, theirs: float | None, threshold: float | None
    ) -> compare.Predictions:
        slices = {
            column: self._labels(column, "main's params.yaml judges slices by it")
            for column in policy.evaluate.slices
        }
        resample = policy.gate.resample
        return compare.Predictions(
            task=policy.task,
            target=_numbers(self.table, "target"),
            candidate=_numbers(self.table, "score"),
            champion=champion,
            slices=slices,
            clusters=None if resample == "rows" else self._labels(resample, "main's gate resamples by it"),
            champion_threshold=theirs,
            candidate_threshold=threshold,
            costs=policy.evaluate.costs,
            bins=policy.evaluate.calibration_bins,
            units=self.units,
        )

    def _labels(self, column: str, why: str) -> NDArray[Any]:
        if SLICE + column not in self.table.column_names:
            raise PredictionsError(f"{PREDICTIONS}: expected a column {SLICE + column!r}, because {why}")
        return np.asarray(self.table[SLICE + column].cast(pyarrow.string()).to_numpy(zero_copy_only=False))

    def _line_up(self, champion: pyarrow.Table) -> NDArray[Any]:
        """Main's scores in this table's row order; refuses rows that main did not score."""
        if missing := {"row", "score"} - set(champion.column_names):
            raise ChampionUnavailable(f"main's predictions have no column {', '.join(sorted(missing))}")
        if self.table["row"].equals(champion["row"]):
            return _numbers(champion, "score")
        at = arrow.index_in(self.table["row"], value_set=champion["row"].combine_chunks())
        if at.null_count:
            raise ChampionUnavailable(
                f"main's model did not score {at.null_count:,} of {len(at):,} holdout rows"
            )
        return np.take(_numbers(champion, "score"), at.to_numpy())


def of(root: Path, settings: Settings, evaluation: MetricsReport) -> HoldoutPredictions:
    """Read the candidate's predictions. Raises `PredictionsError` for a file that is missing, broken or partial."""
    path = root / PREDICTIONS
    try:
        table = parquet.read_table(path)
    except (OSError, pyarrow.ArrowException) as error:
        raise PredictionsError(f"{PREDICTIONS}: not a readable Parquet table ({error})") from error
    if missing := {"row", "target", "score"} - set(table.column_names):
        raise PredictionsError(
            f"{PREDICTIONS}: expected the columns row, target, score; no {', '.join(sorted(missing))}"
        )
    if arrow.count_distinct(table["row"]).as_py() != len(table):
        raise PredictionsError(f"{PREDICTIONS}: expected each row once; some stand twice")
    return HoldoutPredictions(table, settings, {metric.name: metric.unit for metric in evaluation.metrics})


def _numbers(table: pyarrow.Table, column: str) -> NDArray[Any]:
    try:
        return np.asarray(table[column].cast(pyarrow.float64()).to_numpy(zero_copy_only=False))
    except pyarrow.ArrowException as error:
        raise PredictionsError(f"{PREDICTIONS}: {column}: expected numbers ({error})") from error
