"""Finds out whether who let a version in has also approved its run, where GitHub's own rule does not see that.

An environment's *prevent self-review* stops who started a run. Where the bots or the clock started it, as for each
further model, it stops nobody, and who merged the change could approve alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from bots.github.client import DeploymentReview
    from bots.release.versions import Release


def find_unattended_run(environ: Mapping[str, str]) -> int | None:
    """Find the number of this run of a workflow where no person started it; None where one did, and outside of one."""
    by_clock = environ.get("GITHUB_EVENT_NAME") == "schedule"
    if by_clock or environ.get("GITHUB_ACTOR", "").endswith("[bot]"):
        return int(environ.get("GITHUB_RUN_ID", "0")) or None
    return None


def find_lone_approver(reviews: Iterable[DeploymentReview], environment: str, release: Release) -> str | None:
    """Find the person who let a version in and whom nobody else joined in approving its run for an environment."""
    approvers = {one.author for one in reviews if one.state == "approved" and environment in one.environments}
    accepted = release.accepted.by if release.accepted else None
    responsible = {who.casefold() for who in (release.merged_by, accepted) if who}
    if any(who.casefold() not in responsible for who in approvers):
        return None
    return min(approvers, default=None)
