"""params.yaml, schema.yaml and dvc.yaml agree with each other, and no feature knows the future."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from bots import settings as bots_settings
from pipeline import leakage, table
from pipeline.__main__ import STAGES
from pipeline.params import Params

ROOT = Path(__file__).parents[1]


def test_the_parameters_name_columns_that_the_contract_knows(settings: Params, schema: table.Schema) -> None:
    table.check_params(settings, schema)


def test_the_bots_understand_the_gate() -> None:
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")

    assert bots_settings.parse_settings(text, "params.yaml").gate.primary


def test_no_feature_is_known_only_after_the_moment_of_prediction(
    settings: Params, schema: table.Schema
) -> None:
    late = [name for name in settings.features.raw if schema.columns[name].known == "after"]

    assert late == []
    assert leakage.check_features(settings, schema) == []


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_of_the_pipeline_is_one_of_dvc(stage: str) -> None:
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]

    assert stages[stage]["cmd"] == f"python -m pipeline {stage}"
