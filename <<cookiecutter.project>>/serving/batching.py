"""Score the rows of several requests in one call of the model, which costs far less than one call for each.

No request waits for others: all that arrive in one turn of the event loop are scored together in the next turn. This is
the batching of Crankshaw et al. (2017, "Clipper: A Low-Latency Online Prediction Serving System") with a delay of zero.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from serving.answers import Score
    from serving.rows import Finding

# The score of each row (with several classes those of each), and the findings by the row's number.
ScoredRows = tuple[list["Score"], dict[int, list["Finding"]]]
Waiting = tuple[list[Any], "asyncio.Future[ScoredRows]"]


class Batcher:
    """Collects rows during a turn of the event loop, and scores them at its end."""

    def __init__(self, score: Callable[[list[Any]], ScoredRows], max_rows: int) -> None:
        """`max_rows` is the most rows that are scored in one call, unless one request has more."""
        self._score, self._max_rows = score, max_rows
        self._waiting: deque[Waiting] = deque()

    async def score(self, rows: list[Any]) -> ScoredRows:
        """Score rows. Raises what the model raises for them, but nothing that other requests' rows cause."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[ScoredRows] = loop.create_future()
        if not self._waiting:
            loop.call_soon(self._score_waiting, loop)
        self._waiting.append((rows, future))
        return await future

    def _score_waiting(self, loop: asyncio.AbstractEventLoop) -> None:
        """Score as many of the waiting requests as fit into one call."""
        requests = [self._waiting.popleft()]
        rows = len(requests[0][0])
        while self._waiting and rows + len(self._waiting[0][0]) <= self._max_rows:
            requests.append(self._waiting.popleft())
            rows += len(requests[-1][0])
        if self._waiting:
            loop.call_soon(self._score_waiting, loop)
        self._score_together(requests)

    def _score_together(self, requests: list[Waiting]) -> None:
        """Score requests in one call; if it fails, each of them alone."""
        try:
            scores, findings = self._score([row for rows, _ in requests for row in rows])
        except Exception as error:  # noqa: BLE001  whatever it is, it belongs to the request that caused it
            if len(requests) > 1:
                for request in requests:
                    self._score_together([request])
            elif not requests[0][1].done():
                requests[0][1].set_exception(error)
            return
        first = 0
        for rows, future in requests:
            last = first + len(rows)
            if not future.done():
                own = {at - first: found for at, found in findings.items() if first <= at < last}
                future.set_result((scores[first:last], own))
            first = last
