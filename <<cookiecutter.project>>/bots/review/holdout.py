"""From prediction tables to the comparison: read, line up by row, hand to the statistics."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.compute as arrow
from numpy.typing import NDArray

from bots.evidence import MetricsReport
from bots.review import comparison
from bots.review.champion import HOLDOUT, PREDICTIONS, ChampionUnavailable
from bots.review.comparison import Comparison, PredictionsError
from bots.settings import Settings
from bots.stats import predictions

__all__ = ["HoldoutPredictions", "PredictionsError", "of"]


@dataclass(frozen=True)
class HoldoutPredictions:
    """The candidate's predictions on its holdout: columns `row`, `target`, `score`, and labels `slice:<column>`."""

    table: pyarrow.Table
    settings: Settings
    units: dict[str, str | None]

    def disagreements(self, written: MetricsReport) -> tuple[str, ...]:
        """Where metrics.json says something else than the predictions beside it."""
        own = comparison.Predictions(
            task=self.settings.task,
            target=_numbers(self.table, "target"),
            candidate=_numbers(self.table, "score"),
            candidate_threshold=written.threshold,
            costs=written.costs[0] if written.costs else None,
            bins=self.settings.evaluate.calibration_bins,
        )
        return tuple(comparison.disagreements(written.values, own))

    def alone(self, policy: Settings, threshold: float | None) -> Comparison:
        """The candidate's own figures, where there is no champion to hold it against."""
        return comparison.compare(self._with(policy, self.table, None, None, threshold), policy)

    def against(
        self,
        champion: pyarrow.Table,
        truth: pyarrow.Table | None,
        theirs: float | None,
        policy: Settings,
        threshold: float | None,
    ) -> Comparison:
        """The candidate against main's scores for the same rows, each at its own decision threshold.

        `truth` is main's own record of the same holdout: targets, slices and what is resampled are taken from it,
        so that a change cannot rewrite what it is judged by. Raises `PredictionsError` where the change says
        otherwise.
        """
        known = self.table if truth is None else self._checked(truth)
        scores = _numbers(_lined_up(champion, self.table), "score")
        return comparison.compare(self._with(policy, known, scores, theirs, threshold), policy)

    def contradictions(self, scored: pyarrow.Table, tolerance: float = 1e-6) -> tuple[str, ...]:
        """Whether the model, asked again, gives other scores than the table says."""
        again, said = _numbers(_lined_up(scored, self.table), "score"), _numbers(self.table, "score")
        off = int((np.abs(again - said) > tolerance * np.maximum(1, np.abs(said))).sum())
        if not off:
            return ()
        return (f"{PREDICTIONS} is not what the model gives: {off:,} of {len(said):,} scores differ",)

    def _checked(self, truth: pyarrow.Table) -> pyarrow.Table:
        if len(truth) != len(self.table):
            raise PredictionsError(
                f"{PREDICTIONS}: expected main's {len(truth):,} rows of the same holdout, got {len(self.table):,}"
            )
        known = _lined_up(truth, self.table)
        if off := int((_numbers(known, "target") != _numbers(self.table, "target")).sum()):
            raise PredictionsError(
                f"{PREDICTIONS}: target: expected what main's record of the same holdout says; {off:,} rows differ"
            )
        return known

    def _with(
        self,
        policy: Settings,
        known: pyarrow.Table,
        champion: NDArray[Any] | None,
        theirs: float | None,
        threshold: float | None,
    ) -> comparison.Predictions:
        made = predictions.make_predictions(
            known,
            PREDICTIONS,
            scores=_numbers(self.table, "score"),
            task=policy.task,
            slices=policy.evaluate.slices,
            resample=policy.gate.resample,
            threshold=threshold,
            costs=policy.evaluate.costs,
            bins=policy.evaluate.calibration_bins,
        )
        return replace(made, champion=champion, champion_threshold=theirs, units=self.units)


def of(root: Path, settings: Settings, evaluation: MetricsReport) -> HoldoutPredictions:
    """Read the candidate's predictions. Raises `PredictionsError` for a file that is missing, broken, or not about
    exactly the rows of the holdout."""
    table = predictions.read_table(root / PREDICTIONS, PREDICTIONS)
    if missing := {"row", "target", "score"} - set(table.column_names):
        raise PredictionsError(
            f"{PREDICTIONS}: expected the columns row, target, score; no {', '.join(sorted(missing))}"
        )
    if arrow.count_distinct(table["row"]).as_py() != len(table):
        raise PredictionsError(f"{PREDICTIONS}: expected each row once; some stand twice")
    holdout = predictions.read_table(root / HOLDOUT, str(HOLDOUT), ["row"])["row"]
    if (
        len(holdout) != len(table)
        or arrow.index_in(holdout, value_set=table["row"].combine_chunks()).null_count
    ):
        raise PredictionsError(
            f"{PREDICTIONS}: expected exactly the {len(holdout):,} rows of {HOLDOUT}, got {len(table):,} rows"
        )
    return HoldoutPredictions(table, settings, {metric.name: metric.unit for metric in evaluation.metrics})


def _lined_up(table: pyarrow.Table, like: pyarrow.Table) -> pyarrow.Table:
    """A table of main's in the row order of the candidate's; refuses rows that main did not score."""
    if missing := {"row", "score"} - set(table.column_names):
        raise ChampionUnavailable(f"main's predictions have no column {', '.join(sorted(missing))}")
    if like["row"].equals(table["row"]):
        return table
    at = arrow.index_in(like["row"], value_set=table["row"].combine_chunks())
    if at.null_count:
        raise ChampionUnavailable(f"main's model did not score {at.null_count:,} of {len(at):,} holdout rows")
    return table.take(at)


def _numbers(table: pyarrow.Table, column: str) -> NDArray[Any]:
    return predictions.get_numbers(table, column, PREDICTIONS)
