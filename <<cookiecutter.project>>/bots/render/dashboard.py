"""Renders the dashboard: one issue with what runs, what waits and what is wrong; reads back its boxes.

A box is a command that people may also write in a comment. Its line shows the whole command and the issue or pull
request that it is meant below, so what is read is what is run. The bots write between two marks, and what people write
outside of them stays.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Final

from bots.errors import BotsError
from bots.naming import ALONE, Naming
from bots.render.escape import check_address, escape_prose, escape_text
from bots.render.markdown import format_table
from bots.render.numbers import pluralize

LABEL: Final = "dashboard"
TITLE: Final = "Dashboard: what runs, what waits, what is wrong"
LIMIT: Final = 65_000
"""GitHub takes 65,536 characters; so many bytes are surely fewer."""
MEANINGS: Final = {
    "acknowledge": "I know of it. Nobody is told again unless something else goes wrong or it comes back.",
    "mute": "tell nobody before that day; today's day ends a silence.",
    "pause": "put production on hold: nothing new comes in.",
    "promote": "let the version run in production that is paused, or that a hold keeps out.",
    "retrain": "train again. Trouble gets a pull request with newer rows, a pull request a new review.",
    "rollback": "put the named version back into production, or the one before.",
    "update": "bring its branch up to date with main. Its review runs anew.",
}
"""What a box says about its command; no box has another one."""

_WORD: Final = "model-dashboard"
_DOUBLED: Final = "model-dashboard-doubled"
_VERB: Final = rf"(?P<verb>(?:{'|'.join(MEANINGS)})(?: [A-Za-z0-9][A-Za-z0-9._=-]{{0,99}}){{0,3}})"
_CHOICE: Final = re.compile(rf"/{_VERB}")
# The word before a command may have been another one when the box was written: whose box it is, the marks say.
_BOX: Final = re.compile(
    rf"^ {{0,6}}[-*+] \[(?P<tick>[ xX])\] `/(?:[A-Za-z][A-Za-z0-9-]{{0,49}} )?{_VERB}` "
    r"below #(?P<number>[1-9]\d{0,9})\b(?P<rest>.*)$",
    re.MULTILINE,
)
# How many lines of a section are shown, and characters of each, where all of it would be too long.
_SIZES: Final = ((40, 300), (20, 240), (10, 200), (5, 120), (2, 80), (0, 80))


class DashboardTooLong(BotsError):
    """What people wrote beside the bots' part leaves no room for it."""


@dataclass(frozen=True, order=True)
class Choice:
    """A command, `/mute 2026-12-04`, and the issue or pull request that it is meant below.

    It is kept without the word that a project may want before its commands, and shown with it.
    """

    command: str
    number: int

    def __post_init__(self) -> None:
        """Refuse a command that no box can hold. Raises `ValueError`."""
        if _CHOICE.fullmatch(self.command) is None or self.number < 1:
            raise ValueError(f"no box can hold {self.command!r} below #{self.number}")

    def format_command(self, naming: Naming) -> str:
        """Format the command as people write it in a comment: `/ml mute 2026-12-04`."""
        return naming.command_start + self.command[1:]


@dataclass(frozen=True)
class Item:
    """A line: a sentence of plain text, the issue or pull request that it is about, and what may be done.

    `quiet`: it is no alarm: a warning alone, or somebody knows of it already, or nothing is found any more.
    """

    words: str
    number: int | None = None
    choices: tuple[Choice, ...] = ()
    quiet: bool = False


@dataclass(frozen=True, kw_only=True)
class Running:
    """What an environment has. `model` is empty for the main model; `share` says which requests it gets, `before` which
    version was there before."""

    model: str
    stage: str
    version: str
    share: str
    since: str
    by: str
    before: str = ""


@dataclass(frozen=True, kw_only=True)
class Dashboard:
    """All that is told, as plain text. `production` is how it was when it was last watched, `watched` the same of
    further models; `at` is an instant.

    `unknown` are sentences about what could not be asked, `run` the address of the run of the workflow.
    """

    title: str
    at: str
    production: str
    watched: list[str] = field(default_factory=list)
    running: list[Running] = field(default_factory=list)
    alarms: list[Item] = field(default_factory=list)
    waiting: list[Item] = field(default_factory=list)
    updates: list[Item] = field(default_factory=list)
    retrains: list[Item] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    run: str | None = None

    @property
    def choices(self) -> frozenset[Choice]:
        """Every command that is offered."""
        items = (*self.alarms, *self.waiting, *self.updates, *self.retrains)
        return frozenset(choice for item in items for choice in item.choices)


@dataclass(frozen=True)
class Body:
    """The text of the issue: the bots' part between the marks, and what people wrote before and behind it."""

    above: str
    own: str
    below: str


@dataclass(frozen=True)
class Box:
    """A box of the bots' part. `genuine`: its line says just what the bots write for this command."""

    choice: Choice
    ticked: bool
    genuine: bool


def find_parts(body: str, naming: Naming = ALONE) -> Body | None:
    """Find the bots' part of an issue; None where it is no dashboard of this project.

    Where a person took the end mark out, nothing says where the bots' part ends: it has none, and all is kept.
    """
    text = body.replace("\r\n", "\n")
    start, end = _make_mark(naming), _make_end(naming)
    above, found, rest = text.partition(start)
    if not found:
        return None
    own, found, below = rest.partition(end)
    return Body(above, own, below) if found else Body(above, "", rest)


def parse_boxes(body: str, naming: Naming = ALONE) -> list[Box]:
    """Parse the boxes of the bots' part, in their order; none of a person's own text."""
    parts = find_parts(body, naming)
    found = []
    for match in _BOX.finditer(parts.own if parts else ""):
        choice = _read_choice(match)
        found.append(Box(choice, match["tick"] != " ", match["rest"].rstrip() == _explain(choice)))
    return found


def _read_choice(box: re.Match[str]) -> Choice:
    return Choice(f"/{box['verb']}", int(box["number"]))


def untick_boxes(body: str, choices: Collection[Choice], naming: Naming = ALONE) -> str:
    """Return the issue's text with these boxes not ticked, and nothing else changed."""
    parts = find_parts(body, naming)
    if parts is None or not parts.own:
        return body

    def untick(match: re.Match[str]) -> str:
        known = _read_choice(match) in choices
        return match[0].replace(f"[{match['tick']}]", "[ ]", 1) if known else match[0]

    return _join(Body(parts.above, _BOX.sub(untick, parts.own), parts.below), naming)


def render_body(told: Dashboard, before: str = "", naming: Naming = ALONE) -> str:
    """Render the issue. `before` is its text so far: people's own words stay, and so do ticks nobody acted on yet.

    Raises `DashboardTooLong` where people's own words leave no room.
    """
    parts = find_parts(before, naming) or Body("", "", "")
    ticked = {box.choice for box in parse_boxes(before, naming) if box.ticked}
    text = ""
    for most, length in _SIZES:
        own = _render_own(told, _Shown(naming, ticked, most, length))
        text = _join(Body(_disarm(parts.above), own, _disarm(parts.below)), naming)
        if len(text.encode(errors="surrogatepass")) <= LIMIT:
            return text
    raise DashboardTooLong(
        f"the dashboard's issue would have {len(text.encode(errors='surrogatepass')):,} bytes, and GitHub takes about "
        f"{LIMIT:,}: shorten what people wrote before or behind the bots' part"
    )


def render_title(naming: Naming = ALONE) -> str:
    """Render the title."""
    return naming.add_to_title(TITLE)


def render_doubled(body: str, number: int, naming: Naming = ALONE) -> str:
    """Render the last text of a second dashboard: which one stays, and what people wrote here."""
    parts = find_parts(body, naming) or Body("", "", "")
    said = f"<!-- {naming.add_to_mark(_DOUBLED)} -->\nAnother dashboard was there first: #{number}. This one is closed."
    return "\n\n".join(one for one in (said, parts.above.strip(), parts.below.strip()) if one) + "\n"


def render_switched_off(body: str, naming: Naming = ALONE) -> str:
    """Render the last text of a dashboard that nobody wants any more. It is found again when somebody does."""
    parts = find_parts(body, naming) or Body("", "", "")
    return _join(
        Body(
            parts.above, "\n`dashboard.issue` in params.yaml is false: nothing is told here.\n", parts.below
        ),
        naming,
    )


def _make_mark(naming: Naming) -> str:
    return f"<!-- {naming.add_to_mark(_WORD)} -->"


def _make_end(naming: Naming) -> str:
    return f"<!-- {naming.add_to_mark(f'{_WORD}-end')} -->"


def _join(parts: Body, naming: Naming) -> str:
    return f"{parts.above}{_make_mark(naming)}{parts.own}{_make_end(naming)}{parts.below}"


def _disarm(text: str) -> str:
    """Take the box from lines of people's own text that look like the bots': nobody would hear their tick."""
    return _BOX.sub(lambda match: match[0].replace(f" [{match['tick']}]", "", 1), text)


def _render_own(told: Dashboard, shown: _Shown) -> str:
    sections = [
        ("### What runs where", _render_running(told, shown.length)),
        ("### Alarms", shown.render_items(told.alarms)),
        ("### What waits for a person", shown.render_items(told.waiting)),
        ("### Updates of the template", shown.render_items(told.updates)),
        ("### Retraining", shown.render_items(told.retrains)),
    ]
    unknown = [*told.unknown, *shown.list_lost()]
    sections.append(("### What cannot be told", shown.render_items([Item(one) for one in unknown])))
    parts = [_render_headline(told, len(unknown)), *(f"{head}\n\n{text}" for head, text in sections if text)]
    return "\n" + "\n\n".join([*parts, _render_footer(told)]) + "\n"


@dataclass
class _Shown:
    """Renders items, and remembers which commands were offered: each once, however many lines name it."""

    naming: Naming
    ticked: Collection[Choice]
    most: int
    length: int
    offered: set[Choice] = field(default_factory=set)

    def render_items(self, items: Sequence[Item]) -> str:
        lines = []
        for item in items[: self.most]:
            number = f" (#{item.number})" if item.number else ""
            lines.append(f"- {escape_prose(item.words, self.length)}{number}")
            for choice in item.choices:
                if choice not in self.offered:
                    self.offered.add(choice)
                    lines.append(_render_box(choice, self.naming, ticked=choice in self.ticked))
        if (more := len(items) - self.most) > 0:
            lines.append(f"- {more} more, not shown here")
        return "\n".join(lines)

    def list_lost(self) -> list[str]:
        """List what was ticked and is not offered any more."""
        return [
            f"`{choice.format_command(self.naming)}` for {choice.number} was ticked, and is not offered any more. If "
            "no answer stands below, nobody obeyed it."
            for choice in sorted(set(self.ticked) - self.offered)
        ]


def _render_box(choice: Choice, naming: Naming, *, ticked: bool) -> str:
    command = choice.format_command(naming)
    return f"  - [{'x' if ticked else ' '}] `{command}` below #{choice.number}{_explain(choice)}"


def _explain(choice: Choice) -> str:
    """The end of a box's line, which follows from the command alone."""
    return f": {MEANINGS[choice.command[1:].partition(' ')[0]]}"


def _render_headline(told: Dashboard, unknown: int) -> str:
    loud = sum(not one.quiet for one in told.alarms)
    quiet = len(told.alarms) - loud
    waiting = len(told.waiting) + len(told.updates)
    known = f" ({quiet} quiet: a warning, muted, acknowledged or ending)" if quiet else ""
    # Where something could not be asked, nobody can say that there is none.
    none, nothing = (
        ("No alarm is known", "nothing is known to wait") if unknown else ("No alarm", "nothing waits")
    )
    waits = f"{pluralize(waiting, 'thing')} waiting" if waiting else nothing
    said = [f"**{pluralize(loud, 'alarm') if loud else none}{known}, {waits} for a person.**"]
    if unknown:
        said.append(f"**{pluralize(unknown, 'thing')} cannot be told**: see the end.")
    said.append(escape_prose(told.production, 300))
    kind = "CAUTION" if loud else "WARNING" if told.alarms or waiting or unknown else "TIP"
    return f"> [!{kind}]\n> {escape_text(told.title, 100)}: {' '.join(said)}"


def _render_running(told: Dashboard, length: int) -> str:
    several = any(one.model for one in told.running)
    rows = [
        [
            *([escape_text(one.model or "main model", 60)] if several else []),
            escape_text(one.stage, 20),
            f"**{escape_text(one.version, 40)}**",
            escape_prose(one.share, length),
            escape_text(one.since, 40),
            escape_text(one.by, 60),
            escape_text(one.before, 40) if one.before else "–",
        ]
        for one in told.running
    ]
    heads = [*([":Model"] if several else []), ":Where", ":Version", ":Gets", ":Since", ":By", ":Before it"]
    table = format_table(heads, rows) if rows else "Nothing is known to run."
    return "\n\n".join([table, *(escape_prose(one, length) for one in told.watched)])


def _render_footer(told: Dashboard) -> str:
    run = f"[this run]({check_address(told.run)}) wrote it" if told.run else "written by hand"
    tick = (
        "A tick is a command: people who may write to this repository are obeyed, and the answer stands below. Where a "
        "tick stays without one, take it out and tick it again.\n\n"
        if told.choices
        else ""
    )
    return (
        f"{tick}What you write before or behind this part stays. docs/monitoring.md says more.\n\n"
        f"<sub>As of {escape_text(told.at)}; {run}.</sub>"
    )
