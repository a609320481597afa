"""Requests that arrive together are scored together: each gets its own scores, and none spoils another."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.batching import Batcher, ScoredRows
from serving.rows import Finding

ODD = Finding("x", "unseen", "odd")


class Recorded:
    """A model whose rows are numbers: the score is half the number, and every third row has a finding."""

    def __init__(self, bad: Any = None) -> None:
        self.asked: list[list[Any]] = []
        self.bad = bad

    def __call__(self, rows: list[Any]) -> ScoredRows:
        self.asked.append(rows)
        if self.bad in rows:
            raise ValueError("a row that the model cannot take")
        return [row / 2 for row in rows], {at: [ODD] for at, row in enumerate(rows) if row % 3 == 0}


def score_together(batching: Batcher, requests: list[list[int]]) -> list[Any]:
    async def run() -> list[Any]:
        return await asyncio.gather(*(batching.score(rows) for rows in requests), return_exceptions=True)

    return asyncio.run(run())


@given(
    st.lists(st.lists(st.integers(0, 99), min_size=1, max_size=9), min_size=1, max_size=12),
    st.integers(1, 20),
)
def test_each_request_gets_what_it_would_get_alone_in_whatever_company(requests: list[list[int]], most: int):
    alone = Recorded()
    expected = [alone(rows) for rows in requests]
    model = Recorded()
    assert score_together(Batcher(model, most), requests) == expected
    assert [row for rows in model.asked for row in rows] == [row for rows in requests for row in rows]
    assert all(len(rows) <= max(most, *map(len, requests)) for rows in model.asked)


def test_requests_of_one_turn_are_one_call_of_the_model():
    model = Recorded()
    score_together(Batcher(model, 64), [[1], [2, 3], [4]])
    assert model.asked == [[1, 2, 3, 4]]


def test_a_row_that_breaks_the_model_breaks_no_other_request():
    first, broken, last = score_together(Batcher(Recorded(bad=7), 64), [[1], [7], [3]])
    assert first == ([0.5], {})
    assert last == ([1.5], {0: [ODD]})
    assert isinstance(broken, ValueError)


def test_a_caller_who_left_takes_no_other_with_it():
    async def run() -> ScoredRows:
        batching = Batcher(Recorded(), 64)
        left, stayed = asyncio.create_task(batching.score([1])), asyncio.create_task(batching.score([2]))
        await asyncio.sleep(0)
        left.cancel()
        with pytest.raises(asyncio.CancelledError):
            await left
        return await stayed

    assert asyncio.run(run()) == ([1.0], {})


def test_between_two_calls_the_loop_may_do_something_else():
    happened: list[str] = []

    def score(rows: list[Any]) -> ScoredRows:
        happened.append(f"scored {len(rows)}")
        return [0.0] * len(rows), {}

    async def run() -> None:
        batching = Batcher(score, 2)
        asked = [asyncio.create_task(batching.score([1])) for _ in range(4)]
        await asyncio.sleep(0)
        asyncio.get_running_loop().call_soon(happened.append, "something else")
        await asyncio.gather(*asked)

    asyncio.run(run())
    assert happened == ["scored 2", "something else", "scored 2"]
