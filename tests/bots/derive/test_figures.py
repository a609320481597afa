"""Figures that are derived from predictions: they are those that the template's own pipeline writes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from bots import settings as bots_settings
from bots.derive.figures import build_metrics_report
from bots.derive.predictions import judge_rows
from bots.derive.tables import Rows
from bots.evidence import encode
from fixtures import flights
from pipeline import evaluate, files, metrics

if TYPE_CHECKING:
    from pathlib import Path

DIGEST = "sha256:" + "0" * 64
CLASSES = ["low", "mid", "top"]
MATRIX = {"low": {"top": -5.0}, "top": {"low": -50.0, "top": 2.0}}
COSTS: dict[str, dict[str, Any]] = {
    "classification": {
        "currency": "USD",
        "true_positive": 12.0,
        "false_positive": -4.0,
        "true_negative": 0.5,
        "false_negative": -1.0,
    },
    "regression": {"currency": "USD", "under": -1.0, "over": -0.4},
    "multiclass": {"currency": "USD", "matrix": MATRIX},
}


def draw_predictions(task: str, rows: int = 3000, *, weighted: bool = False) -> pd.DataFrame:
    """Predictions with ties, slices of which some are small, and a label that is missing."""
    rng = np.random.default_rng(3)
    score = np.round(rng.random(rows), 2)
    columns: dict[str, Any] = {"row": [f"r{number}" for number in range(rows)]}
    if task == "classification":
        columns |= {"target": (rng.random(rows) < score).astype(float), "score": score}
    elif task == "regression":
        columns |= {"target": score * 90 + 20 + rng.normal(size=rows), "score": score * 90 + 20}
    else:
        shares = np.round(rng.dirichlet([2, 1, 1], rows), 3)
        shares[:, 0] += 1 - shares.sum(axis=1)
        actual = [CLASSES[np.searchsorted(np.cumsum(one), rng.random() * 0.999)] for one in shares]
        columns |= {"target": actual} | {f"score:{name}": shares[:, at] for at, name in enumerate(CLASSES)}
    if weighted:
        columns["weight"] = rng.choice([0.0, 0.5, 1.0, 3.0], rows)
    hours = rng.integers(0, 24, rows)
    columns["slice:hour"] = [str(hour) for hour in np.where(hours > 21, 30, hours)]
    columns["slice:origin"] = rng.choice(["EWR", "JFK", "missing"], rows, p=[0.6, 0.39, 0.01])
    return pd.DataFrame(columns)


def make_bench(folder: Path, task: str, *, weighted: bool) -> flights.Bench:
    bench = flights.Bench(folder, "regression" if task == "regression" else "classification")
    known = metrics.CLASS_METRICS if task == "multiclass" else metrics.METRICS
    names = [name for name, one in known.items() if task in one.tasks]
    if task == "multiclass":
        names += ["recall:top", "precision:mid", "f1:low", "roc_auc:top"]
        bench.edit("params.data.derive", {})
        bench.edit("params.data.target", "carrier")
    bench.edit("params.data.task", task)
    bench.edit("params.data.weight", "distance" if weighted else None)
    bench.edit(
        "params.evaluate",
        {
            "metrics": names,
            "threshold": 0.31 if task == "classification" else None,
            "costs": COSTS[task],
            "slices": ["hour", "origin"],
            "fairness": ["origin"],
            "calibration_bins": 7,
        },
    )
    primary = "mae" if task == "regression" else "log_loss"
    bench.edit("params.gate.primary", primary)
    bench.edit("params.gate.matters", {primary: 0.1})
    bench.edit("params.gate.guards", [])
    bench.edit("params.gate.limits", {})
    bench.edit("params.gate.resample", "rows")
    bench.edit("params.gate.days_together", 1)
    files.write_evidence(
        "split",
        {"by": "random", "unlabelled": 0, "parts": [{"name": "holdout", "digest": DIGEST, "rows": 1}]},
    )
    return bench


@pytest.mark.slow
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("task", ["classification", "regression", "multiclass"])
def test_they_are_those_of_the_templates_pipeline(
    task: str, *, weighted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    bench = make_bench(tmp_path, task, weighted=weighted)
    predictions = draw_predictions(task, weighted=weighted)
    expected = evaluate.build_report(predictions, bench.settings)
    table = pa.Table.from_pandas(predictions, preserve_index=False)
    known = bots_settings.load_settings(tmp_path)
    judged = judge_rows(Rows(table, table["row"], "predictions.csv"), None, known)
    unit = "min" if task == "regression" else None
    found = json.loads(encode(build_metrics_report(judged, known, DIGEST, unit)))
    assert len(found["values"]) == len(expected["metrics"]) > 5
    one, other = fill(found), fill(expected)
    assert one.keys() == other.keys()
    for place, value in other.items():
        wanted = pytest.approx(value, rel=1e-9, abs=1e-12) if isinstance(value, float) else value
        assert one[place] == wanted, place


def fill(document: Any, place: str = "") -> dict[str, Any]:
    """A document as places and values, without the keys that say nothing."""
    if isinstance(document, dict):
        items = document.items()
    elif isinstance(document, list):
        items = enumerate(document)  # type: ignore[assignment]
    else:
        return {} if document is None else {place: document}
    found: dict[str, Any] = {}
    for key, value in items:
        if key not in ("format", "low", "high"):
            found |= fill(value, f"{place}.{key}")
    return found
