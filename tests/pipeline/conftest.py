"""The trained project of each task that the tests of evaluation and export share, and a copy of it for each test."""

from __future__ import annotations

from pathlib import Path

import pytest

from fixtures import flights, species, trained


@pytest.fixture(scope="module")
def classification(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained.prepare(tmp_path_factory.mktemp("classification"), "classification", train=True)


@pytest.fixture(scope="module")
def regression(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained.prepare(tmp_path_factory.mktemp("regression"), "regression", train=True)


@pytest.fixture
def bench(classification: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> flights.Bench:
    monkeypatch.chdir(tmp_path)
    return trained.copy(classification, tmp_path)


@pytest.fixture
def minutes(regression: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> flights.Bench:
    monkeypatch.chdir(tmp_path)
    return trained.copy(regression, tmp_path, "regression")


@pytest.fixture(scope="module")
def birds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return species.prepare(tmp_path_factory.mktemp("birds"))
