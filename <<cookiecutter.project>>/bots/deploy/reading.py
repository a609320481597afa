"""Reads an answer again where it arrives empty or cut: a busy engine or cluster loses parts of it on the way.

Docker's library (7.2) drops what the engine sends together with the head of its answer, and says nothing of it: the
answer of a quick command comes back empty or without its beginning, with exit code 0. `kubectl exec` loses the end.
"""

from __future__ import annotations

import http.client
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from bots.deploy.docker import EngineError

if TYPE_CHECKING:
    from docker.models.containers import Container

T = TypeVar("T")

# Both print how the command ended and how many bytes it printed, before what it printed. The dot keeps the last
# newlines. A service's image need not have a shell.
_SHELL = (
    'out=$("$@"; code=$?; printf .; exit "$code"); code=$?; out=${out%.}; LC_ALL=C; '
    'printf "%s %s\\n%s" "$code" "${#out}" "$out"'
)
_PYTHON = (
    "import subprocess, sys; done = subprocess.run(sys.argv[1:], stdout=subprocess.PIPE); "
    "sys.stdout.buffer.write(b'%d %d\\n%s' % (done.returncode % 256, len(done.stdout), done.stdout))"
)
_BEGINNING = 200  # characters of an answer that a message shows
_SHORTEST = 1.0  # seconds that the last attempt has, too


class Incomplete(Exception):
    """An answer did not arrive, or not all of it; the message says what came instead. Asking again may help."""


class NotRunning(EngineError):
    """The container does not run, so nothing can be asked in it."""


@dataclass(frozen=True)
class Printed:
    """What a command in a container printed, all of it, and how it ended. `errors` may have lost parts."""

    code: int
    text: str
    errors: str = ""


@dataclass(frozen=True)
class Reader:
    """Reads until an answer is whole, for at most `seconds`. Reading must change nothing, or the same each time."""

    seconds: float = 60.0
    pause: float = 0.2
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    def read(self, what: str, attempt: Callable[[], T]) -> T:
        """Call `attempt` until it raises neither `Incomplete` nor an error of the connection; return its result.

        Raises `EngineError` when the time is over or the engine says no; any other error of `attempt` goes through.
        """
        end = self.clock() + self.seconds
        while True:
            try:
                return _call_within(attempt, max(end - self.clock(), _SHORTEST))
            except (Incomplete, OSError, http.client.HTTPException) as error:
                if said := _find_refusal(error):
                    raise EngineError(f"{what}: the engine says: {said}") from error
                if self.clock() + self.pause > end:
                    raise EngineError(
                        f"{what} did not arrive whole in {self.seconds:.0f} s of asking again: {error}. The engine may "
                        f"be overloaded or stuck: see that it answers, then run this again"
                    ) from error
            self.sleep(self.pause)

    def run(self, what: str, container: Container, wrapped: list[str]) -> Printed:
        """Run a wrapped command in the container until all its output arrives. Raises `NotRunning`, `EngineError`."""
        return self.read(what, lambda: run_once(container, wrapped))


def run_once(container: Container, wrapped: list[str]) -> Printed:
    """Run a wrapped command in the container once. Raises `Incomplete` and `NotRunning`."""
    from docker.errors import APIError

    try:
        _, (output, errors) = container.exec_run(wrapped, demux=True)
    except APIError as error:
        said = str(error.explanation or error)
        if error.is_client_error():
            raise NotRunning(said) from error
        raise Incomplete(f"the engine says: {said}") from error
    except ValueError as error:  # the middle of an answer, taken for its beginning
        raise Incomplete(f"the engine's answer cannot be read: {error}") from error
    return unwrap(output or b"", (errors or b"").decode(errors="replace"))


def wrap_in_shell(words: Sequence[str]) -> list[str]:
    """Wrap a command in a shell so that its output shows whether it arrived whole."""
    return ["sh", "-c", _SHELL, "sh", *words]


def wrap_in_python(python: str, words: Sequence[str]) -> list[str]:
    """Wrap a command in this Python, for a container that may have no shell."""
    return [python, "-c", _PYTHON, python, *words]


def unwrap(output: bytes, errors: str = "") -> Printed:
    """Read what a wrapped command printed. Raises `Incomplete`."""
    head, newline, text = output.partition(b"\n")
    code, _, size = head.partition(b" ")
    if newline and code.isdigit() and size.isdigit() and len(text) == int(size):
        return Printed(int(code), text.decode(errors="replace"), errors)
    came = (output.decode(errors="replace") + errors).strip()
    raise Incomplete(f"the answer was cut to {came[:_BEGINNING]!r}" if came else "the answer was empty")


def _find_refusal(error: Exception) -> str | None:
    """Find the engine's refusal, which it would repeat; None where it may answer the next time."""
    from docker.errors import APIError

    return (
        str(error.explanation or error) if isinstance(error, APIError) and error.is_client_error() else None
    )


def _call_within(call: Callable[[], T], seconds: float) -> T:
    """Call with a time limit, because Docker's library waits for ever. Raises `Incomplete`."""
    done: queue.SimpleQueue[tuple[T | None, BaseException | None]] = queue.SimpleQueue()

    def carry_out() -> None:
        try:
            done.put((call(), None))
        except BaseException as error:  # noqa: BLE001 - raised below, in the thread that asked
            done.put((None, error))

    threading.Thread(target=carry_out, daemon=True).start()
    try:
        result, error = done.get(timeout=seconds)
    except queue.Empty:
        raise Incomplete("there was no answer") from None
    if error is not None:
        raise error
    return result  # type: ignore[return-value]
