"""Write schema.yaml and edit params.yaml for a proposal, every fact with its evidence and confidence as a comment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from pipeline.onboarding.yaml_text import format_comment, format_flow, set_value

if TYPE_CHECKING:
    from pipeline.onboarding.baseline import Gate
    from pipeline.onboarding.proposal import Fact, Proposal
    from pipeline.params import Task

HEAD = """\
# The data contract: what a row is, and what each column means. Pandera checks it in `validate`; the model
# card and the service's request form are made from it.
#
#   type      number | category | datetime | boolean | text
#   known     before: at the moment of prediction.  after: only later, so it can never be a feature
#   range     [lowest, highest] that is physically or commercially possible
#   nullable  true where a missing value is normal;  missing: the largest share that is still normal
#   null      the texts that stand for no value
#   strip     the sign that stands beside each number in a text file ($, %);  thousands: what parts its thousands
#   decimal   the column's decimal sign, where it is another than data.read.decimal of params.yaml
#   personal  true where it could tell about a person
#   leak      checked: somebody said that it is known before, although it predicts the target nearly alone
#
# Written by `python -m pipeline onboard`. A comment says what a line was concluded from, and how sure it is. Correct
# what is wrong, and add what only you know: `description`, `unit`, and what a row is.
"""
ESTIMATORS = {
    "classification": "sklearn.ensemble.HistGradientBoostingClassifier",
    "multiclass": "sklearn.ensemble.HistGradientBoostingClassifier",
    "regression": "sklearn.ensemble.HistGradientBoostingRegressor",
}
METRICS = {
    "classification": [
        "roc_auc", "average_precision", "log_loss", "brier", "accuracy", "precision", "recall", "f1",
        "expected_calibration_error",
    ],
    "multiclass": [
        "log_loss", "brier", "accuracy", "balanced_accuracy", "f1_macro", "precision_macro", "roc_auc_ovr",
        "expected_calibration_error",
    ],
    "regression": ["mae", "rmse", "r2", "median_absolute_error", "bias"],
}  # fmt: skip
PRIMARY = {"classification": "log_loss", "multiclass": "log_loss", "regression": "mae"}
GUARDS = {"classification": ["roc_auc"], "multiclass": ["balanced_accuracy"], "regression": ["rmse"]}
FEW_ROWS = 10_000
NOTHING = object()


def write_schema(
    proposal: Proposal, row: str, moment: str | None = None, null: list[str] | None = None
) -> str:
    """Write schema.yaml; `row` says what a row is, `moment` when the model is asked, `null` what is no value."""
    lines = [f"row: {format_flow(row)}", f"moment: {format_flow(moment)}"]
    if moment is None:
        lines[-1] += "  # say when the model is asked, in words"
    if null is not None:
        lines.append(f"null: {format_flow(null)}")
    facts = {fact.where: fact for fact in proposal.facts}
    lines.append(
        f"identity: {format_flow(list(proposal.identity))}{_tell(facts.get('schema.yaml: identity'))}"
    )
    if proposal.natural:
        lines.append("duplicates: natural")
    if proposal.time is not None:
        lines.append(f"time: {format_flow(proposal.time)}{_tell(facts.get('schema.yaml: time'))}")
    lines.append("columns:")
    for column in proposal.columns:
        lines.append(f"  {format_comment(_add_confidence(column.evidence, column.confidence))}")
        lines.append(f"  {format_flow(column.name)}: {format_flow(column.contract)}")
    return HEAD + "\n".join(lines) + "\n"


@dataclass(frozen=True)
class Edit:
    """One value of params.yaml that is set, and the comment behind it."""

    path: str
    value: Any
    comment: str = ""
    block: bool = False


def list_edits(proposal: Proposal, source: str) -> list[Edit]:
    """List the edits of params.yaml; costs are taken out until somebody states them, and so is the metric `value`."""
    facts = {fact.where.removeprefix("params.yaml: "): fact for fact in proposal.facts}
    split = proposal.split
    return [
        Edit("data.source", source),
        *(
            Edit(f"data.read.{key}", value, _tell_reading(key, value))
            for key, value in fill_read(proposal.read).items()
        ),
        Edit("data.task", proposal.task, _say(facts.get("data.task"))),
        Edit("data.target", proposal.target, _say(facts.get("data.target"))),
        Edit(
            "data.positive", proposal.positive, _say(facts.get("data.positive")) if proposal.positive else ""
        ),
        Edit("data.classes", proposal.classes, "their order, by size" if proposal.classes else ""),
        Edit("data.derive", {}),
        Edit("data.max_age_days", None),
        Edit("data.leakage", proposal.leakage, _tell_leakage(proposal)),
        Edit("split.by", split["by"], _say(facts.get("split"))),
        Edit("split.column", split.get("column")),
        *(
            Edit(f"split.{part}", split.get(part, [None, None]))
            for part in ("train", "holdout", "production")
        ),
        Edit("split.holdout_share", split.get("holdout_share", 0.2)),
        Edit("features.numeric", proposal.list_inputs("numeric")),
        Edit("features.categorical", proposal.list_inputs("categorical")),
        Edit("features.derived", {}),
        Edit("model.estimator", choose_estimator(proposal), block=True),
        Edit("evaluate.metrics", METRICS[proposal.task]),
        Edit("evaluate.threshold", proposal.threshold, _tell_threshold(proposal)),
        Edit("evaluate.costs", None),
        Edit("evaluate.slices", list(proposal.slices)),
        Edit("evaluate.fairness", list(proposal.fairness)),
        Edit("drift.period", proposal.period),
        Edit("gate.resample", proposal.resample, _say(facts.get("gate.resample"))),
        Edit("gate.primary", PRIMARY[proposal.task]),
        Edit("gate.guards", GUARDS[proposal.task]),
    ]


def list_first_gate(text: str, task: Task) -> list[Edit]:
    """List the edits that let the pipeline run before its gate is known: none where it has this task's metrics."""
    gate = yaml.safe_load(text)["gate"]
    named = {*gate["matters"], *(gate.get("limits") or {})}
    if named <= set(METRICS[task]) and {PRIMARY[task], *GUARDS[task]} <= set(gate["matters"]):
        return []
    first = dict.fromkeys(METRICS[task], 1.0)
    return [Edit("gate.matters", first), Edit("gate.limits", {}), Edit("gate.slices", None)]


def list_gate_edits(gate: Gate) -> list[Edit]:
    """List the edits that the baseline gives: what matters, the limits, and how slices are judged."""
    return [
        Edit("gate.matters", gate.matters, gate.why_matters),
        Edit("gate.limits", gate.limits, gate.why_limits),
        Edit("gate.slices", gate.slices, gate.why_slices),
    ]


def apply_edits(text: str, edits: list[Edit]) -> str:
    """Apply edits to the text of params.yaml; a key that is not there and would say nothing is not added."""
    document = yaml.safe_load(text)
    for edit in edits:
        now = look_up(document, edit.path)
        if (now is NOTHING and edit.value in (None, {})) or (now == edit.value and not edit.comment):
            continue
        text = set_value(text, edit.path, edit.value, edit.comment, block=edit.block)
        document = yaml.safe_load(text)
    return text


def fill_read(read: dict[str, Any]) -> dict[str, Any]:
    """Fill `data.read` with the defaults, so that nothing of another table stays."""
    keys = ("separator", "encoding", "quote", "decimal", "dates", "sheet", "header", "query")
    return {key: read.get(key, "." if key == "decimal" else None) for key in keys}


def _tell_reading(key: str, value: Any) -> str:
    """Say that a way to read the table was found out; a query is given, and the usual needs no word."""
    return "" if key == "query" or value in (None, ".") else "found out"


def look_up(document: Any, path: str) -> Any:
    """Look up the value of a path such as `gate.slices.rows`; NOTHING where there is none."""
    for key in path.split("."):
        if not isinstance(document, dict) or key not in document:
            return NOTHING
        document = document[key]
    return document


def choose_estimator(proposal: Proposal) -> dict[str, Any]:
    """Choose the baseline: gradient boosting, with smaller trees where there are few rows."""
    few = proposal.rows < FEW_ROWS
    params = {
        "max_iter": 100 if few else 200,
        "learning_rate": 0.05,
        "max_leaf_nodes": 7 if few else 31,
        "l2_regularization": 1.0,
    }
    if few:
        params["min_samples_leaf"] = max(5, min(20, proposal.rows // 50))
    return {"use": ESTIMATORS[proposal.task], "params": params}


def _tell(fact: Fact | None) -> str:
    """Write a fact as the comment behind a line."""
    return f"  {format_comment(_say(fact))}" if fact else ""


def _say(fact: Fact | None) -> str:
    return _add_confidence(fact.evidence, fact.confidence) if fact else ""


def _add_confidence(evidence: str, confidence: float) -> str:
    return f"{evidence} ({confidence:.0%})"


def _tell_leakage(proposal: Proposal) -> str:
    if proposal.leakage <= 0.8:
        return ""
    kept = [column.name for column in proposal.columns if column.section and column.name in proposal.suspects]
    if not kept:
        return "the strongest input is not far below it"
    return f"{', '.join(kept[:3])} alone come near it; look whether they are known before"


def _tell_threshold(proposal: Proposal) -> str:
    if proposal.threshold is None or proposal.share is None:
        return ""
    return f"{proposal.share:.1%} of the rows are a yes; costs, once stated, say better where a yes begins"
