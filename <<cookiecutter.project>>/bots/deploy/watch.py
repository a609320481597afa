"""Holds what a canary is judged from, so that a paused one is judged by all that came since it began."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Literal

from msgspec import Meta, Struct

from bots.deploy.prometheus import ServiceCounters

MOST_WATCHES = 1000
Tried = Literal["canary", "shadow"]
Text = Annotated[str, Meta(max_length=300)]
Count = Annotated[int, Meta(ge=0)]


class PackedCounters(Struct, frozen=True):
    """`ServiceCounters` as JSON can hold them: statuses and bounds are text, `inf` among them."""

    statuses: dict[Text, Count] = {}
    seconds: dict[Text, Count] = {}
    scores: dict[Text, Count] = {}
    lost: Count = 0
    classes: dict[Text, Count] = {}


class Watch(Struct, frozen=True, kw_only=True):
    """What a watch began with: `since` (seconds since 1970), and the counters of each instance then, by its name.

    `judged` is how often everything was tested, the last time with `judged_at` of the canary's requests; `watches` is
    how often somebody looked at it, the pauses between not counted. `role` is the one that is watched: a shadow gets
    copies of the requests, a canary a share of them.
    """

    since: float
    role: Tried = "canary"
    watched: dict[Text, PackedCounters]
    stable: dict[Text, PackedCounters]
    judged: Annotated[int, Meta(ge=0, le=1000)] = 0
    judged_at: Count = 0
    watches: Annotated[int, Meta(ge=1, le=MOST_WATCHES)] = 1

    @staticmethod
    def pack(counters: Mapping[str, ServiceCounters]) -> dict[str, PackedCounters]:
        """Pack the counters of each instance."""
        return {
            name: PackedCounters(
                statuses={str(status): count for status, count in one.statuses.items()},
                seconds={str(bound): count for bound, count in one.seconds.items()},
                scores={str(bound): count for bound, count in one.scores.items()},
                lost=one.lost,
                classes=dict(one.classes),
            )
            for name, one in counters.items()
        }

    def unpack(self, which: Literal["stable", "watched"]) -> dict[str, ServiceCounters]:
        """Unpack the counters of each instance."""
        return {
            name: ServiceCounters(
                Counter({int(status): count for status, count in one.statuses.items()}),
                seconds={float(bound): count for bound, count in one.seconds.items()},
                scores={float(bound): count for bound, count in one.scores.items()},
                lost=one.lost,
                classes=one.classes,
            )
            for name, one in (self.watched if which == "watched" else self.stable).items()
        }

    def format_start(self) -> str:
        """When it began: `2026-02-02 02:02 UTC`."""
        return datetime.fromtimestamp(self.since, UTC).strftime("%Y-%m-%d %H:%M UTC")
