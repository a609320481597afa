"""Counts the looks at a holdout once more, where no pull request has a say, and doubts praise that they do not bear.

A review's own count is its author's word, and a few minutes old. What GitHub lists as `refs/looks/` counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import structs

from bots.evidence import EvidenceError, Review, SplitReport, load_if_there
from bots.git.looks import LooksError, explain_unknown, fetch_looks, make_ref
from bots.git.repository import GitError
from bots.render.escape import escape_text
from bots.render.numbers import format_difference, pluralize
from bots.retry import RetriesExhausted
from bots.verdict.confirmation import ASKED_FROM, NEEDED_FROM
from bots.verdict.looks import LookCount, describe_looks, find_praise_interval, is_improvement
from bots.verdict.moved import shares_rows

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from bots.evidence import MetricComparison
    from bots.git.looks import LookList
    from bots.github.workflow_run import WorkflowRun
    from bots.layout import Layout
    from bots.publish.review_artifact import ArtifactContent
    from bots.retry import Retry


def count_looks(root: Path, environ: Mapping[str, str], retry: Retry) -> LookList:
    """Ask the checkout's remote for all looks, again where it fails for a while; else the list says why."""
    try:
        return retry.call("looks", lambda: fetch_looks(root, environ))
    except (GitError, RetriesExhausted) as error:
        retry.log(f"the looks could not be counted: {error}")
        return explain_unknown(error)


def find_main_holdout(root: Path, files: Layout) -> str | None:
    """The digest of main's holdout, from its own evidence in the checkout; None where main has none to read."""
    try:
        split = load_if_there(root / files.name_report("split"), SplitReport)
        return split.find_part("holdout").digest if split else None
    except EvidenceError:
        return None


def find_look(run: WorkflowRun, artifact: ArtifactContent) -> tuple[str, str] | None:
    """The digests of the holdout and the model that a review held against main's; None where it is no look.

    A review that is stopped, of another commit, or of main's own model is none.
    """
    if not isinstance(artifact, Review) or artifact.candidate.commit != run.head_sha:
        return None
    candidate, champion = artifact.candidate, artifact.champion
    if champion is None or not artifact.metrics or candidate.model == champion.model:
        return None
    if candidate.holdout is None or candidate.model is None:
        return None
    try:
        make_ref(candidate.holdout, candidate.model)
    except LooksError:
        return None
    return candidate.holdout, candidate.model


def correct_looks(artifact: ArtifactContent, known: LookList, holdout: str | None) -> ArtifactContent:
    """What a run uploaded, its review with the looks that GitHub lists, if they are more than it counted itself.

    `holdout` is main's: a review that names another one does not get around the looks at it, unless it says that the
    two share no row, which the review's verification asks. Where nobody could list them, the review says so.
    """
    if not isinstance(artifact, Review) or artifact.candidate.model is None:
        return artifact
    if artifact.looks is not None and known.unknown is not None:
        return structs.replace(artifact, looks=structs.replace(artifact.looks, unknown=known.unknown))
    if known.unknown is not None or (artifact.looks is None and artifact.verdict != "improved"):
        return artifact
    counted = artifact.looks.count if artifact.looks else 1
    alone = artifact.moved is not None and not shares_rows(artifact.moved)
    counting = (artifact.candidate.holdout, None if alone else holdout)
    holdouts = {one for one in counting if one is not None}
    count = LookCount(count=max(counted, known.count(holdouts, artifact.candidate.model)))
    found = describe_looks(_find_primary(artifact), _find_confidence(artifact), count)
    doubted = artifact.verdict == "improved" and explain_doubt(artifact, count.count) is not None
    return structs.replace(artifact, looks=structs.replace(found, missed=found.missed or doubted))


def find_doubt(
    artifact: ArtifactContent, known: LookList, uploaded: ArtifactContent | None = None
) -> str | None:
    """Why a review's *improved* is not believed, as a sentence in Markdown; None where it is, or is not said.

    `uploaded` is the same with the looks that it counted itself: by those it asked fresh rows, or did not.
    """
    if not isinstance(artifact, Review) or artifact.verdict != "improved":
        return None
    if known.unknown is not None:
        return (
            f"The looks at this holdout could not be counted ({escape_text(known.unknown, 300)}), so nobody can tell "
            "whether this is better beyond chance. Run this job again."
        )
    count = _get_count(artifact)
    return explain_doubt(artifact, count) or _explain_unconfirmed(
        artifact, count, counted=_get_count(uploaded if isinstance(uploaded, Review) else artifact)
    )


def explain_doubt(review: Review, count: int) -> str | None:
    """Why a gain is not beyond chance at a look, as a sentence in Markdown; None where it is."""
    metric, confidence = _find_primary(review), _find_confidence(review)
    if metric is not None and is_improvement(metric, confidence, count):
        return None
    interval = find_praise_interval(metric, confidence, count) if metric else None
    shown = "has no interval for that"
    if metric and interval:
        low, high = (format_difference(metric.name, bound) for bound in interval)
        shown = f"is not beyond chance any more ({low} to {high})"
    return (
        f"This holdout has judged {pluralize(count, 'model')} by now, and the more there are, the more a gain must "
        f"show: this one {shown}. Run the review again to have it judged by that."
    )


def _explain_unconfirmed(review: Review, count: int, *, counted: int) -> str | None:
    """Why a gain that is beyond chance waits for fresh rows; None where it does not.

    A review that counted fewer looks had no reason to ask them, or could do without.
    """
    confirmed = review.confirmation is not None and review.confirmation.outcome == "confirmed"
    if confirmed or not any(counted < start <= count for start in (ASKED_FROM, NEEDED_FROM)):
        return None
    return (
        f"This holdout has judged {pluralize(count, 'model')} by now, and what is better on it must be better on fresh "
        f"rows too: this review, which counted {counted}, has not shown that. Run the review again to have it asked."
    )


def _get_count(review: Review) -> int:
    return review.looks.count if review.looks else 1


def _find_primary(review: Review) -> MetricComparison | None:
    return next((metric for metric in review.metrics if metric.role == "primary"), None)


def _find_confidence(review: Review) -> float:
    return review.statistics.confidence if review.statistics else 1.0
