"""The tutorial of a project, step by step: what it says to type is typed, and what it promises is seen."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from fixtures.baking import bake_project, run_git

STEP = re.compile(r"```(sh|diff)\n(.*?)```", re.DOTALL)


def give_tools(project: Path) -> None:
    """Let the project's `.venv` be this one, so that `make setup` has nothing to install."""
    (project / ".venv").mkdir()
    for name in ("bin", "lib", "pyvenv.cfg"):
        (project / ".venv" / name).symlink_to(Path(sys.prefix) / name)
    (project / ".venv/lock").write_bytes((project / "requirements/dev.txt").read_bytes())


def type_command(project: Path, command: str) -> tuple[int, str]:
    """Type a command of the tutorial; its exit code, and what is seen."""
    who = {"GIT_CONFIG_COUNT": "2", "GIT_CONFIG_KEY_0": "user.name", "GIT_CONFIG_VALUE_0": "me"}
    who |= {"GIT_CONFIG_KEY_1": "user.email", "GIT_CONFIG_VALUE_1": "me@localhost"}
    done = subprocess.run(
        ["sh", "-c", command],
        cwd=project,
        env={**os.environ, **who, "DVC_NO_ANALYTICS": "true", "BROWSER": "true"},
        text=True,
        capture_output=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def edit(project: Path, change: str) -> None:
    """Make the edit of params.yaml that a block of the tutorial shows."""
    old, new = ("\n".join(line[1:] for line in change.splitlines() if line.startswith(sign)) for sign in "-+")
    path = project / "params.yaml"
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1, old
    path.write_text(text.replace(old, new), encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize(
    "answers",
    [{"pipeline": "own", "task": "regression"}, {}],
    ids=["own", "flights"],
)
def test_who_types_the_tutorial_sees_what_it_says(tmp_path: Path, answers: dict[str, str]) -> None:
    project = bake_project(tmp_path / "out", project="first", **answers)
    give_tools(project)
    first = run_git(project, "rev-parse", "HEAD")
    text = (project / "docs/tutorial.md").read_text(encoding="utf-8")
    promised = re.findall(r"exit code (\d+)", text)[0]
    seen = []
    for kind, block in STEP.findall(text):
        if kind == "diff":
            edit(project, block)
            continue
        for line in block.splitlines():
            code, output = type_command(project, line.partition("#")[0])
            expected = 2 if "make review" in line else 0  # make calls each exit code of a command 2
            assert code == expected, f"{line}\n{output[-3000:]}"
            if "make review" in line:
                assert f"First: {line.rpartition(' ')[2]}" in output
                assert f"Error {promised}" in output
            seen.append(line)
    assert "make setup" in seen[0]
    assert run_git(project, "rev-parse", "main~1") == first
    assert run_git(project, "status", "--porcelain") == ""
    assert (project / "review/preview.html").is_file()
    assert "Stage 'train' didn't change, skipping" in output
    assert "Running stage" not in output
