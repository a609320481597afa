"""What docs/bots.md tells a person who adds a verb: its example works, and its picture shows the floors."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import house
from fixtures.support import TEMPLATE

PAGE = (TEMPLATE / "docs/bots.md").read_text(encoding="utf-8")
VERB, TEST = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bots with the page's verb and its test."""
    folder = tmp_path_factory.mktemp("project")
    shutil.copytree(TEMPLATE / "bots", folder / "bots", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(TEMPLATE / "pyproject.toml", folder)
    (folder / "bots/commands/verdict.py").write_text(VERB, encoding="utf-8")
    (folder / "tests").mkdir()
    (folder / "tests/test_verdict.py").write_text(TEST, encoding="utf-8")
    verbs = folder / "bots/commands/__init__.py"
    text = verbs.read_text(encoding="utf-8")
    text = text.replace("\nCOMMANDS", "\nfrom bots.commands import verdict\n\nCOMMANDS")
    verbs.write_text(text.replace("for module in (", "for module in (verdict, "), encoding="utf-8")
    return folder


def run(folder: Path, *words: str) -> str:
    """What a module of Python prints in a folder."""
    done = subprocess.run(
        [sys.executable, "-m", *words], cwd=folder, text=True, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_page_s_verb_is_listed(project: Path) -> None:
    assert re.search(r"verdict +print the last verdict", run(project, "bots", "--help"))


@pytest.mark.slow
def test_the_page_s_test_passes(project: Path) -> None:
    run(project, "pytest", "tests/test_verdict.py")


def test_the_page_s_code_is_clean_by_the_project_s_rules(project: Path) -> None:
    run(project, "ruff", "check", "bots/commands/verdict.py", "tests/test_verdict.py")
    run(project, "ruff", "format", "--diff", "bots/commands/verdict.py", "tests/test_verdict.py")


def test_the_page_draws_the_floors_that_are_checked() -> None:
    floors = [tuple(label.split(" · ")) for label in re.findall(r'\["([^"]+)"\]', PAGE)]
    declared = [tuple(room for room in rooms if room != "__main__") for rooms in house.FLOORS]

    assert floors == declared[::-1]


def test_the_page_names_the_rooms_that_are_trusted() -> None:
    named = re.search(r"(?m)^- (.*) belong to jobs that are trusted", PAGE)
    assert named

    assert set(re.findall(r"`(\w+)`", named[1])) == set(house.TRUSTED)
