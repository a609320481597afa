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
    """The model, its contract or its lineage is missing or damaged, or they do not belong together."""


class LogError(ServingError):
    """The prediction log does not take an entry in time, or its files cannot be converted."""


class MalformedBodyError(ServingError):
    """The body of a request is not JSON, or holds no rows."""


class TooLargeError(ServingError):
    """The body of a request has more rows, or a row more fields, than the limits allow."""


class RequestError(ServingError):
    """A request cannot be answered. The response is a problem document (RFC 9457)."""

    def __init__(self, status: int, detail: str, *, retry_after: int | None = None, **members: Any) -> None:
        """`detail` is for the caller, `retry_after` is in seconds, `members` are added to the document."""
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.retry_after = retry_after
        self.members = members

    @property
    def title(self) -> str:
        """The name of the status."""
        return HTTPStatus(self.status).phrase

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """The headers that this error adds to those of the content."""
        headers = [] if self.retry_after is None else [(b"retry-after", str(self.retry_after).encode())]
        if self.status == HTTPStatus.UNAUTHORIZED:
            headers.append((b"www-authenticate", b"Bearer"))
        if "allow" in self.members:
            headers.append((b"allow", str(self.members["allow"]).encode()))
        return headers

    def render(self) -> bytes:
        """Write the problem document as JSON. Its type is `about:blank`: the status says it all."""
        document = {"type": "about:blank", "title": self.title, "status": self.status, "detail": self.detail}
        return msgspec.json.encode(document | self.members)
