"""A task that is not this pipeline's is refused in a sentence that says whose it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline import params
from pipeline.config import ConfigError


def test_the_task_scores_is_said_to_be_for_code_of_a_team_s_own(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("data: {task: scores, target: x}\n", encoding="utf-8")
    with pytest.raises(
        ConfigError, match=r"data\.task: this pipeline predicts a target, .* code of your own"
    ):
        params.load(path)
