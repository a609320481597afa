"""Estimate from what a model holds how long a prediction takes: the same on every machine, as a clock is not."""

from __future__ import annotations

from typing import Any

import numpy as np

# A number of the model that a row is held against (a support vector's, a neighbour's, a weight) was measured at 1 to
# 4 ns, a step down a tree at 10 to 50 ns.
SECONDS_A_NUMBER = 2e-9
NUMBERS_A_STEP = 10


def estimate_seconds(model: Any) -> float:
    """Estimate the seconds that the prediction of one row takes."""
    return SECONDS_A_NUMBER * max(1, count_numbers(model))


def count_numbers(model: Any) -> int:
    """Count the numbers of a fitted model that each row is held against; a tree's are those on the way to a leaf."""
    from sklearn.base import BaseEstimator
    from sklearn.ensemble._hist_gradient_boosting.predictor import TreePredictor
    from sklearn.tree._tree import Tree

    seen: set[int] = set()

    def count(part: Any) -> int:
        if isinstance(part, Tree):
            return NUMBERS_A_STEP * max(1, int(part.max_depth))
        if isinstance(part, TreePredictor):
            return NUMBERS_A_STEP * max(1, int(part.get_max_depth()))
        if id(part) in seen or isinstance(part, type):
            return 0
        if isinstance(part, np.ndarray):
            seen.add(id(part))
            return sum(map(count, part.ravel())) if part.dtype == object else int(part.size)
        if hasattr(part, "nnz"):
            return int(part.nnz)
        children: Any = ()
        if isinstance(part, dict):
            children = part.values()
        elif isinstance(part, list | tuple):
            children = part
        elif isinstance(part, BaseEstimator) or type(part).__module__.startswith("sklearn."):
            children = getattr(part, "__dict__", {}).values()
        else:
            return 0
        seen.add(id(part))
        return sum(count(child) for child in list(children))

    return count(model)
