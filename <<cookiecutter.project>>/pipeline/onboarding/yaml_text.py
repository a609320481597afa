"""Edit single values of a YAML file as text, so that comments and the order of keys stay as people wrote them."""

from __future__ import annotations

import re
from typing import Any

import yaml

from pipeline.files import StageError


def format_flow(value: Any) -> str:
    """Format a value as YAML on one line, quoted where YAML would read something else."""
    text = yaml.safe_dump(
        value, default_flow_style=True, allow_unicode=True, sort_keys=False, width=float("inf")
    )
    return text.removesuffix("\n").removesuffix("\n...")


def format_comment(text: str) -> str:
    """Make a comment of any text: on one line, and without what YAML cannot hold."""
    printable = "".join(character if character.isprintable() else " " for character in text)
    return "# " + " ".join(printable.split())


def set_value(text: str, path: str, value: Any, comment: str = "", *, block: bool = False) -> str:
    """Set the value of `section.key`, with a comment behind it; the lines before it stay.

    `block` writes a mapping's keys on lines of their own. A key that is not there is added at the end of its section.
    Raises `StageError` where there is no such section.
    """
    section, _, key = path.partition(".")
    lines = text.split("\n")
    start, stop = _find_section(lines, section)
    at = next(
        (n for n in range(start + 1, stop) if re.match(rf"  {re.escape(key)}:(?:\s|$)", lines[n])), None
    )
    written = _write(key, value, comment, block=block)
    if at is None:
        last = max(n for n in range(start, stop) if lines[n].strip())
        return "\n".join([*lines[: last + 1], *written, *lines[last + 1 :]])
    end = at + 1
    while end < stop and re.match(r"   ", lines[end]):
        end += 1
    return "\n".join([*lines[:at], *written, *lines[end:]])


def _write(key: str, value: Any, comment: str, *, block: bool) -> list[str]:
    said = f"  {format_comment(comment)}" if comment else ""
    if block and isinstance(value, dict) and value:
        return [
            f"  {key}:{said}",
            *(f"    {format_flow(name)}: {format_flow(one)}" for name, one in value.items()),
        ]
    return [f"  {key}: {format_flow(value)}{said}"]


def _find_section(lines: list[str], section: str) -> tuple[int, int]:
    """Find the lines of a section: from its name to the line before the next name that stands at the margin."""
    start = next(
        (n for n, line in enumerate(lines) if re.match(rf"{re.escape(section)}:(?:\s|$)", line)), None
    )
    if start is None:
        raise StageError(f"params.yaml: no section `{section}:`; restore it with `git checkout params.yaml`")
    stop = next((n for n in range(start + 1, len(lines)) if re.match(r"[^\s#]", lines[n])), len(lines))
    # Comments at the margin belong to the next section.
    while stop > start + 1 and (not lines[stop - 1].strip() or lines[stop - 1].startswith("#")):
        stop -= 1
    return start, stop
