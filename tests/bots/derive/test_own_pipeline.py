"""A training of a few lines and one stage more: ready for review, lock, release and service, and reviewed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from fixtures import lucky, support
from fixtures.dvc_projects import CONFIG, DvcProject

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

TRAIN = '''\
"""The team's own training: a logistic regression on two columns by numpy, written as ONNX."""
import csv, numpy as np, onnx
from onnx import TensorProto, helper, numpy_helper

rows = list(csv.reader(open("data.csv")))[1:]
x, y = np.array([row[:2] for row in rows], np.float64), np.array([float(row[2]) for row in rows])
cut, w = len(x) // 2, np.zeros(2)
for _ in range(RATE):
    w -= 0.5 * x[:cut].T @ (1 / (1 + np.exp(-x[:cut] @ w)) - y[:cut]) / cut
graph = helper.make_graph(
    [helper.make_node("MatMul", ["x", "w"], ["s"]), helper.make_node("Sigmoid", ["s"], ["p"])], "net",
    [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", 2])],
    [helper.make_tensor_value_info("p", TensorProto.FLOAT, ["rows", 1])],
    [numpy_helper.from_array(w[:, None].astype(np.float32), "w")])
onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), "model.onnx")
for name, part in (("train", range(cut)), ("holdout", range(cut, len(x)))):
    with open(f"{name}.csv", "w") as file:
        csv.writer(file).writerows([["row", "a", "b", "y"], *([f"r{n}", *x[n], y[n]] for n in part)])
with open("predictions.csv", "w") as file:
    scores = 1 / (1 + np.exp(-(x[cut:].astype(np.float32) @ w.astype(np.float32))))
    csv.writer(file).writerows([["row", "score"], *zip([f"r{n}" for n in range(cut, len(x))], scores)])
'''
OUTS = ["model.onnx", "train.csv", "holdout.csv", "predictions.csv"]


@pytest.fixture(scope="module")
def main(tmp_path_factory: pytest.TempPathFactory) -> DvcProject:
    return create_project(tmp_path_factory.mktemp("own"))


def create_project(folder: Path) -> DvcProject:
    """A project whose stage of evidence is the one that `derive --stage` prints."""
    import numpy as np

    project = DvcProject(folder / "own")
    project.folder.mkdir(parents=True)
    project.git("init", "--quiet", "--initial-branch=main")
    (project.folder / ".dvc").mkdir()
    rng = np.random.default_rng(2)
    x = rng.normal(size=(2000, 2)).round(3)
    y = (rng.random(2000) < 1 / (1 + np.exp(-1.5 * x[:, 0]))).astype(int)
    lines = ["a,b,y", *(f"{a},{b},{one}" for (a, b), one in zip(x, y, strict=True))]
    params: dict[str, Any] = {
        "project": {"name": "own", "title": "Own", "description": "Will it?", "owner": "us"},
        "data": {"task": "classification", "target": "y"},
        "evaluate": {"metrics": ["log_loss", "roc_auc"]},
        "gate": {"primary": "log_loss", "matters": {"log_loss": 0.002}, "seeds": 1},
        "review": {"score": "python -m bots score {rows} {out}", "seed": None},
        "serving": yaml.safe_load(support.render_file("params.yaml"))["serving"],
        "monitoring": {"page": None},
    }
    train = {"cmd": "python train.py", "deps": ["train.py", "data.csv"], "outs": OUTS}
    artifacts = {"model": {"path": "model.onnx", "type": "model"}}
    for name, content in {
        ".dvc/config": CONFIG,
        ".dvc/.gitignore": "/config.local\n/tmp\n/cache\n",
        ".gitignore": "/.storage/\n/review/\n/pack/\n/evidence/\n/verification/\n"
        "__pycache__/\n/data/\n/models/\n/*.onnx\n/train.csv\n/holdout.csv\n"
        "/predictions.csv\n/reports/predictions.parquet\n",
        "params.yaml": yaml.safe_dump(params, sort_keys=False),
        "dvc.yaml": yaml.safe_dump({"stages": {"train": train}, "artifacts": artifacts}, sort_keys=False),
        "data.csv": "\n".join(lines) + "\n",
        "train.py": TRAIN.replace("RATE", "20"),
    }.items():
        (project.folder / name).write_text(content)
    for room in ("bots", "serving"):
        (project.folder / room).symlink_to(support.TEMPLATE / room)
    proposed = project.bots("conform", "--for", "review", "--json", expect=1).stdout
    paste = next(one["paste"] for one in json.loads(proposed)["missing"] if "paste" in one)
    stages = {"train": train, **yaml.safe_load(paste)["stages"]}
    (project.folder / "dvc.yaml").write_text(
        yaml.safe_dump({"stages": stages, "artifacts": artifacts}, sort_keys=False)
    )
    project.dvc("repro", "--quiet")
    lucky.commit(project, "Train the first model")
    return project


def test_the_proposed_stage_makes_it_ready_for_review_lock_release_and_service(main: DvcProject) -> None:
    done = main.bots("conform")
    table = done.stdout.rpartition("\n\n")[2] or done.stdout
    assert [line.split()[:2] for line in table.strip().splitlines()] == [
        ["review", "ready"], ["lock", "ready"], ["release", "ready"], ["serve", "ready"],
    ]  # fmt: skip


def test_a_better_training_is_reviewed_improves_and_is_verified_by_mains_code(
    main: DvcProject, tmp_path: Path
) -> None:
    project = lucky.copy_project(main, tmp_path)
    code = project.folder / "train.py"
    assert "range(20)" in code.read_text()
    code.write_text(code.read_text().replace("range(20)", "range(400)"))
    lucky.commit(project, "Train longer")
    review = lucky.review(project)
    assert review["verdict"] == "improved", review["headline"]
    assert review["passed"]
    assert {rule["name"] for rule in review["rules"] if not rule["passed"]} == set()
    project.bots("pack")
    project.git("checkout", "--quiet", "--force", "main")
    project.bots("collect")
    project.bots("verify")
    found = json.loads((project.folder / "verification/verification.json").read_text())
    assert {check["name"]: check["passed"] for check in found["checks"] if not check["passed"]} == {}
