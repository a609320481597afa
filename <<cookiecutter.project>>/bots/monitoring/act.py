"""Acts on what a run of the watch saw: the issues, the retrain pull request, a message where people must be told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bots.monitoring.issues import IssueResult, WatchIssues
from bots.monitoring.retrain import RetrainBot, answer_wish, find_reason
from bots.observations import Trouble
from bots.retry import RequestDenied, RetriesExhausted

if TYPE_CHECKING:
    from bots.monitoring.judgement import Judged
    from bots.observations import TroubleState
    from bots.settings import Retrain

Send = Callable[["TroubleState", "IssueResult"], "str | None"]
"""Tells people of an alarm; returns why it could not be told, None where it was."""


@dataclass(frozen=True, kw_only=True)
class Acted:
    """What was done, in sentences, and the numbers of the issues. `failed`: something could not be done."""

    words: list[str]
    issues: dict[Trouble, int]
    failed: bool


def act(
    judged: Judged,
    *,
    issues: WatchIssues,
    retrain: RetrainBot,
    settings: Retrain,
    send: Send,
    today: str,
) -> Acted:
    """Bring issues and pull request to where they should be, and tell people of a new alarm once.

    What fails is said and stops nothing else; the next run tries again.
    """
    report = judged.report
    settled = issues.settle_issues(judged.states)
    numbers = {one.trouble: one.number for one in settled if one.number is not None}
    reason = find_reason(
        judged.states,
        report.decisions,
        settings,
        issues={one.trouble: one.number for one in settled},
        deployments=report.deployments,
        today=today,
    )
    pull = retrain.settle(reason, judged.newest_labelled, judged.states)
    # The issue's text names the pull request for as long as that is open.
    if pull.number is not None and pull.done in ("opened", "updated", "left"):
        issues.links = replace(issues.links, pull=pull.number)
        settled = issues.settle_issues(judged.states)
    words = [one.words for one in settled if one.done != "none" and one.words]
    words += [pull.words] if pull.words else []
    told = _tell_people(judged, settled, issues=issues, send=send)
    lost = answer_wish(issues.api, reason, pull, author=issues.author, retry=issues.retry)
    told += [lost] if lost else []
    failed = any(one.done == "not written" for one in settled) or (
        pull.done == "not opened" and reason is not None
    )
    return Acted(words=[_capitalize(one) for one in [*words, *told]], issues=numbers, failed=failed)


def _tell_people(
    judged: Judged, settled: Sequence[IssueResult], *, issues: WatchIssues, send: Send
) -> list[str]:
    """Tell people of each new alarm, once; returns what went wrong."""
    said = []
    states = {state.trouble: state for state in judged.states}
    for one in settled:
        if not one.page:
            continue
        why = send(states[one.trouble], one)
        if why is not None:
            said.append(why)
            continue
        try:
            issues.mark_told(states[one.trouble])
        except (RequestDenied, RetriesExhausted) as error:
            said.append(f"that people were told of it could not be written down: {error}")
    return said


def _capitalize(words: str) -> str:
    ended = words if words.endswith((".", "!", "?")) else f"{words}."
    return ended[0].upper() + ended[1:]
