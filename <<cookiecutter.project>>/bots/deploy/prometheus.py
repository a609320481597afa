"""Reads a running service's own counters from Prometheus' text format, as far as a canary is judged by them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from bots.errors import BotsError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from prometheus_client.samples import Sample

ROUTE = "/predict"

# What a bin is named by: its upper bound, or its class.
Bin = TypeVar("Bin", float, str)


class MetricsError(BotsError):
    """A service's metrics cannot be read; the message says which line."""


@dataclass(frozen=True)
class ServiceCounters:
    """Counters of the prediction route. Histograms are cumulative: bound -> how many values are at most that.

    `classes` has the predictions of each class, all of the model's; empty where it has no several classes.
    """

    statuses: Counter[int] = field(default_factory=Counter)
    seconds: Mapping[float, int] = field(default_factory=dict)
    scores: Mapping[float, int] = field(default_factory=dict)
    lost: int = 0
    classes: Mapping[str, int] = field(default_factory=dict)

    @property
    def requests(self) -> int:
        """How many requests were answered, well or not."""
        return self.statuses.total()

    @property
    def answered(self) -> int:
        """How many requests were answered well."""
        return self._count_between(200, 300)

    @property
    def refused(self) -> int:
        """How many requests were refused because of a mistake of the caller's."""
        return self._count_between(400, 500)

    @property
    def errors(self) -> int:
        """How many requests the service failed at."""
        return self._count_between(500, 600)

    def _count_between(self, low: int, high: int) -> int:
        return sum(count for status, count in self.statuses.items() if low <= status < high)


def parse_metrics(text: str) -> ServiceCounters:
    """Parse what a service says at /metrics. Raises `MetricsError`."""
    statuses: Counter[int] = Counter()
    seconds: Counter[float] = Counter()
    scores: Counter[float] = Counter()
    classes: Counter[str] = Counter()
    lost = 0
    for sample in parse_samples(text):
        labels = sample.labels
        if labels.get("route", ROUTE) != ROUTE:
            continue
        try:
            if sample.name == "model_requests_total":
                statuses[int(labels["status"])] += int(sample.value)
            elif sample.name == "model_request_seconds_bucket":
                seconds[float(labels["le"])] += int(sample.value)
            elif sample.name == "model_prediction_score_bucket":
                scores[float(labels["le"])] += int(sample.value)
            elif sample.name == "model_class_predictions_total":
                classes[labels["class"]] += int(sample.value)
            elif sample.name == "model_log_lost_total":
                lost += int(sample.value)
        except (ValueError, KeyError, OverflowError) as error:
            raise MetricsError(_describe_problem(f"{sample.name}{labels} {sample.value}", error)) from error
    return ServiceCounters(statuses, seconds=seconds, scores=scores, lost=lost, classes=classes)


def parse_samples(text: str) -> Iterator[Sample]:
    """Parse every sample of the text. Raises `MetricsError` with the line that is none."""
    from prometheus_client.parser import text_fd_to_metric_families

    # A label may hold any other character that ends a line elsewhere.
    lines = _Lines(text.split("\n"))
    try:
        for family in text_fd_to_metric_families(lines):  # type: ignore[arg-type]
            yield from family.samples
    except ValueError as error:
        raise MetricsError(_describe_problem(lines.last, error)) from error


class _Lines:
    """Lines for the parser, which iterates over them once; `last` is the one that it took last."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines = lines
        self.last = ""

    def __iter__(self) -> Iterator[str]:
        for line in self._lines:
            self.last = line
            yield line


def _describe_problem(line: str, error: Exception) -> str:
    return f"the service's metrics cannot be read at {line[:80]!r}: {error}"


def count_since(before: Mapping[str, ServiceCounters], now: Mapping[str, ServiceCounters]) -> ServiceCounters:
    """Count what happened between two looks at the same instances, added up.

    An instance that was not there before, or whose counters fell because it started anew, counts whole.
    """
    total = ServiceCounters()
    for name, later in now.items():
        earlier = before.get(name, ServiceCounters())
        reset = later.requests < earlier.requests
        total = _add(total, later if reset else _subtract(later, earlier))
    return total


def count_bins(histogram: Mapping[float, int]) -> list[int]:
    """Count how many values are in each bin, from how many are at most its bound."""
    below = 0
    bins = []
    for bound in sorted(histogram):
        bins.append(histogram[bound] - below)
        below = histogram[bound]
    return bins


def estimate_quantile(histogram: Mapping[float, int], q: float) -> float:
    """Estimate the value that the share `q` is at most, linear inside a bin, as Prometheus' histogram_quantile().

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


def _add(a: ServiceCounters, b: ServiceCounters) -> ServiceCounters:
    return ServiceCounters(
        a.statuses + b.statuses,
        seconds=_add_bins(a.seconds, b.seconds),
        scores=_add_bins(a.scores, b.scores),
        lost=a.lost + b.lost,
        classes=_add_bins(a.classes, b.classes),
    )


def _subtract(a: ServiceCounters, b: ServiceCounters) -> ServiceCounters:
    return ServiceCounters(
        a.statuses - b.statuses,
        seconds=_add_bins(a.seconds, b.seconds, sign=-1),
        scores=_add_bins(a.scores, b.scores, sign=-1),
        lost=max(0, a.lost - b.lost),
        classes=_add_bins(a.classes, b.classes, sign=-1),
    )


def _add_bins(a: Mapping[Bin, int], b: Mapping[Bin, int], *, sign: int = 1) -> dict[Bin, int]:
    """Bin by bin; a bin that holds nothing is still a bin."""
    bins = set(a).union(b)
    return {name: a.get(name, 0) + sign * b.get(name, 0) for name in sorted(bins)}
