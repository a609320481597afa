"""Says in a sentence for people how a model does in production: since when, how much worse, on how many rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bots.observations import Day, Finding, Level
from bots.render.monitoring_words import format_date
from bots.render.numbers import format_number, format_percent, format_value, pluralize
from bots.stats.metrics import find_label

if TYPE_CHECKING:
    from bots.monitoring.reference import Reference
    from bots.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What a detector saw on the days that its finding is about."""

    check: str
    subject: str | None
    level: Level
    since: Day
    day: Day
    days: int
    rows: int
    found: float | None
    expected: float | None
    predicted: float | None
    observed: float | None
    evidence: float
    threshold: float


def describe_seen(seen: Seen, reference: Reference, settings: Settings) -> Finding:
    """What a detector saw as a finding."""
    calibration = seen.check == "calibration"
    return Finding(
        trouble="performance",
        level=seen.level,
        check=seen.check,
        words=_join_sentences(seen, reference, settings),
        subject=seen.subject,
        version=reference.version,
        since=seen.since,
        day=seen.day,
        expected=seen.predicted if calibration else seen.expected,
        found=seen.observed if calibration else seen.found,
        evidence=seen.evidence,
        threshold=seen.threshold,
    )


def _join_sentences(seen: Seen, reference: Reference, settings: Settings) -> str:
    where = (
        f"on {pluralize(seen.rows, 'row')} of {pluralize(seen.days, 'day')} since {format_date(seen.since)}"
    )
    words = {"calibration": _describe_calibration, "guard": _describe_guard}.get(seen.check, _describe_loss)(
        seen, reference, settings
    )
    return f"{words} {where}.{_describe_level(seen)}"


def _describe_calibration(seen: Seen, reference: Reference, settings: Settings) -> str:
    if reference.classes:
        sure = "too sure" if seen.subject == "too high" else "not sure enough"
        return (
            f"Predictions are {sure}: the largest probability was {format_percent(seen.predicted)} on average and "
            f"{format_percent(seen.observed)} of the rows were called rightly,"
        )
    if reference.task == "classification":
        said = f"{format_percent(seen.predicted)} was predicted on average and {format_percent(seen.observed)} came"
    else:
        said = f"{format_number(seen.predicted)} was predicted on average and {format_number(seen.observed)} came"
    return f"Predictions are {seen.subject}: {said},"


def _describe_guard(seen: Seen, reference: Reference, settings: Settings) -> str:
    name, costs = str(seen.subject), settings.evaluate.costs
    if name == "value" and costs is not None:
        return (
            f"Decisions earn less: {format_value(name, seen.found)} {costs.currency} a row, where the review's holdout "
            f"had {format_value(name, seen.expected)},"
        )
    label = "mean squared error" if name == "rmse" else find_label(name)
    return _compare(label, name, seen)


def _describe_loss(seen: Seen, reference: Reference, settings: Settings) -> str:
    plain = reference.loss.plain
    labels = {
        "wrong": "share of wrong decisions",
        "cost": "cost of a row",
        "squared_error": "mean squared error",
    }
    words = _compare(labels.get(plain) or find_label(plain), plain, seen)
    return f"Of {seen.subject}, {words[0].lower()}{words[1:]}" if seen.check == "slice" else words


def _compare(label: str, name: str, seen: Seen) -> str:
    return (
        f"The {label} is {format_value(name, seen.found)}, where the review's holdout had "
        f"{format_value(name, seen.expected)},"
    )


def _describe_level(seen: Seen) -> str:
    if seen.level == "alarm":
        return ""
    if seen.level == "warning":
        return " It may become harm: days differ so much that this is not sure yet."
    return " That is more than is tolerated, but days differ so much that it may be chance."
