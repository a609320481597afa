"""Three trainings as their teams have them come under the bots by a few lines, and a change of each is judged rightly.

`tests/examples/NAME/` holds a training that knows nothing of the bots, and `bots.diff`, which puts it under them in a
project that was made with `pipeline=own`.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from fixtures.baking import bake_project, run_git
from fixtures.support import ROOT, TEMPLATE

pytestmark = pytest.mark.slow

EXAMPLES = ROOT / "tests" / "examples"
HERE = Path(sys.executable).parent
UV = HERE / "uv"


@dataclass(frozen=True)
class Example:
    """A training: its file, its task, how much of the bots it is ready for, and an edit that makes it worse."""

    name: str
    file: str
    task: str
    ready: str
    edit: tuple[str, str]


PYTORCH = Example(
    "pytorch", "train.py", "classification", "serve", ("EPOCHS, WIDTH = 7, 60", "EPOCHS, WIDTH = 7, 10")
)
LIGHTGBM = Example("lightgbm", "train.py", "regression", "lock", ("ROUNDS = 60", "ROUNDS = 1"))
NODEJS = Example("nodejs", "train.js", "classification", "lock", ("rounds: 300", "rounds: 1"))


@dataclass(frozen=True)
class Team:
    """A project and the folder of the Python with which it works."""

    folder: Path
    python: Path

    def run(self, *words: str | Path, expect: int = 0) -> str:
        """Run a module of Python; what it said."""
        path = os.pathsep.join([str(self.python), str(HERE), os.environ["PATH"]])
        done = subprocess.run(
            [self.python / "python", "-m", *words],
            cwd=self.folder,
            env={**os.environ, "PATH": path, "PYTHONDONTWRITEBYTECODE": "1"},
            text=True,
            capture_output=True,
            check=False,
        )
        assert done.returncode == expect, done.stdout + done.stderr
        return done.stdout + done.stderr

    def commit(self, message: str) -> None:
        """Commit everything."""
        run_git(self.folder, "add", "--all")
        run_git(self.folder, "-c", "user.name=me", "-c", "user.email=me@localhost", "commit", "-qm", message)


def bring_training(folder: Path, example: Example, python: Path) -> Team:
    """Make a project, put a team's training into it as it is, then under the bots, and train."""
    project = bake_project(
        folder / "out", project=example.name, pipeline="own", task=example.task, storage="local"
    )
    team = Team(project, python)
    (project / "train.py").unlink()
    shutil.copy(EXAMPLES / example.name / example.file, project)
    subprocess.run([sys.executable, EXAMPLES / "make_data.py", example.name, project], check=True)
    team.commit("Bring the training as it is")
    run_git(project, "apply", str(EXAMPLES / example.name / "bots.diff"))
    return team


def train(team: Team) -> None:
    """Train the first model."""
    team.run("dvc", "repro", "--quiet")
    team.commit("Train the first model")


def hold_readiness(team: Team, example: Example) -> None:
    """Hold that nothing is missing for what the training is ready for."""
    told = team.run("bots", "conform", "--for", example.ready)
    assert re.search(rf"{example.ready} +ready", told), told


def review_edit(team: Team, example: Example) -> str:
    """Make the training worse on a branch; the verdict, after which main's branch is here again."""
    run_git(team.folder, "switch", "--quiet", "--create", "worse")
    code = team.folder / example.file
    assert example.edit[0] in code.read_text()
    code.write_text(code.read_text().replace(*example.edit))
    team.run("bots", "review", "--base", "main", expect=20)
    verdict: str = json.loads((team.folder / "review/review.json").read_text())["verdict"]
    return verdict


@pytest.mark.parametrize("example", [PYTORCH, LIGHTGBM, NODEJS], ids=lambda one: one.name)
def test_a_few_lines_put_a_training_under_the_bots(example: Example) -> None:
    added: dict[str, int] = {}
    for line in (EXAMPLES / example.name / "bots.diff").read_text().splitlines():
        if line.startswith("+++ b/"):
            added[line.removeprefix("+++ b/")] = 0
        elif line.startswith("+"):
            added[list(added)[-1]] += 1
    assert set(added) == {example.file, "dvc.yaml", "params.yaml"}
    assert added[example.file] <= 13
    assert sum(added.values()) <= 20


@pytest.mark.parametrize("example", [LIGHTGBM, NODEJS], ids=lambda one: one.name)
def test_a_training_without_onnx_is_reviewed_by_its_own_code(tmp_path: Path, example: Example) -> None:
    if example is NODEJS and shutil.which("node") is None:
        pytest.skip("node is not installed")
    team = bring_training(tmp_path, example, HERE)
    train(team)
    hold_readiness(team, example)
    assert review_edit(team, example) == "regressed"


@pytest.fixture(scope="module")
def torch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of a Python of its own with PyTorch by its lock, checked by hash; all else is this one's."""
    venv = tmp_path_factory.mktemp("torch") / "venv"
    subprocess.run([str(UV), "venv", "--quiet", "--python", sys.executable, str(venv)], check=True)
    install = [str(UV), "pip", "install", "--quiet", "--python", str(venv / "bin/python")]
    install += ["--require-hashes", "--no-deps"]
    subprocess.run([*install, "-r", str(TEMPLATE / "requirements/models/torch.txt")], check=True)
    here, there = (next((place / "lib").glob("python*/site-packages")) for place in (HERE.parent, venv))
    (there / "all_else.pth").write_text(f"{here}\n")
    return venv / "bin"


def test_a_network_of_pytorch_is_reviewed_released_and_served(tmp_path: Path, torch: Path) -> None:
    team = bring_training(tmp_path, PYTORCH, torch)
    for kind in ("in", "txt"):
        shutil.copy(
            TEMPLATE / f"requirements/models/torch.{kind}",
            team.folder / f"requirements/models-torch.{kind}",
        )
    train(team)
    hold_readiness(team, PYTORCH)
    assert review_edit(team, PYTORCH) == "regressed"
