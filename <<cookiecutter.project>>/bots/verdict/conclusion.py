"""Concludes from the rules of the gate: verdict, reason, headline, and whether the change passes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bots.evidence import GateRule, Verdict
from bots.verdict.confirmation import wants_confirmation
from bots.verdict.looks import was_better_at_first
from bots.verdict.rules import find_primary
from bots.verdict.seen import FITTED
from bots.verdict.sentences import cut, describe_confirmation, describe_metric, explain_outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bots.evidence import MetricComparison
    from bots.settings import Gate
    from bots.verdict.comparison import Comparison
    from bots.verdict.rules import Finding

_WORST_FIRST: tuple[Verdict, ...] = ("blocked", "not comparable", "no baseline", "regressed", "undecided")
TAMPERED = "storage-tampered"
UNCHANGED = "nothing-changed"
"""The reason of a review that found every output to be main's."""


@dataclass(frozen=True, kw_only=True)
class GateResult:
    """The verdict, a stable kebab-case reason, a sentence for people, pass or fail, and each applied rule."""

    verdict: Verdict
    reason: str
    headline: str
    passed: bool
    rules: list[GateRule]


def conclude(
    findings: Sequence[Finding], comparison: Comparison | None, gate: Gate, *, unchanged: bool = False
) -> GateResult:
    """Conclude from the rules that were applied. The first broken rule of the worst kind gives the verdict.

    From worst to best: blocked, not comparable, no baseline, regressed, undecided, then equivalent or improved. A
    guard or a slice blocks where the primary metric has not regressed itself; where it has, that is the verdict.
    Undecided is a broken rule only where the change could be worse by more than the gate tolerates. `unchanged`: the
    change makes nothing that main has not.
    """
    rules = [
        GateRule(rule=cut(f.rule, 200), passed=f.passed, message=cut(f.message, 2000), judged=f.judged)
        for f in findings
    ]
    broken = sorted((f for f in findings if not f.passed), key=lambda f: _WORST_FIRST.index(f.verdict))
    if broken:
        worst = broken[0]
        return GateResult(
            verdict=worst.verdict,
            reason=worst.reason,
            headline=cut(worst.headline or worst.message, 2000),
            passed=_passes_uncompared(worst, gate),
            rules=rules,
        )
    primary = find_primary(comparison, gate)
    if comparison is None or primary is None or unchanged:
        headline = "Nothing that the pipeline produces has changed: the model stays main's, byte for byte."
        return GateResult(verdict="equivalent", reason=UNCHANGED, headline=headline, passed=True, rules=rules)
    return _conclude_not_worse(primary, comparison, gate, rules=rules)


def _passes_uncompared(worst: Finding, gate: Gate) -> bool:
    """Whether a change that could not be compared passes without a person's word; never where storage was changed, or
    the model perhaps knows the holdout."""
    uncompared = worst.verdict in ("not comparable", "no baseline")
    return uncompared and gate.incomparable_passes and worst.reason not in (TAMPERED, FITTED)


def _conclude_not_worse(
    primary: MetricComparison, comparison: Comparison, gate: Gate, *, rules: list[GateRule]
) -> GateResult:
    """Better, the same, or undecided and tolerated. What fresh rows do not confirm passes without the praise."""
    headline = f"{describe_metric(primary, comparison.statistics)}."
    fresh = comparison.confirmation if wants_confirmation(comparison) else None
    if fresh is not None and fresh.outcome == "not confirmed":
        return GateResult(
            verdict="undecided",
            reason="not-confirmed",
            headline=cut(f"{headline} {describe_confirmation(fresh, primary.name)}", 2000),
            passed=gate.equivalent_passes,
            rules=rules,
        )
    if primary.outcome == "improved":
        return GateResult(
            verdict="improved", reason="primary-improved", headline=headline, passed=True, rules=rules
        )
    equivalent = primary.outcome == "equivalent"
    return GateResult(
        verdict="equivalent" if equivalent else "undecided",
        reason="equivalence-shown" if equivalent else _name_doubt(primary),
        headline=f"{headline} {explain_outcome(primary)}",
        passed=gate.equivalent_passes,
        rules=rules,
    )


def _name_doubt(primary: MetricComparison) -> str:
    """The reason of an undecided verdict that passes by itself."""
    return "not-improved-at-this-look" if was_better_at_first(primary) else "within-tolerance"
