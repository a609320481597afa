"""What the pages name of params.yaml and schema.yaml is a key there."""

from __future__ import annotations

import re
import typing
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from bots import settings
from fixtures.support import TEMPLATE
from pipeline import params, table

PAGES = [TEMPLATE / "README.md", *sorted((TEMPLATE / "docs").glob("*.md"))]
# Dotted words that begin like a section and are no key: a file of requirements, a method of PyTorch.
OTHERS = {"review.in", "model.cpu"}
FILES = (".md", ".yaml", ".json", ".py", ".txt", ".onnx", ".skops", ".html", ".parquet", ".csv")


def list_keys(kind: object, above: str = "", depth: int = 6) -> Iterator[str]:
    """List the keys below a section, with those above: `gate.slices.rows`."""
    for part in typing.get_args(kind):
        yield from list_keys(part, above, depth)
    if depth and isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        for field in msgspec.structs.fields(kind):
            yield f"{above}{field.encode_name}"
            yield from list_keys(field.type, f"{above}{field.encode_name}.", depth - 1)


SETTINGS = {*list_keys(settings.Settings), *list_keys(params.Params)}
SECTIONS = {key.partition(".")[0] for key in SETTINGS}
CONTRACT = {*list_keys(table.Schema), *list_keys(table.Column)}


def find_unknown_settings(text: str) -> set[str]:
    """Find what stands as code, begins with a section of params.yaml, and is no key of it."""
    words = set(re.findall(r"`([a-z_]+(?:\.[a-zA-Z_]+)+)", text)) - SETTINGS - OTHERS
    return {
        word
        for word in words
        if word.partition(".")[0] in SECTIONS
        and not word.endswith(FILES)
        and not re.search(r"\b[A-Z]+\b", word)
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_each_setting_that_a_page_names_is_one_of_params_yaml(page: Path) -> None:
    assert find_unknown_settings(page.read_text(encoding="utf-8")) == set()


def test_a_setting_that_does_not_exist_is_found() -> None:
    assert find_unknown_settings("`data.identity` and `gate.primary`, `gate.foo: 1`") == {
        "data.identity",
        "gate.foo",
    }


def test_each_key_that_the_data_engineer_is_told_to_write_is_one_of_schema_yaml() -> None:
    page = (TEMPLATE / "docs/data-engineer.md").read_text(encoding="utf-8")
    rows = page.partition("| write in `schema.yaml` |")[2].partition("\n\n")[0].splitlines()[2:]
    cells = [row.strip("| ").rpartition(" | ")[2] for row in rows]
    named = {key for cell in cells for key in re.findall(r"`([a-z_]+)(?:: [^`]*)?`", cell)}
    kinds = {"category", "datetime", "boolean", "text"}
    assert len(named - kinds) > 10
    assert named - kinds - CONTRACT == set()
