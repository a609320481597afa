"""Beyond the holdout: what the two models do not answer alike is refused by the service, or fails parity."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from pipeline import parity
from pipeline.table import Column

NUMBER = Column(type="number", known="before")
WORD = Column(type="category", known="before")
COLUMNS = {"fee": NUMBER, "plan": WORD}


def make_rows(fee: list[float], plan: list[str]) -> pd.DataFrame:
    return pd.DataFrame({"fee": np.array(fee, dtype="float32"), "plan": pd.Series(plan, dtype="str")})


TRAIN = make_rows([1, 2, 3, 4], ["a", "b", "a", "b"])
HOLDOUT = make_rows([2, 3, 4, 5], ["a", "a", "b", "b"])


def agree(rows: pd.DataFrame) -> np.ndarray:
    return np.nan_to_num(rows["fee"].to_numpy(dtype=np.float64)) / 100


def is_alike(found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    return np.abs(found - expected) < 1e-6


def find_limits(
    scikit: parity.Score,
    onnx: parity.Score,
    holdout: pd.DataFrame = HOLDOUT,
    columns: dict[str, Column] = COLUMNS,
    train: pd.DataFrame = TRAIN,
) -> parity.Limits:
    rows = parity.draw_rows(train, holdout, 2)
    trials = parity.try_inputs(rows, train, columns, scikit=scikit, onnx=onnx, is_alike=is_alike)
    return parity.find_limits(trials, train, holdout, columns)


def refuse_gaps(rows: pd.DataFrame) -> np.ndarray:
    if rows["fee"].isna().any():
        raise ValueError("Input X contains NaN.")
    return agree(rows)


def refuse_new(rows: pd.DataFrame) -> np.ndarray:
    if set(rows["plan"]) - {"a", "b"}:
        raise ValueError("Found unknown categories")
    return agree(rows)


def test_models_that_agree_have_no_limits() -> None:
    assert find_limits(agree, agree) == parity.Limits([], [], [])


@pytest.mark.parametrize("scikit", [agree, refuse_gaps, refuse_new])
@pytest.mark.parametrize("most", [1, 2_000_000])
def test_rows_are_answered_together_as_they_are_change_by_change(
    scikit: parity.Score, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []

    def count(rows: pd.DataFrame) -> np.ndarray:
        calls.append(len(rows))
        fee = rows["fee"].to_numpy(dtype=np.float64)
        return agree(rows) + (fee > 5) * 0.3 + fee * 0

    def ask() -> list[parity.Trial]:
        rows = parity.draw_rows(TRAIN, HOLDOUT, 2)
        return parity.try_inputs(rows, TRAIN, COLUMNS, scikit=scikit, onnx=count, is_alike=is_alike)

    monkeypatch.setattr(parity, "TOGETHER", most)
    found = ask()
    assert len(calls) == (9 if most == 1 else 3)
    monkeypatch.setattr(parity, "TOGETHER", 1)
    assert found == ask()
    kinds = ["missing", "lowest", "highest", "below", "above", "zero"]
    assert [(one.column, one.kind) for one in found] == [
        ("", "unchanged"), *(("fee", kind) for kind in kinds), ("plan", "missing"), ("plan", "unseen"),
    ]  # fmt: skip


def test_a_gap_that_scikit_learn_refuses_is_required() -> None:
    assert find_limits(refuse_gaps, agree) == parity.Limits(["fee"], [], [])


def test_a_gap_without_an_answer_on_both_sides_is_required() -> None:
    assert find_limits(refuse_gaps, lambda rows: agree(rows) + rows["fee"] * 0) == parity.Limits(
        ["fee"], [], []
    )


def test_a_gap_that_the_two_answer_otherwise_is_required() -> None:
    other = lambda rows: agree(rows) + rows["fee"].isna() * 0.3  # noqa: E731
    assert find_limits(agree, other) == parity.Limits(["fee"], [], [])


def test_a_gap_that_the_holdout_has_fails_parity_where_the_two_differ() -> None:
    other = lambda rows: agree(rows) + rows["fee"].isna() * 0.3  # noqa: E731
    holdout = make_rows([2, np.nan, 4, 5], ["a", "a", "b", "b"])
    found = find_limits(agree, other, holdout)
    assert found.required == []
    assert found.problems[-1] == "in 7 of 7 rows whose fee is missing"


def test_a_new_category_that_scikit_learn_refuses_is_closed_and_a_missing_one_required() -> None:
    assert find_limits(refuse_new, agree) == parity.Limits(["plan"], ["plan"], [])


def test_a_category_of_the_holdout_alone_is_not_closed() -> None:
    other = lambda rows: agree(rows) + ~rows["plan"].isin(["a", "b"]) * 0.3  # noqa: E731
    holdout = make_rows([2, 3, 4, 5], ["a", "a", "b", "new"])
    found = find_limits(agree, other, holdout)
    assert found.closed == []
    assert "in 7 of 7 rows whose plan is a new category" in found.problems


def test_a_personal_column_that_is_closed_fails_parity_with_the_edit() -> None:
    columns = {**COLUMNS, "plan": Column(type="category", known="before", personal=True)}
    found = find_limits(refuse_new, agree, columns=columns)
    assert found.closed == []
    assert "handle_unknown in model.steps of params.yaml" in found.problems[0]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda fee: fee == 1, "fee is the lowest of training"),
        (lambda fee: fee > 5, "fee is above what training had"),
        (lambda fee: fee < 0, "fee is below what training had"),
        (lambda fee: fee == 0, "fee is 0"),
    ],
)
def test_a_difference_at_a_bound_fails_parity_by_its_name(wrong: object, words: str) -> None:
    other = lambda rows: agree(rows) + wrong(rows["fee"]) * 0.3  # type: ignore[operator]  # noqa: E731
    assert any(words in problem for problem in find_limits(agree, other).problems)


def test_nothing_beyond_the_range_of_the_contract_is_tried() -> None:
    column = Column(type="number", known="before", range=(0.5, 6))
    tried = dict(parity.list_changes(TRAIN["fee"], column))
    assert {kind: value for kind, value in tried.items() if kind != "missing"} == {
        "lowest": 1.0, "highest": 4.0, "below": 0.5, "above": 6.0,
    }  # fmt: skip


def test_of_a_truth_nothing_but_yes_and_no_is_tried() -> None:
    truth = Column(type="boolean", known="before")
    words = pd.Series(["true", "false"], dtype="str")
    assert [kind for kind, _ in parity.list_changes(words, truth)] == ["missing"]
    assert dict(parity.list_changes(words[:1], truth)) == {"missing": "", "unseen": "false"}
    numbers = pd.Series([0, 1], dtype="float32")
    assert [kind for kind, _ in parity.list_changes(numbers, truth)] == ["missing", "lowest", "highest"]
