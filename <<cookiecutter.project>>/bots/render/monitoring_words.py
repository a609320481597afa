"""Says in words what a run of the watch saw: for its page, its issue and the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from bots.observations import Condition, Finding, Level, Trouble, VersionSummary, WatchReport
from bots.render.numbers import format_count, format_number, format_percent, format_value, pluralize

TITLES: dict[Condition, str] = {
    "well": "All is well",
    "warning": "Look at this",
    "alarm": "Not well",
    "labels pending": "Waiting for labels",
    "blind": "The watch is blind",
}
TONES: dict[Condition, str] = {
    "well": "tip",
    "warning": "warning",
    "alarm": "caution",
    "labels pending": "note",
    "blind": "warning",
}
SIGNS: dict[Condition, str] = {"well": "✓", "warning": "!", "alarm": "✗", "labels pending": "…", "blind": "?"}
TROUBLES: dict[Trouble, str] = {
    "performance": "The model's answers",
    "health": "The service and its inputs",
    "drift": "What is asked",
    "labels": "Labels",
    "blind": "The watch itself",
}
LEVELS: dict[Level, str] = {"alarm": "harm", "warning": "may become harm", "note": "a change, no harm seen"}
LEVEL_CLASSES: dict[Level, str] = {"alarm": "bad", "warning": "look", "note": "ok"}
LEVEL_SIGNS: dict[Level, str] = {"alarm": "✗", "warning": "!", "note": "·"}
COHORTS = {
    "pending": "no labels yet",
    "growing": "labels still come",
    "mature": "labels are complete",
    "timed out": "judged with the labels it has",
    "no labels": "no labels came",
}


def sort_findings(findings: Sequence[Finding]) -> list[Finding]:
    """Sort findings for a reader: harm first, then the oldest."""
    order = {"alarm": 0, "warning": 1, "note": 2}
    return sorted(
        findings,
        key=lambda one: (order[one.level], one.since or "9999", one.trouble, one.check, one.subject or ""),
    )


def describe_period(report: WatchReport) -> str:
    """Say which days the report is about: `12 Sep 2026 to 3 Oct 2026 (22 days)`."""
    if report.first is None or report.last is None:
        return "no day yet"
    first, last = date.fromisoformat(report.first), date.fromisoformat(report.last)
    days = (last - first).days + 1
    return f"{format_date(report.first)} to {format_date(report.last)} ({pluralize(days, 'day')})"


def format_date(day: str) -> str:
    """Format a day or an instant for people: `12 Sep 2026`."""
    there = date.fromisoformat(day[:10])
    return f"{there.day} {there:%b %Y}"


def format_instant(at: str) -> str:
    """Format an instant for people: `12 Sep 2026, 06:00 UTC`."""
    return f"{format_date(at)}, {at[11:16]} UTC"


def format_figure(kind: str, name: str, value: float | None, currency: str | None = None) -> str:
    """Format a value of a curve by its kind."""
    if value is None:
        return "n/a"
    if kind == "share":
        return format_percent(value)
    if kind == "count":
        return format_count(round(value))
    if kind == "money":
        return f"{format_number(value, 4)} {currency}" if currency else format_number(value, 4)
    return format_value(name, value)


def describe_earned(report: WatchReport) -> str:
    """Say what the decisions were worth, beside what the review's holdout had promised."""
    if report.earned is None:
        return "What decisions are worth is not stated in params.yaml (evaluate.costs), or no label came yet."
    currency = report.currency or ""
    words = f"The decisions whose outcome is known were worth {format_number(report.earned, 4)} {currency}"
    if report.expected_earned is None:
        return f"{words.strip()}."
    return (
        f"{words.strip()}; as the model was reviewed, as many would have been worth "
        f"{format_number(report.expected_earned, 4)} {currency}".strip()
        + "."
    )


def list_troubles(report: WatchReport) -> list[Trouble]:
    """List the kinds of trouble that have an alarm or a warning, the worst first."""
    found: list[Trouble] = []
    for finding in sort_findings(report.findings):
        if finding.level != "note" and finding.trouble not in found:
            found.append(finding.trouble)
    return found


def name_troubles(report: WatchReport) -> str:
    """Name the kinds of trouble that need a person: `the model's answers, labels`."""
    names = [TROUBLES[trouble] for trouble in list_troubles(report)]
    return ", ".join(name[0].lower() + name[1:] for name in names)


def describe_difference(version: VersionSummary) -> str:
    """Say how a version does against the running one: `−0.012 (−0.020 to −0.004) on 14 days: better`."""
    if version.running:
        return "–"
    if version.difference is None:
        return "no day in common yet"
    days = pluralize(version.days, "day")
    if version.low is None or version.high is None:
        return f"{version.difference:+.3g} on {days}: too few to tell"
    said = "better" if version.high < 0 else "worse" if version.low > 0 else "no difference shown"
    return f"{version.difference:+.3g} ({version.low:+.3g} to {version.high:+.3g}) on {days}: {said}"
