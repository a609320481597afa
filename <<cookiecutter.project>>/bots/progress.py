"""Says what a long command is doing: a live line in a terminal, one plain line a step in a log."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.status import Status


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
