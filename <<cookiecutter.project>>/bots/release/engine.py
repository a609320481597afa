"""The engine that a release needs to build, try, push and run images. `bots.release.deploy_engine` is the real one."""

from __future__ import annotations

from typing import Literal, Protocol

from msgspec import Struct

from bots.deploy.checks import Check
from bots.deploy.lineage import Lineage
from bots.deploy.rollout import Halt
from bots.deploy.watch import Watch
from bots.errors import BotsError
from bots.release.versions import Stage


class EngineFailed(BotsError):
    """The engine could not do it; the message says what, why, and what to do."""


class StageResult(Struct, frozen=True, kw_only=True):
    """Whether a stage runs the version now. `words` say why; `checks` are what was seen on the way, with figures.

    `paused`: the version keeps a share of the requests beside the running one; `watch` is what to go on from.
    """

    done: Literal["running", "rolled back", "paused"]
    words: str
    checks: list[Check] = []
    watch: Watch | None = None


class Engine(Protocol):
    """Every call raises `EngineFailed`, and may be repeated: what is there already is not made twice."""

    def build(self, lineage: Lineage, reference: str) -> None:
        """Build the image of the checkout with this lineage, on this machine, under this name."""

    def smoke_test(self, reference: str) -> list[Check]:
        """Run the image as it will run later, and ask it for rows of the reviewed holdout."""

    def push(self, reference: str) -> str:
        """Push the image to its registry; return its name there by digest: `repository@sha256:…`."""

    def roll_out(
        self, stage: Stage, image: str, lineage: Lineage, paused: Watch | None = None, *, halt: Halt
    ) -> StageResult:
        """Bring this version to a stage: first as a canary beside the running one, which is judged.

        A canary that was `paused` is judged once, by all that came since it began. Where `halt` says so, it is paused.
        """

    def withdraw(self, stage: Stage) -> None:
        """Take the canary or the shadow out of a stage; where there is none, nothing is done."""

    def restore(self, stage: Stage, image: str, lineage: Lineage) -> StageResult:
        """Bring this version to a stage at once, because a person says so."""
