"""Reads risks.yaml: who is affected when the model fails, what is done then, and who answers for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

from bots.decoding import DECODE_ERRORS, YAML_ERRORS, describe_yaml_error, load_yaml, locate_decode_error
from bots.errors import BotsError

RISKS: Final = "risks.yaml"
QUESTIONS: Final = {
    "wrong": "Who is affected when the model is wrong, and how badly?",
    "away": "Who is affected when no answer comes?",
    "fallback": "What is done without the model, and who starts that?",
    "owner": "Who answers for it?",
    "deputy": "Who else knows it well enough to take over tomorrow?",
}
"""Each field of risks.yaml with what it asks."""
CONTROLS: Final = {
    "It is away": "Where this project deploys it, an image is started and asked before any caller is, a canary goes "
    "back by itself, and a person's one comment puts the version before back; the watch counts failed requests.",
    "One answer is wrong": "The service refuses rows that the contract forbids and warns of rows unlike training, a "
    "review shows the worst predictions and each slice, and `python -m bots trace ID` leads from an answer to its "
    "review.",
    "It decays": "The watch holds answers against labels, opens an issue for harm, and proposes a training on newer "
    "rows.",
    "Nobody is left who knows": "CODEOWNERS asks its owners' word, each version keeps who approved it and why, and "
    "`python -m bots handover` tells the rest.",
}
"""What stands against each of the four risks that every model has."""
LONGEST: Final = 100_000


class RisksError(BotsError):
    """risks.yaml cannot be read; the message says where and what to do."""


class Risks(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The answers of risks.yaml; an empty text is no answer yet."""

    wrong: str = ""
    away: str = ""
    fallback: str = ""
    owner: str = ""
    deputy: str = ""

    def list_unanswered(self) -> list[str]:
        """List the fields that nobody has answered, in the order of the file."""
        return [name for name in QUESTIONS if not getattr(self, name).strip()]


def parse_risks(text: str | None, name: str = RISKS) -> Risks:
    """Parse the text of risks.yaml; no text, as of a project that has no such file, has no answers.

    Raises `RisksError`.
    """
    if text is None:
        return Risks()
    if len(text) > LONGEST:
        raise RisksError(f"{name}: longer than {LONGEST:,} characters; keep answers to a few sentences")
    try:
        document: Any = load_yaml(text)
    except YAML_ERRORS as error:
        raise RisksError(f"{name}: not YAML: {describe_yaml_error(text, error)}") from error
    try:
        return msgspec.convert({} if document is None else document, Risks)
    except DECODE_ERRORS as error:
        place, words = locate_decode_error(error)
        raise RisksError(f"{name}: {place}: {words}; it knows {', '.join(QUESTIONS)}") from error


def load_risks(root: Path) -> Risks:
    """Load the answers of a checkout; none where it has no such file. Raises `RisksError`."""
    path = root / RISKS
    try:
        return parse_risks(path.read_text(encoding="utf-8") if path.is_file() else None)
    except (OSError, UnicodeDecodeError) as error:
        raise RisksError(f"{RISKS}: cannot be read: {error}") from error
