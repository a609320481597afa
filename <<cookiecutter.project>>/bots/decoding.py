"""Loads YAML, and says in one way which field of a document does not fit its type, or which line is no YAML."""

from __future__ import annotations

import contextlib
import re
import types
import typing
from collections.abc import Iterator
from typing import Any

import msgspec
import yaml

DECODE_ERRORS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for a document that it cannot decode, whatever bytes that holds."""
# What msgspec calls a type, and what people who write YAML call it.
_TYPES = {
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "bool": "true or false",
    "array": "a list",
    "object": "a mapping",
}
_MISSING = re.compile(r"^Object missing required field `(.*)`$")
_TYPE = re.compile(r"(?i)(expected |got )`([a-z]+(?: \| [a-z]+)*)`")


def locate_decode_error(error: Exception) -> tuple[str, str]:
    """Return the field that does not fit, such as `gate.primary` or `the document`, and what was expected there."""
    if isinstance(error, msgspec.ValidationError):
        what, _, path = str(error).partition(" - at `$")
        what = _MISSING.sub(r"the key `\1` is missing", what)
        return path.removesuffix("`").lstrip(".") or "the document", lower_first(_TYPE.sub(_name_types, what))
    if isinstance(error, RecursionError):
        return "the document", "it is nested too deeply"
    return "the document", f"expected JSON, {lower_first(str(error))}"


def _name_types(found: re.Match[str]) -> str:
    """Name the types of an expectation in words."""
    return found[1] + " or ".join(_TYPES.get(name, name) for name in found[2].split(" | "))


def describe_decode_error(error: Exception) -> str:
    """Describe a decode error as `field: expectation`."""
    return ": ".join(locate_decode_error(error))


def list_misfits(value: Any, kind: Any, place: str = "") -> Iterator[tuple[str, str]]:
    """Yield every field of a decoded document that does not fit its type, and what was expected there.

    msgspec stops at the first one. Of a list the first three items with a misfit are told.
    """
    record, item = _find_record(kind), _find_item(kind)
    if record is not None and isinstance(value, dict):
        yield from _list_field_misfits(value, record, place)
        return
    if item is not None and isinstance(value, list):
        wrong = [
            found
            for number, one in enumerate(value)
            if (found := list(list_misfits(one, item, f"{place}[{number}]")))
        ]
        yield from (misfit for found in wrong[:3] for misfit in found)
        if wrong:
            return
    try:
        msgspec.convert(value, kind)
    except DECODE_ERRORS as error:
        inner, what = locate_decode_error(error)
        if what.startswith("invalid enum value"):
            what = f"{what}; expected {_describe_type(kind)}"
        yield (
            place + ("" if inner == "the document" else inner if inner.startswith("[") else f".{inner}"),
            what,
        )


def _list_field_misfits(
    value: dict[str, Any], record: type[msgspec.Struct], place: str
) -> Iterator[tuple[str, str]]:
    fields = {field.encode_name: field for field in msgspec.structs.fields(record)}
    if record.__struct_config__.forbid_unknown_fields:
        for name in value.keys() - fields.keys():
            yield f"{place}.{name}".lstrip("."), "a field that the contract does not name: leave it out"
    for name, field in fields.items():
        inner = f"{place}.{name}".lstrip(".")
        if name in value:
            yield from list_misfits(value[name], field.type, inner)
        elif field.required:
            yield inner, f"missing; expected {_describe_type(field.type)}"


def _list_kinds(kind: Any) -> tuple[Any, ...]:
    """The types that a type is, without its bounds: several of a union."""
    bare = typing.get_args(kind)[0] if typing.get_origin(kind) is typing.Annotated else kind
    if typing.get_origin(bare) in (typing.Union, types.UnionType):
        return tuple(one for each in typing.get_args(bare) for one in _list_kinds(each))
    return (bare,)


def _find_record(kind: Any) -> type[msgspec.Struct] | None:
    """The only record that a type can be; None where it can be none, or several."""
    records = [one for one in _list_kinds(kind) if isinstance(one, type) and issubclass(one, msgspec.Struct)]
    return records[0] if len(records) == 1 else None


def _find_item(kind: Any) -> Any:
    """The type of a list's items; None where a type is no list."""
    lists = [one for one in _list_kinds(kind) if typing.get_origin(one) is list]
    return typing.get_args(lists[0])[0] if lists else None


def _describe_type(kind: Any) -> str:
    """What to write for a type, in words."""
    words = {str: "text", int: "a whole number", float: "a number", bool: "true or false", type(None): "null"}
    found = []
    for bare in _list_kinds(kind):
        origin = typing.get_origin(bare)
        if origin is typing.Literal:
            found.append("one of " + ", ".join(map(str, typing.get_args(bare))))
        else:
            found.append(words.get(bare, "a list" if origin is list else "a mapping"))
    return " or ".join(found)


def lower_first(text: str) -> str:
    """Return the text with a small first letter, to stand after a colon."""
    return text[:1].lower() + text[1:]


YAML_ERRORS = (yaml.YAMLError, ValueError, TypeError, LookupError, AttributeError, RecursionError)
"""What PyYAML raises for a text: malformed scalars such as `!!int ""` or 2013-13-45 give Python's plain errors."""
DEEPEST = 100
"""Levels of nesting that libyaml is given: it ends the whole process where a document is thousands deep."""
# Tabs, marks of byte order (also as the bytes of UTF-8 and UTF-16), and the tag that says nothing.
_READ_OTHERWISE = re.compile(r"[\t\ufeff]|!([\s,\]}]|$)|\xef\xbb\xbf|\xff\xfe|\xfe\xff")
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
    return _load(text, fast=_FastUniqueKeys, judge=_UniqueKeys)


def load_recorded_yaml(text: str | bytes) -> Any:
    """Load a YAML document that a program wrote, such as dvc.lock. Raises `YAML_ERRORS`."""
    return _load(text, fast=_Fast, judge=yaml.SafeLoader)


def load_yaml_as_text(text: str | bytes) -> Any:
    """Load a YAML document with every value as the text that stands there: 1, NO and 02 too. Raises `YAML_ERRORS`."""
    return _load(text, fast=getattr(yaml, "CBaseLoader", yaml.BaseLoader), judge=yaml.BaseLoader)


def _load(text: str | bytes, *, fast: Any, judge: Any) -> Any:
    """Load the plain values of a text: those of the loader `judge`, ten times as fast where PyYAML has libyaml.

    What libyaml does not take, reads otherwise or could not end well, `judge` judges: errors are its own. Few texts
    that it refuses have a value here, such as `>#`.
    """
    plain = text if isinstance(text, str) else text.decode("latin-1")
    if not _READ_OTHERWISE.search(plain):
        with contextlib.suppress(*YAML_ERRORS):
            if _is_shallow(text):
                return yaml.load(text, Loader=fast)  # noqa: S506  a safe loader
    return yaml.load(text, Loader=judge)  # noqa: S506  a safe loader


def _is_shallow(text: str | bytes) -> bool:
    depth = 0
    for event in yaml.parse(text, Loader=_Fast):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > DEEPEST:
                return False
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
    return True


_Fast: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _WithUniqueKeys:
    """Reads YAML and refuses a key that stands twice in one mapping, where YAML alone would take the last."""

    def get_single_node(self) -> yaml.Node | None:
        """Return the document as nodes. Raises `MarkedYAMLError` at the second of two equal keys."""
        root = super().get_single_node()  # type: ignore[misc]
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


class _UniqueKeys(_WithUniqueKeys, yaml.SafeLoader):
    pass


class _FastUniqueKeys(_WithUniqueKeys, _Fast):  # type: ignore[misc]
    pass


# PyYAML takes 1e-4 for text, unlike DVC, JSON and people. Without a sign it may be a short digest: 12e4567.
for _loader in (_UniqueKeys, _FastUniqueKeys):
    _loader.add_implicit_resolver(
        "tag:yaml.org,2002:float", re.compile(r"[-+]?\d+(?:\.\d*)?[eE][-+]\d{1,3}$"), list("-+0123456789")
    )
