"""The judgement on the holdout: metrics, slices, calibration, fairness, and hostile holdouts."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from bots import evidence
from bots.evidence import Costs as BotsCosts
from bots.stats import metrics as bots_metrics
from pipeline import evaluate, files, metrics
from pipeline.files import StageError
from pipeline.params import Costs
from pipeline.scored_rows import Rows

if TYPE_CHECKING:
    from fixtures import flights

CALLS = Costs(currency="USD", true_positive=12.0, false_positive=-4.0, true_negative=0.5, false_negative=-1.0)
MINUTES = Costs(currency="USD", under=-1.0, over=-0.4)
CLASSIFICATION = [name for name, metric in metrics.METRICS.items() if "classification" in metric.tasks]
REGRESSION = [name for name, metric in metrics.METRICS.items() if "regression" in metric.tasks]


# Values


SCORES = st.sampled_from([0.0, 0.1, 0.2, 0.3, 0.3, 0.5, 0.75, 1.0])
BINARY = st.lists(st.tuples(st.sampled_from([0.0, 1.0]), SCORES), min_size=12, max_size=60)
QUANTITIES = st.lists(st.tuples(st.floats(-50, 50), st.floats(-50, 50)), min_size=12, max_size=60)


def binary(pairs: list[tuple[float, float]], threshold: float = 0.3) -> Rows:
    target, score = np.array(pairs).T
    return Rows(target, score, threshold=threshold, costs=CALLS, bins=5)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(BINARY)
def test_values_are_scikit_learns(pairs: list[tuple[float, float]]) -> None:
    rows = binary(pairs)
    assume(0 < rows.target.sum() < len(rows))
    called = rows.score >= 0.3
    expected = {
        "roc_auc": sk.roc_auc_score(rows.target, rows.score),
        "average_precision": sk.average_precision_score(rows.target, rows.score),
        "log_loss": sk.log_loss(rows.target, rows.score),
        "brier": sk.brier_score_loss(rows.target, rows.score),
        "accuracy": sk.accuracy_score(rows.target, called),
        "precision": sk.precision_score(rows.target, called, zero_division=0),
        "recall": sk.recall_score(rows.target, called),
        "f1": sk.f1_score(rows.target, called),
    }
    for name, value in expected.items():
        assert metrics.compute(name, rows, "classification") == pytest.approx(value), name


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(BINARY)
def test_the_bots_compute_the_same_classification_metrics_from_the_predictions(
    pairs: list[tuple[float, float]],
) -> None:
    rows = binary(pairs)
    context = bots_metrics.Context(
        threshold=0.3,
        bins=5,
        costs=BotsCosts(
            currency="USD", true_positive=12.0, false_positive=-4.0, true_negative=0.5, false_negative=-1.0
        ),
    )
    for name in CLASSIFICATION:
        found = metrics.compute(name, rows, "classification")
        theirs = bots_metrics.compute_value(name, rows.target, rows.score, context)
        assert found == (None if theirs is None else pytest.approx(theirs)), name
        assert metrics.METRICS[name].direction == bots_metrics.MEASURES[name].direction


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(QUANTITIES)
def test_the_bots_compute_the_same_regression_metrics_from_the_predictions(
    pairs: list[tuple[float, float]],
) -> None:
    drawn = np.array(pairs).T
    assume(np.var(drawn[0]) > 1e-6)
    context = bots_metrics.Context(costs=BotsCosts(currency="USD", under=-1.0, over=-0.4))
    for name in REGRESSION:
        # Deviances are of what is above zero.
        target, score = np.abs(drawn) + 0.5 if name.endswith("deviance") else drawn
        rows = Rows(target, score, costs=MINUTES)
        found = metrics.compute(name, rows, "regression")
        theirs = bots_metrics.compute_value(name, target, score, context)
        assert found is not None
        assert found == pytest.approx(theirs, rel=1e-6, abs=1e-9), name
        assert metrics.METRICS[name].direction == bots_metrics.get_measure(name, "regression").direction


def test_worth_is_the_cost_matrix_or_the_price_of_the_error() -> None:
    decisions = Rows(np.array([1.0, 0, 0, 1]), np.array([0.9, 0.9, 0.1, 0.1]), threshold=0.5, costs=CALLS)
    assert metrics.compute_worth(decisions).tolist() == [12, -4, 0.5, -1]
    errors = Rows(np.array([10.0, 10, 10]), np.array([7.0, 10, 15]), costs=MINUTES)
    np.testing.assert_allclose(metrics.compute_worth(errors), [-3, 0, -2])


def test_one_class_has_no_auc_but_an_accuracy() -> None:
    rows = Rows(np.ones(30), np.linspace(0, 1, 30), 0.5)
    assert metrics.compute("roc_auc", rows, "classification") is None
    assert metrics.compute("accuracy", rows, "classification") is not None


def test_an_unknown_metric_or_one_of_the_other_task_is_refused_with_the_known_ones() -> None:
    for name in ("gini", "mae"):
        with pytest.raises(StageError, match=rf"no metric '{name}' for a classification; there are roc_auc"):
            metrics.find_metric(name, "classification")


# The report


def test_the_report_says_what_the_predictions_say(bench: flights.Bench) -> None:
    report = bench.evidence(evidence.MetricsReport)
    rows = pd.read_parquet(files.PREDICTIONS)
    assert list(rows.columns) == [
        "row",
        "target",
        "score",
        "slice:carrier",
        "slice:origin",
        "slice:month",
        "slice:date",
    ]
    assert report.values["roc_auc"] == pytest.approx(sk.roc_auc_score(rows.target, rows.score))
    assert [metric.name for metric in report.metrics] == bench.settings.evaluate.metrics
    assert report.rows == len(rows) == sum(part.rows for part in report.slices if part.column == "month")
    assert report.holdout == bench.evidence(evidence.SplitReport).find_part("holdout").digest
    assert report.threshold == 0.3
    assert report.costs[0].true_positive == 12
    assert report.metrics[-1].unit == "USD per row"
    assert all((metric.low, metric.high) == (None, None) for metric in report.metrics)
    assert all((part.low, part.high) == (None, None) for part in report.slices)


def test_slices_hold_the_primary_metric_where_there_are_rows_enough(bench: flights.Bench) -> None:
    slices = {(part.column, part.value): part for part in bench.evidence(evidence.MetricsReport).slices}
    rows = pd.read_parquet(files.PREDICTIONS)
    one = slices["origin", "JFK"]
    chosen = rows[rows["slice:origin"] == "JFK"]
    assert one.rows == len(chosen)
    assert one.metric == pytest.approx(sk.roc_auc_score(chosen.target, chosen.score))
    small = [part for part in slices.values() if part.rows < evaluate.FEWEST_OF_A_SLICE]
    assert small
    assert all(part.metric is None for part in small)


def test_slices_stand_in_numeric_order(bench: flights.Bench) -> None:
    bench.edit("params.evaluate.slices", ["hour"])
    assert bench.run("evaluate") == 0
    hours = [part.value for part in bench.evidence(evidence.MetricsReport).slices]
    assert hours == sorted(hours, key=int)


def test_calibration_has_equal_bins_that_add_up(bench: flights.Bench) -> None:
    bins = bench.evidence(evidence.MetricsReport).calibration
    rows = pd.read_parquet(files.PREDICTIONS)
    assert len(bins) == 10
    assert sum(part.rows for part in bins) == len(rows)
    assert max(part.rows for part in bins) - min(part.rows for part in bins) < 0.02 * len(rows)
    assert [part.predicted for part in bins] == sorted(part.predicted for part in bins)
    assert sum(part.rows * part.observed for part in bins) == pytest.approx(rows.target.sum())


def test_fairness_names_the_groups_that_are_furthest_apart(bench: flights.Bench) -> None:
    bench.edit("params.evaluate.fairness", ["origin"])
    assert bench.run("evaluate") == 0
    gaps = {gap.measure: gap for gap in bench.evidence(evidence.MetricsReport).fairness}
    rows = pd.read_parquet(files.PREDICTIONS)
    called = (rows.score >= 0.3).groupby(rows["slice:origin"]).mean()
    assert set(gaps) == {"recall", "selection rate"}
    assert gaps["selection rate"].highest == called.idxmax()
    assert gaps["selection rate"].gap == pytest.approx(called.max() - called.min())


def test_plots_are_thin_tables_that_dvc_can_draw(bench: flights.Bench) -> None:
    curve = pd.read_csv(evaluate.PLOTS / "curve.csv")
    assert list(curve.columns) == ["x", "y"]
    assert 50 < len(curve) <= 200
    assert curve.x.between(0, 1).all()
    assert list(pd.read_csv(evaluate.PLOTS / "calibration.csv").columns) == ["predicted", "observed"]


def test_a_regression_is_judged_in_its_own_units(minutes: flights.Bench) -> None:
    report = minutes.evidence(evidence.MetricsReport)
    units = {metric.name: metric.unit for metric in report.metrics}
    assert units["mae"] == "min"
    assert units["value"] == "USD per row"
    assert units["r2"] is None
    assert report.values["value"] < 0
    assert report.values["bias"] >= 0
    assert {gap.measure for gap in report.fairness} <= {"mean error"}
    assert len(report.calibration) == 10


def test_judging_twice_gives_the_same_bytes(bench: flights.Bench) -> None:
    kept = [
        files.PREDICTIONS,
        evaluate.PLOTS / "curve.csv",
        evaluate.PLOTS / "calibration.csv",
        files.REPORTS / "metrics.json",
    ]
    before = [path.read_bytes() for path in kept]
    assert bench.run("evaluate") == 0
    assert [path.read_bytes() for path in kept] == before


# Faults


def test_shuffled_labels_give_an_auc_of_one_half(bench: flights.Bench) -> None:
    path = files.FEATURES / "train.parquet"
    frame = files.read_table(path)
    frame[files.TARGET] = np.random.default_rng(0).permutation(frame[files.TARGET])
    files.write_table(frame, path)
    assert bench.run("train") == 0
    assert bench.run("evaluate") == 0
    assert bench.evidence(evidence.MetricsReport).values["roc_auc"] == pytest.approx(0.5, abs=0.06)


def test_a_holdout_of_one_class_is_refused(bench: flights.Bench) -> None:
    frame = files.read_table(evaluate.HOLDOUT)
    files.write_table(frame.assign(**{files.TARGET: 1.0}), evaluate.HOLDOUT)
    assert bench.run("evaluate") == 1
    assert "one class only (1)" in bench.refusal()


def test_a_slice_column_that_is_not_there_is_refused(bench: flights.Bench) -> None:
    bench.edit("params.evaluate.slices", ["carier"])
    assert bench.run("evaluate") == 1
    assert "no column 'carier' to cut the results by; did you mean carrier?" in bench.refusal()


def test_value_without_costs_is_refused(bench: flights.Bench) -> None:
    bench.edit("params.evaluate.costs", None)
    assert bench.run("evaluate") == 1
    assert "evaluate.costs" in bench.refusal()


def test_a_misspelt_metric_is_refused_before_anything_is_written(bench: flights.Bench) -> None:
    files.PREDICTIONS.unlink()
    bench.edit("params.evaluate.metrics", ["rocauc"])
    assert bench.run("evaluate") == 1
    assert "no metric 'rocauc'" in bench.refusal()
    assert not files.PREDICTIONS.exists()


def test_rows_that_the_split_does_not_know_are_refused(bench: flights.Bench) -> None:
    path = files.SPLITS / "holdout.parquet"
    files.write_table(files.read_table(path).iloc[5:], path)
    assert bench.run("evaluate") == 1
    assert "lacks 5 rows" in bench.refusal()


def test_missing_labels_are_a_slice_of_their_own(bench: flights.Bench) -> None:
    bench.edit("params.evaluate.slices", ["tailnum", "plane_year"])
    labels = evaluate.label_slices(pd.read_parquet(files.PREDICTIONS)["row"], bench.settings)
    assert "missing" in labels["slice:plane_year"]
    assert not any(math.isnan(value) for value in labels["slice:plane_year"] if isinstance(value, float))
    assert "2004" in labels["slice:plane_year"]
