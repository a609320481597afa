"""Remove or hash personal values before a row is logged."""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING, Any, Literal

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from serving.contract import Identity, Input


def build_redactor(
    fields: Sequence[Input | Identity], policy: Literal["drop", "hash", "keep"], key: str
) -> Callable[[Any], Any]:
    """Build the function that turns a row into what may be logged of it.

    `fields` are those of the row, in its order. The policy `hash` uses HMAC-SHA-256 with `key`.
    """
    personal = [f"c{at}" for at, field in enumerate(fields) if field.personal]
    if not personal or policy == "keep":
        return lambda row: row

    def hash_value(value: Any) -> str | None:
        if value is None:
            return None
        text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
        return hmac.new(key.encode(), text.encode(), hashlib.sha256).hexdigest()

    def drop_value(_: Any) -> None:
        return None

    replace_value = hash_value if policy == "hash" else drop_value

    def redact(row: Any) -> Any:
        return msgspec.structs.replace(row, **{name: replace_value(getattr(row, name)) for name in personal})

    return redact
