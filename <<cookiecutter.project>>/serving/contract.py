"""The contract that the pipeline writes beside the model: what a request must be, and what an answer can say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
from msgspec import Meta, Struct

if TYPE_CHECKING:
    from pathlib import Path

FORMAT = 1
Digest = Annotated[str, Meta(pattern="^sha256:[0-9a-f]{64}$")]
Bound = float | None
Cell = float | str | None


class Unfit(Exception):
    """What is to be served cannot be; the message says what, where, and what to do."""


class _Record(Struct, frozen=True, forbid_unknown_fields=True):
    """Base of what the contract holds: unknown keys are refused, for they are promises that nobody keeps."""


class Target(_Record, frozen=True):
    name: str
    description: str
    unit: str | None


class Input(_Record, frozen=True):
    """One input. `range` and `categories` are what schema.yaml allows; `low`, `high` and `seen` what training showed.

    `example` is a typical value: the median, or the most frequent category. A personal input shows no value.
    """

    name: str
    kind: Literal["number", "category"]
    type: Literal["number", "category", "boolean", "text"]
    description: str
    unit: str | None
    nullable: bool
    personal: bool
    range: tuple[Bound, Bound] | None
    categories: list[str] | None
    missing: Annotated[float, Meta(ge=0, le=1)]
    low: float | None
    high: float | None
    seen: list[str] | None
    example: Cell


class Identity(_Record, frozen=True):
    """A column that tells which row it was, so that its label can be found later."""

    name: str
    type: Literal["number", "category", "datetime", "boolean", "text"]
    description: str
    personal: bool


class Experience(_Record, frozen=True):
    """What the holdout knows of scores from `above` on: the `share` of yes, or what to add for an interval."""

    above: float
    rows: int
    share: float | None = None
    low: float | None = None
    high: float | None = None


class Probe(_Record, frozen=True):
    """A row and its score: the model must still say so before it may serve."""

    row: dict[str, Cell]
    score: float


class Contract(_Record, frozen=True):
    format: int
    title: str
    question: str
    row: str
    moment: str | None
    task: Literal["classification", "regression"]
    target: Target
    threshold: float | None
    onnx: Digest
    opset: int
    inputs: Annotated[list[Input], Meta(min_length=1)]
    identity: list[Identity]
    confidence: float | None
    experience: list[Experience]
    grid: Annotated[list[float], Meta(min_length=1)]
    holdout: list[int]
    probes: Annotated[list[Probe], Meta(min_length=1)]

    @property
    def numbers(self) -> list[Input]:
        """The numeric inputs, which come first in the model's order."""
        return [entry for entry in self.inputs if entry.kind == "number"]

    @property
    def labels(self) -> list[Input]:
        """The inputs that are categories."""
        return [entry for entry in self.inputs if entry.kind == "category"]


def load(path: Path) -> Contract:
    """Read and check a contract. Raises `Unfit`."""
    again = "run `dvc repro` to write it, or `dvc pull` to fetch it"
    try:
        data = path.read_bytes()
    except OSError as error:
        raise Unfit(f"{path}: cannot be read ({error.strerror}); {again}") from error
    try:
        known = msgspec.json.decode(data, type=_Head)
        if known.format != FORMAT:
            raise Unfit(
                f"{path}: format {known.format}, but this service reads format {FORMAT}; serve it by its own"
            )
        return msgspec.json.decode(data, type=Contract)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Unfit(f"{path}: not a contract ({error}); {again}") from error


class _Head(Struct):
    format: int
