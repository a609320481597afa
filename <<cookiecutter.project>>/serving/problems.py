"""What a caller is told when there is no answer: a problem document (RFC 9457), never an inside view."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import msgspec


class Problem(Exception):
    """A request that is not answered: its status, why, and whatever helps the caller to do better."""

    def __init__(self, status: int, detail: str, *, retry_after: int | None = None, **more: Any) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.retry_after = retry_after
        self.more = more

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """Headers beside the content's."""
        found = [] if self.retry_after is None else [(b"retry-after", str(self.retry_after).encode())]
        if self.status == HTTPStatus.UNAUTHORIZED:
            found.append((b"www-authenticate", b"Bearer"))
        if "allow" in self.more:
            found.append((b"allow", str(self.more["allow"]).encode()))
        return found

    def body(self) -> bytes:
        """The document as JSON. Its type is about:blank: the title says all that the status means."""
        title = HTTPStatus(self.status).phrase
        document = {"type": "about:blank", "title": title, "status": self.status, "detail": self.detail}
        return msgspec.json.encode(document | self.more)
