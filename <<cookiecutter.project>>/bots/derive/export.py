"""Holds a team's ONNX model against its predictions, and makes all that a release and a service read of it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from bots.derive import onnx_graph
from bots.derive.contract import describe_model
from bots.derive.explanation import build_explanation
from bots.derive.limits import draw_rows, find_limits, find_single_differences
from bots.derive.model_inputs import (
    Seen,
    build_features_report,
    find_truths,
    list_inputs,
    make_features_table,
    make_inputs,
)
from bots.derive.tables import DeriveError
from bots.evidence import ExportReport
from bots.stats import metrics
from bots.stats.predictions import get_scores

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow

    from bots.derive.limits import Limits
    from bots.derive.onnx_graph import WrappedModel
    from bots.derive.predictions import Judged
    from bots.derive.schema import Schema
    from bots.derive.tables import Rows
    from bots.evidence import Evidence
    from bots.settings import Settings
    from bots.stats.metrics import Floats

TOLERANCE: Final = 1e-4
"""How far a score may be from the prediction: of probabilities as they are, else beside the size of the scores."""


@dataclass(frozen=True)
class Export:
    """What follows from an ONNX model: reports by path, the holdout as its inputs, the model's file, its contract."""

    reports: dict[str, Evidence]
    features: pyarrow.Table
    onnx: bytes
    contract: bytes

    @property
    def warning(self) -> str | None:
        """Why the model may not ship; None where it may."""
        return next((one.reason for one in self.reports.values() if isinstance(one, ExportReport)), None)


def build_export(
    graph: Any,
    name: str,
    judged: Judged,
    holdout: Rows,
    training: Rows | None,
    *,
    chosen: Sequence[str] | None,
    tolerance: float,
    settings: Settings,
    schema: Schema,
) -> Export:
    """Wrap a model, ask it for the whole holdout, and describe it. `chosen` are the columns it takes, in its order.

    Raises `DeriveError`, which says what to write, where it does not fit the holdout or the task.
    """
    columns = list(chosen) if chosen else list_inputs(holdout.columns, settings)
    model = onnx_graph.wrap_model(
        graph,
        name,
        columns,
        task=settings.task,
        classes=len(judged.classes),
        sample=lambda known: draw_rows(make_inputs(holdout, known), 3),
    )
    own = make_inputs(holdout, model.columns)
    trained = own if training is None else make_inputs(training, model.columns)
    seen = Seen(own, trained, find_truths(holdout, model.columns))
    try:
        scores = model.score(own)
    except Exception as error:  # onnxruntime's errors share no base class
        raise DeriveError(f"{name}: it gives no answer for the holdout: {error}") from error
    if strange := next(onnx_graph.find_strange(scores, settings.task), None):
        raise DeriveError(f"{name}: {strange}")
    limits = find_limits(model, seen, schema)
    digest = "sha256:" + hashlib.sha256(model.content).hexdigest()
    alone = find_single_differences(model, own, scores)
    contract = describe_model(
        model, seen, judged, scores, limits=limits, digest=digest, settings=settings, schema=schema
    )
    found = _compare(
        model, judged, scores, limits=limits, alone=alone, tolerance=tolerance, settings=settings
    )
    name_report = settings.review.files.name_report
    explained = build_explanation(model, seen, judged, scores, settings=settings, schema=schema)
    return Export(
        reports={
            name_report("features"): build_features_report(seen, model.columns, schema),
            name_report("export"): found,
            name_report("explanation"): explained,
        },
        features=make_features_table(judged, seen, model.columns),
        onnx=model.content,
        contract=json.dumps(contract, ensure_ascii=False, indent=1, allow_nan=False).encode() + b"\n",
    )


def _compare(
    model: WrappedModel,
    judged: Judged,
    scores: Floats,
    *,
    limits: Limits,
    alone: float,
    tolerance: float,
    settings: Settings,
) -> ExportReport:
    """Hold the model's scores against the predictions. A difference is evidence, which the review judges."""
    expected = get_scores(judged.table, settings.review.files.predictions, judged.classes)
    differences = metrics.scale_differences(scores, expected, settings.task)
    problems = list(limits.problems)
    if wrong := int((~(differences <= tolerance)).sum()):
        problems.insert(
            0,
            f"it differs from the predictions by more than {tolerance:g} in {wrong:,} of {len(scores):,} rows",
        )
    size = float(np.abs(scores).max(initial=0.0)) if settings.task == "regression" else 1.0
    if not alone <= tolerance * max(size, 1e-30):
        problems.append(f"it answers a row otherwise when it is asked alone, by up to {alone:.2g}")
    return ExportReport(
        exported=True,
        passed=not problems,
        step="parity" if problems else None,
        reason=f"the ONNX model does not answer as it should: {'; '.join(problems)}"[:2000]
        if problems
        else None,
        opset=model.opset,
        digest="sha256:" + hashlib.sha256(model.content).hexdigest(),
        bytes=len(model.content),
        rows=len(scores),
        asked=limits.asked,
        required=sorted(limits.required),
        closed=sorted(limits.closed),
        largest_difference=float(differences.max(initial=0.0)),
        tolerance=tolerance,
        flips=_count_flips(scores, expected, settings),
    )


def _count_flips(scores: Floats, expected: Floats, settings: Settings) -> int | None:
    """How many rows are called otherwise; None of a regression."""
    if settings.task == "regression":
        return None
    if scores.ndim == 2:
        return int((scores.argmax(axis=1) != expected.argmax(axis=1)).sum())
    threshold = 0.5 if settings.evaluate.threshold is None else settings.evaluate.threshold
    return int(((scores >= threshold) != (expected >= threshold)).sum())
