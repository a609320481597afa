"""Checks what needs no model: whether the pack is the review's, against which main, and that nothing changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bots.dvc import lockfile
from bots.dvc.model_stages import list_left_alone
from bots.dvc.other_models import find_other_models
from bots.evidence import VerificationCheck, VerifiedFigure
from bots.layout import DVC_LOCK
from bots.publish.lock import find_contradictions
from bots.settings import MAIN_MODEL
from bots.verification import figures

if TYPE_CHECKING:
    from bots.evidence import Review
    from bots.publish.model_bundle import ModelBundle
    from bots.verification.main_side import Main


def is_compared(review: Review) -> bool:
    """Whether a review says that it holds two models against each other on main's rows."""
    claims = any(rule.rule == "baseline" and rule.passed for rule in review.rules)
    return claims and any(metric.champion is not None for metric in review.metrics)


def check_name(review: Review, main: Main) -> VerificationCheck:
    """Whether the review is of the model that it is taken for."""
    wanted, said = (one or MAIN_MODEL for one in (main.settings.model_name, review.model_name))
    words = f"the review is of {wanted}" if wanted == said else f"the review is of {said}, not of {wanted}"
    return VerificationCheck(name="model", passed=wanted == said, words=words)


def check_pack(review: Review, bundle: ModelBundle, main: Main) -> VerificationCheck:
    """Whether what the run handed over is what the review shows."""
    found = find_contradictions(review, bundle, main.settings.review.files)
    words = f"{len(bundle.texts)} files and the model of {DVC_LOCK} are those that the review shows"
    if found:
        words = f"the review and what its run handed over contradict each other: {'; '.join(found[:3])}"
    # Before main has a model, a first one may lie where main does not say yet: that is no lie.
    elsewhere = not main.lock.stages and bundle.lock.find_digest(main.settings.review.files.model) is None
    passed = None if found and elsewhere else not found
    return VerificationCheck(name="pack", passed=passed, words=words)


def check_base(review: Review, main: Main) -> VerificationCheck:
    """Whether the review was made against main as it is in this checkout."""
    name, champion = "main", review.champion
    if champion is None:
        if main.model is None:
            path = main.settings.review.files.model
            words = f"main's {DVC_LOCK} names no {path}" if main.lock.stages else "main has no model yet"
            return VerificationCheck(name=name, passed=True, words=words)
        words = "the review says that main has no model, and it has one: review the change again"
        return VerificationCheck(name=name, passed=None, words=words)
    files = main.settings.review.files
    named = {
        "model": (champion.model, main.model),
        "ONNX model": (champion.onnx, main.lock.find_digest(files.onnx)),
        "data": (champion.data, main.lock.find_digest(files.raw)),
        "holdout": (champion.holdout, main.holdout),
    }
    wrong = [what for what, (said, known) in named.items() if said != known]
    words = f"the review was made against main's model, data and holdout of {main.commit[:7]}"
    if wrong:
        words = (
            f"the review was made against another {' and '.join(wrong)} than main has at {main.commit[:7]}"
        )
    return VerificationCheck(name=name, passed=not wrong, words=words)


def check_models(review: Review, bundle: ModelBundle, main: Main) -> VerificationCheck:
    """Whether only the model changed that a review judges; a review that says so itself does not pass anyway."""
    name, judged = "models", main.settings.review.files.model
    others = find_other_models(
        main.lock,
        bundle.lock,
        main.settings.review.files,
        declared=main.declared,
        left_alone=list_left_alone(main.settings),
    )
    if others.unjudged and review.passed and main.model is not None:
        listed = ", ".join(others.unjudged[:3])
        words = f"{listed} changed, and the review, which judges only {judged}, passes without a word of it"
        return VerificationCheck(name=name, passed=False, words=words)
    words = f"no other model than {judged} changed"
    if others.unjudged:
        words = f"the review does not pass, as another model than {judged} changed"
    return VerificationCheck(name=name, passed=True, words=words)


def check_unchanged(review: Review, bundle: ModelBundle, main: Main) -> VerificationCheck:
    """Whether the change really makes nothing that main has not, and is shown with main's figures."""
    name = "nothing changed"
    changed = sorted(lockfile.find_changed_outputs(main.lock, bundle.lock))
    if changed:
        words = f"the review says that nothing changed, and {', '.join(changed[:3])} differ from main's"
        return VerificationCheck(name=name, passed=False, words=words)
    known = main.metrics.values if main.metrics else {}
    wrong = [
        VerifiedFigure(name=metric.name, said=metric.candidate, found=known.get(metric.name))
        for metric in review.metrics
        if not metric.champion == metric.candidate == known.get(metric.name)
    ]
    broken = [rule.rule for rule in review.rules if not rule.passed]
    words = f"all {len(main.lock.outputs)} outputs are main's, byte for byte, and so are the figures"
    if wrong:
        words = f"nothing changed, but the review shows other figures: {figures.describe_figures(wrong)}"
    elif review.passed and (broken or review.verdict != "equivalent"):
        words = (
            f"nothing changed, and the review passes as {review.verdict} with the broken rules {broken[:3]}"
        )
        return VerificationCheck(name=name, passed=False, words=words)
    return VerificationCheck(name=name, passed=not wrong, words=words, figures=wrong)
