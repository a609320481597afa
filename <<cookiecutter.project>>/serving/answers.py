"""Say what the scores of a row mean, which depends on the task: a label, an interval, or one of several classes."""

from __future__ import annotations

import bisect
import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from msgspec import UNSET, Struct, UnsetType, structs

from serving.errors import SettingsError
from serving.responses import Interval, Observed

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    from serving.contract import Contract, ScoreBin
    from serving.settings import Fallback, Limits

# A request has at most so many probabilities, so that what it makes of memory does not grow with the classes.
MAX_PROBABILITIES = 20_000
# By so much may the sum of probabilities that people write differ from 1.
SUM_TOLERANCE = 1e-6

# What the model has for a row: one number, or the probability of each class.
Score = float | list[float]


class Meaning(Struct, frozen=True, gc=False):
    """What is answered for a row. `score` is the largest probability where there are several classes.

    `scores` are the probabilities of all of them, in the order of the contract, for the log.
    """

    score: float
    label: bool | str | UnsetType = UNSET
    answer: str | UnsetType = UNSET
    observed: Observed | UnsetType | None = UNSET
    interval: Interval | UnsetType | None = UNSET
    probabilities: dict[str, float] | UnsetType = UNSET
    scores: list[float] | None = None


class Interpreter(ABC):
    """Interprets the scores of one contract."""

    fallback: Score | None

    def __init__(self, contract: Contract) -> None:
        self._contract = contract
        bins = contract.experience
        # A holdout without a known answer has no bins; then nothing is said.
        self._starts = [one.above for one in bins] or [-math.inf]
        self._bins: list[Any] = [_summarize_bin(one, contract) for one in bins] or [None]

    def has_answer(self, score: Any) -> bool:
        """Say whether the model has a finite answer for a row."""
        return math.isfinite(score)

    def pick_explained(self, scores: np.ndarray) -> list[float]:
        """Pick what is explained of each row: its score. The first row is the caller's."""
        found: list[float] = scores.tolist()
        return found

    @abstractmethod
    def interpret(self, score: Any, *, falls_back: bool = False) -> Meaning:
        """Interpret the score of a row. `falls_back`: it is the policy's, and the bins hold the model's."""

    def _find_bin(self, score: float) -> Any:
        """Find what the holdout's rows with such a score say; None where it has none."""
        return self._bins[max(bisect.bisect_right(self._starts, score) - 1, 0)]


class _TwoClasses(Interpreter):
    def __init__(self, contract: Contract, fallback: Fallback) -> None:
        super().__init__(contract)
        self._threshold = 0.5 if contract.threshold is None else contract.threshold
        self._answers = contract.target.answers
        self.fallback = _read_number(fallback)
        if self.fallback is not None and not 0 <= self.fallback <= 1:
            raise SettingsError(
                f"serving.rows.fallback: {self.fallback:g} is no probability: expected 0 to 1"
            )

    def interpret(self, score: float, *, falls_back: bool = False) -> Meaning:
        label = score >= self._threshold
        answer: str | UnsetType = UNSET
        if self._answers is not None:
            answer = self._answers.yes if label else self._answers.no
        observed = None if falls_back else self._find_bin(score)
        return Meaning(score, label=label, answer=answer, observed=observed)


class _Quantity(Interpreter):
    def __init__(self, contract: Contract, fallback: Fallback) -> None:
        super().__init__(contract)
        self.fallback = _read_number(fallback)

    def interpret(self, score: float, *, falls_back: bool = False) -> Meaning:
        found = None if falls_back else self._find_bin(score)
        if found is None:
            return Meaning(score, interval=None)
        return Meaning(score, interval=structs.replace(found, low=score + found.low, high=score + found.high))


class _SeveralClasses(Interpreter):
    def __init__(self, contract: Contract, fallback: Fallback) -> None:
        super().__init__(contract)
        self._names = contract.classes
        self.fallback = _read_probabilities(fallback, self._names)

    def has_answer(self, score: list[float]) -> bool:
        return math.isfinite(sum(score))

    def pick_explained(self, scores: np.ndarray) -> list[float]:
        """Pick the probability of the class that the first row is called."""
        found: list[float] = scores[:, int(scores[0].argmax())].tolist()
        return found

    def interpret(self, score: list[float], *, falls_back: bool = False) -> Meaning:
        largest = max(score)
        return Meaning(
            largest,
            label=self._names[score.index(largest)],
            observed=None if falls_back else self._find_bin(largest),
            probabilities=dict(zip(self._names, score, strict=True)),
            scores=score,
        )


def build_interpreter(contract: Contract, fallback: Fallback) -> Interpreter:
    """Build the interpreter of a contract.

    `fallback` is `serving.rows.fallback` of params.yaml. Raises `SettingsError` where it is no answer of this model.
    """
    kinds: dict[str, Callable[[Contract, Fallback], Interpreter]]
    kinds = {"classification": _TwoClasses, "regression": _Quantity, "multiclass": _SeveralClasses}
    return kinds[contract.task](contract, fallback)


def find_most_rows(contract: Contract, limits: Limits) -> int:
    """Find how many rows a request may have: `limits.rows`, and fewer where the classes are many."""
    return min(limits.rows, MAX_PROBABILITIES // max(1, len(contract.classes)))


def _summarize_bin(score_bin: ScoreBin, contract: Contract) -> Observed | Interval:
    """Build what a response says of a score in this bin. The bounds of an interval are relative to the score."""
    if score_bin.share is not None:
        return Observed(share=score_bin.share, rows=score_bin.rows)
    return Interval(
        low=score_bin.low or 0.0,
        high=score_bin.high or 0.0,
        confidence=contract.confidence or 0.0,
        rows=score_bin.rows,
    )


def _read_number(fallback: Fallback) -> float | None:
    if isinstance(fallback, str | dict):
        raise SettingsError("serving.rows.fallback: expected a number: the model has one score for a row")
    return fallback


def _read_probabilities(fallback: Fallback, names: list[str]) -> list[float] | None:
    """Read the probabilities of all classes: those that are given, or all of it for the class that is named."""
    if fallback is None:
        return None
    if isinstance(fallback, float):
        raise SettingsError(
            f"serving.rows.fallback: {fallback:g} is none of the model's classes; name one (in quotes where it is a "
            "number), or give the probabilities of several"
        )
    given = {fallback: 1.0} if isinstance(fallback, str) else fallback
    for name, share in given.items():
        if name not in names:
            known = ", ".join(map(repr, names[:10])) + (", …" if len(names) > 10 else "")
            raise SettingsError(f"serving.rows.fallback: {name!r} is none of the model's classes: {known}")
        if not 0 <= share <= 1:
            raise SettingsError(f"serving.rows.fallback: {name!r}: {share:g} is no probability")
    if abs(sum(given.values()) - 1) > SUM_TOLERANCE:
        raise SettingsError(
            f"serving.rows.fallback: the probabilities add up to {sum(given.values()):g}, expected 1"
        )
    return [given.get(name, 0.0) for name in names]
