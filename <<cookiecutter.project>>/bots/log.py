"""What a command says while it works: lines that hide nothing, and its steps with their seconds."""

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
    """One line of text as a reader should see it: white space collapsed, control, bidirectional and other
    unseen characters named as `‹U+202E›`, and at most `limit` characters (cut with an ellipsis)."""
    line = " ".join(str(value).split())
    if not line.isascii() or not line.isprintable():
        line = "".join(_shown(line, index) for index in range(len(line)))
    return line if limit is None or len(line) <= limit else line[: limit - 1].rstrip() + ELLIPSIS


def escape_line(words: str) -> str:
    """A line of a log. A runner takes `##[…]` anywhere in a line, and `::` at its start, for a command."""
    return make_visible(words).replace("##[", "## [")


def print_line(verb: str, words: str, stream: TextIO) -> None:
    """Print one line of a job's log; the verb in front keeps a `::` of the words from the line's start."""
    print(f"{verb}:", escape_line(words), file=stream, flush=True)


def _shown(line: str, index: int) -> str:
    character = line[index]
    if unicodedata.category(character) not in _UNSEEN:
        return character
    around = line[max(0, index - 1) : index] + line[index + 1 : index + 2]
    if character in _JOINERS and len(around) == 2 and not any(map(str.isascii, around)):
        return character  # belongs to the script or the emoji around it
    return f"‹U+{ord(character):04X}›"


class Progress:
    """Steps as they happen, on standard error, each with the seconds that the one before took."""

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
        """Begin a step; the one before is done."""
        self._finish("done")
        self._step, self._since = step, time.monotonic()
        if self._status:
            self._status.update(step)

    def _finish(self, how: str) -> None:
        if self._step is None:
            return
        seconds = time.monotonic() - self._since
        self._console.print(f"  {self._step} … {how} ({seconds:.1f} s)", highlight=False, markup=False)
        self._step = None
