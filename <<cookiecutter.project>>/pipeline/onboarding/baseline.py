"""Measure the first model beside a dummy, and derive from both what matters and what limits hold."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline import evaluate, metrics
from pipeline.scored_rows import Rows

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from pipeline.params import Params, Task

BLOCKS = 40
# A twentieth of what the baseline gains over the dummy is worth a review; less than a quarter of the holdout's own
# standard error it could not tell.
SHARE_OF_GAIN, SHARE_OF_ERROR = 0.05, 0.25
# Two good models are mostly wrong on the same rows, so their difference varies less than either: a third, with a
# correlation of 0.95 between their losses.
ERROR_OF_DIFFERENCE = 0.32
# What a constant answer scores here says nothing about a model.
DUMMY_IS_SILLY = (
    *("accuracy", "precision", "recall", "f1", "bias"),
    *("balanced_accuracy", "f1_macro", "precision_macro"),
)
# Standard normal quantiles: equivalence at 95% twice, in four of five reviews.
REACH = 1.645 + 1.282


@dataclass(frozen=True)
class Measure:
    """One metric of the baseline and of the dummy on the holdout, with the standard errors of it and of its gain."""

    name: str
    baseline: float
    dummy: float | None
    error: float
    direction: str
    # Of the difference between the two on the same rows: less than that of either, because both find them hard.
    gain_error: float = 0.0

    @property
    def gain(self) -> float | None:
        """By how much the baseline is better than the dummy, in the metric's unit."""
        if self.dummy is None:
            return None
        gain = self.baseline - self.dummy
        return gain if self.direction == "higher" else -gain


@dataclass(frozen=True)
class Gate:
    """What the gate of params.yaml should say, and why."""

    matters: dict[str, float]
    why_matters: str
    limits: dict[str, dict[str, float]]
    why_limits: str
    slices: dict[str, Any]
    why_slices: str


def measure(predictions: pd.DataFrame, train: pd.Series, settings: Params) -> list[Measure]:
    """Measure the baseline and a dummy on the holdout's predictions.

    The dummy says the training rows' mean (a classification), their share of each class (several), or their median (a
    regression), of every row. `train` is their target.
    """
    rows = replace(evaluate.make_rows(predictions, settings), weight=None)
    constant = replace(rows, score=guess_constant(train, rows, settings.task))
    units = find_units(predictions, settings.gate.resample)
    found = []
    for name in settings.evaluate.metrics:
        value = metrics.compute(name, rows, settings.task)
        if value is None:
            continue
        error, gain_error = measure_errors(name, rows, constant, task=settings.task, units=units)
        dummy = metrics.compute(name, constant, settings.task)
        direction = metrics.find_metric(name, settings.task, rows.classes).direction
        found.append(Measure(name, value, dummy, error, direction, gain_error))
    return found


def guess_constant(train: pd.Series, rows: Rows, task: Task) -> NDArray[np.float64]:
    """Guess the same of every row from the training rows' target alone: as the rows' scores, of their shape."""
    if task == "multiclass":
        shares = train.value_counts(normalize=True)
        return np.tile([float(shares.get(name, 0.0)) for name in rows.classes], (len(rows), 1))
    known = train.to_numpy(dtype=np.float64)
    return np.full(len(rows), float(np.mean(known) if task == "classification" else np.median(known)))


def find_units(predictions: pd.DataFrame, resample: str) -> NDArray[np.int64]:
    """Number the unit of each row, as `gate.resample` has it."""
    import pandas as pd

    if resample == "rows":
        return np.arange(len(predictions))
    return pd.factorize(predictions[f"slice:{resample}"])[0].astype(np.int64)


def measure_errors(
    name: str, rows: Rows, constant: Rows, *, task: Task, units: NDArray[np.int64]
) -> tuple[float, float]:
    """Estimate the standard error of a metric, and of its difference from the dummy's.

    One block of units is left out at a time (grouped jackknife). 0 where the metric has hardly a value.
    """
    count = int(units.max()) + 1 if len(units) else 0
    blocks = np.random.default_rng(0).permutation(count)[units] % min(BLOCKS, max(count, 1))
    values, gains = [], []
    for block in range(int(blocks.max()) + 1):
        kept = blocks != block
        value = metrics.compute(name, rows.select(kept), task)
        dummy = metrics.compute(name, constant.select(kept), task)
        values += [value] if value is not None else []
        gains += [value - dummy] if value is not None and dummy is not None else []
    return _spread(values), _spread(gains)


def _spread(values: list[float]) -> float:
    """Compute the jackknife's standard error from the values without one block each."""
    if len(values) < 2:
        return 0.0
    apart = np.asarray(values) - np.mean(values)
    return float(math.sqrt((len(values) - 1) / len(values) * float((apart**2).sum())))


def derive_gate(measures: list[Measure], primary: str, rows: int) -> Gate:
    """Derive what matters from the gain over the dummy and from the standard error, and the limits from both models."""
    matters = {one.name: choose_matters(one) for one in measures}
    limits = {}
    why = "no limit: the baseline is not clearly better than the dummy"
    judged = {one.name: one for one in measures}
    chosen = next((name for name in ("roc_auc", "roc_auc_ovr") if name in judged), primary)
    if chosen in judged and (limit := choose_limit(judged[chosen])) is not None:
        limits = {chosen: {"at_least" if judged[chosen].direction == "higher" else "at_most": limit}}
        one = judged[chosen]
        why = f"the baseline has {one.baseline:.4g}, the dummy {one.dummy:.4g}: half of the gain must stay"
    enough = min(500, max(100, rows // 10))
    return Gate(
        matters=matters,
        why_matters="a twentieth of the gain over the dummy, and a quarter of the holdout's standard error at least",
        limits=limits,
        why_limits=why,
        slices={"rows": enough, "matters": round_figure(5 * matters[primary])},
        why_slices="five times what matters of all rows",
    )


def choose_matters(one: Measure) -> float:
    """Choose the smallest difference of a metric that matters, in its own unit, with one significant digit."""
    gain = one.gain if one.gain is not None and one.name not in DUMMY_IS_SILLY else 0.0
    found = max(SHARE_OF_GAIN * max(gain, 0.0), SHARE_OF_ERROR * one.error)
    return round_figure(found) or 0.001


def choose_limit(one: Measure) -> float | None:
    """Choose a bound that the baseline keeps by three standard errors, and half of its gain over the dummy, too."""
    if one.dummy is None or one.gain is None or one.gain <= 3 * one.gain_error:
        return None
    sign = 1 if one.direction == "higher" else -1
    halfway = one.dummy + (one.baseline - one.dummy) / 2
    safe = one.baseline - sign * 3 * one.error
    chosen = min(halfway, safe) if sign > 0 else max(halfway, safe)
    return float(f"{chosen:.3g}")


def round_figure(value: float) -> float:
    """Round to one significant digit."""
    return float(f"{value:.1g}") if math.isfinite(value) and value > 0 else 0.0


def count_rows_for_verdict(one: Measure, matters: float, rows: int) -> int:
    """About how many holdout rows let four of five reviews say *equivalent* of an equally good model."""
    if not matters:
        return rows
    return math.ceil(rows * (ERROR_OF_DIFFERENCE * one.error * REACH / matters) ** 2)
