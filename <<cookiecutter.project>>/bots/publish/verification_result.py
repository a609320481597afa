"""Loads what the verifying job found out about a review, and decides what that leaves of a pass.

A review is its author's word. Its check turns green only where main's code got the same figures from the packed model.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

from bots import evidence
from bots.errors import BotsError
from bots.evidence import EvidenceError, Review, Verification
from bots.publish.review_artifact import InvalidArtifact, NoArtifact, read_artifact
from bots.render.verification import format_refuted, format_unverified

if TYPE_CHECKING:
    from pathlib import Path

    from bots.publish.decision import Decision
    from bots.publish.review_artifact import ArtifactContent

FILE = "verification.json"


class NotVerified(BotsError):
    """Nobody verified the review; the message says why."""


VerificationResult = Verification | NotVerified


def compute_digest(review: Review) -> str:
    """Compute the digest by which a verification names the review that it is about: that of its file, read once."""
    read = evidence.decode(evidence.encode(review), Review, "review.json")
    return "sha256:" + hashlib.sha256(evidence.encode(read)).hexdigest()


def find_verification(folder: Path, artifact: ArtifactContent) -> VerificationResult:
    """Load what the verifying job left about this review; return, not raise, why there is nothing to go by."""
    if not isinstance(artifact, Review):
        return NotVerified("there is no review to verify")
    try:
        found = evidence.decode(read_artifact(folder, FILE), Verification, FILE)
    except NoArtifact:
        return NotVerified("the job that verifies it left nothing: it failed, or was stopped")
    except (InvalidArtifact, EvidenceError) as error:
        return NotVerified(f"what the job that verifies it left cannot be read: {error}")
    if found.review != compute_digest(artifact):
        return NotVerified("what was verified is another review")
    return found


def get_shown(result: VerificationResult) -> Verification | None:
    """Get what a comment shows of a verification; None where there is none."""
    return result if isinstance(result, Verification) else None


def hold_against(decision: Decision, verification: VerificationResult) -> Decision:
    """Decide what is left of a decision about a review.

    A pass stays one only where the review was verified. A refuted review is a failure whatever it says, and nothing of
    it is locked. One that could not be verified waits for a person; it is locked where that is known, so that a
    person's decision merges what was judged. One that is not about main as it is does not pass anyway, and cannot come
    out again by main.
    """
    if decision.verdict is None or decision.elsewhere:
        return decision
    if isinstance(verification, Verification) and verification.outcome == "refuted":
        return replace(
            decision,
            conclusion="failure",
            title="Refuted: the review's figures do not come out again",
            warning=format_refuted(verification) + decision.warning,
            locks=False,
        )
    if isinstance(verification, Verification) and verification.outcome == "passed":
        return decision
    known = isinstance(verification, Verification)
    why = verification.words if isinstance(verification, Verification) else str(verification)
    passes = decision.conclusion == "success"
    # Regressed and blocked stay what they are. What asks a person is no longer what they may let pass.
    title = f"{decision.title}; it could not be verified" if decision.locks else decision.title
    return replace(
        decision,
        conclusion="action_required" if passes else decision.conclusion,
        title=f"{decision.title}, but it could not be verified" if passes else title,
        warning=format_unverified(why, again=not known) + decision.warning,
        locks=decision.locks and known,
    )
