"""Finds parts of a pipeline that a review would not read, so that a change of them is refused and not called none.

A review reads one dvc.yaml and one dvc.lock, those at the project's root, with paths from there.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from bots import layout
from bots.dvc import cache, stage_graph
from bots.dvc.command_line import DvcError
from bots.dvc.lockfile import Lock
from bots.dvc.other_models import is_left_alone
from bots.dvc.stage_graph import Stages


class Unread(NamedTuple):
    """A stage, or a file of stages, that a review does not read, and why, as a sentence that says what to do."""

    stage: str
    words: str


def require_project(root: Path) -> None:
    """Raise `DvcError` where DVC's project is not this folder: none, or one around it."""
    if (root / ".dvc").is_dir():
        return
    here = root.resolve()
    around = next((parent for parent in here.parents if (parent / ".dvc").is_dir()), None)
    if around is None:
        raise DvcError(f"{here} is no DVC project: there is no .dvc folder; `dvc init --subdir` makes one")
    raise DvcError(
        f"{here} lies inside of the DVC project {around}, and the bots read only a project of its own: run "
        f"`dvc init --subdir` here, copy the remote from {os.path.relpath(around, here)}/.dvc/config, and `dvc repro`"
    )


def find_unread(root: Path, stages: Stages, lock: Lock, left_alone: Collection[str]) -> Iterator[Unread]:
    """Yield what a review of this checkout would not read. `left_alone` are the dvc.yaml files that it need not."""
    for path in sorted(cache.list_paths(root, None)):
        place = PurePosixPath(path)
        if place.name == layout.DVC_YAML and path != layout.DVC_YAML and not is_left_alone(path, left_alone):
            yield Unread(
                path,
                f"{path} has stages of its own, and a review reads only the {layout.DVC_YAML} at the root: move them "
                f"there, with paths from the root, or name {path} in review.unjudged of main's {layout.PARAMS}",
            )
    params = stage_graph.load_params(root)
    for name, stage in stages.items():
        folder = PurePosixPath(str(stage.get("wdir") or "."))
        if folder != PurePosixPath():
            yield Unread(
                name,
                f"it runs in {folder} (`wdir` in {layout.DVC_YAML}), and a review reads paths from the root: write "
                f"`cmd: cd {folder} && …`, and its deps and outs as {folder}/…",
            )
        if stage.get("frozen") and _has_changed(root, name, stage, params=params, lock=lock):
            yield Unread(
                name,
                f"it is frozen in {layout.DVC_YAML}, so DVC does not run it, and what it reads is not what its record "
                f"in {layout.DVC_LOCK} says: take `frozen` out, or run `dvc repro --force {name}` and commit that",
            )


def _has_changed(root: Path, name: str, stage: Mapping[str, Any], *, params: Any, lock: Lock) -> bool:
    """Whether a stage's command, parameters or files are others than its record says, as far as they are here."""
    known = lock.stages.get(name)
    if known is None or known.command != stage.get("cmd"):
        return True
    if any(known.params.get(key) != value for key, value in stage_graph.find_params(stage, params)):
        return True
    files = {path: root / path for path in map(str, stage.get("deps") or []) if (root / path).is_file()}
    return any(
        known.deps.get(path) != f"md5:{cache.compute_md5(file.read_bytes())}" for path, file in files.items()
    )
