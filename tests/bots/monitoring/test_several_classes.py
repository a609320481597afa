"""The watch over a model of several classes: who is called what, what came of it, and what only labels can tell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from msgspec import structs

from bots import evidence
from bots.evidence import ColumnProfile, DataReport, FeaturesReport
from bots.monitoring import week
from bots.monitoring.column_distances import CALLED, ReferenceDistances
from bots.monitoring.drift import judge_drift
from bots.monitoring.label_sources import LabelsError
from bots.monitoring.labels import convert_classes, load_classes
from bots.monitoring.outcomes import UNKNOWN, OutcomeCount
from bots.monitoring.performance import Restart, judge_performance
from bots.monitoring.reference import Reference, build_reference
from bots.monitoring.summaries import SummaryError, sum_outcomes, summarize_file
from bots.monitoring.summary_spec import SummarySpec, build_spec
from bots.observations import DayInputs, DayOutcomes
from bots.stats.metrics import Context, compute_value
from fixtures.several_classes import make_class_policy
from fixtures.watched import name_day

VERSION, ONNX = "v1.0.0", "sha256:" + "cd" * 32
NAMES = ("a", "b", "c")
ROWS = 60


def make_settings(**gate: Any) -> Any:
    base = make_class_policy(**gate)
    return structs.replace(
        base,
        evaluate=structs.replace(
            base.evaluate, metrics=["log_loss", "brier", "accuracy", "balanced_accuracy"]
        ),
        gate=structs.replace(base.gate, resample="seen"),
    )


def draw_rows(
    count: int, seed: int, *, skill: float = 2.0, shares: Any = (0.5, 0.3, 0.2), known: Any = None
) -> tuple[Any, Any]:
    """Classes and probabilities that mean what they say, where a model's skill is the `known` one."""
    random = np.random.default_rng(seed)
    target = random.choice(3, count, p=shares).astype(np.float64)
    seen = random.normal(size=(count, 3)) + skill * np.eye(3)[target.astype(int)]
    weights = np.exp((known or skill) * seen) * np.array((0.5, 0.3, 0.2))
    return target, weights / weights.sum(axis=1, keepdims=True)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Reference, SummarySpec]:
    folder = tmp_path_factory.mktemp("several")
    (folder / "reports").mkdir()
    (folder / "reports/features.json").write_bytes(evidence.encode(FeaturesReport(features=[])))
    target, score = draw_rows(30 * ROWS, seed=1)
    days = [name_day(at // ROWS) for at in range(len(target))]
    pq.write_table(
        pa.table(
            {
                "row": [f"h{at}" for at in range(len(target))],
                "target": [NAMES[int(code)] for code in target],
                **{f"score:{name}": score[:, at] for at, name in enumerate(NAMES)},
                "slice:seen": days,
            }
        ),
        folder / "reports/predictions.parquet",
    )
    found = build_reference(folder, make_settings(), version=VERSION, onnx=ONNX)
    features = evidence.load(folder / "reports/features.json", FeaturesReport)
    spec = build_spec(
        make_settings(), features, None, edges=found.edges, loss=found.loss, classes=found.classes
    )
    return folder, found, spec


def make_log(day: int, target: Any, score: Any, *, label: bool) -> pa.RecordBatch:
    called = score.argmax(axis=1)
    columns: dict[str, Any] = {
        "prediction:id": [f"{day}-{at}" for at in range(len(target))],
        "prediction:time": [f"{name_day(day)}T10:00:00Z"] * len(target),
        "prediction:version": [VERSION] * len(target),
        "prediction:onnx": [ONNX] * len(target),
        "prediction:score": score.max(axis=1),
        "prediction:label": [NAMES[code] for code in called],
        "prediction:warnings": [""] * len(target),
        **{f"prediction:score:{name}": score[:, at] for at, name in enumerate(NAMES)},
    }
    if label:
        columns["label"] = target
    return pa.RecordBatch.from_pydict(columns)


def watch_day(spec: SummarySpec, day: int, **drawn: Any) -> DayOutcomes:
    count = OutcomeCount(spec, NAMES)
    count.add_batch(make_log(day, *draw_rows(ROWS, seed=100 + day, **drawn), label=True))
    return count.close_outcomes(day=name_day(day), version=VERSION, onnx=ONNX, mature=True)


def ask_day(folder: Path, spec: SummarySpec, day: int, **drawn: Any) -> DayInputs:
    path = folder / f"log-{day}.parquet"
    batch = make_log(day, *draw_rows(ROWS, seed=200 + day, **drawn), label=False)
    pq.write_table(pa.Table.from_batches([batch]), path)
    return summarize_file(path, spec).days[name_day(day)]


def test_the_reference_has_the_review_s_own_figures(reference: Any) -> None:
    folder, found, _ = reference
    table = pq.read_table(folder / "reports/predictions.parquet")
    target = np.array([float(NAMES.index(name)) for name in table["target"].to_pylist()])
    score = np.stack([table[f"score:{name}"].to_numpy() for name in NAMES], axis=1)
    for name, key in (("log_loss", "log_loss"), ("brier", "brier"), ("accuracy", "target")):
        wanted = compute_value(name, target, score, Context(classes=NAMES))
        assert found.find_mean(key) == pytest.approx(wanted), name
    assert found.classes == list(NAMES)
    assert found.called is not None
    assert np.sum(found.called.rows) == 30 * ROWS
    assert {value for day in found.outcomes for value in day.slices["species"]} == set(NAMES)
    assert any("only the share of rows that are called rightly" in note for note in found.notes)


def test_a_class_that_is_called_more_often_is_change(reference: Any, tmp_path: Path) -> None:
    _, found, spec = reference
    same = ask_day(tmp_path, spec, 31)
    assert sum(same.called.values()) == ROWS
    ranks = {one.column: one for one in ReferenceDistances(found).rank_day(same)}
    assert ranks[CALLED].distance <= np.quantile(ranks[CALLED].others, 0.98)
    days = [ask_day(tmp_path, spec, at, shares=(0.1, 0.1, 0.8)) for at in range(31, 51)]
    judged = judge_drift(
        days, found, None, make_settings(), restart=Restart(day=name_day(31), why=""), complete=name_day(60)
    )
    assert any(rank.column == CALLED and rank.named for rank in judged.ranks)
    assert any("which classes rows are called" in finding.words for finding in judged.findings)


def test_a_model_that_is_as_it_was_raises_nothing_and_a_worse_one_does(reference: Any) -> None:
    _, found, spec = reference
    restart = Restart(day=name_day(31), why="")
    quiet = judge_performance(
        [watch_day(spec, at) for at in range(31, 71)], [], found, make_settings(), restart=restart
    )
    assert [one for one in quiet.findings if one.level == "alarm"] == []
    assert {series.name for series in quiet.series} >= {
        "log_loss",
        "brier",
        "accuracy",
        "predicted",
        "observed",
    }
    worse = judge_performance(
        [watch_day(spec, at, skill=0.3, known=2.0) for at in range(31, 71)],
        [],
        found,
        make_settings(),
        restart=restart,
    )
    words = [one.words for one in worse.findings if one.level == "alarm"]
    assert any(line.startswith("The log loss is") for line in words)


def test_a_model_that_is_surer_than_right_is_told_so(reference: Any) -> None:
    _, found, spec = reference
    days = []
    for at in range(31, 71):
        target, score = draw_rows(ROWS, seed=at, skill=0.8)
        sharp = score**3 / (score**3).sum(axis=1, keepdims=True)
        count = OutcomeCount(spec, NAMES)
        count.add_batch(make_log(at, target, sharp, label=True))
        days.append(count.close_outcomes(day=name_day(at), version=VERSION, onnx=ONNX, mature=True))
    judged = judge_performance(days, [], found, make_settings(), restart=Restart(day=name_day(31), why=""))
    assert any(
        "Predictions are too sure: the largest probability was" in one.words for one in judged.findings
    )


def test_a_class_that_the_model_does_not_know_is_always_a_wrong_answer(reference: Any) -> None:
    _, _, spec = reference
    target, score = draw_rows(ROWS, seed=5)
    count = OutcomeCount(spec, ("new", *NAMES))
    count.add_batch(make_log(31, np.where(target == 0, 0, target + 1), score, label=True))
    found = count.close_outcomes(day=name_day(31), version=VERSION, onnx=ONNX)
    right = ((score.argmax(axis=1) == target) & (target != 0)).sum()
    assert found.sums["target"] == right
    assert found.slices["species"][UNKNOWN].rows == (target == 0).sum()
    assert np.isfinite(found.sums["log_loss"])


def test_of_a_personal_target_nothing_is_counted_by_class(reference: Any, tmp_path: Path) -> None:
    folder, found, _ = reference
    features = evidence.load(folder / "reports/features.json", FeaturesReport)
    target = make_settings().data.target
    column = ColumnProfile(name=target, type="category", missing=0.0, distinct=3, personal=True)
    data = DataReport(passed=True, rows=9, checks=1, findings=[], columns=[column])
    spec = build_spec(
        make_settings(), features, data, edges=found.edges, loss=found.loss, classes=found.classes
    )
    outcomes = watch_day(spec, 0)
    assert outcomes.labelled == ROWS
    assert target not in outcomes.slices
    assert outcomes.confusion == {}
    assert ask_day(tmp_path, spec, 0).called == {}
    kept = summarize_file(tmp_path / "log-0.parquet", spec).samples[name_day(0)]
    assert "prediction:label" not in kept.column_names
    assert week.build_table([kept], spec).column_names == ["prediction:score"]


def test_the_week_s_table_has_the_class_that_was_called_and_not_the_fallback_s(
    reference: Any, tmp_path: Path
) -> None:
    _, _, spec = reference
    score = draw_rows(4, seed=5)[1]
    batch = make_log(0, np.zeros(4), score, label=False)
    batch = batch.append_column("prediction:fallback", pa.array([False, True, False, False]))
    pq.write_table(pa.Table.from_batches([batch]), tmp_path / "log.parquet")
    kept = summarize_file(tmp_path / "log.parquet", spec).samples[name_day(0)]
    found = week.build_table([kept], spec)
    called = [NAMES[code] for code in score.argmax(axis=1)]
    assert sorted(found["prediction:label"].drop_null().to_pylist()) == sorted([called[0], *called[2:]])
    assert found["prediction:score"].null_count == found["prediction:label"].null_count == 1


def test_labels_are_the_names_of_classes() -> None:
    column = pa.array(["a", " b ", None, "z", ""])
    assert convert_classes(column, NAMES).tolist()[:2] == [0, 1]
    assert np.isnan(convert_classes(column, NAMES)[2:]).all()
    assert convert_classes(pa.array([1, 2, None]), ("1", "2"))[:2].tolist() == [0, 1]


def test_without_the_names_of_the_classes_no_label_can_be_read(tmp_path: Path) -> None:
    with pytest.raises(LabelsError, match=r"split.json: classes: expected the names"):
        load_classes(make_settings().data, tmp_path)


def test_a_log_without_each_class_s_probability_is_left_and_named(reference: Any, tmp_path: Path) -> None:
    _, _, spec = reference
    batch = make_log(31, *draw_rows(ROWS, seed=1), label=False)
    path = tmp_path / "log.parquet"
    pq.write_table(pa.Table.from_batches([batch]).drop_columns(["prediction:score:b"]), path)
    with pytest.raises(SummaryError, match="it has no prediction:score:b"):
        summarize_file(path, spec)


def make_guarded(**gate: Any) -> Any:
    """Settings with means over classes in the gate."""
    base = make_settings(**gate)
    names = ["log_loss", "accuracy", "balanced_accuracy", "f1_macro", "recall:c", "roc_auc_ovr"]
    return structs.replace(base, evaluate=structs.replace(base.evaluate, metrics=names))


def call_rarely(day: int, spec: SummarySpec, name: str) -> DayOutcomes:
    """A day of a model that does not find one class any more, and is as it was with all others."""
    target, score = draw_rows(ROWS, seed=100 + day)
    at = NAMES.index(name)
    score[:, at] /= 30
    count = OutcomeCount(spec, NAMES)
    count.add_batch(make_log(day, target, score / score.sum(axis=1, keepdims=True), label=True))
    return count.close_outcomes(day=name_day(day), version=VERSION, onnx=ONNX, mature=True)


def test_a_day_counts_what_was_called_what_and_days_add_up(reference: Any) -> None:
    _, found, spec = reference
    days = [watch_day(spec, at) for at in range(31, 34)]
    whole = sum_outcomes(days)
    assert whole is not None
    assert sum(sum(row.values()) for row in whole.confusion.values()) == 3 * ROWS
    assert sum(whole.confusion[name].get(name, 0) for name in NAMES) == whole.sums["target"]
    assert {name: sum(row.values()) for name, row in whole.confusion.items()} == {
        name: one.rows for name, one in whole.slices["species"].items()
    }
    assert sum(sum(row.values()) for day in found.outcomes for row in day.confusion.values()) == 30 * ROWS


def test_means_over_classes_are_drawn_week_by_week_beside_the_review_s(reference: Any) -> None:
    folder, found, spec = reference
    judged = judge_performance(
        [watch_day(spec, at) for at in range(31, 60)],
        [],
        found,
        make_guarded(),
        restart=Restart(day=name_day(31), why=""),
    )
    table = pq.read_table(folder / "reports/predictions.parquet")
    target = np.array([float(NAMES.index(name)) for name in table["target"].to_pylist()])
    score = np.stack([table[f"score:{name}"].to_numpy() for name in NAMES], axis=1)
    series = {one.name: one for one in judged.series}
    for name in ("balanced_accuracy", "f1_macro", "recall:c"):
        assert series[name].label.endswith(", week by week")
        assert series[name].reference == pytest.approx(
            compute_value(name, target, score, Context(classes=NAMES))
        )
        assert all(point.low < point.value < point.high for point in series[name].points)  # type: ignore[operator]
    assert "roc_auc_ovr" not in series


@pytest.mark.parametrize(
    ("primary", "guards", "alarms", "words"),
    [
        ("log_loss", ["f1_macro"], "f1_macro", "The macro F1 score is 0."),
        ("log_loss", ["recall:c"], "recall:c", "The recall of c is 0."),
        ("balanced_accuracy", [], "balanced_accuracy", "The balanced accuracy is 0."),
    ],
)
def test_a_class_that_is_lost_alarms_by_the_metric_that_guards_it(
    reference: Any, primary: str, guards: list[str], alarms: str, words: str
) -> None:
    _, found, spec = reference
    settings = make_guarded(
        primary=primary, guards=guards, matters=dict.fromkeys([primary, *guards], 0.01), slices=None
    )
    restart = Restart(day=name_day(31), why="")
    quiet = judge_performance(
        [watch_day(spec, at) for at in range(31, 71)], [], found, settings, restart=restart
    )
    assert f"guard: {alarms}" in {one.name for one in quiet.detectors}
    assert [one for one in quiet.findings if one.level == "alarm"] == []
    lost = judge_performance(
        [call_rarely(at, spec, "c") for at in range(31, 91)], [], found, settings, restart=restart
    )
    (finding,) = [one for one in lost.findings if one.subject == alarms and one.level == "alarm"]
    assert finding.words.startswith(words)
    assert "where the review's holdout had 0." in finding.words
    assert finding.found is not None
    assert finding.expected is not None
    assert finding.found < finding.expected - 0.05
