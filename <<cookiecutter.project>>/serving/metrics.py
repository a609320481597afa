"""Count for Prometheus, in one file for each worker, so that any worker can report the sum of all.

All labels are known from the start, so the counters of a worker are one array of float64 in a file that is mapped into
memory: counting is one addition, and the counts of a worker that died are kept.
"""

from __future__ import annotations

import bisect
import itertools
import os
import secrets
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from serving.log_shipping import load_report

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
STATUSES = (200, 400, 401, 404, 405, 408, 413, 415, 422, 500, 503, 504)
SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
SUFFIX = ".counters"


class Metrics:
    """The counters of one worker. The workers of a service share a folder, and each has a file in it."""

    def __init__(
        self,
        folder: Path,
        columns: Iterable[str],
        kinds: Iterable[str],
        grid: Iterable[float],
        *,
        classes: Iterable[str] = (),
    ) -> None:
        """`columns` and `kinds` are the labels of warnings, `grid` the bucket bounds of scores.

        `classes` are the names of several classes, in which predictions are counted as well.
        """
        self._bounds = tuple(grid)
        self._requests = {pair: at for at, pair in enumerate(itertools.product(ROUTES, STATUSES))}
        # A histogram takes its buckets, one more for what is above all bounds, and the sum.
        at = len(self._requests)
        self._seconds = {route: at + number * (len(SECONDS) + 2) for number, route in enumerate(ROUTES)}
        at += len(ROUTES) * (len(SECONDS) + 2)
        self._scores = at
        at += len(self._bounds) + 2
        self._warnings = {pair: at + number for number, pair in enumerate(itertools.product(columns, kinds))}
        at += len(self._warnings)
        self._classes = {name: at + number for number, name in enumerate(classes)}
        at += len(self._classes)
        self._lost, self._unshipped, size = at, at + 1, at + 2
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._size = size
        path = folder / f"{os.getpid()}-{secrets.token_hex(4)}{SUFFIX}"
        # A plain array over the mapped file: every access to a `memmap` costs more.
        self._counters = np.asarray(np.memmap(path, dtype=np.float64, mode="w+", shape=(size,)))
        self._bounds_array = np.array(self._bounds)

    def count_request(self, route: str, status: int, seconds: float) -> None:
        """Count a request and its seconds."""
        counters = self._counters
        counters[self._requests[route, status]] += 1
        first = self._seconds[route]
        counters[first + bisect.bisect_left(SECONDS, seconds)] += 1
        counters[first + len(SECONDS) + 1] += seconds

    def count_scores(self, scores: np.ndarray) -> None:
        """Count predictions by their score."""
        if len(scores) == 1:
            score = float(scores[0])
            self._counters[self._scores + bisect.bisect_left(self._bounds, score)] += 1
            self._counters[self._scores + len(self._bounds) + 1] += score
            return
        buckets = np.bincount(
            np.searchsorted(self._bounds_array, scores, side="left"), minlength=len(self._bounds) + 1
        )
        self._counters[self._scores : self._scores + len(self._bounds) + 1] += buckets
        self._counters[self._scores + len(self._bounds) + 1] += float(scores.sum(dtype=np.float64))

    def count_class(self, name: str) -> None:
        """Count a prediction of one of several classes."""
        self._counters[self._classes[name]] += 1

    def count_warning(self, column: str, kind: str) -> None:
        """Count a warning; a column that the model does not know is not counted."""
        at = self._warnings.get((column, kind))
        if at is not None:
            self._counters[at] += 1

    def count_lost(self, rows: int) -> None:
        """Count predictions that were answered but are not in the log."""
        self._counters[self._lost] += rows

    def count_unshipped(self, tables: int) -> None:
        """Count tables of the log that had to be deleted before they were shipped."""
        self._counters[self._unshipped] += tables

    def render(self, *, ready: bool, version: str, onnx: str) -> bytes:
        """Write the counters of all workers in the text format of Prometheus."""
        from prometheus_client import generate_latest

        return generate_latest(_Registry(self._collect(ready=ready, version=version, onnx=onnx)))

    def _sum_workers(self) -> np.ndarray:
        """Add up the counters of all workers, also of those that died."""
        total = np.zeros(self._size)
        for path in self._folder.glob(f"*{SUFFIX}"):
            counters = np.fromfile(path, dtype=np.float64)
            if len(counters) == self._size:  # another length: a worker is just making its file
                total += counters
        return total

    def _collect(self, *, ready: bool, version: str, onnx: str) -> Iterator[Metric]:
        from prometheus_client.metrics_core import (
            CounterMetricFamily,
            GaugeMetricFamily,
            HistogramMetricFamily,
            InfoMetricFamily,
        )

        total = self._sum_workers()
        requests = CounterMetricFamily("model_requests", "Requests answered", labels=["route", "status"])
        for (route, status), at in self._requests.items():
            if total[at]:
                requests.add_metric([route, str(status)], total[at])
        yield requests
        seconds = HistogramMetricFamily("model_request_seconds", "Time to answer", labels=["route"])
        for route, at in self._seconds.items():
            buckets, added = _read_histogram(SECONDS, total[at:])
            if buckets[-1][1]:
                seconds.add_metric([route], buckets, added)
        yield seconds
        buckets, added = _read_histogram(self._bounds, total[self._scores :])
        yield CounterMetricFamily("model_predictions", "Rows predicted", value=buckets[-1][1])
        yield HistogramMetricFamily(
            "model_prediction_score", "Scores given", buckets=buckets, sum_value=added
        )
        if self._classes:
            called = CounterMetricFamily(
                "model_class_predictions", "Rows predicted, by what they are called", labels=["class"]
            )
            for name, at in self._classes.items():
                called.add_metric([name], total[at])
            yield called
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
        yield from self._collect_shipping(total[self._unshipped])
        yield GaugeMetricFamily("model_ready", "1 where the service may be asked", value=float(ready))
        yield InfoMetricFamily("model", "What is served", value={"version": version, "onnx": onnx})

    def _collect_shipping(self, unshipped: float) -> Iterator[Metric]:
        """Tell what the shipper did; nothing where nothing is shipped."""
        from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily

        report = load_report(self._folder)
        if report is None:
            return
        for name, words, value in (
            ("files", "Tables of the log that were shipped", report.files),
            ("bytes", "Bytes of the tables that were shipped", report.bytes),
            ("failures", "Attempts to ship that failed", report.failures),
            ("deleted", "Tables that had to be deleted before they were shipped", unshipped),
        ):
            yield CounterMetricFamily(f"predictions_ship_{name}", words, value=value)
        yield GaugeMetricFamily("predictions_ship_waiting", "Tables that wait", value=report.waiting)
        oldest = 0.0 if report.oldest is None else max(0.0, time.time() - report.oldest)
        yield GaugeMetricFamily(
            "predictions_ship_oldest_seconds", "Age of the oldest table that waits", value=oldest
        )


class _Registry:
    """The part of a registry that prometheus_client calls."""

    def __init__(self, metrics: Iterator[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        """Return the metrics."""
        return self._metrics


def _read_histogram(bounds: tuple[float, ...], counters: np.ndarray) -> tuple[list[tuple[str, Any]], float]:
    """Read a histogram from its part of the counters: the cumulative buckets of Prometheus, and the sum."""
    counts = np.cumsum(counters[: len(bounds) + 1]).tolist()
    names = [*(repr(float(bound)) for bound in bounds), "+Inf"]
    return list(zip(names, counts, strict=True)), float(counters[len(bounds) + 1])
