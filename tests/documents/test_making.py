"""What the pages say to type to make several projects in one repository is typed."""

from __future__ import annotations

from pathlib import Path

import pytest

from fixtures.baking import run_git
from fixtures.documents import read_command, type_command
from fixtures.support import ROOT

pytestmark = pytest.mark.slow


def test_two_projects_are_made_in_one_repository(tmp_path: Path) -> None:
    run_git(tmp_path, "init", "--quiet", "--initial-branch=main", "our-models")
    address = "gh:YOUR-ORGANISATION/cookiecutter-gitops-ml"
    go = read_command("docs/operator.md", "cd our-models")
    nobody = {"HOME": str(tmp_path), "GIT_CONFIG_NOSYSTEM": "1"}
    for command in (
        read_command(
            "docs/operator.md",
            "cookiecutter gh:YOUR-ORGANISATION/cookiecutter-gitops-ml project=churn",
            {address: str(ROOT)},
        ),
        read_command(
            "docs/operator.md",
            "cookiecutter gh:YOUR-ORGANISATION/cookiecutter-gitops-ml project=fraud",
            {address: str(ROOT)},
        ),
        read_command("docs/operator.md", 'git add --all . && git commit --message "Add churn and fraud"'),
    ):
        type_command(tmp_path, f"{go}\n{command}", environ=nobody, answers="\n" * 40)
    kept = run_git(tmp_path / "our-models", "ls-files")
    assert "churn/params.yaml" in kept
    assert "fraud/params.yaml" in kept
    assert ".github/workflows/" in kept
