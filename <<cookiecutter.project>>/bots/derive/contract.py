"""Makes the service's contract of a team's model: what it takes, what training held, and what its scores mean."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from bots.derive.limits import draw_rows, list_known
from bots.derive.model_inputs import MOST_CATEGORIES, find_gaps
from bots.derive.tables import DeriveError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bots.derive.limits import Limits
    from bots.derive.model_inputs import Seen
    from bots.derive.onnx_graph import Columns, WrappedModel
    from bots.derive.predictions import Judged
    from bots.derive.schema import Column, Schema
    from bots.evidence import Task
    from bots.settings import Settings
    from bots.stats.metrics import Floats

PROBES: Final = 8
CONFIDENCE: Final = 0.9
"""Of a regression's interval."""
CALIBRATION_BINS: Final = 20
INTERVAL_BINS: Final = 10
FEWEST: Final = 50
"""Rows that a bin must have to say something."""
_SHARES: Final = [round(step * 0.05, 2) for step in range(1, 21)]
_QUANTITIES: Final = [digit * 10.0**power for power in range(-3, 7) for digit in (1, 2, 5)]
GRIDS: Final[dict[str, list[float]]] = {
    "classification": _SHARES,
    "regression": [*(-bound for bound in reversed(_QUANTITIES)), 0.0, *_QUANTITIES],
    "multiclass": _SHARES,
}
"""The bounds between which the service counts its scores, the same as those of the template's own export."""


def describe_model(
    model: WrappedModel,
    seen: Seen,
    judged: Judged,
    scores: Floats,
    *,
    limits: Limits,
    digest: str,
    settings: Settings,
    schema: Schema,
) -> dict[str, Any]:
    """Describe a wrapped model for the service, as `serving/contract.py` reads it.

    `scores` are the holdout's, (n,) or (n, classes), `digest` is that of the model's file. Of a personal column no
    value is shown. Raises `DeriveError` where a service could not test itself.
    """
    task = settings.task
    inputs = [
        _describe_input(name, seen, model.columns, limits, schema.find_column(name))
        for name in model.columns.names
    ]
    target, top, called = judged.target, scores, list[int]()
    if judged.classes:
        answered = scores.argmax(axis=1)
        called = np.bincount(answered, minlength=len(judged.classes)).tolist()
        target, top = (answered == judged.target).astype(np.float64), scores.max(axis=1)
    name = settings.data.target or "target"
    said, answers = schema.find_column(name), judged.answers
    threshold = 0.5 if settings.evaluate.threshold is None else settings.evaluate.threshold
    return {
        "format": 1,
        "title": settings.project.title,
        "question": settings.project.description,
        "row": schema.row or "one row",
        "moment": schema.moment,
        "task": task,
        "target": {
            "name": name,
            "description": said.description,
            "unit": said.unit,
            "answers": None if answers is None else {"yes": answers.yes, "no": answers.no},
        },
        "threshold": threshold if task == "classification" else None,
        "onnx": digest,
        "opset": model.opset,
        "inputs": inputs,
        "identity": [],
        "confidence": CONFIDENCE if task == "regression" else None,
        "experience": summarize_experience(target, top, task),
        "grid": GRIDS[task],
        "holdout": count_scores(top, GRIDS[task]),
        "probes": _choose_probes(model, seen, inputs),
        **({"classes": list(judged.classes), "called": called} if judged.classes else {}),
    }


def summarize_experience(target: Floats, scores: Floats, task: Task) -> list[dict[str, Any]]:
    """Say of scores from `above` on how often the holdout's answer was yes, or how far off the scores were.

    Of several classes a score is the largest probability, and yes means that its class was right. The bins hold equally
    many rows, as far as equal scores share a bin, and `FEWEST` or more: there are none of fewer rows. A quantity's
    `low` and `high` are added to a score for an interval: split conformal prediction within each bin (Lei et al. 2018,
    "Distribution-free predictive inference for regression"; by groups after Vovk 2012), which covers `CONFIDENCE` of
    rows like the holdout's.
    """
    most = INTERVAL_BINS if task == "regression" else CALIBRATION_BINS
    edges = _find_edges(scores, most)
    members = np.searchsorted(edges, scores, side="right") - 1
    found = []
    for number, edge in enumerate(edges):
        chosen = members == number
        entry: dict[str, Any] = {"above": float(edge), "rows": int(chosen.sum())}
        if task == "regression":
            entry["low"], entry["high"] = _find_interval(np.sort(target[chosen] - scores[chosen]))
        else:
            entry["share"] = float(target[chosen].mean())
        found.append(entry)
    return found


def _find_edges(scores: Floats, most: int) -> list[float]:
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


def _find_interval(residuals: Floats) -> tuple[float, float]:
    """The two residuals (given in order) between which the next one lies with `CONFIDENCE`."""
    rows = len(residuals)
    tail = (1 - CONFIDENCE) / 2
    high = min(math.ceil((rows + 1) * (1 - tail)), rows) - 1
    low = max(math.floor((rows + 1) * tail), 1) - 1
    return float(residuals[low]), float(residuals[high])


def count_scores(scores: Floats, grid: list[float]) -> list[int]:
    """Count the scores between two bounds, upper bound included; the last count is of those above all bounds."""
    places = np.searchsorted(grid, scores, side="left")
    return [int(count) for count in np.bincount(places, minlength=len(grid) + 1)]


def _describe_input(name: str, seen: Seen, columns: Columns, limits: Limits, said: Column) -> dict[str, Any]:
    """What is said of an input, which values training had, and what the service must refuse."""
    values, number, closed = seen.training[name], name in columns.numbers, name in limits.closed
    known = values[~find_gaps(values), 0]
    missing = float(find_gaps(values).mean())
    kind = "number" if number else "category"
    plain = "boolean" if name in seen.truths else kind
    held = (
        _describe_numbers(known)
        if number
        else _describe_categories(known, list_known(seen.training, name), whole=closed)
    )
    if said.type == "text" and not closed:
        held["seen"] = None
    if said.personal:
        held = dict.fromkeys(held)
    return {
        "name": name,
        "kind": kind,
        "type": "text" if said.type == "text" and not number else plain,
        "description": said.description,
        "unit": said.unit,
        "nullable": (missing > 0 if said.nullable is None else said.nullable) and name not in limits.required,
        "personal": said.personal,
        "range": list(said.range) if said.range is not None and number else None,
        "categories": None if number else said.categories,
        "missing": missing,
        "required": name in limits.required,
        "closed": closed,
        **held,
    }


def _describe_numbers(known: NDArray[Any]) -> dict[str, Any]:
    if not len(known):
        return {"low": None, "high": None, "seen": None, "example": None}
    # Not the mean of the two middle values: an example is a value that occurs.
    middle = np.sort(known)[(len(known) - 1) // 2]
    return {
        "low": float(known.min()),
        "high": float(known.max()),
        "seen": None,
        "example": _shorten(float(middle)),
    }


def _describe_categories(known: NDArray[Any], names: list[str], *, whole: bool) -> dict[str, Any]:
    counts = Counter(map(str, known))
    often = [name for name, count in counts.items() if count == max(counts.values())]
    return {
        "low": None,
        "high": None,
        # With more categories than this the service does not warn of new ones. Where it must refuse them, it has all.
        "seen": names if whole or len(names) <= MOST_CATEGORIES else None,
        "example": min(often, default=None),
    }


def _shorten(number: float) -> float:
    """The shortest decimal number that is the same float32."""
    return float(str(np.float32(number)))


def _choose_probes(model: WrappedModel, seen: Seen, inputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A few holdout rows with the model's scores, with which a service tests itself; no personal values."""
    rows = draw_rows(seen.holdout, PROBES)
    hidden = [entry["name"] for entry in inputs if entry["personal"]]
    for entry in inputs:
        if entry["personal"] and entry["kind"] == "number":
            rows[entry["name"]] = np.full_like(rows[entry["name"]], 1.0 if entry["required"] else np.nan)
        elif entry["personal"]:
            rows[entry["name"]] = np.full_like(rows[entry["name"]], "")
    scores = model.ask(rows)
    probes = [
        {"row": {name: _write_cell(column[at, 0]) for name, column in rows.items()}, "score": found.tolist()}
        for at, found in enumerate(scores)
        if np.isfinite(found).all()
    ]
    if not probes:
        why = f" without the values of personal columns ({', '.join(hidden)}); let the model take gaps there"
        raise DeriveError(
            f"the ONNX model answers no row of the holdout{why if hidden else ''}: nothing can serve it"
        )
    return probes


def _write_cell(value: Any) -> float | str | None:
    if isinstance(value, str):
        return value or None
    return None if np.isnan(value) else _shorten(float(value))
