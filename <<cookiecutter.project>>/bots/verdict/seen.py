"""The rules about a holdout that a model may have seen: copies among its training rows, and a fit that is too good."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bots.render.numbers import format_value, pluralize
from bots.verdict.rules import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bots.evidence import CopiedRows, FitGap

COPIES = "holdout-in-training"
FITTED = "holdout-perhaps-fitted"
# Copies beyond main's share that are let pass: as many rows, or this share of the holdout, whichever is more.
FEW = 10
FEW_SHARE = 0.01


def check_seen(copied: Sequence[CopiedRows], gap: FitGap | None) -> Iterator[Finding]:
    """The rules for what was looked at."""
    if copied:
        yield check_copies(copied)
    if gap is not None:
        yield check_fit_gap(gap)


def check_copies(copied: Sequence[CopiedRows]) -> Finding:
    """Training tables hold few rows of the holdout, beyond what main's tables hold by nature."""
    worst = max(copied, key=count_excess)
    found = (
        f"{worst.copies:,} of {pluralize(worst.rows, 'holdout row')} have the inputs and the target of a row in "
        f"{worst.table}"
    )
    main = "" if worst.champion is None else f", {worst.champion:,} of {worst.champion_rows or 0:,} on main"
    named = f"; {worst.same_rows:,} of them have its name too" if worst.same_rows else ""
    too_many = count_excess(worst) > max(FEW, FEW_SHARE * worst.rows)
    said = "The training rows hold the holdout" if too_many else "The training rows leave the holdout out"
    return Finding(
        rule="copied rows",
        passed=not too_many,
        message=f"{said}: {found}{main}{named}.",
        verdict="blocked",
        reason=COPIES,
        headline=f"The model was trained on rows that judge it: {found}{main}{named}.",
    )


def count_excess(copied: CopiedRows) -> float:
    """So many rows are copies beyond what can be by nature."""
    by_nature = float(copied.copies)
    if copied.champion is not None and copied.champion_rows:
        by_nature = copied.rows * copied.champion / copied.champion_rows
    return max(float(copied.same_rows), copied.copies - by_nature)


def check_fit_gap(gap: FitGap) -> Finding:
    """A model that fits the holdout as if it had been trained on it does not pass by itself."""
    figures = (
        f"main's {gap.loss} is {format_value('', gap.champion_training)} on training rows and "
        f"{format_value('', gap.champion_holdout)} on the holdout, this change's "
        f"{format_value('', gap.candidate_training)} and {format_value('', gap.candidate_holdout)}"
    )
    if not gap.vanished:
        message = f"Nothing looks as if the holdout had been trained on: {figures}. That is no proof."
        return Finding(rule="fit of the holdout", passed=True, message=message)
    message = (
        f"This model fits the holdout as if it had been trained on it: {figures}. It gained on the holdout what it did "
        "not gain on the training rows. Read the code that trains; only rows that came later can tell."
    )
    return Finding(
        rule="fit of the holdout",
        passed=False,
        message=message,
        verdict="not comparable",
        reason=FITTED,
        headline=message,
    )
