"""What the words of make in the pages call, in a project and in the template: each is a program that has its own tests.

The programs of the project are stand-ins that tell what they are called with. So `make test` runs no tests here, and
`make lock` asks no index.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
from pathlib import Path

import pytest

from fixtures.documents import read_command, type_command
from fixtures.support import ROOT, TEMPLATE

STAND_IN = """\
#!/bin/sh
[ "$1" = -c ] || echo "${0##*/} $*" >> called.txt
"""
DOWNLOAD = (
    "python3 -m pip download --quiet --disable-pip-version-check --no-deps --require-hashes "
    "--dest .packages --requirement requirements/dev.txt"
)
SITE = "python -m sphinx --builder html --fail-on-warning --keep-going --quiet docs site"
LINT = ["ruff check .", "ruff format --check .", "mypy"]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project whose tools are installed, and only tell what they are called with."""
    (tmp_path / "pipeline").mkdir()
    for name in ("Makefile", "pipeline/words.mk"):
        shutil.copy(TEMPLATE / name, tmp_path / name)
    shutil.copytree(TEMPLATE / "requirements", tmp_path / "requirements")
    for path in (tmp_path / "requirements").glob("storage-*"):
        path.unlink()
    (tmp_path / ".venv/bin").mkdir(parents=True)
    for name in ("python", "python3", "uv", "dvc", "ruff", "mypy"):
        path = tmp_path / ".venv/bin" / name
        path.write_text(STAND_IN)
        path.chmod(0o755)
    shutil.copy(tmp_path / "requirements/dev.txt", tmp_path / ".venv/lock")
    return tmp_path


def call(project: Path, command: str) -> list[str]:
    """What is called when this is typed."""
    (project / "called.txt").write_text("")
    type_command(project, command, environ={"PATH": f"{project}/.venv/bin{os.pathsep}{os.environ['PATH']}"})
    return [line.strip() for line in (project / "called.txt").read_text().splitlines()]


@pytest.mark.parametrize(
    ("command", "called"),
    [
        (read_command("README.md", "make test"), ["python -m pytest"]),
        (read_command("README.md", "make check"), [*LINT, "python -m pytest -m not slow"]),
        (read_command("docs/bots.md", "make lint"), LINT),
        (read_command("README.md", "make docs"), [SITE]),
        (read_command("docs/template.md", "make dev"), []),
        (read_command("docs/manager.md", "make watch"), ["python -m bots watch"]),
        (read_command("docs/data-scientist.md", "make deps"), ["python -m bots deps --write"]),
        (
            read_command("docs/data-engineer.md", "make refresh"),
            ["dvc repro --force --single-item acquire", "dvc repro"],
        ),
        (
            read_command("README.md", "make onboard DATA=table.csv"),
            ["python -m pipeline onboard table.csv", "python -m bots propose"],
        ),
        (
            read_command("docs/data-engineer.md", "make onboard DATA=table.csv TARGET=column"),
            ["python -m pipeline onboard table.csv --target=column", "python -m bots propose"],
        ),
        (
            read_command("docs/onboarding.md", "make onboard DATA=churn.csv"),
            ["python -m pipeline onboard churn.csv", "python -m bots propose"],
        ),
        (
            read_command("docs/onboarding.md", "make onboard DATA=churn.csv TARGET=churned"),
            ["python -m pipeline onboard churn.csv --target=churned", "python -m bots propose"],
        ),
        (
            read_command(
                "docs/onboarding.md",
                "make onboard 'DATA=postgresql://me:${PASSWORD}@host/shop' QUERY=queries/training.sql",
            ),
            [
                "python -m pipeline onboard postgresql://me:${PASSWORD}@host/shop --query=queries/training.sql",
                "python -m bots propose",
            ],
        ),
        (
            read_command("docs/company.md", "make packages ROOM=dev"),
            [DOWNLOAD],
        ),
    ],
)  # fmt: skip
def test_a_word_of_the_project_calls_what_it_says(project: Path, command: str, called: list[str]) -> None:
    assert call(project, command) == called


@pytest.mark.parametrize(
    ("command", "library"),
    [
        (read_command("docs/dependencies.md", "make add MODELS=lightgbm"), "lightgbm"),
        (read_command("docs/dependencies.md", "make add MODELS=torch"), "torch"),
    ],
)
def test_a_library_is_added_and_everything_locked_anew(project: Path, command: str, library: str) -> None:
    locked = [line for line in call(project, command) if line.startswith("uv pip compile")]
    assert any(line.endswith("requirements/dev.txt") for line in locked)
    if library == "torch":
        assert (project / "requirements/models-torch.txt").is_file()
    else:
        assert f"-r models/{library}.in" in (project / "requirements/pipeline.in").read_text()


def test_versions_are_locked_and_taken_anew(project: Path) -> None:
    locked = call(project, read_command("docs/operator.md", "make lock"))
    assert all(line.startswith("uv pip compile") and "--upgrade" not in line for line in locked)
    newest = call(project, read_command("docs/operator.md", "make lock UPGRADE=--upgrade"))
    assert newest == [line.replace("make lock ", "make lock --upgrade ") for line in locked]


@pytest.mark.parametrize(
    ("command", "calls"),
    [
        (read_command("template/README.md", "make demo"), "-m demo"),
        (read_command("template/README.md", "make watch"), "-m demo.watch"),
        (read_command("template/README.md", "make check"), "-m pytest"),
        (read_command("template/README.md", "make test"), "-m pytest"),
        (read_command("template/docs/template-developer.md", "make fuzz"), "-m tests.fuzz"),
        (read_command("template/docs/template-developer.md", "make lint"), "bin/zizmor"),
        (read_command("template/docs/template-developer.md", "make bench"), "benchmarks/*.py"),
        (read_command("template/docs/template-developer.md", "make picture"), "-m demo.picture"),
        (read_command("template/docs/template-developer.md", "make models"), "benchmarks/models.py --check"),
        (read_command("template/docs/template-developer.md", "make lock"), "bin/uv pip compile"),
        (read_command("template/docs/template-developer.md", "make lock UPGRADE=--upgrade"), "--upgrade"),
    ],
)  # fmt: skip
def test_a_word_of_the_template_calls_what_is_there(command: str, calls: str) -> None:
    said = type_command(ROOT, f"{command} --dry-run")
    assert calls in said
    for module in re.findall(r"python -m ((?:demo|tests)[\w.]*)", said):
        assert importlib.util.find_spec(module) is not None
    for script in re.findall(r"python (benchmarks/\w+\.py)", said):
        assert (ROOT / script).is_file()
