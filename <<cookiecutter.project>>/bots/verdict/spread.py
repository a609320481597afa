"""Says whether a committed model is like what training gives, where training does not give the same each time."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from bots.evidence import SpreadMetric, TrainingSpread
from bots.render.numbers import format_value, pluralize
from bots.stats.intervals import find_t_quantile
from bots.verdict.rules import Finding
from bots.verdict.sentences import cut, end_sentence, name_metric

if TYPE_CHECKING:
    from bots.evidence import SpreadOutcome
    from bots.settings import Gate

FIRST = 3
"""So many trainings are made before anything is said."""
MOST = 5
"""Where those say too little, so many."""
RISK = 0.01
"""How often a committed model that training gave is called another one, all metrics together."""
UNLIKE = 2.0
"""Scores farther than this from those of the trainings, beside the most that two of them lie apart, are another
model's, whatever its metrics."""


def judge_spread(
    stage: str,
    committed: Mapping[str, float],
    trained: Sequence[Mapping[str, float]],
    gate: Gate,
    *,
    unlike: float,
    apart: float,
) -> TrainingSpread:
    """What two or more trainings of a commit say of its committed model.

    `committed` and each of `trained` are metrics of the same rows. For the primary metric and each guard the interval
    of one more training is mean ± t s √(1 + 1/k) with k - 1 degrees of freedom (Hahn and Meeker, Statistical Intervals,
    1991, section 4.8), at 1 - `RISK` for all of them together. Where half of the primary one's is more than the gate
    tolerates, nobody can tell. `unlike` and `apart` as in `TrainingSpread`.
    """
    names = [name for name in dict.fromkeys([gate.primary, *gate.guards]) if name in committed]
    names = [name for name in names if all(name in values for values in trained)]
    found = [
        predict_next(name, committed[name], [values[name] for values in trained], RISK / len(names))
        for name in names
    ]
    outcome: SpreadOutcome
    if gate.primary not in names:
        outcome = "too wide"
    elif any(not _is_inside(metric) for metric in found) or unlike > UNLIKE * apart:
        outcome = "outside"
    elif _find_half(found[0]) > gate.matters.get(gate.primary, 0.0) * gate.tolerates:
        outcome = "too wide"
    else:
        outcome = "within"
    return TrainingSpread(
        stage=stage, outcome=outcome, trainings=len(trained), metrics=found, unlike=unlike, apart=apart
    )


def predict_next(name: str, committed: float, values: Sequence[float], risk: float) -> SpreadMetric:
    """A metric with the interval in which one more training lies at 1 - `risk`; `values` are two or more."""
    count = len(values)
    half = find_t_quantile(1 - risk / 2, count - 1) * statistics.stdev(values) * (1 + 1 / count) ** 0.5
    mean = statistics.fmean(values)
    return SpreadMetric(
        name=name, committed=committed, values=list(values), low=mean - half, high=mean + half
    )


def _is_inside(metric: SpreadMetric) -> bool:
    # Where a metric such as accuracy is the same each time, its interval has no width, but rounding has.
    slack = 1e-9 * max(1.0, abs(metric.committed))
    return metric.low - slack <= metric.committed <= metric.high + slack


def _find_half(metric: SpreadMetric) -> float:
    return (metric.high - metric.low) / 2


def describe_spread(spread: TrainingSpread) -> str:
    """What training again gave, as sentences."""
    stage, times = f"`{cut(spread.stage, 60)}`", pluralize(spread.trainings, "training")
    if spread.outcome == "could not":
        why = end_sentence(cut(spread.failure or "nobody knows why", 600))
        return (
            f"The committed dvc.lock does not reproduce: running {stage} again gave something else, and the committed "
            f"model could not be tried: {why}"
        )
    if spread.outcome == "alike":
        return (
            f"Running {stage} again gave other bytes with the same metrics, as another processor may. What is judged "
            "is the committed model."
        )
    if spread.outcome == "repeats":
        return (
            f"The committed dvc.lock does not reproduce: running {stage} again gave something else, and the same in "
            f"each of {times}."
        )
    told = (
        f"{times} of this same commit gave {'; '.join(map(_describe_metric, spread.metrics)) or 'no metric'}."
    )
    if spread.outcome == "outside":
        return (
            "The committed dvc.lock does not reproduce: training is not deterministic, and no training gives this "
            f"model. {told}{_describe_distance(spread)}"
        )
    said = f"Training is not deterministic: {told} "
    if spread.outcome == "within":
        return f"{said}The committed model is like them, and it is what is judged."
    return (
        f"{said}They differ by more than the gate tolerates, so nobody can tell whether such a training gave the "
        "committed model; it is what is judged."
    )


def _describe_metric(metric: SpreadMetric) -> str:
    """A metric of the trainings and of the committed model."""
    low, high = (format_value(metric.name, value) for value in (min(metric.values), max(metric.values)))
    between = low if low == high else f"{low} to {high}"
    return f"{name_metric(metric.name)} {between} (committed: {format_value(metric.name, metric.committed)})"


def _describe_distance(spread: TrainingSpread) -> str:
    """How far the committed scores are from those of the trainings, where that is far."""
    if spread.unlike is None or spread.apart is None or spread.unlike <= UNLIKE * spread.apart:
        return ""
    return (
        f" Its predictions lie {spread.unlike:.2g} from theirs on average, and theirs at most {spread.apart:.2g} from "
        "each other."
    )


def check_spread(spread: TrainingSpread) -> Finding:
    """What no training gives is blocked; where training differs by too much, a person decides."""
    message = describe_spread(spread)
    if spread.outcome == "too wide":
        return Finding(
            rule="lock",
            passed=False,
            judged=False,
            message=message,
            verdict="undecided",
            reason="training-differs-too-much",
        )
    return Finding(
        rule="lock", passed=spread.judges_committed, message=message, reason="lock-does-not-reproduce"
    )
