"""`derive`: three tables give the evidence of a review; what is wrong is told with what to write."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
import yaml

from bots import evidence, settings
from bots.dvc import derived
from bots.evidence import DataReport, MetricsReport, SplitReport
from bots.review.holdout import load_predictions
from fixtures.documents import read_words

if TYPE_CHECKING:
    from .conftest import OwnProject

TASKS = pytest.mark.parametrize(
    "project", ["classification", "regression", "multiclass"], indirect=True, ids=str
)


@TASKS
def test_three_tables_are_enough_for_a_review(project: OwnProject) -> None:
    said = project.derive_all()
    assert (
        "derive: wrote data/splits/train.parquet, data/splits/holdout.parquet, reports/predictions.parquet"
        in said
    )
    report = project.load_report(MetricsReport)
    known = settings.load_settings(project.folder)
    predictions = load_predictions(project.folder, known, report)
    assert predictions.find_disagreements(report) == ()
    split = project.load_report(SplitReport)
    assert [(part.name, part.rows) for part in split.parts] == [("train", 200), ("holdout", 200)]
    assert report.holdout == split.find_part("holdout").digest
    assert split.classes == (["low", "mid", "top"] if project.task == "multiclass" else [])
    assert project.load_report(DataReport).passed
    assert {one.value for one in report.slices} == {"01067", "NA", "missing"}
    holdout = parquet.read_table(project.folder / "data/splits/holdout.parquet")
    assert holdout["row"].to_pylist()[0] == "r200"
    assert set(holdout["city"].to_pylist()) == {"01067", "NA", None}


def test_the_same_tables_give_the_same_bytes_whatever_their_form_and_order(project: OwnProject) -> None:
    project.derive_all()
    before = {
        name: (project.folder / name).read_bytes() for name in ("reports/metrics.json", "reports/split.json")
    }
    for name in ("predictions", "holdout"):
        lines = (project.folder / f"{name}.csv").read_text().splitlines()
        (project.folder / f"{name}.csv").write_text("\n".join([lines[0], *reversed(lines[1:])]))
    rows = parquet.read_table(project.folder / "data/splits/train.parquet")
    parquet.write_table(rows, project.folder / "train.parquet")
    project.derive("--predictions", "predictions.csv", "--holdout", "holdout.csv", "--train", "train.parquet")
    assert before["reports/split.json"] == (project.folder / "reports/split.json").read_bytes()
    after = evidence.load(project.folder / "reports/metrics.json", MetricsReport)
    assert after.values == pytest.approx(
        evidence.decode(before["reports/metrics.json"], MetricsReport, "").values
    )


def test_predictions_alone_give_metrics_and_the_part_of_the_split_that_is_known(project: OwnProject) -> None:
    lines = (project.folder / "predictions.csv").read_text().splitlines()
    flags = [line.rpartition(",")[2] for line in (project.folder / "holdout.csv").read_text().splitlines()]
    (project.folder / "predictions.csv").write_text(
        "\n".join([f"{line},{flag}" for line, flag in zip(lines, ["target", *flags[1:]], strict=True)])
    )
    project.edit("evaluate", slices=[])
    said = project.derive("--predictions", "predictions.csv")
    assert "nobody can tell whether the model has seen the holdout" in said
    split = project.load_report(SplitReport)
    assert split.by is None
    assert [part.name for part in split.parts] == ["holdout"]
    assert project.load_report(MetricsReport).rows == 200


def test_what_another_stage_writes_is_left_alone(project: OwnProject) -> None:
    theirs = {
        "by": "random",
        "unlabelled": 0,
        "parts": [{"name": "holdout", "rows": 200, "digest": "md5:" + "a" * 32}],
    }
    (project.folder / "reports").mkdir()
    (project.folder / "reports/split.json").write_text(json.dumps(theirs))
    stages = {"split": {"cmd": "python split.py", "outs": [{"reports/split.json": {"cache": False}}]}}
    (project.folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    said = project.derive_all()
    assert "reports/split.json is left as the stage split writes it" in said
    assert project.load_report(MetricsReport).holdout == "md5:" + "a" * 32


def test_the_stage_that_is_printed_is_the_one_that_writes_all_of_its_outputs(project: OwnProject) -> None:
    from bots.__main__ import main

    words = ["--predictions", "predictions.csv", "--holdout", "holdout.csv", "--train", "train.csv"]
    assert main([*read_words("docs/evidence.md", "python -m bots derive"), *words, "--stage"]) == 0
    text = project.capture.readouterr().out
    stage = yaml.safe_load(text)["stages"][derived.STAGE]
    assert stage["cmd"] == "python -m bots derive " + " ".join(words)
    assert stage["outs"][0] == "data/splits"
    assert stage["metrics"] == [{"reports/metrics.json": {"cache": False}}]
    (project.folder / "dvc.yaml").write_text(text)
    project.derive_all()
    named = [*stage["outs"], *stage["metrics"]]
    assert all(
        (project.folder / (path if isinstance(path, str) else next(iter(path)))).exists() for path in named
    )
    project.replace("dvc.yaml", "reports/data.json", "reports/export.json")
    assert "names reports/export.json, which cannot be made from" in project.refuse_all()


def test_a_split_by_time_is_told_where_training_is_earlier(project: OwnProject) -> None:
    for name, month in (("train", 1), ("holdout", 2)):
        lines = (project.folder / f"{name}.csv").read_text().splitlines()
        days = ["day", *(f"2024-0{month}-{1 + at % 28:02d}" for at in range(len(lines) - 1))]
        (project.folder / f"{name}.csv").write_text(
            "\n".join(f"{line},{day}" for line, day in zip(lines, days, strict=True))
        )
    project.derive_all("--time", "day")
    split = project.load_report(SplitReport)
    assert (split.by, split.parts[0].last, split.parts[1].first) == ("time", "2024-01-28", "2024-02-01")
    assert "no column `week`, which --time names" in project.refuse(
        "--predictions", "predictions.csv", "--holdout", "holdout.csv", "--time", "week"
    )


def test_labels_of_a_teams_own_are_answers(project: OwnProject) -> None:
    for name in ("train", "holdout"):
        text = (project.folder / f"{name}.csv").read_text()
        (project.folder / f"{name}.csv").write_text(
            text.replace(",1\n", ",left\n").replace(",0\n", ",stayed\n")
        )
    assert "expected 0 and 1, got 'left', 'stayed': say which one counts as yes" in project.refuse_all()
    project.edit("data", positive="left")
    project.derive_all()
    answers = project.load_report(SplitReport).answers
    assert (answers.yes, answers.no) == ("left", "stayed")


@pytest.mark.parametrize(
    ("name", "old", "new", "words"),
    [
        ("predictions.csv", "row,", "id,", "predictions.csv: no column `row` (it has id, score): write one that names"),
        ("predictions.csv", "score", "proba", "no column `score` (it has row, proba): write the probability of yes"),
        ("predictions.csv", "r200,", "r201,", "row: expected each name once; 1 stand more than once, such as 'r201'"),
        ("predictions.csv", "r200,", "s200,", "1 of the 200 rows of holdout.csv are missing, such as 'r200'"),
        ("predictions.csv", "r200,", "r200,1", "expected probabilities from 0 to 1; 1 of 200 are not"),
        ("predictions.csv", "r200,", "r200,x", "score: expected numbers"),
        ("predictions.csv", "r200,", ",", "row: expected a name for each row; 1 of 200 have none"),
        ("holdout.csv", "row,x,z,city,y", "row,x,x,city,y", "holdout.csv: expected each column once, got `x` more"),
        ("holdout.csv", "row,x,z,city,y", "row,x,z,city,label", "no column `y` (it has row, x, z, city, label), and"),
        ("holdout.csv", "row,x,z,city,y", "row,x,z,town,y", "no column `slice:city`, and holdout.csv none called"),
        ("train.csv", "r0,", "r200,", "1 rows have the name of a row of holdout.csv, such as 'r200'"),
        ("train.csv", "row,x,z,city,y", "row,x,z,city,label", "train.csv: no column `y`: write the target"),
        ("train.csv", "row,x,z,city,y", "row;x;z;city;y", "train.csv: not a readable CSV table"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_what_to_write(
    project: OwnProject, name: str, old: str, new: str, words: str
) -> None:
    project.replace(name, old, new)
    assert words in project.refuse_all()


def test_labels_in_the_place_of_probabilities_are_warned_of(project: OwnProject) -> None:
    path = project.folder / "predictions.csv"
    assert "these are labels" not in project.derive_all()
    head, *rows = path.read_text().splitlines()
    labels = [f"{name},{round(float(score))}" for name, score in (row.split(",") for row in rows)]
    path.write_text("\n".join([head, *labels, ""]))
    assert "WARNING: predictions.csv: each score is 0 or 1: these are labels" in project.derive_all()


def test_files_that_are_none_are_told(project: OwnProject) -> None:
    named = ["--holdout", "holdout.csv", "--predictions"]
    assert "nothing.csv: there is no such file" in project.refuse(*named, "nothing.csv")
    assert "expected a file that ends in .csv or .parquet" in project.refuse(*named, "params.yaml")
    (project.folder / "bad.parquet").write_bytes(b"PAR1 no table PAR1")
    assert "bad.parquet: not a readable Parquet table" in project.refuse(*named, "bad.parquet")
    (project.folder / "latin.csv").write_bytes("row,score\nr1,0.5\ncaf\xe9,0.5\n".encode("latin-1"))
    assert "latin.csv: not a readable CSV table in UTF-8" in project.refuse(*named, "latin.csv")
    (project.folder / "head.csv").write_bytes("row,caf\xe9\nr1,0.5\n".encode("latin-1"))
    assert "head.csv: not a readable CSV table in UTF-8" in project.refuse(*named, "head.csv")
    (project.folder / "empty.csv").write_text("row,score\n")
    assert "empty.csv: expected at least one row" in project.refuse(*named, "empty.csv")


@pytest.mark.parametrize("project", ["multiclass"], indirect=True)
def test_classes_without_predictions_are_told(project: OwnProject) -> None:
    project.replace("predictions.csv", "score:mid", "score:mild")
    assert "no such class: 'mid'" in project.refuse_all()
    project.edit("data", classes=["top", "mid", "low"])
    assert "no column `score:mid`, and data.classes of params.yaml names it" in project.refuse_all()
    project.replace("predictions.csv", "score:mild", "score:mid")
    project.derive_all()
    assert project.load_report(SplitReport).classes == ["top", "mid", "low"]
    table = parquet.read_table(project.folder / "reports/predictions.parquet")
    assert [name for name in table.column_names if name.startswith("score:")] == [
        "score:top",
        "score:mid",
        "score:low",
    ]
    project.edit("data", classes=None, task="classification", positive="top")
    project.edit("evaluate", metrics=["log_loss"])
    assert "has a column for each of several classes, and data.task" in project.refuse_all()


def test_targets_that_contradict_each_other_are_told(project: OwnProject) -> None:
    rows = [line.split(",")[0] for line in (project.folder / "predictions.csv").read_text().splitlines()[1:]]
    table = pa.table({"row": rows, "score": np.full(200, 0.5), "target": np.zeros(200)})
    parquet.write_table(table, project.folder / "predictions.parquet")
    named = ["--holdout", "holdout.csv", "--predictions", "predictions.parquet"]
    assert "rows say otherwise than y of holdout.csv" in project.refuse(*named)


def test_a_further_model_has_a_stage_and_evidence_of_its_own(project: OwnProject) -> None:
    artifacts = {name: {"path": f"{name}.pt", "type": "model"} for name in ("main", "second")}
    outs = ["main.pt", "second.pt"]
    pipeline: dict[str, Any] = {
        "stages": {"train": {"cmd": "python train.py", "outs": outs}},
        "artifacts": artifacts,
    }
    own: dict[str, Any] = {"score": "python second.py {rows} {out}", "files": {"splits": "data/second"}}
    own["files"] |= {f"{one}_rows": f"data/second/{one}.parquet" for one in ("training", "holdout")}
    project.edit("models", second={"review": own})
    project.edit("review", files={"model": "main"})
    (project.folder / "dvc.yaml").write_text(yaml.safe_dump(pipeline))
    words = ["--predictions", "predictions.csv", "--holdout", "holdout.csv", "--train", "train.csv"]
    for name in (None, "second"):
        chosen = [] if name is None else ["--model", name]
        text = project.print_stage(*chosen, *words)
        pipeline["stages"] |= yaml.safe_load(text)["stages"]
        (project.folder / "dvc.yaml").write_text(yaml.safe_dump(pipeline))
    assert list(pipeline["stages"]) == ["train", "evidence", "evidence-second"]
    stage = pipeline["stages"]["evidence-second"]
    assert str(stage["cmd"]).startswith("python -m bots derive --model second --predictions")
    assert "data/second" in stage["outs"]
    project.derive("--model", "second", *words)
    assert "reports/second/metrics.json" in project.list_files()
    assert "reports/metrics.json" not in project.list_files()
    project.derive(*words)
    names = [
        f"{folder}/{name}.json" for folder in ("reports", "reports/second") for name in ("metrics", "split")
    ]
    assert set(names) <= project.list_files()
    assert "no model `third`" in project.refuse("--model", "third", *words)


def add_column(project: OwnProject, name: str, column: str, values: list[str]) -> None:
    """Add a column to a CSV file, whose values are taken in turn."""
    lines = (project.folder / name).read_text().splitlines()
    added = [column, *(values[at % len(values)] for at in range(len(lines) - 1))]
    (project.folder / name).write_text(
        "".join(f"{line},{one}\n" for line, one in zip(lines, added, strict=True))
    )


def test_a_weight_of_the_predictions_that_nobody_asks_for_is_refused_where_it_says_something(
    project: OwnProject,
) -> None:
    before = (project.folder / "predictions.csv").read_text()
    add_column(project, "predictions.csv", "weight", ["1"])
    project.derive_all()
    assert "weight" not in parquet.read_table(project.folder / "reports/predictions.parquet").column_names
    (project.folder / "predictions.csv").write_text(before)
    add_column(project, "predictions.csv", "weight", ["1", "3"])
    (project.folder / "reports/predictions.parquet").unlink()
    said = project.refuse_all()
    assert (
        "predictions.csv: weight: rows do not count alike there, and data.weight of params.yaml names" in said
    )
    project.edit("data", weight="weight")
    project.derive_all()
    assert "weight" in parquet.read_table(project.folder / "reports/predictions.parquet").column_names


@pytest.mark.parametrize(
    ("positive", "holdout", "predictions"),
    [
        (None, None, ("False", "True")),
        (None, ("False", "True"), ("0", "1")),
        (True, ("no", "yes"), ("0", "1")),
        ("left", ("stayed", "left"), ("0", "1")),
        ("left", ("stayed", "left"), ("false", "true")),
    ],
)
def test_targets_that_say_the_same_in_other_words_do_not_contradict_each_other(
    project: OwnProject, positive: Any, holdout: Any, predictions: Any
) -> None:
    lines = (project.folder / "holdout.csv").read_text().splitlines()
    flags = [int(line.rpartition(",")[2]) for line in lines[1:]]
    if positive is not None:
        project.edit("data", positive=positive)
    for name in ("train", "holdout"):
        text = (project.folder / f"{name}.csv").read_text()
        no, yes = holdout or ("0", "1")
        (project.folder / f"{name}.csv").write_text(
            text.replace(",1\n", f",{yes}\n").replace(",0\n", f",{no}\n")
        )
    add_column(project, "predictions.csv", "target", [predictions[flag] for flag in flags])
    project.derive_all()
    assert project.load_report(SplitReport).find_part("holdout").target == pytest.approx(np.mean(flags))
    line = f"r200,{(project.folder / 'predictions.csv').read_text().splitlines()[1].split(',')[1]},"
    project.replace("predictions.csv", line + predictions[flags[0]], line + predictions[1 - flags[0]])
    assert "target: 1 of 200 rows say otherwise than y of holdout.csv" in project.refuse_all()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--onnx", "model.onnx"], "--onnx says nothing without --holdout FILE"),
        (["--time", "x"], "--time says nothing without --holdout FILE"),
        (["--holdout", "holdout.csv", "--inputs", "x,z"], "--inputs says nothing without --onnx FILE"),
    ],
)
def test_an_option_without_effect_is_an_error(project: OwnProject, options: list[str], words: str) -> None:
    assert words in project.refuse("--predictions", "predictions.csv", *options)


@pytest.mark.parametrize(
    ("train", "holdout", "by", "note"),
    [
        (["2023-12-30", "2023-12-31"], ["2024-01-01"], "time", None),
        (["2024-01-01T09:30"], ["2024-01-01 10:00"], "time", None),
        (["2024-01-01 11:00"], ["2024-01-01T10:00"], None, "the last day of train.csv (2024-01-01 11:00) is not"),
        (["2024-01-01"], ["2024-01-01"], None, "is not earlier than the first of holdout.csv (2024-01-01)"),
        (["2024-01-01"], ["2024-01-01T10:00"], None, "is not earlier than the first of holdout.csv"),
        (["2024-01-01T10:00+02:00"], ["2024-01-01T08:30Z"], "time", None),
        (["2023-01-01", ""], ["2024-01-01"], None, "100 rows of train.csv have no day"),
        (["2023-01-01"], ["2024-01-01", ""], None, "100 rows of holdout.csv have no day"),
        (["9"], ["10"], "time", None),
        (["10"], ["10"], None, "is not earlier"),
    ],
)  # fmt: skip
def test_a_split_is_by_time_only_where_every_row_that_trains_is_known_to_be_earlier(
    project: OwnProject, train: list[str], holdout: list[str], by: str | None, note: str | None
) -> None:
    add_column(project, "train.csv", "day", train)
    add_column(project, "holdout.csv", "day", holdout)
    said = project.derive_all("--time", "day")
    split = project.load_report(SplitReport)
    assert split.by == by
    assert (split.parts[0].first, split.parts[1].first) == (train[0], holdout[0])
    assert ("split.json does not say that the split is by time" in said) == (note is not None)
    assert note is None or note in said


@pytest.mark.parametrize(
    ("train", "holdout", "words"),
    [
        (["31/12/2023"], ["01/02/2024"], "holdout.csv: day: expected dates such as 2024-07-01"),
        (["2023-12-31"], ["2024-13-01"], "holdout.csv: day: expected dates such as 2024-07-01"),
        (["2023-12-31", "2023-12-30T08:00Z"], ["2024-01-01"], "train.csv: day: expected dates such as"),
        (["2023-12-31T08:00Z"], ["2024-01-01"], "day: times with a zone in train.csv and times without a zone in"),
        (["2023"], ["2024-01-01"], "day: numbers in train.csv and times without a zone in holdout.csv"),
        (["true"], ["2024-01-01"], "train.csv: day: expected dates such as 2024-07-01"),
    ],
)  # fmt: skip
def test_times_that_are_none_or_cannot_be_compared_are_refused(
    project: OwnProject, train: list[str], holdout: list[str], words: str
) -> None:
    add_column(project, "train.csv", "day", train)
    add_column(project, "holdout.csv", "day", holdout)
    named = ["--predictions", "predictions.csv", "--holdout", "holdout.csv", "--train", "train.csv"]
    assert words in project.refuse(*named, "--time", "day")


def test_a_table_without_any_time_leaves_the_split_untold_with_a_note(project: OwnProject) -> None:
    add_column(project, "train.csv", "day", ["2024-01-01"])
    add_column(project, "holdout.csv", "day", [""])
    assert "by time: no row of holdout.csv has a day" in project.derive_all("--time", "day")
    assert project.load_report(SplitReport).by is None


@pytest.mark.parametrize("large", [False, True])
def test_times_as_text_are_held_against_times_as_such(project: OwnProject, large: bool) -> None:
    from pyarrow import csv

    add_column(project, "train.csv", "day", ["2023-12-31"])
    table = csv.read_csv(project.folder / "holdout.csv")
    named = ["--predictions", "predictions.csv", "--holdout", "holdout.parquet", "--train", "train.csv"]
    if large:
        dates = pa.array(["01/02/2024"] * 200, pa.large_string())
        parquet.write_table(table.append_column("day", dates), project.folder / "holdout.parquet")
        assert "holdout.parquet: day: expected dates" in project.refuse(*named, "--time", "day")
    times = pa.array(["2024-01-01T08:00"] * 200).cast(pa.timestamp("ms"))
    parquet.write_table(table.append_column("day", times), project.folder / "holdout.parquet")
    project.derive(*named, "--time", "day")
    assert project.load_report(SplitReport).by == "time"


def find_findings(project: OwnProject, **columns: Any) -> list[tuple[str, str, str | None]]:
    (project.folder / "schema.yaml").write_text(yaml.safe_dump({"columns": columns}))
    project.derive_all()
    report = project.load_report(DataReport)
    assert report.passed == all(one.severity != "error" for one in report.findings)
    return [(one.check, one.severity, one.column) for one in report.findings]


def test_what_the_schema_says_of_types_gaps_and_columns_is_held_against_the_tables(
    project: OwnProject,
) -> None:
    assert find_findings(project) == []
    plain = project.load_report(DataReport).checks
    fits = {"x": {"type": "number", "nullable": False}, "y": {"type": "boolean"}}
    assert find_findings(project, **fits) == []
    assert project.load_report(DataReport).checks == plain + 5, (
        "three of what is said, two that both are there"
    )
    assert find_findings(project, city={"type": "number"}) == [("type", "error", "city")]
    assert find_findings(project, city={"nullable": False}) == [("nullable", "error", "city")]
    assert find_findings(project, x={"type": "boolean"}) == [("type", "error", "x")]
    assert find_findings(project, speed={"type": "number"}, later={"known": "after"}) == [
        ("columns", "warning", "speed")
    ]
    add_column(project, "train.csv", "speed", ["1"])
    assert find_findings(project, speed={"type": "number"}) == [("columns", "warning", "speed")]


@pytest.mark.parametrize(
    ("train", "holdout", "kind"),
    [
        ([""], ["7", "8"], "number"),
        (["7", "8"], [""], "number"),
        (["A1", "7"], ["7", "8"], "category"),
        (["7", "8"], ["A1", "7"], "category"),
    ],
)
def test_a_column_of_csv_has_the_type_that_the_cells_of_both_tables_give_it(
    project: OwnProject, train: list[str], holdout: list[str], kind: str
) -> None:
    add_column(project, "train.csv", "code", train)
    add_column(project, "holdout.csv", "code", holdout)
    assert find_findings(project) == []
    column = next(one for one in project.load_report(DataReport).columns if one.name == "code")
    assert column.type == kind
    assert (column.low, column.high) == ((7, 8) if kind == "number" else (None, None))
    wrong = [] if kind == "number" else [("type", "error", "code")]
    assert find_findings(project, code={"type": "number"}) == wrong


def test_numbers_in_one_table_of_parquet_and_text_in_the_other_are_told(project: OwnProject) -> None:
    from pyarrow import csv

    for name, values in (("train", pa.array(["a"] * 200)), ("holdout", pa.array([1] * 200))):
        table = csv.read_csv(project.folder / f"{name}.csv").append_column("code", values)
        parquet.write_table(table, project.folder / f"{name}.parquet")
    named = ["--predictions", "predictions.csv", "--holdout", "holdout.parquet", "--train", "train.parquet"]
    project.derive(*named)
    findings = project.load_report(DataReport).findings
    assert [(one.check, one.severity, one.column) for one in findings] == [("type", "error", "code")]
