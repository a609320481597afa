"""The exported model that the tests of a running service share, and a folder of its own for a test that changes it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from fixtures import served


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model's folder that nobody changes."""
    return served.share_project(tmp_path_factory)


@pytest.fixture(scope="module")
def made(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model's folder that the tests of a file may serve from."""
    return Path(shutil.copytree(exported, tmp_path_factory.mktemp("made") / "own"))


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A model's folder of one's own."""
    shutil.copytree(made, tmp_path / "own", ignore=shutil.ignore_patterns("predictions", "*.log"))
    return tmp_path / "own"
