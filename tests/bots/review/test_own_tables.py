"""Tables of a pipeline of a team's own, which may call the target by its name or `target`, as it calls rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
import yaml

from bots.review.seen import _make_pair
from bots.settings import parse_settings
from bots.stats.predictions import PredictionsError
from fixtures import lucky

if TYPE_CHECKING:
    from bots.settings import Settings


def make_settings(target: str | None) -> Settings:
    document = {**lucky.PARAMS, "data": {"task": "classification", "target": target}}
    return parse_settings(yaml.safe_dump(document), "params.yaml")


@pytest.mark.parametrize(("target", "column"), [("y", "y"), ("y", "target"), (None, "target")])
def test_the_target_of_training_rows_has_the_data_s_name_or_is_called_target(target: str | None, column: str):
    settings = make_settings(target)
    rows = pa.table({"row": ["a", "b", "c"], column: [0.0, 1.0, 1.0]})
    scores = pa.table({"row": ["a", "b", "c"], "score": [0.1, 0.7, 0.6]})
    pair = _make_pair(rows, scores, scores, name="train.parquet", settings=settings, policy=settings)
    assert pair.target.tolist() == [0.0, 1.0, 1.0]
    with pytest.raises(PredictionsError, match=r"train\.parquet: no column target"):
        _make_pair(
            rows.drop_columns([column]),
            scores,
            scores,
            name="train.parquet",
            settings=settings,
            policy=settings,
        )
