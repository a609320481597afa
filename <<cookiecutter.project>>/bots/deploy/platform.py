"""Finds out where a project is deployed, by what its folder deploy/ holds, and opens a stage there."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Literal

from bots.deploy.docker import EngineError, connect
from bots.layout import COMPOSE, KUBERNETES
from bots.settings import Replicas

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from bots.deploy.compose import Compose
    from bots.deploy.target import Target

Platform = Literal["compose", "kubernetes", "none"]
# Where a stage's proxy listens, unless the environment says otherwise: both may stand on one machine.
PORTS = {"production": "8080", "staging": "8081"}


def find_platform(root: Path) -> Platform:
    """Find what the project in `root` is deployed with."""
    if (root / COMPOSE).exists():
        return "compose"
    return "kubernetes" if (root / KUBERNETES).is_dir() else "none"


@contextlib.contextmanager
def open_stage(
    root: Path,
    project: str,
    stage: str,
    *,
    tell: Callable[[str], None],
    replicas: Replicas | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Iterator[Target]:
    """Open a stage (`staging`, `production`) of the project in `root`.

    `replicas` is what production has; staging has one. STAGING_PORT and PRODUCTION_PORT of `environ` say where it
    listens. Raises `EngineError` where the project is deployed nowhere.
    """
    deploy, name, platform = root / "deploy", f"{project}-{stage}", find_platform(root)
    if platform == "compose":
        with open_compose(root, project, stage, tell=tell, replicas=replicas, environ=environ) as target:
            yield target
    elif platform == "kubernetes":
        from bots.deploy.kubernetes import Kubernetes

        yield Kubernetes(deploy / "kubernetes", stage, name, tell=tell)
    else:
        raise EngineError(
            f"{root} has neither deploy/compose.yaml nor deploy/kubernetes/: it is deployed nowhere"
        )


@contextlib.contextmanager
def open_compose(
    root: Path,
    project: str,
    stage: str,
    *,
    tell: Callable[[str], None],
    replicas: Replicas | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Iterator[Compose]:
    """Open a stage as `open_stage` does. Raises `EngineError` where it is not one of Docker Compose."""
    from bots.deploy.compose import Compose

    if (platform := find_platform(root)) != "compose":
        advice = {
            "kubernetes": "deploy/kubernetes/base/autoscaler.yaml says how many pods there are",
            "none": f"{root} has no deploy/compose.yaml",
        }
        raise EngineError(f"only a stage of Docker Compose is scaled by the bots: {advice[platform]}")
    # Staging has no requests of its own to share.
    limits = replicas if replicas and stage == "production" else Replicas()
    port = environ.get(f"{stage.upper()}_PORT") or PORTS[stage]
    with connect() as client:
        yield Compose(
            root / "deploy",
            f"{project}-{stage}",
            client,
            tell=tell,
            replicas=limits,
            environ={**environ, "PORT": port},
        )
