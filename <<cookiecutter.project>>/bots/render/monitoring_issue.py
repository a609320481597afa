"""Renders the issue of a kind of trouble, and what the bot answers below it; reads back what stands there.

How it stands comes first, then what was found, then what a person may decide, then the history. What columns and
categories are called comes from data, so it is shown as text and does nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final, Literal, cast, get_args

from bots.naming import ALONE, Naming
from bots.observations import Day, Decision, Episode, Finding, Instant, Trouble, TroubleState
from bots.render import words
from bots.render.escape import check_address, escape_code, escape_prose, escape_text
from bots.render.markdown import format_table
from bots.render.numbers import format_number, pluralize

LABEL: Final = "monitoring"
_WORD: Final = "model-watch"
LIMIT: Final = 65_000
"""GitHub takes 65,536 characters; so many bytes are surely fewer."""
MOST_FINDINGS: Final = 20
MUTE_DAYS: Final = (7, 30)
RETRAINABLE: Final[tuple[Trouble, ...]] = ("performance", "drift")

TITLES: Final[dict[Trouble, str]] = {
    "performance": "Production: predictions are worse than reviewed",
    "health": "Production: the service or what it is asked is not as it should be",
    "drift": "Production: the data is not what the model was trained on",
    "labels": "Production: labels do not come as they should",
    "blind": "Production cannot be seen",
}
IssueState = Literal["open", "recovered", "doubled"]
What = Literal["acknowledged", "muted", "retrain"]

_MARKER = re.compile(
    r"<!-- (?P<word>model-watch(?:/[a-z0-9/-]{1,120})?) trouble=(?P<trouble>[a-z]{1,20}) "
    r"since=(?P<since>\d{4}-\d\d-\d\d) state=(?P<state>[a-z]{1,20})"
    r"(?: paged=(?P<paged>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ))? -->"
)
_DECISION = re.compile(
    r"<!-- model-watch-decision trouble=(?P<trouble>[a-z]{1,20}) what=(?P<what>[a-z]{1,20}) "
    r"at=(?P<at>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)(?: until=(?P<until>\d{4}-\d\d-\d\d))? "
    r"by=(?P<by>[A-Za-z0-9_-]{1,60}(?:\[bot\])?) -->"
)
_BOX = re.compile(
    r"^- \[(?P<tick>[ xX])\] \*\*(?P<what>Acknowledge|Retrain|Mute until (?P<until>\d{4}-\d\d-\d\d))\*\*",
    re.MULTILINE,
)
_RECOVERED: Final = "<!-- model-watch-recovered since={since} -->"
# What is shown, where all of it would be too long: findings, lines of the history, characters of each.
_SIZES: Final = ((MOST_FINDINGS, 50, 400), (MOST_FINDINGS, 50, 150), (MOST_FINDINGS, 30, 60), (10, 10, 40))


@dataclass(frozen=True)
class IssueText:
    """What an issue says."""

    title: str
    body: str


@dataclass(frozen=True)
class IssueMarker:
    """Which trouble an issue is about, what the bot did with it, which alarm people were told of, and whose it is."""

    trouble: Trouble
    since: Day
    state: IssueState = "open"
    paged: Instant | None = None
    naming: Naming = ALONE

    def format_line(self) -> str:
        """Format the marker; GitHub does not show it."""
        paged = f" paged={self.paged}" if self.paged else ""
        word = self.naming.add_to_mark(_WORD)
        return f"<!-- {word} trouble={self.trouble} since={self.since} state={self.state}{paged} -->"


@dataclass(frozen=True)
class Box:
    """A box that a person may tick."""

    what: What
    until: Day | None
    ticked: bool


@dataclass(frozen=True)
class IssueLinks:
    """Where more is told: the run, the open retrain pull request, and the page that says what to do."""

    run: str | None = None
    pull: int | None = None
    runbook: str | None = None


def parse_issue_marker(body: str, naming: Naming = ALONE) -> IssueMarker | None:
    """Parse the marker at the start of an issue; None where it is not one of the watch's of this project and model."""
    found = _MARKER.match(body)
    if (
        found is None
        or found["word"] != naming.add_to_mark(_WORD)
        or found["trouble"] not in get_args(Trouble)
        or found["state"] not in get_args(IssueState)
    ):
        return None
    return IssueMarker(
        trouble=cast("Trouble", found["trouble"]),
        since=found["since"],
        state=cast("IssueState", found["state"]),
        paged=found["paged"],
        naming=naming,
    )


def replace_issue_marker(body: str, marker: IssueMarker) -> str:
    """Replace the marker of an issue, and nothing else."""
    return _MARKER.sub(lambda _: marker.format_line(), body, count=1)


def parse_boxes(body: str) -> list[Box]:
    """Parse the boxes of an issue. A person may have put another day into one."""
    kinds: dict[str, What] = {"Acknowledge": "acknowledged", "Retrain": "retrain"}
    return [
        Box(kinds.get(found["what"], "muted"), found["until"], found["tick"] != " ")
        for found in _BOX.finditer(body.replace("\r\n", "\n"))
    ]


def untick_boxes(body: str) -> str:
    """Return the issue's text with no box ticked."""
    return _BOX.sub(
        lambda found: found[0].replace(f"[{found['tick']}]", "[ ]", 1), body.replace("\r\n", "\n")
    )


def render_issue(
    state: TroubleState,
    *,
    now: Instant,
    paged: Instant | None = None,
    links: IssueLinks | None = None,
    unconfirmed: bool = False,
    naming: Naming = ALONE,
) -> IssueText:
    """Render the issue of a trouble that goes on, or has just ended; `state.episode` must be there.

    `paged` is the alarm that people were told of; `unconfirmed`: a tick was found of which nobody knows whose it is.
    """
    episode = get_episode(state)
    over = episode.until is not None
    marker = IssueMarker(state.trouble, episode.since, "recovered" if over else "open", paged, naming)
    for findings, entries, length in _SIZES:
        parts = [
            marker.format_line(),
            _render_standing(state, episode, length),
            _render_findings(state, episode, most=findings, length=length),
            "" if over else _render_choices(state, now[:10], unconfirmed=unconfirmed),
            _render_history(episode, most=entries, length=length),
            _render_footer(now, links or IssueLinks(), state.trouble),
        ]
        body = "\n\n".join(part for part in parts if part) + "\n"
        if len(body.encode()) <= LIMIT:
            break
    return IssueText(naming.add_to_title(f"{TITLES[state.trouble]}, since {episode.since}"), body)


def render_plain_words(state: TroubleState) -> str:
    """Render in one line of plain text what the issue says at its top."""
    episode = get_episode(state)
    if episode.until is not None:
        return f"{TITLES[state.trouble]}: over since {episode.until}."
    return f"{TITLES[state.trouble]}, since {episode.since}. {episode.words[:1000]}"


def render_recovery(episode: Episode) -> str:
    """Render the comment with which an issue is closed."""
    begun = f"It began on {episode.since}" + (
        f" and was last found on {episode.last}" if episode.last else ""
    )
    return (
        f"{_RECOVERED.format(since=episode.since)}\n"
        f"{words.STATES['ok']} **Over since {episode.until}.** {begun}. If it comes back, there is a new issue."
    )


def is_recovery(body: str, since: Day) -> bool:
    """Tell whether a comment is the one with which the bot closes an issue."""
    return body.startswith(_RECOVERED.format(since=since))


def render_decision(decision: Decision) -> str:
    """Render the comment that keeps what a person decided: the audit trail of the watch."""
    until = f" until={decision.until}" if decision.until else ""
    by = f"**{escape_text(decision.by, 60)}**"
    said = {
        "acknowledged": f"{by} has acknowledged this: nobody is told of it again unless something else goes wrong or "
        "it comes back, and what watches performance begins anew.",
        "muted": f"{by} has muted this until {decision.until}: till then nobody is told of it.",
        "retrain": f"{by} asks for a retrain pull request: the next run of the watch opens it, or says why it cannot.",
    }[decision.what]
    marker = (
        f"<!-- model-watch-decision trouble={decision.trouble} what={decision.what} at={decision.at}{until} "
        f"by={decision.by} -->"
    )
    return f"{marker}\n{said}"


def parse_decision(body: str, issue: int) -> Decision | None:
    """Parse a comment of the bot's that keeps a decision; None for any other."""
    found = _DECISION.match(body)
    if found is None or found["trouble"] not in get_args(Trouble) or found["what"] not in get_args(What):
        return None
    return Decision(
        trouble=cast("Trouble", found["trouble"]),
        what=cast("What", found["what"]),
        by=found["by"],
        at=found["at"],
        until=found["until"],
        issue=issue,
    )


def render_refusal(who: str, why: str) -> str:
    """Render the comment that says why a tick was not obeyed."""
    return f"{words.STATES['bad']} The tick of **{escape_text(who, 60)}** was not obeyed: {escape_prose(why, 400)}"


def get_episode(state: TroubleState) -> Episode:
    """Get the episode of a trouble that has one."""
    if state.episode is None:
        raise ValueError(f"{state.trouble} is no trouble, so there is nothing to say of it")
    return state.episode


def _render_standing(state: TroubleState, episode: Episode, length: int) -> str:
    said = escape_prose(episode.words, length)
    decision = state.decision
    unseen = ""
    if not state.findings and episode.until is None and state.standing != "recovering":
        unseen = "\n> The last run could not look for it, so what stands here is older."
    if episode.until is not None:
        return f"> [!TIP]\n> **Over since {episode.until}.** It began on {episode.since}. It was: {said}"
    if state.standing == "recovering":
        return (
            f"> [!NOTE]\n> **Nothing is found any more** since {episode.last}: {state.calm} of "
            f"{pluralize(state.calm_needed, 'day')} without it have passed. It was: {said}"
        )
    if decision is not None and state.standing == "muted":
        return (
            f"> [!NOTE]\n> **Muted until {decision.until}** by {escape_text(decision.by, 60)}. {said}{unseen}"
        )
    if decision is not None and state.standing == "acknowledged":
        return f"> [!NOTE]\n> **Acknowledged** by {escape_text(decision.by, 60)} on {decision.at[:10]}. {said}{unseen}"
    kind, name = ("CAUTION", "Alarm") if state.standing == "alarm" else ("WARNING", "Warning")
    return f"> [!{kind}]\n> **{name}, since {episode.since}.** {said}{unseen}"


def _render_findings(state: TroubleState, episode: Episode, *, most: int, length: int) -> str:
    if not state.findings or episode.until is not None:
        return ""
    rows = [_format_finding(finding, length) for finding in state.findings[:most]]
    table = format_table([":What", ":About", "Found", "Expected", ":Since"], rows)
    more = len(state.findings) - most
    return table + (f"\n\n{pluralize(more, 'more finding')} on the page." if more > 0 else "")


def _format_finding(finding: Finding, length: int) -> list[str]:
    sign = words.STATES["bad" if finding.level == "alarm" else "note"]
    return [
        f"{sign} {escape_prose(finding.words, length)}",
        escape_code(finding.subject, 60) if finding.subject else "",
        "" if finding.found is None else format_number(finding.found),
        "" if finding.expected is None else format_number(finding.expected),
        finding.since or "",
    ]


def _render_choices(state: TroubleState, today: Day, *, unconfirmed: bool) -> str:
    lines = [
        "### What you may decide",
        "",
        "Tick a box: a minute later the bot answers below. It obeys people who may write to this repository.",
        "",
        *(f"- [ ] {choice}" for choice in _list_choices(state, today)),
    ]
    if unconfirmed:
        lines += [
            "",
            f"{words.STATES['note']} A box was ticked here, and GitHub has not told the bot who did it, so it was "
            "taken out. If no answer stands below, tick it again.",
        ]
    return "\n".join(lines)


def _list_choices(state: TroubleState, today: Day) -> Iterator[str]:
    if state.standing in ("alarm", "warning"):
        yield "**Acknowledge**: I know of it. Nobody is told again unless something else goes wrong or it comes back."
    if state.trouble in RETRAINABLE:
        yield "**Retrain**: open a pull request that trains on newer rows. It gets the review that every change gets."
    if state.standing == "muted":
        yield f"**Mute until {today}**: end the silence."
    for days in MUTE_DAYS:
        until = date.fromisoformat(today) + timedelta(days=days)
        yield f"**Mute until {until}**: tell nobody before that day, which you may change."


def _render_history(episode: Episode, *, most: int, length: int) -> str:
    shown = episode.history[-most:]
    earlier = episode.earlier + len(episode.history) - len(shown)
    lines = [f"- {entry.day}: {escape_prose(entry.words, length)}" for entry in reversed(shown)]
    if earlier:
        lines.append(f"- {pluralize(earlier, 'earlier line')}, since {episode.since}")
    return "\n".join(["### What happened", "", *lines]) if lines else ""


def _render_footer(now: Instant, links: IssueLinks, trouble: Trouble) -> str:
    parts = [f"Last looked at {now[:10]} {now[11:16]} UTC"]
    if links.pull is not None:
        parts.append(f"retrain pull request: #{links.pull}")
    if links.run is not None:
        parts.append(f"[the run]({check_address(links.run)}), with `monitoring.html` among its artifacts")
    if links.runbook is not None:
        parts.append(f"[what to do]({check_address(f'{links.runbook}#{trouble}')})")
    parts.append("docs/monitoring.md says what each word means")
    return f"<sub>{' · '.join(parts)}</sub>"
