"""The bodies of responses, as typed records."""

from __future__ import annotations

from typing import Any

from msgspec import UNSET, Struct, UnsetType

from serving.rows import Finding


class Observed(Struct, frozen=True):
    """The share of positive rows among the holdout rows with such a score, and how many rows these are.

    With several classes the share of rows whose class was the one that is called.
    """

    share: float
    rows: int


class Interval(Struct, frozen=True):
    """The interval that holds the true value with this confidence, and how many holdout rows it comes from."""

    low: float
    high: float
    confidence: float
    rows: int


class Prediction(Struct, frozen=True):
    """The prediction of one row, or its `errors` if the row is refused.

    With several classes `label` is one of their names, `score` its probability, and `probabilities` has them all.
    """

    id: str | UnsetType = UNSET
    score: float | UnsetType = UNSET
    label: bool | str | UnsetType = UNSET
    probabilities: dict[str, float] | UnsetType = UNSET
    answer: str | UnsetType = UNSET
    observed: Observed | UnsetType | None = UNSET
    interval: Interval | UnsetType | None = UNSET
    fallback: bool | UnsetType = UNSET
    warnings: list[Finding] | UnsetType = UNSET
    errors: list[Finding] | UnsetType = UNSET


class Predictions(Struct, frozen=True):
    version: str
    predictions: list[Prediction]


class Reason(Struct, frozen=True):
    """What one value does to the score: `effect` is the score minus the score with the typical value in its place.

    With several classes the score is the probability of the class that the row is called, in both.
    """

    field: str
    value: Any
    typical: Any
    effect: float


class Explanation(Struct, frozen=True):
    """Why a row has its score. `typical_score` is None where the model has no answer for a row typical throughout.

    With several classes all of it is about the probability of the class in `label`.
    """

    version: str
    score: float
    label: bool | str | UnsetType
    probabilities: dict[str, float] | UnsetType
    answer: str | UnsetType
    observed: Observed | UnsetType | None
    interval: Interval | UnsetType | None
    typical_score: float | None
    reasons: list[Reason]
    warnings: list[Finding]


class RowError(Struct, frozen=True):
    """A finding for which a row is refused, with the row's number in the request."""

    row: int
    field: str
    kind: str
    message: str
