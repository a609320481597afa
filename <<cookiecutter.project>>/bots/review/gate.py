"""The gate: facts about a change in, verdict and reasons out. Pure, so that each rule can be tested alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bots.evidence import (
    DataReport,
    ExplanationReport,
    ExportReport,
    GateRule,
    MetricComparison,
    MetricsReport,
    Refusal,
    SliceComparison,
    Statistics,
    Verdict,
)
from bots.render.numbers import format_difference, format_value, pluralize
from bots.stats import metrics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bots.review.comparison import Comparison
    from bots.settings import Gate, Limit

EXIT_CODES: dict[Verdict, int] = {
    "improved": 0,
    "equivalent": 0,
    "regressed": 20,
    "blocked": 21,
    "not comparable": 22,
    "no baseline": 23,
}

DATA_STAGES = ("acquire", "validate", "split", "features")
"""A refusal of one of these stages is about the data, of any other about the code."""

_WORST_FIRST: tuple[Verdict, ...] = ("blocked", "not comparable", "no baseline", "regressed")
_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a review found out, before anything is decided.

    `champion`: main has a model. `champion_unavailable`: why it cannot be scored. `failed_stage`: the stage
    that stopped; `refusal` is what it said, where it said something. `broken`: evidence that does not fit the
    contract. `not_reproduced`: stages whose outputs differ from the committed dvc.lock although nothing that
    they read does. `disagreements`: where metrics.json differs from the predictions beside it.
    `nothing_changed`: no output of the pipeline differs from main's. `comparison`: without a champion it has
    the candidate's own figures.
    """

    champion: bool = True
    champion_unavailable: str | None = None
    comparison: Comparison | None = None
    refusal: Refusal | None = None
    failed_stage: str | None = None
    broken: str | None = None
    holdout_same: bool = True
    not_reproduced: tuple[str, ...] = ()
    disagreements: tuple[str, ...] = ()
    data: DataReport | None = None
    export: ExportReport | None = None
    explanation: ExplanationReport | None = None
    evaluation: MetricsReport | None = None
    nothing_changed: bool = False
    gate_changed: bool = False


@dataclass(frozen=True, kw_only=True)
class Judgement:
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


def judge(facts: Facts, gate: Gate) -> Judgement:
    """Apply the gate. The first broken rule of the worst kind gives the verdict.

    From worst to best: blocked, not comparable, no baseline, regressed, then equivalent or improved. A guard
    or a slice blocks where the primary metric has not regressed itself; where it has, that is the verdict.
    """
    findings = list(_findings(facts, gate))
    rules = [
        GateRule(rule=_cut(f.rule, 200), passed=f.passed, message=_cut(f.message, 2000)) for f in findings
    ]
    broken = sorted((f for f in findings if not f.passed), key=lambda f: _WORST_FIRST.index(f.verdict))
    if broken:
        worst = broken[0]
        return Judgement(
            verdict=worst.verdict,
            reason=worst.reason,
            headline=_cut(worst.headline or worst.message, 2000),
            passed=worst.verdict in ("not comparable", "no baseline") and gate.incomparable_passes,
            rules=rules,
        )
    primary = _primary(facts, gate)
    if facts.comparison is None or primary is None or facts.nothing_changed:
        headline = "Nothing that the pipeline produces has changed: the model stays main's, byte for byte."
        return Judgement(
            verdict="equivalent", reason="nothing-changed", headline=headline, passed=True, rules=rules
        )
    return _not_worse(primary, facts.comparison.statistics, gate, rules)


def _not_worse(
    primary: MetricComparison, statistics: Statistics, gate: Gate, rules: list[GateRule]
) -> Judgement:
    headline = f"{sentence(primary, statistics)}."
    improved = primary.outcome == "improved"
    return Judgement(
        verdict="improved" if improved else "equivalent",
        reason="primary-improved" if improved else "not-distinguishable",
        headline=headline if improved else f"{headline} {_meaning(primary)}",
        passed=improved or gate.equivalent_passes,
        rules=rules,
    )


def sentence(metric: MetricComparison, statistics: Statistics) -> str:
    """A metric's comparison, or the candidate's own value, with its interval and rows; no full stop."""
    name, unit = metric.name, f" {metric.unit}" if metric.unit else ""
    after = format_value(name, metric.candidate)
    if metric.champion is None:
        change = _interval(format_value, name, metric.low, metric.high, statistics)
        values = f"{after}{unit}"
    else:
        change = format_difference(name, metric.difference)
        interval = _interval(format_difference, name, metric.low, metric.high, statistics)
        change = f"{change}, {interval}" if interval else change
        values = f"{format_value(name, metric.champion)} → {after}{unit}"
    between = f" ({change})" if change else ""
    return f"{_capital(metrics.label(name))} {values}{between} on {statistics.rows:,} holdout rows"


def _interval(
    form: Callable[[str, float | None], str],
    name: str,
    low: float | None,
    high: float | None,
    statistics: Statistics,
) -> str:
    if low is None or high is None:
        return ""
    return f"{100 * statistics.confidence:.4g}% interval {form(name, low)} to {form(name, high)}"


def _findings(facts: Facts, gate: Gate) -> Iterator[_Finding]:
    """Every rule that applies, causes before what follows from them."""
    yield from _pipeline(facts)
    if facts.refusal or facts.failed_stage:
        return
    yield from _evidence(facts)
    yield from _lock(facts)
    if facts.nothing_changed:
        return
    yield from _limits(facts, gate)
    yield from _reports(facts)
    yield from _baseline(facts, gate)
    if facts.champion and facts.holdout_same and not facts.champion_unavailable and not facts.broken:
        yield from _comparison(facts, gate)


def _pipeline(facts: Facts) -> Iterator[_Finding]:
    stage = facts.refusal.stage if facts.refusal else facts.failed_stage
    data = facts.data
    refused = data is not None and not data.passed
    if stage is not None:
        said = facts.refusal.message if facts.refusal else "it ended with an error and left no message"
        about_data = refused or (facts.refusal is not None and stage in DATA_STAGES)
        yield _Finding(
            rule="pipeline",
            passed=False,
            message=f"The stage `{stage}` stopped: {_stop(said)}",
            reason="data-refused" if about_data else "stage-failed",
        )
    else:
        yield _Finding(rule="pipeline", passed=True, message="Every stage finished.")
    if data is not None:
        errors = [finding for finding in data.findings if finding.severity == "error"]
        counts = f"{data.checks:,} checks on {data.rows:,} rows, {pluralize(len(errors), 'error')}"
        counts += f", {pluralize(len(data.findings) - len(errors), 'warning')}"
        first = f": {_stop(errors[0].message)}" if errors else "."
        yield _Finding(rule="data", passed=not refused, message=f"{counts}{first}", reason="data-refused")


def _evidence(facts: Facts) -> Iterator[_Finding]:
    if facts.broken:
        yield _Finding(
            rule="evidence",
            passed=False,
            message=f"The evidence is broken: {_stop(facts.broken)}",
            reason="evidence-broken",
        )
    elif facts.evaluation is None and not facts.nothing_changed:
        missing = "The evidence is broken: reports/metrics.json is missing; the stage `evaluate` writes it."
        yield _Finding(rule="evidence", passed=False, message=missing, reason="evidence-broken")
    elif facts.disagreements:
        told = _stop("; ".join(facts.disagreements[:_SHOWN]))
        message = f"reports/metrics.json is not what the predictions beside it say: {told}"
        yield _Finding(rule="evidence", passed=False, message=message, reason="evidence-disagrees")
    else:
        yield _Finding(
            rule="evidence", passed=True, message="Every report is readable and agrees with the predictions."
        )


def _lock(facts: Facts) -> Iterator[_Finding]:
    if facts.not_reproduced:
        stages = ", ".join(f"`{stage}`" for stage in facts.not_reproduced)
        message = f"The committed dvc.lock does not reproduce: running {stages} again gave something else."
        yield _Finding(rule="lock", passed=False, message=message, reason="lock-does-not-reproduce")
    else:
        yield _Finding(rule="lock", passed=True, message="Nothing contradicts the committed dvc.lock.")


def _limits(facts: Facts, gate: Gate) -> Iterator[_Finding]:
    for name, limit in gate.limits.items():
        value = _candidate_value(facts, name)
        rule = f"limit: {metrics.label(name)}"
        if value is None:
            message = f"{_capital(metrics.label(name))} has no value, so its limit cannot be checked."
            yield _Finding(rule=rule, passed=False, message=message, reason="limit-broken")
        else:
            yield _Finding(
                rule=rule,
                passed=_within(value, limit),
                message=_limit_message(name, value, limit),
                reason="limit-broken",
            )


def _candidate_value(facts: Facts, name: str) -> float | None:
    for metric in facts.comparison.metrics if facts.comparison else ():
        if metric.name == name:
            return metric.candidate
    return facts.evaluation.values.get(name) if facts.evaluation else None


def _within(value: float, limit: Limit) -> bool:
    low = limit.at_least is None or value >= limit.at_least
    return low and (limit.at_most is None or value <= limit.at_most)


def _limit_message(name: str, value: float, limit: Limit) -> str:
    name_shown = _capital(metrics.label(name))
    bounds = (("at least", limit.at_least), ("at most", limit.at_most))
    wanted = " and ".join(f"{word} {bound:,g}" for word, bound in bounds if bound is not None)
    found = format_value(name, value)
    if _within(value, limit):
        return f"{name_shown} is {found}, {wanted}."
    return f"{name_shown} must be {wanted}, and is {found}."


def _reports(facts: Facts) -> Iterator[_Finding]:
    """Parity blocks once a model was exported. An explanation that does not add up is only a warning, because
    then the explanation is wrong and not the model."""
    export, explanation = facts.export, facts.explanation
    if export is not None and export.exported:
        flips = "" if export.flips is None else f", {pluralize(export.flips, 'decision')} differ"
        largest = "unknown" if export.largest_difference is None else f"{export.largest_difference:.2g}"
        allowed = "" if export.tolerance is None else f" (at most {export.tolerance:.2g} is allowed)"
        figures = f"largest difference {largest}{allowed}{flips} on {export.rows:,} rows."
        verdict = "The ONNX model answers alike" if export.passed else "The ONNX model does not answer alike"
        yield _Finding(
            rule="parity", passed=export.passed, message=f"{verdict}: {figures}", reason="parity-failed"
        )
    elif export is not None:
        where = f" at `{export.step}`" if export.step else ""
        why = _stop(export.reason or "no reason was given")
        yield _Finding(
            rule="parity",
            passed=True,
            message=f"A warning only: the model cannot be exported to ONNX{where}: {why}",
        )
    if explanation is not None and not explanation.passed:
        why = _stop(explanation.note or "its parts do not add up to the prediction")
        yield _Finding(
            rule="explanation",
            passed=True,
            message=f"A warning only: the explanation cannot be trusted: {why}",
        )


def _baseline(facts: Facts, gate: Gate) -> Iterator[_Finding]:
    own = _own_figures(facts, gate)
    if not facts.champion:
        message = "Main has no model yet, so there is nothing to compare with."
        yield _Finding(
            rule="baseline",
            passed=False,
            message=message,
            verdict="no baseline",
            reason="no-baseline",
            headline=f"{message} {own}".strip(),
        )
    elif facts.champion_unavailable:
        message = f"Main's model cannot be compared: {_stop(facts.champion_unavailable)}"
        headline = f"{message} {own}".strip()
        yield _Finding(
            rule="baseline",
            passed=False,
            message=message,
            verdict="not comparable",
            reason="champion-unavailable",
            headline=headline,
        )
    elif not facts.holdout_same:
        message = "This change's holdout is not main's, so main's model may have seen its rows."
        headline = f"{message} {own}".strip()
        yield _Finding(
            rule="baseline",
            passed=False,
            message=message,
            verdict="not comparable",
            reason="different-holdout",
            headline=headline,
        )
    else:
        yield _Finding(
            rule="baseline", passed=True, message="Main's model is judged on the same holdout rows."
        )


def _primary(facts: Facts, gate: Gate) -> MetricComparison | None:
    found = facts.comparison.metrics if facts.comparison else []
    return next((metric for metric in found if metric.name == gate.primary), None)


def _own_figures(facts: Facts, gate: Gate) -> str:
    """The candidate's own primary metric as a sentence, where it is known."""
    primary = _primary(facts, gate)
    if facts.comparison is None or primary is None:
        return ""
    return f"{sentence(primary, facts.comparison.statistics)}."


def _comparison(facts: Facts, gate: Gate) -> Iterator[_Finding]:
    comparison = facts.comparison
    primary = _primary(facts, gate)
    if comparison is None or primary is None or primary.outcome == "not judged":
        label = _capital(metrics.label(gate.primary))
        message = f"{label} cannot be compared: the holdout has too few rows for it."
        yield _Finding(
            rule="primary metric",
            passed=False,
            message=message,
            verdict="not comparable",
            reason="primary-not-judged",
        )
        return
    said = sentence(primary, comparison.statistics)
    regressed = primary.outcome == "regressed"
    message = f"{said}. {_meaning(primary)}"
    yield _Finding(
        rule="primary metric",
        passed=not regressed,
        message=message,
        verdict="regressed",
        reason="primary-regressed",
    )
    verdict: Verdict = "regressed" if regressed else "blocked"
    for metric in comparison.metrics:
        if metric.name in gate.guards:
            yield _guard(metric, comparison.statistics, said, verdict)
    yield from _slices(comparison, gate, said, verdict)


def _guard(metric: MetricComparison, statistics: Statistics, primary: str, verdict: Verdict) -> _Finding:
    said = sentence(metric, statistics)
    return _Finding(
        rule=f"guard: {metrics.label(metric.name)}",
        passed=metric.outcome != "regressed",
        message=f"{said}. {_meaning(metric)}",
        verdict=verdict,
        reason="guard-regressed",
        headline=f"A guarded metric got worse: {said}. {primary}.",
    )


def _slices(comparison: Comparison, gate: Gate, primary: str, verdict: Verdict) -> Iterator[_Finding]:
    judged = comparison.statistics.slices_judged
    if gate.slices is None or not judged:
        return
    lost = [part for part in comparison.slices if part.outcome == "regressed"]
    lost.sort(key=lambda part: -abs(part.difference or 0))
    if not lost:
        message = (
            f"None of {pluralize(judged, 'slice')} lost {gate.slices.matters:g} {metrics.label(gate.primary)} "
            "or more beyond chance."
        )
        yield _Finding(rule="slices", passed=True, message=message)
        return
    told = "; ".join(_slice_sentence(part, gate) for part in lost[:_SHOWN])
    more = f"; and {len(lost) - _SHOWN} more" if len(lost) > _SHOWN else ""
    message = f"{pluralize(len(lost), 'slice')} of {judged} got worse: {told}{more}."
    headline = f"{message} {primary}."
    yield _Finding(
        rule="slices",
        passed=False,
        message=message,
        verdict=verdict,
        reason="slice-regressed",
        headline=headline,
    )


def _slice_sentence(part: SliceComparison, gate: Gate) -> str:
    name = gate.primary
    before, after = (format_value(name, x) for x in (part.champion, part.candidate))
    low, high = (format_difference(name, x) for x in (part.low, part.high))
    change = format_difference(name, part.difference)
    where = f"{_cut(part.column, 60)} = {_cut(part.value, 60)}"
    return f"{where} {before} → {after} ({change}, corrected interval {low} to {high}) on {part.rows:,} rows"


def _meaning(metric: MetricComparison) -> str:
    """What the outcome says, in words that do not ask for statistics."""
    low, high, matters = metric.low, metric.high, metric.matters
    if metric.outcome == "improved":
        return "Better, beyond chance and by enough to matter."
    if metric.outcome == "regressed":
        return "Worse, beyond chance and by enough to matter."
    if low is None or high is None:
        return "Not judged: too few rows."
    if low == high == 0:
        return "Exactly the same."
    if low <= 0 <= high:
        return "Not distinguishable from main: the interval contains zero."
    return f"Less than the {matters:g} that matters."


def _stop(text: str) -> str:
    """The text as the end of a sentence."""
    text = text.strip()
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
