"""What a place to deploy to must be able to do; Compose on a machine and Kubernetes are the two there are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

Role = Literal["stable", "canary"]


class NotReady(Exception):
    """A version does not become ready; the message says what it did instead, with its last words."""


@dataclass(frozen=True)
class Version:
    """An image by digest (`reference`) and what people call it (`name`: v1.4.0)."""

    reference: str
    name: str


@dataclass(frozen=True)
class State:
    """What is there, as the place itself says. `previous` is what ran before the canary came."""

    stable: Version | None = None
    canary: Version | None = None
    previous: Version | None = None


@dataclass(frozen=True)
class Health:
    """How a version's instances are: how often they were restarted, and whether all run and call themselves ready."""

    restarts: int
    alive: bool


class Target(Protocol):
    """A stage of a place to deploy to. Each step may be repeated; all raise `EngineError`."""

    def prepare(self) -> None:
        """Bring what stands before the versions."""

    def state(self) -> State:
        """What runs now, read from the place itself."""

    def offer(self, version: Version, previous: Version | None) -> None:
        """Start the version as the canary, without traffic, and wait for it. Raises `NotReady`."""

    def share(self, canary: float) -> None:
        """Give the canary this share of the requests."""

    def metrics(self, role: Role) -> Mapping[str, str]:
        """Prometheus' text of each instance, by its name; an instance that does not answer is left out."""

    def health(self, role: Role) -> Health:
        """How the version's instances are."""

    def contract(self, role: Role) -> bytes | None:
        """The version's contract.json; None when it cannot be read."""

    def promote(self, version: Version) -> None:
        """Make it the stable version without losing a request, and the only one.

        Raises `NotReady`, and then what ran before runs again.
        """

    def withdraw(self) -> None:
        """Take the canary away without losing a request; whatever there is goes to the stable version."""
