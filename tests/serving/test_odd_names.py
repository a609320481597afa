"""Rows of columns whose names JSON escapes are read, found fault with and logged under these names."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any, Literal

import msgspec

from serving.contract import Identity, Input
from serving.rows import RowReader


def declare(name: str, kind: Literal["number", "category"]) -> Input:
    return Input(
        name=name, kind=kind, type=kind, description="", unit=None, nullable=True, personal=False, range=None,
        categories=None, missing=0, low=None, high=None, seen=None, example=None,
    )  # fmt: skip


def test_names_that_json_escapes_are_read_and_logged_as_they_are() -> None:
    numbers = [declare('say "it"', "number"), declare("back\\slash", "number")]
    texts = [declare("two\nlines", "category"), declare("c0", "category")]
    identity = [Identity(name="visit", type="text", description="", personal=False)]
    contract: Any = SimpleNamespace(
        numeric=numbers, categorical=texts, inputs=[*numbers, *texts], identity=identity
    )
    reader = RowReader(contract)
    sent = {'say "it"': 1.5, "back\\slash": 2.0, "two\nlines": "Ulm", "c0": "a", "visit": "v1"}
    (read,) = reader.decode(json.dumps(sent).encode())
    assert read.findings == ()
    assert json.loads(msgspec.json.encode(reader.name_values(read.row))) == sent
    batch = reader.build_batch([read.row])
    assert batch.numbers.tolist() == [[1.5], [2.0]]
    assert batch.categories.tolist() == [["Ulm"], ["a"]]
    (wrong,) = reader.decode(json.dumps({**sent, 'say "it"': "no number", "c1": 1}).encode())
    assert wrong.row is None
    assert {(one.field, one.kind) for one in wrong.findings} == {('say "it"', "type"), ("c1", "unknown")}
