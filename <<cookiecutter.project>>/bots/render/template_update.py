"""Renders the pull request that updates the template: what is new, what a person has to decide, what stayed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal, cast, get_args

from bots.naming import ALONE, Naming
from bots.render.escape import escape_code, escape_prose, escape_text
from bots.render.markdown import fold, format_table

LABEL: Final = "template-update"
UpdateState = Literal["open", "obsolete"]
_WORD: Final = "template-update"
_MARKER = re.compile(
    r"<!-- (?P<word>template-update(?:/[a-z0-9/-]{1,120})?) commit=(?P<commit>[0-9a-f]{40,64}) "
    r"state=(?P<state>[a-z]{1,20}) -->"
)
_LONGEST_PIECE: Final = 3_000
_LONGEST_LIST: Final = 40_000
"""Of all that both sides wanted; GitHub takes 65,536 characters together."""


@dataclass(frozen=True)
class UpdateMarker:
    """Which commit of the template a pull request brings, and whose it is."""

    commit: str
    state: UpdateState = "open"
    naming: Naming = ALONE

    def format_line(self) -> str:
        """Format the marker; GitHub does not show it."""
        return f"<!-- {self.naming.add_to_mark(_WORD)} commit={self.commit} state={self.state} -->"


@dataclass(frozen=True)
class KeptPath:
    """A path that stays as it is here although the template changed it: why, and what the template wanted."""

    path: str
    why: str
    wanted: str


@dataclass(frozen=True)
class ConflictText:
    """A file in which both changed the same lines: each place with git's markers, both sides and what was before."""

    path: str
    hunks: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class UpdateText:
    """What the pull request has to say. `before` and `after` are versions with their commits.

    `shown` tells whether GitHub shows the conflicts; else this side's lines stand in the branch. `folder` is the
    project's place in the repository, empty at its root.
    """

    marker: UpdateMarker
    before: tuple[str, str | None]
    after: tuple[str, str]
    changed: int
    conflicts: tuple[ConflictText, ...]
    shown: bool
    kept: tuple[KeptPath, ...]
    questions: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    app: bool
    folder: str = ""


def parse_update_marker(body: str, naming: Naming = ALONE) -> UpdateMarker | None:
    """Parse the marker at the start of a pull request; None where it is no update of this project's template."""
    found = _MARKER.match(body)
    if (
        found is None
        or found["word"] != naming.add_to_mark(_WORD)
        or found["state"] not in get_args(UpdateState)
    ):
        return None
    return UpdateMarker(found["commit"], cast("UpdateState", found["state"]), naming)


def replace_update_marker(body: str, marker: UpdateMarker) -> str:
    """Replace the marker of a pull request, and nothing else."""
    return _MARKER.sub(lambda _: marker.format_line(), body, count=1)


def render_title(text: UpdateText) -> str:
    """Render the title."""
    (before, old), (after, new) = text.before, text.after
    if before == after:
        before, after = f"{before} ({old[:7] if old else 'unknown'})", f"{after} ({new[:7]})"
    return text.marker.naming.add_to_title(f"Update the template from {before} to {after}")


def render_body(text: UpdateText) -> str:
    """Render what the pull request says; below GitHub's limit, whatever the template and the project hold."""
    (before, old), (after, new) = text.before, text.after
    start = f"{escape_text(before, 40)} ({escape_code(old[:7]) if old else 'no known commit'})"
    parts = [
        text.marker.format_line(),
        f"The template went from {start} to **{escape_text(after, 40)}** ({escape_code(new[:7])}). This brings what it "
        f"changed, merged by git with what you changed: {_count(text.changed, 'file')} of this branch "
        f"{'differs' if text.changed == 1 else 'differ'} from main. What you edited or deleted stays.",
        _render_conflicts(text),
        _render_kept(text.kept),
        _render_questions(text.questions),
        _render_notes(text.notes),
        "### What happens now\n\n" + _render_next(text),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _render_conflicts(text: UpdateText) -> str:
    if not text.conflicts:
        return ""
    count = _count(len(text.conflicts), "file")
    if text.shown:
        said = (
            f"### Decide: {count} in conflict\n\nYou and the template changed the same lines. *Resolve "
            "conflicts* at the "
            "end of this page opens them in the browser, or, in a clone: `git switch template-update`, `git "
            "merge main`. "
            "Until then no check runs: GitHub runs none on a pull request in conflict."
        )
    else:
        said = (
            f"### Decide: {count} in which yours stands\n\nYou and the template changed the same lines. "
            "Main's history has no "
            "commit of the template's last bake (after a squash, or where `.template.json` came by hand), so "
            "GitHub cannot "
            "show these as conflicts: your lines are in the branch, and below is what the template has. Take "
            "it over by a "
            "commit on this branch where you want it."
        )
    pieces, rest = [], _LONGEST_LIST // 2
    for one in text.conflicts:
        shown = _fence("\n\n".join(one.hunks), "diff")
        rest -= len(shown)
        pieces.append(
            fold(escape_code(one.path, 120), shown) if rest > 0 else f"- {escape_code(one.path, 120)}"
        )
    return "\n\n".join([said, *pieces[:100]])


def _render_kept(kept: tuple[KeptPath, ...]) -> str:
    if not kept:
        return ""
    pieces, rest = [], _LONGEST_LIST // 2
    for one in kept:
        head = f"{escape_code(one.path, 120)}: {escape_text(one.why, 200)}"
        shown = _fence(one.wanted, "diff") if one.wanted else ""
        rest -= len(shown) + len(head)
        pieces.append(fold(head, shown) if rest > 0 and shown else f"- {head}")
    count = _count(len(kept), "more file")
    said = f"### What stays as it is here\n\nThe template changed {count} that you have otherwise:"
    return "\n\n".join([said, *pieces[:100]])


def _render_questions(questions: tuple[tuple[str, str], ...]) -> str:
    if not questions:
        return ""
    rows = [[escape_code(name, 60), escape_code(answer, 120)] for name, answer in questions]
    table = format_table([":Question", ":Answer taken, the default"], rows)
    return (
        f"### New questions\n\n{table}\n\nWhere another answer is right, change on this branch what it "
        "changes, and the "
        "answer in `.template.json`: the next update begins from there."
    )


def _render_notes(notes: tuple[str, ...]) -> str:
    if not notes:
        return ""
    lines: list[str] = []
    rest = 12_000
    for one in notes:
        line = f"- {escape_prose(one, 600)}"
        rest -= len(line)
        if rest < 0:
            lines.append(f"- {len(notes) - len(lines)} more in the template's changelog.")
            break
        lines.append(line)
    return "### What is new in the template\n\n" + "\n".join(lines)


def _render_next(text: UpdateText) -> str:
    if text.conflicts and text.shown:
        started = "- Your commit that settles the conflicts starts the checks."
    elif text.app:
        started = "- Opening it started the checks, as everybody's does: a GitHub App opened it."
    else:
        started = (
            "- The bot starts the review by *Run workflow*, because what GitHub Actions itself opens starts "
            "none; what a "
            "person opens starts by itself."
        )
    placed = (
        "\n- This project lies in a subfolder: run `python -m bots place` on this branch and commit, so that "
        "the workflows at "
        "the repository's root become the new ones."
        if text.folder
        else ""
    )
    return (
        f"{started}{placed}\n- Merge it by *Create a merge commit*: then git knows next time what you have. "
        "After a squash the "
        "next update works too, but its conflicts are listed and not shown.\n"
        "- While it is open it follows main and the template and is not doubled. The bot never writes over a "
        "commit of a "
        "person's. Closed without a merge, it comes again with the template's next version.\n"
        "- `dvc.lock`, reports, data and models are yours alone: where the new code makes another model, the "
        "review says so."
    )


def _fence(text: str, language: str) -> str:
    """Show a text literally, however many backticks it holds."""
    cut = text if len(text) <= _LONGEST_PIECE else text[:_LONGEST_PIECE].rpartition("\n")[0] + "\n…"
    longest = max((len(run) for run in re.findall(r"`+", cut)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{cut}\n{fence}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
