"""Hold the targets and scores of rows, with what it takes to measure them: weights, a threshold, costs, classes."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pipeline.classes import find_called

if TYPE_CHECKING:
    from pipeline.params import Costs

Floats: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Rows:
    """Targets and scores of the same rows, float64 of shape (n,), and how to read them.

    Targets are 0 or 1 for a classification. `threshold` is the probability from which on a row counts as positive.
    With several `classes` a target is the number of one, and the scores are the probabilities of each, (n, classes).
    `weight` (n,) says how much each row counts; None: each counts once.
    """

    target: NDArray[Any]
    score: Floats
    threshold: float = 0.5
    costs: Costs | None = None
    bins: int = 10
    weight: Floats | None = None
    classes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.target)

    @property
    def called(self) -> NDArray[Any]:
        """The rows that are called positive; with several classes the number of the one that each row is called."""
        return find_called(self.score) if self.classes else self.score >= self.threshold

    @property
    def top(self) -> Rows:
        """Of several classes: whether the one that a row is called is right (target), and its probability (score)."""
        right = (self.called == self.target).astype(np.float64)
        return replace(self, target=right, score=self.score.max(axis=1), classes=())

    def select(self, chosen: NDArray[np.bool_]) -> Rows:
        """The chosen rows alone."""
        weight = None if self.weight is None else self.weight[chosen]
        return replace(self, target=self.target[chosen], score=self.score[chosen], weight=weight)

    def average(self, values: NDArray[Any]) -> float:
        """The mean of one value a row, each row as much as it weighs; not a number where no row weighs anything."""
        if self.weight is None:
            return float(values.mean())
        return float(np.average(values, weights=self.weight)) if self.weight.any() else math.nan

    def leave_out_weightless(self) -> Rows:
        """The rows that weigh more than nothing, without weights where each then counts once."""
        if self.weight is None:
            return self
        kept = self if (self.weight > 0).all() else self.select(self.weight > 0)
        return replace(kept, weight=None) if np.all(kept.weight == 1) else kept
