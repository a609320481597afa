"""Formats numbers, in one way for the review's sentences, the comment, the page and the terminal."""

from __future__ import annotations

from bots.evidence import MetricComparison, SliceComparison
from bots.stats import metrics

# From here on a number has an exponent: a table's cell holds no hundred digits.
HUGE = 1e9


def format_count(number: int) -> str:
    """Format a count: `57,211`."""
    return f"{number:,}"


def pluralize(number: int, noun: str) -> str:
    """Format a count with its noun: `1 row`, `2 rows`."""
    return f"{format_count(number)} {noun}{'' if number == 1 else 's'}"


def format_percent(share: float | None, decimals: int = 1) -> str:
    """Format a share: `17.2%`, and an en dash where there is none."""
    return "–" if share is None else f"{100 * share:.{decimals}f}%"


def format_number(x: float | None, digits: int = 3) -> str:
    """Format a number of no known metric with so many significant digits, without an exponent where that is short."""
    if x is None:
        return "–"
    return _widen_minus(f"{x:,.0f}" if 10**digits <= abs(x) < HUGE else f"{x:,.{digits}g}")


def format_score(x: float | None) -> str:
    """Format a prediction, or what happened, with as many decimals as its size needs: `0.321`, `23.41`."""
    return format_value("", x)


def format_effect(x: float) -> str:
    """Format what a feature adds to one prediction: `+0.91`."""
    return f"{'−' if x < 0 else '+'}{abs(x):,.2f}" if abs(x) < HUGE else format_number(x)


def format_value(name: str, x: float | None) -> str:
    """Format a metric's value without its unit: `0.712`, `1,234.5`; `n/a` where there is none."""
    if x is None:
        return "n/a"
    if abs(x) >= HUGE or _is_tiny(name, x, 1e-3):
        return format_number(x)
    return _widen_minus(f"{x:,.{_choose_decimals(name, x)}f}")


def format_difference(name: str, x: float | None) -> str:
    """Format a difference without its unit: `+0.019`. It has a sign, and more digits where it would look like zero."""
    if x is None:
        return "n/a"
    if abs(x) >= HUGE:
        return format_number(x)
    if _is_tiny(name, x, 1e-6):
        return _widen_minus(f"{x:+.3g}")
    decimals = _choose_decimals(name, x)
    while x and not round(x, decimals) and decimals < 6:
        decimals += 1
    return _widen_minus(f"{x:+,.{decimals}f}" if round(x, decimals) else f"{0:.{decimals}f}")


def format_amount(name: str, x: float | None) -> str:
    """Format a size that is never negative, as exactly as a difference: `0.0105`, `0.00004`."""
    return format_difference(name, x).removeprefix("+")


def format_interval(metric: MetricComparison | SliceComparison, name: str) -> str:
    """Format an interval: `+0.013 to +0.021` of a difference, `0.731 to 0.748` of a value alone, or nothing."""
    if metric.low is None or metric.high is None:
        return ""
    form = format_value if metric.difference is None else format_difference
    return f"{form(name, metric.low)} to {form(name, metric.high)}"


def _is_tiny(name: str, x: float, least: float) -> bool:
    """Whether a quantity is so small that decimals would not show it; a share of so little is zero."""
    measure = metrics.describe_measure(name)
    # Of a metric that rows bring nobody knows the size; what has no name is a prediction.
    may_be_tiny = bool(name) if measure is None else measure.kind not in ("share", "loss")
    return may_be_tiny and 0 < abs(x) < least


def _widen_minus(number: str) -> str:
    """Return the number with the minus sign that is as wide as the plus."""
    return number.replace("-", "−")


def _choose_decimals(name: str, x: float) -> int:
    measure = metrics.describe_measure(name)
    if measure and measure.kind in ("share", "loss"):
        return measure.decimals
    return 3 if abs(x) < 10 else 2 if abs(x) < 100 else 1
