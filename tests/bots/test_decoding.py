"""Every field of a document that does not fit is told at once, as whoever writes it in another language needs it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bots import evidence
from bots.decoding import list_misfits
from bots.evidence import EvidenceError, MetricsReport, SplitReport

GOOD: dict[str, Any] = {
    "task": "regression",
    "primary": "mae",
    "values": {"mae": 1.0},
    "metrics": [{"name": "mae", "value": 1.0, "direction": "lower"}],
    "slices": [],
    "calibration": [],
    "rows": 3,
    "holdout": "md5:" + "0" * 32,
}


def test_what_fits_has_no_misfit():
    assert list(list_misfits(GOOD, MetricsReport)) == []


@pytest.mark.parametrize(
    ("change", "place", "words"),
    [
        ({"task": "other"}, "task", "expected one of classification, regression, multiclass"),
        ({"rows": -1}, "rows", "expected a whole number >= 0"),
        ({"extra": 1}, "extra", "leave it out"),
        (
            {"metrics": [{"name": "mae", "direction": "lower"}]},
            "metrics[0].value",
            "missing; expected a number",
        ),
        ({"values": {"mae": "x"}}, "values[...]", "expected a number"),
        ({"metrics": []}, "metrics", "length >= 1"),
        ({"costs": [{"currency": 3}]}, "costs[0].currency", "expected text"),
    ],
)
def test_a_misfit_is_told_by_its_place_and_what_was_expected(change: dict[str, Any], place: str, words: str):
    ((told, why),) = list_misfits({**GOOD, **change}, MetricsReport)
    assert told == place
    assert words in why


def test_all_misfits_are_told_at_once():
    places = [place for place, _ in list_misfits({"task": 1, "values": {}, "metrics": [{}]}, MetricsReport)]
    assert places == [
        "task", "primary", "metrics[0].name", "metrics[0].value", "metrics[0].direction", "slices", "calibration",
        "rows", "holdout",
    ]  # fmt: skip


SCALARS = st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from(["", "time", "train", 0.5])
NAMES = st.sampled_from(["by", "parts", "name", "rows"])
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner),
    max_leaves=8,
)
DOCUMENTS = st.fixed_dictionaries({}, optional=dict.fromkeys(("by", "parts", "unlabelled", "format"), VALUES))


@given(VALUES | DOCUMENTS)
def test_a_document_has_a_misfit_exactly_where_the_contract_refuses_it(document: Any):
    try:
        evidence.decode(json.dumps(document).encode(), SplitReport, "split.json")
    except EvidenceError:
        assert list(list_misfits(document, SplitReport))
    else:
        assert list(list_misfits(document, SplitReport)) == []
