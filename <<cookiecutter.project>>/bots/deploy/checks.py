"""What a check of an image or of a running version found: one line for people, figures for machines."""

from __future__ import annotations

from msgspec import Struct


class Check(Struct, frozen=True):
    """`passed` is None where there was not enough to tell. `figures` have their unit in their name."""

    name: str
    passed: bool | None
    words: str
    figures: dict[str, float] = {}


def failed(checks: list[Check]) -> list[Check]:
    """Those that did not pass."""
    return [check for check in checks if check.passed is False]
