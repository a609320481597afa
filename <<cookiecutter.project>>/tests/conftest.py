"""What the team's tests share: the project's own parameters and data contract, loaded once."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline import params, table

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def settings() -> params.Params:
    return params.load(ROOT / "params.yaml")


@pytest.fixture(scope="session")
def schema() -> table.Schema:
    return table.load(ROOT / "schema.yaml")
