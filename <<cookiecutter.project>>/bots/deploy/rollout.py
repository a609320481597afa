"""Brings a version to a stage: first as a canary that is watched, then as the stable version, or everything as before.

The state is read from what runs, never remembered: killed anywhere and run again, a roll-out ends in the same state.
Where nobody can tell yet, the canary is paused: it stays with its share of the requests, and the roll-out hands over
what the next one goes on from.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from bots.deploy import prometheus
from bots.deploy.canary import CanaryDecision, CanaryObservation, decide_canary
from bots.deploy.target import NotReady, Version
from bots.deploy.watch import MOST_WATCHES, Tried, Watch
from bots.stats import significance

if TYPE_CHECKING:
    from bots.deploy.prometheus import ServiceCounters
    from bots.deploy.target import Role, State, Target
    from bots.settings import Canary


Halt = Callable[[], str | None]
"""Says why a person wants nothing new to come in now; None where nobody does."""
Done = Literal["promoted", "deployed", "runs already", "paused", "rolled back", "failed"]


def never_halt() -> None:
    """Halt nothing: a person said so, or nobody can put this stage on hold."""


class RolloutResult(Struct, frozen=True, kw_only=True):
    """How a roll-out ended. `runs` is the stable version now, None when nothing runs; `seconds` is how long it took.

    `rolled back` and `failed` differ in that nothing ran before the latter. `decision` is there where a canary was
    watched, and `watch` where it is `paused`: it runs beside the stable version, with its share of the requests.
    """

    done: Done
    words: str
    runs: Version | None
    previous: Version | None
    decision: CanaryDecision | None
    seconds: float
    watch: Watch | None = None

    @property
    def succeeded(self) -> bool:
        """Whether the wanted version runs."""
        return self.done in ("promoted", "deployed", "runs already")


class _Holdout(Struct):
    """What a contract says of its model's answers on the holdout: scores, and what rows are called."""

    grid: list[float]
    holdout: list[int]
    task: str = ""
    classes: list[str] = []
    called: list[int] = []


@dataclass(frozen=True)
class Clock:
    """Seconds that only grow, a wait, and seconds since 1970, which another machine knows as well."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    wall: Callable[[], float] = time.time


def roll_out(
    target: Target,
    wanted: Version,
    policy: Canary,
    *,
    watch: bool,
    tell: Callable[[str], None],
    shadow: bool = False,
    paused: Watch | None = None,
    halt: Halt = never_halt,
    clock: Clock | None = None,
) -> RolloutResult:
    """Make a version the stable version of a stage.

    With `watch` a canary gets its share of the requests and is judged; without (staging, which has no requests of its
    own, a return to an earlier version, and a person's word) it need only become ready. With `shadow` it first gets
    copies of the requests, is judged, and only then a canary. One that was `paused` is judged at once, by all that came
    since it began. `halt` is asked at each look: one that would be watched longer or promoted is paused then. Raises
    `EngineError` when the stage does not answer.
    """
    clock = clock or Clock()
    since = clock.now()
    target.prepare()
    _finish_promotion(target, tell)
    before = target.get_state()
    former = before.stable

    def conclude(
        done: Done, words: str, decision: CanaryDecision | None = None, watched: Watch | None = None
    ) -> RolloutResult:
        tell(f"{done}: {words}")
        return RolloutResult(
            done=done,
            words=words,
            runs=target.get_state().stable,
            previous=former,
            decision=decision,
            seconds=clock.now() - since,
            watch=watched,
        )

    try:
        if former is None or former.reference == wanted.reference:
            target.remove_shadow()
            target.promote(former or wanted)
            if former:
                return conclude("runs already", f"{former.name or wanted.name} is the stable version")
            return conclude("deployed", f"{wanted.name} is the first one here")
        if before.canary is not None and not _is_same(before.canary, wanted):
            target.withdraw()
        if before.shadow is not None and not (watch and shadow and _is_same(before.shadow, wanted)):
            target.remove_shadow()
        decision = None
        if watch:
            decision, watched = _try_out(
                target,
                wanted,
                before,
                policy,
                shadow=shadow,
                paused=paused,
                halt=halt,
                clock=clock,
                tell=tell,
            )
            if decision.action == "pause":
                return conclude("paused", decision.words, decision, watched)
            if decision.action == "roll back":
                _take_out(target)
                return conclude("rolled back", decision.words, decision)
        else:
            target.start_canary(wanted, former)
        target.promote(wanted)
    except NotReady as error:
        _take_out(target)
        runs = target.get_state().stable
        old_runs = runs is not None and runs.reference != wanted.reference
        return conclude("rolled back" if old_runs else "failed", str(error))
    words = decision.words if decision else f"{wanted.name} is ready and has taken over"
    return conclude("promoted", words, decision)


def _is_same(there: Version | None, wanted: Version) -> bool:
    return there is not None and there.reference == wanted.reference


def _take_out(target: Target) -> None:
    """Take the new version out, whichever role it has."""
    target.withdraw()
    target.remove_shadow()


def _try_out(
    target: Target,
    wanted: Version,
    before: State,
    policy: Canary,
    *,
    shadow: bool,
    paused: Watch | None,
    halt: Halt,
    clock: Clock,
    tell: Callable[[str], None],
) -> tuple[CanaryDecision, Watch]:
    """Try the version, first as a shadow where that is wanted, then as a canary; the decision that ends this."""
    is_canary = _is_same(before.canary, wanted)
    goes_on = (paused.role if paused else "") if is_canary or _is_same(before.shadow, wanted) else ""
    if shadow and not is_canary:
        target.start_shadow(wanted)
        since = paused if goes_on == "shadow" else None
        decision, watched = _watch(target, "shadow", policy, since, halt=halt, clock=clock, tell=tell)
        decision = replace(decision, words=f"as a shadow: {decision.words}")
        if decision.action != "promote":
            return decision, watched
        tell(decision.words)
        target.remove_shadow()
    target.start_canary(wanted, before.stable)
    since = paused if is_canary and goes_on == "canary" else None
    return _watch(target, "canary", policy, since, halt=halt, clock=clock, tell=tell)


def _finish_promotion(target: Target, tell: Callable[[str], None]) -> None:
    """Finish a promotion that a killed bot began: nothing else leaves a canary without a stable version."""
    left = target.get_state()
    if left.stable is None and left.canary is not None:
        tell(f"finishing the promotion of {left.canary.name}")
        try:
            target.promote(left.canary)
        except NotReady as error:
            tell(str(error))


def _watch(
    target: Target,
    role: Tried,
    policy: Canary,
    paused: Watch | None,
    *,
    halt: Halt,
    clock: Clock,
    tell: Callable[[str], None],
) -> tuple[CanaryDecision, Watch]:
    """Watch a canary with its share of the requests, or a shadow with copies, until a decision ends that."""
    contracts = target.load_contract("stable"), target.load_contract(role)
    allowed, allowed_called = measure_reviewed_shift(*contracts), measure_reviewed_classes(*contracts)
    if role == "canary":
        target.set_share(policy.share)
    if paused:
        tell(f"judging it again by all that came since {paused.format_start()}")
        watch = replace(paused, watches=min(paused.watches + 1, MOST_WATCHES))
    else:
        how = f"{policy.share:.0%} of the requests" if role == "canary" else "copies of the requests"
        tell(f"watching it with {how}")
        watch = Watch(
            since=clock.wall(),
            role=role,
            watched=Watch.pack(_load_counters(target, role)),
            stable=Watch.pack(_load_counters(target, "stable")),
        )
    since = clock.now()
    while True:
        if not paused:
            clock.sleep(policy.every)
        seconds = clock.wall() - watch.since if paused else clock.now() - since
        seen = dataclasses.replace(
            _observe(target, watch, seconds=max(0.0, seconds), last=paused is not None),
            allowed=allowed,
            allowed_called=allowed_called,
        )
        decision = decide_canary(seen, policy)
        if decision.judged:
            watch = replace(watch, judged=watch.judged + 1, judged_at=seen.canary.requests)
        # What harms callers leaves all the same.
        if decision.action in ("wait", "promote") and (why := halt()):
            decision = replace(decision, action="pause", words=why)
        if decision.action != "wait":
            return decision, watch
        tell(f"watching: {decision.words}")


def _observe(target: Target, watch: Watch, *, seconds: float, last: bool) -> CanaryObservation:
    """Look at both versions once."""
    health = target.check_health(watch.role)
    return CanaryObservation(
        canary=prometheus.count_since(watch.unpack("watched"), _load_counters(target, watch.role)),
        stable=prometheus.count_since(watch.unpack("stable"), _load_counters(target, "stable")),
        seconds=seconds,
        restarts=health.restarts,
        alive=health.alive,
        judged=watch.judged,
        judged_at=watch.judged_at,
        watches=watch.watches,
        last=last,
        shadow=watch.role == "shadow",
    )


def _load_counters(target: Target, role: Role) -> Mapping[str, ServiceCounters]:
    return {name: prometheus.parse_metrics(text) for name, text in target.load_metrics(role).items()}


def measure_reviewed_shift(stable: bytes | None, canary: bytes | None) -> float:
    """Measure how far the two models' scores on the holdout were from each other when the change was reviewed.

    That is the stability index of the histograms in their contracts; 0 where they cannot be compared.
    """
    found = _decode_holdouts(stable, canary)
    if found is None:
        return 0.0
    old, new = found
    if old.task != new.task or old.grid != new.grid or len(old.holdout) != len(new.holdout):
        return 0.0
    return significance.compute_stability_index(new.holdout, old.holdout)


def measure_reviewed_classes(stable: bytes | None, canary: bytes | None) -> float:
    """Measure how differently the two models called the holdout's rows when the change was reviewed.

    That is the stability index of what rows are called, over the classes of both; 0 where they cannot be compared.
    """
    found = _decode_holdouts(stable, canary)
    if found is None or not all(one.called and len(one.called) == len(one.classes) for one in found):
        return 0.0
    old, new = (dict(zip(one.classes, one.called, strict=True)) for one in found)
    names = sorted({*old, *new})
    return significance.compute_stability_index(
        [new.get(name, 0) for name in names], [old.get(name, 0) for name in names]
    )


def _decode_holdouts(stable: bytes | None, canary: bytes | None) -> tuple[_Holdout, _Holdout] | None:
    """Decode what two contracts say of the holdout; None where one is missing or cannot be read."""
    if stable is None or canary is None:
        return None
    try:
        return msgspec.json.decode(stable, type=_Holdout), msgspec.json.decode(canary, type=_Holdout)
    except msgspec.DecodeError:
        return None
