"""When GitHub cannot answer now: how long to wait before asking again, and when to stop asking."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from bots.errors import BotsError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

T = TypeVar("T")

SECONDARY_WAIT = 60.0
LONGEST_STEP = 60.0


class RequestDenied(BotsError):
    """GitHub said no and would say no again."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"GitHub answered {status}: {message}")
        self.status = status


class TemporaryFailure(Exception):
    """GitHub cannot answer now. `wait` is how many seconds it asks for, where it does."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


class RetriesExhausted(BotsError):
    """GitHub did not answer within the time there is."""


def meaning(
    status: int, headers: Mapping[str, str], message: str, now: float
) -> RequestDenied | TemporaryFailure:
    """What an answer of 400 and above means.

    Header names are lower case; `now` is in seconds since 1970. Rate limits come as 403 and as 429, primary
    ones with an empty `x-ratelimit-remaining`, secondary ones with `retry-after` or with words alone
    (docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api).
    """
    if status in (403, 429):
        after = _seconds(headers.get("retry-after"))
        if after is not None:
            return TemporaryFailure(f"GitHub limits the rate ({status})", after)
        reset = _seconds(headers.get("x-ratelimit-reset"))
        if headers.get("x-ratelimit-remaining") == "0" and reset is not None:
            return TemporaryFailure(
                f"the token's hourly requests are used up ({status})", max(0.0, reset - now) + 1
            )
        if status == 429 or "rate limit" in message.lower():
            return TemporaryFailure(f"GitHub limits the rate ({status})", SECONDARY_WAIT)
    if status >= 500 or status == 408:
        return TemporaryFailure(f"GitHub answered {status}")
    return RequestDenied(status, message)


def _seconds(text: str | None) -> float | None:
    try:
        value = float(text) if text is not None else math.nan
    except ValueError:
        return None
    return value if 0 <= value < math.inf else None


@dataclass(frozen=True)
class Retry:
    """Carries steps out, again and again while GitHub is busy, until one deadline for all of them.

    A step must be safe to repeat from its start: it looks at what is there before it writes. `clock` and
    `deadline` are in seconds since 1970.
    """

    clock: Callable[[], float]
    sleep: Callable[[float], None]
    log: Callable[[str], None]
    deadline: float
    most: int = 6

    def call(self, what: str, step: Callable[[], T]) -> T:
        """The step's result. Raises `RetriesExhausted` when time or tries are used up; `RequestDenied` goes through."""
        for attempt in range(1, self.most + 1):
            try:
                return step()
            except TemporaryFailure as busy:
                wait = min(2.0 ** (attempt - 1), LONGEST_STEP) if busy.wait is None else busy.wait
                left = self.deadline - self.clock()
                if attempt == self.most:
                    raise RetriesExhausted(f"{busy}, {attempt} times") from busy
                if wait > left:
                    raise RetriesExhausted(
                        f"{busy}; waiting {wait:.0f} s is longer than the {max(left, 0):.0f} s left"
                    ) from busy
                self.log(f"{what}: {busy}; waiting {wait:.0f} s before try {attempt + 1} of {self.most}")
                self.sleep(wait)
        raise AssertionError("the last try returns or raises")
