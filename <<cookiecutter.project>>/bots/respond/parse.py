"""Reads commands out of a comment: lines that begin with a slash and a word. Arguments are text and never run."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

MOST: Final = 5
"""So many commands of a comment are obeyed."""
_LINE: Final = re.compile(r" {0,3}/(?P<name>[^\W\d_][^\s/]{0,49})(?:\s(?P<arguments>.*))?")
_FENCE: Final = re.compile(r"[ \t]*(?:(?:[-*+]|\d{1,9}[.)])[ \t]+)?(?P<fence>`{3,}|~{3,})(?P<rest>.*)")
_TAGS: Final = ("pre", "code", "script", "style", "details", "textarea")
_ENDS: Final = ("-->", *(f"</{tag}>" for tag in _TAGS))
_OPENED: Final = re.compile(rf"<!--|<(?P<tag>{'|'.join(_TAGS)})\b")
_SIGNATURE: Final = re.compile(r"-- |-{2,} ?Original Message ?-{2,}|_{20,}", re.IGNORECASE)
"""Below such a line stands what an e-mail adds: a signature, or the message that is answered."""


@dataclass(frozen=True)
class Command:
    """A command as it was written: its word in small letters, and what stands behind it, with no blank but spaces."""

    name: str
    arguments: str

    @property
    def stem(self) -> str:
        """The word without what is written to it: `approve` of `approve, please`."""
        return re.split(r"[^\w-]", self.name, maxsplit=1)[0]


def find_commands(body: str, prefix: str | None = None) -> list[Command]:
    """Find the commands of a comment, in its order.

    Only a whole line counts, outside of quotations, code and HTML comments, and above the signature of an e-mail; a
    path such as /usr/bin is none. What is pasted brings tabs and blanks that only look like spaces: each becomes one.
    With a `prefix`, such as `ml`, the lines are `/ml approve`, and others are none of ours; `/ml` alone asks for help.
    """
    found = []
    for line in list_plain_lines(body):
        read = _LINE.fullmatch(line)
        if read is None:
            continue
        name, arguments = read["name"].lower(), re.sub(r"\s", " ", read["arguments"] or "").strip()
        if prefix is not None:
            if name != prefix.lower():
                continue
            name, _, arguments = (arguments or "help").partition(" ")
        found.append(Command(name.lower().lstrip("/"), arguments.strip()))
    return found


def list_plain_lines(body: str) -> list[str]:
    """List the lines that are shown as plain text: no code, no HTML comment, nothing in <pre> or <details>.

    What is opened first hides the other: a comment's mark within a block of code is code. A quotation begins with > and
    is no command.
    """
    listed = re.split(r"\r\n|\r|\n", body)
    closed_in = {end: at for at, line in enumerate(listed) for end in _ENDS if end in line.lower()}
    lines, fence, end = [], "", ""
    for at, line in enumerate(listed):
        if end:
            # Behind the end of what was hidden nothing more is read in that line.
            end = "" if end in line.lower() else end
            continue
        opened = _FENCE.match(line)
        if fence:
            if opened and opened["fence"].startswith(fence) and not opened["rest"].strip():
                fence = ""
        elif opened and not ("`" in opened["fence"] and "`" in opened["rest"]):
            fence = opened["fence"]
        elif _SIGNATURE.fullmatch(line):
            break
        else:
            end, begins = _find_open(line)
            # Within a line something is opened only where it is closed later: `<code` in a sentence is a word.
            if end and not begins and closed_in.get(end, -1) <= at:
                end = ""
            if not end:
                lines.append(line)
    return lines


def _find_open(line: str) -> tuple[str, bool]:
    """Find what ends the part that a line opens and does not close, and whether the line begins with it.

    Such a part is an HTML comment, or a tag that hides; empty where there is none.
    """
    at, lower = 0, line.lower()
    while opened := _OPENED.search(lower, at):
        end = f"</{opened['tag']}>" if opened["tag"] else "-->"
        closed = lower.find(end, opened.end())
        if closed < 0:
            return end, not line[: opened.start()].strip()
        at = closed + len(end)
    return "", False
