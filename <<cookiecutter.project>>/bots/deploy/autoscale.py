"""Decides by load how many containers of the stable version there are, as the autoscaler of Kubernetes does.

The requests in work, on average since the look before, are Little's law: how many come in a second, times the seconds
that one takes as the proxy sees it. More containers come at once; fewer only where fewer were enough for a while.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bots.errors import BotsError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from bots.deploy.compose import Compose
    from bots.deploy.haproxy import Traffic
    from bots.settings import Replicas

# A load that differs by less from what the containers should have changes nothing: Kubernetes has the same figure.
TOLERANCE = 0.1
# A container that has fewer requests in work than this is slow by itself, and more of them would not help.
BUSY = 0.5


@dataclass(frozen=True)
class Load:
    """What `replicas` containers had to do between two looks: requests in work, all together, and mean seconds of one.

    `seconds` is None where nobody asked.
    """

    replicas: int
    in_work: float
    seconds: float | None


@dataclass(frozen=True)
class Wish:
    """How many containers a look found right, and when (seconds)."""

    at: float
    number: int


def measure_load(before: Traffic, now: Traffic, *, seconds: float, replicas: int) -> Load:
    """Measure the load between two looks, which are so many seconds apart. A proxy that started anew counts from 0.

    The mean of the newest seconds follows slowly where a model is slow; what was in work at both looks is seen at once.
    """
    asked, spent = 0, 0.0
    for name, requests in now.requests.items():
        earlier = before.requests.get(name, 0)
        came = requests - earlier if requests >= earlier else requests
        asked += came
        spent += came * now.seconds.get(name, 0.0)
    in_work = max(spent / seconds, float(min(before.busy, now.busy)))
    return Load(replicas, in_work, spent / asked if asked else None)


def find_wish(load: Load, policy: Replicas) -> int:
    """Find how many containers the load asks for, within the limits and at most twice as many as there are."""
    each = load.in_work / load.replicas
    wanted = load.replicas
    if abs(each / policy.in_work - 1) > TOLERANCE:
        wanted = math.ceil(load.in_work / policy.in_work - 1e-9)
    if policy.latency is not None and load.seconds is not None:
        if load.seconds > policy.latency and each >= BUSY:
            wanted = max(wanted, load.replicas + 1)
        elif load.seconds > policy.latency / 2 and each >= BUSY:
            wanted = max(wanted, load.replicas)
    return max(policy.least, min(policy.most, 2 * load.replicas, wanted))


def decide_replicas(
    load: Load, wishes: Sequence[Wish], since: float, now: float, policy: Replicas
) -> tuple[int, list[Wish]]:
    """Decide how many containers there are from now on, and which wishes to remember.

    More than there are: at once. Fewer: the most that any look of the last `patience` seconds found right, once it has
    looked for so long (`since`). Times in seconds of one clock.
    """
    kept = [wish for wish in wishes if wish.at > now - policy.patience]
    kept.append(Wish(now, find_wish(load, policy)))
    highest = max(wish.number for wish in kept)
    if kept[-1].number >= load.replicas:
        return kept[-1].number, kept
    if now - since < policy.patience:
        return max(policy.least, min(policy.most, load.replicas)), kept
    return max(policy.least, min(policy.most, load.replicas, highest)), kept


@dataclass
class Autoscaler:
    """Looks at a stage again and again, and scales it. It remembers nothing that a new one could not find out."""

    open_stage: Callable[[], AbstractContextManager[Compose]]
    tell: Callable[[str], None]
    clock: Callable[[], float]
    since: float | None = None
    before: tuple[float, Traffic] | None = None
    wishes: list[Wish] = field(default_factory=list)
    trouble: str = ""
    every: float = 10.0

    def look(self) -> None:
        """Look once, and do what the load asks for. Raises `BotsError` where the stage cannot be seen or scaled."""
        with self.open_stage() as stage:
            if stage.is_promoting():
                self.before = None
                return
            policy, replicas = stage.replicas, stage.count_replicas()
            now, traffic, self.every = self.clock(), stage.load_traffic(), policy.every
            before, self.before = self.before, (now, traffic)
            self.since = now if self.since is None else self.since
            begun = stage.count_replicas(ended=True)
            wanted = max(policy.least, min(policy.most, begun))
            words = "one ended" if replicas < begun else "the limits of params.yaml"
            if before and replicas:
                load = measure_load(before[1], traffic, seconds=max(now - before[0], 1e-3), replicas=replicas)
                number, self.wishes = decide_replicas(load, self.wishes, self.since, now, policy)
                if number != replicas:
                    wanted, words = number, describe_load(load)
            if wanted != replicas:
                if replicas:
                    self.tell(f"{replicas} -> {wanted}: {words}")
                stage.scale(wanted)
                # What was counted while containers came or went says little about those that are there now.
                self.before = (self.clock(), stage.load_traffic())

    def try_look(self) -> None:
        """Look once; say what goes wrong, the same words only once, and go on."""
        try:
            self.look()
        except BotsError as error:
            if str(error) != self.trouble:
                self.tell(f"WARNING: {error}")
            self.trouble = str(error)
            self.before = None
        else:
            self.trouble = ""


def describe_load(load: Load) -> str:
    """Describe a load: `5.2 requests in work at 2, 61 ms each`."""
    took = "" if load.seconds is None else f", {load.seconds * 1000:.0f} ms each"
    return f"{load.in_work:.1f} requests in work at {load.replicas}{took}"
