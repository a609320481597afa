"""Fresh rows: which are drawn, and what they must say for an improvement to be confirmed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from bots.evidence import Confirmation, MetricComparison, Statistics
from bots.stats.predictions import Predictions, PredictionsError
from bots.verdict import fresh_rows
from bots.verdict.comparison import Comparison
from bots.verdict.confirmation import (
    ASKED_FROM,
    find_needed_gain,
    judge_fresh_rows,
    wants_confirmation,
)
from bots.verdict.sentences import describe_confirmation
from fixtures import simulated

POLICY = simulated.make_policy()
GATE = structs.replace(POLICY.gate, primary="mae", matters={"mae": 0.02}, guards=[], limits={})


def draw_models(rows: int, gain: float, random: np.random.Generator) -> Predictions:
    """Two models of a regression; the candidate's mean absolute error is smaller by `gain`."""
    errors = np.abs(random.normal(size=(2, rows))) * 0.1 + 1.0
    return Predictions(
        task="regression",
        target=np.zeros(rows),
        champion=errors[0],
        candidate=errors[1] - gain,
    )


def test_a_gain_beyond_half_of_what_matters_is_confirmed_and_none_at_all_is_not() -> None:
    random = np.random.default_rng(1)
    found = judge_fresh_rows(draw_models(4000, 0.03, random), GATE)
    assert (found.outcome, found.rows, found.needed) == ("confirmed", 4000, 0.01)
    assert judge_fresh_rows(draw_models(4000, 0.0, random), GATE).outcome == "not confirmed"
    assert judge_fresh_rows(draw_models(4000, -0.03, random), GATE).outcome == "contradicted"


@pytest.mark.slow
def test_a_change_that_is_no_better_is_confirmed_in_at_most_one_of_five_cases_however_few_the_rows() -> None:
    random = np.random.default_rng(2)
    for matters in (0.0, 0.02):
        gate = structs.replace(GATE, matters={"mae": matters})
        said = [judge_fresh_rows(draw_models(30, 0.0, random), gate).outcome for _ in range(1000)]
        assert said.count("confirmed") < 200 + 3 * (1000 * 0.2 * 0.8) ** 0.5


def test_the_same_scores_confirm_nothing_even_where_nothing_is_said_to_matter() -> None:
    both = draw_models(100, 0.0, np.random.default_rng(3))
    same = Predictions(
        task="regression", target=both.target, champion=both.candidate, candidate=both.candidate
    )
    assert judge_fresh_rows(same, structs.replace(GATE, matters={"mae": 0.0})).outcome == "not confirmed"


def test_too_few_rows_cannot_tell_and_the_words_say_why() -> None:
    found = judge_fresh_rows(draw_models(5, 1.0, np.random.default_rng(4)), GATE)
    assert found.outcome == "cannot tell"
    assert (
        describe_confirmation(found, "mae")
        == "No fresh rows confirm it: 5 labelled rows do not tell: fewer than 10 rows."
    )


@given(st.floats(0, 1e6), st.floats(1, 1e6), st.floats(0, 1e6))
def test_never_is_less_asked_for_than_half_of_what_matters(
    error: float, freedom: float, matters: float
) -> None:
    assert find_needed_gain(error, freedom, matters) >= 0.5 * matters


@pytest.mark.parametrize("look", [1, ASKED_FROM, 20])
@pytest.mark.parametrize("outcome", ["improved", "undecided", "regressed"])
def test_fresh_rows_have_a_say_in_praise_alone_and_not_at_the_first_look(look: int, outcome: Any) -> None:
    metric = MetricComparison(
        name="mae", direction="lower", role="primary", champion=1.0, candidate=0.9, difference=-0.1,
        low=-0.2, high=-0.05, matters=0.02, outcome=outcome,
    )  # fmt: skip
    made = Statistics(rows=100, confidence=0.95, resampled="rows", units=100, slices_judged=0)
    found = Comparison(metrics=[metric], slices=[], statistics=made, look=look)
    assert wants_confirmation(found) is (look >= ASKED_FROM and outcome == "improved")


def write_rows(path: Path, **columns: Any) -> Path:
    parquet.write_table(pa.table(columns), path)
    return path


def make_policy(**gate: Any) -> Any:
    return structs.replace(
        POLICY,
        gate=structs.replace(POLICY.gate, **{"resample": "rows", **gate}),
        data=structs.replace(POLICY.data, target="late"),
    )


def test_rows_without_a_label_are_left_out_and_many_are_drawn_evenly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = [None if at % 2 else at % 4 == 0 for at in range(1000)]
    path = write_rows(tmp_path / "rows.parquet", row=[f"r{at}" for at in range(1000)], late=labels)
    assert len(fresh_rows.draw_labelled_rows(path, "rows", make_policy())) == 500
    monkeypatch.setattr(fresh_rows, "MOST_ROWS", 100)
    drawn = fresh_rows.draw_labelled_rows(path, "rows", make_policy())
    assert drawn["row"].to_pylist() == [f"r{at}" for at in range(0, 1000, 10)]


@pytest.mark.parametrize("labels", [[], [None, None]])
def test_no_label_at_all_draws_no_row(tmp_path: Path, labels: list[bool | None]) -> None:
    path = write_rows(
        tmp_path / "rows.parquet",
        row=pa.array([f"r{at}" for at in range(len(labels))], pa.string()),
        late=pa.array(labels, pa.bool_()),
    )
    assert len(fresh_rows.draw_labelled_rows(path, "rows", make_policy())) == 0


@pytest.mark.parametrize(
    ("columns", "gate", "said"),
    [
        ({"row": ["a"]}, {}, "no column late"),
        ({"late": [True]}, {}, "no column row"),
        ({"row": ["a"], "late": [True]}, {"resample": "date"}, "no column date"),
        ({"row": ["a"], "late": ["yes"]}, {}, "late: expected numbers"),
    ],
)
def test_a_table_that_cannot_be_asked_is_refused_by_name(
    tmp_path: Path, columns: dict[str, Any], gate: dict[str, Any], said: str
) -> None:
    path = write_rows(tmp_path / "rows.parquet", **columns)
    with pytest.raises(PredictionsError, match=said):
        fresh_rows.draw_labelled_rows(path, "rows", make_policy(**gate))


def test_a_file_that_is_no_table_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "rows.parquet").write_bytes(b"PAR1 and nothing else")
    with pytest.raises(PredictionsError, match="later rows: not a readable"):
        fresh_rows.draw_labelled_rows(tmp_path / "rows.parquet", "later rows", make_policy())


def test_rows_that_another_table_lacks_are_counted_by_name(tmp_path: Path) -> None:
    one = write_rows(tmp_path / "one.parquet", row=["a", "b", "c"])
    other = write_rows(tmp_path / "other.parquet", row=["c", "d", "a"])
    none = write_rows(tmp_path / "none.parquet", row=pa.array([], pa.string()))
    assert [fresh_rows.count_missing_rows(one, path, "rows") for path in (one, other, none)] == [0, 1, 3]


@given(st.text(max_size=2000))
def test_why_nothing_confirms_is_cut_and_ends_as_a_sentence(why: str) -> None:
    said = describe_confirmation(Confirmation(outcome="cannot tell", untold=why), "mae")
    assert len(said) < 700
    assert said.endswith((".", "!", "?"))
