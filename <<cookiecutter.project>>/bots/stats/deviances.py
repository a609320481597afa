"""What metrics of a regression judge a quantile, or a mean of counts and amounts: the pinball loss, and deviances.

- The pinball loss at level q of target y and score s is q (y - s) where y is above s, else (1 - q) (s - y). The
  q-quantile has the smallest mean of it (Koenker & Bassett, Econometrica 46, 1978). Its unit is the target's.
- The Poisson deviance is 2 (y log(y / s) - y + s), the gamma deviance 2 (log(s / y) + y / s - 1) (McCullagh & Nelder,
  Generalized Linear Models, 1989). The mean of y has the smallest mean of both. They have no value where a score is
  zero or below; the gamma deviance needs targets above zero, too.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from bots.stats.measures import Measure, combine_mean, prepare_by_row, stack_columns

if TYPE_CHECKING:
    from collections.abc import Callable

    from bots.stats.measures import Context, Floats

PINBALL: Final = "pinball"
"""The loss at a level is called `pinball:0.9`."""
_LEVEL: Final = re.compile(r"0\.\d{0,3}[1-9]\Z", re.ASCII)


def find_level(name: str) -> float | None:
    """The level of a name such as `pinball:0.9`, above 0 and below 1; None where it is no such name.

    A level has one spelling, with at most four decimals: a metric of two names would be judged twice.
    """
    kind, colon, level = name.partition(":")
    return float(level) if colon and kind == PINBALL and _LEVEL.match(level) else None


def find_measure(name: str) -> Measure | None:
    """The deviance, or the pinball loss, of this name; None where it is neither."""
    level = find_level(name)
    return DEVIANCES.get(name) if level is None else _define_pinball(name, level)


def explain_name(name: str) -> str | None:
    """How a pinball loss is named, where a name seems to mean one and is none."""
    if name.partition(":")[0] != PINBALL or find_level(name) is not None:
        return None
    return (
        "a pinball loss is named with its level, above 0 and below 1, without zeros at the end: `pinball:0.9`"
    )


def _define_pinball(name: str, level: float) -> Measure:
    def decompose(target: Floats, score: Floats, _: Context) -> Floats:
        short = target - score
        return stack_columns(level * np.maximum(short, 0) + (1 - level) * np.maximum(-short, 0))

    return _define(name, f"pinball loss at {level:.10g}", decompose, kind="quantity")


def _decompose_poisson(target: Floats, score: Floats, _: Context) -> Floats:
    fits = (target >= 0) & (score > 0)
    y, s = np.where(fits, target, 1.0), np.where(fits, score, 1.0)
    logarithm = np.log(np.where(y > 0, y, 1.0)) - np.log(s)
    return stack_columns(np.where(fits, 2 * (y * logarithm - y + s), np.nan))


def _decompose_gamma(target: Floats, score: Floats, _: Context) -> Floats:
    fits = (target > 0) & (score > 0)
    y, s = np.where(fits, target, 1.0), np.where(fits, score, 1.0)
    return stack_columns(np.where(fits, 2 * (np.log(s) - np.log(y) + y / s - 1), np.nan))


def _define(
    name: str, label: str, decompose: Callable[[Floats, Floats, Context], Floats], **more: Any
) -> Measure:
    settings: dict[str, Any] = {"kind": "loss", "decimals": 4, "bounds": (0.0, None), **more}
    return Measure(
        name=name,
        label=label,
        direction="lower",
        tasks=("regression",),
        prepare=prepare_by_row(decompose),
        combine=combine_mean,
        **settings,
    )


DEVIANCES: Final = {
    measure.name: measure
    for measure in (
        _define("poisson_deviance", "Poisson deviance", _decompose_poisson),
        _define("gamma_deviance", "gamma deviance", _decompose_gamma),
    )
}
