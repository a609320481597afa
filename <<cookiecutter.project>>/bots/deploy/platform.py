"""Finds out where a project is deployed, by what its folder deploy/ holds, and opens a stage there."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Literal

from bots.deploy.docker import EngineError, connect
from bots.layout import COMPOSE, KUBERNETES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

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
    environ: Mapping[str, str] = os.environ,
) -> Iterator[Target]:
    """Open a stage (`staging`, `production`) of the project in `root`.

    STAGING_PORT and PRODUCTION_PORT of `environ` say where it listens. Raises `EngineError` where the project is
    deployed nowhere.
    """
    deploy, name, platform = root / "deploy", f"{project}-{stage}", find_platform(root)
    if platform == "compose":
        from bots.deploy.compose import Compose

        with connect() as client:
            port = environ.get(f"{stage.upper()}_PORT") or PORTS[stage]
            yield Compose(deploy, name, client, tell=tell, environ={**environ, "PORT": port})
    elif platform == "kubernetes":
        from bots.deploy.kubernetes import Kubernetes

        yield Kubernetes(deploy / "kubernetes", stage, name, tell=tell)
    else:
        raise EngineError(
            f"{root} has neither deploy/compose.yaml nor deploy/kubernetes/: it is deployed nowhere"
        )
