"""Quantiles of a column in a few kilobytes: KLL sketches (Karnin, Lang & Liberty, FOCS 2016) that add up.

A sketch of n values answers which share of them lies below a number. Its answer is wrong by at most `RANK_ERROR` of n
(for the share between two numbers: `SHARE_ERROR`), in 99 of 100 sketches, however often sketches were added. Up to
about K values it is exact. Values are kept as float32.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from bots.errors import BotsError
from bots.stats.metrics import Floats

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

K: Final = 200
RANK_ERROR: Final = 0.0133
SHARE_ERROR: Final = 0.0166


class SketchError(BotsError):
    """Bytes that should be a sketch are none."""


class Sketch:
    """A KLL sketch of float32 values, which grows by arrays."""

    def __init__(self, kll: Any | None = None) -> None:
        """`kll` is a sketch of datasketches; None begins an empty one."""
        from datasketches import kll_floats_sketch

        self._kll = kll_floats_sketch(K) if kll is None else kll

    @property
    def rows(self) -> int:
        """How many values it has seen."""
        return int(self._kll.n)

    def add_values(self, values: NDArray[Any]) -> None:
        """Add numbers of any float type; none of them may be NaN."""
        with np.errstate(over="ignore"):
            self._kll.update(np.ascontiguousarray(values, dtype=np.float32))

    def add_sketch(self, other: Sketch) -> None:
        """Add what another sketch has seen."""
        self._kll.merge(other._kll)

    def find_quantiles(self, shares: Sequence[float]) -> Floats:
        """The numbers below which these shares of the values lie; NaN where there is no value."""
        if self._kll.is_empty():
            return np.full(len(shares), np.nan)
        return np.asarray(self._kll.get_quantiles(list(shares)), dtype=np.float64)

    def measure_shares(self, points: Iterable[float]) -> Floats:
        """The shares of the values at or below each of some numbers; NaN where there is no value."""
        asked, back = np.unique(np.asarray(list(points), dtype=np.float32), return_inverse=True)
        if self._kll.is_empty() or not len(asked):
            return np.full(len(back), np.nan)
        found = np.asarray(self._kll.get_cdf(asked.tolist(), True), dtype=np.float64)
        return found[:-1][back]

    def write_bytes(self) -> bytes:
        """The sketch as bytes of a few kilobytes at most."""
        return bytes(self._kll.serialize())


def read_sketch(content: bytes | None) -> Sketch:
    """Read a sketch from its bytes; None is the empty one. Raises `SketchError`."""
    from datasketches import kll_floats_sketch

    if content is None:
        return Sketch()
    try:
        return Sketch(kll_floats_sketch.deserialize(content))
    except (RuntimeError, ValueError, IndexError, MemoryError) as error:
        raise SketchError(f"a sketch of {len(content)} bytes cannot be read: {error}") from error


def add_sketches(first: bytes | None, second: bytes | None) -> bytes | None:
    """Add two sketches that are bytes; None where both have no value. Raises `SketchError`."""
    if first is None or second is None:
        return second if first is None else first
    together = read_sketch(first)
    together.add_sketch(read_sketch(second))
    return together.write_bytes()
