"""The engine of a release over `bots.deploy`: Docker builds and tries images, Compose or Kubernetes runs them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from bots import settings
from bots.deploy.docker import EngineError
from bots.deploy.image import build_image, push_image
from bots.deploy.platform import open_stage
from bots.deploy.prometheus import MetricsError
from bots.deploy.rollout import never_halt, roll_out
from bots.deploy.smoke_test import load_sample, run_smoke_test
from bots.deploy.target import Version
from bots.log import make_visible
from bots.release.engine import EngineFailed, StageResult

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from bots.deploy.checks import Check
    from bots.deploy.lineage import Lineage
    from bots.deploy.rollout import Halt
    from bots.deploy.target import Target
    from bots.deploy.watch import Watch
    from bots.release.versions import Stage
    from bots.settings import Settings


@dataclass(frozen=True)
class DeployEngine:
    """`bots.release.engine.Engine` for the project in `root`, or for a further model of it."""

    root: Path
    model: str | None = None

    def build(self, lineage: Lineage, reference: str) -> None:
        """See `Engine`."""
        known = self._settings
        with _as_engine_failed():
            build_image(
                self.root,
                replace(lineage, name=self.model) if self.model else lineage,
                reference,
                title=known.title,
                onnx=known.review.files.onnx,
                tell=_print_step,
                model=self.model,
            )

    def smoke_test(self, reference: str) -> list[Check]:
        """See `Engine`."""
        known, policy = self._settings, self._settings.release.smoke
        with _as_engine_failed():
            sample = load_sample(self.root, known.review.files, policy.rows)
            return run_smoke_test(reference, sample, policy, tell=_print_step)

    def push(self, reference: str) -> str:
        """See `Engine`."""
        with _as_engine_failed():
            return push_image(reference, tell=_print_step)

    def roll_out(
        self, stage: Stage, image: str, lineage: Lineage, paused: Watch | None = None, *, halt: Halt
    ) -> StageResult:
        """See `Engine`. Staging has no requests of its own to judge a canary by."""
        return self._bring(
            stage, Version(image, lineage.version), watch=stage == "production", paused=paused, halt=halt
        )

    def withdraw(self, stage: Stage) -> None:
        """See `Engine`."""
        with _as_engine_failed(), self._open_stage(stage) as target:
            target.prepare()
            if target.get_state().stable is not None:
                target.withdraw()
                target.remove_shadow()

    def restore(self, stage: Stage, image: str, lineage: Lineage) -> StageResult:
        """See `Engine`."""
        return self._bring(stage, Version(image, lineage.version), watch=False)

    def _bring(
        self,
        stage: Stage,
        version: Version,
        *,
        watch: bool,
        paused: Watch | None = None,
        halt: Halt = never_halt,
    ) -> StageResult:
        known = self._settings
        with _as_engine_failed(), self._open_stage(stage) as target:
            found = roll_out(
                target,
                version,
                known.release.canary,
                watch=watch,
                tell=_print_step,
                shadow=known.deploy.shadow,
                paused=paused,
                halt=halt,
            )
        return StageResult(
            done="running" if found.succeeded else "paused" if found.done == "paused" else "rolled back",
            words=found.words,
            checks=found.decision.checks if found.decision else [],
            watch=found.watch,
        )

    def _open_stage(self, stage: Stage) -> AbstractContextManager[Target]:
        known = self._settings
        return open_stage(
            self.root,
            known.project.name,
            stage,
            tell=_print_step,
            replicas=known.deploy.replicas,
            model=self.model,
            ports=known.deploy.ports,
        )

    @property
    def _settings(self) -> Settings:
        return settings.load_settings(self.root, self.model)


@contextmanager
def _as_engine_failed() -> Iterator[None]:
    try:
        yield
    except (EngineError, MetricsError) as error:
        raise EngineFailed(str(error)) from error


def _print_step(words: str) -> None:
    print(f"    {make_visible(words)}", file=sys.stderr, flush=True)
