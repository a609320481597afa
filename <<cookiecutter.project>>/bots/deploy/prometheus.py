"""What a running service says of itself in Prometheus' text format, as far as a canary is judged by it."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bots.errors import BotsError

if TYPE_CHECKING:
    from collections.abc import Mapping

ROUTE = "/predict"

_SAMPLE = re.compile(r"^([a-zA-Z_:][\w:]*)(?:\{(.*)\})?\s+(\S+)")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


class ReadingError(BotsError):
    """A service's metrics cannot be read; the message says which line."""


@dataclass(frozen=True)
class Reading:
    """Counters of the prediction route. Histograms are cumulative: at most this value -> how many."""

    statuses: Counter[int] = field(default_factory=Counter)
    seconds: Mapping[float, int] = field(default_factory=dict)
    scores: Mapping[float, int] = field(default_factory=dict)
    lost: int = 0

    @property
    def requests(self) -> int:
        """How many were answered, however."""
        return self.statuses.total()

    @property
    def answered(self) -> int:
        """How many were answered well."""
        return self._between(200, 300)

    @property
    def refused(self) -> int:
        """How many the caller is told to be wrong about."""
        return self._between(400, 500)

    @property
    def errors(self) -> int:
        """How many the service itself failed at."""
        return self._between(500, 600)

    def _between(self, low: int, high: int) -> int:
        return sum(count for status, count in self.statuses.items() if low <= status < high)


def read(text: str) -> Reading:
    """Raises `ReadingError` for a line that is neither a comment nor a sample."""
    statuses: Counter[int] = Counter()
    seconds: Counter[float] = Counter()
    scores: Counter[float] = Counter()
    lost = 0
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        found = _SAMPLE.match(line)
        try:
            if not found:
                raise ValueError("not a sample")
            name, labels = found[1], dict(_LABEL.findall(found[2] or ""))
            if labels.get("route", ROUTE) != ROUTE:
                continue
            if name == "model_requests_total":
                statuses[int(labels["status"])] += int(float(found[3]))
            elif name == "model_request_seconds_bucket":
                seconds[float(labels["le"])] += int(float(found[3]))
            elif name == "model_prediction_score_bucket":
                scores[float(labels["le"])] += int(float(found[3]))
            elif name == "model_log_lost_total":
                lost += int(float(found[3]))
        except (ValueError, KeyError) as error:
            raise ReadingError(f"the service's metrics cannot be read at {line[:80]!r}: {error}") from error
    return Reading(statuses, seconds, scores, lost)


def since(before: Mapping[str, Reading], now: Mapping[str, Reading]) -> Reading:
    """What happened between two looks at the same instances, added up.

    An instance that was not there before, or whose counters fell because it started anew, counts whole.
    """
    total = Reading()
    for name, later in now.items():
        earlier = before.get(name, Reading())
        reset = later.requests < earlier.requests
        total = _add(total, later if reset else _less(later, earlier))
    return total


def counts(histogram: Mapping[float, int]) -> list[int]:
    """How many are in each bin, from how many are at most its bound."""
    below = 0
    bins = []
    for bound in sorted(histogram):
        bins.append(histogram[bound] - below)
        below = histogram[bound]
    return bins


def quantile(histogram: Mapping[float, int], q: float) -> float:
    """The value that the share `q` is at most, linear inside a bin, as Prometheus' histogram_quantile().

    Infinite when nothing was observed; the last finite bound when it lies beyond.
    """
    bounds = sorted(histogram)
    if not bounds or not histogram[bounds[-1]]:
        return float("inf")
    wanted = q * histogram[bounds[-1]]
    low, below = 0.0, 0
    for bound in bounds:
        if histogram[bound] >= wanted and bound != float("inf"):
            inside = histogram[bound] - below
            return low + (bound - low) * ((wanted - below) / inside if inside else 1.0)
        if bound != float("inf"):
            low, below = bound, histogram[bound]
    return low


def _add(a: Reading, b: Reading) -> Reading:
    return Reading(
        a.statuses + b.statuses,
        _sum(a.seconds, b.seconds),
        _sum(a.scores, b.scores),
        a.lost + b.lost,
    )


def _less(a: Reading, b: Reading) -> Reading:
    return Reading(
        a.statuses - b.statuses,
        _sum(a.seconds, b.seconds, -1),
        _sum(a.scores, b.scores, -1),
        max(0, a.lost - b.lost),
    )


def _sum(a: Mapping[float, int], b: Mapping[float, int], sign: int = 1) -> dict[float, int]:
    """Bin by bin; a bin that holds nothing is still a bin."""
    return {bound: a.get(bound, 0) + sign * b.get(bound, 0) for bound in sorted({*a, *b})}
