"""Tells whether units follow each other: how one's effect goes with the next one's, and how many are independent.

Intervals take units as independent. Days of one storm are not, and no interval mends that: it has to be said.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bots.stats.metrics import Floats

# With fewer, the correlation of independent units strays by more than 0.22.
FEWEST_TO_TELL = 20
_CHANCE = 1.645
_MOST = 0.99
_TIME = re.compile(r"\d{4}-(\d\d|W\d\d)(-\d\d([ T]\d\d(:\d\d(:\d\d(\.\d+)?)?)?(Z|[+-]\d\d:?\d\d)?)?)?")


@dataclass(frozen=True)
class Dependence:
    """The correlation of each unit's effect with the next one's, how many independent units the units are worth, and
    whether the correlation is above zero beyond chance (at 5%, one-sided)."""

    correlation: float
    independent: float
    beyond_chance: bool


def are_times(names: Sequence[str]) -> bool:
    """Whether all names are moments written alike as ISO 8601, so that their alphabetical order is that of time."""
    return len({len(name) for name in names}) == 1 and all(_TIME.fullmatch(name) for name in names)


def measure_dependence(effects: Floats) -> Dependence | None:
    """How units in the order of time depend on each other, by each one's effect on the metric: (K,), their sum zero.

    The lag-1 correlation, corrected for its bias downwards in short series (Marriott & Pope, Biometrika 41, 1954);
    K (1 - r)/(1 + r) independent units, as in a series of which each value only knows the one before (Bayley &
    Hammersley, 1946). None where there are too few units to tell, or no effect.
    """
    count = len(effects)
    largest = float(np.abs(effects).max(initial=0.0))
    if count < FEWEST_TO_TELL or not largest:
        return None
    shares = effects / largest
    seen = float((shares[:-1] * shares[1:]).sum() / np.square(shares).sum())
    correlation = min(_MOST, max(-_MOST, (count * seen + 1) / (count - 4)))
    positive = max(correlation, 0.0)
    return Dependence(
        correlation=correlation,
        independent=count * (1 - positive) / (1 + positive),
        beyond_chance=seen > _CHANCE / math.sqrt(count) - 1 / count,
    )


def choose_days_together(correlation: float, units: int, fewest: int) -> int | None:
    """How many units in a row to take as one, so that these know little of each other; None where too few are left."""
    known = min(_MOST, max(0.0, correlation))
    wanted = math.ceil((1 + known) / (1 - known))
    found = min(wanted, units // fewest)
    return found if found > 1 else None
