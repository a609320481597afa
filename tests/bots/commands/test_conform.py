"""`conform`: a team with its own code hears at once everything that the bots will ask for, and what to write."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
import yaml

from bots.dvc import stage_graph
from bots.release.release import explain_nothing
from bots.review.conform import check_as_reviewed
from bots.review.holdout import HoldoutPredictions
from bots.settings import parse_settings
from fixtures import lucky
from fixtures.documents import read_words

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fixtures.dvc_projects import DvcProject

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def main(tmp_path_factory: pytest.TempPathFactory) -> DvcProject:
    return lucky.create_project(tmp_path_factory.mktemp("own"))


@pytest.fixture
def project(main: DvcProject, tmp_path: Path) -> DvcProject:
    return lucky.copy_project(main, tmp_path)


def conform(project: DvcProject, purpose: str, *, expect: int) -> dict[tuple[str, str], str]:
    """What is missing: file and field to words."""
    done = project.bots("conform", "--for", purpose, "--json", expect=expect)
    found = json.loads(done.stdout)
    assert list(found["ready"]) == ["review", "lock", "release", "serve"][: len(found["ready"])]
    assert all(found["ready"].values()) == (expect == 0)
    told: dict[tuple[str, str], str] = {}
    for one in found["missing"]:
        place = (one["file"], one["field"])
        told[place] = "; ".join([told[place], one["words"]] if place in told else [one["words"]])
    return told


def edit_json(project: DvcProject, name: str, edit: Callable[[dict[str, Any]], object]) -> None:
    path = project.folder / "reports" / name
    document = json.loads(path.read_text())
    edit(document)
    path.write_text(json.dumps(document))


def edit_yaml(project: DvcProject, edit: Callable[[dict[str, Any]], object]) -> None:
    path = project.folder / "dvc.yaml"
    document = yaml.safe_load(path.read_text())
    edit(document)
    path.write_text(yaml.safe_dump(document, sort_keys=False))


def test_a_pipeline_of_forty_lines_is_ready_for_review_and_lock_and_told_what_a_release_needs(
    project: DvcProject,
):
    done = project.bots(*read_words("docs/evidence.md", "python -m bots conform"), expect=1)
    table = done.stdout.rpartition("\n\n")[2]
    assert [line.split()[:2] for line in table.splitlines()] == [
        ["review", "ready"], ["lock", "ready"], ["release", "5"], ["serve", "1"],
    ]  # fmt: skip
    assert "release  reports/export.json: missing: a release holds the model against it" in done.stdout
    assert conform(project, "lock", expect=0) == {}


def test_everything_that_is_wrong_is_told_at_once_with_what_to_write(project: DvcProject):
    folder = project.folder
    loss = json.loads((folder / "reports/metrics.json").read_text())["values"]["log_loss"]
    edit_json(project, "metrics.json", lambda report: report.pop("slices"))
    edit_json(project, "metrics.json", lambda report: report["values"].update(log_loss=0.1))
    edit_json(project, "metrics.json", lambda report: report["metrics"][0].update(direction="down"))
    edit_json(project, "metrics.json", lambda report: report.update(rows=7, primary="roc_auc"))
    edit_json(project, "split.json", lambda report: report["parts"].pop(0))
    (folder / "reports/drift.json").write_text("{}")
    lucky.edit(project, "gate", resample="day")
    lucky.edit(project, "evaluate", slices=["north"])
    lucky.edit(project, "review", drift="python -m pipeline compare {reference} {current} {out}")
    lucky.edit(project, "model", seed="seven")
    (folder / "helper.py").write_text("")
    code = folder / "make.py"
    code.write_text(code.read_text().replace("import hashlib", "import helper, hashlib"))

    def edit(document: dict[str, Any]) -> None:
        stages = document["stages"]
        stages["train"]["outs"] = ["models/net.pt"]
        stages["split"]["deps"].append("data/orders.csv")
        stages["evaluate"]["metrics"] = []

    edit_yaml(project, edit)
    found = conform(project, "lock", expect=1)
    path, pipeline = "reports/metrics.json", "dvc.yaml"
    assert found[path, "slices"] == "missing; expected a list"
    assert found[path, "values.log_loss"] == f"write {loss:.6g}, not 0.1"
    assert "expected one of higher, lower" in found[path, "metrics[0].direction"]
    assert found[path, "rows"] == "write 2000, not 7"
    assert found[path, "primary"] == "params.yaml says log_loss, reports/metrics.json roc_auc: write the same"
    assert "metrics[0].value" in {field for file, field in found if file == path}
    assert "no part named train" in found["reports/split.json", "parts"]
    assert found["reports/drift.json", "comparisons"] == "missing; expected a list"
    predictions = "reports/predictions.parquet"
    assert "gate.resample of params.yaml asks for it" in found[predictions, "slice:day"]
    assert "evaluate.slices of params.yaml asks for it" in found[predictions, "slice:north"]
    assert "gate.resample of params.yaml asks for it" in found["data/splits/train.parquet", "day"]
    assert (
        found["params.yaml", "review.drift"]
        == "there is no module pipeline: write null, or a command of your own"
    )
    assert "model.seed: expected a whole number" in found["params.yaml", "review.seed"]
    assert "not tried: dvc.yaml names no models/model.skops" in found["params.yaml", "review.score"]
    assert "it runs helper.py: add them" in found[pipeline, "stages.evaluate.deps"]
    assert "write `model: {path: models/net.pt, type: model}`" in found[pipeline, "artifacts"]
    assert "data/orders.csv is in no commit, and no stage writes it" in found[pipeline, "stages.split.deps"]
    assert "no stage writes reports/metrics.json" in found[pipeline, "stages.….outs"]
    assert "run `dvc repro` and commit" in found["dvc.lock", "stages.train"]


def test_scores_that_are_not_the_predictions_are_told(project: DvcProject):
    code = project.folder / "make.py"
    text = code.read_text()
    assert '"score": predict(table["x"].to_numpy())}), out)' in text
    code.write_text(text.replace('"score": predict(table["x"]', '"score": predict(-table["x"]'))
    assert "2,000 scores differ" in conform(project, "review", expect=1)["params.yaml", "review.score"]
    lucky.edit(project, "review", score="python make.py nothing {rows} {out}")
    assert "KeyError: 'nothing'" in conform(project, "review", expect=1)["params.yaml", "review.score"]


def test_a_checkout_that_needs_more_than_python_is_made_ready_by_review_setup(project: DvcProject):
    """`tools.txt` is as node_modules is: git ignores it, and a fresh checkout lacks it."""
    ignored = project.folder / ".gitignore"
    ignored.write_text(ignored.read_text() + "/tools.txt\n")
    (project.folder / "tools.txt").write_text("here")
    code = project.folder / "make.py"
    text = code.read_text()
    head = "def score(rows, out):\n"
    assert head in text
    code.write_text(text.replace(head, head + "    Path('tools.txt').read_text()\n"))
    found = conform(project, "review", expect=1)
    assert "No such file or directory: 'tools.txt'" in found["params.yaml", "review.score"]
    lucky.edit(project, "review", setup="cp {project}/tools.txt .")
    assert conform(project, "review", expect=0) == {}


def test_predictions_of_other_rows_are_told_and_hide_nothing_else(project: DvcProject):
    path = project.folder / "reports/predictions.parquet"
    table = parquet.read_table(path)
    parquet.write_table(pa.table({"row": table["row"], "target": table["target"]}), path)
    edit_json(project, "metrics.json", lambda report: report.pop("rows"))
    found = conform(project, "lock", expect=1)
    assert "no score" in found["reports/predictions.parquet", ""]
    assert not found["reports/predictions.parquet", ""].startswith("reports/predictions.parquet")
    assert "slices, figures and review.score were not looked at" in found["reports/predictions.parquet", ""]
    assert found["reports/metrics.json", "rows"] == "missing; expected a whole number"


def test_paths_that_main_does_not_say_yet_are_told(project: DvcProject):
    lucky.edit(project, "review", files={"raw": "data/orders.csv"})
    found = conform(project, "lock", expect=1)
    assert found == {
        (
            "params.yaml",
            "review.files.raw",
        ): "main says data/raw.parquet, this checkout data/orders.csv: bring that "
        "line to main in a change of its own first"
    }


def test_a_release_of_a_model_without_onnx_form_does_not_say_that_there_is_no_model(
    main: DvcProject, tmp_path: Path
):
    assert explain_nothing(main.folder).startswith("dvc.lock names no models/onnx: nothing to release.")
    (tmp_path / "params.yaml").write_text((main.folder / "params.yaml").read_text())
    assert explain_nothing(tmp_path) == "There is no model yet: nothing to release."


def test_the_classes_of_the_figures_are_held_against_the_predictions():
    document = {**lucky.PARAMS, "data": {"task": "multiclass", "target": "kind"}}
    document |= {
        "evaluate": {"metrics": ["log_loss"]},
        "gate": {"primary": "log_loss", "matters": {"log_loss": 0.01}},
    }
    scores = {f"score:{name}": [0.2, 0.3, 0.5] for name in ("a", "b")} | {"score:c": [0.6, 0.4, 0.0]}
    table = pa.table({"row": ["1", "2", "3"], "target": ["a", "b", "c"], **scores})
    predictions = HoldoutPredictions(table, parse_settings(yaml.safe_dump(document), "params.yaml"), {})
    report = {
        "task": "multiclass", "primary": "log_loss", "values": {"log_loss": 1.0}, "slices": [], "calibration": [],
        "metrics": [{"name": "log_loss", "value": 1.0, "direction": "lower"}], "rows": 3, "holdout": "md5:" + "0" * 32,
    }  # fmt: skip
    (lack,) = check_as_reviewed(predictions, report, "reports/metrics.json")
    assert lack.words == "classes: not those that the predictions have, in their order"
    assert list(check_as_reviewed(predictions, {}, "reports/metrics.json")) == [], (
        "what does not fit is told elsewhere"
    )


def test_outputs_that_dvc_leaves_to_git_are_listed():
    stages = {
        "a": {
            "outs": ["x", {"y": {"cache": False}}, {"z": {"persist": True}}],
            "metrics": [{"m": {"cache": False}}],
        },
        "b": {"cmd": "nothing"},
    }
    assert stage_graph.list_kept_by_git(stages) == {"y", "m"}


def test_a_training_without_reports_is_told_the_stage_that_derives_them(project: DvcProject):
    def edit(document: dict[str, Any]) -> None:
        stages = document["stages"]
        stages.pop("split")
        stages["train"]["outs"] += ["train.csv", "my_holdout.csv"]
        stages["evaluate"]["outs"] = ["out/predictions.csv"]
        stages["evaluate"]["metrics"] = []

    edit_yaml(project, edit)
    done = project.bots("conform", "--for", "review", "--json", expect=1)
    proposed = [one for one in json.loads(done.stdout)["missing"] if "paste" in one]
    assert len(proposed) == 1
    assert proposed[0]["words"].startswith(
        "no stage writes reports/predictions.parquet, data/splits/holdout.parquet,"
    )
    stage = yaml.safe_load(proposed[0]["paste"])["stages"]["evidence"]
    assert stage["cmd"] == (
        "python -m bots derive --predictions out/predictions.csv --holdout my_holdout.csv --train train.csv"
    )
    shown = project.bots("conform", "--for", "review", expect=1).stdout
    assert proposed[0]["paste"] in shown
    edit_yaml(
        project, lambda document: document["stages"].update(evidence={**stage, "outs": ["data/splits"]})
    )
    found = conform(project, "review", expect=1)
    told = found["dvc.yaml", "stages.evidence.outs"]
    assert told.startswith(
        "no stage writes reports/predictions.parquet, reports/split.json: name it under `outs`"
    )
