"""Read params.yaml and schema.yaml into typed values, and name every mistake by file and key."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
import yaml

from pipeline.files import StageError

if TYPE_CHECKING:
    from pathlib import Path

T = TypeVar("T")


class ConfigError(StageError):
    """params.yaml or schema.yaml is wrong, or they contradict each other; the message names file and key."""


def read_yaml(path: Path, expected: str) -> dict[Any, Any]:
    """Read the mapping that a YAML file holds; `expected` says in the message which one that should be.

    Raises `ConfigError` for a missing file, for what is not YAML, and for what is not a mapping.
    """
    text = ""
    try:
        text = path.read_text(encoding="utf-8")
        document = yaml.safe_load(text)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    # PyYAML lets the plain errors of malformed scalars (`!!int ""`, 2013-13-45) through.
    except (yaml.YAMLError, ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise ConfigError(f"{path}: not YAML: {_describe_yaml_error(text, error)}") from error
    if not isinstance(document, dict):
        raise ConfigError(f"{path}: expected {expected}")
    return document


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
    """Convert a mapping to this type. Raises `ConfigError` that names the key and what was expected."""
    try:
        return msgspec.convert(document, kind)
    except (msgspec.ValidationError, RecursionError) as error:
        what, _, where = str(error).partition(" - at `$")
        key = (
            _name_key(where.rstrip("`").lstrip("."), str(error), document=document, kind=kind)
            or "the document"
        )
        raise ConfigError(f"{path}: {key}: {what[:1].lower()}{what[1:]}") from error


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
