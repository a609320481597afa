"""Requests are read as rows by the contract; each unusual value is named, and hostile input is refused."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fixtures import served
from serving import model
from serving.errors import MalformedBodyError
from serving.rows import MAX_NUMBER, Finding, format_category

NUMBERS = st.one_of(
    st.none(), st.floats(-MAX_NUMBER, MAX_NUMBER, allow_nan=False), st.integers(-(10**30), 10**30)
)
TEXTS = st.one_of(
    st.none(), st.text("abcxyz äß€'\"\0", max_size=12), st.sampled_from(["a", "b", "c", "Ulm", "Bonn"])
)
ROWS = st.fixed_dictionaries(
    {},
    optional={
        "x": NUMBERS, "gap": NUMBERS, "age": NUMBERS, "member": st.one_of(st.none(), st.booleans()),
        "group": TEXTS, "town": TEXTS, "visit": TEXTS, "email": TEXTS,
    },
)  # fmt: skip
ANY = st.recursive(
    st.none()
    | st.booleans()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=9)
    | st.integers(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=12,
)


@pytest.fixture(scope="module")
def served_model(exported: Path) -> model.Model:
    return model.load_model(exported / "models" / "onnx")


def find_findings(served_model: model.Model, row: dict[str, Any]) -> list[Finding]:
    (read,) = served_model.reader.decode(json.dumps(row).encode())
    if read.row is None:
        return list(read.findings)
    return [
        *read.findings,
        *served_model.reader.check(served_model.reader.build_batch([read.row])).get(0, []),
    ]


def find_kinds(served_model: model.Model, row: dict[str, Any]) -> set[tuple[str, str]]:
    return {(found.field, found.kind) for found in find_findings(served_model, row)}


@given(st.lists(ROWS, min_size=1, max_size=5))
def test_every_row_of_the_right_types_has_a_score_and_each_oddity_a_reason(served_model, given_rows):
    reads = served_model.reader.decode(json.dumps(given_rows).encode())
    batch = served_model.reader.build_batch([read.row for read in reads])
    scores = served_model.score(batch)
    assert ((scores >= 0) & (scores <= 1)).all()
    found = served_model.reader.check(batch)
    for number, row in enumerate(given_rows):
        said = {(one.field, one.kind) for one in found.get(number, [])}
        x, group = row.get("x"), row.get("group")
        assert (("x", "missing") in said) == (x is None)
        assert (("x", "range") in said) == (x is not None and not -10 <= np.float32(x) <= 10)
        assert (("group", "category") in said) == (group not in (None, "", "a", "b", "c"))
        assert (("group", "unseen") in said) == (group == "c")
        assert not {kind for field, kind in said if field in ("visit", "email")}
        assert ("age", "beyond") not in said


@pytest.mark.slow
@given(st.one_of(ANY, st.lists(ANY, max_size=3)))
def test_any_json_is_rows_or_findings_or_malformed(served_model, document):
    try:
        reads = served_model.reader.decode(json.dumps(document).encode())
    except MalformedBodyError:
        assert not isinstance(document, dict | list)
        return
    for read in reads:
        assert read.row is not None or read.findings


@given(st.binary(max_size=300))
@example(b"[]")
def test_any_bytes_are_read_or_refused_as_malformed(served_model, body):
    said = None
    try:
        said = served_model.reader.decode(body)
    except MalformedBodyError as error:
        said = str(error)[:1]
    assert said is not None  # no rows, `[]`, are rows too: the service refuses them as a whole


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"[" * 200_000, "nested too deeply"),
        (b'{"x":' * 100_000, "nested too deeply"),
        (b'{"town":"\xff"}', "not UTF-8"),
        (b'{"x": NaN}', "malformed"),
        (b'{"x": Infinity}', "malformed"),
        (b"", "truncated"),
        (b'{"x": 1', "truncated"),
        (b"3", "expected a row"),
        (b'"row"', "expected a row"),
        (b'{"x": 1} {"x": 2}', "malformed"),
    ],
)
def test_what_is_no_row_is_malformed_in_words(served_model, body, words):
    with pytest.raises(MalformedBodyError, match=words):
        served_model.reader.decode(body)


@pytest.mark.parametrize(
    "value", [True, "1", [1], {"a": 1}, 1e39, -1e39, 10**400, "NaN"], ids=lambda value: str(value)[:12]
)
def test_what_is_no_number_for_the_model_is_a_wrong_type(served_model, value):
    assert ("x", "type") in find_kinds(served_model, {**served.ROW, "x": value})


def test_a_number_beyond_every_float_is_malformed_or_a_wrong_type(served_model):
    with pytest.raises(MalformedBodyError, match="out of range"):
        served_model.reader.decode(b'{"x": 1e999}')


def test_a_typical_row_has_nothing_odd(served_model):
    assert find_findings(served_model, served.ROW) == []


def test_all_that_is_wrong_is_said_at_once_with_a_hint_at_the_right_name(served_model):
    row = {**served.ROW, "x": "far", "groop": "a", "member": [], "town": "x" * 2000}
    said = {found.field: found for found in find_findings(served_model, row)}
    assert {name: found.kind for name, found in said.items()} == {
        "x": "type", "groop": "unknown", "member": "type", "town": "type",
    }  # fmt: skip
    assert "did you mean 'group'?" in said["groop"].message


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        ({"x": 11}, "range", "11 m is above the highest possible, 10 m"),
        ({"x": -9}, "beyond", "is below the lowest seen in training"),
        ({"x": None}, "missing", "though there always is one"),
        ({"group": "z"}, "category", "none of the allowed values"),
        ({"group": "c"}, "unseen", "'c' did not occur in training"),
        ({"town": "Rome"}, "unseen", "'Rome' did not occur in training"),
    ],
)
def test_a_row_that_is_odd_is_described_for_people(served_model, change, kind, words):
    (found,) = find_findings(served_model, {**served.ROW, **change})
    assert (found.kind, found.field) == (kind, next(iter(change)))
    assert words in found.message


@pytest.mark.parametrize("row", [{}, {"q": 1}])
def test_a_row_without_any_of_the_model_s_fields_is_no_row(served_model, row):
    (found,) = [one for one in find_findings(served_model, row) if not one.field]
    assert found.kind == "type"
    assert "such as 'x'; GET /docs lists them" in found.message


def test_a_gap_that_training_knows_is_not_odd(served_model):
    assert find_findings(served_model, {**served.ROW, "gap": None, "town": ""}) == []


def test_of_a_field_that_is_there_twice_the_last_one_counts(served_model):
    (read,) = served_model.reader.decode(b'{"x": 1, "x": 2}')
    assert served_model.reader.build_batch([read.row]).numbers[0, 0] == 2


def test_rows_of_a_batch_are_scored_as_they_are_alone(served_model):
    bodies = [
        {**served.ROW, "x": number / 10, "group": group} for number in range(-20, 20) for group in "abc"
    ]
    rows = [read.row for read in served_model.reader.decode(json.dumps(bodies).encode())]
    together = served_model.score(served_model.reader.build_batch(rows))
    alone = [served_model.score(served_model.reader.build_batch([row]))[0] for row in rows]
    np.testing.assert_allclose(together, alone, atol=1e-6)


@pytest.mark.parametrize(
    ("value", "expected"), [(None, ""), (True, "true"), (3.0, "3"), (3.5, "3.5"), ("x", "x"), (-0.0, "0")]
)
def test_a_label_is_what_the_pipeline_makes_of_the_value(value, expected):
    from pipeline import table

    assert format_category(value) == expected
    if value is not None and not (isinstance(value, float) and math.copysign(1, value) < 0):
        import pandas as pd

        assert table.make_labels(pd.Series([value], dtype=object)).tolist() == [expected]
