"""Where a project is deployed to, by what its folder deploy/ holds."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from bots.ship.compose import Compose
from bots.ship.engine import EngineError, connected
from bots.ship.kubernetes import Kubernetes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from bots.ship.target import Target


@contextlib.contextmanager
def opened(root: Path, project: str, stage: str, tell: Callable[[str], None]) -> Iterator[Target]:
    """The stage (`staging`, `production`) of the project in `root`. Raises `EngineError` where there is none."""
    deploy, name = root / "deploy", f"{project}-{stage}"
    if (deploy / "compose.yaml").exists():
        with connected() as client:
            yield Compose(deploy, name, client, tell)
    elif (deploy / "kubernetes").is_dir():
        yield Kubernetes(deploy / "kubernetes", stage, name, tell)
    else:
        raise EngineError(
            f"{root} has neither deploy/compose.yaml nor deploy/kubernetes/: it is deployed nowhere"
        )
