"""A review changed anywhere, by anything, ends in a word; and where it says what was judged, never in *passed*."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bots import evidence
from bots.evidence import Review
from bots.verification.collection import Collected, load_collection
from bots.verification.main_side import Main, load_main
from bots.verification.scorer import Answers, ask_model
from bots.verification.verify_review import verify_review
from fixtures import verified_reviews
from fixtures.verified_reviews import FEATURES, LIMITS

JUDGED = ("verdict", "passed", "headline", "reason", "metrics", "slices", "evaluation", "export")
"""The fields of a review that nobody may change without being found out."""
JUNK = st.one_of(
    st.none(), st.booleans(), st.integers(-10, 10**9), st.floats(allow_nan=False), st.text(max_size=20), st.just([])
)  # fmt: skip

Bench = tuple[Collected, Main, Answers, dict[str, Any]]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    made = verified_reviews.make_bench(tmp_path_factory.mktemp("bench"))
    answers = ask_model(made.change / "models/onnx/model.onnx", made.change / FEATURES, LIMITS)
    collected = load_collection(made.collect(tmp_path_factory.mktemp("collected")))
    return collected, load_main(made.main.folder), answers, json.loads(evidence.encode(made.review))


def change_somewhere(value: Any, data: st.DataObject) -> Any:
    """The document with one leaf changed, or one entry left out."""
    if isinstance(value, dict) and value:
        name = data.draw(st.sampled_from(sorted(value)))
        return {**value, name: change_somewhere(value[name], data)}
    if isinstance(value, list) and value:
        at = data.draw(st.integers(0, len(value) - 1))
        if data.draw(st.booleans()):
            return value[:at] + value[at + 1 :]
        return [*value[:at], change_somewhere(value[at], data), *value[at + 1 :]]
    if isinstance(value, float) and data.draw(st.booleans()):
        return value * data.draw(st.sampled_from([0.9, 0.99, 1.01, 1.1, -1.0])) + 0.01
    return data.draw(JUNK)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data(), name=st.sampled_from([*JUDGED, "anything"]))
def test_a_review_changed_at_random_is_never_verified_where_it_was_judged(
    bench: Bench, data: st.DataObject, name: str
) -> None:
    collected, main, answers, document = bench
    if name == "anything":
        changed = change_somewhere(document, data)
    else:
        changed = {**document, name: change_somewhere(document[name], data)}
    try:
        review = evidence.decode(json.dumps(changed).encode(), Review, "review.json")
    except evidence.EvidenceError:
        return

    found = verify_review(
        replace(collected, review=review), main, ask=lambda model, rows: answers, tell=lambda words: None
    )

    touched = [one for one in JUDGED if json.loads(evidence.encode(review))[one] != document[one]]
    assert found.outcome != "passed" or not touched, (touched, name)
    assert evidence.decode(evidence.encode(found), evidence.Verification, "verification.json") == found
