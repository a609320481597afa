"""Draws curves over days as inline SVG: lines stretch with the page, words and dots keep their size."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise

from markupsafe import Markup, escape

from bots.observations import Point
from bots.render.charts import choose_ticks
from bots.render.numbers import HUGE

HEIGHT = 200
TOP = 20  # the highest value is named above its line
TICKS = 6
NAME_WIDTH = 2.2  # percent of a narrow chart's width for a letter


@dataclass(frozen=True)
class Curve:
    """One line of a chart. `kind` is its class in the stylesheet: `change`, `main`."""

    kind: str
    points: Sequence[Point]


@dataclass(frozen=True)
class Span:
    """Days that are marked across the chart: a time of trouble (`until` None: it lasts), or one day.

    `name` stands below the axis, as far as there is room beside the names before it."""

    kind: str
    since: str
    until: str | None
    name: str = ""


def draw_curves(
    curves: Sequence[Curve],
    *,
    label: str,
    format_tick: Callable[[float], str],
    reference: float | None = None,
    spans: Sequence[Span] = (),
    zero: bool = False,
    axis: str = "",
) -> Markup:
    """Draw lines over days with their intervals, a dashed reference, and marked days; nothing where no day has a value.

    `zero`: the scale begins at zero. `label` says for screen readers what is drawn, `axis` in a word or two what the
    height is, for people who see a picture without its heading.
    """
    points = [point for curve in curves for point in curve.points if _is_drawable(point)]
    if not points:
        return Markup("")
    first, last = min(point.day for point in points), max(point.day for point in points)
    values = [value for point in points for value in _list_values(point)]
    values += [reference] if reference is not None and abs(reference) < HUGE else []
    low = min(0.0, *values) if zero else min(values)
    high = max(*values, low + max(1e-9, abs(low) * 1e-6))
    ticks = _cut_ticks(choose_ticks(low, high), high)
    frame = _Frame(
        date.fromisoformat(first), date.fromisoformat(last), min(low, ticks[0]), max(high, ticks[-1])
    )
    inner = [*_draw_spans(spans, frame), *_draw_grid(ticks, frame)]
    if reference is not None and abs(reference) < HUGE:
        inner.append(
            f'<line class="reference" x1="0" x2="1000" y1="{frame.y(reference):.1f}" y2="{frame.y(reference):.1f}"/>'
        )
    dots: list[str] = []
    for curve in curves:
        for run in split_runs(curve.points):
            inner += _draw_run(run, curve.kind, frame)
            dots += [_draw_dot(run[0], curve.kind, frame)] if len(run) == 1 else []
    plot = (
        f'<svg x="0" y="{TOP}" width="100%" height="{HEIGHT}" viewBox="0 0 1000 {HEIGHT}" preserveAspectRatio="none" '
        f'overflow="visible">{"".join(inner)}</svg>'
    )
    words = [
        *_label_values(ticks, frame, format_tick),
        *_label_axis(axis),
        *_label_days(frame),
        *_label_spans(spans, frame),
    ]
    kind = "curve named" if any(span.name for span in spans) else "curve"
    return Markup(  # noqa: S704 - numbers, dates and escaped words only
        f'<svg class="{kind}" role="img" aria-label="{escape(label)}">{plot}{"".join(dots)}{"".join(words)}</svg>'
    )


def _cut_ticks(ticks: Sequence[float], high: float) -> list[float]:
    """Leave out what lies beyond the first tick that is high enough."""
    enough = next((at for at, tick in enumerate(ticks) if tick >= high), len(ticks))
    return list(ticks[: enough + 1])


@dataclass(frozen=True)
class _Frame:
    first: date
    last: date
    low: float
    high: float

    def x(self, day: str) -> float:
        """Return the place of a day, of 1000."""
        return self.place(date.fromisoformat(day))

    def place(self, day: date) -> float:
        """Return the place of a date, of 1000; dates beyond the ends lie on them."""
        days = max(1, (self.last - self.first).days)
        return min(1000.0, max(0.0, 1000 * (day - self.first).days / days))

    def y(self, value: float) -> float:
        """Return the height of a value, from the top."""
        share = (value - self.low) / (self.high - self.low or 1.0)
        return HEIGHT * (1 - min(1.0, max(0.0, share)))


def split_runs(points: Sequence[Point]) -> Iterator[list[Point]]:
    """Split points into runs without a gap: a day without a value breaks the line."""
    run: list[Point] = []
    for point in sorted(points, key=lambda one: one.day):
        if _is_drawable(point):
            run.append(point)
        elif run:
            yield run
            run = []
    if run:
        yield run


def _is_drawable(point: Point) -> bool:
    return point.value is not None and abs(point.value) < HUGE


def _list_values(point: Point) -> list[float]:
    return [
        value for value in (point.value, point.low, point.high) if value is not None and abs(value) < HUGE
    ]


def _draw_spans(spans: Sequence[Span], frame: _Frame) -> Iterator[str]:
    for span in spans:
        start = frame.x(span.since)
        end = frame.x(span.until) if span.until else 1000.0
        if span.until == span.since:
            yield f'<line class="event {span.kind}" x1="{start:.1f}" x2="{start:.1f}" y1="0" y2="{HEIGHT}"/>'
        elif end > 0:
            width = max(2.0, end - start)
            yield f'<rect class="span {span.kind}" x="{start:.1f}" width="{width:.1f}" y="0" height="{HEIGHT}"/>'


def _draw_grid(ticks: Sequence[float], frame: _Frame) -> Iterator[str]:
    for tick in ticks:
        yield f'<line class="grid" x1="0" x2="1000" y1="{frame.y(tick):.1f}" y2="{frame.y(tick):.1f}"/>'


def _draw_run(run: Sequence[Point], kind: str, frame: _Frame) -> Iterator[str]:
    bounded = [point for point in run if point.low is not None and point.high is not None]
    if len(bounded) > 1:
        upper = [f"{frame.x(point.day):.1f},{frame.y(point.high or 0):.1f}" for point in bounded]
        lower = [f"{frame.x(point.day):.1f},{frame.y(point.low or 0):.1f}" for point in reversed(bounded)]
        yield f'<polygon class="within {kind}" points="{" ".join([*upper, *lower])}"/>'
    for piece in _split_by_maturity(run):
        places = [f"{frame.x(point.day):.1f},{frame.y(point.value or 0):.1f}" for point in piece]
        unripe = "" if piece[-1].mature else " unripe"
        yield f'<polyline class="{kind}{unripe}" points="{" ".join(places)}"/>'


def _split_by_maturity(run: Sequence[Point]) -> Iterator[list[Point]]:
    """Split a run where points begin or cease to be mature; neighbours share the point between them."""
    piece = [run[0]]
    for before, point in pairwise(run):
        if point.mature != before.mature and len(piece) > 1:
            yield piece
            piece = [before]
        piece.append(point)
    if len(piece) > 1:
        yield piece


def _draw_dot(point: Point, kind: str, frame: _Frame) -> str:
    x, y = frame.x(point.day) / 10, TOP + frame.y(point.value or 0)
    return f'<circle class="{kind}" cx="{x:.2f}%" cy="{y:.1f}" r="4"/>'


def _label_values(
    ticks: Sequence[float], frame: _Frame, format_tick: Callable[[float], str]
) -> Iterator[str]:
    for tick in ticks:
        yield f'<text x="0" y="{TOP + frame.y(tick) - 4:.1f}">{escape(format_tick(tick))}</text>'


def _label_axis(axis: str) -> Iterator[str]:
    """Name what the height is, above the picture at its right end: the values are named at its left."""
    if axis:
        yield f'<text class="axis" x="100%" y="{TOP - 8}" text-anchor="end">{escape(axis)}</text>'


def _label_days(frame: _Frame) -> Iterator[str]:
    for day in choose_days(frame.first, frame.last):
        at = frame.place(day) / 10
        anchor = "start" if at < 5 else "end" if at > 95 else "middle"
        yield f'<text x="{at:.2f}%" y="{TOP + HEIGHT + 18}" text-anchor="{anchor}">{format_day(day)}</text>'


def _label_spans(spans: Sequence[Span], frame: _Frame) -> Iterator[str]:
    """Name the marks below the days; a name that would touch the one before is left out, and the table has it."""
    free = -1.0
    for span in sorted(spans, key=lambda one: one.since):
        at = frame.x(span.since) / 10
        width = NAME_WIDTH * max(1, len(span.name))
        if not span.name or at < free:
            continue
        anchor = "end" if at + width > 100 else "start"
        free = at + width
        yield (
            f'<text class="{span.kind}" x="{at:.2f}%" y="{TOP + HEIGHT + 38}" text-anchor="{anchor}">'
            f"{escape(span.name)}</text>"
        )


def choose_days(first: date, last: date) -> list[date]:
    """Choose at most six days to name on an axis, from the first to the last."""
    days = (last - first).days
    count = min(TICKS - 1, days)
    return [first + timedelta(days=round(days * i / count)) for i in range(count + 1)] if count else [first]


def format_day(day: date) -> str:
    """Format a day for an axis: `12 Sep`."""
    return f"{day.day} {day:%b}"
