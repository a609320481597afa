"""Asks the packed model, and checks its scores, their metrics and the explanation by what it answers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import structs

from bots.evidence import MetricsReport, VerificationCheck, VerifiedFigure
from bots.stats import predictions
from bots.stats.predictions import PredictionsError
from bots.verification import model_checks
from bots.verification.collection import CollectionError
from bots.verification.reviewed_predictions import estimate_half_widths
from bots.verification.rows import align_predictions, get_row_names
from bots.verification.scorer import NotScored
from bots.verification.stop import Stop

if TYPE_CHECKING:
    from bots.deploy.checks import Check
    from bots.dvc.lockfile import Lock
    from bots.evidence import Review
    from bots.publish.model_bundle import ModelBundle
    from bots.stats.metrics import Floats
    from bots.verification.collection import Collected
    from bots.verification.main_side import Main
    from bots.verification.row_checks import InputRows, Tables
    from bots.verification.scorer import Answers

AskModel = Callable[[Path, Path], "Answers"]
"""Asks the model in a file for the scores of a table. Raises `NotScored`."""
TOLERANCE = 1e-4
"""How far the ONNX model's scores may be from the reviewed ones where no export names a tolerance."""
LOOSEST = 1e-3
"""The largest tolerance of a change that is taken where main has none."""


def ask_packed_model(
    collected: Collected, bundle: ModelBundle, main: Main, *, rows: InputRows, ask: AskModel
) -> Answers:
    """Ask the packed model about the change's rows. Raises `Stop` where there is none, or it does not answer."""
    review, files = collected.review, main.settings.review.files

    def stop(words: str, *, passed: bool | None) -> Stop:
        return Stop(VerificationCheck(name="model", passed=passed, words=words))

    if review.export is None or not review.export.exported:
        reason = review.export.reason if review.export else None
        raise stop(f"the model has no ONNX form to ask{f': {reason}' if reason else ''}", passed=None)
    try:
        model = collected.files.find_output(bundle.lock, f"{files.onnx}/model.onnx")
    except CollectionError as error:
        raise stop(str(error), passed=None) from error
    with model.open("rb") as file:
        digest = "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()
    if digest != review.export.digest:
        words = (
            f"{files.onnx}/model.onnx is {digest[:15]}, the review judged {str(review.export.digest)[:15]}"
        )
        raise stop(words, passed=False)
    try:
        return ask(model, rows.path)
    except NotScored as error:
        raise stop(str(error), passed=None) from error


def find_derived(lock: Lock) -> dict[str, str]:
    """The features that a model computes by itself with their expressions, as dvc.lock recorded the parameters."""
    start = "features.derived."
    recorded = {key: value for stage in lock.stages.values() for key, value in stage.params.items()}
    return {key.removeprefix(start): str(value) for key, value in recorded.items() if key.startswith(start)}


def check_answers(
    review: Review,
    answers: Answers,
    tables: Tables,
    *,
    rows: InputRows,
    main: Main,
    derived: Mapping[str, str],
    told: list[str],
) -> Iterator[VerificationCheck]:
    """Scores, metrics and explanation, from what the model answered. Raises `Stop` where those are of other rows."""
    evaluation, export = review.evaluation, review.export
    if evaluation is None or export is None:
        raise Stop(VerificationCheck(name="metrics", passed=False, words="the review shows no metrics"))
    target, reviewed, weights = _line_up(answers, tables, rows, main)
    # A change does not choose how far its model may be off, as long as main has a model that says it.
    known = main.export.tolerance if main.export else None
    own = min(export.tolerance or TOLERANCE, LOOSEST)
    flips = None if main.settings.task == "regression" else (export.flips or 0)
    fair = structs.replace(export, tolerance=own if known is None else known, flips=flips)
    seen = model_checks.check_parity(
        answers.scores, reviewed, fair, task=main.settings.task, threshold=evaluation.threshold
    )
    yield convert_check(seen, {})
    yield _check_metrics(target, answers.scores, evaluation, weights=weights, tables=tables, main=main)
    if review.explanation is None or not review.explanation.passed:
        told.append("the explanation: there is none that adds up to the predictions")
        return
    seen = model_checks.check_explanation(answers.importance, review.explanation, derived)
    if seen.passed is None:
        told.append(f"the explanation: {seen.words}")
    else:
        yield convert_check(seen, {})


def _line_up(
    answers: Answers, tables: Tables, rows: InputRows, main: Main
) -> tuple[Floats, Floats, Floats | None]:
    """Target, reviewed score and weight of each row that the model was asked about. Raises `Stop`."""
    path = main.settings.review.files.predictions
    words = f"the change's {path} are not about the rows of its inputs"
    found = align_predictions(tables.predicted, get_row_names(rows.table))
    if found is None or len(answers.scores) != len(found):
        raise Stop(VerificationCheck(name="parity", passed=False, words=words))
    try:
        classes = list_own_classes(tables, main)
        target, score = (
            predictions.get_targets(found, path, classes),
            predictions.get_scores(found, path, classes),
        )
        if answers.scores.shape != score.shape:
            raise PredictionsError(
                f"the packed model gives {answers.scores.shape[1:] or 1} scores a row, and the change's {path} have "
                f"{score.shape[1:] or 1}"
            )
        return target, score, predictions.get_weights(found, path)
    except PredictionsError as error:
        raise Stop(VerificationCheck(name="parity", passed=False, words=str(error))) from error


def list_own_classes(tables: Tables, main: Main) -> tuple[str, ...]:
    """The classes of the change's model, in its order; none where main's task has none."""
    return (
        predictions.list_classes(tables.predicted.column_names) if main.settings.task == "multiclass" else ()
    )


def _check_metrics(
    target: Floats,
    scores: Floats,
    evaluation: MetricsReport,
    *,
    weights: Floats | None,
    tables: Tables,
    main: Main,
) -> VerificationCheck:
    half_widths = estimate_half_widths(tables.predictions, main.settings, evaluation.threshold)
    seen = model_checks.check_metrics(
        target,
        scores,
        evaluation=evaluation,
        bins=main.settings.evaluate.calibration_bins,
        half_widths=half_widths,
        weights=weights,
        classes=list_own_classes(tables, main),
    )
    return convert_check(seen, {metric.name: metric.value for metric in evaluation.metrics})


def convert_check(check: Check, said: Mapping[str, float]) -> VerificationCheck:
    """Convert a check for `verification.json`; `said` are the review's figures."""
    found = [
        VerifiedFigure(name=name, said=said.get(name), found=value) for name, value in check.figures.items()
    ]
    return VerificationCheck(name=check.name, passed=check.passed, words=check.words, figures=found)
