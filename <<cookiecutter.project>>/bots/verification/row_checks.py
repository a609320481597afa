"""Loads the tables of both sides, and checks that a change was judged on main's rows, targets and inputs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bots.dvc.lockfile import have_same_rows
from bots.evidence import VerificationCheck
from bots.stats import predictions
from bots.stats.predictions import Predictions, PredictionsError
from bots.stats.row_metrics import list_row_metrics
from bots.stats.split_columns import PLAIN_ROW, find_row_column, list_added
from bots.verdict import comparison
from bots.verification.claim_checks import is_compared
from bots.verification.collection import CollectionError
from bots.verification.rows import align_predictions, align_rows, compare_inputs, get_row_names
from bots.verification.stop import Stop

if TYPE_CHECKING:
    import pyarrow

    from bots.dvc.lockfile import Lock
    from bots.evidence import Direction, MetricsReport, Review
    from bots.layout import Layout
    from bots.publish.model_bundle import ModelBundle
    from bots.settings import Settings
    from bots.verification.collection import Collected
    from bots.verification.main_side import Main
    from bots.verification.scorer import Answers


@dataclass(frozen=True, kw_only=True)
class Tables:
    """The predictions of both sides. `truth`, main's, is in the order of `predicted`, the change's own.

    `truth` is None where main has no model or another holdout; then `of_main` holds main's predictions as they are.
    """

    predictions: Path
    predicted: pyarrow.Table
    of_main: pyarrow.Table | None
    truth: pyarrow.Table | None
    same_splits: bool


@dataclass(frozen=True, kw_only=True)
class InputRows:
    """The rows that the change's model is asked about, in the file `path`. `known` are main's tables of the same rows
    in the same order, its inputs first."""

    path: Path
    table: pyarrow.Table
    known: list[pyarrow.Table]


def load_tables(collected: Collected, bundle: ModelBundle, main: Main) -> Tables:
    """Load the predictions of both sides, and line up their rows. Raises `Stop` where they are missing or broken."""
    files = main.settings.review.files
    path = _find(collected, bundle.lock, files.predictions)
    predicted = _load(path, f"the change's {files.predictions}", broken=False, row=PLAIN_ROW)
    of_main = None
    if main.model is not None:
        of_main = _load(
            _find(collected, main.lock, files.predictions),
            f"main's {files.predictions}",
            broken=None,
            row=PLAIN_ROW,
        )
    return Tables(
        predictions=path,
        predicted=predicted,
        of_main=of_main,
        truth=None if of_main is None else align_predictions(of_main, predicted[PLAIN_ROW]),
        same_splits=have_same_rows(_find_rows(bundle.lock, files), _find_rows(main.lock, files)),
    )


def _find_rows(lock: Lock, files: Layout) -> str | None:
    """The digest of the rows that judge, else that of what the model takes of them; None where the lock has neither."""
    return lock.find_content(files.holdout_rows) or lock.find_content(files.holdout_features)


def load_inputs(collected: Collected, bundle: ModelBundle, main: Main) -> InputRows:
    """Load the rows of the holdout as the change's model takes them. Raises `Stop` where there are none."""
    files = main.settings.review.files
    path = _find(collected, bundle.lock, files.holdout_features)
    table = _load(path, f"the change's {files.holdout_features}", broken=False)
    places = (files.holdout_features, files.holdout_rows)
    known = [_align_known(collected, main, place, table) for place in places]
    return InputRows(path=path, table=table, known=[one for one in known if one is not None])


def _find(collected: Collected, lock: Lock, path: str) -> Path:
    try:
        return collected.files.find_output(lock, path)
    except CollectionError as error:
        raise Stop(VerificationCheck(name="files", passed=None, words=str(error))) from error


def _load(path: Path, name: str, *, broken: bool | None, row: str | None = None) -> pyarrow.Table:
    """Read a table; `broken` is what it means that it cannot be read, `row` what names the rows of predictions."""
    try:
        return _read(path, name, row)
    except PredictionsError as error:
        raise Stop(VerificationCheck(name="files", passed=broken, words=str(error))) from error


def _read(path: Path, name: str, row: str | None = None) -> pyarrow.Table:
    """Read a table with the identity of its rows, in the column `row` or that of a split. Raises `PredictionsError`."""
    table = predictions.read_table(path, name)
    row = row or find_row_column(table.column_names)
    if row not in table.column_names or not len(table):
        raise PredictionsError(f"{name}: expected a column `{row}`, and at least one row")
    return table


def _align_known(collected: Collected, main: Main, path: str, inputs: pyarrow.Table) -> pyarrow.Table | None:
    """A table of main's in the order of the change's inputs; None where main has no such table of these rows."""
    try:
        known = _read(collected.files.find_output(main.lock, path), f"main's {path}")
        return align_rows(known, get_row_names(inputs))
    except (CollectionError, PredictionsError):
        return None


def check_main_predictions(tables: Tables, main: Main) -> VerificationCheck:
    """Whether main's stored predictions are those of main's own figures in git."""
    name, path, figures = "main's predictions", main.files.predictions, main.files.name_report("metrics")
    if main.metrics is None:
        words = f"main has no {figures}, so nobody can tell whether the stored {path} are main's"
        return VerificationCheck(name=name, passed=None, words=words)
    assert tables.of_main is not None
    try:
        own = make_own(tables.of_main, path, main.metrics, main.settings)
    except PredictionsError as error:
        return VerificationCheck(name=name, passed=None, words=f"main's {error}")
    found = comparison.find_disagreements(main.metrics.values, own)
    found += comparison.find_class_disagreements(main.metrics, own)
    words = f"{len(main.metrics.values)} figures of main's {figures} come out of what is stored"
    if found or len(own.target) != main.metrics.rows:
        words = f"the stored {path} of main are not those of its {figures}: {'; '.join(found[:2])}"
        return VerificationCheck(name=name, passed=None, words=words)
    return VerificationCheck(name=name, passed=True, words=words)


def list_classes(tables: Tables, policy: Settings) -> tuple[str, ...]:
    """The classes that either side's predictions have, the change's first; none where main's task has none."""
    if policy.task != "multiclass":
        return ()
    mains = () if tables.of_main is None else predictions.list_classes(tables.of_main.column_names)
    return predictions.join_classes(predictions.list_classes(tables.predicted.column_names), mains)


def check_holdout(review: Review, tables: Tables, main: Main, unverified: list[str]) -> VerificationCheck:
    """Whether the change is judged on main's rows, with main's targets."""
    name, count = "holdout", len(tables.predicted)
    if not is_compared(review):
        unverified.append("the holdout, and what main's model does on it")
        return VerificationCheck(
            name=name, passed=True, words=f"{count:,} rows, which are not held against main's"
        )
    if tables.truth is None:
        of_main = 0 if tables.of_main is None else len(tables.of_main)
        words = f"the change was judged on {count:,} rows that are not the {of_main:,} of main's holdout"
        return VerificationCheck(name=name, passed=False, words=words)
    try:
        classes = list_classes(tables, main.settings)
        targets = [
            predictions.get_targets(table, "target", classes, main.settings.row_metrics)
            for table in (tables.predicted, tables.truth)
        ]
    except PredictionsError as error:
        return VerificationCheck(name=name, passed=False, words=str(error))
    if off := int((targets[0] != targets[1]).sum()):
        words = f"{off:,} of {count:,} rows have another target than main's holdout says"
        return VerificationCheck(name=name, passed=False, words=words)
    what = "rows" if main.settings.task == "scores" else "rows and their targets"
    words = f"the {count:,} {what} are those of main's holdout"
    return VerificationCheck(name=name, passed=True, words=words)


def list_written_row_metrics(
    written: MetricsReport, table: pyarrow.Table, policy: Settings
) -> dict[str, Direction]:
    """The metrics that rows bring, with what is better: main's, and those that only the change has and wrote down."""
    if policy.task != "scores":
        return {}
    there = list_row_metrics(table.column_names)
    own = {one.name: one.direction for one in written.metrics if one.name in there}
    return policy.row_metrics | {name: one for name, one in own.items() if name not in policy.row_metrics}


def make_own(table: pyarrow.Table, path: str, written: MetricsReport, policy: Settings) -> Predictions:
    """One model's predictions, as the metrics that were written with them take them. Raises `PredictionsError`."""
    row_metrics = list_written_row_metrics(written, table, policy)
    classes = predictions.list_classes(table.column_names) if policy.task == "multiclass" else ()
    return Predictions(
        task=policy.task,
        target=predictions.get_targets(table, path, classes, row_metrics),
        candidate=predictions.get_scores(table, path, classes, row_metrics),
        classes=classes,
        row_metrics=row_metrics,
        weights=predictions.get_weights(table, path),
        candidate_threshold=written.threshold,
        costs=written.costs[0] if written.costs else None,
        bins=policy.evaluate.calibration_bins,
    )


def check_inputs(
    answers: Answers, rows: InputRows, main: Main, *, unverified: list[str]
) -> VerificationCheck:
    """Whether the model was asked about main's own values of its inputs."""
    name = "inputs"
    found = compare_inputs(list(answers.importance), rows.table, rows.known)
    if found.unknown:
        listed = ", ".join(found.unknown[:5]) + (" and more" if len(found.unknown) > 5 else "")
        unverified.append(f"the values of {listed}: main's rows of the holdout have no such columns")
    if added := [name for name in list_added(rows.table.column_names) if name in answers.importance]:
        words = f"the model reads {', '.join(added)}, which names the rows or has their target: no column of the data"
        return VerificationCheck(name=name, passed=None, words=words)
    if future := sorted(main.future & set(answers.importance)):
        words = (
            f"main's contract says that {', '.join(future[:5])} is known only after the moment of prediction"
        )
        return VerificationCheck(name=name, passed=None, words=words)
    if found.other:
        told = "; ".join(f"{column} in {off:,} rows" for column, off in list(found.other.items())[:5])
        words = f"inputs have other values than main's rows of the same holdout: {told}"
        return VerificationCheck(name=name, passed=None, words=words)
    words = (
        f"{len(found.same)} of {len(found.same) + len(found.unknown)} inputs have main's values in every row"
    )
    return VerificationCheck(name=name, passed=True, words=words)
