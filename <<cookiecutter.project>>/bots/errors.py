"""The one root of what a person can act on: a message in one line, and the exit code of the command that it ends."""

from __future__ import annotations


class BotsError(Exception):
    """Base of every error whose message says what was wrong, where, and what to do."""

    exit_code = 1
