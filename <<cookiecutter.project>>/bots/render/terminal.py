"""The review in a terminal: what was decided, the metrics, and what failed, in one screen of 80 columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bots.evidence import Review
from bots.log import visible
from bots.render import choose, glance, words

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
_STYLE = glance.Style(code=lambda value: visible(value, 60), text=lambda value: visible(value, 160))


def print_summary(review: Review, folder: Path) -> None:
    """Print the short form to standard output, and where the whole review in `folder` is."""
    from rich.console import Console

    summary(review, Console())
    print(f"The whole review: {(folder / 'review.html').resolve().as_uri()}")


def summary(review: Review, console: Console) -> None:
    """Print the short form. Without UTF-8 every sign has an ASCII stand-in; without colour nothing is lost."""
    from rich.text import Text

    def line(words_: str, style: str = "") -> None:
        console.print(Text(_plain(words_, console), style=style), highlight=False)

    colour = _COLOURS[words.alert(review)]
    line(f"{visible(review.title, 60)}: {words.VERDICTS[review.verdict].lower()}", f"bold {colour}")
    line(visible(review.headline, 300), "bold")
    line(words.gate(review))
    for rule in choose.untold(review)[:6]:
        line(f"  {words.STATES['bad']} {visible(rule.rule, 60)}: {visible(rule.message, 240)}", "red")
    for cause in review.causes:
        line(
            f"  {words.CAUSES[cause.kind]}: {', '.join(visible(change, 100) for change in cause.changes[:3])}",
            "dim",
        )
    if review.metrics and not choose.unchanged(review):
        console.print(_metrics(review, console))
    for looked in glance.lines(review, _STYLE):
        line(f"{words.STATES[looked.state]} {looked.topic}: {looked.sentence}")
    for step in review.on_merge[:3]:
        line(f"On merge: {visible(step, 300)}")


def _metrics(review: Review, console: Console) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    compared = choose.compared(review)
    table = Table(box=box.SIMPLE if _utf8(console) else box.ASCII, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("metric", overflow="fold")
    for head in ("main", "this change", "difference", "interval") if compared else ("this change",):
        table.add_column(head, justify="right", no_wrap=True)
    if compared:
        table.add_column("")
    for metric in choose.metrics(review, 8):
        cells = [f"{visible(words.metric(metric.name), 24)} {words.WANTED[metric.direction]}"]
        cells += [words.value(metric.name, metric.champion)] * compared
        cells += [words.value(metric.name, metric.candidate)]
        cells += [
            words.difference(metric.name, metric.difference),
            words.interval(metric, metric.name),
        ] * compared
        style = "bold" if metric.role == "primary" else ""
        outcome = Text(
            _plain(words.OUTCOMES[metric.outcome], console), style=_OUTCOMES.get(metric.outcome, "")
        )
        table.add_row(*(Text(_plain(cell, console), style=style) for cell in cells), *[outcome] * compared)
    return table


def _utf8(console: Console) -> bool:
    return console.encoding.lower().replace("-", "") == "utf8"


def _plain(line: str, console: Console) -> str:
    if _utf8(console):
        return line
    return line.translate(_ASCII).encode(console.encoding, "replace").decode(console.encoding)
