"""Ends a verification where no later check can look."""

from __future__ import annotations

from bots.evidence import VerificationCheck


class Stop(Exception):
    """No later check can look; `check` says why."""

    def __init__(self, check: VerificationCheck) -> None:
        super().__init__(check.words)
        self.check = check
