"""`derive --onnx`: a model as its framework wrote it is compared with the predictions, explained, released, served."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pyarrow.parquet as parquet
import pytest
import yaml
from onnx import TensorProto

from bots import layout, settings
from bots.evidence import ExplanationReport, ExportReport, FeaturesReport, MetricsReport
from bots.release.verify import hash_file
from bots.verification import onnx_model, permutation_importance
from bots.verification.model_checks import check_explanation, check_metrics, check_parity
from bots.verification.reviewed_predictions import (
    estimate_half_widths,
    list_reviewed_classes,
    load_reviewed_scores,
    load_reviewed_targets,
)
from fixtures import support
from fixtures.served import Service

from .graphs import make_network

if TYPE_CHECKING:
    from .conftest import OwnProject

TASKS = pytest.mark.parametrize(
    "project", ["classification", "regression", "multiclass"], indirect=True, ids=str
)
NAMED = ["--predictions", "predictions.csv", "--holdout", "holdout.csv", "--train", "train.csv"]


def derive(project: OwnProject, graph: onnx.ModelProto, *options: str) -> str:
    onnx.save(graph, project.folder / "model.onnx")
    return project.derive_all("--onnx", "model.onnx", *(options or ("--inputs", "x,z")))


def refuse(project: OwnProject, graph: onnx.ModelProto, *options: str) -> str:
    onnx.save(graph, project.folder / "model.onnx")
    return project.refuse(*NAMED, "--onnx", "model.onnx", *options)


@TASKS
def test_a_network_of_one_matrix_gets_all_that_a_release_reads(project: OwnProject) -> None:
    said = derive(project, make_network(project.task))
    assert "WARNING" not in said
    export, task = project.load_report(ExportReport), project.task
    assert (export.exported, export.passed, export.rows) == (True, True, 200)
    assert export.digest == hash_file(project.folder / "models/onnx/model.onnx")
    assert export.required == ["x", "z"]
    assert [one.name for one in project.load_report(FeaturesReport).features] == ["x", "z"]
    explanation = project.load_report(ExplanationReport)
    assert [one.feature for one in explanation.ranking] == ["x", "z"]
    assert (explanation.ranking[0].share, explanation.ranking[1].importance) == (1, 0)
    assert len(explanation.worst) == 10
    if task == "multiclass":
        assert [one.name for one in explanation.classes] == ["low", "mid", "top"]
        assert explanation.worst[0].actual != explanation.worst[0].called
    else:
        assert explanation.ranking[0].direction == 1
        assert explanation.worst[0].reasons[0].feature == "x"


@TASKS
def test_what_a_release_checks_passes(project: OwnProject) -> None:
    """As `verify_model` asks, but for dvc.lock."""
    derive(project, make_network(project.task))
    files = settings.load_settings(project.folder).review.files
    model = onnx_model.load_model((project.folder / files.onnx / "model.onnx").read_bytes())
    rows = onnx_model.load_rows(project.folder / files.holdout_features, model)
    reviewed = load_reviewed_scores(project.folder / files.predictions, rows.row)
    assert reviewed is not None
    scores = model.score(rows.inputs)
    export, evaluation = project.load_report(ExportReport), project.load_report(MetricsReport)
    assert check_parity(scores, reviewed, export, task=evaluation.task, threshold=None).passed
    importance = permutation_importance.measure_importance(model, rows.inputs)
    assert check_explanation(importance, project.load_report(ExplanationReport), {}).passed
    known = settings.load_settings(project.folder)
    target = load_reviewed_targets(project.folder / files.predictions, rows.row)
    assert target is not None
    assert check_metrics(
        target,
        scores,
        evaluation=evaluation,
        bins=10,
        half_widths=estimate_half_widths(project.folder / files.predictions, known, None),
        classes=list_reviewed_classes(project.folder / files.predictions),
    ).passed


@pytest.mark.slow
@TASKS
def test_the_service_answers_as_the_predictions_say(project: OwnProject) -> None:
    derive(project, make_network(project.task))
    (project.folder / "schema.yaml").unlink(missing_ok=True)
    serving = yaml.safe_load(support.render_file("params.yaml"))["serving"]
    project.edit("serving", **serving)
    done = subprocess.run(
        [sys.executable, "-m", "serving", "check", "models/onnx"],
        cwd=project.folder,
        env=Service(project.folder).variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = parquet.read_table(project.folder / "data/features/holdout.parquet").select(["x", "z"]).to_pylist()
    predictions = parquet.read_table(project.folder / "reports/predictions.parquet")
    service = Service(project.folder)
    service.start(path="/health/ready")
    try:
        answers = service.client.post("/predict", json=rows[:50]).json()["predictions"]
        alone = service.client.post("/predict", json=rows[7]).json()["predictions"][0]
        gap = service.client.post("/predict", json={"x": 1.0})
    finally:
        service.stop()
    assert read_scores(alone, project.task) == pytest.approx(read_scores(answers[7], project.task), abs=1e-6)
    names = [name for name in predictions.column_names if name.startswith("score")]
    for at, answer in enumerate(answers):
        wanted = [predictions[name][at].as_py() for name in names]
        assert read_scores(answer, project.task) == pytest.approx(wanted, rel=1e-5, abs=1e-5)
    assert gap.status_code == 422
    assert "the model has no answer without one" in gap.text


def read_scores(answer: dict[str, Any], task: str) -> list[float]:
    if task == "multiclass":
        return [float(answer["probabilities"][name]) for name in ("low", "mid", "top")]
    return [float(answer["score"])]


def test_columns_of_their_own_and_text_need_no_options(project: OwnProject) -> None:
    """As skl2onnx writes a pipeline by default: a label first, and probabilities as dictionaries (ZipMap)."""
    import pandas as pd
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType, StringTensorType
    from sklearn.compose import make_column_transformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    train, holdout = (
        pd.read_csv(f"{name}.csv", dtype={"city": str}, keep_default_na=False)
        for name in ("train", "holdout")
    )
    prepare = make_column_transformer((OneHotEncoder(), ["city"]), remainder="passthrough")
    fitted = make_pipeline(prepare, LogisticRegression()).fit(train[["x", "city"]], train["y"])
    inputs = [("x", FloatTensorType([None, 1])), ("city", StringTensorType([None, 1]))]
    graph = to_onnx(fitted, initial_types=inputs)
    assert "ZipMap" in {node.op_type for node in graph.graph.node}
    score = fitted.predict_proba(holdout[["x", "city"]])[:, 1]
    pd.DataFrame({"row": holdout["row"], "score": score}).to_csv("predictions.csv", index=False)
    onnx.save(graph, project.folder / "model.onnx")
    said = project.derive_all("--onnx", "model.onnx")
    assert "WARNING" not in said
    contract = json.loads((project.folder / "models/onnx/contract.json").read_text())
    assert [(one["name"], one["kind"], one["required"]) for one in contract["inputs"]] == [
        ("x", "number", True), ("city", "category", False),
    ]  # fmt: skip
    assert contract["inputs"][1]["seen"] == ["01067", "NA"]
    assert project.load_report(ExportReport).closed == ["city"]


def test_personal_columns_show_no_value(project: OwnProject) -> None:
    schema = {"row": "one person", "columns": {"x": {"type": "number", "known": "before", "personal": True}}}
    (project.folder / "schema.yaml").write_text(yaml.safe_dump(schema))
    derive(project, make_network("classification"))
    contract = json.loads((project.folder / "models/onnx/contract.json").read_text())
    first = contract["inputs"][0]
    assert (first["personal"], first["low"], first["high"], first["example"]) == (True, None, None, None)
    assert {probe["row"]["x"] for probe in contract["probes"]} == {1.0}
    worst = project.load_report(ExplanationReport).worst
    assert {reason.value for one in worst for reason in one.reasons if reason.feature == "x"} == {
        "(personal)"
    }
    assert project.load_report(FeaturesReport).features[0].low is None


@pytest.mark.parametrize(
    "graph",
    [
        make_network("classification", squeeze=True),
        make_network("classification", kind=TensorProto.DOUBLE),
        make_network("classification", shape=("rows", None)),
    ],
    ids=["squeezed", "double", "no width"],
)
def test_other_forms_of_the_same_model_give_the_same_answers(
    project: OwnProject, graph: onnx.ModelProto
) -> None:
    assert "WARNING" not in derive(project, graph)
    assert project.load_report(ExportReport).largest_difference < 1e-5


def test_a_model_with_its_weights_in_a_file_beside_it_becomes_one_file(project: OwnProject) -> None:
    options: dict[str, Any] = {
        "save_as_external_data": True,
        "location": "model.onnx.data",
        "size_threshold": 0,
    }
    onnx.save(make_network("classification"), project.folder / "model.onnx", **options)
    assert (project.folder / "model.onnx.data").exists()
    assert "WARNING" not in project.derive_all("--onnx", "model.onnx", "--inputs", "x,z")
    (project.folder / "model.onnx.data").unlink()
    assert "not a readable ONNX model" in project.refuse(*NAMED, "--onnx", "model.onnx", "--inputs", "x,z")


def test_another_model_than_the_predictions_is_evidence_that_blocks(project: OwnProject) -> None:
    graph = make_network("classification")
    graph.graph.initializer[0].CopyFrom(
        onnx.numpy_helper.from_array(np.array([[1.4], [0]], np.float32), "slope")
    )
    said = derive(project, graph)
    assert (
        "WARNING: the ONNX model does not answer as it should: it differs from the predictions by more"
        in said
    )
    export = project.load_report(ExportReport)
    assert (export.exported, export.passed, export.step) == (True, False, "parity")
    assert 0.01 < export.largest_difference < 0.1
    assert "WARNING" not in derive(project, graph, "--inputs", "x,z", "--tolerance", "0.1")


def test_an_order_of_columns_that_is_not_the_models_is_found(project: OwnProject) -> None:
    assert "differs from the predictions" in derive(
        project, make_network("classification"), "--inputs", "z,x"
    )


@pytest.mark.parametrize(
    ("graph", "options", "words"),
    [
        (make_network("classification"), [], "takes 2 columns, and the holdout has 3 beside the row's name"),
        (make_network("classification", rows=16), ["--inputs", "x,z"], "it takes 16 rows at a time: export it for"),
        (make_network("classification", logits=True), ["--inputs", "x,z"], "is no probability: let the graph end"),
        (make_network("multiclass"), ["--inputs", "x,z"], "it gives 3 numbers a row, and a classification has one"),
        (make_network("classification"), ["--inputs", "x,town"], "no column `town`, which the model reads"),
        (make_network("classification"), ["--inputs", "x,city"], "city: expected numbers, which the model"),
        (make_network("classification", shape=("n", 2, 3)), [], "is a float of 3 dimensions; expected a table of rows"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_told_with_what_to_do(
    project: OwnProject, graph: onnx.ModelProto, options: list[str], words: str
) -> None:
    assert words in refuse(project, graph, *options)


def test_what_is_no_model_is_told(project: OwnProject) -> None:
    (project.folder / "model.onnx").write_bytes(b"no model at all")
    assert "model.onnx: not a readable ONNX model" in project.refuse(*NAMED, "--onnx", "model.onnx")
    assert "other.onnx: there is no such file" in project.refuse(*NAMED, "--onnx", "other.onnx")


def test_the_same_model_gives_the_same_bytes(project: OwnProject) -> None:
    paths = ["models/onnx/model.onnx", "models/onnx/contract.json", layout.name_report("explanation")]
    found = []
    for _ in range(2):
        derive(project, make_network("classification"))
        found.append([(project.folder / path).read_bytes() for path in paths])
    assert found[0] == found[1]


@pytest.mark.parametrize("place", ["../outside.bin", "/etc/hostname"])
def test_a_model_whose_weights_are_a_file_outside_of_its_folder_is_refused(
    project: OwnProject, place: str
) -> None:
    (project.folder.parent / "outside.bin").write_bytes(np.array([1.5, 0], np.float32).tobytes())
    options: dict[str, Any] = {"save_as_external_data": True, "location": "weights.bin", "size_threshold": 0}
    onnx.save(make_network("classification"), project.folder / "model.onnx", **options)
    graph = onnx.load(project.folder / "model.onnx", load_external_data=False)
    graph.graph.initializer[0].external_data[0].value = place
    (project.folder / "model.onnx").write_bytes(graph.SerializeToString())
    assert "not a readable ONNX model" in project.refuse(*NAMED, "--onnx", "model.onnx", "--inputs", "x,z")


def test_a_column_called_weight_is_an_input_unless_it_is_asked_for_as_the_rows_weight(
    project: OwnProject,
) -> None:
    for name in ("train", "holdout"):
        text = (project.folder / f"{name}.csv").read_text()
        (project.folder / f"{name}.csv").write_text(text.replace("row,x,z,city,y", "row,x,weight,city,y"))
    project.edit("evaluate", slices=[])
    for name in ("train", "holdout"):
        rows = [line.split(",") for line in (project.folder / f"{name}.csv").read_text().splitlines()]
        (project.folder / f"{name}.csv").write_text(
            "".join(",".join([*row[:3], row[4]]) + "\n" for row in rows)
        )
    onnx.save(make_network(project.task), project.folder / "model.onnx")
    project.derive_all("--onnx", "model.onnx")
    assert [one.name for one in project.load_report(FeaturesReport).features] == ["x", "weight"]
