"""Finds out where a project is deployed, by what its folder deploy/ holds, and opens a stage there."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Literal

from bots.deploy.docker import EngineError, connect
from bots.layout import COMPOSE, KUBERNETES, PARAMS
from bots.naming import Naming
from bots.settings import Replicas

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from bots.deploy.compose import Compose
    from bots.deploy.target import Target
    from bots.settings import Ports, Settings

Platform = Literal["compose", "kubernetes", "none"]
# Where a stage's proxy listens, unless the environment says otherwise: both may stand on one machine.
PORTS = {"production": "8080", "staging": "8081"}


def find_platform(root: Path) -> Platform:
    """Find what the project in `root` is deployed with."""
    if (root / COMPOSE).exists():
        return "compose"
    return "kubernetes" if (root / KUBERNETES).is_dir() else "none"


def find_model_platform(root: Path, settings: Settings) -> Platform:
    """Find what the model of these settings is deployed with: nothing, where it is a further one without a `deploy`."""
    return find_platform(root) if settings.is_deployed else "none"


@contextlib.contextmanager
def open_stage(
    root: Path,
    project: str,
    stage: str,
    *,
    tell: Callable[[str], None],
    replicas: Replicas | None = None,
    model: str | None = None,
    ports: Ports | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Iterator[Target]:
    """Open a stage (`staging`, `production`) of the project in `root`, or of a further model of it.

    `replicas` is what production has; staging has one. STAGING_PORT and PRODUCTION_PORT of `environ` say where the main
    model listens, `ports` where a further one does. Raises `EngineError` where the project is deployed nowhere.
    """
    platform = find_platform(root)
    if platform == "compose":
        with open_compose(
            root, project, stage, tell=tell, replicas=replicas, model=model, ports=ports, environ=environ
        ) as target:
            yield target
    elif platform == "kubernetes":
        from bots.deploy.kubernetes import Kubernetes

        folder, namespace = root / "deploy/kubernetes", name_namespace(project, stage)
        yield Kubernetes(folder, stage, namespace, tell=tell, model=model)
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
    model: str | None = None,
    ports: Ports | None = None,
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
    port = choose_port(stage, environ, model, ports)
    with connect() as client:
        yield Compose(
            root / "deploy",
            Naming(model=model).name_deployment(project, stage),
            client,
            tell=tell,
            replicas=limits,
            port=port if model is not None else None,
            environ={**environ, "PORT": port},
        )


def name_namespace(project: str, stage: str) -> str:
    """Name the namespace of a stage in a cluster, which all models of a project share."""
    return Naming().name_deployment(project, stage)


def choose_port(stage: str, environ: Mapping[str, str], model: str | None, ports: Ports | None) -> str:
    """Choose the port that a model's proxy has in a stage.

    Raises `EngineError` where a further model has none, or the main model's.
    """
    main = environ.get(f"{stage.upper()}_PORT") or PORTS[stage]
    if model is None:
        return main
    key = f"{PARAMS}: models.{model}.deploy.ports"
    if ports is None:
        raise EngineError(
            f"{key}: expected where {model} listens, as {{staging: 8091, production: 8090}}; the other ports are the "
            "other models'"
        )
    own = str(ports.staging if stage == "staging" else ports.production)
    if own == main:
        raise EngineError(f"{key}.{stage}: {own} is where the main model listens; choose another")
    return own
