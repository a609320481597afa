"""Says which field of a document does not fit its type, and what was expected there, in one way for all documents."""

from __future__ import annotations

import msgspec

DECODE_ERRORS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for a document that it cannot decode, whatever bytes that holds."""


def locate_decode_error(error: Exception) -> tuple[str, str]:
    """Return the field that does not fit, such as `gate.primary` or `the document`, and what was expected there."""
    if isinstance(error, msgspec.ValidationError):
        what, _, path = str(error).partition(" - at `$")
        return path.removesuffix("`").lstrip(".") or "the document", lower_first(what)
    if isinstance(error, RecursionError):
        return "the document", "it is nested too deeply"
    return "the document", f"expected JSON, {lower_first(str(error))}"


def describe_decode_error(error: Exception) -> str:
    """Describe a decode error as `field: expectation`."""
    return ": ".join(locate_decode_error(error))


def lower_first(text: str) -> str:
    """Return the text with a small first letter, to stand after a colon."""
    return text[:1].lower() + text[1:]
