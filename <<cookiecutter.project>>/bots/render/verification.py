"""Renders what main's code made again of a review, and what remains the change's own word."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bots.render import markdown as md
from bots.render import words
from bots.render.escape import escape_prose, escape_text
from bots.render.numbers import format_number

if TYPE_CHECKING:
    from bots.evidence import Verification, VerificationCheck

# What a check made again, as the line above the folds names it.
MADE_AGAIN = {
    "nothing changed": "every output is main's, byte for byte",
    "parity": "every score of the packed model",
    "metrics": "the metrics",
    "explanation": "what moves the prediction",
    "comparison": "the comparison",
    "rules": "the verdict",
}
SHOWN_FIGURES = 10


def format_line(verification: Verification) -> str:
    """Say in one line what was verified, and what was not; nothing unless all of it came out."""
    if verification.outcome != "passed":
        return ""
    names = [check.name for check in verification.checks if check.passed]
    again = ", ".join(told for name, told in MADE_AGAIN.items() if name in names)
    if "nothing changed" in names:
        return f"{words.STATES['ok']} **Verified by main's code** {again}."
    more = len(verification.unverified) - 3
    rest = f", and {more} more below" if more > 0 else ""
    return (
        f"{words.STATES['ok']} **Verified by main's code** {again}. "
        f"The change's own word: training, split, data{rest}."
    )


def format_fold(verification: Verification) -> str:
    """List every check with its figures, and what nobody could look at."""
    checks = md.join_lines([_format_check(check) for check in verification.checks])
    own = "\n".join(f"- {escape_prose(told, 300)}" for told in verification.unverified)
    return f"{checks}\n\nThe change's own word:\n\n{own}" if own else checks


def _format_check(check: VerificationCheck) -> str:
    state = words.STATES["note" if check.passed is None else "ok" if check.passed else "bad"]
    figures = [
        f"{escape_text(figure.name, 80)}: said {format_number(figure.said)}, came out {format_number(figure.found)}"
        for figure in check.figures[:SHOWN_FIGURES]
        if figure.said is not None
    ]
    told = f"{state} **{escape_text(check.name, 40)}** {escape_prose(check.words, 400)}"
    return told + "".join(f"<br>{line}" for line in figures)


def format_refuted(verification: Verification) -> str:
    """Warn of a review whose figures did not come out again."""
    return (
        "> [!CAUTION]\n> **Refuted.** Main's code does not get from this model what the review below says: "
        f"{escape_prose(verification.words, 600)}\n> Believe nothing of it, and read what the change does to the "
        "pipeline.\n\n"
    )


def format_unverified(why: str, *, again: bool) -> str:
    """Warn of a review that main's code could not make again; `again`: running the job again may help."""
    step = "Run the job again" if again else "A person has to decide, or mend that and have it reviewed again"
    return (
        f"> [!WARNING]\n> **Not verified.** Everything below is the change's own word: {escape_prose(why, 600)}\n"
        f"> {step}.\n\n"
    )
