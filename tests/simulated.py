"""Two models' predictions whose true difference is known, to hold the statistics against."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from msgspec import structs

import support
from bots import compare, measures, settings
from bots.compare import Predictions
from bots.settings import Gate, GateSlices, Limit

if TYPE_CHECKING:
    from bots.evidence import Task
    from bots.measures import Floats
    from bots.settings import Settings

METRICS: dict[Task, list[str]] = {
    task: [name for name, measure in measures.MEASURES.items() if task in measure.tasks]
    for task in ("classification", "regression")
}


GATES: dict[Task, Gate] = {
    "classification": Gate(
        primary="roc_auc",
        guards=["log_loss", "value"],
        matters={"roc_auc": 0.003, "log_loss": 0.003, "value": 0.05},
        resample="date",
        limits={"roc_auc": Limit(at_least=0.6)},
        slices=GateSlices(rows=500, matters=0.02),
    ),
    "regression": Gate(
        primary="mae",
        guards=["rmse", "value"],
        matters={"mae": 0.1, "rmse": 0.2, "value": 0.1},
        resample="date",
        slices=GateSlices(rows=500, matters=1.0),
    ),
}


@cache
def policy(task: Task = "classification") -> Settings:
    """The settings of a freshly baked project, with every metric that there is and a gate of our own."""
    baked = settings.parse(support.rendered("params.yaml", task=task), "params.yaml")
    evaluate = structs.replace(baked.evaluate, metrics=METRICS[task])
    return structs.replace(baked, evaluate=evaluate, gate=GATES[task])


def predictions(
    task: Task, rows: int, random: np.random.Generator, clusters: int = 0, **more: Any
) -> Predictions:
    """Correlated scores of a champion and a slightly better candidate.

    With clusters (of unequal size), rows of one share a shock to the truth and one to each model's error.
    """
    labels, shock = None, np.zeros((rows, 3))
    if clusters:
        labels = random.choice(clusters, rows, p=random.dirichlet(np.full(clusters, 4.0)))
        shock = random.normal(size=(clusters, 3))[labels] * [0.5, 0.35, 0.35]
    truth = random.normal(size=rows) + shock[:, 0]
    champion = truth * 0.8 + random.normal(size=rows) * 0.7 + shock[:, 1]
    candidate = truth * 0.85 + random.normal(size=rows) * 0.6 + shock[:, 2]
    costs = policy(task).evaluate.costs
    if task == "regression":
        target = 10 * truth + random.gamma(1.0, 8.0, rows) - 6
        columns = {"target": target, "champion": 10 * champion, "candidate": 10 * candidate + 0.7}
    else:
        target = (random.random(rows) < _logistic(1.2 * truth - 1.3)).astype(np.float64)
        columns = {
            "target": target,
            "champion": _logistic(champion - 1.3),
            "candidate": _logistic(1.1 * candidate - 1.2),
        }
    settings = {"champion_threshold": 0.3, "candidate_threshold": 0.3, "costs": costs, "clusters": labels}
    return Predictions(task=task, **{**columns, **settings, **more})


@cache
def true_differences(task: Task, clusters: bool) -> dict[str, float]:
    """Candidate minus champion of every metric, on so many rows that chance has no part in it."""
    rows = 1_000_000
    drawn = predictions(task, rows, np.random.default_rng(99), rows // 30 if clusters else 0)
    assert drawn.champion is not None
    before, after = drawn.contexts()
    found = {}
    for name in METRICS[task]:
        values = (
            measures.value(name, drawn.target, drawn.champion, before),
            measures.value(name, drawn.target, drawn.candidate, after),
        )
        assert values[0] is not None
        assert values[1] is not None
        found[name] = values[1] - values[0]
    return found


def coverage(
    task: Task, rows: int, clusters: int, times: int, replicates: int = 400, seed: int = 11
) -> dict[str, float]:
    """How often the 95% interval of the difference holds the true one, for every metric."""
    base = policy(task)
    chosen = structs.replace(base, gate=structs.replace(base.gate, replicates=replicates))
    truth = true_differences(task, clusters > 0)
    random = np.random.default_rng(seed)
    held = dict.fromkeys(truth, 0)
    for _ in range(times):
        for metric in compare.compare(predictions(task, rows, random, clusters), chosen).metrics:
            assert metric.low is not None
            assert metric.high is not None
            held[metric.name] += metric.low <= truth[metric.name] <= metric.high
    return {name: count / times for name, count in held.items()}


def _logistic(x: Floats) -> Floats:
    share: Floats = 1 / (1 + np.exp(-x))
    return share
