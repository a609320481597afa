"""The engine of a release over `bots.deploy`: Docker builds and tries images, Compose or Kubernetes runs them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bots import settings
from bots.deploy import image, platform, rollout, smoke_test
from bots.deploy.docker import EngineError
from bots.deploy.prometheus import ReadingError
from bots.layout import PARAMS
from bots.log import make_visible
from bots.release.engine import EngineFailed, StageResult

if TYPE_CHECKING:
    from bots.deploy.checks import Check
    from bots.deploy.lineage import Lineage
    from bots.release.versions import Stage
    from bots.settings import Settings


@dataclass(frozen=True)
class DeployEngine:
    """`bots.release.engine.Engine` for the project in `root`."""

    root: Path

    def build(self, lineage: Lineage, reference: str) -> None:
        """See `Engine`."""
        with _as_engine_failed():
            image.build(self.root, lineage, reference, self._settings.project.title, tell=_print_step)

    def smoke_test(self, reference: str) -> list[Check]:
        """See `Engine`."""
        policy = self._settings.release.smoke
        with _as_engine_failed():
            return smoke_test.smoke(
                reference, smoke_test.sample(self.root, policy.rows), policy, tell=_print_step
            )

    def push(self, reference: str) -> str:
        """See `Engine`."""
        with _as_engine_failed():
            return image.push(reference, tell=_print_step)

    def roll_out(self, stage: Stage, image: str, lineage: Lineage) -> StageResult:
        """See `Engine`. Staging has no traffic of its own to judge a canary by."""
        return self._roll_out(stage, image, lineage, watch=stage == "production")

    def restore(self, stage: Stage, image: str, lineage: Lineage) -> StageResult:
        """See `Engine`."""
        return self._roll_out(stage, image, lineage, watch=False)

    def _roll_out(self, stage: Stage, image: str, lineage: Lineage, *, watch: bool) -> StageResult:
        known = self._settings
        with (
            _as_engine_failed(),
            platform.open_stage(self.root, known.project.name, stage, tell=_print_step) as target,
        ):
            found = rollout.roll_out(
                target, image, lineage.version, known.release.canary, watch=watch, tell=_print_step
            )
        checks = found.judgement.checks if found.judgement else []
        return StageResult(done="running" if found.well else "rolled back", words=found.words, checks=checks)

    @property
    def _settings(self) -> Settings:
        return settings.parse((self.root / PARAMS).read_text(encoding="utf-8"), PARAMS)


@contextmanager
def _as_engine_failed() -> Iterator[None]:
    try:
        yield
    except (EngineError, ReadingError) as error:
        raise EngineFailed(str(error)) from error


def _print_step(words: str) -> None:
    print(f"    {make_visible(words)}", file=sys.stderr, flush=True)
