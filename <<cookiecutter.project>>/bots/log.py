"""Prints what a command does: lines in which nothing is hidden, and steps with their seconds."""

from __future__ import annotations

import sys
import time
import unicodedata
from types import TracebackType
from typing import TextIO

from rich.console import Console
from rich.status import Status

ELLIPSIS = "…"
_UNSEEN = {"Cc", "Cf", "Co", "Cs", "Zl", "Zp"}
_JOINERS = "\u200c\u200d"


def make_visible(value: object, limit: int | None = None) -> str:
    """Return one line in which nothing is hidden, of at most `limit` characters (then it ends in an ellipsis).

    White space is collapsed; control, bidirectional and other unseen characters are named as `‹U+202E›`.
    """
    line = " ".join(str(value).split())
    if not line.isascii() or not line.isprintable():
        line = "".join(_show(line, index) for index in range(len(line)))
    return line if limit is None or len(line) <= limit else line[: limit - 1].rstrip() + ELLIPSIS


def escape_line(words: str) -> str:
    """Return a line of a job's log that starts no command: a runner takes `##[…]` anywhere for one."""
    return make_visible(words).replace("##[", "## [")


def print_line(verb: str, words: str, stream: TextIO) -> None:
    """Print one line of a job's log, behind the verb: a runner takes `::` at the start for a command."""
    print(f"{verb}:", escape_line(words), file=stream, flush=True)


def _show(line: str, index: int) -> str:
    character = line[index]
    if unicodedata.category(character) not in _UNSEEN:
        return character
    around = line[max(0, index - 1) : index] + line[index + 1 : index + 2]
    if character in _JOINERS and len(around) == 2 and not any(map(str.isascii, around)):
        return character  # belongs to the script or the emoji around it
    return f"‹U+{ord(character):04X}›"


class Progress:
    """Print steps on standard error as they happen, each with the seconds that it took."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(file=sys.stderr)
        self._status: Status | None = None
        self._step: str | None = None
        self._since = time.monotonic()

    def __enter__(self) -> Progress:
        if self._console.is_terminal:
            self._status = self._console.status("starting")
            self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._finish("failed" if error else "done")
        if self._status:
            self._status.stop()

    def tell(self, step: str) -> None:
        """Begin a step; this ends the one before."""
        self._finish("done")
        self._step, self._since = step, time.monotonic()
        if self._status:
            self._status.update(step)

    def _finish(self, how: str) -> None:
        if self._step is None:
            return
        seconds = time.monotonic() - self._since
        # A log is read by lines: a long step is cut into several in a terminal only.
        self._console.print(
            f"  {self._step} … {how} ({seconds:.1f} s)",
            highlight=False,
            markup=False,
            soft_wrap=not self._console.is_terminal,
        )
        self._step = None
