"""Write what reads free text as ONNX so that it cuts words as scikit-learn does, on any machine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onnx import ModelProto

# Every Debian and glibc has this one; others must be installed, and an image of a service has none.
LOCALE = "C.UTF-8"
# scikit-learn's own pattern, and what it means in the words of RE2: two or more of what `\w` is in Python.
WORD = r"[\p{L}\p{N}_]{2,}"
OWN_PATTERN = r"(?u)\b\w\w+\b"


def list_options(part: Any) -> dict[int, dict[str, Any]]:
    """List skl2onnx's options for each reader of texts in a fitted part, by the reader's id."""
    return {
        id(reader): {"tokenexp": WORD}
        for reader in _find_readers(part)
        if reader.analyzer == "word" and reader.token_pattern == OWN_PATTERN
    }


def set_locale(onnx: ModelProto) -> None:
    """Let what makes letters small do so in a locale that is there: by default it is en_US, which often is not."""
    from onnx import helper

    for node in onnx.graph.node:
        if node.op_type == "StringNormalizer":
            kept = [one for one in node.attribute if one.name != "locale"]
            del node.attribute[:]
            node.attribute.extend([*kept, helper.make_attribute("locale", LOCALE)])


def _find_readers(part: Any) -> Iterator[Any]:
    from sklearn.feature_extraction.text import CountVectorizer

    if isinstance(part, CountVectorizer):
        yield part
    for _, inner, *_ in [*getattr(part, "transformers_", ()), *getattr(part, "steps", ())]:
        yield from _find_readers(inner)
