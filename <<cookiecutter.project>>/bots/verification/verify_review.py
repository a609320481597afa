"""Verifies a review before the merge: main's code makes its figures again, from the packed model and main's own files.

A check that fails refutes the review; one that could not look says so, and then nobody may call the review verified.
What no check can see remains the change's own word, and is listed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from bots.dvc.model_stages import narrow_lock
from bots.evidence import Verification, VerificationCheck, VerificationOutcome
from bots.publish.verification_result import compute_digest
from bots.verdict.conclusion import UNCHANGED
from bots.verdict.sentences import cut
from bots.verification.answer_checks import ask_packed_model, check_answers, find_derived
from bots.verification.callers_check import check_callers
from bots.verification.callers_side import describe_interface
from bots.verification.claim_checks import (
    check_base,
    check_models,
    check_name,
    check_pack,
    check_unchanged,
    is_compared,
)
from bots.verification.confirmation_check import check_confirmation
from bots.verification.figure_checks import check_figures
from bots.verification.moved_checks import (
    OLD,
    ask_main,
    check_claims,
    check_labels,
    check_moved_rows,
    join_moved_predictions,
    load_moved_rows,
    replace_known,
)
from bots.verification.row_checks import (
    check_holdout,
    check_inputs,
    check_main_predictions,
    load_inputs,
    load_tables,
)
from bots.verification.seed_checks import OWN_WORD
from bots.verification.stop import Stop

if TYPE_CHECKING:
    from bots.evidence import Review
    from bots.publish.model_bundle import ModelBundle
    from bots.verification.answer_checks import AskModel
    from bots.verification.collection import Collected
    from bots.verification.main_side import Main
    from bots.verification.row_checks import InputRows, Tables

Tell = Callable[[str], None]

ALWAYS = (
    "that this code and this data trained the model",
    "how the rows were split, and that no row of the holdout was trained on",
    "the checks of the data, drift, calibration and fairness, and what the review says was changed",
)
"""What no verification of a model can see."""
ROW_METRICS = "the metrics of each row: the change's own code measured them"
"""What is not seen where rows bring their metrics."""
OF_THE_SAME = ("that this change's code and data make what main has",)
"""What is not seen where nothing changed."""


@dataclass
class _Found:
    """What was found out so far."""

    checks: list[VerificationCheck] = field(default_factory=list)
    unverified: list[str] = field(default_factory=list)


def verify_review(collected: Collected, main: Main, *, ask: AskModel, tell: Tell) -> Verification:
    """Make a review's figures again. Everything that can be wrong with its files is an outcome, not an error."""
    unchanged = collected.review.reason == UNCHANGED
    found = _Found(unverified=list(OF_THE_SAME if unchanged else ALWAYS))
    try:
        for check in _check_review(collected, main, found.unverified, ask=ask, tell=tell):
            found.checks.append(check)
    except Stop as stop:
        found.checks.append(stop.check)
    if not any(check.passed is False for check in found.checks):
        found.checks += check_callers(collected, main)
    outcome, words = _conclude(collected.review, main, found.checks)
    return Verification(
        review=compute_digest(collected.review),
        main=main.commit,
        outcome=outcome,
        words=cut(words, 2000),
        checks=[_shorten(check) for check in found.checks],
        unverified=[cut(words, 400) for words in found.unverified[:20]],
        interface=describe_interface(collected, main),
    )


def _conclude(review: Review, main: Main, checks: list[VerificationCheck]) -> tuple[VerificationOutcome, str]:
    """The outcome of some checks, and the first reason for it.

    A review that was made against an older main may rightly have other figures: then nothing is refuted.
    """
    failed = next((check for check in checks if check.passed is False), None)
    if failed is not None and review.champion is not None and review.champion.commit != main.commit:
        moved = f"main has moved from {review.champion.commit[:7]} to {main.commit[:7]} since; review the change again"
        return "could not", f"{failed.words} ({moved})"
    if failed is not None:
        return "refuted", failed.words
    unknown = next((check for check in checks if check.passed is None), None)
    if unknown is not None:
        return "could not", unknown.words
    return "passed", f"All {len(checks)} checks came out as the review says."


def _shorten(check: VerificationCheck) -> VerificationCheck:
    return VerificationCheck(
        name=check.name, passed=check.passed, words=cut(check.words, 2000), figures=check.figures[:100]
    )


def _check_review(
    collected: Collected, main: Main, unverified: list[str], *, ask: AskModel, tell: Tell
) -> Iterator[VerificationCheck]:
    """Every check in order. A check whose failure leaves nothing for the others to look at is the last."""
    review, bundle = collected.review, collected.bundle
    if bundle is None:
        raise Stop(VerificationCheck(name="pack", passed=None, words=collected.problem or "there is no pack"))
    if main.settings.others or review.model_name is not None:
        yield _require(check_name(review, main))
    bundle = replace(bundle, lock=narrow_lock(bundle.lock, main.files, main.settings))
    tell("holding the pack against the review")
    yield _require(check_pack(review, bundle, main))
    yield _require(check_base(review, main))
    if review.reason == UNCHANGED:
        yield check_unchanged(review, bundle, main)
        return
    yield _require(check_models(review, bundle, main))
    tables = load_tables(collected, bundle, main)
    if tables.truth is not None:
        yield _require(check_main_predictions(tables, main))
    if main.settings.task == "scores":
        yield from _check_scores(review, tables, main, unverified, tell=tell)
        return
    if review.moved is not None and is_compared(review):
        yield from _check_moved(
            collected, bundle, main, tables=tables, unverified=unverified, ask=ask, tell=tell
        )
        return
    yield _require(check_holdout(review, tables, main, unverified))
    tell("asking the model for every row of the holdout")
    try:
        rows = load_inputs(collected, bundle, main)
        yield from _check_model(
            collected, bundle, main, tables=tables, rows=rows, told=unverified, ask=ask, tell=tell
        )
    except Stop as stop:
        yield stop.check
    tell("making the review's figures again")
    if review.seeds is not None:
        unverified.append(OWN_WORD)
    yield from check_figures(review, tables, main)


def _check_scores(
    review: Review, tables: Tables, main: Main, unverified: list[str], *, tell: Tell
) -> Iterator[VerificationCheck]:
    """Every check of metrics that each row brings: no model can be asked for them, so they stay the change's word."""
    unverified.append(ROW_METRICS)
    if review.moved is not None and is_compared(review):
        words = (
            "the holdout is not main's, and no ONNX model gives the metrics of a row: nothing was made again"
        )
        yield VerificationCheck(name="model", passed=None, words=words)
        return
    yield _require(check_holdout(review, tables, main, unverified))
    words = (
        "no ONNX model gives the metrics of a row (task scores): the change's own code measured each row, and the "
        "figures were made again from what it wrote"
    )
    yield VerificationCheck(name="model", passed=None, words=words)
    tell("making the review's figures again")
    if review.seeds is not None:
        unverified.append(OWN_WORD)
    yield from check_figures(review, tables, main)


def _check_moved(
    collected: Collected,
    bundle: ModelBundle,
    main: Main,
    *,
    tables: Tables,
    unverified: list[str],
    ask: AskModel,
    tell: Tell,
) -> Iterator[VerificationCheck]:
    """Every check of a comparison on a holdout that is not main's."""
    review = collected.review
    assert review.moved is not None
    tell("holding the new holdout against main's own tables")
    moved = load_moved_rows(collected, bundle, main, tables)
    yield _require(check_moved_rows(tables, moved, main), unknown=True)
    yield _require(check_claims(review, collected, main, moved))
    yield check_labels(tables, moved, main)
    if review.moved.old is not None and review.moved.old.candidate is not None:
        unverified.append(OLD)
    tell("asking both models for every row of the new holdout")
    rows = replace_known(load_inputs(collected, bundle, main), moved)
    try:
        yield from _check_model(
            collected, bundle, main, tables=tables, rows=rows, told=unverified, ask=ask, tell=tell
        )
    except Stop as stop:
        yield stop.check
    scores, check = ask_main(collected, main, moved, rows, ask=ask)
    yield check
    tell("making the review's figures again")
    if review.seeds is not None:
        unverified.append(OWN_WORD)
    both = partial(join_moved_predictions, tables=tables, rows=moved, scores=scores, main=main)
    yield from check_figures(review, tables, main, join=both)


def _check_model(
    collected: Collected,
    bundle: ModelBundle,
    main: Main,
    *,
    tables: Tables,
    rows: InputRows,
    told: list[str],
    ask: AskModel,
    tell: Tell,
) -> Iterator[VerificationCheck]:
    """What the packed model answers. Raises `Stop` where it does not."""
    answers = ask_packed_model(collected, bundle, main, rows=rows, ask=ask)
    yield check_inputs(answers, rows, main, unverified=told)
    derived = find_derived(bundle.lock)
    yield from check_answers(
        collected.review, answers, tables, rows=rows, main=main, derived=derived, told=told
    )
    yield from check_confirmation(
        collected, bundle, main, rows=rows, tables=tables, answers=answers, ask=ask, told=told, tell=tell
    )


def _require(check: VerificationCheck, *, unknown: bool = False) -> VerificationCheck:
    """The check, if it passed; else it is the last. `unknown` lets one go on that could not look."""
    if check.passed is False or (check.passed is None and not unknown):
        raise Stop(check)
    return check
