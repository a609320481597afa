"""Settles how each kind of trouble stands: from what a run found, what was known before, and what people decided.

A trouble begins with an alarm or a warning. It ends when neither was found for so many days that could be looked at
(`CALM_DAYS`): a day on which the bot was blind says nothing, so it never ends a trouble.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, get_args

from msgspec.structs import replace

from bots.observations import (
    Day,
    Decision,
    Episode,
    EpisodeEntry,
    Finding,
    Instant,
    Level,
    Standing,
    Trouble,
    TroubleState,
)

TROUBLES: Final[tuple[Trouble, ...]] = get_args(Trouble)
CALM_DAYS: Final[dict[Trouble, int]] = {"performance": 7, "health": 2, "drift": 7, "labels": 2, "blind": 1}
"""After so many days in which a kind of trouble was looked for and not found, it is over."""
LOUD: Final[dict[Trouble, tuple[Level, ...]]] = {
    "performance": ("alarm",),
    "health": ("alarm",),
    "drift": ("alarm",),
    # Here the watch itself loses its sight: nobody would hear of harm.
    "labels": ("alarm", "warning"),
    "blind": ("alarm", "warning"),
}
"""What is loud enough for an issue; everything else stands on the page."""
MOST_ENTRIES: Final = 50
LONGEST_NAME: Final = 200
"""What a finding is about is kept in so many characters."""
_LEVELS: Final[dict[Level, int]] = {"alarm": 0, "warning": 1, "note": 2}


def settle_troubles(
    findings: Sequence[Finding],
    episodes: Sequence[Episode],
    decisions: Sequence[Decision],
    now: Instant,
    looked: Mapping[Trouble, Day | None] | None = None,
) -> list[TroubleState]:
    """Settle every kind of trouble, in a fixed order; safe to repeat with what the last run left.

    `looked` is the newest day that each kind was looked for on; None or left out: it could not be looked for.
    Without it, `find_looked` tells by the findings.
    """
    seen = find_looked(findings, now[:10]) if looked is None else looked
    going = {episode.trouble: episode for episode in episodes if episode.until is None}
    return [
        _settle_trouble(
            trouble,
            sort_findings(one for one in findings if one.trouble == trouble and one.level != "note"),
            episode=going.get(trouble),
            decisions=[one for one in decisions if one.trouble == trouble],
            now=now,
            looked=seen.get(trouble),
        )
        for trouble in TROUBLES
    ]


def find_looked(findings: Iterable[Finding], today: Day) -> dict[Trouble, Day | None]:
    """Find which kinds could be looked for: none where the bot is blind, no performance where labels are in trouble."""
    found = {one.trouble for one in findings if one.level != "note"}
    if "blind" in found:
        return {"blind": today}
    hidden: set[Trouble] = {"performance"} if "labels" in found else set()
    return {trouble: today for trouble in TROUBLES if trouble not in hidden}


def list_episodes(episodes: Sequence[Episode], states: Sequence[TroubleState]) -> list[Episode]:
    """List the episodes after a run: those that were over, and what became of the others; by their first day."""
    over = [episode for episode in episodes if episode.until is not None]
    now = [state.episode for state in states if state.episode is not None]
    return sorted([*over, *now], key=lambda episode: (episode.since, episode.trouble))


def sort_findings(findings: Iterable[Finding]) -> list[Finding]:
    """Sort findings, the worst first: by level, then by evidence, then by name."""
    return sorted(findings, key=lambda one: (_LEVELS[one.level], -(one.evidence or 0.0), name_finding(one)))


def name_finding(finding: Finding) -> str:
    """Name what a finding is about, the same from run to run: check, subject and version.

    A name that is too long to be kept ends in a part of its SHA-256, so that two that begin alike stay two.
    """
    name = "|".join((finding.check, finding.subject or "", finding.version or ""))
    if len(name) <= LONGEST_NAME:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:16]
    return f"{name[: LONGEST_NAME - len(digest) - 1]}#{digest}"


def _settle_trouble(
    trouble: Trouble,
    found: list[Finding],
    *,
    episode: Episode | None,
    decisions: Sequence[Decision],
    now: Instant,
    looked: Day | None,
) -> TroubleState:
    needed = CALM_DAYS[trouble]
    if episode is None and not found:
        return TroubleState(trouble=trouble, standing="well", calm_needed=needed, looked=looked is not None)
    if not found and looked is None:
        return _keep_state(trouble, episode, decisions, now=now)
    going = (
        _continue_episode(trouble, found, episode=episode, now=now, looked=looked)
        if found
        else _calm_episode(episode, looked)
    )
    if going.calm >= needed:
        ended = _add_entry(
            replace(going, until=now[:10], standing="well"),
            now,
            f"Over: nothing found on {_count_days(needed)}.",
        )
        return TroubleState(
            trouble=trouble, standing="well", episode=ended, calm=going.calm, calm_needed=needed
        )
    decision = find_decision(going, decisions, now)
    standing = _name_standing(found, decision)
    settled = _note_change(going, found, standing=standing, decision=decision, now=now)
    return TroubleState(
        trouble=trouble,
        standing=standing,
        findings=found,
        episode=settled,
        decision=decision,
        calm=settled.calm,
        calm_needed=needed,
        page=standing == "alarm",
    )


def _keep_state(
    trouble: Trouble, episode: Episode | None, decisions: Sequence[Decision], *, now: Instant
) -> TroubleState:
    """Leave a trouble as it was: it could not be looked for, so nothing is known of it."""
    assert episode is not None
    decision = find_decision(episode, decisions, now)
    standing = episode.standing
    if decision is not None and standing == "alarm":
        standing = "muted" if decision.what == "muted" else "acknowledged"
    return TroubleState(
        trouble=trouble,
        standing=standing,
        episode=episode,
        decision=decision,
        calm=episode.calm,
        calm_needed=CALM_DAYS[trouble],
        page=standing == "alarm",
        looked=False,
    )


def _continue_episode(
    trouble: Trouble, found: list[Finding], *, episode: Episode | None, now: Instant, looked: Day | None
) -> Episode:
    """Continue or begin an episode in which something was found."""
    today = now[:10]
    worst = found[0]
    if episode is None:
        since = min([today, *(one.since for one in found if one.since is not None)])
        episode = Episode(trouble=trouble, since=since, words=worst.words)
    loud = {
        name: episode.loud.get(name, now)
        for name in (name_finding(one) for one in found if one.level in LOUD[trouble])
    }
    return replace(
        episode,
        words=worst.words,
        last=today,
        looked=looked or episode.looked,
        calm=0,
        loud=loud,
        told=episode.told or bool(loud),
    )


def _calm_episode(episode: Episode | None, looked: Day | None) -> Episode:
    """Count the day to the calm ones, if it is a new one that could be looked at."""
    assert episode is not None
    # The newest day with labels lies weeks behind the day of the run: the two are never held against each other.
    before = episode.looked or episode.last or ""
    fresh = looked is not None and looked > before
    return replace(
        episode, calm=episode.calm + fresh, looked=looked if fresh else episode.looked, loud={}, alarm=None
    )


def find_decision(episode: Episode, decisions: Sequence[Decision], now: Instant) -> Decision | None:
    """Find what a person decided that is in force: the newest silence that lasts, else an acknowledgement.

    An acknowledgement covers what was loud when it was given; what became loud later was not known to whoever gave it.
    """
    newest = sorted(decisions, key=lambda one: one.at, reverse=True)
    silence = next((one for one in newest if one.what == "muted"), None)
    if silence is not None and silence.until is not None and now[:10] < silence.until:
        return silence
    given = next((one for one in newest if one.what == "acknowledged"), None)
    if given is None or not episode.loud or any(since > given.at for since in episode.loud.values()):
        return None
    return given


def _name_standing(found: list[Finding], decision: Decision | None) -> Standing:
    if not found:
        return "recovering"
    if decision is not None:
        return "muted" if decision.what == "muted" else "acknowledged"
    return "alarm" if found[0].level == "alarm" else "warning"


def _note_change(
    episode: Episode, found: list[Finding], *, standing: Standing, decision: Decision | None, now: Instant
) -> Episode:
    """Write down what is different from the last run: how it stands, or what was found."""
    told = "\n".join([standing, *sorted(f"{one.level}|{name_finding(one)}" for one in found)])
    signature = hashlib.sha256(told.encode()).hexdigest()[:16]
    alarm = (episode.alarm or now) if standing == "alarm" else None
    changed = replace(episode, standing=standing, signature=signature, alarm=alarm)
    if signature == episode.signature:
        return changed
    return _add_entry(changed, now, _describe_standing(found, standing, decision))


def _describe_standing(found: list[Finding], standing: Standing, decision: Decision | None) -> str:
    if standing == "recovering":
        return "Nothing is found any more."
    more = f" And {len(found) - 1} more." if len(found) > 1 else ""
    if decision is None:
        return f"{'Alarm' if standing == 'alarm' else 'Warning'}: {found[0].words}{more}"
    if decision.what == "muted":
        return f"Muted until {decision.until} by {decision.by}: {found[0].words}{more}"
    return f"Acknowledged by {decision.by}: {found[0].words}{more}"


def _add_entry(episode: Episode, now: Instant, words: str) -> Episode:
    entries = [*episode.history, EpisodeEntry(day=now[:10], words=words[:4_000])]
    kept = entries[-MOST_ENTRIES:]
    return replace(episode, history=kept, earlier=episode.earlier + len(entries) - len(kept))


def _count_days(number: int) -> str:
    return "one day that was looked at" if number == 1 else f"{number} days that were looked at"
