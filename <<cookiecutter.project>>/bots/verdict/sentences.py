"""Writes the sentences of a review: what a comparison says, in words that do not ask for statistics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bots.render.numbers import (
    format_amount,
    format_difference,
    format_interval,
    format_value,
)
from bots.stats import metrics
from bots.verdict import decision
from bots.verdict.looks import was_better_at_first

if TYPE_CHECKING:
    from bots.evidence import Confirmation, MetricComparison, Seeds, SliceComparison, Statistics
    from bots.settings import Limit


FIXED_ELSEWHERE = "look whether the change writes its seed into a place that this parameter does not move."


def describe_metric(metric: MetricComparison, statistics: Statistics) -> str:
    """A metric's comparison, or the candidate's own value, with its interval and rows; no full stop."""
    name, unit = metric.name, f" {metric.unit}" if metric.unit else ""
    values = f"{format_value(name, metric.candidate)}{unit}"
    changes = []
    if metric.champion is not None:
        values = f"{format_value(name, metric.champion)} → {values}"
        changes.append(format_difference(name, metric.difference))
    if interval := format_interval(metric, name):
        changes.append(f"{100 * statistics.confidence:.4g}% interval {interval}")
    if metric.champion is not None and statistics.seeds > 1:
        changes[:1] = [f"mean of {statistics.seeds} seeds a side {changes[0]}"]
    between = f" ({', '.join(changes)})" if changes else ""
    return f"{name_metric(name)} {values}{between} on {statistics.rows:,} holdout rows"


def explain_outcome(metric: MetricComparison) -> str:
    """What a metric's outcome means."""
    low, high, matters = metric.low, metric.high, metric.matters
    if metric.outcome == "improved":
        return "Better, beyond chance and by enough to matter."
    if metric.outcome == "regressed":
        return "Worse, beyond chance and by enough to matter."
    if was_better_at_first(metric):
        return "Better by what a first look at this holdout asks for, not by what so many looks ask for."
    if low is None or high is None:
        return f"Not judged: {metric.note or 'too few rows'}."
    if low == high == 0:
        return "Exactly the same."
    if metric.outcome == "equivalent":
        return f"Shown to be the same: any difference is less than the {matters:g} that matters."
    return _explain_undecided(metric)


def _explain_undecided(metric: MetricComparison) -> str:
    worst = decision.find_worst(metric) or 0.0
    if not metric.matters:
        return f"Undecided: {_say_worst(metric)}, and no `gate.matters` says how much of that counts."
    if worst > metric.matters:
        return f"Undecided: {_say_worst(metric)}."
    if (metric.low or 0) > 0 if metric.direction == "higher" else (metric.high or 0) < 0:
        return f"Better, but perhaps by less than the {metric.matters:g} that matters."
    at_worst = f"{_say_worst(metric)}, and {metric.matters:g} matters"
    return f"Not worse by what matters, and not shown to be better: {at_worst}."


def _say_worst(metric: MetricComparison) -> str:
    """How much worse the change could be, by the bad end of its interval."""
    unit = f" {metric.unit}" if metric.unit else ""
    amount = f"it could be worse by up to {format_amount(metric.name, decision.find_worst(metric))}{unit}"
    times = decision.count_multiples(metric)
    return amount if times is None or times <= 1 else f"{amount}, {times:,g} times what matters"


def describe_seeds(seeds: Seeds, name: str) -> str:
    """What further seeds say of a metric: which were trained, and the differences by seed."""
    champion, candidate = seeds.champion, seeds.candidate
    if champion is None or candidate is None:
        return ""
    if champion.same and candidate.same:
        return (
            f"Another seed ({cut(candidate.parameter, 60)} = {candidate.seeds[1]}) gives exactly the same predictions, "
            "on both sides: luck has no part in this."
        )
    told = ", ".join(format_difference(name, value) for value in seeds.list_differences(name))
    return (
        f"{seeds.each_side} seeds a side ({_list_seeds(seeds)}). {name_metric(name)} by seed: {told}; the first is "
        f"that of the two models, which alone said {seeds.one_seed}."
        f"{' Another seed does not change this model: ' + FIXED_ELSEWHERE if seeds.only_change_is_fixed else ''}"
    )


def _list_seeds(seeds: Seeds) -> str:
    """The seeds of both sides."""
    sides = []
    for whose, side in (("main", seeds.champion), ("this change", seeds.candidate)):
        if side is not None:
            numbers = f"{side.seeds[0]} as every other" if side.same else ", ".join(map(str, side.seeds))
            kept = ", kept by main" if seeds.kept and side is seeds.champion else ""
            sides.append(f"{whose}: {cut(side.parameter, 60)} {numbers}{kept}")
    return "; ".join(sides)


def explain_one_seed(seeds: Seeds | None, *, seedless: bool) -> str:
    """Why there are no scores of further seeds, as a sentence."""
    if seedless:
        return "by main's settings training has no seed to set (review.seed is null)."
    if seeds is None:
        return "no further seed was trained."
    return end_sentence(cut(seeds.failure or "the scores of further seeds are not complete", 600))


def describe_confirmation(confirmation: Confirmation, name: str) -> str:
    """What fresh rows say of a metric that has improved on the holdout, as a sentence."""
    if confirmation.outcome == "cannot tell":
        why = end_sentence(cut(confirmation.untold or "nobody says why", 600))
        return f"No fresh rows confirm it: {why}"
    by = format_difference(name, confirmation.difference)
    values = " → ".join(format_value(name, x) for x in (confirmation.champion, confirmation.candidate))
    low, high = (format_difference(name, bound) for bound in (confirmation.low, confirmation.high))
    said = {
        "confirmed": "confirm it",
        "not confirmed": f"do not confirm it (that takes a gain of {format_amount(name, confirmation.needed)})",
        "contradicted": "contradict it",
    }[confirmation.outcome]
    return (
        f"{confirmation.rows:,} fresh rows, which neither model was trained or judged on, {said}: "
        f"{metrics.find_label(name)} {values} ({by}, {low} to {high})."
    )


def describe_slice(part: SliceComparison, metric: str) -> str:
    """A slice's comparison by a metric; no full stop."""
    before, after = (format_value(metric, x) for x in (part.champion, part.candidate))
    change, interval = format_difference(metric, part.difference), format_interval(part, metric)
    where = f"{cut(part.column, 60)} = {cut(part.value, 60)}"
    return f"{where} {before} → {after} ({change}, corrected interval {interval}) on {part.rows:,} rows"


def describe_limit(name: str, limit: Limit, value: float) -> str:
    """Where a metric's value lies beside its limit."""
    bounds = (("at least", limit.at_least), ("at most", limit.at_most))
    wanted = " and ".join(f"{word} {bound:,g}" for word, bound in bounds if bound is not None)
    found = format_value(name, value)
    if holds_limit(name, limit, value):
        return f"{name_metric(name)} is {found}, {wanted} (the value itself, not its interval)."
    return f"{name_metric(name)} must be {wanted}, and is {found} (the value itself, not its interval)."


def holds_limit(name: str, limit: Limit, value: float) -> bool:
    """Whether a metric's value lies within its limit."""
    measure = metrics.describe_measure(name)
    return limit.holds(value, signed=measure is not None and measure.signed)


def name_metric(name: str) -> str:
    """A metric's name as a sentence begins with it."""
    label = metrics.find_label(name)
    return label[:1].upper() + label[1:]


def end_sentence(text: str) -> str:
    """The text as the end of a sentence."""
    text = text.strip()
    return text if text.endswith((".", "!", "?")) else f"{text}."


def cut(text: str, length: int) -> str:
    """The text, at most so long."""
    return text if len(text) <= length else text[: length - 1] + "…"
