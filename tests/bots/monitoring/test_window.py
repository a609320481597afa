"""The window of a retraining: which days move, and that nothing else of params.yaml does."""

from __future__ import annotations

import difflib
from datetime import date, timedelta
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from bots.monitoring.window import Bounds, CannotRetrain, edit_scalars, plan_window, write_window
from bots.settings import Retrain
from fixtures.baking import bake_project

PARAMS = """\
# What a person tunes.
data:
  source: flights.csv  # where from
  as_of: null          # asked for on
split:
  by: time
  # From and until.
  train: ["2013-01-01", "2013-07-01"]
  holdout: ['2013-07-01', "2013-09-01"]   # sixty-two days
  production:
  - "2013-09-01"
  - "2014-01-01"
  holdout_share: 0.2
"""


def plan(params: str = PARAMS, newest: str = "2013-10-31", **settings: object) -> str:
    retrain = Retrain(**settings)  # type: ignore[arg-type]
    return write_window(params, plan_window(params, newest, retrain, "2026-11-26"))


def list_changes(before: str, after: str) -> list[str]:
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), n=0, lineterm="")
    return [line for line in lines if line[0] in "+-" and line[:3] not in ("+++", "---")]


def test_the_holdout_moves_to_the_newest_labelled_days_and_training_grows_up_to_it() -> None:
    assert list_changes(PARAMS, plan()) == [
        "-  as_of: null          # asked for on",
        '+  as_of: "2026-11-26"          # asked for on',
        '-  train: ["2013-01-01", "2013-07-01"]',
        "-  holdout: ['2013-07-01', \"2013-09-01\"]   # sixty-two days",
        '+  train: ["2013-01-01", "2013-08-31"]',
        "+  holdout: ['2013-08-31', \"2013-11-01\"]   # sixty-two days",
        '-  - "2013-09-01"',
        '+  - "2013-11-01"',
    ]


def test_days_without_quotes_are_days() -> None:
    bare = PARAMS.replace('["2013-01-01", "2013-07-01"]', "[2013-01-01, 2013-07-01]")
    assert '+  train: [2013-01-01, "2013-08-31"]' in list_changes(bare, plan(bare))


def test_a_window_that_slides_keeps_its_length() -> None:
    split = yaml.safe_load(plan(window="slide"))["split"]
    assert split["train"] == ["2013-03-03", "2013-08-31"]


def test_production_keeps_its_length_once_its_end_has_passed() -> None:
    split = yaml.safe_load(plan(newest="2014-02-28"))["split"]
    assert split["production"] == ["2014-03-01", "2014-07-01"]


def test_the_new_holdout_has_no_day_that_main_s_model_was_trained_on() -> None:
    found = plan_window(PARAMS, "2013-10-31", Retrain(holdout_days=30), "2026-11-26")
    assert found.new is not None
    assert found.new.holdout == Bounds("2013-10-02", "2013-11-01")
    with pytest.raises(CannotRetrain, match="training would gain no day"):
        plan_window(PARAMS, "2013-10-31", Retrain(holdout_days=200), "2026-11-26")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("2013-10-31", "2013-08-31", "no labelled day is newer than the holdout: it ends before 2013-09-01"),
        ('"2013-07-01"]', "null]", "expected days for the end of train"),
        ('["2013-01-01"', '["2013-01-01T06:00:00Z"', "moved by whole days"),
        ('["2013-01-01", "2013-07-01"]', "soon", "expected two days"),
        ("by: time", "by: magic", "expected time, group or random"),
        ("by: time", "by: [", "expected YAML"),
        ("by: time", "by: time\n  by: random", "the key 'by' stands a second time"),
    ],
)
def test_what_cannot_be_moved_is_said(old: str, new: str, words: str) -> None:
    newest = "2013-10-31" if old != "2013-10-31" else new
    with pytest.raises(CannotRetrain, match=words):
        plan_window(PARAMS.replace(old, new), newest, Retrain(), "2026-11-26")


def test_an_open_first_day_can_grow_and_cannot_slide() -> None:
    params = PARAMS.replace('["2013-01-01"', "[null")
    assert yaml.safe_load(plan(params))["split"]["train"] == [None, "2013-08-31"]
    with pytest.raises(CannotRetrain, match="expected a first day"):
        plan(params, window="slide")


def test_a_split_without_a_window_asks_for_newer_rows_only_and_says_so() -> None:
    params = PARAMS.replace("by: time", "by: group")
    found = plan_window(params, "2013-10-31", Retrain(), "2026-11-26")
    assert "no older row changes sides" in found.notes[0]
    assert len(list_changes(params, write_window(params, found))) == 2
    with pytest.raises(CannotRetrain, match="nothing would change"):
        plan_window(params.replace("as_of: null ", "more: null"), "2013-10-31", Retrain(), "2026-11-26")


def test_a_pipeline_without_a_day_of_asking_is_told_what_is_missing() -> None:
    params = PARAMS.replace("  as_of: null          # asked for on\n", "")
    found = plan_window(params, "2013-10-31", Retrain(), "2026-11-26")
    assert found.as_of is None
    assert "data.as_of" in found.notes[-1]


def test_what_would_change_more_than_it_should_is_refused() -> None:
    shared = 'a: &day "2013-01-01"\nb: *day\n'
    with pytest.raises(CannotRetrain, match="without changing something else"):
        edit_scalars(shared, {("b",): "2014-01-01"})
    with pytest.raises(CannotRetrain, match="expected a single value"):
        edit_scalars(shared, {("c",): "2014-01-01"})


def test_an_empty_value_and_windows_line_ends_stay_readable() -> None:
    assert edit_scalars("a:\r\nb: 1\r\n", {("a",): "2014-01-01"}) == 'a: "2014-01-01"\r\nb: 1\r\n'


@pytest.mark.slow
@pytest.mark.parametrize("task", ["classification", "regression"])
def test_the_example_s_own_parameters_can_be_moved(tmp_path: Path, task: str) -> None:
    folder = bake_project(tmp_path, task=task)
    text = (folder / "params.yaml").read_text(encoding="utf-8")
    changed = plan(text)
    assert len(list_changes(text, changed)) == 8
    assert yaml.safe_load(changed)["data"]["as_of"] == "2026-11-26"


@given(
    st.integers(-40, 900),
    st.sampled_from(["grow", "slide"]),
    st.none() | st.integers(1, 400),
)
def test_every_window_is_in_order_and_trains_on_nothing_that_judges(
    after: int, window: str, holdout_days: int | None
) -> None:
    newest = (date(2013, 9, 1) + timedelta(days=after)).isoformat()
    settings = Retrain(window=window, holdout_days=holdout_days)  # type: ignore[arg-type]
    try:
        found = plan_window(PARAMS, newest, settings, "2026-11-26")
    except CannotRetrain:
        return
    new = found.new
    assert new is not None
    days = [new.train.begin, new.train.end, new.holdout.begin, new.holdout.end]
    assert days == sorted(day for day in days if day is not None)
    assert new.holdout.begin is not None
    assert new.holdout.begin >= "2013-07-01"
    assert new.train.end is not None
    assert new.train.end > "2013-07-01"
    assert new.production.begin == new.holdout.end
    assert yaml.safe_load(write_window(PARAMS, found))["split"]["holdout"] == [
        new.holdout.begin,
        new.holdout.end,
    ]


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from(["2013-07-01", "2013-09-01", "9999-12-31", "time", "x"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["by", "a"]), inner, max_size=2)
    ),
    max_leaves=6,
)


@given(
    st.dictionaries(st.sampled_from(["by", "train", "holdout", "production", "column"]), VALUES, max_size=5),
    VALUES,
    st.sampled_from(["2013-10-31", "9999-12-31", "0001-01-01"]),
    st.sampled_from(["grow", "slide"]),
)
def test_whatever_params_yaml_says_a_window_is_planned_or_refused_in_words(
    split: dict[str, object], data: object, newest: str, window: str
) -> None:
    text = yaml.safe_dump({"split": {"by": "time", **split}, "data": data})
    try:
        made = write_window(text, plan_window(text, newest, Retrain(window=window), "2026-11-26"))  # type: ignore[arg-type]
    except CannotRetrain:
        return
    before, after = yaml.safe_load(text), yaml.safe_load(made)
    for part in ("train", "holdout", "production"):
        before["split"].pop(part, None)
        after["split"].pop(part, None)
    if isinstance(data, dict):
        before["data"].pop("as_of", None)
        after["data"].pop("as_of", None)
    assert before == after


@given(st.text(max_size=200))
def test_any_text_is_planned_or_refused_in_words(text: str) -> None:
    with pytest.raises(CannotRetrain):
        plan_window(text, "2013-10-31", Retrain(), "2026-11-26")
