"""What the service's callers rely on, held against answers: each break is a sentence, a broken file a clear error."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bots.verdict.callers import (
    Answer,
    CallersError,
    CallersFound,
    Consumer,
    check_callers,
    encode_consumer,
    list_breaks,
    parse_consumer,
    propose_rules,
    require_name,
)

PATH = "consumers/billing.json"
REQUEST: dict[str, Any] = {
    "name": "usual",
    "body": {"x": 1},
    "answer": {"risk": {"type": "number", "low": 0, "high": 1}, "label": {"type": "boolean"}},
}


def parse(request: dict[str, Any] | None = None, **what: Any) -> Consumer:
    return parse_consumer(msgspec.json.encode({"format": 1, "requests": [request or REQUEST], **what}), PATH)


def answer(prediction: Any, status: int = 200, seconds: float = 0.0) -> Answer:
    return Answer(status, {"version": "v1", "predictions": [prediction]}, seconds)


@pytest.mark.parametrize(
    ("prediction", "breaks"),
    [
        ({"risk": 0.5, "label": True, "more": "is fine"}, []),
        ({"risk": 1, "label": False}, []),
        ({"risk": [0.5], "label": True}, ["field `risk` became a list"]),
        ({"risk": "0.5", "label": True}, ["field `risk` became a text"]),
        ({"risk": {"value": 0.5}, "label": True}, ["field `risk` became an object"]),
        ({"risk": True, "label": True}, ["field `risk` became true or false"]),
        ({"risk": None, "label": True}, ["field `risk` became null"]),
        ({"label": 1}, ["field `risk` is gone", "field `label` became a number"]),
        ({"risk": 1.5, "label": True}, ["field `risk` is 1.5, above 1"]),
        ({"risk": -1, "label": True}, ["field `risk` is -1, below 0"]),
        ({"risk": 10**400, "label": True}, ["field `risk` is 100000000…, above 1"]),
        ({"errors": []}, ["field `risk` is gone", "field `label` is gone"]),
        ([], ["field `risk` is gone", "field `label` is gone"]),
    ],
)
def test_each_way_in_which_an_answer_breaks_a_caller_is_a_sentence(
    prediction: Any, breaks: list[str]
) -> None:
    assert list_breaks(parse(), [answer(prediction)]) == breaks


def test_an_answer_of_another_status_says_why() -> None:
    refused = Answer(422, {"detail": "row 1: y: a value is needed"})
    assert list_breaks(parse(), [refused]) == [
        "the request `usual` is answered with 422 (row 1: y: a value is needed), not with 200"
    ]
    wanted = parse({"name": "usual", "body": {}, "status": 422})
    assert list_breaks(wanted, [refused]) == []
    assert "answered with 200, not with 422" in list_breaks(wanted, [answer({})])[0]


def test_fields_within_fields_null_and_names_with_a_dot_can_be_relied_on() -> None:
    request = {
        "name": "usual",
        "body": {},
        "answer": {
            "observed.share": {"type": "number"},
            "a.b": {"type": "text", "one_of": ["late", "on time"]},
            "interval": {"type": "object", "nullable": True},
        },
    }
    good = {"observed": {"share": 0.1}, "a.b": "late", "interval": None}
    assert list_breaks(parse(request), [answer(good)]) == []
    bad: dict[str, Any] = {"observed": None, "a.b": "never", "interval": {}}
    assert list_breaks(parse(request), [answer(bad)]) == [
        "field `observed.share` is gone",
        "field `a.b` is `never`, which is none of those that it knows",
    ]


def test_each_row_of_a_batch_is_held_against_the_contract_and_a_slow_answer_breaks_who_asks_for_a_time() -> (
    None
):
    request = REQUEST | {"body": [{}, {}], "seconds": 0.5}
    good = {"risk": 0.5, "label": True}
    two = Answer(200, {"predictions": [good, {"risk": 2, "label": True}]}, 0.75)
    assert list_breaks(parse(request), [two]) == [
        "field `risk` is 2, above 1",
        "the request `usual` takes 0.75 s, more than 0.5 s",
    ]
    assert "no list of 2 predictions" in list_breaks(parse(request), [answer(good)])[0]


@pytest.mark.parametrize(
    ("request_of", "said"),
    [
        ({"name": "a"}, "body"),
        ({"name": "a", "body": 3}, "body"),
        ({"name": "a", "body": {}, "answers": {}}, "answers"),
        ({"name": "a", "body": {}, "answer": {"x": {"type": "int"}}}, "type"),
        (
            {"name": "a", "body": {}, "answer": {"x": {"type": "text", "low": 1}}},
            "`low` and `high` are of numbers",
        ),
        (
            {"name": "a", "body": {}, "answer": {"x": {"type": "number", "low": 1, "high": 0}}},
            "`low` is above",
        ),
        (
            {"name": "a", "body": {}, "answer": {"x": {"type": "number", "one_of": ["a"]}}},
            "`one_of` is of texts",
        ),
        ({"name": "a", "body": {}, "status": 422, "answer": {"x": {"type": "text"}}}, "would say nothing"),
    ],
)
def test_a_broken_contract_is_an_error_that_names_file_and_field(
    request_of: dict[str, Any], said: str
) -> None:
    with pytest.raises(CallersError, match=r"consumers/billing\.json") as caught:
        parse(request_of)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"\xff", b'{"format": 2, "requests": []}', b"[" * 200_000]
)
def test_what_is_no_contract_is_an_error(content: bytes) -> None:
    with pytest.raises(CallersError, match=r"consumers/billing\.json"):
        parse_consumer(content, PATH)


@pytest.mark.parametrize("name", ["", "Billing", "a b", "../x", "a.b", "-", "é", "a" * 101, "a\n"])
def test_a_name_that_could_be_more_than_a_name_is_refused(name: str) -> None:
    with pytest.raises(CallersError, match="expected a name"):
        require_name(name, "--add")


def test_the_rule_blocks_and_says_whom_it_breaks() -> None:
    found = check_callers(CallersFound(("app",), {"billing": ["field `risk` became a list"]}))
    assert (found.passed, found.message) == (False, "Breaks billing: field `risk` became a list.")
    assert check_callers(CallersFound(("app", "web"))).message == "app, web get what they rely on."
    unknown = check_callers(CallersFound(problem="there is no serving/ in this project"))
    assert not unknown.passed
    assert "nobody can tell whether callers are kept" in unknown.message.lower()
    assert not check_callers(CallersFound(wrong=("consumers/a.json: not JSON",))).passed


JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(JSON, st.integers(200, 599))
def test_any_answer_at_all_is_judged_and_never_crashes(body: Any, status: int) -> None:
    found = list_breaks(parse(), [Answer(status, body)])
    assert max(map(len, found)) < 500
    assert found


@given(st.dictionaries(st.text(min_size=1, max_size=5), JSON, max_size=4))
def test_what_is_proposed_from_an_answer_is_kept_by_that_answer(prediction: dict[str, Any]) -> None:
    consumer = Consumer(requests=[msgspec.convert({"name": "a", "body": {}}, type(parse().requests[0]))])
    proposed = msgspec.structs.replace(consumer.requests[0], answer=propose_rules(prediction))
    again = parse_consumer(encode_consumer(msgspec.structs.replace(consumer, requests=[proposed])), PATH)
    assert list_breaks(again, [answer(prediction)]) == []
