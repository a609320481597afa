"""Brings a version to a stage: a canary first, watched; then the stable version, or everything as it was.

Where it stands is read from what runs, never remembered: killed anywhere and run again, it ends in the same state.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import msgspec
from msgspec import Struct

from bots.deploy import prometheus
from bots.deploy.canary import Judgement, Watch, judge
from bots.deploy.target import NotReady, Version
from bots.stats import significance

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bots.deploy.prometheus import Reading
    from bots.deploy.target import Target
    from bots.settings import Canary


class Outcome(Struct, frozen=True):
    """What became of it. `runs` is the stable version now, None when nothing runs; `seconds` is how long it took.

    `rolled back` and `failed` differ in that nothing ran before the latter. `judgement` is there where a canary was
    watched.
    """

    done: Literal["promoted", "deployed", "runs already", "rolled back", "failed"]
    words: str
    runs: Version | None
    previous: Version | None
    judgement: Judgement | None
    seconds: float

    @property
    def well(self) -> bool:
        """Whether the wanted version runs."""
        return self.done in ("promoted", "deployed", "runs already")


class _Holdout(Struct):
    """What a contract says of its model's scores on the holdout."""

    grid: list[float]
    holdout: list[int]


@dataclass(frozen=True)
class Clock:
    """Seconds that only grow, and a wait."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


def roll_out(
    target: Target,
    reference: str,
    version: str,
    policy: Canary,
    *,
    watch: bool,
    tell: Callable[[str], None],
    clock: Clock | None = None,
) -> Outcome:
    """Make the image at `reference` (by digest) the stable version of a stage.

    With `watch` a canary gets its share of the traffic and is judged; without (staging, which has no traffic of its
    own, and a return to an earlier version) it need only become ready. Raises `EngineError` when the place does not
    answer.
    """
    clock = clock or Clock()
    since, wanted = clock.now(), Version(reference, version)
    target.prepare()
    _finish(target, tell)
    before = target.state()
    former = before.stable

    def outcome(
        done: Literal["promoted", "deployed", "runs already", "rolled back", "failed"],
        words: str,
        judgement: Judgement | None = None,
    ) -> Outcome:
        tell(f"{done}: {words}")
        return Outcome(done, words, target.state().stable, former, judgement, clock.now() - since)

    try:
        if former is None or former.reference == reference:
            target.promote(former or wanted)
            if former:
                return outcome("runs already", f"{former.name or version} is the stable version")
            return outcome("deployed", f"{version} is the first one here")
        if before.canary is not None and before.canary.reference != reference:
            target.withdraw()
        target.offer(wanted, former)
        judgement = _watched(target, policy, clock, tell) if watch else None
        if judgement is not None and judgement.decision == "roll back":
            target.withdraw()
            return outcome("rolled back", judgement.words, judgement)
        target.promote(wanted)
    except NotReady as error:
        target.withdraw()
        runs = target.state().stable
        return outcome("rolled back" if runs and runs.reference != reference else "failed", str(error))
    words = judgement.words if judgement else f"{version} is ready and has taken over"
    return outcome("promoted", words, judgement)


def _finish(target: Target, tell: Callable[[str], None]) -> None:
    """End a promotion that a lost bot began: nothing else takes the stable version away while there is a canary."""
    left = target.state()
    if left.stable is None and left.canary is not None:
        tell(f"finishing the promotion of {left.canary.name}")
        try:
            target.promote(left.canary)
        except NotReady as error:
            tell(str(error))


def _watched(target: Target, policy: Canary, clock: Clock, tell: Callable[[str], None]) -> Judgement:
    """Give the canary its share, and look until it can be judged."""
    allowed = reviewed_shift(target.contract("stable"), target.contract("canary"))
    target.share(policy.share)
    tell(f"watching it with {policy.share:.0%} of the requests")
    since = clock.now()
    begun = _readings(target, "canary"), _readings(target, "stable")
    while True:
        clock.sleep(policy.every)
        health = target.health("canary")
        seen = Watch(
            canary=prometheus.since(begun[0], _readings(target, "canary")),
            stable=prometheus.since(begun[1], _readings(target, "stable")),
            seconds=clock.now() - since,
            restarts=health.restarts,
            alive=health.alive,
            allowed=allowed,
        )
        judgement = judge(seen, policy)
        if judgement.decision != "wait":
            return judgement
        tell(f"watching: {judgement.words}")


def _readings(target: Target, role: Literal["stable", "canary"]) -> Mapping[str, Reading]:
    return {name: prometheus.read(text) for name, text in target.metrics(role).items()}


def reviewed_shift(stable: bytes | None, canary: bytes | None) -> float:
    """How far the two models' scores on the holdout already were from each other when the change was reviewed.

    The stability index of the histograms in their contracts; 0 where they cannot be compared.
    """
    if stable is None or canary is None:
        return 0.0
    try:
        old, new = (msgspec.json.decode(text, type=_Holdout) for text in (stable, canary))
    except msgspec.DecodeError:
        return 0.0
    if old.grid != new.grid or len(old.holdout) != len(new.holdout):
        return 0.0
    return significance.compute_stability_index(new.holdout, old.holdout)
