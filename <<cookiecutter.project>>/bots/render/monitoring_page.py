"""Renders what the watch saw as one HTML page that loads nothing: is it well, what changed, what was done."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from bots.observations import Episode, Point, Series, WatchReport
from bots.render import charts, curves, jinja, monitoring_words, numbers
from bots.render.page import build_policy, format_prose
from bots.stats.metrics import find_label

COLUMNS = 15
DAYS = 14
AGES = 32
EVENTS = 100
PAIRED = ("predicted", "observed")


@dataclass(frozen=True)
class Event:
    """Something that was done, or happened: for the page's history."""

    day: str
    what: str
    words: str


def render_monitoring_page(report: WatchReport, evidently: str | None = None) -> str:
    """Render the page. `evidently` is the address of Evidently's page beside it, where there is one."""
    style = jinja.load_source("review.css") + jinja.load_source("monitoring.css")
    script = jinja.load_source("theme.js")
    return jinja.render(
        "monitoring.html.j2",
        report=report,
        style=Markup(style),  # noqa: S704 - our own file
        script=Markup(script),  # noqa: S704 - our own file
        policy=build_policy(style, script),
        evidently=evidently,
        findings=monitoring_words.sort_findings(report.findings),
        curves=[one for one in report.series if one.name not in PAIRED],
        draw_series=lambda series: draw_series(series, report),
        calibration=draw_calibration(report),
        estimates=draw_estimates(report),
        arrival=draw_arrival(report),
        events=list_events(report)[:EVENTS],
        drifted=report.drift[:COLUMNS],
        cohorts=report.cohorts[-DAYS:],
        labelled=draw_labelled(report),
        format_prose=format_prose,
        charts=charts,
        numbers=numbers,
        words=monitoring_words,
    )


def draw_series(series: Series, report: WatchReport) -> Markup:
    """Draw one curve with its interval, the review's own value as a dashed line, and what happened on the way."""
    return curves.draw_curves(
        [curves.Curve("change", series.points)],
        label=f"{series.label}, day by day.",
        format_tick=lambda value: monitoring_words.format_figure(
            series.kind, series.name, value, report.currency
        ),
        reference=series.reference,
        spans=list_spans(report),
        zero=series.kind == "count",
        axis=series.label,
    )


def draw_calibration(report: WatchReport) -> Markup:
    """Draw what was predicted on average each day beside what came."""
    pair = {one.name: one for one in report.series if one.name in PAIRED}
    if set(pair) != set(PAIRED):
        return Markup("")
    kind = pair["observed"].kind
    return curves.draw_curves(
        [curves.Curve("main", pair["predicted"].points), curves.Curve("change", pair["observed"].points)],
        label="What was predicted on average, and what came, day by day.",
        format_tick=lambda value: monitoring_words.format_figure(kind, "", value),
        spans=list_spans(report),
        axis="mean of a day",
    )


def draw_estimates(report: WatchReport) -> Markup:
    """Draw the estimates that were made before labels came, beside the truth."""
    if not report.estimates:
        return Markup("")
    metric = report.estimates[-1].metric
    kept = [one for one in report.estimates if one.metric == metric]
    estimate = [
        Point(day=one.day, value=one.estimate, low=one.low, high=one.high, rows=one.rows) for one in kept
    ]
    truth = [Point(day=one.day, value=one.truth, rows=one.rows) for one in kept]
    return curves.draw_curves(
        [curves.Curve("main", estimate), curves.Curve("change", truth)],
        label=f"{metric} as it was estimated before labels came, and as it was.",
        format_tick=lambda value: numbers.format_value(metric, value),
        spans=list_spans(report),
        axis=find_label(metric),
    )


def draw_labelled(report: WatchReport) -> Markup:
    """Draw which share of each day's predictions has a label by now."""
    points = [
        Point(
            day=one.day,
            value=one.labelled / one.predicted if one.predicted else None,
            rows=one.predicted,
            mature=one.state in ("mature", "timed out"),
        )
        for one in report.cohorts
    ]
    return curves.draw_curves(
        [curves.Curve("change", points)],
        label="The share of each day's predictions that has a label.",
        format_tick=lambda value: numbers.format_percent(value, 0),
        zero=True,
        axis="share with a label",
    )


def draw_arrival(report: WatchReport) -> Markup:
    """Draw which share of a day's predictions has a label after so many days, as bars."""
    rows = [
        f"<tr><th scope='row' class='number'>{age}</th><td class='picture'>{charts.draw_bar(share)}</td>"
        f"<td class='number'>{numbers.format_percent(share)}</td></tr>"
        for age, share in enumerate(report.arrival[:AGES])
    ]
    return Markup("".join(rows))  # noqa: S704 - numbers only


def list_spans(report: WatchReport) -> list[curves.Span]:
    """List the times of trouble and the versions' first days, to be marked in every curve."""
    troubles = [
        curves.Span(f"trouble-{one.trouble}", one.since, one.until)
        for one in report.episodes
        if one.trouble in ("performance", "health")
    ]
    versions = [
        curves.Span("deployed", day, day)
        for one in report.deployments
        if report.first and report.last and report.first < (day := one.at[:10]) <= report.last
    ]
    return [*troubles, *versions]


def list_events(report: WatchReport) -> list[Event]:
    """List what happened and what was done, the newest first."""
    found = [
        Event(
            one.at[:10],
            f"{one.version} into production",
            f"by {one.by}" + (f": {one.reason}" if one.reason else ""),
        )
        for one in report.deployments
    ]
    for episode in report.episodes:
        found += _list_episode_events(episode)
    found += [
        Event(
            one.at[:10],
            f"{monitoring_words.TROUBLES[one.trouble]}: {one.what}",
            f"by {one.by}" + (f" until {one.until}" if one.until else ""),
        )
        for one in report.decisions
    ]
    return sorted(found, key=lambda one: one.day, reverse=True)


def _list_episode_events(episode: Episode) -> list[Event]:
    name = monitoring_words.TROUBLES[episode.trouble]
    issue = f" (issue #{episode.issue})" if episode.issue else ""
    begun = Event(episode.since, f"{name}: trouble begins", episode.words + issue)
    return [begun] if episode.until is None else [begun, Event(episode.until, f"{name}: over", issue.strip())]
