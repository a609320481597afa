"""Prints a review in a terminal: what was decided, the metrics, and what failed, on one screen of 80 columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bots.evidence import Review
from bots.log import make_visible
from bots.render import certainty, glance, selection, words
from bots.render.numbers import format_difference, format_interval, format_value

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console
    from rich.table import Table

_COLOURS = {"TIP": "green", "NOTE": "blue", "WARNING": "yellow", "CAUTION": "red"}
_OUTCOMES = {"improved": "green", "regressed": "red"}
_ASCII = str.maketrans(
    {
        "▲": "+",
        "▼": "-",
        "≈": "=",
        "·": "-",
        "✓": "+",
        "✗": "x",
        "↑": "^",
        "↓": "v",
        "−": "-",
        "–": "-",
        "→": "->",
        "…": "...",
    }
)
_STYLE = glance.Style(code=lambda value: make_visible(value, 60), text=lambda value: make_visible(value, 160))


def print_review(review: Review, folder: Path) -> None:
    """Print the short form to standard output, and where the whole review in `folder` is."""
    from rich.console import Console

    print_summary(review, Console())
    print(f"The whole review: {(folder / 'review.html').resolve().as_uri()}")


def print_summary(review: Review, console: Console) -> None:
    """Print the short form. Without UTF-8 every sign has an ASCII stand-in; without colour nothing is lost."""
    from rich.text import Text

    def line(words_: str, style: str = "") -> None:
        console.print(Text(_replace_signs(words_, console), style=style), highlight=False)

    colour = _COLOURS[words.choose_alert(review)]
    line(f"{make_visible(review.title, 60)}: {words.VERDICTS[review.verdict].lower()}", f"bold {colour}")
    line(make_visible(review.headline, 300), "bold")
    line(words.describe_gate(review))
    for sentence in certainty.explain_choice(review):
        line(make_visible(sentence, 400))
    for rule in selection.list_unquoted_rules(review)[:6]:
        line(
            f"  {words.STATES['bad']} {make_visible(rule.rule, 60)}: {make_visible(rule.message, 240)}", "red"
        )
    for cause in review.causes:
        shown = ", ".join(make_visible(change, 100) for change in cause.changes[:3])
        more = f" and {len(cause.changes) - 3} more" if len(cause.changes) > 3 else ""
        line(f"  {words.CAUSES[cause.kind]}: {shown}{more}", "dim")
    if review.metrics and not selection.is_unchanged(review):
        console.print(_build_table(review, console))
    for looked in glance.collect_lines(review, _STYLE):
        line(f"{words.STATES[looked.state]} {looked.topic}: {looked.sentence}")
    for step in review.on_merge[:3]:
        line(f"On merge: {make_visible(step, 300)}")


def _build_table(review: Review, console: Console) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    compared = selection.is_compared(review)
    table = Table(box=box.SIMPLE if _is_utf8(console) else box.ASCII, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("metric", overflow="fold")
    for head in ("main", "this change", "difference", "interval") if compared else ("this change",):
        table.add_column(head, justify="right", no_wrap=True)
    if compared:
        table.add_column("")
    for metric in selection.rank_metrics(review, 8):
        cells = [
            f"{make_visible(words.name_metric(metric.name), 24)} {words.mark_direction(metric.name, metric.direction)}"
        ]
        cells += [format_value(metric.name, metric.champion)] * compared
        cells += [format_value(metric.name, metric.candidate)]
        cells += [
            format_difference(metric.name, metric.difference),
            format_interval(metric, metric.name),
        ] * compared
        style = "bold" if metric.role == "primary" else ""
        outcome = Text(
            _replace_signs(words.OUTCOMES[metric.outcome], console), style=_OUTCOMES.get(metric.outcome, "")
        )
        table.add_row(
            *(Text(_replace_signs(cell, console), style=style) for cell in cells), *[outcome] * compared
        )
    return table


def _is_utf8(console: Console) -> bool:
    return console.encoding.lower().replace("-", "") == "utf8"


def _replace_signs(line: str, console: Console) -> str:
    if _is_utf8(console):
        return line
    return line.translate(_ASCII).encode(console.encoding, "replace").decode(console.encoding)
