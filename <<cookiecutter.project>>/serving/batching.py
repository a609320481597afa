"""Scores rows of requests that came together in one call of the model: a row in company costs a fraction of one alone.

Nothing waits for company: what one turn of the loop brought is scored in the next. This is the batching of Crankshaw et
al. (2017, "Clipper: A Low-Latency Online Prediction Serving System") with a delay of nothing.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from serving.rows import Finding

Findings = dict[int, list["Finding"]]
# Scores of rows, and what is odd about them by the row's number.
Scored = tuple[list[float], Findings]


class Batching:
    """Collects rows, and has them scored at the end of the turn."""

    def __init__(self, score: Callable[[list[Any]], Scored], most: int) -> None:
        """At most `most` rows are scored in one turn, unless one request has more."""
        self._score, self._most = score, most
        self._waiting: deque[tuple[list[Any], asyncio.Future[Scored]]] = deque()

    async def score(self, rows: list[Any]) -> Scored:
        """The scores of these rows. Raises what the model raises of them, whatever the others' rows are like."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Scored] = loop.create_future()
        if not self._waiting:
            loop.call_soon(self._work, loop)
        self._waiting.append((rows, future))
        return await future

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        requests = [self._waiting.popleft()]
        rows = len(requests[0][0])
        while self._waiting and rows + len(self._waiting[0][0]) <= self._most:
            requests.append(self._waiting.popleft())
            rows += len(requests[-1][0])
        if self._waiting:
            loop.call_soon(self._work, loop)
        self._answer(requests)

    def _answer(self, requests: list[tuple[list[Any], asyncio.Future[Scored]]]) -> None:
        try:
            scores, found = self._score([row for rows, _ in requests for row in rows])
        except Exception as error:  # noqa: BLE001  whatever it is, it belongs to those who asked
            if len(requests) > 1:
                for request in requests:
                    self._answer([request])
            elif not requests[0][1].done():
                requests[0][1].set_exception(error)
            return
        first = 0
        for rows, future in requests:
            last = first + len(rows)
            if not future.done():
                own = {at - first: what for at, what in found.items() if first <= at < last}
                future.set_result((scores[first:last], own))
            first = last
