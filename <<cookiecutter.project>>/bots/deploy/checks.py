"""Holds what a check of a model, an image or a running version found: a line for people, figures for machines."""

from __future__ import annotations

from msgspec import Struct


class Check(Struct, frozen=True):
    """`passed` is None where there was not enough to tell. `figures` have their unit in their name."""

    name: str
    passed: bool | None
    words: str
    figures: dict[str, float] = {}


def list_failed(checks: list[Check]) -> list[Check]:
    """List the checks that did not pass."""
    return [check for check in checks if check.passed is False]
