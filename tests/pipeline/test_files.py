"""How the pipeline writes: whole or not at all, and the same bytes for the same content."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import files


def write_half(path: Path) -> None:
    with files.write_whole(path) as part:
        part.write_text("half")
        assert path.read_text() == "old\n"
        raise KeyboardInterrupt


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "report.txt"
    files.write_text("old\n", path)
    with pytest.raises(KeyboardInterrupt):
        write_half(path)
    assert [found.name for found in tmp_path.iterdir()] == ["report.txt"]
    assert path.read_text() == "old\n"


def test_a_table_that_parquet_cannot_hold_leaves_no_half_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"Duplicate column names"):
        files.write_table(pd.DataFrame([[1, 2]], columns=["a", "a"]), tmp_path / "data" / "raw.parquet")
    assert list((tmp_path / "data").iterdir()) == []


def test_a_written_file_replaces_the_old_one_and_makes_its_folder(tmp_path: Path) -> None:
    path = tmp_path / "new" / "report.json"
    for number in (1, 2):
        files.write_json({"name": "Zoë", "number": number}, path)
    assert path.read_bytes() == '{\n  "name": "Zoë",\n  "number": 2\n}\n'.encode()
    assert [found.name for found in path.parent.iterdir()] == ["report.json"]


def test_a_number_that_is_not_finite_is_null_in_evidence_and_refused_elsewhere(tmp_path: Path) -> None:
    files.write_evidence("drift", {"score": float("nan")}, tmp_path / "drift.json")
    assert (tmp_path / "drift.json").read_text() == '{\n  "format": 1,\n  "score": null\n}\n'
    with pytest.raises(ValueError, match="JSON"):
        files.write_json({"score": float("inf")}, tmp_path / "contract.json")


@pytest.mark.slow
@given(st.lists(st.sampled_from(["", "a", "b", "Zoë", None]), max_size=8), st.booleans())
def test_a_digest_is_the_one_that_pandas_hashes_give_whether_texts_repeat_or_not(
    texts: list[str | None], repeat: bool
) -> None:
    texts = texts * 5 if repeat else texts
    frame = pd.DataFrame(
        {
            "text": pd.Series(texts, dtype="str"),
            "number": pd.Series(range(len(texts)), dtype="float64"),
            "gaps": pd.Series([len(one) if one else None for one in texts], dtype="Int64"),
            "time": pd.Series(
                [pd.Timestamp("2026-01-01", tz="UTC")] * len(texts), dtype="datetime64[us, UTC]"
            ),
            "truth": pd.Series([one == "a" for one in texts], dtype="boolean"),
        }
    )
    expected = hashlib.sha256(repr([(name, str(kind)) for name, kind in frame.dtypes.items()]).encode())
    expected.update(pd.util.hash_pandas_object(frame, index=False).to_numpy().tobytes())
    assert files.digest_table(frame) == f"sha256:{expected.hexdigest()}"
