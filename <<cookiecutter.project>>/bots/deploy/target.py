"""Says what a stage must be able to do to be deployed to. Docker Compose and Kubernetes are the two there are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from bots.errors import BotsError

if TYPE_CHECKING:
    from collections.abc import Mapping

Role = Literal["stable", "canary", "shadow"]


class NotReady(BotsError):
    """A version does not become ready; the message says what it did instead, with the end of its log."""


@dataclass(frozen=True)
class Version:
    """An image by digest (`reference`) and what people call it (`name`: v1.4.0)."""

    reference: str
    name: str


@dataclass(frozen=True)
class State:
    """What a stage runs now. `previous` is what ran before the canary came; the shadow is asked and never heard."""

    stable: Version | None = None
    canary: Version | None = None
    previous: Version | None = None
    shadow: Version | None = None


@dataclass(frozen=True)
class Health:
    """How often a version's instances were restarted, and whether all run and call themselves ready."""

    restarts: int
    alive: bool


class Target(Protocol):
    """A stage to deploy to. Each call may be repeated, and raises `EngineError`."""

    def prepare(self) -> None:
        """Start what sends the requests to the versions."""

    def get_state(self) -> State:
        """Get what runs now, read from the stage itself."""

    def start_canary(self, version: Version, previous: Version | None) -> None:
        """Start the version as the canary, without requests, and wait until it is ready. Raises `NotReady`."""

    def start_shadow(self, version: Version) -> None:
        """Start the version as the shadow, which gets copies of the requests, and wait until it is ready.

        Raises `NotReady`, and `EngineError` where the stage cannot copy requests.
        """

    def remove_shadow(self) -> None:
        """Remove the shadow; where there is none, nothing is done. Its log stays."""

    def set_share(self, canary: float) -> None:
        """Send this share of the requests (0 to 1) to the canary."""

    def load_metrics(self, role: Role) -> Mapping[str, str]:
        """Load Prometheus' text of each instance, by its name; an instance that does not answer is left out."""

    def check_health(self, role: Role) -> Health:
        """Check whether the version's instances run and are ready."""

    def load_contract(self, role: Role) -> bytes | None:
        """Load the version's contract.json; None when it cannot be read."""

    def promote(self, version: Version) -> None:
        """Make it the stable version without losing a request, and the only one.

        Raises `NotReady`, and then what ran before runs again.
        """

    def withdraw(self) -> None:
        """Remove the canary without losing a request; all requests go to the stable version."""
