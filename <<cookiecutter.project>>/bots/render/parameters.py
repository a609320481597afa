"""Renders the page about params.yaml: every key that the bots read, from the types that read it."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec
from msgspec import inspect

from bots.render import markdown as md
from bots.settings import Key, list_keys

HEAD = """# params.yaml: what the bots read

Written by `python -m bots schema` from the types in `bots/settings.py`; do not edit it by hand. Every other key of
`params.yaml` is read by `pipeline/` or `serving/` and explained by a comment beside it.
"""
_BOUNDS = {"gt": "above", "ge": "at least", "lt": "below", "le": "at most"}


def render_parameters() -> str:
    """Render one table for each section, in the order of the file."""
    sections: dict[str, list[Key]] = {}
    for key in list_keys():
        if key.section:
            sections.setdefault(re.split(r"[.\[]", key.section)[0], []).append(key)
    return "\n".join([HEAD, *(_format_section(name, keys) for name, keys in sections.items())])


def _format_section(section: str, keys: list[Key]) -> str:
    rows = [
        [
            f"`{f'{key.section}.{key.name}'.replace('[...]', '.NAME').removeprefix(f'{section}.')}`",
            _describe_type(key.type),
            _format_default(key.default),
            key.meaning,
        ]
        for key in keys
    ]
    return f"## {section}\n\n{md.format_table([':key', ':value', ':default', ':meaning'], rows)}\n"


def _format_default(default: Any) -> str:
    if default is msgspec.NODEFAULT:
        return "must be set"
    return "" if isinstance(default, msgspec.Struct) else f"`{json.dumps(default)}`"


def _describe_type(kind: inspect.Type) -> str:
    """Describe a type in words: `number (above 0, below 1) or null`."""
    match kind:
        case inspect.Metadata():
            return _describe_type(kind.type)
        case inspect.UnionType():
            return " or ".join(_describe_type(one) for one in kind.types)
        case inspect.NoneType():
            return "null"
        case inspect.BoolType():
            return "true or false"
        case inspect.FloatType() | inspect.IntType():
            noun = "whole number" if isinstance(kind, inspect.IntType) else "number"
            bounds = [
                f"{word} {limit:,g}"
                for name, word in _BOUNDS.items()
                if (limit := getattr(kind, name)) is not None
            ]
            return f"{noun} ({', '.join(bounds)})" if bounds else noun
        case inspect.LiteralType():
            return " or ".join(f"`{value}`" for value in kind.values)
        case inspect.ListType() | inspect.VarTupleType():
            return f"list of {_describe_type(kind.item_type)}"
        case inspect.DictType():
            return f"for each name: {_describe_type(kind.value_type)}"
        case inspect.StructType():
            return "section"
        case _:
            return "text"
