"""How far a day of production lies from the training rows' days, by column, and how far these lie from each other.

A column's distance is that of Jensen and Shannon (the square root of the divergence in bits, from 0 to 1) between the
day's share of rows in each bin and that of the reference's days of the same weekday and season; of missing values it is
the difference of their shares. Where production has fewer rows than the reference's days, these are thinned to as many,
so that like is held against like.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np

from bots.monitoring.reference import SEASON, coarsen_scores, count_span
from bots.stats.sketches import SketchError, read_sketch

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bots.monitoring.reference import ColumnReference, Reference
    from bots.observations import CategorySummary, Day, DayInputs, NumberSummary
    from bots.stats.metrics import Floats

Kind = Literal["input", "missing", "prediction"]
CALLED = "called class"
"""What the classes that rows are called stand for among the predictions, where there are several."""
FEWEST_ROWS = 30
"""A day with fewer rows of a column is not ranked by it."""
FEWEST_ALIKE = 8
"""So many days of the same weekday, and season, are needed to take these alone."""
NEAR = 45
"""Days of the year that are at most so far apart are of the same season."""
_YEAR = 365.25


@dataclass(frozen=True, eq=False)
class Ranked:
    """A column's distance on one day, and those of the reference's days from each other, (n,)."""

    column: str
    kind: Kind
    distance: float
    others: Floats


@dataclass(frozen=True, eq=False)
class DayGroups:
    """Which of the reference's days a day is held against: those of its weekday and season, where there are enough."""

    days: list[Day]

    @cached_property
    def _weekdays(self) -> NDArray[np.int64]:
        return np.array([date.fromisoformat(day).weekday() for day in self.days], dtype=np.int64)

    @cached_property
    def _seasons(self) -> Floats:
        return np.array([date.fromisoformat(day).timetuple().tm_yday for day in self.days], dtype=np.float64)

    def find_alike(self, day: Day) -> NDArray[np.bool_]:
        """The days like this one, (n,)."""
        known = date.fromisoformat(day)
        alike = np.ones(len(self.days), dtype=np.bool_)
        if count_span(self.days) >= SEASON:
            apart = np.abs(self._seasons - known.timetuple().tm_yday)
            alike = _narrow(alike, np.minimum(apart, _YEAR - apart) <= NEAR)
        return _narrow(alike, self._weekdays == known.weekday())

    @cached_property
    def matrix(self) -> NDArray[np.bool_]:
        """The days like each of the reference's own, but for the day itself, (n, n)."""
        found = np.array([self.find_alike(day) for day in self.days]).reshape(len(self.days), len(self.days))
        np.fill_diagonal(found, False)
        return found


def _narrow(chosen: NDArray[np.bool_], further: NDArray[np.bool_]) -> NDArray[np.bool_]:
    both: NDArray[np.bool_] = chosen & further
    return both if both.sum() >= FEWEST_ALIKE else chosen


def compute_distances(one: Floats, other: Floats) -> Floats:
    """The Jensen-Shannon distance of counts in bins, row by row, (n,) from (n, bins); 0 where a side has no rows."""
    first, second = _share(one), _share(other)
    middle = (first + second) / 2
    divergence = (_diverge(first, middle) + _diverge(second, middle)) / 2
    there = (one.sum(axis=-1) > 0) & (other.sum(axis=-1) > 0)
    return np.where(there, np.sqrt(np.clip(divergence, 0, 1)), 0.0)


def _share(counts: Floats) -> Floats:
    total = counts.sum(axis=-1, keepdims=True)
    return np.divide(counts, total, out=np.zeros_like(counts), where=total > 0)


def _diverge(share: Floats, middle: Floats) -> Floats:
    ratio = np.divide(share, middle, out=np.ones_like(share), where=share > 0)
    found: Floats = (share * np.log2(ratio)).sum(axis=-1)
    return found


class ReferenceDistances:
    """The reference's days, ready to rank days of production among them."""

    def __init__(self, reference: Reference) -> None:
        """Take over the reference's counts."""
        self._reference = reference
        self._inputs = DayGroups(reference.days)
        self._predicted = DayGroups(reference.predicted_days)
        self._known: dict[str, Floats] = {}

    def rank_day(self, inputs: DayInputs) -> Iterator[Ranked]:
        """Every column of a day with its distance; one that either side lacks, or with too few rows, is left out."""
        for name, column in self._reference.columns.items():
            summary = inputs.numbers.get(name) or inputs.categories.get(name)
            if summary is None or not summary.rows:
                continue
            if summary.rows >= FEWEST_ROWS:
                yield self._rank_missing(name, column, summary, inputs.day)
            counts = count_bins(summary, column)
            if counts is not None and counts.sum() >= FEWEST_ROWS:
                yield self._rank_counts(
                    name, "input", column, counts=counts, day=inputs.day, groups=self._inputs
                )
        scores, predicted = inputs.scores, self._reference.predictions
        if scores is not None and predicted is not None and set(predicted.edges) <= set(scores.edges):
            counts = np.array(coarsen_scores(scores, predicted.edges), dtype=np.float64)
            if counts.sum() >= FEWEST_ROWS:
                yield self._rank_counts(
                    "", "prediction", predicted, counts=counts, day=inputs.day, groups=self._predicted
                )

        called = self._reference.called
        if called is not None and sum(inputs.called.values()) >= FEWEST_ROWS:
            named = [float(inputs.called.get(name, 0)) for name in called.names]
            yield self._rank_counts(
                CALLED,
                "prediction",
                called,
                counts=np.array([*named, 0.0]),
                day=inputs.day,
                groups=self._predicted,
            )

    def _rank_counts(
        self,
        name: str,
        kind: Kind,
        column: ColumnReference,
        *,
        counts: Floats,
        day: Day,
        groups: DayGroups,
    ) -> Ranked:
        rows = np.array(column.rows, dtype=np.int64)
        known = rows.sum(axis=1) > 0
        thin = int(counts.sum()) < int(np.median(rows[known].sum(axis=1))) if known.any() else False
        key = f"{kind}:{name}"
        if thin:
            own = _thin_rows(rows, int(counts.sum()), f"{key}:{day}")
            others = compute_distances(own, groups.matrix.astype(np.float64) @ rows)
        else:
            if key not in self._known:
                whole = rows.astype(np.float64)
                self._known[key] = compute_distances(whole, groups.matrix.astype(np.float64) @ whole)
            others = self._known[key]
        base = rows[groups.find_alike(day)].sum(axis=0).astype(np.float64)
        distance = float(compute_distances(counts[None, :], base[None, :])[0])
        return Ranked(name, kind, distance, others[known])

    def _rank_missing(
        self, name: str, column: ColumnReference, summary: NumberSummary | CategorySummary, day: Day
    ) -> Ranked:
        missing = np.array(column.missing, dtype=np.float64)
        rows = missing + np.array(column.rows, dtype=np.float64).sum(axis=1)
        known, groups = rows > 0, self._inputs
        shares = np.divide(missing, rows, out=np.zeros_like(rows), where=known)
        alike = groups.matrix.astype(np.float64)
        base = (alike @ missing) / np.maximum(alike @ rows, 1.0)
        chosen = groups.find_alike(day)
        usual = missing[chosen].sum() / max(1.0, rows[chosen].sum())
        # Less than one row of difference is no difference.
        least = 1.0 / max(1, summary.rows)
        distance = abs(summary.missing / summary.rows - usual)
        return Ranked(name, "missing", distance if distance > least else 0.0, np.abs(shares - base)[known])


def _thin_rows(rows: NDArray[np.int64], count: int, seed: str) -> Floats:
    """Days with at most `count` rows each, drawn from theirs without putting back: the same draw for the same seed."""
    chance = np.random.default_rng(int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8], "big"))
    thinned = [
        day if day.sum() <= count else chance.multivariate_hypergeometric(day, count, method="marginals")
        for day in rows
    ]
    return np.array(thinned, dtype=np.float64)


def count_bins(summary: NumberSummary | CategorySummary, column: ColumnReference) -> Floats | None:
    """A day's rows in the reference's bins, (bins,): of a number from its sketch. None where there is no such count."""
    counts = getattr(summary, "counts", None)
    if column.kind == "category":
        if counts is None:
            return None
        named = [float(counts.get(name, 0)) for name in column.names]
        return np.array([*named, max(0.0, summary.rows - summary.missing - sum(named))])
    if counts is not None or summary.sketch is None:  # type: ignore[union-attr]
        return None
    try:
        shares = read_sketch(summary.sketch).measure_shares(column.edges)  # type: ignore[union-attr]
    except SketchError:
        return None
    there = summary.rows - summary.missing
    return np.diff(np.concatenate([[0.0], shares, [1.0]])) * there
