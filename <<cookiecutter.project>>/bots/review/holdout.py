"""Holds tables of predictions against each other: line up their rows, and hand the columns to the statistics."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow
import pyarrow.compute as arrow
from numpy.typing import NDArray

from bots.errors import BotsError
from bots.evidence import MetricsReport
from bots.layout import Layout
from bots.review.champion import ChampionUnavailable
from bots.settings import Settings, SettingsError, adopt_threshold, require_named_classes
from bots.stats import metrics
from bots.stats.distinct import are_distinct
from bots.stats.predictions import (
    FEWEST_CLASSES,
    WEIGHT,
    Predictions,
    PredictionsError,
    UnknownClasses,
    add_unpaired,
    get_scores,
    get_targets,
    get_weights,
    join_classes,
    list_class_names,
    list_classes,
    make_predictions,
    read_table,
)
from bots.stats.row_metrics import COLUMN as ROW_METRIC
from bots.stats.row_metrics import list_row_metrics
from bots.stats.split_columns import PLAIN_ROW, ROW, find_row_column
from bots.verdict import comparison
from bots.verdict.comparison import Comparison

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

__all__ = ["HoldoutPredictions", "NotScored", "PredictionsError", "align_scores", "load_predictions"]


class NotScored(BotsError):
    """A table does not have the scores of the rows that are asked for; the message says what is missing."""


@dataclass(frozen=True)
class HoldoutPredictions:
    """The candidate's predictions on its holdout: columns `row`, `target`, `score`, and labels `slice:<column>`.

    `settings` are the candidate's own, `metric_units` the unit of a metric by its name.
    """

    table: pyarrow.Table
    settings: Settings
    metric_units: dict[str, str | None]

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """The names of several classes, in the order of the table; none for another task."""
        return list_classes(self.table.column_names) if self.settings.task == "multiclass" else ()

    @property
    def path(self) -> str:
        """Where the table is, for messages."""
        return self.settings.review.files.predictions

    def find_disagreements(self, written: MetricsReport) -> tuple[str, ...]:
        """Where metrics.json says something else than the predictions beside it, or than itself."""
        inner = comparison.find_inner_disagreements(written)
        inner += comparison.find_other_directions(written, self.settings.row_metrics)
        return (*inner, *find_disagreements(self.table, written, self.settings))

    def find_contradictions(self, scored: pyarrow.Table, tolerance: float = 1e-6) -> tuple[str, ...]:
        """Whether the model, asked again, gives other scores than the table says.

        Of the task scores only whether it gives any for each row: `find_unrepeated` has those that differ.
        """
        try:
            again = self.get_scores(scored, whose="this change's")
        except BotsError as error:
            return (f"{self.path} cannot be checked against the model: {error}",)
        if self.settings.task == "scores":
            return ()
        said = self._get_own_scores()
        differences = metrics.scale_differences(again, said, self.settings.task)
        off = int((~(differences <= tolerance)).sum())
        if not off:
            return ()
        return (f"{self.path} is not what the model gives: {off:,} of {len(said):,} scores differ",)

    def find_unrepeated(self, scored: pyarrow.Table, tolerance: float = 1e-6) -> tuple[str, ...]:
        """Which metrics that rows bring (task scores) came out otherwise when they were measured again.

        A latency or a judge's marks never come out the same, so nobody can tell whether the model gives them.
        """
        if self.settings.task != "scores":
            return ()
        try:
            again = self.get_scores(scored, whose="this change's")
        except BotsError:
            return ()  # `find_contradictions` says so
        said, found = self._get_own_scores(), []
        for place, name in enumerate(self.settings.row_metrics):
            column = slice(place, place + 1)
            differences = metrics.scale_differences(again[:, column], said[:, column], "scores")
            off = int((~(differences <= tolerance)).sum())
            if off:
                found.append(
                    f"{self.path}: whether the model gives {name} cannot be told: measured again, {off:,} of "
                    f"{len(said):,} rows have another value, as one that is measured (a latency, a judge's mark) does"
                )
        return tuple(found)

    def keep_rows(self, names: pyarrow.ChunkedArray) -> HoldoutPredictions:
        """The predictions of the rows with these names alone."""
        chosen = arrow.is_in(self.table["row"], value_set=names.combine_chunks())
        return replace(self, table=self.table.filter(chosen).combine_chunks())

    def summarize(self) -> Comparison:
        """The candidate's own figures, where there is no champion to hold it against."""
        return comparison.compare(self._make_predictions(self.table, self.settings), self.settings)

    def _get_own_scores(self) -> NDArray[Any]:
        """The candidate's own scores, in the order of the table's rows."""
        return get_scores(self.table, self.path, self.classes, self.settings.row_metrics)

    def read_alone(self, policy: Settings) -> Predictions:
        """The candidate's predictions, to be measured by main's settings, without main's model."""
        return self._make_predictions(self._keep_weights(policy), policy)

    def get_scores(
        self,
        scored: pyarrow.Table,
        *,
        whose: str,
        classes: Sequence[str] | None = None,
        row_metrics: Collection[str] | None = None,
    ) -> NDArray[Any]:
        """The scores of another model for the same rows, in their order; messages say whose model it is.

        `classes` are those that the scores are of, else this table's; so are `row_metrics`. Raises `BotsError` where it
        did not score a row.
        """
        known = self.classes if classes is None else classes
        names = self.settings.row_metrics if row_metrics is None else row_metrics
        return get_scores(align_scores(scored, self.table, whose=whose), f"{whose} predictions", known, names)

    def pair_with(
        self, scored: pyarrow.Table, *, truth: pyarrow.Table | None, policy: Settings
    ) -> Predictions:
        """The candidate's scores beside main's for the same rows; `policy` are main's settings.

        `truth` is main's own record of the same holdout: targets, weights, slices and what is resampled are taken from
        it, so that a change cannot rewrite what it is judged by; without it rows weigh something only where main's
        settings say so. Raises `PredictionsError` where the change says otherwise,
        `ChampionUnavailable` where main did not score a row.
        """
        known = self._keep_weights(policy) if truth is None else self._check_against(truth)
        mains = list_classes(scored.column_names) if self.classes else ()
        classes = join_classes(self.classes, mains)
        if self.classes:
            self._require_known(known, mains)
        aligned = _align_champion(scored, self.table)
        if policy.task == "scores":
            self._require_mains_metrics(policy)
            _require_row_metrics(aligned, policy)
        scores = get_scores(aligned, self.path, classes, policy.row_metrics)
        pair = replace(self._make_predictions(known, policy, classes), champion=scores)
        added = {
            name: direction
            for name, direction in self.settings.row_metrics.items()
            if name not in policy.row_metrics and name in self.metric_units
        }
        return add_unpaired(pair, self.table, self.path, added)

    def _require_mains_metrics(self, policy: Settings) -> None:
        """Raise `PredictionsError` where this change does not measure what main does: it is compared by that."""
        missing = [
            f"{ROW_METRIC}{name}"
            for name in policy.row_metrics
            if f"{ROW_METRIC}{name}" not in self.table.column_names
        ]
        if missing:
            raise PredictionsError(
                f"{self.path}: no column {', '.join(missing)}: main measures that (evaluate.scores), so a change is "
                "compared by it; a metric goes in a change of its own, first from gate, then from evaluate"
            )

    def _require_known(self, known: pyarrow.Table, mains: Sequence[str]) -> None:
        """Raise `ChampionUnavailable` where the holdout has a class that one of the two models does not know."""
        for classes, words in (
            (mains, "main's model does not know every class of the holdout"),
            (self.classes, "this change's model does not know every class of the holdout"),
        ):
            try:
                get_targets(known, "the holdout", classes)
            except UnknownClasses as error:
                raise ChampionUnavailable(f"{words}: {error}") from error

    def _keep_weights(self, policy: Settings) -> pyarrow.Table:
        """The table with its weights where these settings name some, else without."""
        if policy.data.weight is not None or WEIGHT not in self.table.column_names:
            return self.table
        return self.table.drop_columns([WEIGHT])

    def _check_against(self, truth: pyarrow.Table) -> pyarrow.Table:
        if len(truth) != len(self.table):
            raise PredictionsError(
                f"{self.path}: expected main's {len(truth):,} rows of the same holdout, got {len(self.table):,}"
            )
        known = _align_champion(truth, self.table)
        both = join_classes(self.classes, list_class_names(known, self.path)) if self.classes else ()
        names = self.settings.row_metrics
        targets = [get_targets(table, self.path, both, names) for table in (known, self.table)]
        if off := int((targets[0] != targets[1]).sum()):
            raise PredictionsError(
                f"{self.path}: target: expected what main's record of the same holdout says; {off:,} rows differ"
            )
        return known

    def _make_predictions(
        self, known: pyarrow.Table, policy: Settings, classes: Sequence[str] | None = None
    ) -> Predictions:
        """The candidate's scores beside what is known of the same rows; of these classes, else of its own."""
        classes = self.classes if classes is None else classes
        if self.classes:
            _require_named(policy, classes)
        own = make_predictions(
            known,
            self.path,
            scores=get_scores(self.table, self.path, classes, policy.row_metrics),
            classes=classes,
            row_metrics=policy.row_metrics,
            class_slice=policy.data.target or "target",
            task=policy.task,
            slices=policy.evaluate.slices,
            resample=policy.gate.resample,
            days_together=policy.gate.days_together,
            threshold=self.settings.evaluate.threshold,
            costs=policy.evaluate.costs,
            bins=policy.evaluate.calibration_bins,
        )
        return replace(own, metric_units={**self.metric_units, **policy.metric_units})


def _require_row_metrics(scored: pyarrow.Table, policy: Settings) -> None:
    """Raise `ChampionUnavailable` where main's code does not measure each row as main's settings say."""
    try:
        scores = get_scores(scored, "main's predictions", row_metrics=policy.row_metrics)
    except PredictionsError as error:
        raise ChampionUnavailable(str(error)) from error
    for name, column in zip(policy.row_metrics, scores.T, strict=True):
        if off := int((~np.isfinite(column)).sum()):
            raise ChampionUnavailable(
                f"main's predictions: metric:{name}: expected a finite number in every row; {off:,} are not"
            )


def _require_named(policy: Settings, classes: Sequence[str]) -> None:
    """Raise `PredictionsError` where these settings name a class that no model has."""
    try:
        require_named_classes(policy, classes)
    except SettingsError as error:
        raise PredictionsError(str(error)) from error


def find_disagreements(table: pyarrow.Table, written: MetricsReport, settings: Settings) -> tuple[str, ...]:
    """Where a metrics.json says something else than a table of predictions, a sentence each.

    `settings` are those of the commit that wrote both. Raises `PredictionsError` for a table without numbers.
    """
    path = settings.review.files.predictions
    classes = list_classes(table.column_names) if settings.task == "multiclass" else ()
    own = Predictions(
        task=settings.task,
        target=get_targets(table, path, classes, settings.row_metrics),
        candidate=get_scores(table, path, classes, settings.row_metrics),
        row_metrics=settings.row_metrics,
        weights=get_weights(table, path),
        classes=classes,
        candidate_threshold=written.threshold,
        costs=written.costs[0] if written.costs else None,
        bins=settings.evaluate.calibration_bins,
    )
    return (
        *comparison.find_disagreements(written.values, own),
        *comparison.find_class_disagreements(written, own),
    )


def load_predictions(root: Path, settings: Settings, written: MetricsReport) -> HoldoutPredictions:
    """Load the candidate's predictions.

    Raises `PredictionsError` for a file that is missing, broken, or not about exactly the rows of the holdout.
    """
    files = settings.review.files
    _check_rows(root, files, repeated=settings.task == "scores")
    table = read_table(root / files.predictions, files.predictions)
    several = settings.task == "multiclass"
    columns = {"multiclass": ["row", "target"], "scores": ["row"]}.get(
        settings.task, ["row", "target", "score"]
    )
    columns += [f"{ROW_METRIC}{name}" for name in settings.row_metrics]
    if missing := set(columns) - set(table.column_names):
        raise PredictionsError(
            f"{files.predictions}: expected the columns {', '.join(columns)}; no {', '.join(sorted(missing))}"
        )
    if several and len(list_classes(table.column_names)) < FEWEST_CLASSES:
        raise PredictionsError(
            f"{files.predictions}: expected a column `score:CLASS` with the probability of each class"
        )
    units = {metric.name: metric.unit for metric in written.metrics}
    return HoldoutPredictions(table, adopt_threshold(settings, written), units)


def _check_rows(root: Path, files: Layout, *, repeated: bool) -> None:
    """Raise `PredictionsError` where the predictions are not about exactly the rows of the holdout, each once.

    `repeated`: a name may stand at several rows of the holdout, which are measured as one: a query's documents.
    Before the other columns are read: to find rows that stand in another order takes a gigabyte for a moment.
    """
    table = read_table(root / files.predictions, files.predictions, ["row"])
    if "row" not in table.column_names:
        return
    if not are_distinct(table["row"]):
        raise PredictionsError(f"{files.predictions}: expected each row once; some stand twice")
    known = read_table(root / files.holdout_rows, files.holdout_rows, [ROW, PLAIN_ROW])
    if not known.column_names:
        raise PredictionsError(f"{files.holdout_rows}: expected a column `{ROW}` or `{PLAIN_ROW}`")
    holdout = known[find_row_column(known.column_names)]
    if repeated:
        holdout = pyarrow.chunked_array([holdout.unique()])
    same = holdout.equals(table["row"])
    if not same and (len(holdout) != len(table) or _find_rows(holdout, table).null_count):
        raise PredictionsError(
            f"{files.predictions}: expected exactly the {len(holdout):,} rows of {files.holdout_rows}, "
            f"got {len(table):,} rows"
        )
    pyarrow.default_memory_pool().release_unused()


def list_both_classes(own: pyarrow.Table, mains: pyarrow.Table, policy: Settings) -> tuple[str, ...]:
    """The classes that either of two tables of scores has, this change's first; none where main's task has none."""
    if policy.task != "multiclass":
        return ()
    return join_classes(list_classes(own.column_names), list_classes(mains.column_names))


def _align_champion(table: pyarrow.Table, like: pyarrow.Table) -> pyarrow.Table:
    """A table of main's in the row order of the candidate's."""
    try:
        return align_scores(table, like, whose="main's")
    except NotScored as error:
        raise ChampionUnavailable(str(error)) from error


def align_scores(table: pyarrow.Table, like: pyarrow.Table, *, whose: str) -> pyarrow.Table:
    """A table of scores in the row order of another; messages say whose it is. Raises `NotScored`."""
    missing = {"row", "score"} - set(table.column_names)
    if list_classes(table.column_names) or list_row_metrics(table.column_names):
        missing -= {"score"}
    if missing:
        raise NotScored(f"{whose} predictions have no column {', '.join(sorted(missing))}")
    if like["row"].equals(table["row"]):
        return table
    at = _find_rows(like["row"], table)
    if at.null_count:
        raise NotScored(f"{whose} model did not score {at.null_count:,} of {len(at):,} holdout rows")
    return table.take(at)


def _find_rows(rows: pyarrow.ChunkedArray, table: pyarrow.Table) -> pyarrow.ChunkedArray:
    """At which place of a table each row is; null where it has no such row."""
    return arrow.index_in(rows, value_set=table["row"].combine_chunks())
