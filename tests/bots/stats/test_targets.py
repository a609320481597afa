"""Targets of any two labels, as the bots read them: the same as the pipeline does."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from bots.evidence import Answers
from bots.stats.predictions import PredictionsError
from bots.stats.targets import get_target, read_answer
from fixtures import support
from fixtures.flights import settings_with
from pipeline import config, files, params, table


def _load_params() -> params.Params:
    text = support.render_file("params.yaml", task="classification")
    known = {
        name: section
        for name, section in yaml.safe_load(text).items()
        if name in params.Params.__struct_fields__
    }
    known["gate"] = {"primary": "log_loss"}
    return config.convert_document(known, params.Params, Path("params.yaml"))


PARAMS = _load_params()


@pytest.mark.slow
@settings(deadline=None, max_examples=150)
@given(
    st.one_of(
        st.lists(
            st.one_of(st.none(), st.sampled_from(["Yes", "No", "yes", "1", "2", " x", "é"])), max_size=8
        ),
        st.lists(st.one_of(st.none(), st.sampled_from([0.0, 1.0, 2.0, 0.5])), max_size=8),
        st.lists(st.one_of(st.none(), st.booleans()), max_size=8),
    ),
    st.sampled_from(["Yes", "yes", "No", "x", " x", True, False, 1, 2, 0, 0.5, "2", "2.0", "é"]),
)
def test_pipeline_and_bots_read_the_same_target(values: list[Any], positive: Any) -> None:
    known = [value for value in values if value is not None]
    kind: Any = "str"
    if known and isinstance(known[0], bool):
        kind = "boolean"
    elif known and isinstance(known[0], float):
        kind = "float64"
    frame = pd.DataFrame({"left": pd.Series(values, dtype=kind)})
    loaded = settings_with(PARAMS, data={"target": "left", "positive": positive})
    rows = pa.Table.from_pandas(frame, preserve_index=False)
    try:
        expected = table.get_target(frame, loaded).to_numpy()
    except files.StageError:
        with pytest.raises(PredictionsError, match=r"data\.positive"):
            get_target(rows, "left", "rows", positive)
        return
    np.testing.assert_array_equal(get_target(rows, "left", "rows", positive), expected)


def test_a_target_of_numbers_is_read_as_it_is() -> None:
    rows = pa.table({"left": pa.array([0.0, 1.0, None])})
    np.testing.assert_array_equal(get_target(rows, "left", "rows", None), [0.0, 1.0, math.nan])


@pytest.mark.parametrize(
    ("answers", "text", "expected"),
    [
        (("churned", "stayed"), "churned", 1.0),
        (("churned", "stayed"), " stayed ", 0.0),
        (("churned", "stayed"), "Churned", math.nan),
        (("churned", "stayed"), "true", 1.0),  # a source that brings the target ready
        (("churned", "stayed"), "0", 0.0),
        (("churned", "stayed"), "gone", math.nan),
        (("2", "1"), "2", 1.0),
        (("2", "1"), "1", 0.0),
        (("2", "1"), "0", math.nan),
        (("2", "1"), "true", math.nan),
        (("false", "true"), "F", 1.0),
        (("N", "Y"), "n", 1.0),
        (("N", "Y"), "1", 0.0),
    ],
)
def test_an_answer_is_read_by_its_name(answers: tuple[str, str], text: str, expected: float) -> None:
    found = read_answer(text, Answers(yes=answers[0], no=answers[1]))
    assert found == expected or (math.isnan(found) and math.isnan(expected))
