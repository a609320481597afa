"""A project whose pipeline is a team's own: its params.yaml, and tables of rows and predictions as CSV."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import yaml

from bots import evidence
from bots.__main__ import main

if TYPE_CHECKING:
    from pathlib import Path

ROWS = 400
CLASSES = ("low", "mid", "top")
METRICS = {
    "classification": ["log_loss", "roc_auc", "accuracy"],
    "regression": ["mae", "r2"],
    "multiclass": ["log_loss", "recall:top"],
}


@dataclass
class OwnProject:
    """A folder, which is the working directory too, in which `derive` runs."""

    folder: Path
    task: str
    capture: pytest.CaptureFixture[str]

    def edit(self, section: str, **values: Any) -> None:
        """Set keys of a section of params.yaml."""
        path = self.folder / "params.yaml"
        document = yaml.safe_load(path.read_text())
        document.setdefault(section, {}).update(values)
        path.write_text(yaml.safe_dump(document, sort_keys=False))

    def derive(self, *options: str) -> str:
        """Derive, and what it says."""
        assert main(["derive", *options]) == 0, self.capture.readouterr().err
        return self.capture.readouterr().err

    def print_stage(self, *options: str) -> str:
        """The stage that is printed."""
        assert main(["derive", *options, "--stage"]) == 0
        return self.capture.readouterr().out

    def derive_all(self, *options: str) -> str:
        """Derive from all three tables."""
        named = ["--predictions", "predictions.csv", "--holdout", "holdout.csv", "--train", "train.csv"]
        return self.derive(*named, *options)

    def refuse(self, *options: str) -> str:
        """The error of a refusal, which writes nothing."""
        before = self.list_files()
        assert main(["derive", *options]) == 1
        assert self.list_files() == before
        return self.capture.readouterr().err.rpartition("ERROR: derive: ")[2]

    def refuse_all(self) -> str:
        """The error of a refusal of all three tables."""
        return self.refuse(
            "--predictions", "predictions.csv", "--holdout", "holdout.csv", "--train", "train.csv"
        )

    def list_files(self) -> set[str]:
        """Every file of the project."""
        return {str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if path.is_file()}

    def load_report(self, kind: type[Any]) -> Any:
        """A report, checked by the contract."""
        name = next(name for name, one in evidence.FILES.items() if one is kind)
        return evidence.load(self.folder / "reports" / name, kind)

    def replace(self, name: str, old: str, new: str) -> None:
        """Replace the first of some text in a file that has it."""
        path = self.folder / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))


def write_params(folder: Path, task: str, **sections: dict[str, Any]) -> None:
    """Write the params.yaml of a project: only the sections that the bots read."""
    primary = METRICS[task][0]
    document: dict[str, Any] = {
        "project": {"name": "own", "title": "Own", "description": "Will it?", "owner": "us"},
        "data": {"task": task, "target": "y"},
        "evaluate": {"metrics": METRICS[task], "slices": ["city"]},
        "gate": {"primary": primary, "matters": {primary: 0.01}, "seeds": 1},
        "review": {"score": "python score.py {rows} {out}", "seed": None},
    }
    for name, values in sections.items():
        document[name] = document.get(name, {}) | values
    (folder / "params.yaml").write_text(yaml.safe_dump(document, sort_keys=False))


def write_tables(folder: Path, task: str) -> None:
    """Write train.csv, holdout.csv and predictions.csv."""
    rng = np.random.default_rng(5)
    x, z = rng.normal(size=ROWS).round(3), rng.normal(size=ROWS).round(3)
    city = rng.choice(["01067", "NA", ""], ROWS)
    chance = 1 / (1 + np.exp(-1.5 * x))
    score = {"score": chance.round(6)}
    if task == "classification":
        y = (rng.random(ROWS) < chance).astype(int).astype(object)
    elif task == "regression":
        y, score = (30 * x + rng.normal(size=ROWS)).round(3).astype(object), {"score": 30 * x}
    else:
        y = np.array(CLASSES, dtype=object)[
            np.searchsorted([0.4, 0.7], rng.random(ROWS) * 0.6 + chance * 0.4)
        ]
        shares = np.stack([1.2 - chance, np.full(ROWS, 0.6), chance + 0.2]).T
        shares /= shares.sum(axis=1, keepdims=True)
        score = {f"score:{name}": shares[:, at].round(9) for at, name in enumerate(CLASSES)}
    half = ROWS // 2
    for name, chosen in (("train", range(half)), ("holdout", range(half, ROWS))):
        lines = ["row,x,z,city,y", *(f"r{at},{x[at]},{z[at]},{city[at]},{y[at]}" for at in chosen)]
        (folder / f"{name}.csv").write_text("\n".join(lines) + "\n")
    head = ",".join(["row", *score])
    body = [",".join([f"r{at}", *(str(one[at]) for one in score.values())]) for at in range(half, ROWS)]
    (folder / "predictions.csv").write_text("\n".join([head, *body]) + "\n")


@pytest.fixture(params=["classification"])
def project(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> OwnProject:
    monkeypatch.chdir(tmp_path)
    write_params(tmp_path, request.param)
    write_tables(tmp_path, request.param)
    return OwnProject(tmp_path, request.param, capsys)
