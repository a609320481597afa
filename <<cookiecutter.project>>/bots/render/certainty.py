"""Says how sure a comparison is: what its holdout could show, and what a person decides where it could not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bots.render.moved import describe_moved
from bots.render.numbers import format_amount, format_count, format_difference, format_number, format_percent
from bots.render.selection import find_primary
from bots.render.words import describe_look_level, describe_statistics, name_look
from bots.stats import metrics

if TYPE_CHECKING:
    from bots.evidence import Review, Sensitivity

MORE_ROWS = "More holdout rows would help: four times as many halve an interval."
MOST_ROWS = 10**12
"""Nobody has so many rows: beyond, a number of rows is only said to be larger."""


def explain_choice(review: Review) -> list[str]:
    """Explain what a person decides where the gate could not, and what would help; nothing for other reviews."""
    asks = any(not rule.passed for rule in review.rules)
    if review.verdict != "undecided" or review.passed or not asks:
        return []
    choice = (
        "A person decides whether the change is worth that risk: whoever may merge past the check does so, and "
        "releases it with `python -m bots release --accept REASON`, which is recorded under their name."
    )
    made = review.statistics
    # More rows make up for no missing seed, and the counted ones are those of the primary metric.
    if review.reason == "primary-undecided" and made:
        advice = advise_on_undecided(made.sensitivity, made.rows)
    else:
        advice = MORE_ROWS if review.reason == "guard-undecided" else ""
    return [choice, advice] if advice else [choice]


def describe_certainty(review: Review) -> list[str]:
    """Describe how sure the comparison is: how it was made, what this holdout can show, and what was expected of it."""
    made, primary = review.statistics, find_primary(review)
    if made is None or primary is None or primary.difference is None:
        return []
    told = [describe_statistics(made), *(describe_moved(review.moved) if review.moved else ())]
    inner = (primary.inner_low, primary.inner_high)
    if None not in inner and primary.matters and made.units:
        told.append(
            f"Equivalent is said where the {format_percent(2 * made.confidence - 1, 0)} interval, here "
            f"{' to '.join(format_difference(primary.name, end) for end in inner)}, lies within "
            f"±{primary.matters:g} (two one-sided tests)."
        )
    if review.looks:
        told.append(f"This is {name_look(review.looks)}: {describe_look_level(review.looks)}.")
    if made.sensitivity:
        told.append(describe_sensitivity(made.sensitivity, primary.name, primary.matters))
    if made.expected:
        shown = format_amount(primary.name, made.expected.shows)
        of_main = " of main's holdout" if review.moved else ""
        told.append(f"Before training {shown} was expected{of_main}, by {made.expected.basis}.")
    return told


def advise_on_undecided(sensitivity: Sensitivity | None, rows: int) -> str:
    """What would help where a holdout of so many rows cannot tell; nothing where that is not known."""
    if sensitivity is None or sensitivity.rows_to_pass is None or sensitivity.rows_to_decide is None:
        return ""
    return (
        f"More holdout rows would help (it has {format_count(rows)}): of changes that are as good as main, four in "
        f"five pass by themselves with about {round_up(max(sensitivity.rows_to_pass, rows + 1))} rows like these, and "
        f"are shown to be equivalent with {round_up(max(sensitivity.rows_to_decide, rows + 1))}."
    )


def describe_sensitivity(sensitivity: Sensitivity, name: str, matters: float) -> str:
    """What a holdout can show of the metric that decides."""
    shown = format_amount(name, sensitivity.shows)
    told = f"This holdout shows a difference of {shown} in {metrics.find_label(name)} in four of five reviews"
    if sensitivity.rows_to_decide is None:
        return f"{told}."
    rows = round_up(sensitivity.rows_to_decide)
    within = f"to within the {matters:g} that matters"
    return f"{told}; to show that a change is the same, {within}, takes about {rows} rows."


def round_up(rows: int) -> str:
    """A number of rows for people, rounded up to two digits: `2,700`, and `more than 1e+12` at the end of counting."""
    if rows >= MOST_ROWS:
        return f"more than {format_number(MOST_ROWS)}"
    step = 10 ** max(0, len(str(rows)) - 2)
    return format_count(-(-rows // step) * step)
