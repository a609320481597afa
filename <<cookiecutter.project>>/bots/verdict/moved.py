"""The rule about a holdout that moved: both models may be judged on it where main's was not trained on its rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bots.layout import PARAMS
from bots.render.numbers import pluralize
from bots.verdict.rules import Finding
from bots.verdict.sentences import cut, end_sentence

if TYPE_CHECKING:
    from bots.evidence import MovedHoldout

UNKNOWN = "different-holdout"
TRAINED_ON = "holdout-trained-on"
# What is left of a holdout without the rows that main's model knows must be this share of it, to stand for it.
LEAST_SHARE = 0.5
_ADVICE = (
    f"choose rows that came after main's training rows (`split.holdout` in {PARAMS}), or let a person decide"
)


def is_comparable(moved: MovedHoldout) -> bool:
    """Whether enough rows are left that main's model was not trained on."""
    return moved.failure is None and moved.rows > 0 and moved.judged >= LEAST_SHARE * moved.rows


def shares_rows(moved: MovedHoldout) -> bool:
    """Whether main's holdout has some of the new rows, or may have: then the looks at it are looks at them."""
    return moved.failure is not None or moved.shared > 0


def check_moved(moved: MovedHoldout) -> Finding:
    """Both models can be judged on a holdout that moved, or why not and what to do."""
    if is_comparable(moved):
        return Finding(rule="baseline", passed=True, message=_say_judged(moved))
    if moved.failure is not None:
        message = (
            "This change's holdout is not main's, and nobody can tell whether main's model was trained on its rows: "
            f"{end_sentence(cut(moved.failure, 800))} Keep main's holdout, or let a person decide."
        )
        reason = UNKNOWN
    else:
        message = (
            f"Main's model was trained on {moved.trained_on:,} of the {pluralize(moved.rows, 'row')} of this change's "
            f"holdout: the {moved.judged:,} that are left are less than half, so they do not stand for it. To have "
            f"both models compared, {_ADVICE}."
        )
        reason = TRAINED_ON
    return Finding(rule="baseline", passed=False, message=message, verdict="not comparable", reason=reason)


def _say_judged(moved: MovedHoldout) -> str:
    known = (
        "none of them is" if not moved.trained_on else f"{moved.trained_on:,} others are left out that are"
    )
    return (
        f"The holdout moved. Both models are judged on {moved.judged:,} of its {pluralize(moved.rows, 'row')}; "
        f"{known} among main's {moved.training_rows:,} training rows, by name or by "
        "inputs and target."
    )
