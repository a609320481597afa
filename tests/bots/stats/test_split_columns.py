"""What a pipeline adds to its tables is never taken for a column of the team's, nor the other way round."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bots.deploy import smoke_test
from bots.layout import Layout
from bots.stats.copies import count_copies, find_columns, find_known_rows
from bots.stats.split_columns import find_row_column, find_target_column, list_added
from bots.verification.row_checks import InputRows, check_inputs
from bots.verification.rows import align_predictions, align_rows
from bots.verification.scorer import Answers


def write(path: Path, **columns: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)
    return path


def add(**columns: Any) -> dict[str, Any]:
    """Columns whose names are no words of Python, written with one underscore for the colon."""
    return {name.replace("split_", "split:"): values for name, values in columns.items()}


@pytest.mark.parametrize(
    ("names", "row", "target", "added"),
    [
        (["x", "split:target", "split:row"], "split:row", "split:target", ["split:target", "split:row"]),
        (["row", "target", "split:row"], "split:row", "split:target", ["split:row"]),
        (["x", "row", "target"], "row", "target", ["row", "target"]),
        (["x"], "row", "target", []),
    ],
    ids=["the template's", "with columns of the plain names", "a pipeline of a team's own", "none"],
)
def test_a_table_says_by_split_row_how_the_others_are_called(
    names: list[str], row: str, target: str, added: list[str]
) -> None:
    assert (find_row_column(names), find_target_column(names), list_added(names)) == (row, target, added)


def test_a_column_called_row_is_content_where_the_rows_are_named_otherwise(tmp_path: Path) -> None:
    train = write(tmp_path / "train.parquet", **add(row=[1, 2], target=[5, 6], split_row=["a", "b"]))
    holdout = write(tmp_path / "holdout.parquet", **add(row=[1, 9], target=[5, 6], split_row=["c", "b"]))
    columns = find_columns(train, holdout, {"row", "target"})
    assert columns == ["row", "target"]
    assert count_copies(train, holdout, columns).copies == 1
    known = find_known_rows(train, holdout, columns)
    assert (known.copied.tolist(), known.named.tolist()) == ([True, False], [False, True])
    assert find_columns(train, holdout, {"split:target"}) == ["row", "target"], "no row is told by its name"


def test_the_target_of_plain_tables_is_wanted_by_either_name(tmp_path: Path) -> None:
    train, holdout = (
        write(tmp_path / f"{name}.parquet", x=[1.0], target=[1.0], row=["a"]) for name in ("train", "holdout")
    )
    assert find_columns(train, holdout, {"x", "split:target"}) == ["x", "target"]


def test_predictions_are_lined_up_by_the_names_that_all_other_checks_read() -> None:
    """A second column of names would let a change show one order to one check, and another to the next."""
    wanted = pa.chunked_array([["b", "a"]])
    forged = pa.table(add(row=["a", "b"], score=[0.1, 0.9], split_row=["b", "a"]))
    found = align_predictions(forged, wanted)
    assert found is not None
    assert found["score"].to_pylist() == [0.9, 0.1]
    inputs = align_rows(pa.table(add(row=[7, 8], split_row=["a", "b"])), wanted)
    assert inputs is not None
    assert inputs["row"].to_pylist() == [8, 7]


def test_the_service_is_asked_rows_with_all_their_inputs_and_no_others(tmp_path: Path) -> None:
    files = Layout()
    inputs = add(row=np.array([1.0, 2.0]), target=["x", "y"], split_target=[0.0, 1.0], split_row=["a", "b"])
    write(tmp_path / files.holdout_features, **inputs)
    write(tmp_path / files.predictions, row=["b", "a"], target=[1.0, 0.0], score=[0.9, 0.1])
    sample = smoke_test.load_sample(tmp_path, files, 2)
    assert sample.rows == [{"row": 1.0, "target": "x"}, {"row": 2.0, "target": "y"}]
    assert sample.scores == [[0.1], [0.9]]
    assert sample.classes == []


@pytest.mark.parametrize(
    ("columns", "reads"),
    [
        (add(x=[1.0], split_target=[1.0], split_row=["a"]), "split:target"),
        (add(x=[1.0], split_target=[1.0], split_row=["a"]), "split:row"),
        (add(x=[1.0], target=[1.0], row=["a"]), "target"),
    ],
)
def test_a_model_that_reads_the_label_beside_its_inputs_asks_for_a_person(
    columns: dict[str, Any], reads: str
) -> None:
    table = pa.table(columns)
    rows = InputRows(path=Path("holdout.parquet"), table=table, known=[table])
    main: Any = SimpleNamespace(future={"late"})
    check = check_inputs(Answers(np.zeros(1), {"x": 0.1, reads: 0.9}), rows, main, unverified=[])
    assert check.passed is None
    assert f"the model reads {reads}, which names the rows or has their target" in check.words
    assert check_inputs(Answers(np.zeros(1), {"x": 0.1}), rows, main, unverified=[]).passed
