"""The tutorial of a project, step by step: what it says to type is typed, and what it promises is seen."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fixtures.baking import bake_project, run_git
from fixtures.documents import drop_comment, give_tools, read_blocks, type_command

STEP = re.compile(r"```(sh|diff)\n(.*?)```", re.DOTALL)


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
    commands, seen = read_blocks("docs/tutorial.md"), []
    for kind, block in STEP.findall(text):
        if kind == "diff":
            edit(project, block)
            continue
        for line in block.splitlines():
            command = drop_comment(line)
            assert command in commands
            expected = 2 if "make review" in line else 0  # make calls each exit code of a command 2
            output = type_command(project, command, expect=expected)
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
