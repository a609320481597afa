"""The gate: facts about a change in, verdict and reasons out. Pure, so that each rule can be tested alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bots import layout
from bots.dvc.other_models import find_lookalikes
from bots.evidence import Verdict
from bots.render.numbers import pluralize
from bots.review.facts import Tampered, Unavailable
from bots.verdict.callers import check_callers
from bots.verdict.conclusion import TAMPERED, GateResult, conclude
from bots.verdict.moved import UNKNOWN, check_moved
from bots.verdict.rules import (
    Finding,
    check_comparison,
    check_limits,
    check_parity,
    find_primary,
    warn_of_explanation,
)
from bots.verdict.seen import check_seen
from bots.verdict.sentences import (
    cut,
    describe_metric,
    end_sentence,
)
from bots.verdict.spread import check_spread

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bots.dvc.lockfile import Lock
    from bots.evidence import DataReport
    from bots.layout import Layout
    from bots.review.facts import Facts
    from bots.settings import Gate
    from bots.verdict.comparison import Comparison

EXIT_CODES: dict[Verdict, int] = {
    "improved": 0,
    "equivalent": 0,
    "regressed": 20,
    "blocked": 21,
    "not comparable": 22,
    "no baseline": 23,
    "undecided": 24,
}

_SHOWN = 5


def apply_gate(facts: Facts) -> GateResult:
    """Apply the gate of `facts.policy`; `conclude` says how its rules become a verdict."""
    findings = list(_check(facts, facts.policy.gate))
    return conclude(findings, facts.comparison, facts.policy.gate, unchanged=facts.nothing_changed)


def _check(facts: Facts, gate: Gate) -> Iterator[Finding]:
    """Every rule that applies, causes before what follows from them."""
    yield from _check_pipeline(facts)
    if facts.candidate.refusal:
        return
    yield _check_evidence(facts)
    yield _check_lock(facts)
    if facts.callers is not None:
        yield check_callers(facts.callers)
    if facts.nothing_changed:
        return
    yield from _check_models(facts)
    reports = facts.candidate.reports
    yield from check_limits({name: _find_candidate_value(facts, name) for name in gate.limits}, gate)
    if reports.export is not None:
        yield check_parity(reports.export, deployed=facts.deployed)
    if reports.explanation is not None and not reports.explanation.passed:
        yield warn_of_explanation(reports.explanation)
    if facts.seen is not None:
        yield from check_seen(facts.seen.copied, facts.seen.gap)
    baseline = _check_baseline(facts, gate)
    yield baseline
    if baseline.passed and not facts.broken:
        yield from check_comparison(facts.comparison, gate)


def _check_pipeline(facts: Facts) -> Iterator[Finding]:
    refusal, data = facts.candidate.refusal, facts.candidate.reports.data
    if refusal is None:
        yield Finding(rule="pipeline", passed=True, message="Every stage finished.")
    else:
        about_data = refusal.stage in facts.candidate.settings.review.data_stages
        yield Finding(
            rule="pipeline",
            passed=False,
            message=f"The stage `{refusal.stage}` stopped: {end_sentence(refusal.message)}",
            reason="data-refused" if about_data or (data and not data.passed) else "stage-failed",
        )
    if data is not None:
        yield _check_data(data)


def _check_data(data: DataReport) -> Finding:
    errors = [finding for finding in data.findings if finding.severity == "error"]
    counts = f"{data.checks:,} checks on {data.rows:,} rows, {pluralize(len(errors), 'error')}"
    counts += f", {pluralize(len(data.findings) - len(errors), 'warning')}"
    first = f": {end_sentence(errors[0].message)}" if errors else "."
    return Finding(rule="data", passed=data.passed, message=f"{counts}{first}", reason="data-refused")


def _check_evidence(facts: Facts) -> Finding:
    files, reports = facts.candidate.files, facts.candidate.reports
    path = files.name_report("metrics")
    reason = "evidence-broken"
    missing = [name for name in ("metrics", "split") if getattr(reports, name) is None]
    if facts.broken:
        message = f"The evidence is broken: {end_sentence(facts.broken)}"
    elif missing and not facts.nothing_changed:
        message = f"The evidence is broken: {_tell_of_missing(facts, files.name_report(missing[0]))}."
    elif facts.candidate.find_rows_digest("holdout") is None and not facts.nothing_changed:
        message = f"The evidence is broken: {files.name_report('split')}: parts: expected one named holdout."
    elif facts.disagreements:
        told = end_sentence("; ".join(facts.disagreements[:_SHOWN]))
        message = f"{path} is not what the predictions beside it say: {told}"
        reason = "evidence-disagrees"
    else:
        message = "Every report is readable and agrees with the predictions."
        return Finding(rule="evidence", passed=True, message=message)
    return Finding(rule="evidence", passed=False, message=message, reason=reason)


def _tell_of_missing(facts: Facts, path: str) -> str:
    writer = facts.candidate.writers.get(path)
    who = f"the stage `{writer}` writes it" if writer else f"no stage of {layout.DVC_YAML} writes it"
    return f"{path} is missing; {who}"


def _check_lock(facts: Facts) -> Finding:
    not_reproduced, spread = facts.not_reproduced, facts.candidate.spread
    if spread is not None and (not not_reproduced or not spread.judges_committed):
        return check_spread(spread)
    if not not_reproduced:
        return Finding(rule="lock", passed=True, message="Nothing contradicts the committed dvc.lock.")
    stages = ", ".join(f"`{stage}`" for stage in not_reproduced)
    message = f"The committed dvc.lock does not reproduce: running {stages} again gave something else."
    return Finding(rule="lock", passed=False, message=message, reason="lock-does-not-reproduce")


def _find_candidate_value(facts: Facts, name: str) -> float | None:
    for metric in facts.comparison.metrics if facts.comparison else ():
        if metric.name == name:
            return metric.candidate
    evaluation = facts.candidate.reports.metrics
    return evaluation.values.get(name) if evaluation else None


def _check_models(facts: Facts) -> Iterator[Finding]:
    """Whether dvc.lock names the model that is judged, and whether another one changed that nobody judged."""
    candidate = facts.candidate
    judged, rule = candidate.files.model, "models"
    if candidate.model is None:
        told = ask_for_model(candidate.lock, candidate.files)
        message = f"This change's {layout.DVC_LOCK} names no {judged}: no model to judge. {told}"
        yield Finding(rule=rule, passed=False, message=message, reason="model-not-named")
        return
    others, reviewed = facts.other_models, [*facts.policy.others]
    if not others.known and not others.unjudged:
        if reviewed:
            message = f"This review judges {judged}; {_tell_of_reviewed(reviewed)}."
            yield Finding(rule=rule, passed=True, message=message)
        return
    count = len({*others.known}) + 1
    only = f"this review judges only {judged}"
    message = f"{layout.DVC_LOCK} names {count} models; {only}" if others.known else only.capitalize()
    if not others.unjudged:
        yield Finding(rule=rule, passed=True, message=f"{message}, and the others are main's.")
        return
    listed = _list_paths(others.unjudged)
    message += (
        f": {listed} changed and {'was' if len(others.unjudged) == 1 else 'were'} not judged. Declare it under "
        f"`models:` of main's {layout.PARAMS}, which gives it a review of its own, or, where it is a part or another "
        f"form of {judged}, name it in review.unjudged there."
    )
    yield Finding(rule=rule, passed=False, message=message, reason="model-not-judged")


def _tell_of_reviewed(models: Sequence[str]) -> str:
    """Which other models of the project have a review of their own."""
    names = " and ".join(models)
    return f"{names} has a review of its own" if len(models) == 1 else f"{names} have reviews of their own"


def ask_for_model(lock: Lock, files: Layout) -> str:
    """What to do where a dvc.lock names no model: the outputs that look like one, and where to say it."""
    holder = lock.find_holder(files.model)
    if holder is not None:
        return f"It lies in the output {holder}: name that, or let a stage write {files.model} as an output of its own."
    found = find_lookalikes(lock, files)
    where = (
        f"say which under `artifacts:` in {layout.DVC_YAML} (a path, and `type: model`), or in review.files.model of "
        f"{layout.PARAMS}."
    )
    if not found:
        return f"None of its outputs looks like one: {where}"
    return f"{'This output looks' if len(found) == 1 else 'These outputs look'} like one: {_list_paths(found)}; {where}"


def _list_paths(paths: Sequence[str]) -> str:
    more = ", …" if len(paths) > _SHOWN else ""
    return ", ".join(cut(path, 200) for path in paths[:_SHOWN]) + more


def _check_baseline(facts: Facts, gate: Gate) -> Finding:
    verdict: Verdict = "not comparable"
    if facts.champion is None and facts.unnamed is not None:
        main = facts.unnamed
        message = (
            f"Main's {layout.DVC_LOCK} names no {main.files.model}, so there is nothing to compare with. "
            f"{ask_for_model(main.lock, main.files)}"
        )
        reason = "model-not-named"
    elif facts.champion is None:
        message, reason = "Main has no model yet, so there is nothing to compare with.", "no-baseline"
        verdict = "no baseline"
    elif isinstance(facts.result, Tampered):
        message = (
            f"Storage was tampered with, or damaged: {end_sentence(facts.result.reason)} Nothing was judged on it. "
            "Find out who wrote there and take the wrong file out of the storage, which never replaces what it has. "
            "Then put main's back (from a clone that has it: `python -m bots storage push`; else make main's model "
            "again and merge that), and review again."
        )
        reason = TAMPERED
    elif isinstance(facts.result, Unavailable):
        message = f"Main's model cannot be compared: {end_sentence(facts.result.reason)}"
        reason = "champion-unavailable"
    elif facts.champion.reports.split is None and facts.champion.reports.metrics is None:
        metrics, split = layout.name_report("metrics"), layout.name_report("split")
        message, reason = (
            f"Main has a model and no evidence of it: its commit has no {metrics} and no {split}, so nobody can tell "
            "which rows main's model was trained and judged on. Changes are compared with main from the first merge on "
            "that brings a stage which writes them, as `python -m bots derive` does; a person decides about that one.",
            UNKNOWN,
        )
    elif facts.moved is not None:
        found = check_moved(facts.moved)
        if found.passed:
            return found
        message, reason = found.message, found.reason
    elif facts.champion.find_rows_digest("holdout") is None:
        message, reason = (
            f"Main's {facts.champion.files.name_report('split')} names no holdout, so nobody can tell whether both are "
            "judged on the same rows.",
            UNKNOWN,
        )
    elif not facts.same_holdout:
        message, reason = (
            "This change's holdout is not main's, so main's model may have seen its rows.",
            UNKNOWN,
        )
    else:
        message = "Main's model is judged on the same holdout rows."
        return Finding(rule="baseline", passed=True, message=message)
    headline = f"{message} {_describe_own_figures(facts.comparison, gate)}".strip()
    return Finding(
        rule="baseline", passed=False, message=message, verdict=verdict, reason=reason, headline=headline
    )


def _describe_own_figures(comparison: Comparison | None, gate: Gate) -> str:
    """The primary metric's figures as a sentence, where they are known."""
    primary = find_primary(comparison, gate)
    return f"{describe_metric(primary, comparison.statistics)}." if comparison and primary else ""
