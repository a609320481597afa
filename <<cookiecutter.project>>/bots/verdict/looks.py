"""Judges an improvement by how many models the holdout has judged before: each further look asks for more."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from msgspec import structs

from bots.evidence import Looks

if TYPE_CHECKING:
    from bots.evidence import MetricComparison
    from bots.settings import Gate
    from bots.verdict.comparison import Comparison


@dataclass(frozen=True, kw_only=True)
class LookCount:
    """How many distinct models this holdout has judged, the one at hand included: at least `count`.

    `unknown` says why the others could not be counted; then `count` is what is known without them.
    """

    count: int
    unknown: str | None = None


def find_praise_confidence(confidence: float, looks: int) -> float:
    """The confidence of the two-sided interval that says *improved* at a look: 1 - alpha / looks.

    `confidence` is 1 - alpha, so the one-sided error is alpha / (2 looks). Over n looks at models that are no better,
    *improved* is said at least once with a probability of at most alpha / 2 (1 + 1/2 + ... + 1/n) (Bonferroni's
    inequality).
    """
    if looks < 1:
        raise ValueError(f"a model that is judged is a look itself, so there is at least one, not {looks}")
    return 1 - (1 - confidence) / looks


def find_praise_interval(
    metric: MetricComparison, confidence: float, looks: int
) -> tuple[float, float] | None:
    """The interval that must lie beyond zero for *improved*, in the metric's unit; None where none can be made.

    At the first look it is the metric's own, of the given confidence.
    """
    if looks == 1:
        return None if metric.low is None or metric.high is None else (metric.low, metric.high)
    if metric.difference is None or metric.error is None or metric.freedom is None:
        return None
    from bots.stats.intervals import clip_difference, find_t_quantile

    # By the lower tail: close to one, a probability has no digits left.
    half = -find_t_quantile((1 - confidence) / (2 * looks), metric.freedom) * metric.error
    return clip_difference(metric.name, metric.difference - half, metric.difference + half)


def is_improvement(metric: MetricComparison, confidence: float, looks: int) -> bool:
    """Whether the difference is for the better, by at least what matters, and beyond chance at this look."""
    interval = find_praise_interval(metric, confidence, looks)
    if interval is None or metric.difference is None or abs(metric.difference) < metric.matters:
        return False
    return interval[0] > 0 if metric.direction == "higher" else interval[1] < 0


def was_better_at_first(metric: MetricComparison) -> bool:
    """Whether a metric that has not improved would have, had nobody looked at this holdout before."""
    return metric.outcome != "improved" and is_improvement(metric, confidence=0.0, looks=1)


def judge_at_look(comparison: Comparison, gate: Gate, looks: int) -> Comparison:
    """The comparison with the primary metric's *improved* taken back where it does not hold at this look.

    Nothing else changes: what is worse is worse at any look, and guards and slices give no praise.
    """
    return replace(
        comparison,
        look=looks,
        metrics=[
            structs.replace(metric, outcome="undecided")
            if metric.role == "primary"
            and metric.outcome == "improved"
            and not is_improvement(metric, gate.confidence, looks)
            else metric
            for metric in comparison.metrics
        ],
    )


def describe_looks(metric: MetricComparison | None, confidence: float, count: LookCount) -> Looks:
    """What `review.json` says of the looks; `metric` is the primary one, `confidence` the gate's."""
    interval = find_praise_interval(metric, confidence, count.count) if metric else None
    return Looks(
        count=count.count,
        confidence=find_praise_confidence(confidence, count.count),
        low=interval[0] if interval else None,
        high=interval[1] if interval else None,
        missed=metric is not None and was_better_at_first(metric),
        unknown=count.unknown,
    )
