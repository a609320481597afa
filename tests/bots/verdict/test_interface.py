"""What callers send and get, read from a contract: the same fields as the service describes, and how two differ."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bots.evidence import Interface
from bots.verdict.interface import (
    Contract,
    breaks_answers,
    breaks_requests,
    compare_interfaces,
    parse_contract,
)
from serving.contract import Contract as Served
from serving.openapi import describe
from serving.settings import Settings

DIGEST = "sha256:" + "0" * 64


def make_input(name: str, **what: Any) -> dict[str, Any]:
    known = {
        "name": name, "kind": "number", "type": "number", "description": "", "unit": None, "nullable": True,
        "personal": False, "range": None, "categories": None, "missing": 0.0, "low": None, "high": None, "seen": None,
        "example": None,
    }  # fmt: skip
    return {**known, **what}


def make_contract(task: str = "classification", **what: Any) -> dict[str, Any]:
    target = {"name": "risk", "description": "", "unit": None, "answers": None}
    known = {
        "format": 1, "title": "T", "question": "Q?", "row": "a row", "moment": None, "task": task, "target": target,
        "threshold": 0.5 if task == "classification" else None, "onnx": DIGEST, "opset": 22,
        "inputs": [make_input("x"), make_input("y", nullable=False)], "identity": [], "confidence": 0.9,
        "experience": [], "grid": [0.0, 1.0], "holdout": [1], "probes": [{"row": {"x": 1.0}, "score": 0.5}],
        "classes": ["a", "b", "c"] if task == "multiclass" else [], "called": [1, 1, 1] if task == "multiclass" else [],
    }  # fmt: skip
    return {**known, **what}


def parse(document: dict[str, Any]) -> Contract:
    return parse_contract(msgspec.json.encode(document))


NAMED = {"name": "risk", "description": "", "unit": None, "answers": {"yes": "bad", "no": "good"}}


@pytest.mark.parametrize(
    "document",
    [make_contract(task) for task in ("classification", "regression", "multiclass")]
    + [make_contract(target=NAMED)],
)
def test_the_answer_has_the_fields_that_the_service_describes(document: dict[str, Any]) -> None:
    served = msgspec.convert(document, Served)
    described = describe(served, Settings(), "v1", keys=False)["components"]["schemas"]
    answers = parse(document).answers
    assert answers is not None
    assert answers.keys() == described["Prediction"]["properties"].keys()
    assert parse(document).types.keys() == described["Row"]["properties"].keys()


def list_changes(before: dict[str, Any], now: dict[str, Any]) -> list[tuple[str, str, str]]:
    found = compare_interfaces(parse(before), parse(now))
    assert found.total == len(found.changes)
    return [(one.side, one.field, one.effect) for one in found.changes]


@pytest.mark.parametrize(
    ("inputs", "told"),
    [
        ([make_input("x"), make_input("y", nullable=False)], []),
        ([make_input("y", nullable=False)], [("request", "x", "breaks")]),
        ([make_input("x"), make_input("y")], [("request", "y", "other")]),
        ([make_input("x", nullable=False), make_input("y", nullable=False)], [("request", "x", "breaks")]),
        ([make_input("x", type="text"), make_input("y", nullable=False)], [("request", "x", "breaks")]),
        ([make_input("x", unit="km"), make_input("y", nullable=False)], [("request", "x", "narrows")]),
        ([make_input("x", range=[0, None]), make_input("y", nullable=False)], [("request", "x", "narrows")]),
        (
            [
                make_input("x"),
                make_input("y", nullable=False),
                make_input("z"),
                make_input("w", nullable=False),
            ],
            [("request", "z", "other"), ("request", "w", "breaks")],
        ),
    ],
)
def test_what_an_input_does_to_callers(inputs: list[Any], told: list[Any]) -> None:
    assert list_changes(make_contract(), make_contract(inputs=inputs)) == told


def test_fewer_categories_or_a_smaller_range_refuse_what_was_allowed_and_more_do_not() -> None:
    def make(categories: list[str], low: float) -> dict[str, Any]:
        made = make_input("c", kind="category", type="category", categories=categories)
        return make_contract(inputs=[made, make_input("x", range=[low, 10])])

    assert list_changes(make(["a", "b"], 0), make(["a"], 1)) == [
        ("request", "c", "narrows"),
        ("request", "x", "narrows"),
    ]
    assert list_changes(make(["a"], 1), make(["a", "b"], 0)) == [
        ("request", "c", "other"),
        ("request", "x", "other"),
    ]


def test_another_task_or_other_classes_break_who_reads_the_answer() -> None:
    told = list_changes(make_contract(), make_contract("multiclass"))
    assert ("answer", "label", "breaks") in told
    assert ("answer", "probabilities", "other") in told
    more = make_contract("multiclass", classes=["a", "b", "c", "d"])
    assert ("answer", "label", "breaks") in list_changes(make_contract("multiclass"), more)
    named = list_changes(make_contract(target=NAMED), make_contract())
    assert ("answer", "answer", "breaks") in named


def test_classes_in_another_order_break_nobody_for_an_answer_gives_them_by_name() -> None:
    before, after = (make_contract("multiclass", classes=list(order)) for order in ("abc", "cab"))
    assert list_changes(before, after) == []


def test_a_change_in_the_hundredth_class_shows_although_names_are_cut() -> None:
    names = [f"a long name of class {number}" for number in range(100)]
    before = make_contract("multiclass", classes=names)
    after = make_contract("multiclass", classes=[*names[:-1], "another"])
    assert ("answer", "label", "breaks") in list_changes(before, after)
    assert list_changes(before, before) == []


@pytest.mark.parametrize("where", ["input", "type", "target", "unit", "answer"])
def test_what_callers_get_is_always_evidence_that_can_be_read_and_longer_names_are_refused(
    where: str,
) -> None:
    def make(word: str) -> Contract:
        target = {**NAMED, "name": word} if where == "target" else {**NAMED, "unit": word}
        answers = {"yes": word, "no": word} if where == "answer" else NAMED["answers"]
        one = (
            make_input(word)
            if where == "input"
            else make_input("x", type=word if where == "type" else "number")
        )
        task = "regression" if where == "unit" else "classification"
        return parse(make_contract(task, inputs=[one], target={**target, "answers": answers}))

    told = compare_interfaces(parse(make_contract()), make("é" * 1000))
    assert msgspec.json.decode(msgspec.json.encode(told), type=Interface) == told
    with pytest.raises(msgspec.ValidationError, match="length <= 1000"):
        make("é" * 1001)


def test_without_mains_contract_only_what_there_is_now_is_told() -> None:
    found = compare_interfaces(None, parse(make_contract()))
    assert (found.inputs, found.changes, found.total) == ({"x": "number?", "y": "number"}, [], 0)


KINDS = st.dictionaries(
    st.sampled_from("abc"), st.sampled_from(["number", "number?", "text", "text?"]), max_size=3
)


@given(KINDS, KINDS)
def test_the_fields_that_break_requests_are_those_for_which_a_version_is_major(
    before: dict[str, str], now: dict[str, str]
) -> None:
    def make(types: dict[str, str]) -> dict[str, Any]:
        inputs = [
            make_input(name, type=kind.rstrip("?"), nullable=kind.endswith("?"))
            for name, kind in types.items()
        ]
        return make_contract(inputs=inputs)

    told = list_changes(make(before), make(now))
    assert any(effect == "breaks" for _, _, effect in told) == breaks_requests(before, now)


def test_an_answer_with_a_further_field_breaks_nobody() -> None:
    assert not breaks_answers({"a": "text"}, {"a": "text", "b": "text"})
    assert breaks_answers({"a": "text", "b": "text"}, {"a": "text"})
