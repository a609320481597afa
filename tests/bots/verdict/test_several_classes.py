"""The comparison of two models of several classes: each class, who is called whom, and what contradicts it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from msgspec import structs

from bots.evidence import Metric, MetricsReport
from bots.stats import classes, intervals
from bots.verdict import comparison, rules
from fixtures.several_classes import METRICS, NAMES, draw_predictions, draw_scores, make_class_policy


def make_report(seed: int = 0) -> tuple[MetricsReport, object]:
    own = replace(draw_predictions(seed=seed), champion=None)
    sample = intervals.choose_rows(own).samples[1]
    report = MetricsReport(
        task="multiclass",
        primary="log_loss",
        values={},
        metrics=[Metric(name="log_loss", value=1.0, direction="lower")],
        slices=[],
        calibration=[],
        rows=600,
        holdout="md5:" + "0" * 32,
        classes=classes.describe_classes(sample),
        confusion=comparison.count_confusion(sample),
    )
    return report, own


def test_every_metric_of_several_classes_is_compared() -> None:
    found = comparison.compare(draw_predictions(candidate=1.8), make_class_policy())
    assert [metric.name for metric in found.metrics] == METRICS
    assert all(metric.low is not None for metric in found.metrics)
    assert next(metric.outcome for metric in found.metrics if metric.role == "primary") == "improved"


def test_each_actual_class_is_a_slice_and_one_that_got_worse_blocks() -> None:
    both = draw_predictions(2000, candidate=1.2)
    random = np.random.default_rng(9)
    assert both.champion is not None
    worse = both.champion.copy()
    lost = both.target == 2
    worse[lost] = draw_scores(both.target[lost], -0.5, random)
    found = comparison.compare(replace(both, candidate=worse), make_class_policy())
    outcomes = {part.value: part.outcome for part in found.slices if part.column == "species"}
    assert set(outcomes) == set(NAMES)
    assert outcomes["virginica"] == "regressed"
    assert outcomes["setosa"] == "equivalent"
    broken = [rule for rule in rules.check_comparison(found, make_class_policy().gate) if not rule.passed]
    assert any(rule.rule == "slices" and "species = virginica" in rule.message for rule in broken)


def test_each_class_is_told_with_its_recall_before_and_after() -> None:
    both = draw_predictions(800, candidate=2.5)
    found = comparison.compare(both, make_class_policy())
    assert [one.name for one in found.classes] == list(NAMES)
    for one in found.classes:
        assert one.champion is not None
        assert one.champion.recall is not None
        assert one.candidate.recall is not None
        assert one.difference is not None
        assert one.difference == pytest.approx(one.candidate.recall - one.champion.recall)
        assert one.low is not None
        assert one.high is not None
        assert one.low < one.difference < one.high
    assert sum(map(sum, found.champion_confusion)) == 800
    assert [sum(row) for row in found.champion_confusion] == [one.rows for one in found.classes]


def test_a_metric_of_a_class_can_be_guarded() -> None:
    both = draw_predictions(1500)
    random = np.random.default_rng(4)
    assert both.champion is not None
    worse = both.champion.copy()
    lost = both.target == 3
    worse[lost] = draw_scores(both.target[lost], -2.0, random)
    gate = {"guards": ["recall:setosa"], "matters": {"log_loss": 10.0, "recall:setosa": 0.02}, "slices": None}
    found = comparison.compare(replace(both, candidate=worse), make_class_policy(**gate))
    told = {rule.rule: rule.passed for rule in rules.check_comparison(found, make_class_policy(**gate).gate)}
    assert told["guard: recall of setosa"]
    gate["guards"], gate["matters"] = ["recall:other"], {"log_loss": 10.0, "recall:other": 0.02}
    policy = make_class_policy(**gate)
    policy = structs.replace(
        policy, evaluate=structs.replace(policy.evaluate, metrics=["log_loss", "recall:other"])
    )
    found = comparison.compare(replace(both, candidate=worse), policy)
    told = {rule.rule: rule.passed for rule in rules.check_comparison(found, policy.gate)}
    assert not told["guard: recall of other"]


def test_figures_of_classes_that_the_predictions_do_not_give_are_found() -> None:
    report, own = make_report()
    assert comparison.find_class_disagreements(report, own) == []  # type: ignore[arg-type]
    better = structs.replace(report.classes[1], recall=0.99)
    wrong = structs.replace(report, classes=[report.classes[0], better, *report.classes[2:]])
    (said,) = comparison.find_class_disagreements(wrong, own)  # type: ignore[arg-type]
    assert said.startswith("recall of versicolor: written 0.99, the predictions give 0.")
    turned = structs.replace(report, confusion=report.confusion[::-1])
    assert "confusion" in comparison.find_class_disagreements(turned, own)[0]  # type: ignore[arg-type]
    renamed = structs.replace(report, classes=report.classes[::-1])
    assert "classes" in comparison.find_class_disagreements(renamed, own)[0]  # type: ignore[arg-type]
