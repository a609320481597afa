"""Renders a project's past as one HTML page that loads nothing: a manager reads its top, an auditor opens the rest."""

from __future__ import annotations

import re

from markupsafe import Markup

from bots.observations import Point, Series
from bots.render import curves, history, jinja, monitoring_words, numbers, words
from bots.render.history import Event, History, ModelHistory, VersionStory
from bots.render.page import build_policy, format_prose
from bots.stats import metrics

EVENTS = 12
SIGNS = {
    "made": "+", "deployed": "→", "rolled back": "↶", "paused": "‖", "alarm": "✗", "over": "✓", "decided": "·",
}  # fmt: skip
TONES = {"deployed": "ok", "rolled back": "bad", "paused": "look", "alarm": "bad", "over": "ok"}
KINDS = {
    "made": "made", "deployed": "deployed", "rolled back": "rolled back", "paused": "paused",
    "alarm": "trouble", "over": "trouble over", "decided": "decided",
}  # fmt: skip
_PULL = re.compile(r"https://[A-Za-z0-9.-]+(:\d+)?/[A-Za-z0-9._/-]+/pull/\d+")


def render_history_page(told: History) -> str:
    """Render the page. Its own style and script are allowed by their hashes; nothing else can run or load."""
    style = "".join(map(jinja.load_source, ("review.css", "monitoring.css", "history.css")))
    script = jinja.load_source("theme.js")
    return jinja.render(
        "history.html.j2",
        told=told,
        style=Markup(style),  # noqa: S704 - our own file
        script=Markup(script),  # noqa: S704 - our own file
        policy=build_policy(style, script),
        tone=choose_tone(told),
        describe_model=history.describe_model,
        describe_earned=describe_earned,
        draw_story=lambda model: draw_story(model, told.at),
        draw_series=draw_series,
        explain_breaks=explain_breaks,
        format_estimate=history.format_estimate,
        format_value=numbers.format_value,
        format_prose=format_prose,
        find_link=find_link,
        name_metric=words.name_metric,
        explain_metric=words.explain_metric,
        find_label=metrics.find_label,
        list_production=list_production,
        events=EVENTS,
        signs=SIGNS,
        tones=TONES,
        kinds=KINDS,
        numbers=numbers,
        words=monitoring_words,
    )


def choose_tone(told: History) -> str:
    """Choose the page's colour: the worst that is true of any model."""
    if any(model.count_faults() for model in told.models):
        return "caution"
    open_troubles = [
        one
        for model in told.models
        if model.watched is not None
        for one in model.watched.episodes
        if one.until is None
    ]
    doubtful = any(
        model.unread or model.watched is None or not model.watched.is_current for model in told.models
    )
    return "warning" if open_troubles or doubtful else "note"


def find_link(version: VersionStory) -> str | None:
    """Find the address of a version's pull request; None where what is recorded is no such address."""
    url = version.pull_request_url or ""
    return url if _PULL.fullmatch(url) else None


def list_production(version: VersionStory) -> list[str]:
    """List when a version answered in production: `12 Sep 2026 to 3 Oct 2026`, `since 3 Oct 2026`."""
    return [
        f"{monitoring_words.format_date(one.since)} to {monitoring_words.format_date(one.until)}"
        if one.until
        else f"since {monitoring_words.format_date(one.since)}"
        for one in version.periods
        if one.stage == "production"
    ]


def draw_story(model: ModelHistory, now: str) -> Markup:
    """Draw the main metric of what production had, as steps, with intervals, and what happened on the way.

    Nothing where all of it happened on one day. Where other rows judged, or nobody knows which, the line breaks.
    """
    line = trace_steps(model, now[:10])
    outside = _list_outside(model)
    days = {point.day for point in (*line, *outside) if point.value is not None}
    if len(days) < 2:
        return Markup("")
    return curves.draw_curves(
        [curves.Curve("change", line), curves.Curve("main", outside)],
        label=f"{metrics.find_label(model.primary)} of the version in production, from {min(days)} to {max(days)}.",
        format_tick=lambda value: numbers.format_value(model.primary, value),
        spans=list_spans(model, min(days), max(days)),
        axis=metrics.find_label(model.primary),
    )


def trace_steps(model: ModelHistory, today: str) -> list[Point]:
    """Trace the line: two points for each time that a version had production, and a gap where values do not compare."""
    held = sorted(
        (
            (period.since, period.until, version)
            for version in model.versions
            for period in version.periods
            if period.stage == "production"
        ),
        key=lambda one: one[0],
    )
    points: list[Point] = []
    before: VersionStory | None = None
    for since, until, version in held:
        first, last = since[:10], max(since[:10], (until or today)[:10])
        if before is not None and not are_comparable(before, version):
            points.append(Point(day=first, value=None))
        ends = [first] if first == last else [first, last]
        points += [
            Point(day=day, value=version.value, low=version.low, high=version.high, version=version.version)
            for day in ends
        ]
        before = version
    return points


def are_comparable(one: VersionStory, other: VersionStory) -> bool:
    """Whether the same rows judged both, as far as is known."""
    return one.holdout is not None and one.holdout == other.holdout


def explain_breaks(model: ModelHistory) -> str:
    """Say that values of versions that other rows judged cannot be compared, where there are such; else nothing."""
    came = [one for one in model.versions if any(period.stage == "production" for period in one.periods)]
    known = {one.holdout for one in came}
    if len(came) < 2 or (len(known) == 1 and None not in known):
        return ""
    why = "other rows judged" if None not in known else "other rows judged, or nobody knows which did"
    return f"Where the line breaks, {why}: values on its two sides cannot be compared."


def _list_outside(model: ModelHistory) -> list[Point]:
    """List the versions that production never had, each as a dot of its own."""
    points = []
    for one in model.versions:
        if not any(period.stage == "production" for period in one.periods):
            points.append(Point(day=one.built[:10], value=one.value, version=one.version))
            points.append(Point(day=one.built[:10], value=None))
    return points


def list_spans(model: ModelHistory, first: str, last: str) -> list[curves.Span]:
    """List what is marked across the picture: versions that came, rollbacks, times of trouble."""
    marks = [
        curves.Span("rollback" if one.kind == "rolled back" else "deployed", day, day, _name_mark(one))
        for one in model.events
        if one.kind in ("deployed", "rolled back")
        and _is_in_production(one)
        and first <= (day := one.at[:10]) <= last
    ]
    troubles = [
        curves.Span(f"trouble-{one.trouble}", one.since, one.until)
        for one in (model.watched.episodes if model.watched else ())
        if one.trouble in ("performance", "health") and one.since <= last
    ]
    return [*troubles, *marks]


def _is_in_production(event: Event) -> bool:
    """Whether an event's stage is production; a reason, which stands behind the colon, may name it too."""
    return event.words.partition(":")[0].endswith(" production")


def _name_mark(event: Event) -> str:
    return f"↶ {event.version}" if event.kind == "rolled back" else event.version or ""


def draw_series(series: Series, model: ModelHistory) -> Markup:
    """Draw one of the watch's curves, day by day, with what happened on the way."""
    days = [point.day for point in series.points if point.value is not None]
    if not days:
        return Markup("")
    currency = model.watched.currency if model.watched else None
    return curves.draw_curves(
        [curves.Curve("change", series.points)],
        label=f"{series.label}, day by day.",
        format_tick=lambda value: monitoring_words.format_figure(series.kind, series.name, value, currency),
        reference=series.reference,
        spans=list_spans(model, min(days), max(days)),
        axis=series.label,
    )


def describe_earned(model: ModelHistory) -> str:
    """Say what the decisions in production were worth, beside what the review had promised; nothing where unknown."""
    watched = model.watched
    if watched is None or watched.earned is None:
        return ""
    currency = f" {watched.currency}" if watched.currency else ""
    said = f"Decisions whose outcome is known were worth {numbers.format_number(watched.earned, 4)}{currency}"
    if watched.expected_earned is None:
        return f"{said}."
    promised = f"{numbers.format_number(watched.expected_earned, 4)}{currency}"
    return f"{said}; as the models were reviewed, as many would have been worth {promised}."
