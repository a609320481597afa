"""Measures how much each input moves the model's score, to compare that with the explanation that was reviewed.

The importance of an input is the mean absolute change of the score when that input is shuffled over the rows
(permutation importance: Breiman, Random Forests, 2001). It is measured on the score, so that no label is needed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from bots.evidence import ExplanationReport
    from bots.stats.metrics import Floats
    from bots.verification.onnx_model import Inputs, OnnxModel

REPEATS: Final = 3
SEED: Final = 20130701
# The most rows that the model scores, over all inputs and repeats; and the bounds on the rows of one sample.
SCORED: Final = 300_000
MOST, FEWEST = 2_000, 50


def measure_importance(model: OnnxModel, inputs: Inputs) -> dict[str, float]:
    """Measure each input's importance, in units of the score, on a sample small enough to take seconds.

    Raises `ModelError`.
    """
    rng = np.random.default_rng(SEED)
    rows = len(next(iter(inputs.values())))
    count = min(rows, MOST, max(FEWEST, SCORED // (REPEATS * len(inputs))))
    chosen = rng.choice(rows, count, replace=False)
    sample = {name: column[chosen] for name, column in inputs.items()}
    before = model.score(sample)
    found = {}
    for name, column in sample.items():
        shuffled = [model.score({**sample, name: rng.permutation(column)}) for _ in range(REPEATS)]
        found[name] = float(np.mean([np.abs(after - before).mean() for after in shuffled]))
    return found


def trace_shares(
    explanation: ExplanationReport, inputs: Sequence[str], derived: Mapping[str, str]
) -> dict[str, float]:
    """Each input's share of an explanation, as far as its features can be traced to inputs.

    A feature is traced by its name, as one category of an input (`color_red`), or through the expression that it is
    derived by.
    """
    found: dict[str, float] = {}
    for one in explanation.ranking:
        for name in _trace_inputs(one.feature, inputs, derived):
            found[name] = found.get(name, 0.0) + one.share
    return found


def correlate_ranks(first: Sequence[float], second: Sequence[float]) -> float:
    """Spearman's rank correlation, ties at their mean rank; 0 where all values of one side are equal."""
    one, other = _rank(first), _rank(second)
    if not one.std() or not other.std():
        return 0.0
    return float(np.corrcoef(one, other)[0, 1])


def _trace_inputs(feature: str, inputs: Sequence[str], derived: Mapping[str, str]) -> Iterator[str]:
    if feature in inputs:
        yield feature
    elif feature in derived:
        words = set(re.findall(r"[^\W\d]\w*", derived[feature]))
        yield from (name for name in inputs if name in words)
    elif found := [name for name in inputs if feature.startswith(f"{name}_")]:
        yield max(found, key=len)


def _rank(values: Sequence[float]) -> Floats:
    _, inverse, counts = np.unique(np.asarray(values), return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return np.asarray((ends - (counts - 1) / 2)[inverse], dtype=np.float64)
