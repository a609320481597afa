"""Says in one line of a review's comment what a change does to the project's risks; all of it is folded below."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from bots.render import markdown as md
from bots.render.escape import escape_prose

SHOWN: Final = 3
MOST: Final = 40


class Touched(Protocol):
    """A risk that a change touches, and in which words."""

    @property
    def kind(self) -> str:
        """Which risk."""

    @property
    def words(self) -> str:
        """What is done to it; names stand in backticks."""


def format_risks(touches: Sequence[Touched]) -> str:
    """Format the line; nothing where no risk is touched."""
    if not touches:
        return ""
    told = " · ".join(f"{one.kind}: {escape_prose(one.words, 160)}" for one in touches[:SHOWN])
    more = f" · {len(touches) - SHOWN} more below" if len(touches) > SHOWN else ""
    return f"**Risks** {told}{more}"


def format_risks_fold(touches: Sequence[Touched]) -> str:
    """Format all of them, for the fold; nothing where the line has them all."""
    if len(touches) <= SHOWN:
        return ""
    lines = [f"- {one.kind}: {escape_prose(one.words, 300)}" for one in touches[:MOST]]
    more = [f"- and {len(touches) - MOST} more"] if len(touches) > MOST else []
    return md.fold("What it does to the risks", "\n".join([*lines, *more]))
