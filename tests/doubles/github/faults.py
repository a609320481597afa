"""Failures between a bot and GitHub, on demand."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field

SECONDARY = (
    "You have exceeded a secondary rate limit. Please wait a few minutes before you try again. "
    "If you reach out to GitHub Support for help, please include the request ID."
)
PRIMARY = "API rate limit exceeded for installation ID 1."


@dataclass
class Fault:
    """Spoils the next `times` requests of that method whose path matches.

    `after_commit`: the request is carried out and only then goes wrong. `delay`: seconds before the answer.
    `reset`: the connection is torn down in place of an answer. Without a status the real answer comes, late.
    """

    method: str
    path: str
    status: int | None = None
    after_commit: bool = False
    times: int = 1
    delay: float = 0.0
    reset: bool = False
    headers: dict[str, str] = field(default_factory=dict)
    message: str | None = None

    def meets(self, method: str, path: str) -> bool:
        """Tell whether this request is to be spoilt."""
        return self.times > 0 and self.method in (method, "*") and re.search(self.path, path) is not None

    def build_body(self) -> tuple[str, str]:
        """Build the answer's body and media type: a gateway's 5xx is a page, everything else is JSON."""
        if self.message is None and self.status in (502, 503, 504):
            return f"<html><body><h1>{self.status} unicorn</h1></body></html>", "text/html"
        message = self.message or {403: "Resource not accessible by integration"}.get(
            self.status or 0, "fault"
        )
        address = "https://docs.github.com/rest"
        return json.dumps({"message": message, "documentation_url": address, "status": str(self.status)}), (
            "application/json"
        )
