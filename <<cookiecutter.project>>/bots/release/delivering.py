"""Brings a version into its stages, one after the other, and back: what is done already is read from the registry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from bots.release import versions
from bots.release.making import Failed
from bots.release.registry import RegistryError
from bots.release.report import Failure
from bots.release.versions import STAGES, Registry, Release, Stage

if TYPE_CHECKING:
    from bots.release.engine import Engine
    from bots.release.registry import Book

Until = Literal["version", "staging", "production"]


@dataclass(frozen=True)
class Delivery:
    """What became of a version on its way: in words, one a stage, and whether any stage has it anew."""

    words: tuple[str, ...]
    moved: bool


def deliver(
    book: Book,
    release: Release,
    until: Until,
    by: str,
    engine: Callable[[], Engine],
    tell: Callable[[str], None],
) -> Delivery:
    """Put a version into each stage up to `until`, unless a stage has moved on. Raises `Failed`, `EngineFailed`."""
    words, moved = [], False
    for stage in STAGES[: STAGES.index(until) + 1] if until != "version" else ():
        running = book.registry.running(stage)
        if running is not None and running.version == release.version:
            words.append(f"{stage} has {release.version} since {book.registry.since(stage)}")
            continue
        if reason := versions.superseded(book.registry, stage, release.version):
            if _was_taken_back(book, stage, release):
                raise Failed(Failure("rolled back", reason, release.commit, release.version, stage))
            return Delivery((*words, reason), moved)
        _roll_out(book, stage, release, by, engine, tell)
        words.append(f"{stage} has {release.version} now")
        moved = True
    return Delivery(tuple(words), moved)


def pending(registry: Registry, release: Release) -> list[Stage]:
    """The stages that a version is still to be put into."""
    return [
        stage
        for stage in STAGES
        if (running := registry.running(stage)) is None or running.version != release.version
        if versions.superseded(registry, stage, release.version) is None
    ]


def _was_taken_back(book: Book, stage: Stage, release: Release) -> bool:
    return any(one.rejected == release.version for one in book.registry.history(stage))


def _roll_out(
    book: Book,
    stage: Stage,
    release: Release,
    by: str,
    engine: Callable[[], Engine],
    tell: Callable[[str], None],
) -> None:
    tell(f"rolling {release.version} out to {stage}")
    outcome = engine().roll_out(stage, release.image, release.lineage)
    if outcome.done == "running":
        book.assign(stage, release, by=by, checks=outcome.checks)
        return
    running = book.registry.running(stage)
    stays = book.registry.version(running.version) if running else None
    if stays is not None:
        book.assign(
            stage, stays, by="canary", reason=outcome.words[:900], rejected=release.version, checks=()
        )
    failure = Failure(
        "rolled back", outcome.words, release.commit, release.version, stage, tuple(outcome.checks)
    )
    raise Failed(failure)


def back(
    book: Book,
    stage: Stage,
    to: str | None,
    by: str,
    reason: str | None,
    engine: Callable[[], Engine],
    tell: Callable[[str], None],
) -> tuple[Release, Release | None]:
    """Put an earlier version back, as it was built then; it, and what it takes the place of.

    Raises `RegistryError` where there is none, `EngineFailed`.
    """
    release = book.registry.version(to) if to else versions.before(book.registry, stage)
    if release is None:
        known = ", ".join(one.version for one in reversed(book.registry.releases)) or "none"
        what = (
            f"there is no version {to}"
            if to
            else f"{stage} had no other version before; name one: --to VERSION"
        )
        raise RegistryError(f"{what}. Versions: {known}")
    running = book.registry.running(stage)
    taken_out = book.registry.version(running.version) if running else None
    if taken_out == release:
        return release, None
    tell(f"putting {release.version} back into {stage}")
    outcome = engine().restore(stage, release.image, release.lineage)
    if outcome.done != "running":
        raise RegistryError(f"{release.version} could not be put back into {stage}: {outcome.words}")
    book.assign(stage, release, by=by, reason=reason, checks=outcome.checks)
    return release, taken_out
