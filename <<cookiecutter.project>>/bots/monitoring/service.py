"""Reads what the service counts of itself, so that two looks at it tell what happened between them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from msgspec import Struct

from bots.deploy import prometheus
from bots.evidence import Count
from bots.observations import Instant

PREDICT: Final = "/predict"
READY: Final = "/health/ready"


class ServiceCounts(Struct, frozen=True, kw_only=True):
    """What one instance of the service counted: answers on the prediction route (`answered` 2xx, `refused` 4xx,
    `failed` 5xx), how often it called itself `ready` or not, log entries `lost`.

    `seconds`: bound (as text, `inf` among them) -> how many answers took at most that.
    """

    answered: Count = 0
    refused: Count = 0
    failed: Count = 0
    ready: Count = 0
    not_ready: Count = 0
    lost: Count = 0
    seconds: dict[str, Count] = {}

    @property
    def requests(self) -> int:
        """How many requests for predictions it answered, well or not."""
        return self.answered + self.refused + self.failed

    def find_quantile(self, q: float) -> float:
        """Find the seconds that the share `q` of the answers took at most; infinite where there were none."""
        return prometheus.estimate_quantile({float(name): count for name, count in self.seconds.items()}, q)


class ServiceLook(Struct, frozen=True, kw_only=True):
    """One look at the running service: what each of its instances counted since it started, by the instance's name.

    Without an instance it did not answer: it does not run, or is not reachable from here.
    """

    at: Instant
    instances: dict[str, ServiceCounts] = {}

    @property
    def answered(self) -> bool:
        """Whether any instance answered."""
        return bool(self.instances)


def read_look(texts: Mapping[str, str], at: Instant) -> ServiceLook:
    """Read a look from Prometheus' text of each instance, by its name. Raises `MetricsError`."""
    return ServiceLook(at=at, instances={name: _read_counts(text) for name, text in texts.items()})


def _read_counts(text: str) -> ServiceCounts:
    found: Counter[str] = Counter()
    seconds: Counter[str] = Counter()
    for sample in prometheus.parse_samples(text):
        route, status = sample.labels.get("route"), sample.labels.get("status", "")
        if not math.isfinite(sample.value):
            continue
        count = max(0, int(sample.value))
        if sample.name == "model_requests_total" and route == PREDICT:
            kind = {"2": "answered", "4": "refused", "5": "failed"}.get(status[:1])
            found[kind or "other"] += count
        elif sample.name == "model_requests_total" and route == READY:
            found["ready" if status[:1] == "2" else "not_ready"] += count
        elif sample.name == "model_request_seconds_bucket" and route == PREDICT:
            seconds[str(float(sample.labels.get("le", "inf")))] += count
        elif sample.name == "model_log_lost_total":
            found["lost"] += count
    found.pop("other", None)
    return ServiceCounts(**found, seconds=dict(seconds))


def count_between(before: ServiceLook | None, after: ServiceLook) -> ServiceCounts:
    """Count what happened between two looks, all instances together.

    An instance that was not there before, or whose counters fell because it started anew, counts whole.
    """
    earlier = before.instances if before else {}
    return add_counts(_subtract(earlier.get(name), now) for name, now in after.instances.items())


def _subtract(before: ServiceCounts | None, now: ServiceCounts) -> ServiceCounts:
    if before is None or now.requests < before.requests or now.ready < before.ready:
        return now
    names = ("answered", "refused", "failed", "ready", "not_ready", "lost")
    return ServiceCounts(
        **{name: max(0, getattr(now, name) - getattr(before, name)) for name in names},
        seconds={bound: max(0, count - before.seconds.get(bound, 0)) for bound, count in now.seconds.items()},
    )


def add_counts(parts: Iterable[ServiceCounts]) -> ServiceCounts:
    """Add counts up."""
    total: Counter[str] = Counter()
    seconds: Counter[str] = Counter()
    for one in parts:
        for name in ("answered", "refused", "failed", "ready", "not_ready", "lost"):
            total[name] += getattr(one, name)
        seconds.update(one.seconds)
    return ServiceCounts(**total, seconds=dict(seconds))


def list_intervals(looks: Sequence[ServiceLook]) -> list[tuple[ServiceLook, ServiceCounts]]:
    """List what was counted from each look to the next one that answered, the oldest first, with the later look.

    The first of all has nothing before it, so it counts from the start of its instances.
    """
    answered = [look for look in looks if look.answered]
    before: list[ServiceLook | None] = [None, *answered]
    return [(now, count_between(then, now)) for then, now in zip(before, answered, strict=False)]
