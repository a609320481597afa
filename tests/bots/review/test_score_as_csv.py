"""A training in a language without Parquet scores rows that come as CSV, and gives its scores as CSV."""

from __future__ import annotations

import re
import shlex
import sys
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
import yaml

from bots.dvc.command_line import DvcError
from bots.review.champion import score_rows
from bots.settings import SettingsError, parse_settings
from fixtures import lucky

if TYPE_CHECKING:
    from pathlib import Path

# Doubles the column x, as `awk` would.
DOUBLE = """\
import csv, sys
with open(sys.argv[1], newline="") as rows, open(sys.argv[2], "w", newline="") as out:
    written = csv.writer(out)
    written.writerow(["row", "score"])
    written.writerows([row["row"], 2 * float(row["x"] or "nan")] for row in csv.DictReader(rows))
"""


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    (tmp_path / "double.py").write_text(DOUBLE)
    names = pa.array(["007", "a,b", 'say "hi"\nü'])
    parquet.write_table(pa.table({"row": names, "x": [1.5, None, -2.0]}), tmp_path / "rows.parquet")
    return tmp_path / "rows.parquet"


def test_rows_and_scores_are_csv_where_the_command_asks_for_it(rows: Path) -> None:
    command = f"{shlex.quote(sys.executable)} double.py {{rows_csv}} {{out_csv}}"
    scored = score_rows(rows.parent, command, rows)
    assert scored["row"].to_pylist() == ["007", "a,b", 'say "hi"\nü']
    assert scored["score"].to_pylist() == [3.0, None, -4.0]


def test_a_reader_that_knows_no_quotes_reads_plain_rows(rows: Path) -> None:
    columns = {"row": ["a"], "number": [2.0], "part": [0.1], "yes": [True], "none": pa.nulls(1, pa.string())}
    parquet.write_table(pa.table(columns), rows)
    scored = score_rows(rows.parent, "cp {rows_csv} {out_csv}", rows)
    assert scored.column_names == list(columns)
    (rows.parent / "keep.sh").write_text('cp "$1" seen.csv; cp "$1" "$2"')
    score_rows(rows.parent, "sh keep.sh {rows_csv} {out_csv}", rows)
    assert (rows.parent / "seen.csv").read_text() == "row,number,part,yes,none\na,2,0.1,true,\n"


def test_a_command_that_leaves_no_csv_is_named(rows: Path) -> None:
    with pytest.raises(DvcError, match=re.escape("`true {rows_csv} {out_csv}` left no readable table")):
        score_rows(rows.parent, "true {rows_csv} {out_csv}", rows)


def test_rows_that_cannot_be_csv_are_said(rows: Path) -> None:
    parquet.write_table(pa.table({"row": ["a"], "x": [[1, 2]]}), rows)
    with pytest.raises(DvcError, match="cannot be written as CSV"):
        score_rows(rows.parent, "true {rows_csv} {out}", rows)


def test_the_command_must_ask_for_the_rows_in_one_of_both_ways() -> None:
    for command, right in (
        ("x {rows_csv} {out_csv}", True),
        ("x {rows} {out_csv}", True),
        ("x {out}", False),
    ):
        document = {**lucky.PARAMS, "review": {"score": command}}
        if right:
            assert parse_settings(yaml.safe_dump(document), "params.yaml").review.score == command
        else:
            with pytest.raises(SettingsError, match=r"review\.score: expected the placeholder \{rows\}"):
                parse_settings(yaml.safe_dump(document), "params.yaml")
