"""Asks fresh rows whether they say too that a change is better: luck with a holdout does not repeat itself on others.

Fresh rows are those of main's production part that have labels: they lie after the holdout, and neither model was
trained or judged on them. The gain there must be half of what matters, and beyond chance at one-sided 80%: so a change
that is no better is confirmed in at most one of five cases, however few the rows. docs/statistics.md has its power.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bots.evidence import MANY_LOOKS, Confirmation
from bots.stats import intervals
from bots.verdict import decision

if TYPE_CHECKING:
    from bots.settings import Gate
    from bots.stats.predictions import Predictions
    from bots.verdict.comparison import Comparison

ASKED_FROM: Final = 2
"""From this look at a holdout on, fresh rows are asked wherever main has some with labels."""
NEEDED_FROM: Final = MANY_LOOKS
"""From this look on, praise that fresh rows could not confirm waits for a person's word."""
SHARE: Final = 0.5
"""The part of what matters that must be gained on the fresh rows."""
UNTOLD_BY_SCORES: Final = (
    "the task scores has no label in a row that says whether it can be measured, so no fresh rows are known"
)
"""Why fresh rows cannot confirm a metric that each row brings."""
LEVEL: Final = 0.8
"""The one-sided confidence at which the gain on the fresh rows must be beyond chance."""


def wants_confirmation(comparison: Comparison) -> bool:
    """Whether fresh rows have a say: the primary metric has improved, on a holdout that judged other models before."""
    return comparison.look >= ASKED_FROM and any(
        metric.role == "primary" and metric.outcome == "improved" for metric in comparison.metrics
    )


def find_needed_gain(error: float, freedom: float, matters: float) -> float:
    """The smallest gain on fresh rows that confirms, in the metric's unit.

    `error` is the standard error of the difference there, with its degrees of freedom.
    """
    return max(SHARE * matters, error * intervals.find_t_quantile(LEVEL, freedom))


def judge_fresh_rows(both: Predictions, gate: Gate) -> Confirmation:
    """What both models' scores on fresh rows say of the primary metric; it cannot tell where they are too few."""
    measure = both.get_measure(gate.primary)
    matters = gate.matters.get(gate.primary, 0.0)
    rows = intervals.choose_rows(both)
    found = intervals.estimate_interval(rows, measure, confidence=gate.confidence)
    if found.difference is None or found.error is None or found.freedom is None:
        return explain_untold(
            f"{len(rows):,} labelled rows do not tell: {found.note or 'they have no interval'}"
        )
    needed = find_needed_gain(found.error, found.freedom, matters)
    gain = found.difference if measure.direction == "higher" else -found.difference
    said = decision.judge(found, direction=measure.direction, matters=matters, confidence=gate.confidence)
    return Confirmation(
        outcome="contradicted"
        if said == "regressed"
        else "confirmed"
        if gain >= needed and gain > 0
        else "not confirmed",
        rows=len(rows),
        units=rows.count,
        champion=found.champion,
        candidate=found.candidate,
        difference=found.difference,
        low=found.low,
        high=found.high,
        needed=needed,
    )


def explain_untold(why: str) -> Confirmation:
    """A confirmation that cannot be had, and why."""
    return Confirmation(outcome="cannot tell", untold=why[:1000])
