"""Write the service's contract beside the ONNX model: what serving must know of its inputs and answers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline import files, parity
from pipeline.classes import find_called

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pandas as pd

    from pipeline.params import Params, Task
    from pipeline.parity import Limits
    from pipeline.table import Column, Schema

PATH = files.ONNX.with_name("contract.json")
MOST_CATEGORIES = 1000
PROBES = 8
CONFIDENCE = 0.9  # of a regression's interval
CALIBRATION_BINS = 20
INTERVAL_BINS = 10
FEWEST = 50  # rows that a bin must have to say something

# The bounds between which the service counts its scores. They do not depend on the model, so that two versions of a
# service can always be compared.
SHARES = [round(step * 0.05, 2) for step in range(1, 21)]
QUANTITIES = [digit * 10.0**power for power in range(-3, 7) for digit in (1, 2, 5)]
GRIDS: dict[Task, list[float]] = {
    "classification": SHARES,
    "regression": [*(-bound for bound in reversed(QUANTITIES)), 0.0, *QUANTITIES],
    "multiclass": SHARES,
}


class NoProbe(Exception):
    """There is no row without personal values by which a service could test the model."""


def write(content: dict[str, Any]) -> None:
    """Write `models/onnx/contract.json`; the same content gives the same bytes."""
    files.write_json(content, PATH, indent=1)


def describe(
    settings: Params,
    schema: Schema,
    train: pd.DataFrame,
    holdout: pd.DataFrame,
    target: np.ndarray,
    scores: np.ndarray,
    score: Callable[[pd.DataFrame], np.ndarray],
    opset: int,
    onnx: str,
    limits: Limits,
    answers: dict[str, str] | None = None,
    names: Sequence[str] = (),
) -> dict[str, Any]:
    """Describe an ONNX model for the service.

    `train` and `holdout` hold the model's inputs; `target` and `scores` are float64, shape (holdout rows,); of several
    classes `names` are their names, targets their numbers, and scores (holdout rows, classes). `score` runs the ONNX
    model, whose digest is `onnx`. `limits` are what the service must refuse, `answers` what yes and no are called.
    Of a personal column no value is shown. Raises `NoProbe`.
    """
    inputs = [
        _describe_input(name, "number", column=schema.columns[name], values=train[name], limits=limits)
        for name in settings.features.numeric
    ]
    inputs += [
        _describe_input(name, "category", column=schema.columns[name], values=train[name], limits=limits)
        for name in settings.features.words
    ]
    for entry in inputs:
        if entry["name"] in settings.features.text and not entry["closed"]:
            entry["seen"] = None  # each text is a new one
    called: list[int] = []
    probes = _choose_probes(inputs, holdout, score)
    if names:
        answered = find_called(scores)
        called = np.bincount(answered, minlength=len(names)).tolist()
        target, scores = (answered == target).astype(np.float64), scores.max(axis=1)
    declared = schema.columns[settings.data.target]
    known = np.isfinite(target)
    return {
        "format": 1,
        "title": settings.project.title,
        "question": settings.project.description,
        "row": schema.row,
        "moment": schema.moment,
        "task": settings.task,
        "target": {
            "name": settings.data.target,
            "description": declared.description,
            "unit": declared.unit,
            "answers": answers,
        },
        "threshold": _choose_threshold(settings),
        "onnx": onnx,
        "opset": opset,
        "inputs": inputs,
        "identity": [
            {
                "name": name,
                "type": column.type,
                "description": column.description,
                "personal": column.personal,
            }
            for name, column in ((name, schema.columns[name]) for name in schema.identity)
            if name not in settings.features.raw
        ],
        "confidence": CONFIDENCE if settings.task == "regression" else None,
        "experience": summarize_experience(target[known], scores[known], settings.task),
        "grid": GRIDS[settings.task],
        "holdout": count_scores(scores, GRIDS[settings.task]),
        "probes": probes,
        **({"classes": list(names), "called": called} if names else {}),
    }


def summarize_experience(target: np.ndarray, scores: np.ndarray, task: Task) -> list[dict[str, Any]]:
    """Say of scores from `above` on how often the holdout's answer was yes, or how far off the scores were.

    Of several classes a score is the largest probability, and yes means that its class was right.

    The bins hold equally many rows, as far as equal scores share a bin, and `FEWEST` or more: there are none of fewer
    rows. A quantity's `low` and `high` are added to a score for
    an interval: split conformal prediction within each bin (Lei et al. 2018, "Distribution-free predictive inference
    for regression"; by groups after Vovk 2012), which covers `CONFIDENCE` of rows like the holdout's.
    """
    most = INTERVAL_BINS if task == "regression" else CALIBRATION_BINS
    edges = _find_edges(scores, most)
    found = []
    members = np.searchsorted(edges, scores, side="right") - 1
    for number, edge in enumerate(edges):
        chosen = members == number
        entry: dict[str, Any] = {"above": float(edge), "rows": int(chosen.sum())}
        if task == "regression":
            entry["low"], entry["high"] = _find_interval(np.sort(target[chosen] - scores[chosen]))
        else:
            entry["share"] = float(target[chosen].mean())
        found.append(entry)
    return found


def count_scores(scores: np.ndarray, grid: list[float]) -> list[int]:
    """Count the scores between two bounds, upper bound included; the last count is of those above all bounds."""
    return np.bincount(np.searchsorted(grid, scores, side="left"), minlength=len(grid) + 1).tolist()


def _find_edges(scores: np.ndarray, most: int) -> list[float]:
    """The lowest score of each of at most `most` bins, which have `FEWEST` rows or more; none of fewer rows."""
    bins = min(most, len(scores) // FEWEST)
    if not bins:
        return []
    edges = np.unique(np.sort(scores)[np.arange(bins) * len(scores) // bins])
    counts = np.bincount(np.searchsorted(edges, scores, side="right") - 1, minlength=len(edges))
    kept, rows = list[float](), FEWEST
    for edge, count in zip(edges.tolist(), counts.tolist(), strict=True):
        if rows >= FEWEST:
            kept.append(edge)
            rows = 0
        rows += count
    return kept[:-1] if rows < FEWEST else kept


def _find_interval(residuals: np.ndarray) -> tuple[float, float]:
    """Find the two residuals (given in order) between which the next one lies with `CONFIDENCE`."""
    rows = len(residuals)
    tail = (1 - CONFIDENCE) / 2
    high = min(math.ceil((rows + 1) * (1 - tail)), rows) - 1
    low = max(math.floor((rows + 1) * tail), 1) - 1
    return float(residuals[low]), float(residuals[high])


def _choose_threshold(settings: Params) -> float | None:
    if settings.task != "classification":
        return None
    return 0.5 if settings.evaluate.threshold is None else settings.evaluate.threshold


def _describe_input(
    name: str, kind: str, column: Column, values: pd.Series, limits: Limits
) -> dict[str, Any]:
    """Describe one input: what schema.yaml says of it, which values training had, and what the service must refuse."""
    missing = float((values.isna() if kind == "number" else values == "").mean())
    closed = name in limits.closed
    seen = _describe_numbers(values) if kind == "number" else _describe_categories(values, whole=closed)
    if column.personal:
        seen = dict.fromkeys(seen)
    return {
        "name": name,
        "kind": kind,
        "type": column.type,
        "description": column.description,
        "unit": column.unit,
        "nullable": column.nullable,
        "personal": column.personal,
        "range": list(column.range) if column.range is not None else None,
        "categories": column.categories,
        "missing": missing,
        "required": name in limits.required,
        "closed": closed,
        **seen,
    }


def _describe_numbers(values: pd.Series) -> dict[str, Any]:
    known = values.dropna()
    if known.empty:
        return {"low": None, "high": None, "seen": None, "example": None}
    # Not the mean of the two middle values: an example is a value that occurs.
    middle = known.quantile(0.5, interpolation="lower")
    return {
        "low": float(known.min()),
        "high": float(known.max()),
        "seen": None,
        "example": _shorten(float(middle)),
    }


def _describe_categories(values: pd.Series, *, whole: bool) -> dict[str, Any]:
    counts = values[values != ""].value_counts()
    names = sorted(str(name) for name in counts.index)
    often = [str(name) for name in counts.index[counts == counts.max()]]
    return {
        "low": None,
        "high": None,
        # With more categories than this the service does not warn of new ones. Where it must refuse them, it has all.
        "seen": names if whole or len(names) <= MOST_CATEGORIES else None,
        "example": min(often, default=None),
    }


def _shorten(number: float) -> float:
    """Return the shortest decimal number that is the same float32."""
    return float(str(np.float32(number)))


def _choose_probes(
    inputs: list[dict[str, Any]], holdout: pd.DataFrame, score: Callable[[pd.DataFrame], np.ndarray]
) -> list[dict[str, Any]]:
    """Choose a few holdout rows and add the model's scores, with which a service tests itself; no personal values."""
    rows = holdout.iloc[np.unique(np.linspace(0, len(holdout) - 1, PROBES).astype(int))].copy()
    hidden = [entry for entry in inputs if entry["personal"]]
    for entry in hidden:
        if entry["kind"] == "number":
            rows[entry["name"]] = np.float32(1.0 if entry["required"] else "nan")
        else:
            rows[entry["name"]] = ""
    names = {entry["name"]: entry["kind"] for entry in inputs}
    given = [
        {name: _convert_value(row[name], kind) for name, kind in names.items()}
        for row in rows[list(names)].to_dict("records")
    ]
    scores = parity.ask(rows, score)
    probes = [
        {"row": row, "score": found.tolist()}
        for row, found in zip(given, scores, strict=False)
        if np.isfinite(found).all()
    ]
    if not probes:
        words = "the service could not test itself: the ONNX model answers no row"
        if hidden:
            words += (
                f" without the values of personal columns ({', '.join(entry['name'] for entry in hidden)}); let their "
                "encoder take new categories (handle_unknown in model.steps of params.yaml)"
            )
        raise NoProbe(words)
    return probes


def _convert_value(value: Any, kind: str) -> float | str | None:
    if kind == "category":
        return str(value) or None
    return None if math.isnan(value) else _shorten(value)
