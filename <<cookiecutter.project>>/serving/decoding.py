"""Decode files into typed records, and say in words what is wrong with data that does not fit its type."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, TypeVar

import msgspec

from serving.errors import ModelError

if TYPE_CHECKING:
    from pathlib import Path

T = TypeVar("T")

# What msgspec raises for data that does not fit. Only hostile data causes the last two.
DECODE_ERRORS = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


def read_bytes(path: Path, hint: str = "") -> bytes:
    """Read a file of the model. Raises `ModelError`, with the hint at the end of its message."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror}){hint}") from error


def hash_bytes(data: bytes) -> str:
    """Compute the digest of a file's content, as contracts and lineages write it."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def decode_json(data: bytes, kind: type[T], path: Path, *, name: str, hint: str = "") -> T:
    """Decode the content of a file. Raises `ModelError`, which says that it is not `name`, and the hint."""
    try:
        return msgspec.json.decode(data, type=kind)
    except DECODE_ERRORS as error:
        raise ModelError(f"{path}: not {name} ({error}){hint}") from error


def describe_decode_error(error: Exception) -> tuple[str, str]:
    """Return what is wrong with the data, and where: for example `.limits.rows`, or "" for all of it."""
    if isinstance(error, UnicodeDecodeError):
        return "not UTF-8", ""
    if isinstance(error, RecursionError):
        return "nested too deeply", ""
    what, _, where = str(error).partition(" - at `$")
    return what[:1].lower() + what[1:], where.rstrip("`")
