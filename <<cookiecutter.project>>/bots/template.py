"""Reads which template a project came from: its address, version and commit, and the answers, as `.template.json` says.

The file is written when the project is made and by each update. It holds no secret.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

from bots.decoding import DECODE_ERRORS, describe_decode_error
from bots.errors import BotsError

RECORD: Final = ".template.json"
NAME: Final = "cookiecutter-gitops-ml"


class TemplateUnknown(BotsError):
    """The project does not say which template it came from; the message says what to write."""


class TemplateRecord(Struct, frozen=True, kw_only=True):
    """Which template made a project. `template` is the address that git fetches it from, `answers` are the questions'.

    `commit` is None where the template was no clean checkout.
    """

    template: str | None
    version: str
    commit: str | None
    answers: dict[str, Any]

    def describe(self) -> str:
        """Describe it in a few words: `cookiecutter-gitops-ml 0.1.0 (1a2b3c4)`."""
        return f"{NAME} {self.version} ({self.commit[:7] if self.commit else 'no known commit'})"


def parse_record(content: bytes, where: str = RECORD) -> TemplateRecord:
    """Read the record from JSON. Raises `TemplateUnknown` where it is none."""
    try:
        return msgspec.json.decode(content, type=TemplateRecord)
    except DECODE_ERRORS as error:
        raise TemplateUnknown(f"{where}: {describe_decode_error(error)}") from error


def load_record(root: Path) -> TemplateRecord:
    """Load the record of a project. Raises `TemplateUnknown`."""
    try:
        content = (root / RECORD).read_bytes()
    except FileNotFoundError as error:
        raise TemplateUnknown(
            f"{RECORD} is not here, so nobody can tell which template made this project; run this in the project's "
            "folder, or write the file as docs/template.md says"
        ) from error
    except OSError as error:
        raise TemplateUnknown(f"{RECORD} cannot be read ({error.strerror})") from error
    return parse_record(content)


def format_record(record: TemplateRecord) -> bytes:
    """Write the record as JSON, a line each, as the template's hook does."""
    return msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n"


def describe_template(root: Path) -> str:
    """Describe in a line which template made a project, or why nobody can tell."""
    try:
        return load_record(root).describe()
    except TemplateUnknown as error:
        return f"{NAME}, version unknown: {error}"
