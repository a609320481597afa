"""The rule about a holdout that moved, and what a reader is told of it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bots.evidence import MovedHoldout, OldHoldout, Part
from bots.render.moved import describe_moved, warn_of_choice
from bots.verdict.moved import check_moved, is_comparable, shares_rows


def make_part(rows: int = 1_000, first: str | None = "2013-07-01T04:00:00Z") -> Part:
    last = None if first is None else "2013-08-31T23:00:00Z"
    return Part(name="holdout", rows=rows, digest="sha256:" + "ab" * 32, first=first, last=last)


def make_moved(**fields: Any) -> MovedHoldout:
    return MovedHoldout(
        **{"before": make_part(), "after": make_part(), "rows": 1_000, "training_rows": 5_000, **fields}
    )


def test_rows_that_main_was_not_trained_on_are_comparable() -> None:
    found = check_moved(make_moved())
    assert found.passed
    assert found.message == (
        "The holdout moved. Both models are judged on 1,000 of its 1,000 rows; none of them is among main's 5,000 "
        "training rows, by name or by inputs and target."
    )


def test_the_disjoint_rows_alone_judge_where_they_are_enough_and_the_others_are_counted() -> None:
    found = check_moved(make_moved(trained_on=400))
    assert found.passed
    assert "judged on 600 of its 1,000 rows; 400 others are left out" in found.message


def test_a_remainder_of_less_than_half_is_not_compared_and_says_why_and_what_to_do() -> None:
    found = check_moved(make_moved(trained_on=501))
    assert (found.passed, found.verdict, found.reason) == (False, "not comparable", "holdout-trained-on")
    assert "Main's model was trained on 501 of the 1,000 rows" in found.message
    assert (
        "choose rows that came after main's training rows (`split.holdout` in params.yaml)" in found.message
    )


def test_what_nobody_can_tell_is_not_compared_and_says_what_is_missing() -> None:
    found = check_moved(make_moved(failure="main's dvc.lock names no data/splits/train.parquet"))
    assert (found.passed, found.reason) == (False, "different-holdout")
    assert "nobody can tell whether main's model was trained on its rows" in found.message
    assert "dvc.lock names no data/splits/train.parquet. Keep main's holdout" in found.message


@given(rows=st.integers(0, 10**6), trained_on=st.integers(0, 2 * 10**6), failed=st.booleans())
def test_no_holdout_is_judged_on_nothing_or_on_less_than_half(
    rows: int, trained_on: int, *, failed: bool
) -> None:
    moved = make_moved(rows=rows, trained_on=trained_on, failure="no" if failed else None)
    assert check_moved(moved).passed == is_comparable(moved)
    if is_comparable(moved):
        assert not failed
        assert moved.judged > 0
        assert 2 * moved.judged >= rows
        assert moved.judged + trained_on == rows


def test_the_looks_at_mains_holdout_are_looks_at_the_rows_that_both_have() -> None:
    assert not shares_rows(make_moved())
    assert shares_rows(make_moved(shared=1))
    assert shares_rows(make_moved(failure="nobody could look"))


def test_whoever_decides_is_told_who_chose_the_rows() -> None:
    words = warn_of_choice(make_moved(after=make_part(rows=900, first=None)))
    assert "2013-07-01 to 2013-08-31 (1,000 rows) → 900 rows (abababab…)" in words
    assert "Whoever moves it chooses the rows that judge" in words
    assert len(words) < 300, "a comment cuts a note there"


OLD = OldHoldout(metric="roc_auc", rows=57_211, champion=0.748, trained_on=0)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"candidate": 0.751}, "this change's 0.751; none of these rows is one that it was trained on."),
        ({"candidate": 0.751, "trained_on": 7}, "0.751; 7 of these rows look like one that it was trained on."),
        ({"trained_on": 30_001}, "The new model was trained on 30,001 of these rows: no comparison there."),
        ({"trained_on": None, "note": "no such table"}, "No comparison there: no such table."),
        ({}, "No comparison there: nobody could tell how this change does there."),
    ],
)  # fmt: skip
def test_how_both_stand_on_the_old_holdout_is_said_only_where_it_is_known(
    fields: dict[str, Any], words: str
) -> None:
    old = OldHoldout(**{**{name: getattr(OLD, name) for name in OLD.__struct_fields__}, **fields})
    *_, last = describe_moved(make_moved(old=old))
    assert last.startswith("On main's own holdout (57,211 rows) main's ROC AUC is 0.748")
    assert last.endswith(words)


def test_rows_that_main_was_chosen_on_are_told() -> None:
    _, left_out, chosen = describe_moved(make_moved(shared=480, trained_on=20))
    assert left_out.startswith(
        "20 of the new rows have the name, or the inputs and target, of a row that main's"
    )
    assert left_out.endswith("they are left out: 980 judge.")
    assert "chosen on its own holdout, which has 480 of the new rows" in chosen
