"""Write schema.yaml and edit params.yaml for a proposal, every fact with its evidence and confidence as a comment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeline.onboarding.yaml_text import format_comment, format_flow, set_value

if TYPE_CHECKING:
    from pipeline.onboarding.baseline import Gate
    from pipeline.onboarding.proposal import Fact, Proposal

HEAD = """\
# The data contract: what a row is, and what each column means. Pandera checks it in `validate`; the model
# card and the service's request form are made from it.
#
#   type      number | category | datetime | boolean | text
#   known     before: at the moment of prediction.  after: only later, so it can never be a feature
#   range     [lowest, highest] that is physically or commercially possible
#   nullable  true where a missing value is normal;  missing: the largest share that is still normal
#   null      the texts that stand for no value
#   personal  true where it could tell about a person
#   leak      checked: somebody said that it is known before, although it predicts the target nearly alone
#
# Written by `python -m pipeline onboard`. A comment says what a line was concluded from, and how sure it is. Correct
# what is wrong, and add what only you know: `description`, `unit`, and what a row is.
"""
ESTIMATORS = {
    "classification": "sklearn.ensemble.HistGradientBoostingClassifier",
    "regression": "sklearn.ensemble.HistGradientBoostingRegressor",
}
METRICS = {
    "classification": [
        "roc_auc", "average_precision", "log_loss", "brier", "accuracy", "precision", "recall", "f1",
        "expected_calibration_error",
    ],
    "regression": ["mae", "rmse", "r2", "median_absolute_error", "bias"],
}  # fmt: skip
PRIMARY = {"classification": "log_loss", "regression": "mae"}
GUARDS = {"classification": ["roc_auc"], "regression": ["rmse"]}
FEW_ROWS = 2000


def write_schema(proposal: Proposal, row: str) -> str:
    """Write schema.yaml; `row` says what a row is."""
    lines = [f"row: {format_flow(row)}", "moment: null  # say when the model is asked, in words"]
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


def edit_params(text: str, proposal: Proposal, source: str) -> str:
    """Edit params.yaml for a proposal; costs are taken out until somebody states them, and so is the metric `value`."""
    facts = {fact.where: fact for fact in proposal.facts}
    tell = {
        key: _tell(facts.get(f"params.yaml: {key}"), mark="")
        for key in ("data.target", "data.task", "data.positive", "gate.resample", "split")
    }
    text = set_value(text, "data.source", source)
    text = set_value(text, "data.task", proposal.task, tell["data.task"])
    text = set_value(text, "data.target", proposal.target, tell["data.target"])
    if proposal.positive is not None or "\n  positive:" in text:
        text = set_value(text, "data.positive", proposal.positive, tell["data.positive"])
    text = set_value(text, "data.derive", {})
    text = set_value(text, "data.max_age_days", None)
    text = set_value(text, "data.leakage", proposal.leakage, _tell_leakage(proposal))
    if proposal.read or "\n  read:" in text:
        text = set_value(
            text, "data.read", proposal.read, "as the file was found to be written" if proposal.read else ""
        )
    text = _edit_split(text, proposal, tell["split"])
    text = set_value(text, "features.numeric", proposal.list_inputs("numeric"))
    text = set_value(text, "features.categorical", proposal.list_inputs("categorical"))
    text = set_value(text, "features.derived", {})
    text = set_value(text, "model.estimator", choose_estimator(proposal), block=True)
    text = set_value(text, "evaluate.metrics", METRICS[proposal.task])
    text = set_value(text, "evaluate.threshold", proposal.threshold, _tell_threshold(proposal))
    text = set_value(text, "evaluate.costs", None)
    text = set_value(text, "evaluate.slices", list(proposal.slices))
    text = set_value(text, "evaluate.fairness", list(proposal.fairness))
    text = set_value(text, "drift.period", proposal.period)
    text = set_value(text, "gate.resample", proposal.resample, tell["gate.resample"])
    text = set_value(text, "gate.primary", PRIMARY[proposal.task])
    return set_value(text, "gate.guards", GUARDS[proposal.task])


def edit_gate(text: str, gate: Gate) -> str:
    """Write what the baseline says into params.yaml: what matters, the limits, and how slices are judged."""
    text = set_value(text, "gate.matters", gate.matters, gate.why_matters)
    text = set_value(text, "gate.limits", gate.limits, gate.why_limits)
    return set_value(text, "gate.slices", gate.slices, gate.why_slices)


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


def _edit_split(text: str, proposal: Proposal, why: str) -> str:
    split = proposal.split
    text = set_value(text, "split.by", split["by"], why)
    text = set_value(text, "split.column", split.get("column"))
    for part in ("train", "holdout", "production"):
        text = set_value(text, f"split.{part}", split.get(part, [None, None]))
    return set_value(text, "split.holdout_share", split.get("holdout_share", 0.2))


def _tell(fact: Fact | None, mark: str = "  # ") -> str:
    if fact is None:
        return ""
    said = _add_confidence(fact.evidence, fact.confidence)
    return f"  {format_comment(said)}" if mark else said


def _add_confidence(evidence: str, confidence: float) -> str:
    return f"{evidence} ({confidence:.0%})"


def _tell_leakage(proposal: Proposal) -> str:
    if proposal.leakage <= 0.8:
        return ""
    kept = [column.name for column in proposal.columns if column.section and column.name in proposal.suspects]
    return f"{', '.join(kept[:3])} alone come near it; look whether they are known before"


def _tell_threshold(proposal: Proposal) -> str:
    if proposal.threshold is None or proposal.share is None:
        return ""
    return f"{proposal.share:.1%} of the rows are a yes; costs, once stated, say better where a yes begins"
