"""Holds what several checks of the watch share: a share of rows, and a finding that is only told."""

from __future__ import annotations

from typing import Final, Literal

from msgspec import Struct

from bots.observations import Finding, Trouble

Sight = Literal["log", "labels", "registry", "decisions"]
"""What a run looks at, and may not be able to see."""
HIDES: Final[dict[Sight, frozenset[Trouble]]] = {
    # Rows that were not seen may be the ones that did harm: nothing that is judged by rows ends.
    "log": frozenset({"performance", "health", "drift", "labels"}),
    # Days without labels are not judged, so nothing new is known of how good answers are; the service is seen.
    "labels": frozenset({"performance", "labels"}),
    # Without it nobody knows for sure which version answers, nor what it is held against.
    "registry": frozenset({"performance", "health", "drift"}),
    # What people decided changes who is told, not what is found.
    "decisions": frozenset(),
}
"""Which kinds of trouble cannot be looked for without it."""


class Unseen(Struct, frozen=True):
    """What a run could not see, in a whole sentence."""

    of: Sight
    words: str


class Part(Struct, frozen=True):
    """So many of so many."""

    bad: int
    rows: int

    @property
    def share(self) -> float:
        """The share of the bad ones; 0 of none."""
        return self.bad / self.rows if self.rows else 0.0


def make_note(check: str, words: str) -> Finding:
    """Make the finding of something that harms nobody, or could not be judged."""
    return Finding(trouble="health", level="note", check=check, words=words)
