"""What Prometheus may ask: counters in a file that all workers' answers add up, so that any worker can tell.

Every label is known beforehand, so a worker's counters are one array of float64 in a file of its own, mapped into
memory: counting is an addition, and a worker that died still counts.
"""

from __future__ import annotations

import bisect
import os
import secrets
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from prometheus_client.metrics_core import Metric

ROUTES = (
    "/predict",
    "/explain",
    "/model",
    "/health/live",
    "/health/ready",
    "/metrics",
    "/docs",
    "/openapi.json",
    "/",
    "other",
)
STATUSES = (200, 304, 400, 401, 404, 405, 408, 413, 415, 422, 500, 503, 504)
SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
SUFFIX = ".counters"


class Metrics:
    """The counters of one worker, and the sum of all workers' in one folder."""

    def __init__(
        self, folder: Path, columns: Iterable[str], kinds: Iterable[str], grid: Iterable[float]
    ) -> None:
        self.columns, self.kinds, self.grid = tuple(columns), tuple(kinds), tuple(grid)
        self._requests = {
            pair: at for at, pair in enumerate((route, status) for route in ROUTES for status in STATUSES)
        }
        # A histogram is its buckets, one for what is above all bounds, and the sum.
        at = len(self._requests)
        self._seconds = {route: at + number * (len(SECONDS) + 2) for number, route in enumerate(ROUTES)}
        at += len(ROUTES) * (len(SECONDS) + 2)
        self._scores = at
        at += len(self.grid) + 2
        self._warnings = {
            pair: at + number
            for number, pair in enumerate((column, kind) for column in self.columns for kind in self.kinds)
        }
        at += len(self._warnings)
        self._lost, size = at, at + 1
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._size = size
        path = folder / f"{os.getpid()}-{secrets.token_hex(4)}{SUFFIX}"
        # As a plain array over the mapped file: numpy's own class for that costs more at every access.
        self._counters = np.asarray(np.memmap(path, dtype=np.float64, mode="w+", shape=(size,)))
        self._grid = np.array(self.grid)

    def request(self, route: str, status: int, seconds: float) -> None:
        """Count one answered request."""
        counters = self._counters
        counters[self._requests[route, status]] += 1
        first = self._seconds[route]
        counters[first + bisect.bisect_left(SECONDS, seconds)] += 1
        counters[first + len(SECONDS) + 1] += seconds

    def scores(self, scores: np.ndarray) -> None:
        """Count predictions by their score."""
        if len(scores) == 1:
            score = float(scores[0])
            self._counters[self._scores + bisect.bisect_left(self.grid, score)] += 1
            self._counters[self._scores + len(self.grid) + 1] += score
            return
        buckets = np.bincount(np.searchsorted(self._grid, scores, side="left"), minlength=len(self.grid) + 1)
        self._counters[self._scores : self._scores + len(self.grid) + 1] += buckets
        self._counters[self._scores + len(self.grid) + 1] += float(scores.sum(dtype=np.float64))

    def warning(self, column: str, kind: str) -> None:
        """Count an input that is unlike training; a column that nobody knows counts nowhere."""
        at = self._warnings.get((column, kind))
        if at is not None:
            self._counters[at] += 1

    def lost(self, rows: int) -> None:
        """Count predictions that were answered without being in the log."""
        self._counters[self._lost] += rows

    def text(self, *, ready: bool, version: str, onnx: str) -> bytes:
        """All workers' counters in Prometheus' text format."""
        from prometheus_client import generate_latest

        return generate_latest(_Collected(self._collect(ready=ready, version=version, onnx=onnx)))

    def total(self) -> np.ndarray:
        """The sum over all workers, those that died included."""
        total = np.zeros(self._size)
        for path in self._folder.glob(f"*{SUFFIX}"):
            counters = np.fromfile(path, dtype=np.float64)
            if len(counters) == self._size:  # not one that is just being made
                total += counters
        return total

    def _collect(self, *, ready: bool, version: str, onnx: str) -> Iterator[Metric]:
        from prometheus_client.metrics_core import (
            CounterMetricFamily,
            GaugeMetricFamily,
            HistogramMetricFamily,
            InfoMetricFamily,
        )

        total = self.total()
        requests = CounterMetricFamily("model_requests", "Requests answered", labels=["route", "status"])
        for (route, status), at in self._requests.items():
            if total[at]:
                requests.add_metric([route, str(status)], total[at])
        yield requests
        seconds = HistogramMetricFamily("model_request_seconds", "Time to answer", labels=["route"])
        for route, at in self._seconds.items():
            buckets, added = _buckets(SECONDS, total[at:])
            if buckets[-1][1]:
                seconds.add_metric([route], buckets, added)
        yield seconds
        buckets, added = _buckets(self.grid, total[self._scores :])
        yield CounterMetricFamily("model_predictions", "Rows predicted", value=buckets[-1][1])
        yield HistogramMetricFamily(
            "model_prediction_score", "Scores given", buckets=buckets, sum_value=added
        )
        warnings = CounterMetricFamily(
            "model_input_warnings", "Inputs unlike the training data", labels=["column", "kind"]
        )
        for (column, kind), at in self._warnings.items():
            if total[at]:
                warnings.add_metric([column, kind], total[at])
        yield warnings
        yield CounterMetricFamily(
            "model_log_lost", "Predictions answered but not logged", value=total[self._lost]
        )
        yield GaugeMetricFamily("model_ready", "1 where the service may be asked", value=float(ready))
        yield InfoMetricFamily("model", "What is served", value={"version": version, "onnx": onnx})


class _Collected:
    """What prometheus_client takes for a registry."""

    def __init__(self, metrics: Iterator[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        """The metrics, once."""
        return self._metrics


def _buckets(bounds: tuple[float, ...], counters: np.ndarray) -> tuple[list[tuple[str, Any]], float]:
    """Prometheus' cumulated buckets, and the sum, of a histogram's part of the counters."""
    counts = np.cumsum(counters[: len(bounds) + 1]).tolist()
    names = [*(repr(float(bound)) for bound in bounds), "+Inf"]
    return list(zip(names, counts, strict=True)), float(counters[len(bounds) + 1])
