"""dvc.lock after a merge: each stage as one side has it, or to be made again; never the markers of a conflict."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from bots.dvc.lock_merge import merge_locks
from bots.dvc.lockfile import LockfileError, parse_lock, take_record

STAGES = ("acquire", "prepare", "train", "evaluate")
Versions = Mapping[str, str | None]


def write_lock(versions: Versions) -> str:
    """A chain of stages: each reads the one before, and writes what its version says. None: no such stage."""
    stages: dict[str, object] = {}
    before: tuple[str, str] | None = None
    for name in STAGES:
        version = versions.get(name)
        if version is None:
            continue
        deps = [{"path": f"{name}.py", "hash": "md5", "md5": f"code-{version}", "size": 1}]
        if before:
            deps.insert(0, {"path": before[0], "hash": "md5", "md5": before[1], "size": 1})
        out = f"{name}.out", "".join(str(versions.get(each)) for each in STAGES[: STAGES.index(name) + 1])
        stages[name] = {
            "cmd": f"python {name}.py",
            "deps": deps,
            "outs": [{"path": out[0], "hash": "md5", "md5": out[1], "size": 1}],
        }
        before = out
    return yaml.safe_dump({"schema": "2.0", "stages": stages}, sort_keys=False) if stages else ""


def change(**versions: str | None) -> str:
    return write_lock({**dict.fromkeys(STAGES, "a"), **versions})


BASE = change()


def test_a_stage_that_one_side_changed_is_as_that_side_has_it():
    theirs = change(evaluate="b")
    assert merge_locks(BASE, BASE, theirs).text == theirs
    assert merge_locks(BASE, theirs, BASE).text == theirs
    assert merge_locks(BASE, theirs, theirs).text == theirs
    assert not merge_locks(BASE, BASE, theirs).dropped


def test_a_stage_that_both_changed_is_to_be_made_again_and_so_is_what_reads_it():
    merged = merge_locks(BASE, change(train="b"), change(train="c"))
    assert list(parse_lock(merged.text).stages) == ["acquire", "prepare"]
    assert merged.dropped == {"train": "both sides made it anew", "evaluate": "both sides made it anew"}


def test_a_record_that_read_what_the_other_side_replaced_is_to_be_made_again():
    """One side changed the data, and so all after it; the other one only the figures."""
    merged = merge_locks(BASE, change(prepare="b"), change(evaluate="c"))
    assert list(parse_lock(merged.text).stages) == ["acquire", "prepare", "train"]
    assert list(merged.dropped) == ["evaluate"]


def test_a_record_whose_input_nobody_vouches_for_any_more_is_to_be_made_again():
    """Both made `train` anew; a page that was made from main's model stayed the same on both sides."""
    page = {
        "cmd": "page",
        "deps": [{"path": "train.out", "hash": "md5", "md5": "aaa", "size": 1}],
        "outs": [],
    }

    def add_page(text: str) -> str:
        document = yaml.safe_load(text)
        document["stages"]["page"] = page
        return yaml.safe_dump(document, sort_keys=False)

    merged = merge_locks(*(add_page(text) for text in (BASE, change(train="b"), change(train="c"))))
    assert merged.dropped["page"] == "it read another train.out"
    assert "page" not in parse_lock(merged.text).stages


def test_a_stage_that_one_side_removed_stays_away_and_one_that_it_added_comes():
    without = change(evaluate=None)
    assert merge_locks(BASE, without, BASE).text == without
    assert merge_locks(without, without, BASE).text == BASE
    assert merge_locks("", "", BASE).text == BASE


def test_a_stage_that_one_side_removed_and_the_other_changed_is_to_be_made_again():
    merged = merge_locks(BASE, change(evaluate=None), change(evaluate="b"))
    assert list(merged.dropped) == ["evaluate"]


def test_a_lock_without_records_is_one_that_dvc_reads():
    merged = merge_locks("", change(acquire="b"), change(acquire="c"))
    assert list(merged.dropped) == list(STAGES)
    assert yaml.safe_load(merged.text) == {"schema": "2.0", "stages": {}}


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("text", ["<<<<<<< HEAD\nstages: {}\n=======\n>>>>>>> x\n", "stages: [1]\n", "\0"])
def test_a_text_that_is_no_lock_is_refused_with_its_side(text: str, place: int):
    texts = [BASE, BASE, BASE]
    texts[place] = text
    name = ("their common commit", "this side", "the other side")[place]
    with pytest.raises(LockfileError, match=f"dvc.lock of {name}"):
        merge_locks(*texts)


def test_a_lock_whose_records_were_all_dropped_is_merged_like_any_other():
    none = merge_locks(BASE, change(acquire="b"), change(acquire="c"))
    assert parse_lock(none.text).stages == {}
    theirs = change(acquire="c", evaluate="d")
    assert merge_locks(BASE, theirs, none.text).text == none.text
    assert merge_locks(none.text, none.text, theirs).text == theirs
    assert merge_locks(none.text, theirs, none.text).text == theirs
    assert take_record(none.text, BASE, "acquire") == change(prepare=None, train=None, evaluate=None)


@pytest.mark.parametrize(
    "write", [lambda text: text.replace("\n", "\r\n"), lambda text: f"\ufeff# by hand\n{text}", str.rstrip]
)
def test_how_an_editor_ends_lines_and_begins_a_file_is_no_difference(write: Callable[[str], str]):
    theirs = change(evaluate="b")
    for sides in (
        (BASE, write(BASE), theirs),
        (BASE, BASE, write(theirs)),
        (write(BASE), BASE, write(theirs)),
    ):
        assert parse_lock(merge_locks(*sides).text) == parse_lock(theirs)
        assert "\r" not in merge_locks(*sides).text


def test_two_formats_of_dvc_are_not_mixed():
    newer = change(train="b").replace("'2.0'", "'3.0'")
    with pytest.raises(LockfileError, match="let the side with the older one run"):
        merge_locks(BASE, BASE, newer)


VERSIONS = st.fixed_dictionaries(dict.fromkeys(STAGES, st.sampled_from(["a", "b", "c", None])))


@pytest.mark.slow
@given(base=VERSIONS, ours=VERSIONS, theirs=VERSIONS)
def test_a_merged_lock_holds_only_records_of_one_side_that_fit_each_other(
    base: Versions, ours: Versions, theirs: Versions
):
    merged = merge_locks(*(write_lock(each) for each in (base, ours, theirs)))
    lock = parse_lock(merged.text)
    sides = [parse_lock(write_lock(each)) for each in (ours, theirs)]
    for name, stage in lock.stages.items():
        assert stage in [side.stages.get(name) for side in sides]
        for path, digest in stage.deps.items():
            assert path.endswith(".py") or lock.find_digest(path) == digest
    assert not set(merged.dropped) & set(lock.stages)
    swapped = merge_locks(*(write_lock(each) for each in (base, theirs, ours)))
    assert parse_lock(swapped.text) == lock
