"""Edit single values of a YAML file as text, so that comments and the order of keys stay as people wrote them."""

from __future__ import annotations

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
    A section in braces, or an empty one, is written anew. Raises `StageError` where there is no such section.
    """
    *sections, key = path.split(".")
    within: Any = yaml.compose(text, Loader=yaml.SafeLoader)
    if isinstance(within, yaml.MappingNode) and within.flow_style:
        text = "".join(
            f"{format_flow(name)}: {format_flow(one)}\n" for name, one in _construct(within).items()
        )
        within = yaml.compose(text, Loader=yaml.SafeLoader)
    for depth, section in enumerate(sections):
        inner = _find_entry(within, section)
        if inner is None and depth == 0:
            raise StageError(
                f"params.yaml: no section `{section}:`; restore it with `git checkout params.yaml`"
            )
        if inner is None or not _has_lines_of_its_own(inner[1]):
            known = None if inner is None else _construct(inner[1])
            made = _put(known, path.split(".")[depth + 1 :], value)
            return set_value(text, ".".join(path.split(".")[: depth + 1]), made, comment)
        within = inner[1]
    margin = within.value[0][0].start_mark.column
    lines, written = text.split("\n"), _write(key, value, comment, margin=margin, block=block)
    entry = _find_entry(within, key)
    begin = _find_line(text, entry[0].start_mark) if entry else _find_last_line(text, within) + 1
    end = _find_last_line(text, entry[1]) + 1 if entry else begin
    deeper = " " * (margin + 1 if entry else margin)
    while end < len(lines) and lines[end].startswith(deeper) and lines[end].strip()[:1] == "#":
        end += 1  # a comment at the end of what is replaced, or of what stands before a new key
    return "\n".join([*lines[: begin if entry else end], *written, *lines[end:]])


def _find_entry(mapping: Any, key: str) -> tuple[yaml.Node, yaml.Node] | None:
    """Find the nodes of a key and of its value."""
    entries = mapping.value if isinstance(mapping, yaml.MappingNode) else []
    return next((pair for pair in entries if pair[0].value == key), None)


def _has_lines_of_its_own(node: yaml.Node) -> bool:
    return isinstance(node, yaml.MappingNode) and not node.flow_style and bool(node.value)


def _construct(node: yaml.Node) -> Any:
    return yaml.constructor.SafeConstructor().construct_document(node)


def _put(known: Any, keys: list[str], value: Any) -> Any:
    """Put a value below the keys of a mapping; what is no mapping becomes one."""
    if not keys:
        return value
    kept = known if isinstance(known, dict) else {}
    return {**kept, keys[0]: _put(kept.get(keys[0]), keys[1:], value)}


def _find_line(text: str, mark: yaml.Mark) -> int:
    """Find the line of a mark, counted from 0; PyYAML takes more for the end of a line than `\\n`."""
    return text.count("\n", 0, mark.index)


def _find_last_line(text: str, node: yaml.Node) -> int:
    """Find the last line of a value, whatever comments and empty lines come before the next."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _find_last_line(text, last[1] if isinstance(last, tuple) else last)
    end = node.end_mark.index
    if isinstance(node, yaml.ScalarNode) and node.style in ("|", ">"):
        end = len(text[:end].rstrip())
    return text.count("\n", 0, end)


def _write(key: str, value: Any, comment: str, *, margin: int, block: bool) -> list[str]:
    said, space = f"  {format_comment(comment)}" if comment else "", " " * margin
    if block and isinstance(value, dict) and value:
        inner = " " * (margin + INDENT)
        rows = [f"{inner}{format_flow(name)}: {format_flow(one)}" for name, one in value.items()]
        return [f"{space}{format_flow(key)}:{said}", *rows]
    return [f"{space}{format_flow(key)}: {format_flow(value)}{said}"]
