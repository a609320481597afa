"""The words and marks that every form of a review shares. To change what a review says, change them here."""

from __future__ import annotations

from bots.evidence import MetricComparison, Review, SliceComparison, Statistics
from bots.stats import metrics

VERDICTS = {
    "improved": "Improved",
    "equivalent": "Equivalent",
    "regressed": "Regressed",
    "blocked": "Blocked",
    "not comparable": "Not comparable",
    "no baseline": "No baseline",
}
OUTCOMES = {
    "improved": "▲ better",
    "equivalent": "≈ same",
    "regressed": "▼ worse",
    "not judged": "· not judged",
}
ROLES = {"primary": "decides", "guard": "guard", "shown": ""}
CAUSES = {"code": "code", "params": "parameters", "data": "data", "environment": "environment"}
UNCOMMITTED = (
    "The working tree had changes that are in no commit, so these numbers cannot be made again from one: "
    "commit and review again"
)
STATES = {"ok": "✓", "note": "!", "bad": "✗"}
HUGE = 1e9
WANTED = {"higher": "↑", "lower": "↓"}

MEANINGS = {
    "roc_auc": "chance that a positive row is scored above a negative one",
    "average_precision": "precision, averaged over every recall",
    "log_loss": "surprise at what happened, given the predicted probability",
    "brier": "mean squared distance between probability and outcome",
    "accuracy": "share of right decisions at the threshold",
    "precision": "share of the alarms that were right",
    "recall": "share of the positives that were found",
    "f1": "harmonic mean of precision and recall",
    "expected_calibration_error": "mean distance between predicted and observed rate",
    "mae": "mean distance between prediction and truth",
    "rmse": "the same, with large misses weighing more",
    "r2": "share of the variance that is explained",
    "median_absolute_error": "the miss that half of the rows stay below",
    "bias": "how far predictions lie off on average",
    "value": "what the decisions are worth, by the cost matrix in params.yaml",
}


def alert(review: Review) -> str:
    """GitHub's kind of alert for this conclusion; its colour is never the only sign."""
    if review.passed:
        return "TIP" if review.verdict == "improved" else "NOTE"
    return "CAUTION" if review.verdict in ("blocked", "regressed") else "WARNING"


def gate(review: Review) -> str:
    """How the gate came out, in a sentence."""
    failed = sum(not rule.passed for rule in review.rules)
    total = len(review.rules)
    if review.passed and failed:
        return f"The gate passes, although {failed} of {total} rules did not hold."
    if review.passed:
        return (
            f"The gate passes: all {total} rules hold."
            if total
            else "The gate passes: it has nothing to judge."
        )
    return f"The gate fails: {failed} of {total} rules {'does' if failed == 1 else 'do'} not hold."


def metric(name: str) -> str:
    """A metric's name at the beginning of a line."""
    label = metrics.label(name)
    return label[:1].upper() + label[1:]


def meaning(name: str) -> str:
    """What a metric tells, or nothing where only the team knows."""
    return MEANINGS.get(name, "")


def statistics(made: Statistics) -> str:
    """How the comparison was made, in a sentence."""
    rows = f"Both models scored the same {count(made.rows)} holdout rows."
    if not made.replicates:
        return rows
    unit = "single rows" if made.resampled == "rows" else f"whole groups by {made.resampled}"
    return (
        f"{rows} Intervals hold {percent(made.confidence, 0)} of a paired bootstrap with {count(made.replicates)} "
        f"replicates over {count(made.units)} units ({unit})."
    )


def count(number: int) -> str:
    """`57,211`."""
    return f"{number:,}"


def counted(number: int, noun: str) -> str:
    """`1 row`, `2 rows`."""
    return f"{count(number)} {noun}{'' if number == 1 else 's'}"


def percent(share: float | None, decimals: int = 1) -> str:
    """`17.2%`, and an en dash where there is none."""
    return "–" if share is None else f"{100 * share:.{decimals}f}%"


def number(x: float | None, digits: int = 3) -> str:
    """A number of no known metric with so many significant digits, without an exponent where that stays short."""
    if x is None:
        return "–"
    shown = f"{x:,.0f}" if 10**digits <= abs(x) < HUGE else f"{x:,.{digits}g}"
    return shown.replace("-", "−")


def score(x: float | None) -> str:
    """A prediction or what happened, with as many decimals as its size deserves: `0.321`, `23.41`."""
    return value("", x)


def effect(x: float) -> str:
    """What a feature adds to one prediction: `+0.91`."""
    return f"{'−' if x < 0 else '+'}{abs(x):,.2f}" if abs(x) < HUGE else number(x)


def value(name: str, x: float | None) -> str:
    """A metric's value without its unit."""
    if x is not None and abs(x) >= HUGE:
        return number(x)
    return metrics.format_value(name, x)


def difference(name: str, x: float | None) -> str:
    """A signed difference without its unit."""
    if x is not None and abs(x) >= HUGE:
        return number(x)
    return metrics.format_difference(name, x)


def interval(metric: MetricComparison | SliceComparison, name: str) -> str:
    """`+0.013 to +0.021` of a difference, `0.731 to 0.748` of a value that stands alone, or nothing."""
    if metric.low is None or metric.high is None:
        return ""
    form = value if metric.difference is None else difference
    return f"{form(name, metric.low)} to {form(name, metric.high)}"


def direction(correlation: float | None) -> str:
    """What larger values of a feature do to the prediction."""
    if correlation is None:
        return "have no order"
    if abs(correlation) < 0.3:
        return "both ways"
    return "raise it" if correlation > 0 else "lower it"
