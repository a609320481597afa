"""The errors of the service: one root, and a class for each thing that a caller can react to."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import msgspec


class ServingError(Exception):
    """Root of all errors of this room. The message says what is wrong, where, and what to do."""

    exit_code = 1


class SettingsError(ServingError):
    """params.yaml or a `SERVING_…` variable holds a wrong value."""


class ModelError(ServingError):
    """The model cannot be served: it, its contract or its lineage is missing, damaged, or of another model."""


class LogError(ServingError):
    """The prediction log does not take an entry in time, or its files cannot be converted."""


class MalformedBodyError(ServingError):
    """The body of a request is not JSON, or holds no rows."""


class RequestError(ServingError):
    """A request that gets an error as its response, in the form of RFC 9457 (problem details)."""

    def __init__(self, status: int, detail: str, *, retry_after: int | None = None, **members: Any) -> None:
        """`retry_after` is in seconds; `members` are further members of the document."""
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.retry_after = retry_after
        self.members = members

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """The headers that this status needs, beside those of the content."""
        headers = [] if self.retry_after is None else [(b"retry-after", str(self.retry_after).encode())]
        if self.status == HTTPStatus.UNAUTHORIZED:
            headers.append((b"www-authenticate", b"Bearer"))
        if "allow" in self.members:
            headers.append((b"allow", str(self.members["allow"]).encode()))
        return headers

    def render(self) -> bytes:
        """Write the problem document as JSON. Its type is `about:blank`: the title says what the status means."""
        title = HTTPStatus(self.status).phrase
        document = {"type": "about:blank", "title": title, "status": self.status, "detail": self.detail}
        return msgspec.json.encode(document | self.members)
