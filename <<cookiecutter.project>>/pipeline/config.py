"""Read params.yaml and schema.yaml into typed values, and name every mistake by file and key."""

from __future__ import annotations

import contextlib
import difflib
import re
from datetime import date
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import msgspec
import yaml

from pipeline.files import StageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

T = TypeVar("T")
# How msgspec says that YAML made something else of a word than the text that is wanted, of a value or of a key.
_MADE = re.compile(
    r"Expected `str\b[^`]*`"
    r"(, got `(?P<kind>bool|int|float|date|datetime)` - at | - at (?=`key`)|, got `null` - at (?=`key`))"
    r"(?P<key>`key` in )?`(?P<place>[^`]+)`"
)
# What msgspec calls a type, and what people who write YAML call it.
_TYPES = {
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "bool": "true or false",
    "array": "a list",
    "object": "a mapping",
}
_TYPE = re.compile(r"(?i)(expected |got )`([a-z]+(?: \| [a-z]+)*)`")
# What PyYAML raises for a text: malformed scalars (`!!int ""`, 2013-13-45) give Python's plain errors.
_YAML_ERRORS = (yaml.YAMLError, ValueError, TypeError, LookupError, AttributeError, RecursionError)
# Levels of nesting that libyaml is given: it ends the whole process where a document is thousands deep.
_DEEPEST = 100
# Tabs, a mark of byte order, and the tag that says nothing.
_READ_OTHERWISE = re.compile(r"[\t\ufeff]|!([\s,\]}]|$)")
_Fast: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_FastBase: Any = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
_STEP = re.compile(r"\[\.\.\.\]|\[\d+\]|[^.\[\]]+")


class ConfigError(StageError):
    """params.yaml or schema.yaml is wrong, or they contradict each other; the message names file and key."""


def read_yaml(path: Path, expected: str) -> dict[Any, Any]:
    """Read the mapping that a YAML file holds; `expected` says in the message which one that should be.

    Raises `ConfigError` for a missing file, for what is not YAML or has a key twice, and for what is not a mapping.
    """
    text = ""
    try:
        text = path.read_text(encoding="utf-8")
        document = load_yaml(text)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except _YAML_ERRORS as error:
        raise ConfigError(f"{path}: not YAML: {_describe_yaml_error(text, error)}") from error
    if not isinstance(document, dict):
        raise ConfigError(f"{path}: expected {expected}")
    return document


def load_yaml(text: str) -> Any:
    """Load a YAML document. Raises what PyYAML raises, and `MarkedYAMLError` for a key that stands twice."""
    return _load(text, fast=_FastUniqueKeys, judge=_UniqueKeys)


def _load(text: str, *, fast: Any, judge: Any) -> Any:
    """Load the plain values of a text: those of the loader `judge`, ten times as fast where PyYAML has libyaml.

    What libyaml does not take, reads otherwise or could not end well, `judge` judges: errors are its own.
    """
    if not _READ_OTHERWISE.search(text):
        with contextlib.suppress(*_YAML_ERRORS):
            if _is_shallow(text):
                return yaml.load(text, Loader=fast)  # noqa: S506  a safe loader
    return yaml.load(text, Loader=judge)  # noqa: S506  a safe loader


def _is_shallow(text: str) -> bool:
    depth = 0
    for event in yaml.parse(text, Loader=_Fast):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > _DEEPEST:
                return False
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
    return True


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


# PyYAML takes 1e-4 for text, unlike DVC, JSON and people.
for _loader in (_UniqueKeys, _FastUniqueKeys):
    _loader.add_implicit_resolver(
        "tag:yaml.org,2002:float", re.compile(r"[-+]?\d+(?:\.\d*)?[eE][-+]?\d{1,3}$"), list("-+0123456789")
    )


def _describe_yaml_error(text: str, error: Exception) -> str:
    """Describe in one line where a text is no YAML and why, or that it holds a merge in conflict and what to do."""
    if found := re.search(r"^(<{7}|>{7}) ", text, re.MULTILINE):
        line = text.count("\n", 0, found.start()) + 1
        return (
            f"line {line} has the markers of a merge in conflict (<<<<<<< and >>>>>>>); keep what is right of both "
            "sides and remove the markers"
        )
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f"line {mark.line + 1}, column {mark.column + 1}: {error.problem}"
    return " ".join(str(error).split())


def convert_document(document: dict[Any, Any], kind: type[T], path: Path) -> T:
    """Convert a mapping to this type. Raises `ConfigError` that names the key and what was expected.

    Where text is expected and YAML made a date, a truth or a number of a word without quotes (2013-01-01, NO, 0), the
    word of the file counts; a column may be called so, too.
    """
    for _ in range(100):
        try:
            return msgspec.convert(document, kind)
        except (msgspec.ValidationError, RecursionError) as error:
            if place := _MADE.match(str(error)):
                fast, judge = (
                    (_FastNamesAsText, _NamesAsText) if place["key"] else (_FastBase, yaml.BaseLoader)
                )
                words = _load(path.read_text(encoding="utf-8"), fast=fast, judge=judge)
                steps = _STEP.findall(place["place"].removeprefix("$"))
                mended = _take_words(document, words, steps)
                if mended != document:
                    document = mended
                    continue
            raise ConfigError(f"{path}: {_describe(error, document, kind)}") from error
    raise ConfigError(f"{path}: more than 100 words need quotes; put quotes around names and categories")


def _describe(error: Exception, document: dict[Any, Any], kind: type[Any]) -> str:
    """Describe what is wrong after the key where it is."""
    what, _, where = str(error).partition(" - at `$")
    key = _name_key(where.rstrip("`").lstrip("."), str(error), document=document, kind=kind) or "the document"
    if place := _MADE.match(str(error)):
        what = f"expected text, got {_TYPES.get(place['kind'], place['kind'])}"
        if place["key"]:
            key = place["place"].removeprefix("$").lstrip(".") or "the document"
            what = "a name there is no text; put quotes around it"
    what = _TYPE.sub(
        _name_types, _name_choices(what, list(_find_kinds(kind, _STEP.findall(where.rstrip("`")))))
    )
    return f"{key}: {what[:1].lower()}{what[1:]}"


def _name_choices(what: str, kinds: list[Any]) -> str:
    """Name what a person can write instead of a key or word that is not known there."""
    if found := re.fullmatch(r"Object contains unknown field `(.*)`", what):
        records = [one for one in kinds if isinstance(one, type) and issubclass(one, msgspec.Struct)]
        known = sorted({name for one in records for name in one.__struct_encode_fields__})
        near = difflib.get_close_matches(found[1], known, n=1)
        return f"no key `{found[1]}` is known there; " + (
            f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
        )
    if found := re.fullmatch(r"Object missing required field `(.*)`", what):
        return f"the key `{found[1]}` is missing"
    if found := re.fullmatch(r"Invalid enum value (.*)", what):
        words = [word for one in kinds if get_origin(one) is Literal for word in get_args(one)]
        return f"expected {' or '.join(map(str, words))}, got {found[1]}"
    return what


def _find_kinds(kind: Any, steps: list[str]) -> Iterator[Any]:
    """Find the types that a value may have at the end of these steps into a document of this type."""
    for one in _list_kinds(kind):
        if not steps:
            yield one
        elif isinstance(one, type) and issubclass(one, msgspec.Struct):
            for field in msgspec.structs.fields(one):
                if field.encode_name == steps[0]:
                    yield from _find_kinds(field.type, steps[1:])
        elif get_args(one) and get_origin(one) is not Literal:
            yield from _find_kinds(get_args(one)[-1], steps[1:])


def _list_kinds(kind: Any) -> Iterator[Any]:
    """List the types that a type is, without its bounds: several of a union."""
    if get_origin(kind) is Annotated:
        yield from _list_kinds(get_args(kind)[0])
    elif get_origin(kind) in (Union, UnionType):
        for one in get_args(kind):
            yield from _list_kinds(one)
    else:
        yield kind


def _name_types(found: re.Match[str]) -> str:
    """Name the types of an expectation in words."""
    return found[1] + " or ".join(_TYPES.get(name, name) for name in found[2].split(" | "))


class _WithNamesAsText:
    """Reads YAML with keys as they are written: a column may be called 0, 2024-01-31 or NO."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Construct a mapping whose keys are texts."""
        plain = "tag:yaml.org,2002:"
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag.startswith(plain) and key.tag != plain + "merge":
                key.tag = plain + "str"
        made: dict[Any, Any] = super().construct_mapping(node, deep=deep)  # type: ignore[misc]
        return made


class _NamesAsText(_WithNamesAsText, yaml.SafeLoader):
    pass


class _FastNamesAsText(_WithNamesAsText, _Fast):  # type: ignore[misc]
    pass


def _take_words(value: Any, words: Any, steps: list[str]) -> Any:
    """Take the words of the file for the values at the end of the steps, and for their like in the same list.

    `[...]` is a step to every value of a mapping.
    """
    if not steps:
        taken = (isinstance(words, str) and _is_made(value)) or (
            isinstance(words, dict) and isinstance(value, dict)
        )
        return words if taken else value
    step, *rest = steps
    if isinstance(value, dict) and isinstance(words, dict):
        names = list(value) if step == "[...]" else [step]
        return {
            **value,
            **{
                one: _take_words(value[one], words[one], rest)
                for one in names
                if one in value and one in words
            },
        }
    if isinstance(value, list) and isinstance(words, list) and len(value) == len(words):
        return [_take_words(one, word, rest) for one, word in zip(value, words, strict=True)]
    return value


def _is_made(value: Any) -> bool:
    """Whether YAML made a value of a word that has no quotes."""
    return isinstance(value, bool | int | float | date)


def _name_key(where: str, message: str, document: dict[Any, Any], kind: type[Any]) -> str:
    """Put the key into the place of an error, where msgspec writes `[...]`: the key that alone gives the same error."""
    fields, unnamed, rest = where.partition("[...]")
    if not unnamed:
        return where
    path = fields.split(".")
    section: Any = document
    for field in path:
        section = section[field]
    for key, value in section.items():
        try:
            msgspec.convert(_replace(document, path, {key: value}), kind)
        except (msgspec.ValidationError, RecursionError) as error:
            if str(error) == message:
                return f"{fields}.{key}{rest}"
    return where


def _replace(document: dict[Any, Any], path: list[str], value: Any) -> dict[Any, Any]:
    field, *inner = path
    return {**document, field: _replace(document[field], inner, value) if inner else value}
