"""Reads schema.yaml, where a project has one: what columns mean, and which of them tell about a person."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec
from msgspec import Struct

from bots.decoding import DECODE_ERRORS, YAML_ERRORS, describe_yaml_error, load_yaml, locate_decode_error
from bots.derive.tables import DeriveError

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA: Final = "schema.yaml"
Type = Literal["number", "category", "datetime", "boolean", "text"]


class Column(Struct, frozen=True, kw_only=True):
    """What one column means; keys that matter to reading raw data are not looked at."""

    type: Type | None = None
    known: Literal["before", "after"] | None = None
    description: str = ""
    nullable: bool | None = None
    range: tuple[float | None, float | None] | None = None
    categories: list[str] | None = None
    unit: str | None = None
    personal: bool = False


class Schema(Struct, frozen=True, kw_only=True):
    """What a row is, when the prediction is made, and what is said of each column; empty where nobody said it."""

    row: str = ""
    moment: str | None = None
    columns: dict[str, Column] = {}

    def find_column(self, name: str) -> Column:
        """What is said of a column; of an unknown one, nothing."""
        return self.columns.get(name, Column())


def load_schema(root: Path) -> Schema:
    """Read schema.yaml; an empty schema where there is none. Raises `DeriveError`."""
    path = root / SCHEMA
    if not path.is_file():
        return Schema()
    text = path.read_text(encoding="utf-8", errors="replace")
    try:
        document: Any = load_yaml(text)
    except YAML_ERRORS as error:
        raise DeriveError(f"{SCHEMA}: not YAML: {describe_yaml_error(text, error)}") from error
    try:
        return msgspec.convert(document or {}, Schema)
    except DECODE_ERRORS as error:
        place, words = locate_decode_error(error)
        raise DeriveError(f"{SCHEMA}: {place}: {words}") from error
