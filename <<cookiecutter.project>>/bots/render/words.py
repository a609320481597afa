"""Holds the words and marks that every form of a review shares. To change what a review says, change them here."""

from __future__ import annotations

from collections.abc import Iterable

from bots.evidence import GateRule, Looks, MetricComparison, Part, Review, SplitReport, Statistics
from bots.log import make_visible
from bots.render.numbers import format_count, format_number, format_percent
from bots.stats import dependence, deviances, intervals, metrics

VERDICTS = {
    "improved": "Improved",
    "equivalent": "Equivalent",
    "undecided": "Undecided",
    "regressed": "Regressed",
    "blocked": "Blocked",
    "not comparable": "Not comparable",
    "no baseline": "No baseline",
}
OUTCOMES = {
    "improved": "▲ better",
    "equivalent": "≈ same",
    "undecided": "? undecided",
    "regressed": "▼ worse",
    "not judged": "· not judged",
}
SLICE_OUTCOMES = {**OUTCOMES, "undecided": "· no clear difference"}
ROLES = {"primary": "decides", "guard": "guard", "shown": ""}
CAUSES = {"code": "code", "params": "parameters", "data": "data", "environment": "environment"}
UNCOMMITTED = (
    "The working tree had changes that are in no commit, so these numbers cannot be made again from one: "
    "commit and review again"
)
STATES = {"ok": "✓", "note": "!", "bad": "✗"}
WANTED = {"higher": "↑", "lower": "↓"}
ZERO_WANTED = "→0"

MEANINGS = {
    "roc_auc": "chance that a positive row is scored above a negative one",
    "average_precision": "precision, averaged over every recall",
    "log_loss": "surprise at what happened, given the predicted probability",
    "brier": "mean squared distance between probability and outcome",
    "accuracy": "share of right decisions, at the threshold where there is one",
    "balanced_accuracy": "recall of each class, on average: a rare class counts as much as a frequent one",
    "f1_macro": "F1 score of each class, on average",
    "precision_macro": "precision of each class, on average",
    "roc_auc_ovr": "ROC AUC of each class against all others, on average",
    "precision": "share of the alarms that were right",
    "recall": "share of the positives that were found",
    "f1": "harmonic mean of precision and recall",
    "expected_calibration_error": "mean distance between predicted and observed rate",
    "mae": "mean distance between prediction and truth",
    "rmse": "the same, with large misses weighing more",
    "r2": "share of the variance that is explained",
    "median_absolute_error": "the miss that half of the rows stay below",
    "pinball": "mean miss, where too low and too high weigh as the quantile asks: the smallest is that quantile's",
    "poisson_deviance": "how far a mean of counts lies from them, beside their own chance",
    "gamma_deviance": "how far a mean of amounts lies from them, beside their size",
    "bias": "mean error: above zero, predictions are too high; models are compared by its size",
    "value": "what the decisions are worth, by the cost matrix in params.yaml",
}


OF_ONE_CLASS = {
    "recall": "share of this class's rows that are called so",
    "precision": "share of the rows called so that are of this class",
    "f1": "harmonic mean of this class's precision and recall",
    "roc_auc": "chance that a row of this class has a higher probability of it than a row of another",
}


def choose_alert(review: Review) -> str:
    """Return GitHub's kind of alert for this conclusion; its colour is never the only sign."""
    if review.passed:
        return "TIP" if review.verdict == "improved" else "NOTE"
    return "CAUTION" if review.verdict in ("blocked", "regressed") else "WARNING"


def describe_gate(review: Review) -> str:
    """Describe in a sentence whether the gate passes."""
    failed = sum(not rule.passed for rule in review.rules)
    total = len(review.rules)
    hold = _describe_holding(review)
    if review.passed and failed:
        return f"The gate passes, although {failed} of {total} rules did not hold."
    if review.passed and review.verdict == "undecided":
        return f"The gate passes: {hold}, and what could be lost is tolerated."
    if review.passed:
        return f"The gate passes: {hold}." if total else "The gate passes: it has nothing to judge."
    if not failed and review.verdict in ("equivalent", "undecided"):
        return "The gate passes an improvement only (gate.equivalent_passes is false), and this is none."
    if review.verdict == "undecided":
        return f"The gate asks for a person's word: {failed} of {total} rules cannot tell."
    return f"The gate fails: {failed} of {total} rules {'does' if failed == 1 else 'do'} not hold."


def _describe_holding(review: Review) -> str:
    """How many rules hold, and which could not be looked at; no full stop."""
    unknown = [rule.rule for rule in review.rules if rule.passed and not rule.judged]
    total = len(review.rules)
    if not unknown:
        return f"all {total} rules hold"
    named = ", ".join(make_visible(rule, 60) for rule in unknown[:3])
    more = f" and {len(unknown) - 3} more" if len(unknown) > 3 else ""
    return f"{total - len(unknown)} of {total} rules hold, and {len(unknown)} could not be judged ({named}{more})"


def choose_rule_sign(rule: GateRule) -> str:
    """Return the sign of a rule: whether it held, broke, or could not be looked at."""
    return STATES["bad" if not rule.passed else "ok" if rule.judged else "note"]


def name_metric(name: str) -> str:
    """Return a metric's name as it begins a line."""
    label = metrics.find_label(name)
    return label[:1].upper() + label[1:]


def mark_direction(name: str, direction: str) -> str:
    """Return the mark of what is better: up, down, or to zero."""
    measure = metrics.describe_measure(name)
    return ZERO_WANTED if measure is not None and measure.signed else WANTED[direction]


def explain_marks(shown: Iterable[MetricComparison]) -> str:
    """Return what the marks of these metrics mean."""
    marks = {mark_direction(metric.name, metric.direction) for metric in shown}
    zero = f", {ZERO_WANTED} the nearer to zero the better" if ZERO_WANTED in marks else ""
    return f"{WANTED['higher']} higher is better, {WANTED['lower']} lower is better{zero}"


def name_happened(target: float, split: SplitReport | None) -> str | None:
    """The label of a row's target as the data has it, not escaped; None where it is a number or a truth."""
    if split is None or split.answers is None:
        return None
    return split.answers.yes if target == 1 else split.answers.no


def describe_shares(split: SplitReport, part: Part, most: int = 10) -> str:
    """The share of each of several classes in a part of the split, not escaped: `setosa 33.3%, …`."""
    told = [
        f"{name} {format_percent(share)}" for name, share in zip(split.classes, part.classes, strict=False)
    ]
    return ", ".join(told[:most]) + (", …" if len(told) > most else "")


def explain_metric(name: str) -> str:
    """Return what a metric tells, or nothing where only the team knows."""
    if metrics.find_class(name) is not None:
        return OF_ONE_CLASS.get(name.partition(":")[0], "")
    return MEANINGS.get("pinball" if deviances.find_level(name) is not None else name, "")


def describe_dependence(made: Statistics) -> str:
    """Describe how far units follow each other, where they do beyond chance; nothing where they do not."""
    if not made.follow or made.correlation is None or made.independent is None:
        return ""
    days = dependence.choose_days_together(made.correlation, made.units, intervals.FEWEST_UNITS)
    helps = (
        f"`gate.days_together: {made.days_together * days}` takes more of them as one unit"
        if days
        else "only a holdout of more days helps"
    )
    return (
        f"the units follow each other (correlation {format_number(made.correlation, 2)} from one to the next): "
        f"{format_count(made.units)} are worth about {format_number(max(1.0, made.independent), 2)} independent ones, "
        f"so intervals are too narrow; {helps}"
    )


def _describe_order(made: Statistics) -> str:
    if not made.in_time:
        return " Whether one follows from another cannot be told: they have no order in time."
    if told := describe_dependence(made):
        return f" {told[:1].upper()}{told[1:]}."
    if made.correlation is None:
        return " They are too few to tell whether one follows from another."
    return (
        f" From one to the next they are not correlated beyond chance ({format_number(made.correlation, 2)})."
    )


def name_look(looks: Looks) -> str:
    """Which look at the holdout a review is; no full stop."""
    later = "" if looks.unknown is None else ", or a later one"
    return f"look {format_count(looks.count)} on this holdout{later}"


def describe_look_level(looks: Looks) -> str:
    """What a look at the holdout asks of an improvement; no full stop."""
    return f"to be called better takes a {100 * looks.confidence:.4g}% interval beyond zero"


def describe_statistics(made: Statistics) -> str:
    """Describe in a sentence how the comparison was made."""
    rows = f"Both models scored the same {format_count(made.rows)} holdout rows."
    if not made.units:
        return rows
    together = f", {made.days_together} days in a row together" if made.days_together > 1 else ""
    unit = "single rows" if made.resampled == "rows" else f"whole groups by {made.resampled}{together}"
    return (
        f"{rows} Intervals hold the true difference in {format_percent(made.confidence, 0)} of cases, by leaving out "
        f"each of {format_count(made.units)} units in turn ({unit}).{_describe_order(made)}"
        f"{_describe_seeds(made.seeds)}"
    )


def _describe_seeds(seeds: int) -> str:
    if seeds == 1:
        return ""
    return (
        f" Differences of metrics are between the means over {seeds} seeds a side, and what seeds differ by is in "
        "their intervals."
    )


def describe_direction(correlation: float | None) -> str:
    """Describe what larger values of a feature do to the prediction."""
    if correlation is None:
        return "have no order"
    if abs(correlation) < 0.3:
        return "both ways"
    return "raise it" if correlation > 0 else "lower it"
