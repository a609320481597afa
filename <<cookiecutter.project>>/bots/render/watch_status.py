"""Says in a line, and in a badge, how production is and when it was last looked at: an old word is no word."""

from __future__ import annotations

from datetime import datetime
from html import escape, unescape
from typing import Final

from bots.naming import ALONE, Naming
from bots.observations import Condition, Deployment, Instant, WatchStatus
from bots.render.escape import escape_prose
from bots.render.numbers import pluralize

STALE_HOURS: Final = 48
"""The watch looks once a day; after so many hours nobody knows how production is."""
COLOURS: Final[dict[Condition, str]] = {
    "well": "#1a7f37",
    "warning": "#9a6700",
    "alarm": "#cf222e",
    "labels pending": "#57606a",
    "blind": "#57606a",
}
WORKFLOW: Final = "Monitor"


def describe_status(status: WatchStatus, now: Instant, naming: Naming = ALONE) -> str:
    """Describe how production is as Markdown of one paragraph, for the end of a review."""
    where = f"Actions > {naming.title_workflow(WORKFLOW)}"
    hours = count_hours(status.at, now)
    since = f" since {status.since}" if status.since else ""
    said = f"{status.condition}{since}. {escape_prose(status.words, 120)}"
    ago = describe_age(hours)
    if hours >= STALE_HOURS:
        return (
            f"**Production** was last watched {ago}, so nobody knows how it is now; *{where}* says why. "
            f"Then it was: {said}"
        )
    if status.condition == "blind":
        return f"**Production** could not be seen when it was last looked at, {ago}. {escape_prose(status.words, 120)}"
    return f"**Production** was last watched {ago}: {said}"


def describe_age(hours: float) -> str:
    """Describe how long ago something was; what lies ahead, by a clock that is off, is now."""
    if hours < 1:
        return "less than an hour ago"
    if hours < STALE_HOURS:
        return f"{pluralize(int(hours), 'hour')} ago"
    return f"{pluralize(int(hours // 24), 'day')} ago"


def count_hours(since: Instant, until: Instant) -> float:
    """Count the hours between two instants; negative where they are the other way around."""
    return (datetime.fromisoformat(until) - datetime.fromisoformat(since)).total_seconds() / 3600


def render_badge(status: WatchStatus) -> str:
    """Render a badge as SVG: a picture that names the day it is of, because it stays when nobody watches any more."""
    return _draw_badge("production", f"{status.condition} · {status.at[:10]}", COLOURS[status.condition])


def render_running_badge(deployments: list[Deployment]) -> str:
    """Render a badge that says which version production got last, and on which day."""
    if not deployments:
        return _draw_badge("runs", "nothing yet", "#57606a")
    last = deployments[-1]
    return _draw_badge("runs", f"{last.version} since {last.at[:10]}", "#0969da")


def _draw_badge(left: str, right: str, colour: str) -> str:
    left, right = escape(left), escape(right)
    widths = [8 + round(6.6 * len(words)) for words in (unescape(left), unescape(right))]
    whole = sum(widths)
    middle = [widths[0] / 2, widths[0] + widths[1] / 2]
    style = 'fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11" text-anchor="middle"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{whole}" height="20" role="img" aria-label="{left}: {right}">'
        f"<title>{left}: {right}</title>"
        f'<rect width="{whole}" height="20" rx="3" fill="#24292f"/>'
        f'<path d="M{widths[0]} 0h{widths[1] - 3}a3 3 0 0 1 3 3v14a3 3 0 0 1-3 3H{widths[0]}z" '
        f'fill="{colour}"/>'
        f'<g {style}><text x="{middle[0]:g}" y="14">{left}</text><text x="{middle[1]:g}" y="14">{right}</text></g>'
        "</svg>\n"
    )
