"""Renders what two models do with each of several classes, and which class is called which."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from bots.evidence import ClassComparison, Review
from bots.render import markdown as md
from bots.render import selection
from bots.render.escape import escape_text
from bots.render.numbers import (
    format_count,
    format_difference,
    format_percent,
    format_value,
)

Escape = Callable[[object], str]
State = Literal["ok", "note", "bad"]
MOST_SQUARE = 10
"""So many classes fit a table of who is called whom; of more, the pairs that changed most are listed."""
SHOWN = 3
SHADES = 9


def describe_classes(review: Review, *, code: Escape, text: Escape) -> tuple[State, str] | None:
    """Say in a line which classes lost recall, and what their rows are called now: a state and a sentence.

    None without several classes. `code` escapes a name, `text` running words.
    """
    if not review.classes:
        return None
    ranked = selection.rank_classes(review)
    fallen = [one for one in ranked if selection.has_fallen(one)]
    if fallen:
        told = "; ".join(_describe_fallen(one, review, code) for one in fallen[:SHOWN])
        more = f"; and {len(fallen) - SHOWN} more" if len(fallen) > SHOWN else ""
        return "bad", f"recall fell beyond chance in {len(fallen)} of {len(ranked)}: {told}{more}"
    known = [one for one in ranked if one.candidate.recall is not None]
    lowest = sorted(known, key=lambda one: one.candidate.recall or 0.0)[:SHOWN]
    named = ", ".join(f"{code(one.name)} {format_value('recall', one.candidate.recall)}" for one in lowest)
    judged = sum(one.high is not None for one in ranked)
    if not judged:
        why = next((f": {text(one.note)}" for one in ranked if one.note), "")
        compared = f", no recall was compared{why}"
    else:
        left = len(ranked) - judged
        rest = f" ({left} could not be told)" if left else ""
        compared = f", none of {judged} lost recall beyond chance{rest}"
    state: State = "ok" if judged == len(ranked) or not selection.is_compared(review) else "note"
    return state, f"{len(ranked)} classes{compared}; lowest recall {named}"


def _describe_fallen(one: ClassComparison, review: Review, code: Escape) -> str:
    before = one.champion.recall if one.champion else None
    told = (
        f"{code(one.name)} {format_difference('recall', one.difference)} "
        f"({format_value('recall', before)} → {format_value('recall', one.candidate.recall)})"
    )
    called = find_new_mistake(one.name, review)
    return f"{told}, more often called {code(called)}" if called is not None else told


def find_new_mistake(name: str, review: Review) -> str | None:
    """The class that rows of a class are called more often than by main; None where there is none."""
    names = [one.name for one in review.classes]
    confusion, main = selection.get_confusions(review)
    if not confusion or not main:
        return None
    at = names.index(name)
    gains = [
        (after - before, called)
        for called, (after, before) in enumerate(zip(confusion[at], main[at], strict=True))
        if called != at
    ]
    most, called = max(gains, default=(0, 0))
    return names[called] if most > 0 else None


def format_classes(review: Review) -> str:
    """Format each class before and after as Markdown, what got worse first, and who is called whom."""
    if not review.classes or selection.is_unchanged(review):
        return ""
    compared = any(one.champion is not None for one in review.classes)
    rows = [_format_class(one, compared=compared) for one in selection.rank_classes(review, md.ROWS)]
    heads = [":Class", "rows", "recall", "precision", "called so"]
    if compared:
        heads = [":Class", "rows", "recall", "difference", "interval", "precision", "called so", ":"]
    corrected = (
        f" Intervals are corrected for {format_count(len(review.classes))} classes judged together."
        if compared
        else ""
    )
    arrows = " Main → this change." if compared else ""
    told = f"Worst first.{arrows}{corrected}{md.describe_rest(len(review.classes))}"
    return "\n\n".join([md.format_table(heads, rows), f"<sub>{told}</sub>", format_confusion(review)])


def _format_class(one: ClassComparison, *, compared: bool) -> list[str]:
    before, after = one.champion, one.candidate
    interval = (
        f"{format_difference('recall', one.low)} to {format_difference('recall', one.high)}"
        if one.low is not None and one.high is not None
        else ""
    )
    shown = [
        (_format_share(before.recall if before else None), _format_share(after.recall)),
        (_format_share(before.precision if before else None), _format_share(after.precision)),
        (format_count(before.predicted) if before else "–", format_count(after.predicted)),
    ]
    recall, precision, called = (f"{was} → {now}" if compared and was != now else now for was, now in shown)
    name, rows = md.escape_name(one.name), format_count(one.rows)
    if not compared:
        return [name, rows, recall, precision, called]
    difference = format_difference("recall", one.difference)
    return [name, rows, recall, difference, interval, precision, called, mark_class(one, md_escape=True)]


def _format_share(share: float | None) -> str:
    return "–" if share is None else format_value("recall", share)


def mark_class(one: ClassComparison, *, md_escape: bool = False) -> str:
    """Return in a word how a class's recall moved; why that cannot be told, where it cannot."""
    if one.high is None or one.low is None:
        note = one.note or ""
        return f"· {escape_text(note, 60) if md_escape else note}" if note else ""
    return "▼ worse" if one.high < 0 else "▲ better" if one.low > 0 else "? not shown"


def format_confusion(review: Review) -> str:
    """Format who is called whom: a square of few classes, else the pairs that changed most."""
    names = [one.name for one in review.classes]
    confusion, mains = selection.get_confusions(review)
    if not confusion:
        return ""
    if len(names) > MOST_SQUARE:
        return _format_pairs(review)
    rows = []
    for actual, row in enumerate(confusion):
        main = mains[actual] if mains else None
        rows.append(
            [
                f"**{md.escape_name(names[actual])}**",
                *(
                    _format_cell(count, main[called] if main else None, right=actual == called)
                    for called, count in enumerate(row)
                ),
            ]
        )
    heads = [":actual ╲ called", *(md.escape_name(name) for name in names)]
    told = "Rows of the class on the left that are called the class above"
    told += ", in brackets the difference from main." if mains else "."
    return f"{md.format_table(heads, rows)}\n\n<sub>{told}</sub>"


def _format_cell(count: int, before: int | None, *, right: bool) -> str:
    shown = f"**{format_count(count)}**" if right else format_count(count) if count or before else "·"
    return shown + (
        f" ({count - before:+,})".replace("-", "−") if before is not None and count != before else ""
    )


def _format_pairs(review: Review) -> str:
    rows = [
        [
            md.escape_name(actual),
            md.escape_name(called),
            "–" if before is None else format_count(before),
            format_count(count),
            "" if before is None else f"{count - before:+,}".replace("-", "−"),
        ]
        for actual, called, count, before in selection.rank_confusions(review, MOST_SQUARE)
    ]
    if not rows:
        return "No mistake became more or less frequent."
    heads = [":Actual", ":called", "main", "this change", "difference"]
    return f"The mistakes that changed most:\n\n{md.format_table(heads, rows)}"


def choose_shade(count: int, row: Sequence[int]) -> int:
    """How dark a cell of who is called whom is, from 0 to 9: its share of its row."""
    total = sum(row)
    return round(SHADES * count / total) if total else 0


def format_rankings(review: Review) -> str:
    """Format the features that move each class's probability most."""
    report = review.explanation
    if report is None or not report.classes:
        return ""
    rows = [
        [
            md.escape_name(one.name),
            ", ".join(
                f"{md.escape_name(item.feature)} {format_percent(item.share, 0)}"
                for item in one.ranking[:SHOWN]
            ),
        ]
        for one in report.classes[: md.ROWS]
    ]
    return md.format_table([":Class", ":what moves its probability most"], rows)
