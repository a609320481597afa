"""Finds which commands an edit of the dashboard ticked: its body before and after, and nothing else, decides."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bots.naming import ALONE, Naming
from bots.render.dashboard import Choice, find_parts, parse_boxes

if TYPE_CHECKING:
    from bots.monitoring.decisions import IssueEdit


@dataclass(frozen=True)
class Ticks:
    """What an edit ticked. `choices` are boxes that the bots wrote; `strange` are boxes that somebody else put there
    or wrote over, and that nobody may be held to."""

    choices: list[Choice] = field(default_factory=list)
    strange: list[Choice] = field(default_factory=list)


def find_ticks(edit: IssueEdit, author: str, naming: Naming = ALONE) -> Ticks:
    """Find what a person's edit ticked in the dashboard of this project; nothing in any other issue or edit.

    `author` is the login under which the bots write.
    """
    issue, before = edit.issue, edit.changes.body
    is_ours = issue.user is not None and issue.user.login == author
    if edit.action != "edited" or before is None or not is_ours or edit.sender.login == author:
        return Ticks()
    return compare_boxes(before.before, issue.body or "", naming)


def compare_boxes(before: str, after: str, naming: Naming = ALONE) -> Ticks:
    """Compare a dashboard's text with the one before it: each box that is ticked now and was not, once.

    A box counts only where the text before had it, not ticked, in the bots' own words: a box that comes with its tick
    was not the bots'.
    """
    if find_parts(before, naming) is None or find_parts(after, naming) is None:
        return Ticks()
    known = parse_boxes(before, naming)
    open_before = {box.choice for box in known if box.genuine and not box.ticked}
    done_before = {box.choice for box in known if box.ticked}
    ticked = [box for box in parse_boxes(after, naming) if box.ticked and box.choice not in done_before]
    choices = dict.fromkeys(box.choice for box in ticked if box.genuine and box.choice in open_before)
    strange = dict.fromkeys(box.choice for box in ticked if box.choice not in choices)
    return Ticks(list(choices), list(strange))
