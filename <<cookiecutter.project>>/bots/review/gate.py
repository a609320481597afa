"""The gate: facts about a change in, verdict and reasons out. Pure, so that each rule can be tested alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bots import layout
from bots.evidence import GateRule, Verdict
from bots.render.numbers import pluralize
from bots.review.facts import Tampered, Unavailable
from bots.review.sentences import (
    cut,
    describe_limit,
    describe_metric,
    describe_slice,
    end_sentence,
    explain_outcome,
    name_metric,
)
from bots.stats import metrics

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bots.evidence import DataReport, ExplanationReport, ExportReport, MetricComparison, Statistics
    from bots.review.comparison import Comparison
    from bots.review.facts import Facts
    from bots.settings import Gate

EXIT_CODES: dict[Verdict, int] = {
    "improved": 0,
    "equivalent": 0,
    "regressed": 20,
    "blocked": 21,
    "not comparable": 22,
    "no baseline": 23,
}

_WORST_FIRST: tuple[Verdict, ...] = ("blocked", "not comparable", "no baseline", "regressed")
_SHOWN = 5
TAMPERED = "storage-tampered"


@dataclass(frozen=True, kw_only=True)
class GateResult:
    """The verdict, a stable kebab-case reason, a sentence for people, pass or fail, and each applied rule."""

    verdict: Verdict
    reason: str
    headline: str
    passed: bool
    rules: list[GateRule]


@dataclass(frozen=True, kw_only=True)
class _Finding:
    """A rule that was applied; `verdict` and `reason` are what its failure means, `headline` says it."""

    rule: str
    passed: bool
    message: str
    verdict: Verdict = "blocked"
    reason: str = ""
    headline: str = ""


def apply_gate(facts: Facts) -> GateResult:
    """Apply the gate of `facts.policy`. The first broken rule of the worst kind gives the verdict.

    From worst to best: blocked, not comparable, no baseline, regressed, then equivalent or improved. A guard
    or a slice blocks where the primary metric has not regressed itself; where it has, that is the verdict.
    """
    gate = facts.policy.gate
    findings = list(_check(facts, gate))
    rules = [GateRule(rule=cut(f.rule, 200), passed=f.passed, message=cut(f.message, 2000)) for f in findings]
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
    primary = _find_primary(facts.comparison, gate)
    if facts.comparison is None or primary is None or facts.nothing_changed:
        headline = "Nothing that the pipeline produces has changed: the model stays main's, byte for byte."
        return GateResult(
            verdict="equivalent", reason="nothing-changed", headline=headline, passed=True, rules=rules
        )
    return _conclude_not_worse(primary, facts.comparison.statistics, gate, rules=rules)


def _passes_uncompared(worst: _Finding, gate: Gate) -> bool:
    """Whether a change that could not be compared passes without a person's word; never where storage was changed."""
    uncompared = worst.verdict in ("not comparable", "no baseline")
    return uncompared and gate.incomparable_passes and worst.reason != TAMPERED


def _conclude_not_worse(
    primary: MetricComparison, statistics: Statistics, gate: Gate, *, rules: list[GateRule]
) -> GateResult:
    headline = f"{describe_metric(primary, statistics)}."
    improved = primary.outcome == "improved"
    return GateResult(
        verdict="improved" if improved else "equivalent",
        reason="primary-improved" if improved else "not-distinguishable",
        headline=headline if improved else f"{headline} {explain_outcome(primary)}",
        passed=improved or gate.equivalent_passes,
        rules=rules,
    )


def _check(facts: Facts, gate: Gate) -> Iterator[_Finding]:
    """Every rule that applies, causes before what follows from them."""
    yield from _check_pipeline(facts)
    if facts.candidate.refusal:
        return
    yield _check_evidence(facts)
    yield _check_lock(facts.not_reproduced)
    if facts.nothing_changed:
        return
    reports = facts.candidate.reports
    yield from _check_limits(facts, gate)
    if reports.export is not None:
        yield _check_parity(reports.export)
    if reports.explanation is not None and not reports.explanation.passed:
        yield _warn_of_explanation(reports.explanation)
    baseline = _check_baseline(facts, gate)
    yield baseline
    if baseline.passed and not facts.broken:
        yield from _check_comparison(facts.comparison, gate)


def _check_pipeline(facts: Facts) -> Iterator[_Finding]:
    refusal, data = facts.candidate.refusal, facts.candidate.reports.data
    if refusal is None:
        yield _Finding(rule="pipeline", passed=True, message="Every stage finished.")
    else:
        about_data = refusal.stage in facts.candidate.settings.review.data_stages
        yield _Finding(
            rule="pipeline",
            passed=False,
            message=f"The stage `{refusal.stage}` stopped: {end_sentence(refusal.message)}",
            reason="data-refused" if about_data or (data and not data.passed) else "stage-failed",
        )
    if data is not None:
        yield _check_data(data)


def _check_data(data: DataReport) -> _Finding:
    errors = [finding for finding in data.findings if finding.severity == "error"]
    counts = f"{data.checks:,} checks on {data.rows:,} rows, {pluralize(len(errors), 'error')}"
    counts += f", {pluralize(len(data.findings) - len(errors), 'warning')}"
    first = f": {end_sentence(errors[0].message)}" if errors else "."
    return _Finding(rule="data", passed=data.passed, message=f"{counts}{first}", reason="data-refused")


def _check_evidence(facts: Facts) -> _Finding:
    path = layout.name_report("metrics")
    reason = "evidence-broken"
    if facts.broken:
        message = f"The evidence is broken: {end_sentence(facts.broken)}"
    elif facts.candidate.reports.metrics is None and not facts.nothing_changed:
        writer = facts.candidate.writers.get(path)
        who = f"the stage `{writer}` writes it" if writer else f"no stage of {layout.DVC_YAML} writes it"
        message = f"The evidence is broken: {path} is missing; {who}."
    elif facts.disagreements:
        told = end_sentence("; ".join(facts.disagreements[:_SHOWN]))
        message = f"{path} is not what the predictions beside it say: {told}"
        reason = "evidence-disagrees"
    else:
        message = "Every report is readable and agrees with the predictions."
        return _Finding(rule="evidence", passed=True, message=message)
    return _Finding(rule="evidence", passed=False, message=message, reason=reason)


def _check_lock(not_reproduced: list[str]) -> _Finding:
    if not not_reproduced:
        return _Finding(rule="lock", passed=True, message="Nothing contradicts the committed dvc.lock.")
    stages = ", ".join(f"`{stage}`" for stage in not_reproduced)
    message = f"The committed dvc.lock does not reproduce: running {stages} again gave something else."
    return _Finding(rule="lock", passed=False, message=message, reason="lock-does-not-reproduce")


def _check_limits(facts: Facts, gate: Gate) -> Iterator[_Finding]:
    for name, limit in gate.limits.items():
        value = _find_candidate_value(facts, name)
        rule = f"limit: {metrics.find_label(name)}"
        if value is None:
            message = f"{name_metric(name)} has no value, so its limit cannot be checked."
            yield _Finding(rule=rule, passed=False, message=message, reason="limit-broken")
        else:
            message = describe_limit(name, limit, value)
            yield _Finding(rule=rule, passed=limit.holds(value), message=message, reason="limit-broken")


def _find_candidate_value(facts: Facts, name: str) -> float | None:
    for metric in facts.comparison.metrics if facts.comparison else ():
        if metric.name == name:
            return metric.candidate
    evaluation = facts.candidate.reports.metrics
    return evaluation.values.get(name) if evaluation else None


def _check_parity(export: ExportReport) -> _Finding:
    """Parity blocks once a model was exported."""
    if not export.exported:
        where = f" at `{export.step}`" if export.step else ""
        why = end_sentence(export.reason or "no reason was given")
        message = f"A warning only: the model cannot be exported to ONNX{where}: {why}"
        return _Finding(rule="parity", passed=True, message=message)
    flips = "" if export.flips is None else f", {pluralize(export.flips, 'decision')} differ"
    largest = "unknown" if export.largest_difference is None else f"{export.largest_difference:.2g}"
    allowed = "" if export.tolerance is None else f" (at most {export.tolerance:.2g} is allowed)"
    figures = f"largest difference {largest}{allowed}{flips} on {export.rows:,} rows."
    verdict = "The ONNX model answers alike" if export.passed else "The ONNX model does not answer alike"
    return _Finding(
        rule="parity", passed=export.passed, message=f"{verdict}: {figures}", reason="parity-failed"
    )


def _warn_of_explanation(explanation: ExplanationReport) -> _Finding:
    """An explanation that does not add up blocks nothing: then the explanation is wrong and not the model."""
    why = end_sentence(explanation.note or "its parts do not add up to the prediction")
    message = f"A warning only: the explanation cannot be trusted: {why}"
    return _Finding(rule="explanation", passed=True, message=message)


def _check_baseline(facts: Facts, gate: Gate) -> _Finding:
    verdict: Verdict = "not comparable"
    if facts.champion is None:
        message, reason = "Main has no model yet, so there is nothing to compare with.", "no-baseline"
        verdict = "no baseline"
    elif isinstance(facts.result, Tampered):
        message = (
            f"Storage was tampered with, or damaged: {end_sentence(facts.result.reason)} Nothing was judged on it. "
            "Find out who wrote there, put main's file back (from a clone that has it: `python -m bots storage push`; "
            "else make main's model again and merge that), and review again."
        )
        reason = TAMPERED
    elif isinstance(facts.result, Unavailable):
        message = f"Main's model cannot be compared: {end_sentence(facts.result.reason)}"
        reason = "champion-unavailable"
    elif not facts.same_holdout:
        message = "This change's holdout is not main's, so main's model may have seen its rows."
        reason = "different-holdout"
    else:
        message = "Main's model is judged on the same holdout rows."
        return _Finding(rule="baseline", passed=True, message=message)
    headline = f"{message} {_describe_own_figures(facts.comparison, gate)}".strip()
    return _Finding(
        rule="baseline", passed=False, message=message, verdict=verdict, reason=reason, headline=headline
    )


def _describe_own_figures(comparison: Comparison | None, gate: Gate) -> str:
    """The primary metric's figures as a sentence, where they are known."""
    primary = _find_primary(comparison, gate)
    return f"{describe_metric(primary, comparison.statistics)}." if comparison and primary else ""


def _find_primary(comparison: Comparison | None, gate: Gate) -> MetricComparison | None:
    found = comparison.metrics if comparison else []
    return next((metric for metric in found if metric.name == gate.primary), None)


def _check_comparison(comparison: Comparison | None, gate: Gate) -> Iterator[_Finding]:
    primary = _find_primary(comparison, gate)
    if comparison is None or primary is None or primary.outcome == "not judged":
        yield _Finding(
            rule="primary metric",
            passed=False,
            message=f"{name_metric(gate.primary)} cannot be compared: the holdout has too few rows for it.",
            verdict="not comparable",
            reason="primary-not-judged",
        )
        return
    said = describe_metric(primary, comparison.statistics)
    regressed = primary.outcome == "regressed"
    yield _Finding(
        rule="primary metric",
        passed=not regressed,
        message=f"{said}. {explain_outcome(primary)}",
        verdict="regressed",
        reason="primary-regressed",
    )
    verdict: Verdict = "regressed" if regressed else "blocked"
    for metric in comparison.metrics:
        if metric.name in gate.guards:
            yield _check_guard(metric, comparison.statistics, primary=said, verdict=verdict)
    if gate.slices is not None and comparison.statistics.slices_judged:
        yield _check_slices(comparison, gate, least=gate.slices.matters, primary=said, verdict=verdict)


def _check_guard(
    metric: MetricComparison, statistics: Statistics, *, primary: str, verdict: Verdict
) -> _Finding:
    said = describe_metric(metric, statistics)
    return _Finding(
        rule=f"guard: {metrics.find_label(metric.name)}",
        passed=metric.outcome != "regressed",
        message=f"{said}. {explain_outcome(metric)}",
        verdict=verdict,
        reason="guard-regressed",
        headline=f"A guarded metric got worse: {said}. {primary}.",
    )


def _check_slices(
    comparison: Comparison, gate: Gate, *, least: float, primary: str, verdict: Verdict
) -> _Finding:
    """`least` is the loss of the primary metric that matters in a slice."""
    judged = comparison.statistics.slices_judged
    lost = [part for part in comparison.slices if part.outcome == "regressed"]
    lost.sort(key=lambda part: -abs(part.difference or 0))
    if not lost:
        message = (
            f"None of {pluralize(judged, 'slice')} lost {least:g} {metrics.find_label(gate.primary)} "
            "or more beyond chance."
        )
        return _Finding(rule="slices", passed=True, message=message)
    told = "; ".join(describe_slice(part, gate.primary) for part in lost[:_SHOWN])
    more = f"; and {len(lost) - _SHOWN} more" if len(lost) > _SHOWN else ""
    message = f"{pluralize(len(lost), 'slice')} of {judged} got worse: {told}{more}."
    return _Finding(
        rule="slices",
        passed=False,
        message=message,
        verdict=verdict,
        reason="slice-regressed",
        headline=f"{message} {primary}.",
    )
