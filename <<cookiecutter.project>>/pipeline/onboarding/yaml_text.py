"""Edit single values of a YAML file as text, so that comments and the order of keys stay as people wrote them."""

from __future__ import annotations

import re
from typing import Any

import yaml

from pipeline.files import StageError

INDENT = 2


def format_flow(value: Any) -> str:
    """Format a value as YAML on one line, quoted where YAML would read something else."""
    text = _dump(value, plain=True)
    # What cannot be seen is written as an escape: YAML takes some of it for the end of a line.
    return text if text.isprintable() else _dump(value, plain=False)


def _dump(value: Any, *, plain: bool) -> str:
    text = yaml.safe_dump(
        value, default_flow_style=True, allow_unicode=plain, sort_keys=False, width=float("inf")
    )
    return text.removesuffix("\n").removesuffix("\n...")


def format_comment(text: str) -> str:
    """Make a comment of any text: on one line, and without what YAML cannot hold."""
    printable = "".join(character if character.isprintable() else " " for character in text)
    return "# " + " ".join(printable.split())


def set_value(text: str, path: str, value: Any, comment: str = "", *, block: bool = False) -> str:
    """Set the value of `section.key` or deeper, with a comment behind it; the lines before it stay.

    `block` writes a mapping's keys on lines of their own. A key that is not there is added at the end of its section.
    Raises `StageError` where there is no such section.
    """
    *sections, key = path.split(".")
    lines = text.split("\n")
    start, stop, margin = -1, len(lines), 0
    for section in sections:
        at = _find_key(lines, section, start=start + 1, stop=stop, margin=margin)
        if at is None:
            if not margin:
                raise StageError(
                    f"params.yaml: no section `{section}:`; restore it with `git checkout params.yaml`"
                )
            depth = path.split(".").index(section)
            made = _nest(path.split(".")[depth + 1 :], value)
            return set_value(text, ".".join(path.split(".")[: depth + 1]), made, comment)
        start, stop, margin = at, _find_end(lines, at, stop=stop, margin=margin), margin + INDENT
    written = _write(key, value, comment, margin=margin, block=block)
    at = _find_key(lines, key, start=start + 1, stop=stop, margin=margin)
    if at is None:
        last = max(n for n in range(start, stop) if lines[n].strip())
        return "\n".join([*lines[: last + 1], *written, *lines[last + 1 :]])
    end = at + 1
    while end < stop and lines[end].startswith(" " * (margin + 1)):
        end += 1
    return "\n".join([*lines[:at], *written, *lines[end:]])


def _nest(keys: list[str], value: Any) -> Any:
    for key in reversed(keys):
        value = {key: value}
    return value


def _write(key: str, value: Any, comment: str, *, margin: int, block: bool) -> list[str]:
    said, space = f"  {format_comment(comment)}" if comment else "", " " * margin
    if block and isinstance(value, dict) and value:
        inner = " " * (margin + INDENT)
        rows = [f"{inner}{format_flow(name)}: {format_flow(one)}" for name, one in value.items()]
        return [f"{space}{key}:{said}", *rows]
    return [f"{space}{key}: {format_flow(value)}{said}"]


def _find_key(lines: list[str], key: str, *, start: int, stop: int, margin: int) -> int | None:
    """Find the line of a key that stands at this margin."""
    pattern = re.compile(rf"{' ' * margin}{re.escape(key)}:(?:\s|$)")
    return next((n for n in range(start, stop) if pattern.match(lines[n])), None)


def _find_end(lines: list[str], at: int, *, stop: int, margin: int) -> int:
    """Find the line behind what belongs to a key; comments before the next key at its margin are that one's."""
    inner = " " * (margin + 1)
    end = next(
        (n for n in range(at + 1, stop) if lines[n].strip() and not lines[n].startswith((inner, "#"))), stop
    )
    while end > at + 1 and not lines[end - 1].startswith(inner):
        end -= 1
    return end
