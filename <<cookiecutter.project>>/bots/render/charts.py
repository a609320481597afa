"""Draws the page's charts: inline SVG in percent, so that they fit any width; the stylesheet colours them by class.

Every chart stands beside its numbers, so it is hidden from screen readers; only the calibration chart stands
alone, and carries its own description.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import floor, log10

from markupsafe import Markup

from bots.evidence import CalibrationBin, MetricComparison, SliceComparison
from bots.render.numbers import HUGE

Point = tuple[float, float]


def draw_metric(metric: MetricComparison, reach: float) -> Markup:
    """Draw the interval of a metric's difference in units of what matters; better is to the right."""
    if metric.difference is None:
        return _draw_interval(None, None, None, factor=1.0, reach=reach, band=1.0, kind=metric.outcome)
    factor = _turn(metric.direction) / (metric.matters or abs(metric.difference) or 1.0)
    ends = metric.low, metric.difference, metric.high
    return _draw_interval(*ends, factor=factor, reach=reach, band=1.0, kind=metric.outcome)


def draw_slice(piece: SliceComparison, reach: float, direction: str) -> Markup:
    """Draw the interval of a slice's difference; `reach` is the scale's end, in the metric's unit."""
    ends = piece.low, piece.difference, piece.high
    return _draw_interval(*ends, factor=_turn(direction), reach=reach, band=0.0, kind=piece.outcome)


def find_slice_reach(pieces: Iterable[SliceComparison]) -> float:
    """Return the end of a scale that holds every judged interval."""
    ends = [abs(end) for piece in pieces for end in (piece.low, piece.high) if end is not None]
    return max(ends, default=0.0) or 1.0


def _turn(direction: str) -> float:
    """Return the factor that turns a difference so that more is better."""
    return -1.0 if direction == "lower" else 1.0


def _draw_interval(
    low: float | None,
    middle: float | None,
    high: float | None,
    *,
    factor: float,
    reach: float,
    band: float,
    kind: str,
) -> Markup:
    """Draw a point and its interval around zero. What lies beyond `reach` ends in an arrow at the edge."""
    parts = []
    if band:
        left, right = _place(-band, reach), _place(band, reach)
        parts.append(f'<rect class="band" x="{left:.2f}%" y="0" width="{right - left:.2f}%" height="100%"/>')
    parts.append('<line class="zero" x1="50%" x2="50%" y1="0" y2="100%"/>')
    if low is not None and high is not None:
        start, end = sorted((_place(low * factor, reach), _place(high * factor, reach)))
        parts.append(f'<line class="whisker" x1="{start:.2f}%" x2="{end:.2f}%" y1="50%" y2="50%"/>')
        parts += [_draw_arrow(low * factor, reach), _draw_arrow(high * factor, reach)]
    if middle is not None:
        parts.append(f'<circle class="dot" cx="{_place(middle * factor, reach):.2f}%" cy="50%" r="4.5"/>')
    return _wrap(parts, f"strip {kind.replace(' ', '-')}")


def draw_bar(share: float, mark: float | None = None, kind: str = "") -> Markup:
    """Draw a share of the width as a bar, with an optional mark (main's share, or a threshold)."""
    parts = [f'<rect class="fill" x="0" y="25%" width="{_clamp_percent(share):.2f}%" height="50%" rx="2"/>']
    if mark is not None:
        at = _clamp_percent(mark)
        parts.append(f'<line class="mark" x1="{at:.2f}%" x2="{at:.2f}%" y1="5%" y2="95%"/>')
    return _wrap(parts, f"bar {kind}")


def draw_effect(value: float, most: float) -> Markup:
    """Draw one reason's effect to the left or right of zero."""
    end = 50 + 50 * max(-1.0, min(1.0, value / most)) if most else 50.0
    left, width = min(50.0, end), abs(end - 50)
    return _wrap(
        [
            '<line class="zero" x1="50%" x2="50%" y1="0" y2="100%"/>',
            f'<rect class="fill" x="{left:.2f}%" y="25%" width="{width:.2f}%" height="50%" rx="2"/>',
        ],
        "bar up" if value > 0 else "bar down",
    )


def draw_calibration(champion: Sequence[CalibrationBin], candidate: Sequence[CalibrationBin]) -> Markup:
    """Draw what happened against what was predicted, for main and for this change; the diagonal is perfect."""
    both = [*champion, *candidate]
    values = [x for item in both for x in (item.predicted, item.observed)]
    if max(map(abs, values)) >= HUGE:
        return Markup("")
    low, high = min(0.0, *values), max(values)
    ticks = choose_ticks(low, high)
    low, high = min(low, ticks[0]), max(high, ticks[-1])

    def x(value: float) -> float:
        return 48 + 340 * (value - low) / (high - low or 1.0)

    def y(value: float) -> float:
        return 352 - 340 * (value - low) / (high - low or 1.0)

    parts = [f'<line class="perfect" x1="{x(low)}" y1="{y(low)}" x2="{x(high)}" y2="{y(high)}"/>']
    for tick in ticks:
        parts += [
            f'<line class="grid" x1="48" x2="388" y1="{y(tick):.1f}" y2="{y(tick):.1f}"/>',
            f'<text x="40" y="{y(tick) + 4:.1f}" text-anchor="end">{tick:g}</text>',
            f'<text x="{x(tick):.1f}" y="372" text-anchor="middle">{tick:g}</text>',
        ]
    for bins, kind in ((champion, "main"), (candidate, "change")):
        points = [(x(item.predicted), y(item.observed)) for item in bins]
        parts.append(f'<polyline class="{kind}" points="{" ".join(f"{a:.1f},{b:.1f}" for a, b in points)}"/>')
        parts += [f'<circle class="{kind}" cx="{a:.1f}" cy="{b:.1f}" r="4"/>' for a, b in points]
    parts.append('<text x="218" y="394" text-anchor="middle">predicted</text>')
    parts.append('<text transform="translate(12 182) rotate(-90)" text-anchor="middle">happened</text>')
    label = "Calibration: what happened against what was predicted. The table beside it has the numbers."
    return Markup(  # noqa: S704 - numbers and our own words only
        f'<svg class="reliability" viewBox="0 0 400 400" role="img" aria-label="{label}">{"".join(parts)}</svg>'
    )


def _draw_arrow(value: float, reach: float) -> str:
    if not abs(value) > reach:
        return ""
    turn = "" if value > 0 else " rotate(180)"
    return (
        f'<svg x="{_place(value, reach):.2f}%" y="50%" overflow="visible">'
        f'<path class="arrow" transform="{turn.strip()}" d="M-4 -4 L1 0 L-4 4"/></svg>'
    )


def choose_ticks(low: float, high: float) -> list[float]:
    """Choose round numbers for an axis that hold both ends."""
    rough = max(high - low, 1e-9) / 4
    size = 10 ** floor(log10(rough))
    step = next(size * nice for nice in (1, 2, 2.5, 5, 10) if size * nice >= rough)
    first = floor(low / step)
    return [round(step * (first + i), 12) for i in range(int((high - low) / step) + 2)]


def _place(value: float, reach: float) -> float:
    return 50 + 47 * max(-1.0, min(1.0, value / reach))


def _clamp_percent(share: float) -> float:
    return 100 * max(0.0, min(1.0, share))


def _wrap(parts: list[str], kind: str) -> Markup:
    return Markup(f'<svg class="{kind}" aria-hidden="true">{"".join(parts)}</svg>')  # noqa: S704 - numbers only
