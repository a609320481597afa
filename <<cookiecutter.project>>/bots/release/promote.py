"""Brings a version into its stages, one after the other, and back: what is done already is read from the registry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from bots.release import versions
from bots.release.build_version import Failed
from bots.release.registry import RegistryError
from bots.release.report import Failure
from bots.release.versions import Registry, Release, Stage

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
    for step in versions.route(book.registry, release.version, until):
        if step.goes:
            _roll_out(book, step.stage, release, by, engine, tell)
        elif _was_taken_back(book, step.stage, release):
            raise Failed(Failure("rolled back", step.words, release.commit, release.version, step.stage))
        moved |= step.goes
        words.append(step.words or f"{step.stage} has {release.version} now")
    return Delivery(tuple(words), moved)


def pending(registry: Registry, release: Release) -> list[Stage]:
    """The stages that a version is still to be put into."""
    return [step.stage for step in versions.route(registry, release.version, "production") if step.goes]


def _was_taken_back(book: Book, stage: Stage, release: Release) -> bool:
    running = book.registry.running(stage)
    rejected = any(one.rejected == release.version for one in book.registry.history(stage))
    return rejected and (running is None or running.version != release.version)


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
