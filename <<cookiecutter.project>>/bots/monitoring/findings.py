"""Holds what several checks of the watch share: a share of rows, and a finding that is only told."""

from __future__ import annotations

from msgspec import Struct

from bots.observations import Finding


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
