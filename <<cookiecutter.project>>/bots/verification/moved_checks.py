"""Checks a comparison on a holdout that moved: which rows judge, that main has them, and what main's model says there.

Main's own tables are the record of the rows, and main's ONNX model scores them. Rows that main does not have are the
change's own word: then a person decides, whatever else comes out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from bots.evidence import VerificationCheck
from bots.stats import predictions
from bots.stats.predictions import PredictionsError
from bots.verification import moved_rows
from bots.verification.collection import CollectionError, list_records
from bots.verification.moved_rows import Record
from bots.verification.row_checks import list_classes
from bots.verification.rows import align_rows, compare_inputs, get_row_names
from bots.verification.scorer import NotScored
from bots.verification.stop import Stop

if TYPE_CHECKING:
    import pyarrow
    from numpy.typing import NDArray

    from bots.evidence import MetricsReport, MovedHoldout, Review
    from bots.publish.model_bundle import ModelBundle
    from bots.stats.metrics import Floats
    from bots.stats.predictions import Predictions
    from bots.verification.answer_checks import AskModel
    from bots.verification.collection import Collected
    from bots.verification.main_side import Main
    from bots.verification.row_checks import InputRows, Tables

OLD = "how this change does on main's own holdout, and that it was trained on none of it"
_RECORD = "main's rows"


@dataclass(frozen=True, eq=False)
class MovedRows:
    """The rows of a holdout that moved, in the order of the change's predictions. `judging` marks those that judge."""

    record: Record
    target: Floats
    judging: NDArray[np.bool_]


def load_moved_rows(collected: Collected, bundle: ModelBundle, main: Main, tables: Tables) -> MovedRows:
    """Load what main has of the rows, and find those that main's model was not trained on. Raises `Stop`."""
    files, layout = collected.files, main.settings.review.files
    try:
        paths = list_records(files, main.lock, layout)
        record = moved_rows.load_record(collected, bundle.lock, main, tables.predicted["row"], paths)
        training = files.find_output(main.lock, layout.training_rows)
        known = _find_known(training, record, main)
        return MovedRows(record, record.get_target(main, list_classes(tables, main.settings)), ~known)
    except (CollectionError, PredictionsError) as error:
        raise _stop(f"the rows of this change's holdout cannot be held against main's: {error}") from error


def _find_known(table: Path, record: Record, main: Main) -> NDArray[np.bool_]:
    """Which rows of a record a table of main's has too, (n,)."""
    with TemporaryDirectory(prefix="record-") as folder:
        path = Path(folder) / "record.parquet"
        moved_rows.write_record(record, path)
        return moved_rows.find_known(table, path, main).either


def _stop(words: str, *, passed: bool | None = None, name: str = "moved holdout") -> Stop:
    return Stop(VerificationCheck(name=name, passed=passed, words=words))


def check_moved_rows(tables: Tables, rows: MovedRows, main: Main) -> VerificationCheck:
    """Whether the rows and targets that judge are those that main has.

    They are not main's holdout under another name: then its looks would not count.
    """
    name, count = "holdout", len(rows.target)
    try:
        said = predictions.get_targets(tables.predicted, "target", list_classes(tables, main.settings))
    except PredictionsError as error:
        raise _stop(str(error), passed=False, name=name) from error
    known, unlabelled = np.isfinite(rows.target), int((~np.isfinite(rows.target)).sum())
    if off := int((said[known] != rows.target[known]).sum()):
        words = f"{off:,} of {count:,} rows have another target than main's own tables say: a person decides"
        return VerificationCheck(name=name, passed=None, words=words)
    if tables.truth is not None:
        words = f"the holdout is said to have moved, and its {count:,} rows and targets are those of main's holdout"
        return VerificationCheck(name=name, passed=False, words=words)
    if new := rows.record.unknown + unlabelled:
        words = (
            f"{new:,} of the {count:,} rows of the new holdout are in no table of main's with their target: what is in "
            "them is the change's own word, so a person decides"
        )
        return VerificationCheck(name=name, passed=None, words=words)
    words = f"the {count:,} rows of the new holdout and their targets stand in main's own tables"
    return VerificationCheck(name=name, passed=True, words=words)


def check_claims(review: Review, collected: Collected, main: Main, rows: MovedRows) -> VerificationCheck:
    """Whether what the review says of the two holdouts is so: which rows judge, and which main's model knows.

    Rows that only the change has may have fewer columns to be told apart by, so what differs there refutes nothing.
    """
    moved = review.moved
    assert moved is not None
    layout = main.settings.review.files
    try:
        holdout = collected.files.find_output(main.lock, layout.holdout_rows)
        training = collected.files.find_output(main.lock, layout.training_rows)
        shared = int(_find_known(holdout, rows.record, main).sum())
        with predictions.open_table(training, "main's training table") as file:
            trained = int(file.metadata.num_rows)
    except (CollectionError, PredictionsError) as error:
        raise _stop(str(error)) from error
    found = {
        "rows": (moved.rows, len(rows.target)),
        "rows that main's model was trained on": (moved.trained_on, int((~rows.judging).sum())),
        "rows of main's holdout": (moved.shared, shared),
        "training rows of main": (moved.training_rows, trained),
    }
    wrong = [
        f"{what}, said {said:,}, are {known:,}" for what, (said, known) in found.items() if said != known
    ]
    wrong += _find_wrong_parts(review, moved, main)
    if wrong:
        words = f"the review says otherwise: {'; '.join(wrong[:4])}"
        return VerificationCheck(
            name="moved holdout", passed=None if rows.record.unknown else False, words=words
        )
    words = (
        f"{moved.judged:,} of the {moved.rows:,} rows judge; none of them is among main's {trained:,} training rows, "
        f"by name or by inputs and target; main was chosen on {shared:,} of them all"
    )
    return VerificationCheck(name="moved holdout", passed=True, words=words)


def _find_wrong_parts(review: Review, moved: MovedHoldout, main: Main) -> Iterator[str]:
    """What the review says of both holdouts that is not so."""
    own = (
        next((part for part in review.split.parts if part.name == "holdout"), None) if review.split else None
    )
    if moved.before != main.holdout_part:
        yield "main's holdout is described otherwise than in main's own split"
    if moved.after is None or moved.after != own or moved.after.digest != review.candidate.holdout:
        yield "the new holdout is described otherwise than in the change's split"
    old, written = moved.old, main.metrics
    if old is None or written is None:
        return
    name = main.settings.gate.primary
    if (old.metric, old.rows, old.champion) != (name, written.rows, written.values.get(name)):
        yield "main's figure on its own holdout is not that of its metrics.json"


def check_labels(tables: Tables, rows: MovedRows, main: Main) -> VerificationCheck:
    """Whether what the results are cut by, and resampled by, are main's own values."""
    gate = main.settings.gate
    columns = dict.fromkeys(main.settings.evaluate.slices, False)
    if gate.resample != "rows":
        columns[gate.resample] = gate.days_together > 1
    found = [
        rows.record.find_other_labels(tables.predicted, column, by_name=by_name)
        for column, by_name in columns.items()
    ]
    wrong = [words for words in found if words is not None]
    words = f"the labels of {len(columns)} columns that results are cut by are those of {_RECORD}"
    return VerificationCheck(
        name="labels", passed=None if wrong else True, words="; ".join(wrong[:3]) if wrong else words
    )


def replace_known(inputs: InputRows, rows: MovedRows) -> InputRows:
    """The change's inputs with main's record of the same rows beside them."""
    known = align_rows(rows.record.table, get_row_names(inputs.table))
    return replace(inputs, known=[] if known is None else [known])


def ask_main(
    collected: Collected, main: Main, rows: MovedRows, inputs: InputRows, *, ask: AskModel
) -> tuple[Floats, VerificationCheck]:
    """Ask main's packed model for the score of each row, (n,) in the order of the record. Raises `Stop`."""
    name, path = "main's model", f"{main.settings.review.files.onnx}/model.onnx"
    try:
        model = collected.files.find_output(main.lock, path)
        scores = _ask(model, main, rows, inputs, ask=ask)
    except (CollectionError, NotScored) as error:
        words = f"main's model could not be asked about the new holdout: {error}"
        raise _stop(words, name=name) from error
    if scores is None or len(scores) != len(rows.target):
        raise _stop("main's model did not score each row of the new holdout", name=name)
    words = f"main's packed model scored the {len(scores):,} rows of the new holdout"
    return scores, VerificationCheck(name=name, passed=True, words=words)


def _ask(model: Path, main: Main, rows: MovedRows, inputs: InputRows, *, ask: AskModel) -> Floats | None:
    """The model's scores, asked about the change's inputs where those are main's values, else about main's own."""
    found = compare_inputs(list(main.inputs), inputs.table, inputs.known)
    if main.inputs and not found.other and not found.unknown:
        answers = ask(model, inputs.path)
        if len(answers.scores) != len(inputs.table):
            return None
        at = _find_places(get_row_names(inputs.table), get_row_names(rows.record.table))
        return None if at is None else answers.scores[at]
    with TemporaryDirectory(prefix="inputs-") as folder:
        path = Path(folder) / "inputs.parquet"
        moved_rows.write_inputs(rows.record, rows.target, main, path)
        return ask(model, path).scores


def _find_places(rows: pyarrow.ChunkedArray, wanted: pyarrow.ChunkedArray) -> NDArray[np.int64] | None:
    """At which place each wanted row is; None where one is missing."""
    import pyarrow
    import pyarrow.compute as arrow

    names = rows.cast(pyarrow.string()).combine_chunks()
    at = arrow.index_in(wanted.cast(pyarrow.string()).combine_chunks(), value_set=names)
    return None if at.null_count else np.asarray(at).astype(np.int64)


def _weigh_as_main(known: pyarrow.Table, rows: MovedRows, main: Main) -> pyarrow.Table:
    """The rows with main's record of their weights: none where main names no column that weighs them.

    What main does not know weighs as the change says. Raises `PredictionsError`.
    """
    import pyarrow

    weight, path = main.settings.data.weight, main.settings.review.files.predictions
    own = predictions.get_weights(known, path)
    if own is not None:
        known = known.drop_columns([predictions.WEIGHT])
    if weight is None:
        return known
    weights = predictions.get_numbers(rows.record.table, weight, _RECORD)
    if own is not None:
        weights = np.where(np.isfinite(weights), weights, own)
    return known.append_column(predictions.WEIGHT, pyarrow.array(weights))


def _require_known_classes(
    target: Floats, judging: NDArray[np.bool_], classes: Sequence[str], models: Sequence[Sequence[str]]
) -> None:
    """Raise `PredictionsError` where a row that judges is of a class that one of the models does not know."""
    present = {classes[int(code)] for code in np.unique(target[judging])}
    for known in models:
        if strange := sorted(present - set(known)):
            raise PredictionsError(f"a model does not know the class {strange[0]} of the new holdout")


def join_moved_predictions(
    evaluation: MetricsReport, tables: Tables, rows: MovedRows, scores: Floats, main: Main
) -> Predictions:
    """Both models' scores of the rows that judge, with main's record of their targets. Raises `PredictionsError`."""
    import pyarrow

    policy, path = main.settings, main.settings.review.files.predictions
    classes = list_classes(tables, policy)
    target = np.where(
        np.isfinite(rows.target), rows.target, predictions.get_targets(tables.predicted, path, classes)
    )
    known = _weigh_as_main(tables.predicted, rows, main)
    if classes and tables.of_main is not None:
        mains = predictions.list_classes(tables.of_main.column_names)
        if scores.ndim != 2 or scores.shape[1] != len(mains):
            raise PredictionsError(f"main's packed model does not score the {len(mains)} classes of {path}")
        _require_known_classes(
            target, rows.judging, classes, (mains, predictions.list_classes(known.column_names))
        )
        scores = predictions.spread_scores(scores, mains, classes)
    judging = known.filter(pyarrow.array(rows.judging)).combine_chunks()
    own = predictions.make_predictions(
        judging,
        path,
        scores=predictions.get_scores(judging, path, classes),
        classes=classes,
        target=target[rows.judging],
        class_slice=policy.data.target or "target",
        task=policy.task,
        slices=policy.evaluate.slices,
        resample=policy.gate.resample,
        days_together=policy.gate.days_together,
        threshold=evaluation.threshold,
        costs=policy.evaluate.costs,
        bins=policy.evaluate.calibration_bins,
    )
    return replace(
        own,
        champion=scores[rows.judging],
        champion_threshold=main.metrics.threshold if main.metrics else None,
        metric_units={metric.name: metric.unit for metric in evaluation.metrics},
    )
