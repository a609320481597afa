"""Makes the table of predictions that the bots read of a team's own: target, scores, weights and slices of each row.

What the team's predictions lack is taken from the holdout: the target, and the columns that results are cut by.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from bots.derive.tables import DeriveError, Rows, align_rows, keep_first_rows, write_names
from bots.evidence import MOST_CLASSES, Answers
from bots.layout import PARAMS
from bots.settings import SettingsError, require_named_classes
from bots.stats.predictions import (
    CLASS_SCORE,
    SLICE,
    WEIGHT,
    Predictions,
    PredictionsError,
    get_class_names,
    list_classes,
    make_predictions,
)
from bots.stats.row_metrics import COLUMN as ROW_METRIC
from bots.stats.split_columns import PLAIN_ROW, PLAIN_TARGET, TARGET
from bots.stats.targets import find_positive, get_target

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow
    from numpy.typing import NDArray

    from bots.settings import Settings
    from bots.stats.metrics import Floats

MISSING: Final = "missing"
"""The slice of rows without a value."""
FEWEST_CLASSES: Final = 3
_ADD_UP: Final = 1e-3
_SHOWN: Final = 5


@dataclass(frozen=True, eq=False)
class Judged:
    """The holdout's rows with their predictions.

    `table` is what the bots read as the table of predictions, in the holdout's order. `target` (n,) is a number, or the
    place of a row's class among `classes`, or zero where rows bring their metrics. `answers` are what a classification
    calls yes and no, where it does.
    """

    table: pyarrow.Table
    target: Floats
    classes: tuple[str, ...] = ()
    answers: Answers | None = None

    @property
    def names(self) -> pyarrow.ChunkedArray:
        """The name of each row."""
        return self.table[PLAIN_ROW]


def judge_rows(predictions: Rows, holdout: Rows | None, settings: Settings) -> Judged:
    """Bring together what is known of each row of the holdout; without one, of each prediction.

    Raises `DeriveError`, which says what to write, where something is missing or is not what the task needs.
    """
    import pyarrow

    if holdout is not None and settings.task == "scores":
        wanted = {SLICE + name: name for name in list_slices(settings)} | {WEIGHT: settings.data.weight}
        used = [name for own, name in wanted.items() if name and own not in predictions.columns]
        holdout = keep_first_rows(holdout, [name for name in used if name in holdout.columns])
    known = predictions if holdout is None else align_rows(predictions, holdout)
    classes = _find_classes(known, settings)
    columns: dict[str, pyarrow.Array | NDArray[np.float64]] = {PLAIN_ROW: known.names}
    if settings.task == "scores":
        target, answers = np.zeros(len(known)), None
        columns |= _read_row_metrics(known, settings)
    else:
        labels = _find_labels(known, holdout, settings, classes)
        path = known.path if holdout is None else holdout.path
        target, answers = _read_target(labels, path, settings, classes)
        columns["target"] = np.array(classes, dtype=object)[target.astype(int)] if classes else target
        columns |= _read_scores(known, settings, classes)
    weight = _find_column(known, holdout, WEIGHT, settings.data.weight)
    if weight is not None:
        columns[WEIGHT] = _read_numbers(weight, WEIGHT, known.path)
    for name in list_slices(settings):
        columns[SLICE + name] = _find_slice(known, holdout, name)
    judged = Judged(pyarrow.table(columns), target, classes, answers)
    _check(judged, known.path, settings)
    return judged


def list_slices(settings: Settings) -> list[str]:
    """The columns that results are cut by, or whose rows are resampled together."""
    evaluate, together = settings.evaluate, settings.gate.resample
    wanted = [*evaluate.slices, *evaluate.fairness, *([] if together == "rows" else [together])]
    return list(dict.fromkeys(wanted))


def measure_predictions(judged: Judged, settings: Settings) -> Predictions:
    """The predictions as the statistics take them. Raises `PredictionsError`."""
    evaluate = settings.evaluate
    return make_predictions(
        judged.table,
        settings.review.files.predictions,
        task=settings.task,
        slices=(),
        resample="rows",
        days_together=1,
        threshold=evaluate.threshold,
        costs=evaluate.costs,
        bins=evaluate.calibration_bins,
        classes=judged.classes,
        target=judged.target,
        row_metrics=settings.row_metrics,
    )


def _find_classes(known: Rows, settings: Settings) -> tuple[str, ...]:
    """The classes of a task that has several, in the order of data.classes, else of the columns of scores."""
    found = list_classes(known.columns)
    if settings.task != "multiclass":
        if found and "score" not in known.columns:
            raise DeriveError(
                f"{known.path}: it has a column for each of several classes, and data.task of {PARAMS} is "
                f"{settings.task}: write one column `score`, or `task: multiclass`"
            )
        return ()
    wanted = settings.data.classes
    if wanted is not None and (lost := [name for name in wanted if name not in found]):
        raise DeriveError(
            f"{known.path}: no column `{CLASS_SCORE}{lost[0]}`, and data.classes of {PARAMS} names it"
        )
    if wanted is not None and (more := [name for name in found if name not in wanted]):
        raise DeriveError(
            f"{known.path}: {CLASS_SCORE}{more[0]}: data.classes of {PARAMS} has no such class: add it there"
        )
    if not FEWEST_CLASSES <= len(found) <= MOST_CLASSES:
        raise DeriveError(
            f"{known.path}: expected a column `{CLASS_SCORE}CLASS` with the probability of each of {FEWEST_CLASSES} to "
            f"{MOST_CLASSES} classes, got {len(found)}"
        )
    classes = tuple(wanted or found)
    try:
        require_named_classes(settings, classes)
    except SettingsError as error:
        raise DeriveError(str(error)) from error
    return classes


def find_target(rows: Rows, settings: Settings) -> str | None:
    """The column of a table of rows that has the target: what data.target names, else `target`."""
    for name in (settings.data.target, TARGET, PLAIN_TARGET):
        if name is not None and name in rows.columns:
            return name
    return None


def _find_labels(
    known: Rows, holdout: Rows | None, settings: Settings, classes: Sequence[str]
) -> pyarrow.ChunkedArray:
    """What happened in each row, by the predictions or the holdout. Raises `DeriveError` where both differ."""
    column = None if holdout is None else find_target(holdout, settings)
    own = known.table["target"] if "target" in known.columns else None
    if holdout is None or column is None:
        if own is None:
            wanted = settings.data.target or PLAIN_TARGET
            if holdout is None:
                raise DeriveError(
                    f"{known.path}: it does not say what happened: write a column `target` there"
                )
            raise DeriveError(
                f"{holdout.path}: no column `{wanted}` (it has {holdout.list_columns()}), and {known.path} does not "
                f"say what happened either: name the column that is predicted as data.target of {PARAMS}"
            )
        return own
    theirs = holdout.table[column]
    if own is not None and (off := _count_differences(own, theirs, settings, classes)):
        raise DeriveError(
            f"{known.path}: target: {off:,} of {len(known):,} rows say otherwise than {column} of {holdout.path}"
        )
    return theirs


def _count_differences(
    own: pyarrow.ChunkedArray, theirs: pyarrow.ChunkedArray, settings: Settings, classes: Sequence[str]
) -> int:
    """In how many rows two columns of targets mean something else: 0 and False, or a no by its label, are alike."""
    import pyarrow.compute as arrow

    one, other = (arrow.fill_null(write_names(each), "") for each in (own, theirs))
    off = int(arrow.sum(arrow.not_equal(one, other)).as_py() or 0)
    if not off:
        return 0
    try:
        numbers = [_read_meaning(each, settings, classes) for each in (own, theirs)]
    except PredictionsError:
        return off
    return int((~np.isclose(numbers[0], numbers[1], rtol=1e-6, atol=0, equal_nan=True)).sum())


def _read_meaning(column: pyarrow.ChunkedArray, settings: Settings, classes: Sequence[str]) -> Floats:
    """The target as `get_target` reads it; numbers 0 and 1 are no and yes beside labels. Raises `PredictionsError`."""
    import pyarrow

    table, positive = pyarrow.table({"target": column}), settings.data.positive
    if isinstance(positive, str) and not pyarrow.types.is_string(column.type) and not classes:
        labels = set(_list_labels(column))
        if labels <= {"0", "1", "true", "false"} and positive not in labels:
            positive = None
    return get_target(table, "target", "target", positive, classes)


def _read_target(
    labels: pyarrow.ChunkedArray, path: str, settings: Settings, classes: Sequence[str]
) -> tuple[Floats, Answers | None]:
    """The target as numbers, or places of classes, and what yes and no are called. Raises `DeriveError`."""
    import pyarrow

    table, positive = pyarrow.table({"target": labels}), settings.data.positive
    answers = None
    try:
        if settings.task == "classification" and positive is None and pyarrow.types.is_string(labels.type):
            shown = ", ".join(repr(name) for name in _list_labels(labels)[:_SHOWN])
            raise DeriveError(
                f"{path}: target: expected 0 and 1, got {shown}: say which one counts as yes under data in {PARAMS}, "
                "such as `positive: churned`"
            )
        target = get_target(table, "target", path, positive, classes)
        if positive is not None and settings.task == "classification":
            answers = _name_answers(labels, positive)
    except PredictionsError as error:
        raise DeriveError(str(error)) from error
    if gaps := int((~np.isfinite(target)).sum()):
        raise DeriveError(
            f"{path}: target: expected a value in each row; {gaps:,} of {len(target):,} have none"
        )
    if settings.task == "classification" and (strange := (target != 0) & (target != 1)).any():
        first = target[strange][0]
        raise DeriveError(
            f"{path}: target: expected 0 and 1, got {first:g} in {int(strange.sum()):,} rows: write them so, or "
            f"another data.task in {PARAMS}"
        )
    if settings.task != "regression" and len(np.unique(target)) == 1:
        only = classes[int(target[0])] if classes else f"{target[0]:g}"
        raise DeriveError(
            f"{path}: target: all rows are of one class ({only}): no model can be judged on that"
        )
    return target, answers


def warn_of_labels(known: Rows, settings: Settings) -> str | None:
    """Warn of scores that are labels where probabilities are meant: the figures would be of another model."""
    if settings.task != "classification" or set(np.unique(known.table["score"].to_numpy())) != {0, 1}:
        return None
    return (
        "each score is 0 or 1: these are labels. Write the probabilities (scikit-learn: `predict_proba(rows)[:, 1]`), "
        "or log loss, calibration and the threshold tell nothing"
    )


def _list_labels(labels: pyarrow.ChunkedArray) -> list[str]:
    import pyarrow

    found = get_class_names(pyarrow.table({"target": labels}), "target", "target").dictionary.to_pylist()
    return sorted({str(name) for name in found if name})


def _name_answers(labels: pyarrow.ChunkedArray, positive: str | bool | float) -> Answers | None:
    """What yes and no are called, where they are no truths and not 0 and 1."""
    import pyarrow

    known = _list_labels(labels)
    yes = find_positive(known, positive, text=pyarrow.types.is_string(labels.type))
    others = [name for name in known if name != yes]
    if yes is None or len(others) != 1 or {yes, *others} <= {"0", "1", "true", "false"}:
        return None
    return Answers(yes=yes, no=others[0])


def _read_scores(known: Rows, settings: Settings, classes: Sequence[str]) -> dict[str, Floats]:
    """The columns of scores. Raises `DeriveError` where they are no probabilities, and the task needs some."""
    if not classes:
        if "score" not in known.columns:
            what = "the predicted value" if settings.task == "regression" else "the probability of yes"
            raise DeriveError(
                f"{known.path}: no column `score` (it has {known.list_columns()}): write {what} of each row there"
            )
        score = _read_numbers(known.table["score"], "score", known.path)
        if settings.task == "classification":
            _require_probabilities(score, known.path, "score")
        return {"score": score}
    scores = {
        CLASS_SCORE + name: _read_numbers(known.table[CLASS_SCORE + name], CLASS_SCORE + name, known.path)
        for name in classes
    }
    for name, column in scores.items():
        _require_probabilities(column, known.path, name)
    total = np.sum(list(scores.values()), axis=0)
    if (off := np.abs(total - 1) > _ADD_UP).any():
        raise DeriveError(
            f"{known.path}: expected probabilities that add up to 1 in each row; {int(off.sum()):,} rows do not, the "
            f"first adds up to {total[off][0]:g}"
        )
    return scores


def _read_row_metrics(known: Rows, settings: Settings) -> dict[str, Floats]:
    """The metrics that each row brings. Raises `DeriveError` where one is missing, or has no number in a row."""
    missing = [name for name in settings.row_metrics if ROW_METRIC + name not in known.columns]
    if missing:
        raise DeriveError(
            f"{known.path}: no column `{ROW_METRIC}{missing[0]}`: write what {missing[0]} is of each row there, or "
            f"take it out of evaluate.scores and evaluate.metrics in {PARAMS}"
        )
    return {
        ROW_METRIC + name: _read_numbers(known.table[ROW_METRIC + name], ROW_METRIC + name, known.path)
        for name in settings.row_metrics
    }


def _require_probabilities(score: Floats, path: str, column: str) -> None:
    if (off := (score < 0) | (score > 1)).any():
        raise DeriveError(
            f"{path}: {column}: expected probabilities from 0 to 1; {int(off.sum()):,} of {len(score):,} are not, "
            f"such as {score[off][0]:g}: write what comes after the sigmoid or softmax"
        )


def _read_numbers(column: pyarrow.ChunkedArray, name: str, path: str) -> Floats:
    """A column as finite numbers, (n,). Raises `DeriveError`."""
    import pyarrow

    try:
        numbers = np.asarray(column.cast(pyarrow.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)
    except pyarrow.ArrowException as error:
        raise DeriveError(f"{path}: {name}: expected numbers ({error})") from error
    if off := int((~np.isfinite(numbers)).sum()):
        raise DeriveError(
            f"{path}: {name}: expected a finite number in each row; {off:,} of {len(numbers):,} have none"
        )
    return numbers


def _find_column(
    known: Rows, holdout: Rows | None, name: str, other: str | None
) -> pyarrow.ChunkedArray | None:
    """A column of the predictions, or the one that the holdout calls otherwise; None where nobody asks for it.

    Raises `DeriveError` where `other` is asked for and neither has it, or where the predictions have a column of this
    name that says something although nobody asks.
    """
    if other is None:
        if name in known.columns and len(known.table[name].unique()) > 1:
            raise DeriveError(
                f"{known.path}: {name}: rows do not count alike there, and data.{name} of {PARAMS} names no column: "
                f"write `{name}: COLUMN` under data, or call the predictions' column otherwise"
            )
        return None
    if name in known.columns:
        return known.table[name]
    if holdout is not None and other in holdout.columns:
        return holdout.table[other]
    raise DeriveError(f"{known.path}: no column `{name}`, and data.{name} of {PARAMS} asks for it")


def _find_slice(known: Rows, holdout: Rows | None, name: str) -> pyarrow.ChunkedArray:
    """The labels by which results are cut, by the predictions or the holdout. Raises `DeriveError`."""
    import pyarrow.compute as arrow

    if SLICE + name in known.columns:
        column = known.table[SLICE + name]
    elif holdout is not None and name in holdout.columns:
        column = holdout.table[name]
    else:
        where = "" if holdout is None else f", and {holdout.path} none called `{name}`"
        raise DeriveError(
            f"{known.path}: no column `{SLICE}{name}`{where}; evaluate.slices, evaluate.fairness or gate.resample of "
            f"{PARAMS} asks for it"
        )
    return arrow.fill_null(write_names(column), MISSING)


def _check(judged: Judged, path: str, settings: Settings) -> None:
    """Raise `DeriveError` for what only the rows together show, such as weights that are all zero."""
    try:
        measure_predictions(judged, settings)
    except PredictionsError as error:
        raise DeriveError(f"{path}: {error}") from error
