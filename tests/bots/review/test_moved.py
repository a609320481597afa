"""A holdout that moved: what is found out about its rows, on small tables; and whole reviews of a small project."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from msgspec import structs

from bots import evidence
from bots.dvc.command_line import DvcError
from bots.dvc.lockfile import Lock, LockedStage
from bots.dvc.repro import Reproduction
from bots.evidence import MovedHoldout, Part, SplitReport
from bots.review import moved
from bots.review.champion import ChampionTampered, ChampionUnavailable
from bots.review.facts import Candidate, Compared, Facts, Reports, Side
from bots.review.moved import look_at_moved_holdout
from bots.review.review import _look_at_moved
from bots.verdict.comparison import Comparison
from fixtures import simulated, small
from fixtures.small import Small

SPLITS = "data/splits"


@dataclass
class Bench:
    """Tables of both sides in folders; `scored` is what this change's model says of main's holdout."""

    folder: Path
    side: Side
    candidate: Candidate
    scored: dict[str, float] = field(default_factory=dict)
    error: Exception | None = None
    truth: dict[str, tuple[float, float]] = field(default_factory=dict)

    def fetch_splits(self) -> tuple[Path, Path]:
        if self.error is not None:
            raise self.error
        return self.folder / "main/train.parquet", self.folder / "main/holdout.parquet"

    def look(self) -> moved.Moved:
        return look_at_moved_holdout(
            self.folder / "change", self.candidate, self, load_truth=self.load_truth, tell=lambda _: None,  # type: ignore[arg-type]
        )  # fmt: skip

    def load_truth(self) -> pa.Table:
        rows = list(self.truth)
        target, score = ([self.truth[row][at] for row in rows] for at in (0, 1))
        return pa.table({"row": rows, "target": target, "score": score})


def write_rows(path: Path, rows: dict[str, float], **more: Any) -> None:
    """A table of rows by name with one input; the target is whether that is above zero."""
    path.parent.mkdir(parents=True, exist_ok=True)
    late = [value > 0 for value in rows.values()]
    pq.write_table(pa.table({"row": list(rows), "x": list(rows.values()), "late": late, **more}), path)


def make_split(rows: int, digit: str) -> SplitReport:
    part = Part(name="holdout", rows=rows, digest=f"sha256:{digit * 64}")
    return SplitReport(by="time", parts=[part], unlabelled=0)


def make_side(split: SplitReport, *, outs: tuple[str, ...] = (SPLITS,)) -> dict[str, Any]:
    training = evidence.TrainingReport(
        task="classification", estimator="any", parameters={}, steps=[], inputs=["x"], rows=3, seed=1,
        data="sha256:" + "1" * 64, environment={},
    )  # fmt: skip
    metrics = evidence.MetricsReport(
        task="classification", primary="roc_auc", values={"roc_auc": 0.75}, rows=2, holdout="sha256:" + "0" * 64,
        metrics=[evidence.Metric(name="roc_auc", value=0.75, direction="higher")], slices=[], calibration=[],
    )  # fmt: skip
    stage = LockedStage(command="split", deps={}, params={}, outs=dict.fromkeys(outs, "md5:" + "2" * 32))
    return {
        "settings": simulated.make_policy(),
        "lock": Lock({"split": stage}),
        "reports": Reports(split=split, training=training, metrics=metrics),
    }


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """Main trained on a, b, c and judged on d, e; the change trains on c, d and judges on e, f, g."""
    main, change = tmp_path / "main", tmp_path / "change" / SPLITS
    write_rows(main / "train.parquet", {"a": 1.0, "b": -2.0, "c": 3.0})
    write_rows(main / "holdout.parquet", {"d": 4.0, "e": -5.0})
    write_rows(change / "train.parquet", {"c": 3.0, "d": 4.0})
    write_rows(change / "holdout.parquet", {"e": -5.0, "f": 6.0, "g": -7.0})
    candidate = Candidate(
        commit="c" * 40, dirty=[], committed=Lock(), claimed=None, reproduction=Reproduction({}), refusal=None,
        writers={}, **make_side(make_split(3, "1")),
    )  # fmt: skip
    side = Side(commit="a" * 40, **make_side(make_split(2, "0")))
    return Bench(tmp_path, side, candidate, truth={"d": (1.0, 0.9), "e": (0.0, 0.2)})


def test_rows_that_main_was_not_trained_on_judge_and_those_it_was_chosen_on_are_counted(bench: Bench) -> None:
    found = bench.look()
    assert (found.found.rows, found.found.trained_on, found.found.shared) == (3, 0, 1)
    assert (found.found.training_rows, found.found.failure, found.judging) == (3, None, None)
    assert found.found.old is not None
    assert (found.found.old.trained_on, found.found.old.candidate) == (1, None)
    assert found.found.old.champion == 0.75


@pytest.mark.parametrize(
    "row", [{"b": -70.0}, {"z": -2.0}], ids=["the same name", "the same content under another name"]
)
def test_a_row_that_main_was_trained_on_is_left_out(bench: Bench, row: dict[str, float]) -> None:
    rows = {"e": -5.0, "f": 6.0, "g": -7.0, **row}
    write_rows(bench.folder / "change" / SPLITS / "holdout.parquet", rows)
    found = bench.look()
    assert (found.found.rows, found.found.trained_on) == (4, 1)
    assert found.judging is not None
    assert found.judging.to_pylist() == ["e", "f", "g"]


def test_a_holdout_that_main_was_mostly_trained_on_is_not_cut_down_to_a_rest(bench: Bench) -> None:
    write_rows(bench.folder / "change" / SPLITS / "holdout.parquet", {"a": 1.0, "b": -2.0, "f": 6.0})
    found = bench.look()
    assert (found.found.trained_on, found.judging) == (2, None)


def test_columns_that_a_change_renames_hide_no_row(bench: Bench) -> None:
    """Where main's input is not there, rows are told apart by the columns that are: more are alike, never fewer."""
    table = pa.table({"row": ["p", "q"], "y": [1.0, -2.0], "late": [True, False]})
    pq.write_table(table, bench.folder / "change" / SPLITS / "holdout.parquet")
    assert bench.look().found.trained_on == 2


def name_target(bench: Bench, target: str) -> None:
    settings = bench.side.settings
    data = structs.replace(settings.data, target=target)
    bench.side = replace(bench.side, settings=structs.replace(settings, data=data))


def test_a_model_of_another_table_is_not_held_against_this_one_although_both_number_their_rows(
    bench: Bench,
) -> None:
    name_target(bench, "late")
    holdout = bench.folder / "change" / SPLITS / "holdout.parquet"
    pq.write_table(pa.table({"row": ["a", "b"], "bill": [1.0, 2.0], "sex": ["f", "m"]}), holdout)
    with pytest.raises(ChampionUnavailable) as raised:
        _look_at_moved(bench.folder / "change", bench.candidate, bench, lambda _: None)  # type: ignore[arg-type]
    assert str(raised.value) == (
        "it is one of another table: data/splits/holdout.parquet has neither its target late nor any of its inputs "
        "(x). A person decides by this change's own figures"
    )


@pytest.mark.parametrize("kept", ["x", "late"])
def test_a_table_that_keeps_an_input_or_the_target_is_the_same_table(bench: Bench, kept: str) -> None:
    name_target(bench, "late")
    holdout = bench.folder / "change" / SPLITS / "holdout.parquet"
    pq.write_table(pa.table({"row": ["a", "b"], kept: [1.0, 0.0], "new": [1.0, 2.0]}), holdout)
    moved.refuse_another_table(bench.folder / "change", bench.candidate, bench.side)


def test_how_the_change_does_on_mains_holdout_is_measured_where_it_was_not_trained_on_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_rows(bench.folder / "change" / SPLITS / "train.parquet", {"a": 1.0, "c": 3.0})
    scored = pa.table({"row": ["e", "d"], "score": [0.8, 0.3]})
    monkeypatch.setattr(moved, "score_rows", lambda *_: scored)
    old = bench.look().found.old
    assert old is not None
    assert (old.trained_on, old.champion, old.candidate) == (0, 0.75, 0.0)


def test_a_few_rows_that_are_like_a_training_row_by_nature_do_not_end_the_look_at_mains_holdout(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = {f"d{number}": float(number) for number in range(1, 200)}
    write_rows(bench.folder / "main/holdout.parquet", rows)
    write_rows(bench.folder / "change" / SPLITS / "train.parquet", {"other": 7.0})
    bench.truth = {row: (float(value % 2), 0.5) for row, value in rows.items()}
    scored = pa.table({"row": list(rows), "score": [0.5] * len(rows)})
    monkeypatch.setattr(moved, "score_rows", lambda *_: scored)
    old = bench.look().found.old
    assert old is not None
    assert (old.trained_on, old.candidate) == (1, 0.5)

    write_rows(bench.folder / "change" / SPLITS / "train.parquet", {"d7": -7.0})
    old = bench.look().found.old
    assert old is not None
    assert (old.trained_on, old.candidate) == (1, None), "a row by its own name is no chance"


def test_a_change_that_cannot_score_mains_holdout_says_so_and_is_judged_all_the_same(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise DvcError("no column x")

    write_rows(bench.folder / "change" / SPLITS / "train.parquet", {"a": 1.0, "c": 3.0})
    monkeypatch.setattr(moved, "score_rows", fail)
    found = bench.look().found
    assert found.failure is None
    assert found.old is not None
    assert (found.old.candidate, found.old.note) == (None, "no column x")


def lose_the_training_table(bench: Bench) -> None:
    lock = make_side(make_split(2, "0"), outs=("data/other",))["lock"]
    bench.side = replace(bench.side, lock=lock)


def lose_the_stored_table(bench: Bench) -> None:
    bench.error = ChampionUnavailable("main's data/splits cannot be had: not in the cache here")


def lose_the_file(bench: Bench) -> None:
    (bench.folder / "main/train.parquet").unlink()


def break_the_table(bench: Bench) -> None:
    (bench.folder / "main/train.parquet").write_bytes(b"PAR1 no more")


def take_the_names_away(bench: Bench) -> None:
    pq.write_table(pa.table({"x": [1.0], "late": [True]}), bench.folder / "main/train.parquet")


def describe_no_holdout(bench: Bench) -> None:
    bench.side = replace(bench.side, reports=Reports(metrics=bench.side.reports.metrics))


UNKNOWN = {
    lose_the_training_table: "main's dvc.lock names no data/splits/train.parquet",
    lose_the_stored_table: "main's data/splits cannot be had",
    lose_the_file: "main's train.parquet is not among what its dvc.lock names",
    break_the_table: "train.parquet: not a readable Parquet table",
    take_the_names_away: "train.parquet: no column `split:row` or `row` that names each row",
    describe_no_holdout: "main's reports/split.json names no holdout",
}


@pytest.mark.parametrize("spoil", UNKNOWN, ids=lambda one: one.__name__)
def test_where_nobody_can_tell_it_says_what_is_missing(bench: Bench, spoil: Any) -> None:
    spoil(bench)
    found = bench.look()
    assert found.judging is None
    assert found.found.failure is not None
    assert UNKNOWN[spoil] in found.found.failure


def test_a_training_table_that_somebody_replaced_is_tampering(bench: Bench) -> None:
    bench.error = ChampionTampered(
        "the stored data/splits of main is not the file that main's dvc.lock names"
    )
    with pytest.raises(ChampionTampered):
        bench.look()


@pytest.mark.parametrize(
    ("found", "counted"),
    [
        (MovedHoldout(before=None, after=None, rows=3), {"1"}),
        (MovedHoldout(before=None, after=None, rows=3, shared=1), {"0", "1"}),
        (MovedHoldout(before=None, after=None, rows=3, failure="no"), {"0", "1"}),
    ],
    ids=["no row of main's", "some of main's rows", "nobody knows"],
)
def test_the_looks_at_mains_holdout_count_where_rows_are_shared(
    bench: Bench, found: MovedHoldout, counted: set[str]
) -> None:
    nothing = Comparison(
        metrics=[], slices=[],
        statistics=evidence.Statistics(rows=3, confidence=0.95, resampled="rows", units=3, slices_judged=0),
    )  # fmt: skip
    facts = Facts(
        candidate=bench.candidate, champion=bench.side, result=Compared(comparison=nothing, moved=found)
    )
    assert facts.counted_holdouts == {f"sha256:{digit * 64}" for digit in counted}


# --- whole reviews


@pytest.fixture(scope="module")
def main(tmp_path_factory: pytest.TempPathFactory) -> Small:
    return small.make_trained_project(tmp_path_factory.mktemp("main"))


@pytest.fixture
def change(main: Small, tmp_path: Path) -> Small:
    return small.copy_project(main, tmp_path)


def move(change: Small, **bounds: list[str]) -> None:
    change.edit(lambda params: params["split"].update(bounds))


@pytest.mark.slow
def test_a_retrain_on_later_rows_is_judged_on_the_new_holdout_and_the_next_change_on_the_same(
    change: Small,
) -> None:
    move(change, train=["2025-03-01", "2025-08-01"], holdout=["2025-08-01", "2025-12-01"],
         production=["2025-12-01", "2026-01-01"])  # fmt: skip
    change.edit(lambda params: params["features"].update(numeric=["x1", "x2"]))
    change.commit("Retrain on later rows")
    review = change.review(expect=0)

    assert (review["verdict"], review["reason"]) == ("improved", "primary-improved")
    found = review["moved"]
    assert found["failure"] is None
    assert found["trained_on"] < 0.02 * found["rows"], (
        "a few have a group, a reading and an outcome by chance"
    )
    assert found["rows"] - found["trained_on"] == review["statistics"]["rows"]
    assert 0 < found["shared"] < found["rows"], "August to October judged main's model"
    assert found["old"]["trained_on"] > 0
    assert found["old"]["candidate"] is None
    assert review["notes"][0].startswith("This change moves the holdout (2025-06-01 to 2025-10-31 ")
    comment = (change.folder / "review/review.md").read_text()
    above = comment.partition("<details>")[0]
    assert "moves the holdout" in above
    assert "split.holdout" in above, "the edit of params.yaml stands above the folds"
    assert "no comparison there" in comment

    change.commit("Reproduce")
    change.git("checkout", "--quiet", "main")
    change.git("merge", "--quiet", "--ff-only", "change")
    change.git("checkout", "--quiet", "-b", "next")
    change.edit(lambda params: params["features"].update(numeric=["x1"]))
    following = change.review(expect=20)
    assert following["moved"] is None
    assert (
        following["candidate"]["holdout"]
        == review["candidate"]["holdout"]
        == following["champion"]["holdout"]
    )


@pytest.mark.slow
def test_rows_that_main_was_trained_on_are_left_out_and_a_rest_is_not_judged(change: Small) -> None:
    change.edit(lambda params: params["features"].update(numeric=["x1", "x2"]))
    move(change, train=["2025-01-01", "2025-05-01"], holdout=["2025-05-01", "2025-11-01"])
    review = change.review(expect=0)
    found = review["moved"]
    assert 0 < found["trained_on"] < found["rows"] / 2
    assert review["statistics"]["rows"] == found["rows"] - found["trained_on"]
    assert review["evaluation"]["rows"] == found["rows"]
    assert found["old"]["trained_on"] == 0
    assert found["old"]["candidate"] is not None
    baseline = next(rule for rule in review["rules"] if rule["rule"] == "baseline")
    assert f"{found['trained_on']:,} others are left out" in baseline["message"]

    move(change, train=["2025-06-01", "2025-11-01"], holdout=["2025-01-01", "2025-06-01"])
    review = change.review(expect=22)
    assert (review["verdict"], review["reason"]) == ("not comparable", "holdout-trained-on")
    assert "Main's model was trained on" in review["headline"]


def fit_the_holdout_too(change: Small) -> None:
    code = change.folder / "pipeline" / "train.py"
    code.write_text(
        code.read_text().replace(
            "    frame = files.read_table(TRAIN)\n",
            "    import pandas as pd\n\n"
            "    judging = files.read_table(files.FEATURES / 'holdout.parquet')\n"
            "    frame = pd.concat([files.read_table(TRAIN), judging], ignore_index=True)\n",
        )
    )


def feed_the_holdout(change: Small) -> None:
    code = change.folder / "pipeline" / "features.py"
    code.write_text(
        code.read_text().replace(
            "    report = build_report(",
            "    import pandas as pd\n\n"
            "    built['train'] = pd.concat([built['train'], built['holdout']], ignore_index=True)\n"
            "    report = build_report(",
        )
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("attack", "expect", "reason"),
    [(fit_the_holdout_too, 22, "holdout-perhaps-fitted"), (feed_the_holdout, 21, "holdout-in-training")],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_holdout_that_moved_to_rows_which_the_change_trained_on_does_not_pass(
    change: Small, attack: Callable[[Small], None], expect: int, reason: str
) -> None:
    move(change, holdout=["2025-08-01", "2025-12-01"], production=["2025-12-01", "2026-01-01"])
    attack(change)
    change.commit("Judge on later rows")
    review = change.review(expect=expect)
    assert (review["reason"], review["passed"]) == (reason, False)
    assert review["moved"]["failure"] is None
    assert len(review["notes"]) >= 2
    assert "moves the holdout" in review["notes"][0]
    assert "edits what judges or feeds the model" in review["notes"][1]
