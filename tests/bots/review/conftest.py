"""The trained small project that whole reviews start from: made once, copied by each test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fixtures import small

if TYPE_CHECKING:
    from pathlib import Path

    from fixtures.small import Small


@pytest.fixture(scope="session")
def main(tmp_path_factory: pytest.TempPathFactory) -> Small:
    return small.make_trained_project(tmp_path_factory.mktemp("main"))


@pytest.fixture
def change(main: Small, tmp_path: Path) -> Small:
    return small.copy_project(main, tmp_path)
