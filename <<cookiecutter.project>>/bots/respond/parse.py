"""Reads commands out of a comment: lines that begin with a slash and a word. Arguments are text and never run."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

MOST: Final = 5
"""So many commands of a comment are obeyed."""
_WORD: Final = r"[A-Za-z][A-Za-z0-9-]{0,49}"
_LINE: Final = re.compile(rf" {{0,3}}/(?P<name>{_WORD})(?:[ \t]+(?P<arguments>.*?))?[ \t]*")
_HIDDEN: Final = re.compile(
    r"<!--.*?(?:-->|\Z)|<(pre|code|script|style|details)\b.*?(?:</\1>|\Z)", re.DOTALL | re.IGNORECASE
)
_FENCE: Final = re.compile(r"[ \t]*(?:(?:[-*+]|\d{1,9}[.)])[ \t]+)?(?P<fence>`{3,}|~{3,})(?P<rest>.*)")


@dataclass(frozen=True)
class Command:
    """A command as it was written: its word in small letters, and what stands behind it."""

    name: str
    arguments: str


def find_commands(body: str, prefix: str | None = None) -> list[Command]:
    """Find the commands of a comment, in its order.

    Only a whole line counts, outside of quotations, code and HTML comments; a path such as /usr/bin is none. With a
    `prefix`, such as `ml`, the lines are `/ml approve`, and others are none of ours; `/ml` alone asks for help.
    """
    found = []
    for line in _list_plain_lines(body):
        read = _LINE.fullmatch(line)
        if read is None:
            continue
        name, arguments = read["name"].lower(), (read["arguments"] or "").strip()
        if prefix is not None:
            if name != prefix.lower():
                continue
            name, _, arguments = (arguments or "help").partition(" ")
        found.append(Command(name.lower().lstrip("/"), arguments.strip()))
    return found


def _list_plain_lines(body: str) -> list[str]:
    """List the lines that are shown as plain text: no code, no HTML comment, nothing in <pre> or <details>.

    A quotation begins with > and is no command.
    """
    body = _HIDDEN.sub("", body)
    lines, fence = [], ""
    for line in body.replace("\r\n", "\n").split("\n"):
        opened = _FENCE.match(line)
        if fence:
            if opened and opened["fence"].startswith(fence) and not opened["rest"].strip():
                fence = ""
        elif opened:
            fence = opened["fence"]
        else:
            lines.append(line)
    return lines
