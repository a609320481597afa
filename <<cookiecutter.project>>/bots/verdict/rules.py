"""The rules of the gate that need the numbers alone: limits, parity, explanation, and how two models compare.

The review applies them beside the change's code, and a job that never runs that code applies them again.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bots.render.numbers import pluralize
from bots.stats import metrics
from bots.verdict.confirmation import NEEDED_FROM, wants_confirmation
from bots.verdict.decision import is_tolerated
from bots.verdict.seeds import has_enough_seeds, wants_more_seeds
from bots.verdict.sentences import (
    cut,
    describe_confirmation,
    describe_limit,
    describe_metric,
    describe_seeds,
    describe_slice,
    end_sentence,
    explain_one_seed,
    explain_outcome,
    holds_limit,
    name_metric,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bots.evidence import ExplanationReport, ExportReport, MetricComparison, Statistics, Verdict
    from bots.settings import Gate
    from bots.verdict.comparison import Comparison

_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A rule that was applied; `verdict` and `reason` are what its failure means, `headline` says it.

    Without `judged` it could not be looked at, and passes without having held.
    """

    rule: str
    passed: bool
    message: str
    verdict: Verdict = "blocked"
    reason: str = ""
    headline: str = ""
    judged: bool = True


def check_limits(values: Mapping[str, float | None], gate: Gate) -> Iterator[Finding]:
    """Every limit of the gate, held against the candidate's value of that metric."""
    for name, limit in gate.limits.items():
        value = values.get(name)
        rule = f"limit: {metrics.find_label(name)}"
        if value is None:
            message = f"{name_metric(name)} has no value, so its limit cannot be checked."
            yield Finding(rule=rule, passed=False, message=message, reason="limit-broken")
        else:
            message = describe_limit(name, limit, value)
            yield Finding(
                rule=rule, passed=holds_limit(name, limit, value), message=message, reason="limit-broken"
            )


def check_parity(export: ExportReport, *, deployed: bool) -> Finding:
    """Parity blocks once a model was exported. A model without ONNX form blocks where main is `deployed` somewhere."""
    if not export.exported:
        where = f" at `{export.step}`" if export.step else ""
        why = f"the model cannot be exported to ONNX{where}: {end_sentence(export.reason or 'no reason was given')}"
        if not deployed:
            return Finding(rule="parity", passed=True, judged=False, message=f"A warning only: {why}")
        message = (
            f"This project is deployed, and {why} What has no ONNX form cannot be served, so merging this would end in "
            "a release that fails: take another step or estimator in `model` of params.yaml."
        )
        return Finding(rule="parity", passed=False, message=message, reason="not-exportable")
    flips = "" if export.flips is None else f", {pluralize(export.flips, 'decision')} differ"
    largest = "unknown" if export.largest_difference is None else f"{export.largest_difference:.2g}"
    allowed = "" if export.tolerance is None else f" (at most {export.tolerance:.2g} is allowed)"
    figures = f"largest difference {largest}{allowed}{flips} on {export.rows:,} rows."
    if export.passed:
        return Finding(rule="parity", passed=True, message=f"The ONNX model answers alike: {figures}")
    why = f" {end_sentence(export.reason)}" if export.reason else ""
    message = (
        f"The ONNX model does not answer alike: {figures}{why} Take another step or estimator in `model` of "
        "params.yaml, or say in `export.tolerance` how far apart the two may be."
    )
    return Finding(rule="parity", passed=False, message=message, reason="parity-failed")


def warn_of_explanation(explanation: ExplanationReport) -> Finding:
    """An explanation that does not add up blocks nothing: then the explanation is wrong and not the model."""
    why = end_sentence(explanation.note or "its parts do not add up to the prediction")
    message = f"A warning only: the explanation cannot be trusted: {why}"
    return Finding(rule="explanation", passed=True, judged=False, message=message)


def find_primary(comparison: Comparison | None, gate: Gate) -> MetricComparison | None:
    """The comparison of the metric that decides; None where there is none."""
    found = comparison.metrics if comparison else []
    return next((metric for metric in found if metric.name == gate.primary), None)


def check_comparison(comparison: Comparison | None, gate: Gate) -> Iterator[Finding]:
    """The rules about both models: the primary metric, the guards, the slices."""
    primary = find_primary(comparison, gate)
    if comparison is None or primary is None or primary.outcome == "not judged":
        yield Finding(
            rule="primary metric",
            passed=False,
            message=f"{name_metric(gate.primary)} cannot be compared: "
            f"{(primary and primary.note) or 'the holdout has too few rows for it'}.",
            verdict="not comparable",
            reason="primary-not-judged",
        )
        return
    said = describe_metric(primary, comparison.statistics)
    yield _check_primary(primary, comparison.statistics, gate)
    yield from _check_seeds(comparison, primary, gate, said=said)
    if wants_confirmation(comparison) and (comparison.confirmation or comparison.look >= NEEDED_FROM):
        yield _check_confirmation(comparison, primary, said=said)
    verdict: Verdict = "regressed" if primary.outcome == "regressed" else "blocked"
    for metric in comparison.metrics:
        if metric.name in gate.guards:
            yield _check_guard(metric, comparison.statistics, gate, primary=said, verdict=verdict)
    if gate.slices is not None and comparison.slices:
        yield _check_slices(comparison, gate, least=gate.slices.matters, primary=said, verdict=verdict)


def _check_primary(primary: MetricComparison, statistics: Statistics, gate: Gate) -> Finding:
    """A regression fails; what could be worse by more than the gate tolerates asks for a person's word."""
    message = f"{describe_metric(primary, statistics)}. {explain_outcome(primary)}"
    if primary.outcome == "undecided" and not is_tolerated(primary, gate.tolerates):
        return Finding(
            rule="primary metric",
            passed=False,
            message=message,
            verdict="undecided",
            reason="primary-undecided",
        )
    return Finding(
        rule="primary metric",
        passed=primary.outcome != "regressed",
        message=message,
        verdict="regressed",
        reason="primary-regressed",
    )


def _check_seeds(
    comparison: Comparison, primary: MetricComparison, gate: Gate, *, said: str
) -> Iterator[Finding]:
    """Where one seed says improved or regressed, whether further seeds had their say.

    Without them nobody can tell an improvement from luck, so a person decides; a regression blocks as it is. Where the
    means say improved and the two models do not, a person decides as well.
    """
    seeds = comparison.seeds
    if seeds is None and not wants_more_seeds(comparison.metrics, gate):
        return
    if seeds is not None and has_enough_seeds(seeds, gate):
        told = describe_seeds(seeds, gate.primary)
        yield Finding(
            rule="seeds",
            passed=primary.outcome != "improved" or seeds.one_seed == "improved",
            message=told,
            verdict="undecided",
            reason="seeds-disagree",
            headline=f"The means over seeds say better, the two models say {seeds.one_seed}: {said}. {told}",
        )
        return
    why = explain_one_seed(seeds, seedless=comparison.seedless)
    message = f"One seed only, so nobody can tell how much of this is the luck of training: {why}"
    yield Finding(
        rule="seeds",
        passed=comparison.seedless or primary.outcome != "improved",
        judged=False,
        message=message,
        verdict="undecided",
        reason="one-seed-only",
        headline=f"Better by one seed only, and that can be luck: {why} {said}.",
    )


def _check_confirmation(comparison: Comparison, primary: MetricComparison, *, said: str) -> Finding:
    """Fresh rows must not contradict an improvement; after many looks nobody can do without what they say."""
    found, look = comparison.confirmation, comparison.look
    unknown = found is None or found.outcome == "cannot tell"
    contradicted = found is not None and found.outcome == "contradicted"
    told = "Fresh rows were not asked." if found is None else describe_confirmation(found, primary.name)
    many = (
        f"This holdout has judged {pluralize(look, 'model')}, so the best of them looks better by luck alone."
    )
    return Finding(
        rule="confirmation",
        passed=not contradicted and not (unknown and look >= NEEDED_FROM),
        judged=not unknown,
        message=told,
        verdict="undecided",
        reason="contradicted-by-fresh-rows" if contradicted else "no-fresh-labels",
        headline=f"Better on the holdout, and worse on fresh rows: {said}. {told}"
        if contradicted
        else f"Better on the holdout, and nothing confirms it: {said}. {many} {told}",
    )


def _check_guard(
    metric: MetricComparison, statistics: Statistics, gate: Gate, *, primary: str, verdict: Verdict
) -> Finding:
    """A guard that got worse blocks; one that could be worse by more than is tolerated asks for a person's word."""
    said, explained = describe_metric(metric, statistics), explain_outcome(metric)
    unknown = metric.outcome == "not judged"
    undecided = metric.outcome == "undecided" and not is_tolerated(metric, gate.tolerates)
    if unknown or undecided:
        verdict = "undecided"
        headline = f"Nobody can tell whether a guarded metric got worse: {said}. {explained} {primary}."
    else:
        headline = f"A guarded metric got worse: {said}. {primary}."
    return Finding(
        rule=f"guard: {metrics.find_label(metric.name)}",
        passed=metric.outcome != "regressed" and not unknown and not undecided,
        message=f"{said}. {explained}",
        verdict=verdict,
        reason="guard-not-judged" if unknown else "guard-undecided" if undecided else "guard-regressed",
        headline=headline,
    )


def _check_slices(
    comparison: Comparison, gate: Gate, *, least: float, primary: str, verdict: Verdict
) -> Finding:
    """`least` is the loss of the primary metric that matters in a slice."""
    judged, every = comparison.statistics.slices_judged, len(comparison.slices)
    if not judged:
        notes = Counter(part.note for part in comparison.slices if part.note)
        why = ", ".join(f"{cut(note, 80)} ({count:,})" for note, count in notes.most_common(2))
        message = f"None of {pluralize(every, 'slice')} could be judged: {why or 'too few rows'}."
        return Finding(rule="slices", passed=True, judged=False, message=message)
    lost = [part for part in comparison.slices if part.outcome == "regressed"]
    lost.sort(key=lambda part: -abs(part.difference or 0))
    if not lost:
        message = (
            f"None of {pluralize(judged, 'slice')} lost {least:g} {metrics.find_label(gate.primary)} "
            f"or more beyond chance.{f' Not judged: {every - judged:,} more.' if every > judged else ''}"
        )
        return Finding(rule="slices", passed=True, message=message)
    told = "; ".join(describe_slice(part, gate.primary) for part in lost[:_SHOWN])
    more = f"; and {len(lost) - _SHOWN} more" if len(lost) > _SHOWN else ""
    message = f"{pluralize(len(lost), 'slice')} of {judged} got worse: {told}{more}."
    return Finding(
        rule="slices",
        passed=False,
        message=message,
        verdict=verdict,
        reason="slice-regressed",
        headline=f"{message} {primary}.",
    )
