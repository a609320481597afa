"""Holds a model's own answers against what was said of it: scores, metrics, and what moves them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bots.deploy.checks import Check
from bots.render.numbers import format_value
from bots.stats import metrics
from bots.verification import permutation_importance

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bots.evidence import ExplanationReport, ExportReport, MetricsReport, Task
    from bots.stats.metrics import Floats

# A metric may be off by what nobody could see: this part of the half width of its own confidence interval.
UNSEEN: Final = 0.01


def check_parity(
    scores: Floats, reviewed: Floats, export: ExportReport, *, task: Task, threshold: float | None
) -> Check:
    """Whether the model's scores are the reviewed ones; differences are relative where scores are large."""
    import numpy as np

    if scores.shape != reviewed.shape:
        words = f"the model gives scores of shape {scores.shape}, reviewed were {reviewed.shape}"
        return Check("parity", passed=False, words=words, figures={})
    differences = metrics.scale_differences(scores, reviewed, task)
    largest = float(np.max(differences, initial=0.0))
    tolerance = export.tolerance or 0.0
    figures = {"largest_difference": largest, "tolerance": tolerance, "rows": float(len(scores))}
    words = f"{len(scores):,} rows differ by at most {largest:.1e}, {tolerance:.1e} allowed"
    if export.flips is not None:
        flips = _count_flips(scores, reviewed, threshold)
        figures["flips"] = float(flips)
        words += f"; {flips:,} decisions differ"
    return Check("parity", passed=bool(largest <= tolerance), words=words, figures=figures)


def _count_flips(scores: Floats, reviewed: Floats, threshold: float | None) -> int:
    """How many rows are called otherwise."""
    if scores.ndim == 2:
        return int((scores.argmax(axis=1) != reviewed.argmax(axis=1)).sum())
    at = 0.5 if threshold is None else threshold
    return int(((scores >= at) != (reviewed >= at)).sum())


def check_metrics(
    target: Floats,
    scores: Floats,
    *,
    evaluation: MetricsReport,
    bins: int,
    half_widths: Mapping[str, float],
    weights: Floats | None = None,
    classes: tuple[str, ...] = (),
) -> Check:
    """Whether the model's own scores have the metrics that were reviewed; `weights` say how much each row counts."""
    costs = evaluation.costs[0] if evaluation.costs else None
    context = metrics.Context(threshold=evaluation.threshold, costs=costs, bins=bins, classes=classes)
    worst, figures, said = 0.0, {}, ""
    known = [one for one in evaluation.metrics if metrics.find_measure(one.name, evaluation.task) is not None]
    for one in known:
        actual = metrics.compute_value(one.name, target, scores, context=context, weights=weights)
        half = half_widths.get(one.name, abs(one.value))
        off = float("inf") if actual is None else abs(actual - one.value) / (UNSEEN * half or 1e-9)
        if actual is not None:
            figures[one.name] = actual
        if off > worst:
            worst = off
            shown = "no value" if actual is None else format_value(one.name, actual)
            said = (
                f"{metrics.find_label(one.name)} {shown}, {format_value(one.name, one.value)} at the review"
            )
    primary = evaluation.primary
    if worst > 1:
        words = f"{said}: further apart than a hundredth of its confidence interval"
    elif primary in figures:
        shown = format_value(primary, figures[primary])
        words = (
            f"{len(known)} of {len(evaluation.metrics)} as reviewed; {metrics.find_label(primary)} {shown}"
        )
    else:
        words = f"{len(known)} of {len(evaluation.metrics)} as reviewed"
    return Check("metrics", passed=bool(known) and worst <= 1, words=words, figures=figures)


def check_explanation(
    importance: Mapping[str, float], explanation: ExplanationReport, derived: Mapping[str, str]
) -> Check:
    """Whether the reviewed explanation ranks the inputs as the model's scores do when each input is shuffled.

    It must agree beyond chance (Spearman's rank correlation against its one-sided 5% bound 1.645 / sqrt(n - 1)), which
    fewer than five inputs cannot; and no input that the model ignores may have more than an equal share.
    """
    name = "explanation"
    shares = permutation_importance.trace_shares(explanation, list(importance), derived)
    both = sorted(shares)
    if not explanation.passed:
        return Check(name, passed=False, words="the review's explanation does not add up to the predictions")
    if not both:
        return Check(name, passed=None, words="the explained features cannot be traced to the model's inputs")
    ignored = [one for one in both if importance[one] == 0 and shares[one] > 1 / len(both)]
    if ignored:
        told = f"{ignored[0]} has {shares[ignored[0]]:.0%} of the explanation, and the model ignores it"
        return Check(name, passed=False, words=told, figures={"ignored": float(len(ignored))})
    if len(both) < 5:
        told = f"none of {len(both)} inputs is explained and ignored; too few to compare their ranks"
        return Check(name, passed=True, words=told)
    found = permutation_importance.correlate_ranks(
        [importance[one] for one in both], [shares[one] for one in both]
    )
    limit = 1.645 / (len(both) - 1) ** 0.5
    figures = {"rank_correlation": found, "rank_correlation_needed": limit, "inputs": float(len(both))}
    words = f"rank correlation {found:.2f} over {len(both)} inputs, {limit:.2f} needed"
    return Check(name, passed=found >= limit, words=words, figures=figures)
