"""Decode files into typed records, and say in words what is wrong with data that does not fit its type."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
import yaml

from serving.errors import ModelError

if TYPE_CHECKING:
    from pathlib import Path

T = TypeVar("T")

# What msgspec raises for data that does not fit. Only hostile data causes the last two.
DECODE_ERRORS = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


def read_bytes(path: Path, hint: str = "") -> bytes:
    """Read a file of the model. Raises `ModelError`, with the hint at the end of its message."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror}){hint}") from error


def hash_bytes(data: bytes) -> str:
    """Compute the digest of a file's content, as contracts and lineages write it."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def decode_json(data: bytes, kind: type[T], path: Path, *, name: str, hint: str = "") -> T:
    """Decode the content of a file. Raises `ModelError`, which says that it is not `name`, and the hint."""
    try:
        return msgspec.json.decode(data, type=kind)
    except DECODE_ERRORS as error:
        raise ModelError(f"{path}: not {name} ({error}){hint}") from error


def describe_decode_error(error: Exception) -> tuple[str, str]:
    """Return what is wrong with the data, and where: for example `.limits.rows`, or "" for all of it."""
    if isinstance(error, UnicodeDecodeError):
        return "not UTF-8", ""
    if isinstance(error, RecursionError):
        return "nested too deeply", ""
    what, _, where = str(error).partition(" - at `$")
    return what[:1].lower() + what[1:], where.rstrip("`")


def load_yaml(data: bytes) -> Any:
    """Load a YAML document. Raises what PyYAML raises, and `MarkedYAMLError` for a key that stands twice."""
    return yaml.load(data, Loader=_UniqueKeys)  # noqa: S506  a SafeLoader


def describe_yaml_error(error: Exception) -> str:
    """Describe in one line where bytes are no YAML, and why."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f"line {mark.line + 1}, column {mark.column + 1}: {error.problem}"
    return " ".join(str(error).split())


class _UniqueKeys(yaml.CSafeLoader):
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
