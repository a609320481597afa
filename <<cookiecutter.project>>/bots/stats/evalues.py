"""E-values from ranks, their mean, and which of many to name: evidence that may be looked at every day.

An e-value is at least 0 and at most 1 on average where nothing has changed; large ones speak against that. Averages of
e-values are e-values whatever goes together with what (Vovk & Wang, E-values: calibration, combination and
applications, Annals of Statistics 49, 2021).
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bots.stats.metrics import Floats

POWERS = (0.1, 0.25, 0.5)
"""A rank's share p of all ranks is worth the mean of k * p^(k - 1) over these k: calibrators of Vovk & Wang."""


@lru_cache(maxsize=64)
def _weigh_ranks(count: int) -> tuple[float, ...]:
    shares = np.arange(1, count + 1) / count
    powers = np.array([power * shares ** (power - 1) for power in POWERS])
    return tuple((powers / powers.mean(axis=1, keepdims=True)).mean(axis=0).tolist())


def weigh_ranks(count: int) -> Floats:
    """What each of so many ranks is worth, (count,), the most unusual first; their mean is exactly 1.

    So the rank of one day among days that are as likely to stand in any order is an e-value.
    """
    return np.array(_weigh_ranks(count))


def find_rank(distance: float, others: Floats) -> int:
    """How many of these, (n,), and the day itself lie at least as far away: 1 is the most unusual of n + 1 days.

    Days that lie equally far count against the day: its e-value is then smaller than it could be.
    """
    return 1 + int(np.count_nonzero(others >= distance))


def compute_rank_evalue(distance: float, others: Floats) -> float:
    """The e-value of a day by its rank among n others, (n,); at most 16 among 180, 4 among 26, 1 without others."""
    return _weigh_ranks(len(others) + 1)[find_rank(distance, others) - 1]


def average_evalues(evalues: Floats, weights: Floats) -> float:
    """The mean of e-values, (n,), by weights, (n,), that do not depend on them; 1 where there is no weight."""
    total = float(weights.sum())
    return float((evalues * weights).sum() / total) if total > 0 else 1.0


def select_by_ebh(evalues: Sequence[float], level: float) -> list[bool]:
    """Which of n e-values the e-BH procedure names: the k largest, where the k-th is at least n / (level * k).

    Of those it names at most a share `level` is wrong on average, whatever goes together with what (Wang & Ramdas,
    False discovery rate control with e-values, JRSS B 84, 2022). The values must be those of one moment: the largest
    that were ever seen are no e-values.
    """
    count = len(evalues)
    order = sorted(range(count), key=lambda at: -evalues[at])
    most = max(
        (place for place, at in enumerate(order, start=1) if evalues[at] * place * level >= count), default=0
    )
    named = set(order[:most])
    return [at in named for at in range(count)]
