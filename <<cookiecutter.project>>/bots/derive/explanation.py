"""Explains a model by its answers alone: which inputs move its score, and what made its worst predictions.

The importance of an input is by how much the score changes on average when that input is shuffled over the rows
(permutation importance: Breiman, Random Forests, 2001, measured on the score), as the verification measures it. Its
part in a prediction is what changes when the input takes its usual value.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from bots.derive.model_inputs import find_gaps
from bots.evidence import ClassRanking, ExplanationReport, Importance, Reason, WorstPrediction
from bots.stats.targets import write_label
from bots.verification.permutation_importance import correlate_ranks

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bots.derive.model_inputs import Seen
    from bots.derive.onnx_graph import Inputs, WrappedModel
    from bots.derive.predictions import Judged
    from bots.derive.schema import Schema
    from bots.evidence import Task
    from bots.settings import Settings
    from bots.stats.metrics import Floats

SEED: Final = 7
REPEATS: Final = 3
SCORED: Final = 300_000
"""The most rows that the model scores, over all inputs and repeats."""
MOST_ROWS: Final = 2_000
FEWEST_ROWS: Final = 50
WORST: Final = 10
REASONS: Final = 6
MOST_OF_A_CLASS: Final = 20


def build_explanation(
    model: WrappedModel, seen: Seen, judged: Judged, scores: Floats, *, settings: Settings, schema: Schema
) -> ExplanationReport:
    """Rank a model's inputs, and tell what made its worst predictions; `scores` are the model's own, of the holdout."""
    names = model.columns.names
    rows = _choose_rows(len(scores), len(names))
    sample = {name: seen.holdout[name][rows] for name in names}
    usual = {name: _find_usual(seen.training[name]) for name in names}
    before = scores[rows].reshape(len(rows), -1)
    shuffled = np.stack([_measure_shuffled(model, sample, name, before) for name in names])
    effects = {name: before - _score_usual(model, sample, name, usual[name]) for name in names}
    numbers = {
        name: None if name in model.columns.texts else _find_direction(sample[name], effects[name])
        for name in names
    }
    several = bool(judged.classes)
    task, target = settings.task, settings.data.target or "target"
    return ExplanationReport(
        method="permutation",
        output=target if task == "regression" else "probability",
        rows=len(rows),
        base=None,
        additivity=None,
        passed=True,
        note=(
            "made from the model's answers alone: a column's importance is by how much shuffling it changes the score "
            "on average, and its part in a prediction is what changes when it takes its usual value"
        ),
        ranking=_rank(names, shuffled.mean(axis=1), {} if several else numbers),
        worst=_describe_worst(model, seen, judged, scores, usual=usual, task=task, schema=schema),
        classes=[
            ClassRanking(name=name, ranking=_rank(names, shuffled[:, at], {})[:MOST_OF_A_CLASS])
            for at, name in enumerate(judged.classes)
        ],
    )


def _choose_rows(rows: int, columns: int) -> NDArray[np.intp]:
    """The rows that are shuffled, in order; always the same ones of a holdout."""
    count = min(rows, MOST_ROWS, max(FEWEST_ROWS, SCORED // (REPEATS * columns)))
    return np.sort(np.random.default_rng(SEED).choice(rows, count, replace=False))


def _measure_shuffled(model: WrappedModel, sample: Inputs, name: str, before: Floats) -> Floats:
    """How much the scores change on average when a column is shuffled, (1,) or (classes,)."""
    rng = np.random.default_rng(SEED)
    changes = []
    for _ in range(REPEATS):
        after = model.ask({**sample, name: rng.permutation(sample[name])}).reshape(before.shape)
        changes.append(
            np.nanmean(np.abs(after - before), axis=0)
            if np.isfinite(after).any()
            else np.zeros(before.shape[1])
        )
    found: Floats = np.mean(changes, axis=0)
    return found


def _score_usual(model: WrappedModel, sample: Inputs, name: str, value: str | float) -> Floats:
    """The scores of rows with a column at its usual value, (n, 1) or (n, classes)."""
    column = np.full_like(sample[name], value)
    return model.ask({**sample, name: column}).reshape(len(column), -1)


def _find_usual(column: NDArray[np.generic]) -> str | float:
    """A column's median, or its most frequent category (the first in order where several are)."""
    known = column[~find_gaps(column), 0]
    if column.dtype == object:
        found, counts = np.unique(known.astype(str), return_counts=True)
        return str(found[counts.argmax()]) if len(found) else ""
    return float(np.median(known)) if len(known) else float("nan")


def _find_direction(column: NDArray[np.generic], effects: Floats) -> float | None:
    """The rank correlation of value and effect over rows with both; None where one is constant, and for classes."""
    if effects.shape[1] != 1:
        return None
    values, changes = column[:, 0].astype(np.float64), effects[:, 0]
    there = np.isfinite(values) & np.isfinite(changes)
    values, changes = values[there], changes[there]
    if not len(values) or not np.ptp(values) or not np.ptp(changes):
        return None
    return round(float(np.clip(correlate_ranks(list(values), list(changes)), -1, 1)), 3)


def _rank(
    names: tuple[str, ...], importance: Floats, directions: dict[str, float | None]
) -> list[Importance]:
    total = float(importance.sum()) or 1.0
    known = dict(zip(names, map(float, importance), strict=True))
    return [
        Importance(
            feature=name,
            importance=_round(known[name]),
            share=round(known[name] / total, 6),
            direction=directions.get(name),
        )
        for name in sorted(known, key=lambda name: (-known[name], name))
    ]


def _describe_worst(
    model: WrappedModel,
    seen: Seen,
    judged: Judged,
    scores: Floats,
    *,
    usual: dict[str, str | float],
    task: Task,
    schema: Schema,
) -> list[WorstPrediction]:
    """The predictions with the largest loss, worst first, each with the inputs that moved it most.

    The loss is the log loss in nats, of a regression the absolute error. Values of personal columns are not shown.
    """
    own = judged.target.astype(int) if judged.classes else np.zeros(len(scores), dtype=int)
    table = scores.reshape(len(scores), -1)
    score = table[np.arange(len(table)), own]
    target = np.ones(len(table)) if judged.classes else judged.target
    if task == "regression":
        loss = np.abs(target - score)
    else:
        loss = -np.log(np.clip(np.where(target == 1, score, 1 - score), 1e-15, 1))
    rows = np.argsort(-loss, kind="stable")[:WORST]
    sample = {name: seen.holdout[name][rows] for name in model.columns.names}
    effects = {
        name: table[rows, own[rows]]
        - _score_usual(model, sample, name, usual[name])[np.arange(len(rows)), own[rows]]
        for name in model.columns.names
    }
    names = judged.names.take(rows).to_pylist()
    called = table.argmax(axis=1)
    return [
        WorstPrediction(
            row=names[at],
            target=_round(target[row]),
            score=_round(score[row]),
            loss=_round(loss[row]),
            actual=judged.classes[own[row]] if judged.classes else None,
            called=judged.classes[called[row]] if judged.classes else None,
            reasons=_find_reasons({name: float(effects[name][at]) for name in effects}, sample, at, schema),
        )
        for at, row in enumerate(rows)
    ]


def _find_reasons(effects: dict[str, float], sample: Inputs, at: int, schema: Schema) -> list[Reason]:
    moved = [name for name, effect in effects.items() if np.isfinite(effect) and effect]
    strongest = sorted(moved, key=lambda name: (-abs(effects[name]), name))[:REASONS]
    return [
        Reason(
            feature=name,
            value="(personal)" if schema.find_column(name).personal else _write_value(sample[name][at, 0]),
            effect=_round(effects[name]),
        )
        for name in strongest
    ]


def _write_value(value: str | float) -> str:
    if isinstance(value, str):
        return value[:200] or "missing"
    number = float(value)
    if np.isnan(number):
        return "missing"
    return write_label(number) if number.is_integer() and abs(number) < 1e15 else f"{number:.4g}"


def _round(value: float) -> float:
    """Six significant digits: later ones differ between machines."""
    return float(f"{value:.6g}")
