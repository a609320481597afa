"""The trained project of each task that the tests of evaluation and export share, and a copy of it for each test."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from fixtures import flights, species, trained
from fixtures.once import make_once


@pytest.fixture(scope="session")
def classification(tmp_path_factory: pytest.TempPathFactory) -> Path:
    make = partial(trained.prepare, task="classification", train=True)
    return make_once(tmp_path_factory, "classification", make)


@pytest.fixture(scope="session")
def regression(tmp_path_factory: pytest.TempPathFactory) -> Path:
    make = partial(trained.prepare, task="regression", train=True)
    return make_once(tmp_path_factory, "regression", make)


@pytest.fixture(scope="session")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A project of each task with its features, and nothing trained."""
    return {
        task: make_once(tmp_path_factory, f"untrained {task}", partial(trained.prepare, task=task, step=96))
        for task in ("classification", "regression")
    }


@pytest.fixture
def bench(classification: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> flights.Bench:
    monkeypatch.chdir(tmp_path)
    return trained.copy(classification, tmp_path)


@pytest.fixture
def minutes(regression: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> flights.Bench:
    monkeypatch.chdir(tmp_path)
    return trained.copy(regression, tmp_path, "regression")


@pytest.fixture(scope="session")
def birds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_once(tmp_path_factory, "birds", species.prepare)
