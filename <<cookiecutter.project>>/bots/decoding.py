"""Says which field of a document does not fit its type, or which line is no YAML, in one way for all documents."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import yaml

DECODE_ERRORS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for a document that it cannot decode, whatever bytes that holds."""


def locate_decode_error(error: Exception) -> tuple[str, str]:
    """Return the field that does not fit, such as `gate.primary` or `the document`, and what was expected there."""
    if isinstance(error, msgspec.ValidationError):
        what, _, path = str(error).partition(" - at `$")
        return path.removesuffix("`").lstrip(".") or "the document", lower_first(what)
    if isinstance(error, RecursionError):
        return "the document", "it is nested too deeply"
    return "the document", f"expected JSON, {lower_first(str(error))}"


def describe_decode_error(error: Exception) -> str:
    """Describe a decode error as `field: expectation`."""
    return ": ".join(locate_decode_error(error))


def lower_first(text: str) -> str:
    """Return the text with a small first letter, to stand after a colon."""
    return text[:1].lower() + text[1:]


YAML_ERRORS = (yaml.YAMLError, ValueError, TypeError, LookupError, AttributeError, RecursionError)
"""What PyYAML raises for a text: malformed scalars such as `!!int ""` or 2013-13-45 give Python's plain errors."""
_MARKER = re.compile(r"^(<{7}|>{7}) ", re.MULTILINE)


def find_conflict(text: str) -> int | None:
    """Find the first line with a marker of a merge in conflict; None where there is none."""
    found = _MARKER.search(text)
    return text.count("\n", 0, found.start()) + 1 if found else None


def describe_yaml_error(text: str, error: Exception) -> str:
    """Describe in one line where a text is no YAML and why, or that it holds a merge in conflict and what to do."""
    if line := find_conflict(text):
        return (
            f"line {line} has the markers of a merge in conflict (<<<<<<< and >>>>>>>); keep what is right of both "
            "sides and remove the markers"
        )
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f"line {mark.line + 1}, column {mark.column + 1}: {error.problem}"
    return " ".join(str(error).split())


def load_yaml(text: str | bytes) -> Any:
    """Load a YAML document that people write. Raises `YAML_ERRORS`, also for a key that stands twice in one mapping."""
    return yaml.load(text, Loader=_UniqueKeys)  # noqa: S506  a SafeLoader


class _UniqueKeys(yaml.SafeLoader):
    """Reads YAML and refuses a key that stands twice in one mapping, where YAML alone would take the last."""

    def get_single_node(self) -> yaml.Node | None:
        """Return the document as nodes. Raises `MarkedYAMLError` at the second of two equal keys."""
        root = super().get_single_node()
        rest, known = [root], set()
        while rest:
            node = rest.pop()
            if id(node) in known or not isinstance(node, yaml.CollectionNode):
                continue
            known.add(id(node))
            if isinstance(node, yaml.MappingNode):
                self._refuse_repeated_keys(node)
                rest += [value for _, value in node.value]
            else:
                rest += node.value
        return root

    def _refuse_repeated_keys(self, mapping: yaml.MappingNode) -> None:
        lines: dict[str, int] = {}
        for key, _ in mapping.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
                continue
            # As they are written: 0 and "0" are one name, 0 and NO are two.
            if key.value in lines:
                raise yaml.MarkedYAMLError(
                    problem=f"the key {key.value!r} stands a second time, the first is in line {lines[key.value]}; "
                    "keep one of the two",
                    problem_mark=key.start_mark,
                )
            lines[key.value] = key.start_mark.line + 1
