"""Several classes through the pipeline: what is refused, what is written, and that each figure is scikit-learn's."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from bots import evidence
from bots.evidence import (
    DriftReport,
    ExplanationReport,
    ExportReport,
    FeaturesReport,
    MetricsReport,
    SplitReport,
    TrainingReport,
)
from bots.stats import metrics as stats
from fixtures import species
from fixtures.flights import Bench
from fixtures.species import CLASSES
from pipeline import __main__ as command
from pipeline import (
    class_metrics,
    classes,
    drift,
    evaluate,
    export,
    files,
    leakage,
    metrics,
    model,
    parity,
    search_jobs,
)
from pipeline.params import Costs
from pipeline.scored_rows import Rows
from serving.contract import load_contract
from serving.model import load_model

pytestmark = pytest.mark.filterwarnings("ignore::PendingDeprecationWarning", "ignore::DeprecationWarning")


@pytest.fixture
def bench(birds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """The made birds, with a model that is trained."""
    monkeypatch.chdir(tmp_path)
    return species.copy(birds, tmp_path)


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """The made birds as a raw table."""
    monkeypatch.chdir(tmp_path)
    return species.make_bench(tmp_path)


def refuse(bench: Bench, *stages: str) -> str:
    """Run stages of which the last one must stop, and give what it says."""
    for stage in stages[:-1]:
        assert bench.run(stage) == 0, bench.refusal()
    assert bench.run(stages[-1]) == 1
    return bench.refusal()


def test_the_classes_of_training_are_named_in_order_with_their_shares(bench: Bench) -> None:
    report = bench.evidence(SplitReport)
    train = report.find_part("train")
    rows = pd.read_parquet(files.SPLITS / "train.parquet")["species"]

    assert report.classes == CLASSES
    assert train.target is None
    assert train.classes == pytest.approx([(rows == name).mean() for name in CLASSES])
    assert report.find_part("production").classes == []


def test_the_predictions_have_a_probability_of_each_class(bench: Bench) -> None:
    found = pd.read_parquet(files.PREDICTIONS)

    assert list(found.columns) == ["row", "target", *(f"score:{name}" for name in CLASSES), "slice:island"]
    assert set(found["target"]) == set(CLASSES)
    scores = found[[f"score:{name}" for name in CLASSES]]
    assert (scores.dtypes == "float64").all()
    assert np.abs(scores.sum(axis=1) - 1).max() < 1e-6


def test_the_figures_are_those_of_the_predictions(bench: Bench) -> None:
    found, report = pd.read_parquet(files.PREDICTIONS), bench.evidence(MetricsReport)
    scores = found[[f"score:{name}" for name in CLASSES]].to_numpy()
    called = np.array(CLASSES)[scores.argmax(axis=1)]

    assert report.values["log_loss"] == pytest.approx(sk.log_loss(found["target"], scores))
    assert report.values["accuracy"] == (called == found["target"]).mean() > 0.85
    assert report.values["recall:Gentoo"] == report.classes[2].recall
    assert report.confusion == sk.confusion_matrix(found["target"], called).tolist()
    assert [figures.name for figures in report.classes] == CLASSES
    assert [figures.rows for figures in report.classes] == [sum(row) for row in report.confusion]
    assert [figures.predicted for figures in report.classes] == np.sum(report.confusion, axis=0).tolist()
    assert sum(one.rows for one in report.calibration) == report.rows
    assert {(one.value, one.target, one.prediction) for one in report.slices} == {
        (name, None, None) for name in ("Biscoe", "Dream", "Torgersen")
    }


def test_the_model_knows_its_classes_after_it_was_saved(bench: Bench) -> None:
    assert classes.get_names(model.load()) == CLASSES
    assert bench.evidence(TrainingReport).task == "multiclass"


def test_a_person_says_the_order_of_the_classes(fresh: Bench) -> None:
    order = ["Gentoo", "Adelie", "Chinstrap"]
    fresh.edit("params.data.classes", order)
    fresh.edit("params.model.estimator", {"use": "sklearn.naive_bayes.GaussianNB"})
    fresh.edit("params.features", {"numeric": ["depth", "mass"], "categorical": [], "derived": {}})
    for stage in species.STAGES:
        assert fresh.run(stage) == 0, fresh.refusal()

    found = pd.read_parquet(files.PREDICTIONS)
    called = np.array(order)[found[[f"score:{name}" for name in order]].to_numpy().argmax(axis=1)]
    assert list(found.columns[2:5]) == [f"score:{name}" for name in order]
    assert fresh.evidence(SplitReport).classes == order
    assert [one.name for one in fresh.evidence(MetricsReport).classes] == order
    assert (called == found["target"]).mean() > 0.7


@pytest.mark.parametrize(
    ("order", "said"),
    [
        (["Adelie", "Gentoo", "Emperor"], "'Chinstrap'"),
        ([*CLASSES, "Emperor"], "no training row is of the classes 'Emperor'"),
        ([*CLASSES, "Adelie"], "'Adelie' stands there more than once"),
        (["Adelie", "Gentoo"], "task: classification"),
    ],
)
def test_an_order_of_other_classes_is_refused(fresh: Bench, order: list[str], said: str) -> None:
    fresh.edit("params.data.classes", order)

    message = refuse(fresh, "split")
    assert "data.classes" in message
    assert said in message


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda y: y.replace("Chinstrap", "Gentoo"), "two classes in training"),
        (lambda y: y.where(y.index != 0, "Emperor"), "fewer than 2 rows in training: 'Emperor'"),
        (lambda y: pd.Series([f"kind {at % 101}" for at in range(len(y))]), "101 classes in training"),
        (lambda y: pd.Series("Adelie", y.index), "split.train: only one class of species"),
        (lambda y: y.replace("Gentoo", "G" * 181), "longer than 180 characters"),
    ],
)
def test_labels_that_are_no_several_classes_are_refused_with_what_to_do(
    fresh: Bench, change: Any, said: str
) -> None:
    raw = species.make_rows()
    # Each row twice under another name, so that both sides of the split have each of many classes.
    fresh.keep(raw.assign(species=change(raw["species"])))
    fresh.edit("params.split.holdout_share", 0.1)

    assert said in refuse(fresh, "split")


def test_a_class_that_only_the_holdout_has_is_refused_by_its_name(fresh: Bench) -> None:
    assert fresh.run("split") == 0
    held = pd.read_parquet(files.SPLITS / "holdout.parquet")["id"].head(5)
    raw = species.make_rows()
    fresh.keep(raw.assign(species=raw["species"].mask(raw["id"].isin(held), "Emperor")))

    message = refuse(fresh, "split")
    assert "'Emperor' (5 rows)" in message
    assert "split.train" in message


def test_whole_numbers_are_classes_and_fractions_are_none(fresh: Bench) -> None:
    raw = species.make_rows()
    grade = raw["species"].map({"Adelie": 1, "Chinstrap": 2, "Gentoo": 10})
    fresh.edit("schema.columns.species", {"type": "number", "known": "after", "nullable": True})
    fresh.keep(raw.assign(species=grade.astype(float).where(raw.index % 50 != 0)))
    assert fresh.run("split") == 0, fresh.refusal()
    assert fresh.evidence(SplitReport).classes == ["1", "10", "2"]
    assert fresh.evidence(SplitReport).unlabelled == 30

    fresh.keep(raw.assign(species=grade + 0.5))
    assert "data.task: regression" in refuse(fresh, "split")


def test_a_table_of_two_labels_is_told_before_it_is_split(fresh: Bench) -> None:
    raw = species.make_rows()
    fresh.keep(raw.assign(species=raw["species"].replace("Gentoo", "Adelie")))

    assert fresh.run("validate") == 1
    assert "`positive: 'Chinstrap'`" in " ".join(found.message for found in fresh.errors())


def test_a_classification_of_three_labels_is_told_of_the_task_of_several_classes(fresh: Bench) -> None:
    fresh.edit("params.data.task", "classification")

    assert "data.task: multiclass" in refuse(fresh, "split")


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("evaluate.threshold", 0.5, "there is no threshold: say null"),
        ("evaluate.costs", {"currency": "USD", "true_positive": 1.0}, "are for the task classification"),
        ("evaluate.metrics", ["roc_auc"], "no metric 'roc_auc' for a multiclass; there are log_loss"),
        ("evaluate.metrics", ["recall:Emperor"], "no class 'Emperor'; the classes are 'Adelie'"),
        ("data.positive", "Gentoo", "only a classification has a label that counts as yes"),
        ("model.estimator.use", "sklearn.linear_model.Ridge", "is no classifier"),
    ],
)
def test_settings_of_another_task_are_refused(bench: Bench, key: str, value: Any, said: str) -> None:
    if key == "model.estimator.use":
        bench.edit("params.model.estimator.params", {})
    bench.edit(f"params.{key}", value)

    assert said in refuse(bench, "evaluate" if key.startswith("evaluate") else "train")


def test_a_matrix_says_what_each_decision_is_worth(bench: Bench) -> None:
    matrix = {"Adelie": {"Adelie": 1.0}, "Gentoo": {"Gentoo": 2.0, "Adelie": -5.0}}
    bench.edit("params.evaluate.costs", {"currency": "USD", "matrix": matrix})
    bench.edit("params.evaluate.metrics", ["log_loss", "value"])
    assert bench.run("evaluate") == 0, bench.refusal()
    report = bench.evidence(MetricsReport)
    counts = np.array(report.confusion)

    worth = counts[0, 0] * 1.0 + counts[2, 2] * 2.0 - counts[2, 0] * 5.0
    assert report.values["value"] == pytest.approx(worth / report.rows)
    assert next(one for one in report.metrics if one.name == "value").unit == "USD per row"
    assert report.costs[0].matrix == matrix

    bench.edit("params.evaluate.costs.matrix", {"Adelie": {"Emperor": 1.0}})
    assert "no class 'Emperor'" in refuse(bench, "evaluate")


def test_groups_are_held_against_each_other_by_class(bench: Bench) -> None:
    holdout = pd.read_parquet(files.SPLITS / "holdout.parquet")
    rng = np.random.default_rng(1)
    assert holdout["island"].nunique() == 3
    predictions = pd.DataFrame({"row": [str(at) for at in range(3000)]})
    predictions["slice:island"] = np.repeat(["a", "b", "c"], 1000)
    rows = Rows(
        target=rng.integers(0, 3, 3000),
        score=rng.dirichlet(np.ones(3), 3000),
        classes=tuple(CLASSES),
    )
    groups = evaluate._group_rows(predictions["slice:island"])
    gaps = evaluate._measure_gaps("island", groups, rows=rows, task="multiclass")
    assert [gap["measure"].split(" of ")[0] for gap in gaps] == ["accuracy", "recall", "selection rate"]
    right = {name: (rows.called == rows.target)[chosen].mean() for name, chosen in groups.items()}
    assert gaps[0]["gap"] == pytest.approx(max(right.values()) - min(right.values()))
    shares = {
        name: np.ptp([(rows.called == at)[chosen].mean() for chosen in groups.values()])
        for at, name in enumerate(CLASSES)
    }
    widest = max(shares, key=lambda name: float(shares[name]))
    assert (gaps[2]["measure"], gaps[2]["gap"]) == (
        f"selection rate of {widest}",
        pytest.approx(shares[widest]),
    )


@pytest.mark.slow
def test_rows_that_weigh_three_are_three_rows_of_their_class(fresh: Bench) -> None:
    heavy = species.make_rows(700)
    fresh.edit("params.model.estimator", {**species.LINEAR, "params": {"max_iter": 2000, "tol": 1e-9}})
    fresh.edit("params.features", {"numeric": ["depth"], "categorical": [], "derived": {}})
    fresh.edit("params.data.weight", "weight")
    fresh.keep(heavy)
    for stage in species.STAGES:
        assert fresh.run(stage) == 0, fresh.refusal()
    weighted = fresh.evidence(MetricsReport)
    found = pd.read_parquet(files.PREDICTIONS)
    scores = found[[f"score:{name}" for name in CLASSES]].to_numpy()

    repeated = np.repeat(np.arange(len(found)), found["weight"].astype(int))
    assert weighted.weight == "weight"
    assert weighted.values["log_loss"] == pytest.approx(
        sk.log_loss(found["target"][repeated], scores[repeated])
    )
    called = np.array(CLASSES)[scores.argmax(axis=1)][repeated]
    assert weighted.values["balanced_accuracy"] == pytest.approx(
        sk.balanced_accuracy_score(found["target"][repeated], called)
    )


def test_a_class_whose_rows_weigh_nothing_is_refused(fresh: Bench) -> None:
    raw = species.make_rows()
    fresh.keep(raw.assign(weight=raw["weight"].mask(raw["species"] == "Chinstrap", 0.0)))
    fresh.edit("params.data.weight", "weight")

    message = refuse(fresh, "split", "features", "train")
    assert "'Chinstrap'" in message
    assert "weighs nothing" in message


def test_a_search_tries_several_classes_although_folds_lack_some(fresh: Bench) -> None:
    fresh.edit(
        "params.model.search",
        {"iterations": 2, "folds": 3, "params": {"estimator__max_leaf_nodes": [4, 8]}},
    )
    fresh.edit("params.model.estimator.params", {"max_iter": 3})
    for stage in ("split", "features", "train"):
        assert fresh.run(stage) == 0, fresh.refusal()
    found = fresh.evidence(TrainingReport).search
    assert found is not None
    assert found["scoring"] == "neg_log_loss"

    class Known:
        classes_ = np.array([0, 2])

        def predict_proba(self, rows: pd.DataFrame) -> np.ndarray:
            return np.tile([0.25, 0.75], (len(rows), 1))

    score = search_jobs.score_classes(Known(), pd.DataFrame({"x": [1, 2]}), np.array([0, 2]))
    assert score == pytest.approx((np.log(0.25) + np.log(0.75)) / 2)


def test_an_estimator_that_does_not_learn_each_class_is_refused() -> None:
    class Two:
        classes_ = np.array([0, 1])

    with pytest.raises(files.StageError, match="has learned 2 of the 3 classes"):
        model.refuse_other_classes(Two(), CLASSES, "own.Model")


def test_probabilities_that_do_not_sum_to_one_are_refused(bench: Bench) -> None:
    fitted = model.load()
    rows = pd.read_parquet(files.FEATURES / "holdout.parquet")
    told = type(fitted[-1]).predict_proba

    class Wild(type(fitted[-1])):  # type: ignore[misc]
        def predict_proba(self, X: Any) -> np.ndarray:  # noqa: N803
            return told(self, X) * 2

    fitted[-1].__class__ = Wild
    with pytest.raises(files.StageError, match="no probabilities that sum to 1"):
        model.predict(fitted, rows, "multiclass")


def test_no_rows_have_no_probabilities_of_each_class(bench: Bench) -> None:
    rows = pd.read_parquet(files.FEATURES / "holdout.parquet").head(0)

    assert model.predict(model.load(), rows, "multiclass").shape == (0, 3)


def test_a_number_between_whose_bounds_a_class_lies_is_a_leak() -> None:
    price = pd.Series(np.random.default_rng(3).uniform(0, 100, 3000))
    band = pd.cut(price, [-1, 20, 40, 60, 101], labels=["a", "b", "c", "d"]).astype("str")
    noise = pd.Series(np.random.default_rng(4).normal(size=3000))

    found = leakage.measure_association(price, band, "multiclass", numeric=True)
    assert found is not None
    assert found > 0.95
    grade = leakage.measure_association(
        band.map({"a": 1, "b": 2, "c": 3, "d": 4}), band, "multiclass", numeric=True
    )
    assert grade is not None
    assert grade > 0.99
    nothing = leakage.measure_association(noise, band, "multiclass", numeric=True)
    assert nothing is not None
    assert nothing < 0.15
    category = leakage.measure_association(band, band, "multiclass", numeric=False)
    assert category is not None
    assert category > 0.99
    missing = leakage.measure_association(price.where(band != "b"), band, "multiclass", numeric=True)
    assert missing is not None
    assert missing > 0.95


def test_a_leak_of_several_classes_stops_the_features(fresh: Bench) -> None:
    raw = species.make_rows()
    code = raw["species"].map({"Adelie": 1.0, "Chinstrap": 2.0, "Gentoo": 3.0})
    fresh.keep(raw.assign(mass=code))

    message = refuse(fresh, "split", "features")
    assert "mass: predicts species almost by itself (mean over the classes of |2 AUC - 1|" in message
    assert any(found.column == "mass" for found in fresh.evidence(FeaturesReport).findings)


@st.composite
def make_rows(draw: st.DrawFn) -> Rows:
    """Random rows of 3 to 5 classes, perhaps not each of them, with ties, and perhaps with weights."""
    count, rows = draw(st.integers(3, 5)), draw(st.integers(2, 60))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    raw = rng.integers(0, 5, (rows, count)) + 0.25
    weights = draw(st.sampled_from(["none", "whole", "any"]))
    weight = {"none": None, "whole": rng.integers(1, 4, rows).astype(float), "any": rng.uniform(0.1, 3, rows)}
    return Rows(
        target=rng.integers(0, draw(st.integers(1, count)), rows),
        score=raw / raw.sum(axis=1, keepdims=True),
        classes=tuple(f"class {number}" for number in range(count)),
        weight=weight[weights],
    )


def average_present(rows: Rows, weight: dict[str, Any]) -> float | None:
    """The mean AUC of the classes that occur, where scikit-learn has none because one does not."""
    found = [
        sk.roc_auc_score(rows.target == number, rows.score[:, number], **weight)
        for number in set(rows.target)
    ]
    return float(np.mean(found)) if len(found) > 1 else None


@pytest.mark.slow
@given(make_rows())
@settings(max_examples=12, deadline=None)
@pytest.mark.filterwarnings("ignore")
def test_every_metric_of_several_classes_is_scikit_learn_s(rows: Rows) -> None:
    names = list(rows.classes)
    actual = np.array(names)[rows.target]
    called = np.array(names)[rows.score.argmax(axis=1)]
    weight = {"sample_weight": rows.weight}
    whole = len(set(actual)) == len(names)
    expected: dict[str, float | None] = {
        "log_loss": sk.log_loss(actual, rows.score, labels=names, **weight),
        "brier": sk.brier_score_loss(actual, rows.score, labels=names, **weight),
        "accuracy": sk.accuracy_score(actual, called, **weight),
        "balanced_accuracy": sk.balanced_accuracy_score(actual, called, **weight),
        "f1_macro": sk.f1_score(actual, called, average="macro", zero_division=0, **weight),
        "precision_macro": sk.precision_score(actual, called, average="macro", zero_division=0, **weight),
        "roc_auc_ovr": sk.roc_auc_score(actual, rows.score, multi_class="ovr", labels=names, **weight)
        if whole
        else average_present(rows, weight),
    }
    for number, name in enumerate(names):
        of_it = actual == name
        both = bool(of_it.any() and not of_it.all())
        one = {"labels": [name], "average": None, "zero_division": 0, **weight}
        expected |= {
            f"recall:{name}": sk.recall_score(actual, called, **one)[0] if both else None,
            f"precision:{name}": sk.precision_score(actual, called, **one)[0],
            f"f1:{name}": sk.f1_score(actual, called, **one)[0] if both else None,
            f"roc_auc:{name}": sk.roc_auc_score(of_it, rows.score[:, number], **weight) if both else None,
        }
    for metric, value in expected.items():
        assert metrics.compute(metric, rows, "multiclass") == (
            None if value is None else pytest.approx(value, abs=1e-9)
        ), metric


def test_no_metric_of_several_classes_is_without_a_test() -> None:
    tested = {
        "log_loss",
        "brier",
        "accuracy",
        "balanced_accuracy",
        "f1_macro",
        "precision_macro",
        "roc_auc_ovr",
    }
    assert set(metrics.CLASS_METRICS) == {*tested, "expected_calibration_error", "value"}


def test_the_calibration_error_is_that_of_the_class_that_is_called() -> None:
    rows = Rows(
        target=np.array([0, 0, 1, 2]),
        score=np.array([[0.8, 0.1, 0.1], [0.2, 0.8, 0.0], [0.2, 0.6, 0.2], [0.2, 0.2, 0.6]]),
        classes=("a", "b", "c"),
        bins=2,
    )

    # Half of the rows at 0.8 are right, and all of those at 0.6.
    assert metrics.compute("expected_calibration_error", rows, "multiclass") == pytest.approx(0.35)
    assert [one["observed"] for one in metrics.compute_calibration(rows)] == [1.0, 0.5]


def test_of_equal_probabilities_the_first_class_is_called() -> None:
    assert classes.find_called(np.array([[0.4, 0.4, 0.2], [0.2, 0.4, 0.4]])).tolist() == [0, 1]


def test_a_class_that_nobody_is_called_has_no_precision() -> None:
    rows = Rows(
        target=np.array([0, 1, 1]),
        score=np.array([[0.9, 0.1, 0.0], [0.8, 0.2, 0.0], [0.7, 0.3, 0.0]]),
        classes=("a", "b", "c"),
    )
    found = {one["name"]: one for one in class_metrics.describe_classes(rows)}

    assert found["b"] == {
        "name": "b", "rows": 2, "predicted": 0, "recall": 0.0, "precision": None, "f1": 0.0, "roc_auc": 1.0,
    }  # fmt: skip
    assert (found["c"]["recall"], found["c"]["roc_auc"]) == (None, None)


def test_a_metric_of_no_class_is_no_metric() -> None:
    for name in ("recall:", "accuracy:a", "gain:a"):
        with pytest.raises(files.StageError, match=re.escape("and, of one class, recall:CLASS")):
            metrics.find_metric(name, "multiclass")


def test_classes_that_yaml_takes_for_numbers_or_truths_are_their_words(fresh: Bench) -> None:
    path = fresh.folder / "params.yaml"
    fresh.edit("params.data.classes", [1, 2, 3])
    path.write_text(re.sub(r"classes:\n  - 1\n  - 2\n  - 3\n", "classes: [1, 02, NO]\n", path.read_text()))

    assert fresh.settings.data.classes == ["1", "02", "NO"]


def run_stages(bench: Bench, *stages: str) -> None:
    for stage in stages:
        assert bench.run(stage) == 0, bench.refusal()


def test_every_class_has_its_own_ranking_and_the_whole_is_their_mean(bench: Bench) -> None:
    run_stages(bench, "explain")
    found = bench.evidence(ExplanationReport)

    assert (found.method, found.output, found.passed) == ("shap", "log-odds before softmax", True)
    assert [one.name for one in found.classes] == CLASSES
    for one in found.ranking:
        parts = [
            part.importance for of in found.classes for part in of.ranking if part.feature == one.feature
        ]
        assert one.importance == pytest.approx(np.mean(parts), rel=1e-5)
        assert one.direction is None
    directions = {
        of.name: {part.feature: part.direction or 0.0 for part in of.ranking} for of in found.classes
    }
    assert directions["Gentoo"]["mass"] > 0.5
    assert directions["Adelie"]["mass"] < -0.5


def test_a_worst_prediction_says_what_it_was_called_and_why_its_own_class_was_unlikely(bench: Bench) -> None:
    run_stages(bench, "explain")
    found = pd.read_parquet(files.PREDICTIONS).set_index("row")
    scores = found[[f"score:{name}" for name in CLASSES]].set_axis(CLASSES, axis=1)
    worst = bench.evidence(ExplanationReport).worst

    own = pd.Series({row: scores.at[row, found.at[row, "target"]] for row in found.index})
    assert [one.row for one in worst] == own.sort_values().index[:3].tolist()
    for one in worst:
        assert one.target == 1.0
        assert one.score == pytest.approx(own[one.row], rel=1e-5)
        assert one.loss == pytest.approx(-np.log(own[one.row]), rel=1e-5)
        assert (one.actual, one.called) == (found.at[one.row, "target"], scores.loc[one.row].idxmax())
        assert sum(reason.effect for reason in one.reasons) < 0


@pytest.mark.slow
def test_classes_are_explained_by_permutation_too(bench: Bench) -> None:
    bench.edit("params.features", {"numeric": ["depth", "mass"], "categorical": ["island"], "derived": {}})
    bench.edit(
        "params.model.estimator",
        {"use": "sklearn.ensemble.GradientBoostingClassifier", "params": {"n_estimators": 8}},
    )
    run_stages(bench, "features", "train", "evaluate", "explain")
    found = bench.evidence(ExplanationReport)

    assert (found.method, found.output) == ("permutation", "probability")
    assert "GradientBoostingClassifier is explained by SHAP for two classes only" in str(found.note)
    assert [one.name for one in found.classes] == CLASSES
    assert {one.name: one.ranking[0].feature for one in found.classes}["Gentoo"] in ("mass", "depth")
    assert found.worst[0].actual in CLASSES


def test_the_onnx_model_gives_the_probability_of_each_class(bench: Bench) -> None:
    run_stages(bench, "export")
    report = bench.evidence(ExportReport)
    found = pd.read_parquet(files.PREDICTIONS)
    rows = pd.read_parquet(files.FEATURES / "holdout.parquet")
    scores = export.run_model(files.ONNX.read_bytes(), rows, bench.settings.features)

    expected = found[[f"score:{name}" for name in CLASSES]].to_numpy()
    assert scores.shape == (len(rows), 3)
    assert np.abs(scores - expected).max() == report.largest_difference
    assert np.abs(scores - expected).max() < 1e-6
    assert (report.passed, report.flips) == (True, 0)
    output = export.open_session(files.ONNX.read_bytes()).get_outputs()
    assert [(one.name, one.type, one.shape[1]) for one in output] == [("score", "tensor(float)", 3)]


def test_the_service_s_contract_names_the_classes(bench: Bench) -> None:
    run_stages(bench, "export")
    contract = load_contract(files.ONNX.with_name("contract.json"))
    found = pd.read_parquet(files.PREDICTIONS)
    scores = found[[f"score:{name}" for name in CLASSES]].to_numpy()
    called = np.array(CLASSES)[scores.argmax(axis=1)]

    assert (contract.task, contract.classes, contract.threshold) == ("multiclass", CLASSES, None)
    assert contract.called == [(called == name).sum() for name in CLASSES]
    assert sum(contract.holdout) == len(found)
    for probe in contract.probes:
        assert isinstance(probe.score, list)
        assert sum(probe.score) == pytest.approx(1, abs=1e-5)
    right = sum((one.share or 0.0) * one.rows for one in contract.experience)
    assert right == pytest.approx((called == found["target"]).sum())
    assert contract.experience[0].above == scores.max(axis=1).min()
    assert load_model(files.ONNX.parent).score_probes().shape == (len(contract.probes), 3)


def test_a_flip_is_a_row_that_is_called_another_class(bench: Bench) -> None:
    run_stages(bench, "export")  # writes the file whose digest the report has
    expected = np.array([[0.5, 0.4, 0.1], [0.1, 0.5, 0.4]])
    found = np.array([[0.4, 0.5, 0.1], [0.1, 0.6, 0.3]])
    report = export.build_report(
        b"", expected, found=found, settings=bench.settings, limits=parity.Limits([], [], []), asked=0
    )

    assert (report["flips"], report["passed"]) == (1, False)
    assert report["largest_difference"] == pytest.approx(0.1)
    assert "in 2 of 2 holdout rows" in report["reason"]


def test_rows_that_a_model_of_several_classes_refuses_have_no_answer() -> None:
    def score(rows: pd.DataFrame) -> np.ndarray:
        if rows["x"].isna().any():
            raise ValueError("no gaps")
        return np.tile([0.2, 0.3, 0.5], (len(rows), 1))

    found = parity.ask(pd.DataFrame({"x": [1.0, np.nan, 2.0]}), score)
    assert np.isfinite(found).all(axis=1).tolist() == [True, False, True]
    assert parity.ask(pd.DataFrame({"x": [np.nan]}), score).shape == (1,)


@pytest.mark.slow
def test_drift_is_judged_of_the_class_called_and_of_its_probability(bench: Bench) -> None:
    run_stages(bench, "drift")
    columns = {one.column: one for one in bench.evidence(DriftReport).comparisons[0].columns}

    assert (columns["species"].role, columns["species"].method) == ("target", "Jensen-Shannon distance")
    called, confidence = columns["predicted species"], columns["confidence"]
    assert (called.role, called.method) == ("prediction", "Jensen-Shannon distance")
    assert (confidence.role, confidence.method) == ("prediction", "Wasserstein distance (normed)")
    assert not called.drifted


def test_a_log_of_other_classes_has_drifted(bench: Bench) -> None:
    found = pd.read_parquet(files.PREDICTIONS)
    after = pd.DataFrame({"prediction:label": "Gentoo", "prediction:score": 0.5}, index=range(300))
    told = {one.verdict["column"]: one.verdict for one in drift.judge_scores(found, after, bench.settings)}

    assert set(told) == {"predicted species", "confidence"}
    assert all(one["drifted"] for one in told.values())
    assert not list(drift.judge_scores(found[["row"]], after, bench.settings))


def test_a_review_scores_rows_by_class(bench: Bench) -> None:
    rows = pd.read_parquet(files.SPLITS / "holdout.parquet").head(20)
    files.write_table(rows, bench.folder / "rows.parquet")
    assert command.main(["score", "--rows", "rows.parquet", "--out", "scores.parquet"]) == 0
    scored = pd.read_parquet("scores.parquet")

    expected = pd.read_parquet(files.PREDICTIONS).head(20)
    columns = ["row", *(f"score:{name}" for name in CLASSES)]
    pd.testing.assert_frame_equal(scored[columns], expected[columns])
    assert list(scored.columns) == columns


@pytest.mark.slow
@given(make_rows())
@settings(max_examples=12, deadline=None)
@pytest.mark.filterwarnings("ignore")
def test_the_pipeline_and_the_bots_agree_on_every_metric_of_several_classes(rows: Rows) -> None:
    matrix = {"class 0": {"class 1": -3.0}, "class 2": {"class 2": 1.5}}
    costed = replace(rows, costs=Costs("USD", matrix=matrix))
    context = stats.Context(
        classes=rows.classes, bins=rows.bins, costs=evidence.Costs(currency="USD", matrix=matrix)
    )
    of_each = [f"{kind}:{name}" for kind in class_metrics.OF_A_CLASS for name in rows.classes]
    for name in (*metrics.CLASS_METRICS, *of_each):
        ours = metrics.compute(name, costed, "multiclass")
        theirs = stats.compute_value(name, rows.target.astype(float), rows.score, context, rows.weight)
        assert (None if theirs is None or np.isnan(theirs) else pytest.approx(theirs, abs=1e-9)) == ours, name
