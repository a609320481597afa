"""What the Makefile of a project installs: large libraries of models have a lock, and a cache, of their own."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from fixtures.support import TEMPLATE

if TYPE_CHECKING:
    from pathlib import Path

PYTHON = """\
#!/bin/sh
# Stands for the interpreter and for uv: what it is asked for is told, but for the question whether it is there.
[ "$1" = -c ] || echo "asked: $*" >> asked.txt
[ "$2" != compile ] || exit "$(cat fails 2>/dev/null || echo 0)"
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with the Makefile and the locks, and tools that only tell what they are asked for."""
    shutil.copy(TEMPLATE / "Makefile", tmp_path)
    shutil.copytree(TEMPLATE / "requirements", tmp_path / "requirements")
    for path in (tmp_path / "requirements").glob("storage-*"):
        path.unlink()
    (tmp_path / ".venv/bin").mkdir(parents=True)
    for name in ("python", "uv"):
        (tmp_path / ".venv/bin" / name).write_text(PYTHON)
        (tmp_path / ".venv/bin" / name).chmod(0o755)
    return tmp_path


def make(project: Path, *words: str, expect: int = 0) -> str:
    """What make asked its tools for."""
    (project / "asked.txt").unlink(missing_ok=True)
    python = f"PYTHON={project}/.venv/bin/python"
    done = subprocess.run(
        ["make", "--no-print-directory", *words, python],
        cwd=project,
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode == expect, done.stdout + done.stderr
    asked = project / "asked.txt"
    return (asked.read_text() if asked.exists() else "") + done.stderr


def test_pytorch_is_added_with_its_own_lock_and_installed_where_the_team_s_code_runs(project: Path) -> None:
    asked = make(project, "add", "MODELS=torch")
    assert (project / "requirements/models-torch.txt").read_bytes() == (
        project / "requirements/models/torch.txt"
    ).read_bytes()
    assert "requirements/models-torch.in --constraints requirements/.all" in asked
    synced = asked.splitlines()[-1]
    assert synced.startswith("asked: pip sync")
    assert synced.endswith("requirements/review.txt requirements/models-torch.txt")
    assert "models-torch" not in make(project, "setup", "ROOM=bots").splitlines()[-1]
    assert "torch" not in (project / "requirements/pipeline.in").read_text()


def test_its_wheels_are_fetched_into_a_folder_of_their_own_for_a_cache_of_their_own(project: Path) -> None:
    assert make(project, "wheels") == ""
    make(project, "add", "MODELS=torch")
    assert make(project, "packages").endswith("--dest .packages --requirement requirements/review.txt\n")
    assert make(project, "wheels").endswith("--dest .wheels --requirement requirements/models-torch.txt\n")
    (project / ".wheels").mkdir()
    (project / ".venv/lock").unlink()
    assert "--no-index --find-links .wheels" in make(project, "setup").splitlines()[-1]


def test_a_library_that_cannot_be_locked_leaves_everything_as_it_was(project: Path) -> None:
    def read() -> dict[str, bytes]:
        files = [path for path in project.rglob("*") if path.is_file() and "requirements" in path.parts]
        return {str(path.relative_to(project)): path.read_bytes() for path in files}

    before = read()
    (project / "fails").write_text("1")
    for models in ("torch", "lightgbm", "torch lightgbm"):
        make(project, "add", f"MODELS={models}", expect=2)
        assert read() == before


def test_an_unknown_library_is_refused_with_those_that_are_known(project: Path) -> None:
    told = make(project, "add", "MODELS=jax", expect=2)
    assert "NAME is one of: catboost lightgbm torch xgboost" in told
