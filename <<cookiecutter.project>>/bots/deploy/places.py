"""Where a project is deployed to, by what its folder deploy/ holds."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from bots.deploy.compose import Compose
from bots.deploy.docker import EngineError, connected
from bots.deploy.kubernetes import Kubernetes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from bots.deploy.target import Target

# Where a stage's proxy listens, unless the environment says otherwise: both may stand on one machine.
PORTS = {"production": "8080", "staging": "8081"}


@contextlib.contextmanager
def opened(
    root: Path,
    project: str,
    stage: str,
    tell: Callable[[str], None],
    environ: Mapping[str, str] = os.environ,
) -> Iterator[Target]:
    """The stage (`staging`, `production`) of the project in `root`; STAGING_PORT and PRODUCTION_PORT of `environ` say
    where it listens. Raises `EngineError` where there is no such place."""
    deploy, name = root / "deploy", f"{project}-{stage}"
    if (deploy / "compose.yaml").exists():
        with connected() as client:
            port = environ.get(f"{stage.upper()}_PORT") or PORTS[stage]
            yield Compose(deploy, name, client, tell, environ={**environ, "PORT": port})
    elif (deploy / "kubernetes").is_dir():
        yield Kubernetes(deploy / "kubernetes", stage, name, tell)
    else:
        raise EngineError(
            f"{root} has neither deploy/compose.yaml nor deploy/kubernetes/: it is deployed nowhere"
        )
