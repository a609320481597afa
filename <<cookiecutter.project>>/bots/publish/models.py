"""Loads what a run handed over of each model of a project.

The default branch's params.yaml says which models there are. A pull request passes where each of them does, whether it
says that it changed one or not: a model without a review, or with one that is another's, holds the change up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from msgspec import structs

from bots.evidence import Review
from bots.layout import PARAMS, Layout, place_review
from bots.publish.review_artifact import InvalidArtifact, find_review
from bots.publish.verification_result import NotVerified, find_verification
from bots.settings import MAIN_MODEL, SettingsError, load_models, load_naming
from bots.verdict.conclusion import UNCHANGED

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bots.github.workflow_run import WorkflowRun
    from bots.naming import Naming
    from bots.publish.review_artifact import ArtifactContent
    from bots.publish.verification_result import VerificationResult


@dataclass(frozen=True, kw_only=True)
class ModelReview:
    """What a run handed over of a model, with what became of its verification. `name` is None for the main model."""

    name: str | None
    files: Layout
    naming: Naming
    artifact: ArtifactContent
    verification: VerificationResult


def load_reviews(root: Path, artifact: Path, verification: Path) -> list[ModelReview]:
    """Load the review of every model that the checkout's params.yaml declares, the main one's first.

    `artifact` and `verification` are the folders of what was handed over. Where params.yaml cannot be read, nobody
    knows which models there are: then only the main one's review is there, and it is not verified. Raises
    `NamingError`.
    """
    try:
        # Who has no params.yaml yet has declared no other model.
        family = load_models(root) if (root / PARAMS).is_file() else {None: None}
    except SettingsError as error:
        untold = NotVerified(f"main's settings do not say which models there are: {error}")
        review = find_review(artifact)
        return [
            ModelReview(
                name=None, files=Layout(), naming=load_naming(root), artifact=review, verification=untold
            )
        ]
    found = []
    for name, settings in family.items():
        review = find_review(place_review(artifact, name))
        if isinstance(review, Review) and review.model_name != name:
            said = review.model_name or MAIN_MODEL
            review = InvalidArtifact(f"it is a review of {said}, not of {name or MAIN_MODEL}")
        found.append(
            ModelReview(
                name=name,
                files=settings.review.files if settings else Layout(),
                naming=load_naming(root, name),
                artifact=review,
                verification=find_verification(place_review(verification, name), review),
            )
        )
    return found


def is_untouched(artifact: ArtifactContent) -> bool:
    """Whether a review says that all of its model is main's: that needs no comment of its own."""
    return isinstance(artifact, Review) and artifact.reason == UNCHANGED


def is_excused(run: WorkflowRun, reviews: Sequence[ModelReview], of: ModelReview) -> bool:
    """Whether another model's review may be why the run failed: one that does not pass says so.

    May be: the run's code wrote that review, and the team's tests may have failed beside it.
    """
    others = (one.artifact for one in reviews if one.name != of.name)
    return run.conclusion == "failure" and any(isinstance(one, Review) and not one.passed for one in others)


def explain_run(run: WorkflowRun, reviews: Sequence[ModelReview], of: ModelReview) -> WorkflowRun:
    """The run as it ended but for the other models, for what is said of this one; its check is by `withhold_pass`."""
    return structs.replace(run, conclusion="success") if is_excused(run, reviews, of) else run
