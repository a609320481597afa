"""Which stages need not wait for each other, and whether the lock still says what the checkout holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from graphlib import TopologicalSorter
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from bots.dvc import cache
from bots.dvc.lockfile import Lock, flatten

Stages = Mapping[str, Mapping[str, Any]]


def waves(stages: Stages) -> list[list[str]]:
    """The stages in an order in which they can run: waves after each other.

    A stage that comes before or after every other one is a wave by itself. What is left between two of those is a wave
    of stages of which some need not wait for each other.
    """
    needed = needs(stages)
    order = [name for name in TopologicalSorter(needed).static_order() if name in stages]
    before = {name: _reach(name, needed) for name in order}
    found: list[list[str]] = []
    between: list[str] = []
    for name in order:
        related = before[name] | {other for other in order if name in before[other]}
        if len(related) < len(order) - 1:
            between.append(name)
            continue
        found += [between] * bool(between) + [[name]]
        between = []
    return found + [between] * bool(between)


def is_up_to_date(root: Path, stages: Stages, lock: Lock) -> bool:
    """Whether every stage's command, parameters and files in git are those of the lock: a guess that costs no import.

    DVC decides; this only tells beforehand whether there is likely something to run.
    """
    try:
        params = yaml.safe_load((root / "params.yaml").read_text(encoding="utf-8"))
        return all(_is_as_locked(root, name, stage, params, lock) for name, stage in stages.items())
    except (OSError, ValueError, yaml.YAMLError):
        return False


def _is_as_locked(root: Path, name: str, stage: Mapping[str, Any], params: Any, lock: Lock) -> bool:
    known = lock.stages.get(name)
    if (
        known is None
        or known.command != stage.get("cmd")
        or dict(known.params) != dict(_wanted(stage, params))
    ):
        return False
    computed = lock.outputs
    sources = {path: root / path for path in stage.get("deps") or [] if path not in computed}
    return all(
        known.deps.get(path) == f"md5:{cache.md5(file.read_bytes())}"
        for path, file in sources.items()
        if not file.is_dir()
    )


def _wanted(stage: Mapping[str, Any], params: Any) -> Iterator[tuple[str, Any]]:
    for key in stage.get("params") or []:
        value = params
        for part in str(key).split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        yield from flatten(value, str(key)).items()


def needs(stages: Stages) -> dict[str, set[str]]:
    """Each stage with those whose outputs it reads."""
    writers = {path: name for name, stage in stages.items() for path in outputs(stage)}
    return {name: set(_writers_of(stage, writers)) - {name} for name, stage in stages.items()}


def outputs(stage: Mapping[str, Any]) -> Iterator[str]:
    """Every path that a stage of dvc.yaml writes."""
    for kind in ("outs", "metrics", "plots"):
        for out in stage.get(kind) or []:
            yield from out if isinstance(out, Mapping) else [str(out)]


def _writers_of(stage: Mapping[str, Any], writers: Mapping[str, str]) -> Iterator[str]:
    """Who writes what a stage reads: the path itself, a folder that holds it, or something inside of it."""
    for dep in map(PurePosixPath, stage.get("deps") or []):
        for path, name in writers.items():
            out = PurePosixPath(path)
            if dep == out or out in dep.parents or dep in out.parents:
                yield name


def _reach(name: str, needed: Mapping[str, set[str]]) -> set[str]:
    found: set[str] = set()
    waiting = [name]
    while waiting:
        fresh = needed[waiting.pop()] - found
        found |= fresh
        waiting += fresh
    return found
