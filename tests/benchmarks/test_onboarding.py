"""Public tables that installed packages bring: onboarded without an edit, and read as they are written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import pytest

from benchmarks import onboarding
from benchmarks.onboarding import (
    TABLES,
    Outcome,
    PublicTable,
    compare_cells,
    find_edits,
    read_truth,
    write_outcomes,
)

BY_NAME = {table.name: table for table in TABLES}


def test_there_are_23_tables_each_with_a_name_of_its_own() -> None:
    assert len(BY_NAME) == len(TABLES) == 23


@pytest.mark.slow
@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_what_is_held_to_be_true_of_a_table_is_what_its_file_says(table: PublicTable) -> None:
    rows = read_truth(table)
    target = [row[table.target] for row in rows]
    known = {*table.numbers.split("|"), *table.dates.split("|")} - {""}
    assert len(rows) <= table.rows
    assert known <= set(rows[0])
    if table.share is not None:
        assert table.share in {target.count(label) / len(target) for label in set(target)}
        assert len(set(target)) == 2
    elif table.shares is not None:
        labels = [f"{label:g}" if isinstance(label, float) else label for label in target]
        assert {label: labels.count(label) / len(labels) for label in set(labels)} == pytest.approx(
            table.shares
        )
    else:
        assert sum(target) / len(target) == pytest.approx(table.mean, rel=1e-5)


@pytest.mark.parametrize(
    ("truth", "found", "said"),
    [
        ([1.5, None], [1.5, float("nan")], ""),
        ([1.5, 1.5], [1.5, 15.0], "1 times 15.0, not 0"),
        (["yes", "no", None], [True, False, None], ""),
        (["yes", "no", "no"], [True, True, False], "2 times True, not 1"),
        (["01", "1"], ["1", "1"], "2 times '1', not 1"),
    ],
)
def test_a_cell_that_was_read_as_another_is_found(truth: list[Any], found: list[Any], said: str) -> None:
    kind: Literal["number", "category"] = "number" if isinstance(truth[0], float) else "category"
    assert compare_cells(truth, found, kind) == said


def test_a_wrong_type_a_wrong_task_and_no_input_are_edits() -> None:
    report = {"task": "classification", "columns": [{"name": "yield", "type": "text", "role": "left out"}]}
    assert find_edits(BY_NAME["barley"], report) == [
        "yield: text, is number",
        "task: classification, is regression",
        "no column is an input",
    ]


def test_the_table_of_results_counts_what_needs_no_edit_and_names_the_rest() -> None:
    written = list(
        write_outcomes(
            [
                Outcome("a", 10, 2, seconds=1.0, memory=0.5, task="regression"),
                Outcome(
                    "b",
                    10,
                    2,
                    seconds=1.0,
                    memory=0.5,
                    edits=["x: text, is number"],
                    misread=["9 rows, not 10"],
                ),
            ]
        )
    )
    assert "1 of 2 need no edit; 1 are misread." in written
    assert written[-2:] == ["- b: x: text, is number", "- b: misread: 9 rows, not 10"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["penguins", "salaries"])
def test_a_public_table_becomes_a_project_whose_cells_are_the_table_s(name: str, tmp_path: Path) -> None:
    outcome = onboarding.onboard_table(BY_NAME[name], tmp_path / "work", tests=True)
    assert (outcome.edits, outcome.misread) == ([], [])
    assert outcome.tests == "passed"
    log = (tmp_path / "work/log").read_text(encoding="utf-8")
    assert "Traceback" not in log
    report = json.loads((tmp_path / "work/onboarded/reports/onboarding.json").read_text(encoding="utf-8"))
    assert report["target"] == BY_NAME[name].target
