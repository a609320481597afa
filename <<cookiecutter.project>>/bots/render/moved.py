"""Says of a holdout that moved from which rows to which, who chose them, and how both models stand on the old one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bots.layout import PARAMS
from bots.render.numbers import format_value, pluralize
from bots.stats import metrics

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bots.evidence import MovedHoldout, OldHoldout, Part

_DATE = len("2013-07-01")


def warn_of_choice(moved: MovedHoldout) -> str:
    """Who chose the rows that judge, as a sentence for the reader who decides."""
    return (
        f"This change moves the holdout ({describe_move(moved)}). Whoever moves it chooses the rows that judge: agree "
        f"with the new ones first (`split` in {PARAMS})."
    )


def describe_move(moved: MovedHoldout) -> str:
    """From which rows to which: `2013-07-01 to 2013-08-31 (57,211 rows) → 2013-08-01 to 2013-09-30 (55,432 rows)`."""
    before = describe_part(moved.before) if moved.before else "rows that nobody described"
    after = describe_part(moved.after) if moved.after else pluralize(moved.rows, "row")
    return f"{before} → {after}"


def describe_part(part: Part) -> str:
    """A holdout in words: its rows, and from when to when they are where they have a time."""
    rows = pluralize(part.rows, "row")
    if part.first is None or part.last is None:
        return f"{rows} ({part.digest.partition(':')[2][:8]}…)"
    return f"{part.first[:_DATE]} to {part.last[:_DATE]} ({rows})"


def describe_moved(moved: MovedHoldout) -> Iterator[str]:
    """What a reader should know of a holdout that moved, a sentence each."""
    yield f"The holdout moved: {describe_move(moved)}."
    if moved.failure is None:
        yield _say_trained_on(moved)
        yield _say_shared(moved)
    if moved.old is not None:
        yield describe_old(moved.old)


def _say_trained_on(moved: MovedHoldout) -> str:
    if not moved.trained_on:
        return f"None of the new rows is among the {moved.training_rows:,} that main's model was trained on."
    return (
        f"{moved.trained_on:,} of the new rows have the name, or the inputs and target, of a row that main's model was "
        f"trained on; they are left out: {moved.judged:,} judge."
    )


def _say_shared(moved: MovedHoldout) -> str:
    if not moved.shared:
        return "Main's model was chosen on its own holdout, which has none of the new rows."
    return (
        f"Main's model was chosen on its own holdout, which has {moved.shared:,} of the new rows: they may flatter it "
        "a little, and the looks at them count here too."
    )


def describe_old(old: OldHoldout) -> str:
    """How both models stand on main's holdout."""
    name, rows = metrics.find_label(old.metric), pluralize(old.rows, "row")
    main = f"On main's own holdout ({rows}) main's {name} is {format_value(old.metric, old.champion)}"
    if old.candidate is not None:
        own = format_value(old.metric, old.candidate)
        seen = (
            f"{old.trained_on:,} of these rows look like one"
            if old.trained_on
            else "none of these rows is one"
        )
        return f"{main}, this change's {own}; {seen} that it was trained on."
    if old.trained_on:
        return f"{main}. The new model was trained on {old.trained_on:,} of these rows: no comparison there."
    why = (old.note or "nobody could tell how this change does there")[:400].removesuffix(".")
    return f"{main}. No comparison there: {why}."
