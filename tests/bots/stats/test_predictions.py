"""Tables of predictions: numbers that are shared with the table, labels as codes, and what is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from bots.stats.predictions import PredictionsError, get_labels, get_numbers, read_table

if TYPE_CHECKING:
    from pathlib import Path


def write(path: Path, **columns: Any) -> Path:
    """A table in several row groups."""
    parquet.write_table(pa.table(columns), path / "p.parquet", row_group_size=3)
    return path / "p.parquet"


def test_numbers_are_the_table_s_own_memory(tmp_path: Path) -> None:
    """Ten million rows of two models have to fit into two gigabytes."""
    table = read_table(write(tmp_path, score=np.arange(10.0)), "p.parquet")
    assert np.shares_memory(get_numbers(table, "score", "p"), get_numbers(table, "score", "p"))
    assert list(get_numbers(table, "score", "p")) == list(range(10))


@pytest.mark.parametrize("labels", [["b", "a", "b", "c", "a", "b", "c"], ["a", "a", "b", "b", "c", "c", "d"]])
def test_labels_come_as_codes_in_alphabetical_order_from_any_kind_of_text(
    tmp_path: Path, labels: list[str]
) -> None:
    kinds = (pa.string(), pa.large_string(), pa.dictionary(pa.int8(), pa.string()))
    for kind in kinds:
        column = pa.array(labels).cast(kind)
        table = read_table(write(tmp_path, **{"slice:x": column}), "p.parquet")
        found = get_labels(table, "x")
        assert found is not None
        assert found.names == tuple(sorted(set(labels)))
        assert [found.names[code] for code in found.codes] == labels
        assert found.codes.dtype == np.int32


def test_labels_that_are_numbers_or_missing_are_text(tmp_path: Path) -> None:
    table = read_table(write(tmp_path, **{"slice:x": [3, 10, 3], "slice:y": ["a", None, "b"]}), "p.parquet")
    numbers, holes = get_labels(table, "x"), get_labels(table, "y")
    assert numbers is not None
    assert holes is not None
    assert [numbers.names[code] for code in numbers.codes] == ["3", "10", "3"]
    assert [holes.names[code] for code in holes.codes] == ["a", "None", "b"]
    assert get_labels(table, "z") is None


def test_a_table_that_has_a_column_twice_is_refused(tmp_path: Path) -> None:
    twice = pa.Table.from_arrays([pa.array([1.0]), pa.array([2.0])], names=["score", "score"])
    parquet.write_table(twice, tmp_path / "p.parquet")
    with pytest.raises(PredictionsError, match=r"p.parquet: expected each column once, got score, score"):
        read_table(tmp_path / "p.parquet", "p.parquet")
