"""Starts the runs of a project's further models, each by itself, so that none waits for another or stops it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, Protocol

from bots.errors import BotsError
from bots.release import promote, registry
from bots.retry import RequestDenied, RetriesExhausted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

AGAIN: Final = "judge it again"
"""What deploy.yaml's input `paused` says for a paused version to be looked at again."""


class StartApi(Protocol):
    """What starting a run asks of GitHub. Every call raises `RequestDenied` or `TemporaryFailure`."""

    def start_workflow(self, file: str, branch: str, inputs: Mapping[str, str] | None = None) -> None:
        """Start a workflow on a branch's newest commit."""


def start_runs(
    api: StartApi, models: Sequence[str], *, file: str, resume: bool, tell: Callable[[str], None]
) -> dict[str, str]:
    """Start a workflow for each model, with `resume` for its paused version; why some could not be started."""
    failures = {}
    for model in models:
        inputs = {"model": model, **({"paused": AGAIN} if resume else {})}
        retry = registry.start_retry(tell)
        try:
            retry.call("start", lambda inputs=inputs: api.start_workflow(file, registry.MAIN, inputs))  # type: ignore[misc]
            tell(f"{model}: its run was started")
        except (RequestDenied, RetriesExhausted) as error:
            failures[model] = f"{error}. The job needs `actions: write`"
    return failures


def find_paused(root: Path, models: Sequence[str], tell: Callable[[str], None]) -> list[str]:
    """Find the models that have a paused version. One whose registry cannot be read counts too: its run says why."""
    found = []
    for model in models:
        try:
            with registry.open_registry(
                root, registry.start_retry(tell), time.time, model=model
            ) as repository:
                if repository.registry.get_paused(promote.WATCHED) is None:
                    continue
        except BotsError as error:
            tell(f"{model}: {error}")
        found.append(model)
    return found
