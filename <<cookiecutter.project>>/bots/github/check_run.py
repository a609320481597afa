"""The check run of a review: one on each commit, found again by its marker and edited in place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from bots.github.client import CheckRunContent, Conclusion
from bots.github.marker import parse_marker

if TYPE_CHECKING:
    from bots.github.client import GitHubApi
    from bots.github.marker import Marker


def build_content(
    marker: Marker, *, conclusion: Conclusion | None, title: str, summary: str, details_url: str
) -> CheckRunContent:
    """Build what the check run of a review says; without a conclusion the review is still running."""
    return CheckRunContent(
        name=marker.naming.check,
        external_id=marker.format_line(),
        conclusion=conclusion,
        title=title,
        summary=summary,
        details_url=details_url,
    )


def write_check_run(api: GitHubApi, marker: Marker, content: CheckRunContent, *, final: bool) -> str:
    """Create or edit the check run on the marker's commit, as `choose_step` says; returns what was done.

    Safe to repeat: it always looks first. Raises `RequestDenied` and `TemporaryFailure`.
    """
    ours = [
        (written, check_run.id, check_run)
        for check_run in api.list_check_runs(marker.commit, content.name)
        if (written := parse_marker(check_run.external_id, marker.naming))
    ]
    if not ours:
        if final:
            api.create_check_run(marker.commit, content)
        return "written" if final else "none to conclude"
    # GitHub counts the newest check run of a name, so that one is edited, whichever base it is about.
    written, _, newest = max(ours, key=lambda one: one[1])
    if any(other > marker and other.may_concern_base_of(marker) for other, _, _ in ours):
        return "left as it is"
    step = choose_step(
        written,
        newest.conclusion,
        mine=marker,
        conclusion=content.conclusion,
        final=final,
    )
    if step == "create":
        api.create_check_run(marker.commit, content)
    elif step == "edit":
        api.edit_check_run(newest.id, content)
    return "left as it is" if step == "leave" else "written"


def choose_step(
    there: Marker,
    conclusion_there: str | None,
    *,
    mine: Marker,
    conclusion: Conclusion | None,
    final: bool,
) -> Literal["create", "edit", "leave"]:
    """Decide what to do where the bots have written a check run already.

    `there` and `conclusion_there` are of the newest one, `mine` and `conclusion` of this run (None: in progress). A
    newer run about another base does not count.
    Content that is not `final` only ends this run's own check run, which would stay in progress for ever.
    """
    if there > mine and there.may_concern_base_of(mine):
        return "leave"
    if conclusion_there is None:
        # The time is left out: a check run that nobody ends would stay in progress for ever.
        own = (there.run, there.attempt) == (mine.run, mine.attempt)
        return "edit" if final or own else "leave"
    if conclusion is None:
        return "leave" if there == mine else "create"
    return "edit" if final else "leave"
