"""Whether texts are distinct is told by numbers for them, and exactly."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bots.stats import distinct
from bots.stats.distinct import are_distinct

TEXTS = st.lists(st.text(max_size=12), max_size=60)


@given(TEXTS, TEXTS, st.sampled_from([pa.string(), pa.large_string()]))
def test_texts_are_distinct_where_none_stands_twice(
    one: list[str], other: list[str], kind: pa.DataType
) -> None:
    column = pa.chunked_array([pa.array(part, kind) for part in (one, other)], kind)
    assert are_distinct(column) == (len(set(one + other)) == len(one + other))


@given(TEXTS, st.integers(0, 20), st.integers(0, 20), st.integers(1, 40))
def test_a_part_of_a_column_and_small_blocks_are_told_as_well(
    texts: list[str], start: int, length: int, block: int
) -> None:
    column = pa.chunked_array([pa.array(texts, pa.string()).slice(start, length)], pa.string())
    known = texts[start : start + length]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(distinct, "BLOCK", block)
        assert are_distinct(column) == (len(set(known)) == len(known))


def test_texts_whose_numbers_are_equal_are_compared_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distinct, "_hash_texts", lambda texts: np.zeros(len(texts), np.uint64))
    assert are_distinct(pa.chunked_array([["a", "b"], ["c"]]))
    assert not are_distinct(pa.chunked_array([["a", "b"], ["a"]]))


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pa.chunked_array([[1, 2, 3]]), True),
        (pa.chunked_array([[1, 2], [1]]), False),
        (pa.chunked_array([["a", None]]), True),
        (pa.chunked_array([["a", None, None]]), False),
        (pa.chunked_array([pa.array(["a", "b", "a"]).dictionary_encode()]), False),
        (pa.chunked_array([], pa.string()), True),
    ],
)
def test_what_is_no_text_or_is_missing_is_counted(column: pa.ChunkedArray, expected: bool) -> None:
    assert are_distinct(column) is expected


@pytest.mark.slow
def test_a_million_names_of_rows_have_a_number_each() -> None:
    rows = pa.chunked_array([pa.array(np.arange(1_000_000)).cast(pa.string())])
    (numbers,) = (distinct._hash_texts(chunk) for chunk in rows.chunks)
    assert len(np.unique(numbers)) == 1_000_000
