"""YAML is loaded ten times as fast as by `yaml.safe_load`, and gives the same values and the same errors."""

from __future__ import annotations

import math
import time
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from bots.decoding import YAML_ERRORS, describe_yaml_error, load_recorded_yaml, load_yaml
from fixtures import support

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.dates() | st.datetimes()
DOCUMENTS = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=12
)
TEXTS = st.text(alphabet=" \t\n-:?#&*!|>'\"%@`[]{},ab01.\ufeff\ud800\x85é", max_size=40)


def look_at(load: Any, text: str) -> tuple[str, str]:
    """The value that comes out, or the error and its words."""
    try:
        return "value", repr(load(text))
    except YAML_ERRORS as error:
        return type(error).__name__, str(error)


@given(document=DOCUMENTS, flow=st.sampled_from([None, False, True]))
@settings(max_examples=60)
def test_what_was_written_as_yaml_is_loaded_alike(document: object, flow: bool | None):
    text = yaml.safe_dump(document, default_flow_style=flow, allow_unicode=True)
    assert look_at(load_recorded_yaml, text) == look_at(yaml.safe_load, text)


@given(text=TEXTS)
@settings(max_examples=300)
def test_a_text_that_has_a_value_has_the_same_and_another_has_the_same_error(text: str):
    slow, fast = look_at(yaml.safe_load, text), look_at(load_recorded_yaml, text)
    assert fast == slow or (slow[0], fast[0]) == ("ScannerError", "value"), "libyaml takes a few texts more"


@pytest.mark.slow
@pytest.mark.parametrize("text", ["[" * 100_000 + "]" * 100_000, "- " * 20_000 + "x", "{a: " * 50_000])
def test_a_document_that_would_end_the_process_is_refused(text: str):
    with pytest.raises(YAML_ERRORS):
        load_recorded_yaml(text)


def test_depth_that_yaml_can_bear_is_loaded():
    value = load_recorded_yaml("[" * 150 + "]" * 150)
    for _ in range(149):
        (value,) = value
    assert value == []


def test_the_parameters_are_loaded_in_less_than_a_third_of_the_time():
    text = support.render_file("params.yaml")

    def measure(load: Any) -> float:
        found = math.inf
        for _ in range(5):
            start = time.process_time()
            load(text)
            found = min(found, time.process_time() - start)
        return found

    slow = measure(yaml.safe_load)
    assert measure(load_recorded_yaml) < slow / 3
    assert measure(load_yaml) < slow / 3


def test_a_small_number_is_one_and_a_short_digest_is_none():
    assert load_yaml("{a: 1e-4, b: -2.5E+3}") == {"a": 0.0001, "b": -2500.0}
    assert load_yaml("a: 1e-4 #\t") == {"a": 0.0001}  # a tab: libyaml is not given that
    assert load_yaml("{a: 12e4567, b: 1e5, c: '1e-4'}") == {"a": "12e4567", "b": "1e5", "c": "1e-4"}


def test_a_key_that_stands_twice_is_refused_in_what_people_write_and_with_the_same_words_as_ever():
    text = "a: 1\nb: {c: 2, c: 3}\n"
    with pytest.raises(yaml.MarkedYAMLError) as raised:
        load_yaml(text)
    assert describe_yaml_error(text, raised.value).startswith(
        "line 2, column 11: the key 'c' stands a second time"
    )
    assert load_yaml("a: {b: 1}") == {"a": {"b": 1}}
