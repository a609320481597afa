"""`derive` from rows that bring their metrics (task scores): a query stands at each of its documents."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bots import settings
from bots.evidence import MetricsReport, SplitReport
from bots.review.holdout import load_predictions

from .conftest import OwnProject

PARAMS = """\
project: {name: search, title: Search, description: Which documents, owner: octo-org}
data: {task: scores}
evaluate:
  metrics: [NDCG@5, latency]
  scores: {NDCG@5: {direction: higher}, latency: {direction: lower, unit: ms}}
  slices: [language]
gate: {primary: NDCG@5, matters: {NDCG@5: 0.01}}
review: {score: "x {rows} {out}", seed: null}
"""
QUERIES = 120


@pytest.fixture
def project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> OwnProject:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(2)
    Path("params.yaml").write_text(PARAMS)
    predictions, holdout, train = ["row,metric:NDCG@5,metric:latency"], ["row,language,text"], ["row,text"]
    for query in range(QUERIES):
        predictions.insert(1, f"q{query},{rng.random():.4f},{2 + rng.random():.4f}")
        for document in range(3):
            holdout.append(f"q{query},{('de', 'en')[query % 2]},d{document}")
            train.append(f"t{query},d{document}")
    for name, lines in (("predictions", predictions), ("holdout", holdout), ("train", train)):
        Path(f"{name}.csv").write_text("\n".join(lines) + "\n")
    return OwnProject(tmp_path, "scores", capsys)


def test_rows_that_bring_their_metrics_are_enough_for_a_review(project: OwnProject) -> None:
    project.derive_all()
    report, known = project.load_report(MetricsReport), settings.load_settings(project.folder)
    assert [(one.name, one.direction, one.unit) for one in report.metrics] == [
        ("NDCG@5", "higher", None),
        ("latency", "lower", "ms"),
    ]
    assert report.rows == QUERIES
    assert report.calibration == []
    assert [(one.value, one.rows, one.target, one.prediction) for one in report.slices] == [
        ("de", 60, None, None),
        ("en", 60, None, None),
    ]
    predictions = load_predictions(project.folder, known, report)
    assert predictions.find_disagreements(report) == ()
    assert predictions.table.column_names == ["row", "metric:NDCG@5", "metric:latency", "slice:language"]
    split = project.load_report(SplitReport)
    assert [(part.name, part.rows, part.target) for part in split.parts] == [
        ("train", 3 * QUERIES, None),
        ("holdout", QUERIES, None),
    ]


def test_a_holdout_whose_documents_changed_is_another_holdout(project: OwnProject) -> None:
    project.derive_all()
    before = project.load_report(SplitReport).find_part("holdout").digest
    project.replace("holdout.csv", "q0,de,d1", "q0,de,d9")
    project.derive_all()
    assert project.load_report(SplitReport).find_part("holdout").digest != before


def test_what_is_wrong_with_a_row_s_metrics_is_told(project: OwnProject) -> None:
    lines = Path("predictions.csv").read_text()
    project.replace("predictions.csv", "metric:latency", "metric:slowness")
    assert "no column `metric:latency`: write what latency is of each row there" in project.refuse_all()
    Path("predictions.csv").write_text(lines)
    project.replace("predictions.csv", "\nq5,0", "\nq5,inf")
    assert "metric:NDCG@5: expected numbers" in project.refuse_all()
    Path("predictions.csv").write_text(lines + lines.splitlines()[-1] + "\n")
    assert "predictions.csv: row: expected each name once" in project.refuse_all()


def test_another_task_takes_no_row_twice(project: OwnProject) -> None:
    text = PARAMS.replace("scores: {NDCG@5: {direction: higher}, latency: {direction: lower, unit: ms}}", "")
    text = text.replace("task: scores", "task: regression").replace("[NDCG@5, latency]", "[mae]")
    Path("params.yaml").write_text(text.replace("NDCG@5", "mae"))
    assert "holdout.csv: row: expected each name once" in project.refuse_all()


def test_predictions_alone_do_not_tell_whether_the_holdout_is_the_same(project: OwnProject) -> None:
    Path("params.yaml").write_text(PARAMS.replace("  slices: [language]\n", ""))
    said = project.refuse("--predictions", "predictions.csv")
    assert "--holdout FILE: name the table of the rows that judge" in said
    project.derive("--predictions", "predictions.csv", "--holdout", "holdout.csv")
    assert project.load_report(SplitReport).find_part("holdout").rows == QUERIES


@pytest.mark.parametrize("used", ["slice", "weight", "resample"])
def test_a_name_with_several_values_of_a_used_column_is_refused(project: OwnProject, used: str) -> None:
    text = PARAMS if used == "slice" else PARAMS.replace("  slices: [language]\n", "")
    if used == "weight":
        text = text.replace("task: scores", "task: scores, weight: language")
    if used == "resample":
        text = text.replace("primary: NDCG@5", "primary: NDCG@5, resample: language")
    Path("params.yaml").write_text(text)
    project.replace("holdout.csv", "q4,de,d1", "q4,fr,d1")
    assert "holdout.csv: language: expected one value for each name of `row`" in (
        said := project.refuse_all()
    )
    assert "'q4' has several" in said
    Path("params.yaml").write_text(PARAMS.replace("  slices: [language]\n", ""))
    project.derive_all()
