"""Brings a version into its stages, one after the other, and back. What is done already is read from the registry."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal

from msgspec import structs

from bots.errors import BotsError
from bots.release import versions
from bots.release.failure import Failure, ReleaseFailed
from bots.release.lease import Lease, hold_stage
from bots.release.registry import RegistryError
from bots.release.versions import Registry, Release, Stage, Step
from bots.retry import RetriesExhausted, TemporaryFailure

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from bots.release.engine import Engine, StageResult
    from bots.release.judgement import Judge
    from bots.release.registry import RegistryRepository

Until = Literal["version", "staging", "production"]
WATCHED: Final[Stage] = "production"
"""The stage whose requests judge a canary, so that one may be paused there."""


@dataclass(frozen=True, kw_only=True)
class Promotion:
    """What a version is brought into its stages with. `by` is who does it."""

    repository: RegistryRepository
    engine: Engine
    by: str
    tell: Callable[[str], None]
    judge: Judge

    def hold(self, stage: Stage) -> AbstractContextManager[Lease]:
        """Hold a stage, so that a roll-out and a rollback never change it both at once."""
        return hold_stage(Lease(self.repository, stage, self.by, self.tell))

    def begin_anew(self) -> None:
        """Give requests their whole time again, after what may have taken longer than that."""
        self.repository.retry = self.judge.start_retry()


@dataclass(frozen=True)
class Promoted:
    """How far a version came: one line a stage, and whether any stage has it only since now."""

    words: tuple[str, ...]
    moved: bool


def promote(promotion: Promotion, release: Release, until: Until) -> Promoted:
    """Put a version into each stage up to `until`, unless a stage has a newer one.

    Raises `ReleaseFailed` and `EngineFailed`.
    """
    words, moved = [], False
    for planned in versions.plan_steps(promotion.repository.registry, release.version, until):
        step = _take_step(promotion, planned.stage, release) if planned.goes else planned
        if not step.goes and _was_rejected(promotion.repository.registry, step.stage, release):
            raise ReleaseFailed(
                Failure("rolled back", step.words, release.commit, version=release.version, stage=step.stage)
            )
        moved |= step.goes
        words.append(step.words or f"{step.stage} has {release.version} now")
        if planned.goes and not step.goes and not _has(promotion.repository.registry, planned.stage, release):
            break
    return Promoted(tuple(words), moved)


def _take_step(promotion: Promotion, stage: Stage, release: Release) -> Step:
    """Roll a version out to a stage that nobody else changes meanwhile, if that is still to be done then."""
    with promotion.hold(stage) as lease:
        promotion.begin_anew()
        step = versions.plan_steps(promotion.repository.refresh(), release.version, stage)[-1]
        if step.goes and step.stage == stage:
            return replace(step, words=_roll_out(promotion, stage, release, lease))
        return step


def _has(registry: Registry, stage: Stage, release: Release) -> bool:
    running = registry.get_running(stage)
    return running is not None and running.version == release.version


def list_pending(registry: Registry, release: Release) -> list[Stage]:
    """List the stages that a version is still to be put into."""
    return [step.stage for step in versions.plan_steps(registry, release.version, "production") if step.goes]


def _was_rejected(registry: Registry, stage: Stage, release: Release) -> bool:
    rejected = any(one.rejected == release.version for one in registry.list_assignments(stage))
    return rejected and not _has(registry, stage, release)


def _roll_out(promotion: Promotion, stage: Stage, release: Release, lease: Lease) -> str:
    """Roll a version out to a stage; how that is told. Raises `ReleaseFailed` and `EngineFailed`."""
    repository = promotion.repository
    repository.get_signer()
    promotion.judge.check(release, stage)
    pause = repository.registry.get_paused(stage)
    is_own = pause is not None and pause.paused == release.version
    gone = f"{pause.paused}, which was paused there, gave way to it" if pause and not is_own else ""
    if pause and gone:
        promotion.tell(f"{pause.paused} is paused in {stage} and gives way to {release.version}")
    promotion.tell(f"rolling {release.version} out to {stage}")
    watch = pause.watch if pause and is_own else None
    result = promotion.engine.roll_out(
        stage, release.image, release.lineage, watch, halt=lambda: _find_hold(promotion, stage)
    )
    lease.check()
    promotion.begin_anew()
    _record_result(promotion, stage, release, result, reason=gone or None)
    return f"{stage} has {release.version} now" + (f"; {gone}" if gone else "")


def _find_hold(promotion: Promotion, stage: Stage) -> str | None:
    """Find whether a person has put a stage on hold since its roll-out began; how that is told.

    Asked between two looks at a canary, which may be harming callers: what cannot be read now is asked at the next.
    """
    repository = promotion.repository
    try:
        if repository.has_grown():
            promotion.begin_anew()
            repository.refresh()
    except (TemporaryFailure, RetriesExhausted, BotsError) as error:
        promotion.tell(f"whether {stage} was put on hold cannot be read now: {error}")
    hold = repository.registry.find_hold(stage)
    return f"{versions.describe_hold(hold)}; nothing is judged until a version is promoted" if hold else None


def _record_result(
    promotion: Promotion,
    stage: Stage,
    release: Release,
    result: StageResult,
    *,
    reason: str | None,
    held: bool | None = None,
) -> None:
    """Write down what became of a version in a stage. Raises `ReleaseFailed` where it is not the stable one now.

    `held` False ends the stage's hold.
    """
    repository = promotion.repository
    if result.done == "running":
        repository.assign(stage, release, by=promotion.by, reason=reason, held=held, checks=result.checks)
        return
    running = repository.registry.get_running(stage)
    stays = repository.registry.find_version(running.version) if running else None
    words = "; ".join(part for part in (result.words, reason) if part)
    is_paused = result.done == "paused"
    if stays is not None:
        repository.assign(
            stage,
            stays,
            by="canary",
            reason=words[:900],
            rejected=None if is_paused else release.version,
            paused=release.version if is_paused else None,
            watch=result.watch,
        )
    raise ReleaseFailed(
        Failure(
            "paused" if is_paused else "rolled back",
            words,
            release.commit,
            version=release.version,
            stage=stage,
            checks=tuple(result.checks),
        )
    )


def find_promotable(registry: Registry, expect: str | None = None) -> Release | None:
    """Find the version that a person may promote: the one that is paused, else one that a hold keeps out of production.

    With `expect` it is that version or none. One that a hold keeps out must have been in staging.
    """
    pause = registry.get_paused(WATCHED)
    if pause is not None and pause.paused and expect in (None, pause.paused):
        return registry.find_version(pause.paused)
    if registry.find_hold(WATCHED) is None:
        return None
    lifted = _lift_hold(registry)
    for release in reversed(registry.releases):
        if expect in (None, release.version) and list_pending(lifted, release) == [WATCHED]:
            return release
    return None


def keeps_nothing_out(registry: Registry, expect: str | None = None) -> bool:
    """Tell whether a hold of production has no version behind it, so that promoting only ends it.

    With `expect` that version must be the one that runs.
    """
    running = registry.get_running(WATCHED)
    if running is None or registry.find_hold(WATCHED) is None or expect not in (None, running.version):
        return False
    return find_promotable(registry) is None


def _lift_hold(registry: Registry) -> Registry:
    """The registry as it would be had nobody put production on hold."""
    assignments = tuple(structs.replace(one, held=False) for one in registry.assignments)
    return replace(registry, assignments=assignments)


def promote_held(promotion: Promotion, release: Release, *, reason: str) -> Promoted:
    """End the hold of production, and roll out the version that it kept out, as any release is.

    Raises `ReleaseFailed` and `EngineFailed`.
    """
    promotion.repository.get_signer()
    promotion.judge.check(release, WATCHED)
    promotion.repository.hold(WATCHED, by=promotion.by, reason=reason, held=False)
    return promote(promotion, release, WATCHED)


def resume(promotion: Promotion, release: Release, *, reason: str | None) -> Promoted:
    """Go on with the version that is paused: judge it by all that came since, or with a reason make it the stable one.

    The second ends a hold. Raises `ReleaseFailed` and `EngineFailed`.
    """
    with promotion.hold(WATCHED) as lease:
        promotion.begin_anew()
        pause = promotion.repository.refresh().get_paused(WATCHED)
        if pause is None or pause.paused != release.version:
            return Promoted((f"{release.version} is not paused in {WATCHED} any more",), moved=False)
        if reason is None:
            return Promoted((_roll_out(promotion, WATCHED, release, lease),), moved=True)
        promotion.repository.get_signer()
        promotion.judge.check(release, WATCHED)
        promotion.tell(f"promoting {release.version}, which is paused in {WATCHED}")
        result = promotion.engine.restore(WATCHED, release.image, release.lineage)
        lease.check()
        promotion.begin_anew()
        _record_result(promotion, WATCHED, release, result, reason=reason, held=False)
        return Promoted((f"{WATCHED} has {release.version} now",), moved=True)


def roll_back(
    promotion: Promotion, stage: Stage, *, to: str | None, reason: str | None, expect: str | None = None
) -> tuple[Release, Release | None]:
    """Put an earlier version back, as it was built then; return it and the version that it replaces.

    One that never was in this stage is judged as a release of it is. Where a version is paused there, it is the one
    that goes. Raises `RegistryError` where there is no such version, or where another than `expect` would go,
    `ReleaseFailed`, and `EngineFailed`.
    """
    with promotion.hold(stage) as lease:
        promotion.begin_anew()
        known = promotion.repository.refresh()
        leaving = versions.find_leaving(known, stage, to)
        if expect is not None and leaving != expect:
            raise RegistryError(
                f"{expect} was to leave {stage}, but now {leaving or 'no version'} would: nothing was done. Look what "
                "runs there, and decide anew"
            )
        return _put_back(promotion, stage, lease, to=to, reason=reason)


def _put_back(
    promotion: Promotion, stage: Stage, lease: Lease, *, to: str | None, reason: str | None
) -> tuple[Release, Release | None]:
    registry = promotion.repository.registry
    pause, running = registry.get_paused(stage), registry.get_running(stage)
    if pause and to in (None, pause.version):
        return _end_pause(promotion, stage, lease, reason=reason)
    release = registry.find_version(to) if to else versions.find_previous(registry, stage)
    if release is None:
        known = ", ".join(one.version for one in reversed(registry.releases)) or "none"
        what = (
            f"there is no version {to}{_explain_missing(registry, to)}"
            if to
            else f"{stage} had no other version before; name one: --to VERSION"
        )
        raise RegistryError(f"{what}. Versions: {known}")
    replaced = registry.find_version(running.version) if running else None
    if replaced == release:
        return release, None
    promotion.repository.get_signer()
    if said := promotion.judge.find_misplaced(release):
        raise RegistryError(said)
    if not any(one.version == release.version for one in registry.list_assignments(stage)):
        promotion.judge.check(release, stage)
    promotion.tell(f"putting {release.version} back into {stage}")
    result = promotion.engine.restore(stage, release.image, release.lineage)
    lease.check()
    promotion.begin_anew()
    if result.done != "running":
        raise RegistryError(f"{release.version} could not be put back into {stage}: {result.words}")
    rejected = pause.paused if pause and pause.paused != release.version else None
    promotion.repository.assign(
        stage, release, by=promotion.by, reason=reason, rejected=rejected, checks=result.checks
    )
    return release, replaced


def _end_pause(
    promotion: Promotion, stage: Stage, lease: Lease, *, reason: str | None
) -> tuple[Release, Release | None]:
    """Take the paused version out of a stage; return the one that runs there, and the one that was paused."""
    registry = promotion.repository.registry
    pause = registry.get_paused(stage)
    assert pause is not None
    assert pause.paused is not None
    stays, paused = registry.find_version(pause.version), registry.find_version(pause.paused)
    assert stays is not None
    promotion.repository.get_signer()
    promotion.tell(f"taking {pause.paused} out of {stage}")
    promotion.engine.withdraw(stage)
    lease.check()
    promotion.begin_anew()
    promotion.repository.assign(stage, stays, by=promotion.by, reason=reason, rejected=pause.paused)
    return stays, paused


def _explain_missing(registry: Registry, version: str) -> str:
    """Explain why a version that somebody asks for is not believed, where there is a tag of that number."""
    name = versions.format_version_tag(version, registry.naming)
    return next((f": its tag {one.reason}" for one in registry.skipped if one.name == name), "")
