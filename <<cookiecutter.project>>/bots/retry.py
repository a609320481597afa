"""Repeats a call that failed for a while: how long to wait before the next try, and when to give up."""

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
    """The other side cannot answer now. `wait` is how many seconds it asks for, where it does."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


class RetriesExhausted(BotsError):
    """No try succeeded within the time there is."""


class Unreachable(RetriesExhausted):
    """No try can succeed before a person has set something; the message says what."""


def classify_answer(
    status: int, headers: Mapping[str, str], message: str, now: float
) -> RequestDenied | TemporaryFailure:
    """Tell whether an answer of 400 or above is final (`RequestDenied`) or not (`TemporaryFailure`).

    Header names are lower case; `now` is in seconds since 1970. Rate limits come as 403 and as 429, primary
    ones with an empty `x-ratelimit-remaining`, secondary ones with `retry-after` or with words alone
    (docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api).
    """
    if status in (403, 429):
        after = _parse_seconds(headers.get("retry-after"))
        if after is not None:
            return TemporaryFailure(f"GitHub limits the rate ({status})", after)
        reset = _parse_seconds(headers.get("x-ratelimit-reset"))
        if headers.get("x-ratelimit-remaining") == "0" and reset is not None:
            return TemporaryFailure(
                f"the token's hourly requests are used up ({status})", max(0.0, reset - now) + 1
            )
        if status == 429 or "rate limit" in message.lower():
            return TemporaryFailure(f"GitHub limits the rate ({status})", SECONDARY_WAIT)
    if status >= 500 or status == 408:
        return TemporaryFailure(f"GitHub answered {status}")
    return RequestDenied(status, message)


def _parse_seconds(text: str | None) -> float | None:
    try:
        value = float(text) if text is not None else math.nan
    except ValueError:
        return None
    return value if 0 <= value < math.inf else None


@dataclass(frozen=True)
class Retry:
    """Repeats steps that fail for a while, until one deadline for all of them.

    A step must be safe to repeat from its start: it looks at what is there before it writes. `clock` and
    `deadline` are in seconds since 1970; a step is tried `max_tries` times at most.
    """

    clock: Callable[[], float]
    sleep: Callable[[float], None]
    log: Callable[[str], None]
    deadline: float
    max_tries: int = 6

    def call(self, what: str, step: Callable[[], T]) -> T:
        """Run a step until it returns; `what` names it in the log.

        Raises `RetriesExhausted` when time or tries are used up. Every other error of the step goes through.
        """
        for attempt in range(1, self.max_tries + 1):
            try:
                return step()
            except TemporaryFailure as failure:
                wait = min(2.0 ** (attempt - 1), LONGEST_STEP) if failure.wait is None else failure.wait
                left = self.deadline - self.clock()
                if attempt == self.max_tries:
                    raise RetriesExhausted(f"{failure}, {attempt} times") from failure
                if wait > left:
                    raise RetriesExhausted(
                        f"{failure}; waiting {wait:.0f} s is longer than the {max(left, 0):.0f} s left"
                    ) from failure
                self.log(
                    f"{what}: {failure}; waiting {wait:.0f} s before try {attempt + 1} of {self.max_tries}"
                )
                self.sleep(wait)
        raise AssertionError("the last try returns or raises")
