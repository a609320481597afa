"""The engine behind a release: builds, tries and pushes the checkout's image, and rolls it out where deploy/ says."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bots import settings
from bots.deploy import image, places, rollout, smoke_test
from bots.deploy.docker import EngineError
from bots.deploy.prometheus import ReadingError
from bots.log import make_visible
from bots.release.engine import EngineFailed, Outcome

if TYPE_CHECKING:
    from bots.deploy.checks import Check
    from bots.deploy.lineage import Lineage
    from bots.release.versions import Stage
    from bots.settings import Settings


@dataclass(frozen=True)
class Shipping:
    """`bots.release.engine.Engine` over `bots.deploy`, for the project in `root`."""

    root: Path

    def build(self, lineage: Lineage, reference: str) -> None:
        """See `Engine`."""
        with _plain_errors():
            image.build(self.root, lineage, reference, self._settings.project.title, tell=_tell)

    def smoke(self, reference: str) -> list[Check]:
        """See `Engine`."""
        policy = self._settings.release.smoke
        with _plain_errors():
            return smoke_test.smoke(reference, smoke_test.sample(self.root, policy.rows), policy, tell=_tell)

    def push(self, reference: str) -> str:
        """See `Engine`."""
        with _plain_errors():
            return image.push(reference, tell=_tell)

    def roll_out(self, stage: Stage, image: str, lineage: Lineage) -> Outcome:
        """See `Engine`. Staging has no traffic of its own to judge a canary by."""
        return self._roll_out(stage, image, lineage, watch=stage == "production")

    def restore(self, stage: Stage, image: str, lineage: Lineage) -> Outcome:
        """See `Engine`."""
        return self._roll_out(stage, image, lineage, watch=False)

    def _roll_out(self, stage: Stage, image: str, lineage: Lineage, *, watch: bool) -> Outcome:
        known = self._settings
        with _plain_errors(), places.opened(self.root, known.project.name, stage, _tell) as target:
            found = rollout.roll_out(
                target, image, lineage.version, known.release.canary, watch=watch, tell=_tell
            )
        checks = found.judgement.checks if found.judgement else []
        return Outcome(done="running" if found.well else "rolled back", words=found.words, checks=checks)

    @property
    def _settings(self) -> Settings:
        return settings.parse((self.root / "params.yaml").read_text(encoding="utf-8"), "params.yaml")


def engine(root: Path) -> Shipping:
    """What `bots.release.engine.of` finds by default."""
    return Shipping(root)


@contextmanager
def _plain_errors() -> Iterator[None]:
    try:
        yield
    except (EngineError, ReadingError) as error:
        raise EngineFailed(str(error)) from error


def _tell(words: str) -> None:
    print(f"    {make_visible(words)}", file=sys.stderr, flush=True)
