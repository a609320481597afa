"""Verifying a comparison on a holdout that moved: main's own tables and models say the same, or a person decides."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec import structs

from bots import evidence
from bots.evidence import MovedHoldout, Part, SplitReport, Verification
from fixtures import moved_reviews, verified_reviews
from fixtures.moved_reviews import LATER, OLD, ROWS, TRAINED, MovedBench, draw_rows, join, move_holdout, take
from fixtures.verified_reviews import PREDICTIONS, edit_report, edit_table

pytestmark = pytest.mark.slow

HALF = ROWS // 2


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> MovedBench:
    return moved_reviews.make_bench(tmp_path_factory.mktemp("bench"))


@pytest.fixture
def bench(original: MovedBench, tmp_path: Path) -> MovedBench:
    return moved_reviews.copy_bench(original, tmp_path / "bench")


def list_checks(found: Verification) -> dict[str, bool | None]:
    return {check.name: check.passed for check in found.checks}


def find_words(found: Verification, name: str) -> str:
    """What the check of that name says, which must be one that failed or could not look."""
    (check,) = (check for check in found.checks if check.name == name)
    assert check.passed is not True, list_checks(found)
    return check.words


def get_moved(bench: MovedBench) -> MovedHoldout:
    assert bench.review.moved is not None
    return bench.review.moved


def claim(bench: MovedBench, **fields: Any) -> None:
    """Let the review say something else of the holdout."""
    bench.review = structs.replace(bench.review, moved=structs.replace(get_moved(bench), **fields))


def test_an_honest_comparison_on_a_moved_holdout_comes_out_again(bench: MovedBench, tmp_path: Path) -> None:
    moved = get_moved(bench)
    assert (moved.rows, moved.trained_on, moved.shared, moved.training_rows) == (ROWS + HALF, 0, HALF, ROWS)
    assert (bench.review.verdict, bench.review.passed) == ("improved", True)

    found = bench.verify(tmp_path)
    assert found.outcome == "passed", found.words
    assert set(list_checks(found)) == {
        "pack", "main", "models", "holdout", "moved holdout", "labels", "inputs", "parity", "metrics",
        "explanation", "main's model", "evaluation", "comparison", "rules",
    }  # fmt: skip


def test_rows_that_main_was_trained_on_are_left_out_there_too(bench: MovedBench, tmp_path: Path) -> None:
    """Some of them under another name."""
    renamed = take(TRAINED, start=40, stop=60)
    renamed = {**renamed, "row": np.array([f"c9{number:03d}" for number in range(20)])}
    moved_reviews.write_splits(bench.main.folder, production=join(LATER, renamed))
    moved_reviews.finish_folder(bench.main.folder)
    bench.main.git("commit", "--quiet", "--all", "--message", "Deliver some rows twice")
    move_holdout(bench.change, join(OLD, LATER, renamed))
    bench.judge()
    assert (get_moved(bench).trained_on, get_moved(bench).judged) == (20, 2 * ROWS)

    found = bench.verify(tmp_path)
    assert found.outcome == "passed", found.words


def test_a_model_of_other_inputs_is_held_against_main_asked_about_its_own(
    bench: MovedBench, tmp_path: Path
) -> None:
    """The change's table of inputs lacks a column that main's model takes: main's record has it."""
    unused = "minute"

    def drop(columns: dict[str, Any]) -> None:
        del columns[unused]

    edit_table(bench.change / "data/features/holdout.parquet", drop)
    bench.repack()
    bench.judge()
    found = bench.verify(tmp_path)
    assert list_checks(found)["main's model"] is True
    assert list_checks(found)["comparison"] is True


# --- what a change can try


def test_rows_that_main_does_not_have_are_the_changes_own_word_and_ask_for_a_person(
    bench: MovedBench, tmp_path: Path
) -> None:
    """Fresh data: everything comes out, and still nobody but the change says what stands in these rows."""
    move_holdout(bench.change, join(LATER, draw_rows("d", 14)))
    bench.judge()
    assert bench.review.passed

    found = bench.verify(tmp_path)
    assert found.outcome == "could not"
    assert f"{ROWS:,} of the {2 * ROWS:,} rows of the new holdout are in no table of main's" in found.words
    others = {name: passed for name, passed in list_checks(found).items() if name != "holdout"}
    assert set(others.values()) == {True}, others


@pytest.mark.parametrize("rows", [4, 12, 40])
def test_a_handful_of_rows_lets_nothing_pass(bench: MovedBench, rows: int) -> None:
    """A better model is no better beyond chance on so few, and what it could lose is not tolerated."""
    move_holdout(bench.change, take(LATER, stop=rows))
    bench.judge()
    assert get_moved(bench).rows == rows
    assert not bench.review.passed
    assert bench.review.verdict in ("undecided", "not comparable", "blocked")


def bend_towards_the_prediction(columns: dict[str, Any]) -> None:
    columns["target"] = (columns["score"] > 0.5).astype(np.float64)


def test_targets_that_are_not_those_of_mains_tables_ask_for_a_person(
    bench: MovedBench, tmp_path: Path
) -> None:
    edit_table(bench.change / PREDICTIONS, bend_towards_the_prediction)
    verified_reviews.recompute_metrics(bench.change)
    bench.repack()
    bench.judge()
    assert bench.review.passed

    found = bench.verify(tmp_path)
    assert found.outcome == "could not"
    assert "another target than main's own tables say" in find_words(found, "holdout")


def test_mains_own_holdout_under_another_digest_is_refuted(bench: MovedBench, tmp_path: Path) -> None:
    """To have the looks counted anew."""
    move_holdout(bench.change, OLD)
    renamed = "sha256:" + "7" * 64
    split = evidence.load(bench.change / "reports/split.json", SplitReport)
    edit_report(bench.change, "split", parts=[structs.replace(split.parts[0], digest=renamed)])
    edit_report(bench.change, "metrics", holdout=renamed)
    bench.repack()
    bench.judge()
    assert get_moved(bench).rows == ROWS

    found = bench.verify(tmp_path)
    assert found.outcome == "refuted"
    assert "are those of main's holdout" in found.words


def test_a_holdout_that_moved_and_does_not_say_so_is_refuted(bench: MovedBench, tmp_path: Path) -> None:
    bench.review = structs.replace(bench.review, moved=None)
    found = bench.verify(tmp_path)
    assert found.outcome == "refuted"
    assert "that are not the 300 of main's holdout" in found.words


CLAIMS: dict[str, Callable[[MovedBench], None]] = {
    "rows, said 12, are 450": lambda bench: claim(bench, rows=12),
    "rows of main's holdout, said 0, are 150": lambda bench: claim(bench, shared=0),
    "rows that main's model was trained on, said 3, are 0": lambda bench: claim(bench, trained_on=3),
    "training rows of main, said 10, are 300": lambda bench: claim(bench, training_rows=10),
    "main's holdout is described otherwise": lambda bench: claim(
        bench, before=Part(name="holdout", rows=9, digest="sha256:" + "7" * 64)
    ),
    "the new holdout is described otherwise": lambda bench: claim(bench, after=None),
    "main's figure on its own holdout is not that of its metrics.json": lambda bench: claim(
        bench, old=evidence.OldHoldout(metric="log_loss", rows=ROWS, champion=9.0)
    ),
}


@pytest.mark.parametrize("words", CLAIMS)
def test_what_a_review_says_of_the_holdout_must_be_so(bench: MovedBench, tmp_path: Path, words: str) -> None:
    CLAIMS[words](bench)
    found = bench.verify(tmp_path)
    assert found.outcome == "refuted"
    assert words in find_words(found, "moved holdout")


def test_a_holdout_of_rows_that_main_was_trained_on_is_not_passed_off_as_comparable(
    bench: MovedBench, tmp_path: Path
) -> None:
    """The review leaves the training rows in, where main's model looks too good, or says that they are few."""
    moved_reviews.write_splits(bench.main.folder, production=join(TRAINED, LATER))
    moved_reviews.finish_folder(bench.main.folder)
    bench.main.git("commit", "--quiet", "--all", "--message", "Keep the training rows")
    move_holdout(bench.change, join(TRAINED, take(LATER, stop=HALF)), train=take(LATER, start=HALF))
    bench.judge()
    assert (bench.review.verdict, bench.review.reason) == ("not comparable", "holdout-trained-on")

    rules = [structs.replace(rule, passed=True) for rule in bench.review.rules]
    bench.review = structs.replace(bench.review, rules=rules, verdict="improved", passed=True)
    claim(bench, trained_on=0)
    found = bench.verify(tmp_path)
    assert found.outcome == "refuted"
    assert f"trained on, said 0, are {ROWS}" in find_words(found, "moved holdout")


@pytest.mark.parametrize("labels", ["one label for all", "a label for each row", "none"])
def test_labels_that_are_not_those_of_mains_rows_ask_for_a_person(
    bench: MovedBench, tmp_path: Path, labels: str
) -> None:
    """A slice that got worse is hidden, or units that belong together are taken apart."""

    def relabel(columns: dict[str, Any]) -> None:
        count = len(columns["row"])
        made = {"one label for all": ["all"] * count, "a label for each row": [f"{n}" for n in range(count)]}
        if labels in made:
            columns["slice:origin"] = made[labels]
        else:
            del columns["slice:origin"]

    edit_table(bench.change / PREDICTIONS, relabel)
    bench.repack()
    bench.judge()
    found = bench.verify(tmp_path)
    assert found.outcome == "could not"
    assert "labels of origin" in find_words(found, "labels")


def test_scores_of_main_that_its_model_does_not_give_do_not_come_out_again(
    bench: MovedBench, tmp_path: Path
) -> None:
    def worsen(one: evidence.MetricComparison) -> evidence.MetricComparison:
        assert one.champion is not None
        assert one.difference is not None
        by = 0.02 if one.direction == "lower" else -0.02
        return structs.replace(one, champion=one.champion + by, difference=one.difference - by)

    bench.review = structs.replace(bench.review, metrics=[worsen(one) for one in bench.review.metrics])
    found = bench.verify(tmp_path)
    assert found.outcome != "passed"
    assert "did not come out again: log_loss: champion" in find_words(found, "comparison")


@pytest.mark.parametrize("lost", ["models/onnx", "data/splits"])
def test_without_mains_model_or_training_rows_nobody_can_tell(
    bench: MovedBench, tmp_path: Path, lost: str
) -> None:
    digest = verified_reviews.load_lock(bench.main.folder).outputs[lost].removeprefix("md5:")
    (bench.main.folder / ".dvc/cache" / verified_reviews.cache.build_path(digest)).unlink()
    found = bench.verify(tmp_path)
    assert found.outcome == "could not"
    assert lost in found.words


def test_inputs_that_are_not_mains_ask_for_a_person(bench: MovedBench, tmp_path: Path) -> None:
    def shift(columns: dict[str, Any]) -> None:
        columns["hour"] = columns["hour"] + np.float32(0.5)

    edit_table(bench.change / "data/features/holdout.parquet", shift)
    bench.repack()
    bench.judge()
    found = bench.verify(tmp_path)
    assert found.outcome != "passed"
    assert "hour in 450 rows" in find_words(found, "inputs")
