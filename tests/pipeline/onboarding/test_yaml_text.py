"""A value of params.yaml is set whatever way people write YAML, and nothing beside it changes."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pipeline.files import StageError
from pipeline.onboarding.yaml_text import format_flow, set_value

KEYS = st.sampled_from(["a", "b", "c d", "é", "no", "1"])
VALUES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=8)
    | st.lists(st.text(max_size=5), max_size=3)
)
DEEP = st.recursive(VALUES, lambda inner: st.dictionaries(KEYS, inner, max_size=3), max_leaves=8)
DOCUMENTS = st.dictionaries(KEYS, DEEP, min_size=1, max_size=3)


def put(document: Any, keys: list[str], value: Any) -> Any:
    known = document if isinstance(document, dict) else {}
    return value if not keys else {**known, keys[0]: put(known.get(keys[0]), keys[1:], value)}


@pytest.mark.slow
@given(
    document=DOCUMENTS,
    data=st.data(),
    flow=st.sampled_from([False, None, True]),
    indent=st.sampled_from([2, 4]),
    value=VALUES,
)
def test_whatever_the_style_the_value_is_set_and_the_rest_stays(
    document: dict[str, Any], data: st.DataObject, flow: bool | None, indent: int, value: Any
) -> None:
    section = data.draw(st.sampled_from(sorted(document)))
    deeper = data.draw(st.lists(KEYS, min_size=1, max_size=2))
    text = yaml.safe_dump(
        document, default_flow_style=flow, indent=indent, allow_unicode=True, sort_keys=False
    )
    if flow is True:
        text = "".join(f"{format_flow(name)}: {format_flow(one)}\n" for name, one in document.items())
    edited = set_value(text, ".".join([section, *deeper]), value)
    assert yaml.safe_load(edited) == put(document, [section, *deeper], value)


STYLES = {
    "a list at the margin of its key": "s:\n  key:\n  - 1\n  - 2\n  # of next\n  next: 3\n",
    "an empty line inside": "s:\n  key:\n    - 1\n\n    - 2\n  # of next\n  next: 3\n",
    "a comment at the margin inside": "s:\n  key:\n    - 1\n# odd\n    - 2\n  # of next\n  next: 3\n",
    "four spaces": "s:\n    key:\n        - 1\n        - 2\n    # of next\n    next: 3\n",
    "braces over several lines": "s:\n  key: {x: 1,\n    y: 2}\n  # of next\n  next: 3\n",
    "quotes around the key": "s:\n  'key': 1\n  # of next\n  next: 3\n",
    "a text of several lines": "s:\n  key: |\n    one\n\n    two\n\n  # of next\n  next: 3\n",
    "a key without a value": "s:\n  key:\n  # of next\n  next: 3\n",
}


@pytest.mark.parametrize("style", STYLES, ids=lambda style: style.replace(" ", "-"))
def test_a_value_is_replaced_as_a_whole_and_the_next_key_keeps_its_comment(style: str) -> None:
    edited = set_value(STYLES[style], "s.key", ["new"], "why")
    assert yaml.safe_load(edited) == {"s": {"key": ["new"], "next": 3}}
    assert "# of next\n" in edited
    assert "key: [new]  # why" in edited


@pytest.mark.parametrize("text", ["s: {key: 1, next: 3}\n", "s: {next: 3}\n", "s: {next: 3,\n  key: 5}\n"])
def test_a_section_in_braces_takes_a_value(text: str) -> None:
    assert yaml.safe_load(set_value(text, "s.key", 7)) == {"s": {"key": 7, "next": 3}}


def test_an_empty_section_takes_a_value() -> None:
    assert yaml.safe_load(set_value("s:\nt: 1\n", "s.key", 7)) == {"s": {"key": 7}, "t": 1}


def test_without_the_section_it_says_what_restores_it() -> None:
    for text in ("", "# nothing\n", "t: 1\n"):
        with pytest.raises(StageError, match="no section `s:`; restore it"):
            set_value(text, "s.key", 7)
