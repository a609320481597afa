"""Says what stopped a release, and which exit code the command ends with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from bots.errors import BotsError

if TYPE_CHECKING:
    from bots.deploy.checks import Check
    from bots.release.versions import Stage

Kind = Literal["refused", "unverified", "image", "rolled back", "paused", "broken"]
EXIT_CODES: Final[dict[Kind, int]] = {
    "refused": 30,
    "unverified": 31,
    "image": 32,
    "rolled back": 33,
    "paused": 34,
    "broken": 1,
}


@dataclass(frozen=True)
class Failure:
    """What stopped a release. `version` is None where the release has no number yet."""

    kind: Kind
    words: str
    commit: str
    version: str | None = None
    stage: Stage | None = None
    checks: tuple[Check, ...] = ()

    @property
    def name(self) -> str:
        """What people call the release: its version, or its commit."""
        return self.version or self.commit[:7]

    @property
    def title(self) -> str:
        """The issue's title."""
        if self.kind == "paused":
            return f"Release of {self.name} is paused"
        return f"Release of {self.name} failed"


class ReleaseFailed(BotsError):
    """The release stopped; `failure` holds all that is known of it."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.words)
        self.failure = failure
        self.exit_code = EXIT_CODES[failure.kind]
