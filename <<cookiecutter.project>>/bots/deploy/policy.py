"""What `release:` in params.yaml says: when an image may leave, and how a canary is judged."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

Share = Annotated[float, Meta(gt=0, le=0.5)]
Rate = Annotated[float, Meta(ge=0, le=1)]
Positive = Annotated[float, Meta(gt=0)]


class _Section(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every section: unknown keys are refused."""


class Smoke(_Section, frozen=True):
    """How an image is tried before it leaves: rows of the holdout, and times in seconds."""

    rows: Annotated[int, Meta(ge=1, le=10_000)] = 50
    tolerance: Positive = 0.0001
    ready: Positive = 30.0
    stop: Positive = 15.0


class Latency(_Section, frozen=True):
    """A quantile may grow to `ratio` times the running version's, and by `seconds` in any case."""

    ratio: Annotated[float, Meta(ge=1)] = 1.5
    seconds: Annotated[float, Meta(ge=0)] = 0.02


class Canary(_Section, frozen=True):
    """How a new version is held against the running one; times in seconds, shares of one."""

    share: Share = 0.1
    requests: Annotated[int, Meta(ge=1)] = 500
    seconds: Positive = 900.0
    every: Annotated[float, Meta(ge=0.1)] = 5.0
    quiet: Literal["promote", "roll back"] = "promote"
    risk: Annotated[float, Meta(gt=0, lt=0.5)] = 0.01
    errors: Rate = 0.005
    refusals: Rate = 0.02
    latency: Latency = Latency()
    shift: Annotated[float, Meta(ge=0)] = 0.1


class Release(_Section, frozen=True):
    """The section; whatever is left out has its default."""

    smoke: Smoke = Smoke()
    canary: Canary = Canary()
