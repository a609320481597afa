"""A small project on main with a model that ships: a real ONNX model, real evidence of it, real git, the real tags.

What builds and runs images is `recording`, a stand-in behind the release's own Protocol: the real engine has tests of
its own.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import unittest.mock
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet as parquet
import yaml
from onnx import TensorProto, helper

import desks
import support
from bots import evidence, measures, objects
from bots.__main__ import main
from bots.marker import Judged, Marker
from desks import Desk
from github_double import TOKEN, GitHubDouble

REPOSITORY = "octo-org/late-flights"
INPUTS = ("hour", "dewp", "humid", "wind", "visib", "minute")
WEIGHTS = (2.0, -1.4, 1.0, 0.6, 0.3, 0.0)
ROWS = 400
SETTINGS = {
    "project": {"name": "late-flights", "title": "Late flights", "description": "Late?", "owner": "octo-org"},
    "data": {"task": "classification"},
    "features": {"numeric": list(INPUTS), "categorical": [], "derived": {}},
    "evaluate": {"metrics": ["log_loss", "roc_auc"], "threshold": None},
    "gate": {"primary": "log_loss", "matters": {"log_loss": 0.003}},
    "review": {"score": "score {rows} {out}", "drift": "drift {reference} {current} {out}"},
    "serving": {"rows": 100},
}


def model(weights: tuple[float, ...] = WEIGHTS) -> bytes:
    """The logistic of a weighted sum, as the pipeline would export it: an input (rows, 1) a column, one score a row."""
    nodes = [helper.make_node("Concat", list(INPUTS), ["x"], axis=1)]
    nodes.append(helper.make_node("MatMul", ["x", "w"], ["z"]))
    nodes.append(helper.make_node("Sigmoid", ["z"], ["p"]))
    nodes.append(helper.make_node("Reshape", ["p", "flat"], ["score"]))
    constants = [
        helper.make_tensor("w", TensorProto.FLOAT, [len(weights), 1], list(weights)),
        helper.make_tensor("flat", TensorProto.INT64, [1], [-1]),
    ]
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 1]) for name in INPUTS]
    output = helper.make_tensor_value_info("score", TensorProto.FLOAT, [None])
    graph = helper.make_graph(nodes, "model", inputs, [output], constants)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(onnx.ModelProto.SerializeToString(made))


def sha256(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def write_model(
    folder: Path, weights: tuple[float, ...] = WEIGHTS, *, inputs: Mapping[str, str] | None = None
) -> None:
    """Everything that a pipeline leaves when it has made this model: files, evidence, dvc.lock."""
    rng = np.random.default_rng(3)
    columns = rng.normal(size=(len(INPUTS), ROWS)).astype(np.float32)
    score = 1 / (1 + np.exp(-(np.asarray(weights, dtype=np.float32) @ columns).astype(np.float64)))
    target = (rng.random(ROWS) < score).astype(np.float64)
    row = [f"f{number:04d}" for number in range(ROWS)]
    content = model(weights)
    for path in ("models/onnx", "data/features", "reports"):
        (folder / path).mkdir(parents=True, exist_ok=True)
    (folder / "models/onnx/model.onnx").write_bytes(content)
    (folder / "models/model.skops").write_bytes(b"skops " + content)
    (folder / "data/raw.parquet").write_bytes(b"raw")
    types = inputs or dict.fromkeys(INPUTS, "number")
    known = [
        {"name": name, "type": kind.rstrip("?"), "nullable": kind.endswith("?")}
        for name, kind in types.items()
    ]
    contract = {"onnx": sha256(content), "inputs": known}
    (folder / "models/onnx/contract.json").write_text(json.dumps(contract))
    table = {name: columns[at] for at, name in enumerate(INPUTS)}
    parquet.write_table(
        pa.table({**table, "target": target, "row": row}), folder / "data/features/holdout.parquet"
    )
    predicted = pa.table({"row": row, "target": target, "score": score})
    parquet.write_table(predicted, folder / "reports/predictions.parquet")
    for name, report in reports(content, target, score, weights).items():
        (folder / "reports" / f"{name}.json").write_bytes(evidence.encode(report))
    write_lock(folder)


def reports(
    content: bytes, target: Any, score: Any, weights: tuple[float, ...]
) -> dict[str, evidence.Evidence]:
    """What the stages say of the model."""
    holdout = "sha256:" + "9f" * 32
    context = measures.Context(threshold=None)
    values = {name: measures.value(name, target, score, context) or 0.0 for name in ("log_loss", "roc_auc")}
    total = sum(map(abs, weights))
    shares = sorted(
        zip(INPUTS, (abs(weight) / total for weight in weights), strict=True), key=lambda one: -one[1]
    )
    return {
        "data": evidence.DataReport(passed=True, rows=4_000, checks=58, findings=[], columns=[]),
        "split": evidence.SplitReport(
            by="time", unlabelled=0, parts=[evidence.Part(name="holdout", rows=ROWS, digest=holdout)]
        ),
        "metrics": evidence.MetricsReport(
            task="classification", primary="log_loss", values=values, rows=ROWS, holdout=holdout, slices=[],
            calibration=[],
            metrics=[
                evidence.Metric(name="log_loss", value=values["log_loss"], low=values["log_loss"] - 0.03,
                                high=values["log_loss"] + 0.03, direction="lower"),
                evidence.Metric(name="roc_auc", value=values["roc_auc"], low=values["roc_auc"] - 0.03,
                                high=values["roc_auc"] + 0.03, direction="higher"),
            ],
        ),
        "explanation": evidence.ExplanationReport(
            method="shap", output="log-odds", rows=200, base=0.0, additivity=0.0, passed=True, worst=[],
            ranking=[evidence.Importance(feature=name, importance=share, share=share) for name, share in shares],
        ),
        "export": evidence.ExportReport(
            exported=True, passed=True, opset=17, digest=sha256(content), bytes=len(content), rows=ROWS,
            largest_difference=1e-7, tolerance=1e-4, flips=0,
        ),
    }  # fmt: skip


CACHED = (
    *("data/raw.parquet", "data/features", "models/model.skops", "models/onnx"),
    "reports/predictions.parquet",
)
KEPT = tuple(f"reports/{name}.json" for name in ("data", "split", "metrics", "explanation", "export"))


def write_pipeline(folder: Path) -> None:
    """A dvc.yaml whose lock is like that of `write_lock`, for a project whose files DVC really stores."""
    outs = [*CACHED, *({path: {"cache": False}} for path in KEPT)]
    stages = {
        "make": {"cmd": "make", "outs": outs},
        "judge": {"cmd": "judge", "deps": ["data/features/holdout.parquet"]},
    }
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}, sort_keys=False))


def write_lock(folder: Path) -> None:
    """dvc.lock as DVC would write it for what lies there."""

    def out(path: str) -> dict[str, Any]:
        place = folder / path
        if not place.is_dir():
            return {"path": path, "hash": "md5", "md5": objects.md5(place.read_bytes())}
        files = sorted(file.relative_to(place).as_posix() for file in place.rglob("*") if file.is_file())
        listed = [{"md5": objects.md5((place / name).read_bytes()), "relpath": name} for name in files]
        return {"path": path, "hash": "md5", "md5": objects.md5(json.dumps(listed).encode()) + ".dir"}

    stages = {"make": {"cmd": "make", "outs": [out(path) for path in (*CACHED, *KEPT)]},
              "judge": {"cmd": "judge", "deps": [out("data/features/holdout.parquet")], "outs": []}}  # fmt: skip
    (folder / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": stages}, sort_keys=False))


@dataclass
class Yard:
    """A project whose main can be pushed, merged and released; `desk` is the checkout, `double` is GitHub."""

    desk: Desk
    double: GitHubDouble
    pulls: int = 0
    runs: int = 0
    extra: dict[str, str] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        return self.desk.folder

    @property
    def origin(self) -> Path:
        return self.folder.parent / "origin.git"

    @property
    def environ(self) -> dict[str, str]:
        """What a job of the workflow has."""
        return {
            "GITHUB_API_URL": self.double.api_url,
            "GITHUB_REPOSITORY": REPOSITORY,
            "GITHUB_TOKEN": TOKEN,
            "GITHUB_ACTOR": "grace",
            "GITHUB_SERVER_URL": "https://github.com",
            "GITHUB_RUN_ID": "7000001",
            "RELEASE_ENGINE": "recording",
            "RECORDING": str(self.folder.parent / "engine.json"),
            "PYTHONPATH": os.pathsep.join([str(support.TEMPLATE), str(Path(__file__).parent)]),
            **self.extra,
        }

    def spawn(self, *words: str, expect: int | None = 0) -> subprocess.CompletedProcess[str]:
        """Run the bots as a process of their own, which may be killed."""
        return self.desk.run(sys.executable, "-m", "bots", *words, expect=expect, environ=self.environ)

    def bots(self, *words: str, expect: int = 0) -> subprocess.CompletedProcess[str]:
        """The same in this process, which saves a second or two of imports."""
        out, err = io.StringIO(), io.StringIO()
        with (
            unittest.mock.patch.dict(os.environ, self.environ),
            contextlib.chdir(self.folder),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            code = main(list(words))
        assert code == expect, out.getvalue() + err.getvalue()
        return subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())

    def commit(self, message: str) -> str:
        self.desk.git("add", "--all")
        self.desk.git("commit", "--quiet", "--allow-empty", "--message", message)
        self.desk.git("push", "--quiet", "origin", "HEAD:main")
        return self.head()

    def head(self) -> str:
        return self.desk.git("rev-parse", "HEAD").strip()

    def judged(self) -> Judged:
        """What dvc.lock names."""
        outs = yaml.safe_load((self.folder / "dvc.lock").read_text())["stages"]["make"]["outs"]
        known = {out["path"]: f"md5:{out['md5']}" for out in outs}
        return Judged(known["models/model.skops"], known["models/onnx"])

    def merge(
        self,
        message: str = "A better model",
        *,
        conclusion: str | None = "success",
        title: str = "Improved",
        judged: Judged | str | None = "this",
        app: str = "github-actions[bot]",
        reviews: tuple[tuple[str, str], ...] = (("linus", "APPROVED"),),
    ) -> int:
        """Commit what lies there and merge it by a pull request that was reviewed so; its number."""
        self.pulls += 1
        number = 100 + self.pulls
        head = hashlib.sha1(f"head {number}".encode(), usedforsecurity=False).hexdigest()
        self.double.add_pull(number, head, title=message)
        for person, state in reviews:
            self.double.add_review(number, person, state)
        about = self.judged() if judged == "this" else judged
        assert not isinstance(about, str)
        if conclusion != "no check":
            self.check(head, conclusion, title, about, app)
        self.double.merge(number, self.commit(f"{message} (#{number})"))
        return number

    def check(self, head: str, conclusion: str | None, title: str, judged: Judged | None, app: str) -> None:
        from github_double import Check

        self.runs += 1
        line = Marker(f"2026-02-02T02:02:{self.runs:02d}Z", self.runs, 1, head, judged).line()
        status = "completed" if conclusion else "in_progress"
        check = Check(
            next(self.double.state.ids), head, "model review", app, status, self.double.state.now(), line,
            conclusion=conclusion, output={"title": title},
        )  # fmt: skip
        self.double.state.checks[check.id] = check

    def tags(self) -> list[str]:
        return desks.git(self.origin, "tag", "--list").split()

    def calls(self) -> list[list[str]]:
        """What the engine was asked to do."""
        path = self.folder.parent / "engine.json"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def comments(self, number: int) -> list[str]:
        return [one.body for one in self.double.comments(number) if one.body.startswith("<!-- model-release")]

    def issues(self, state: str = "open") -> list[str]:
        found = self.double.state.issues.values()
        return [one.title for one in found if "release" in one.labels and one.state == state]


def project(folder: Path) -> Desk:
    """Main with a first model that nobody reviewed, and its bare remote."""
    origin = folder / "origin.git"
    desks.git(folder, "init", "--quiet", "--bare", "--initial-branch=main", str(origin))
    for name in ("uploadpack.allowFilter", "uploadpack.allowAnySHA1InWant"):
        desks.git(origin, "config", name, "true")
    desk = Desk(folder / "desk")
    (desk.folder / ".dvc").mkdir(parents=True)
    desk.git("init", "--quiet", "--initial-branch=main")
    desk.git("remote", "add", "origin", origin.as_uri())
    (desk.folder / ".dvc/config").write_text(desks.CONFIG)
    ignored = ["/.storage/", "/models/", "/data/", "/reports/predictions.parquet", "/.dvc/cache/"]
    (desk.folder / ".gitignore").write_text("\n".join(ignored) + "\n")
    (desk.folder / "params.yaml").write_text(yaml.safe_dump(SETTINGS, sort_keys=False))
    (desk.folder / "serving").mkdir()
    (desk.folder / "serving/app.py").write_text("serve()\n")
    (desk.folder / "deploy").mkdir()
    (desk.folder / "deploy/compose.yaml").write_text("services: {}\n")
    write_model(desk.folder)
    desk.git("add", "--all")
    desk.git("commit", "--quiet", "--message", "Train the first model")
    desk.git("push", "--quiet", "origin", "main")
    return desk


def copied(original: Desk, folder: Path) -> Desk:
    shutil.copytree(original.folder.parent, folder, symlinks=True, dirs_exist_ok=True)
    desk = Desk(folder / original.folder.name)
    desk.git("remote", "set-url", "origin", (folder / "origin.git").as_uri())
    return desk


__all__ = ["Judged", "Yard", "copied", "project", "write_model"]
