"""Formats the pieces of Markdown that comments are made of."""

from __future__ import annotations

from functools import partial

from bots.evidence import Finding, GateRule
from bots.render import words
from bots.render.escape import escape_code, escape_prose, escape_text
from bots.render.numbers import format_count

ROWS = 40
escape_name = partial(escape_code, limit=60)
escape_phrase = partial(escape_prose, limit=240)


def format_table(heads: list[str], rows: list[list[str]]) -> str:
    """Format a table; a head that starts with a colon is aligned left, any other right."""
    lines = [
        [head.removeprefix(":") for head in heads],
        [":--" if head.startswith(":") else "--:" for head in heads],
        *rows,
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def join_lines(each: list[str]) -> str:
    """Join lines to one paragraph; the backslash breaks them everywhere, also where GitHub would join them."""
    return "\\\n".join(each)


def fold(summary: str, body: str) -> str:
    """Format a section that is closed until it is clicked; nothing where there is nothing to fold."""
    return f"<details>\n<summary>{summary}</summary>\n\n{body}\n\n</details>" if body else ""


def describe_rest(total: int, shown: int = ROWS) -> str:
    """Say how many rows a table leaves to the page."""
    return f" {format_count(total - shown)} more in the full page." if total > shown else ""


def format_rule(applied: GateRule, limit: int = 240) -> str:
    """Format one rule of the gate with its sign."""
    sign = words.choose_rule_sign(applied)
    return f"{sign} **{escape_text(applied.rule, 60)}** {escape_prose(applied.message, limit)}"


def format_label(metric: str, direction: str) -> str:
    """Format a metric's name with the mark of what is better."""
    return f"{escape_text(words.name_metric(metric), 60)} {words.mark_direction(metric, direction)}"


def format_role(plays: str, unit: str | None) -> str:
    """Format a metric's role and its unit, in small letters."""
    told = ", ".join(part for part in (words.ROLES[plays], escape_text(unit, 40) if unit else "") if part)
    return f" <sub>{told}</sub>" if told else ""


def format_findings(noticed: list[Finding]) -> str:
    """Format a table of what the checks noticed."""
    rows = [
        [
            escape_name(finding.column) if finding.column else "",
            ("✗ " if finding.severity == "error" else "! ") + escape_phrase(finding.message),
            escape_text(finding.found, 60) if finding.found else "",
            escape_text(finding.expected, 60) if finding.expected else "",
            format_count(finding.rows) if finding.rows is not None else "",
        ]
        for finding in noticed
    ]
    return format_table([":Column", ":Finding", ":Found", ":Expected", "Rows"], rows)


def draw_interval(low: float | None, high: float | None, matters: float, reach: float, half: int = 9) -> str:
    """Draw an interval around zero as one line of text that ends at `reach` times `matters` to either side.

    An interval that goes on beyond it ends in an arrow.
    """
    cells = ["·"] * (2 * half + 1)
    band = max(1, round(half / reach))
    cells[half], cells[half - band], cells[half + band] = "┼", "╎", "╎"
    if low is None or high is None:
        return "".join(cells)
    scale = half / reach / (matters or max(abs(low), abs(high)) or 1.0)
    places = sorted(round(max(-half - 1.0, min(half + 1.0, end * scale))) for end in (low, high))
    left, right = (half + max(-half, min(half, place)) for place in places)
    cells[left : right + 1] = "━" * (right - left + 1)
    cells[(left + right) // 2] = "●"
    if places[0] < -half:
        cells[0] = "◂"
    if places[1] > half:
        cells[-1] = "▸"
    return "".join(cells)


def draw_bar(share: float, cells: int = 10) -> str:
    """Draw a share between 0 and 1 as blocks; whatever is more than nothing shows."""
    filled = max(round(min(share, 1.0) * cells), 1 if share > 0 else 0)
    return "█" * filled + "░" * (cells - filled)
