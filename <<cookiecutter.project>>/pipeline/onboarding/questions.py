"""Ask a person at most three things that the values cannot tell; without a terminal, nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TextIO

from pipeline.onboarding.proposal import Question

MOST = 3


def make_asker(
    *, silent: bool, answers: TextIO | None = None, out: TextIO | None = None
) -> Callable[[Question], str]:
    """Make the function that asks. It gives "" where nobody is there to answer, or three questions were asked."""
    answers, out = answers or sys.stdin, out or sys.stderr
    asked: list[str] = []

    def ask(question: Question) -> str:
        if silent or len(asked) >= MOST or not answers.isatty():
            return ""
        asked.append(question.key)
        choices = f" ({', '.join(question.choices)})" if question.choices else ""
        default = f" [{question.default}]" if question.default else ""
        print(f"\n{question.words}{choices}{default}: ", end="", file=out, flush=True)
        return answers.readline().strip()

    return ask
