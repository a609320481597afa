"""Read the contract that the pipeline writes beside the model: what the model takes, and what its scores mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from msgspec import Meta, Struct

from serving.decoding import decode_json, read_bytes
from serving.errors import ModelError

if TYPE_CHECKING:
    from pathlib import Path

FORMAT = 1
HINT = "; `dvc repro` writes it, or `python -m bots storage fetch` fetches it"
Digest = Annotated[str, Meta(pattern="^sha256:[0-9a-f]{64}$")]
Bound = float | None
Cell = float | str | None


class _Record(Struct, frozen=True, forbid_unknown_fields=True):
    """Base of every part of the contract. An unknown key is refused, because this version would ignore it."""


class Answers(_Record, frozen=True):
    """What people call yes and no, where they call them by names of their own."""

    yes: str
    no: str


class Target(_Record, frozen=True):
    name: str
    description: str
    unit: str | None
    answers: Answers | None = None


class Input(_Record, frozen=True):
    """One column that the model reads.

    `range` and `categories` are what schema.yaml allows; `low`, `high` and `seen` are what training held, and
    `missing` is the share of training rows without a value. `example` is a typical value: the median, or the most
    frequent category. A personal input shows no values.

    `required`: the model has no answer, or a wrong one, where this value is missing. `closed`: the same for a category
    that is not in `seen`. Such rows are refused. Contracts that were made before these two have neither.
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
    required: bool = False
    closed: bool = False


class Identity(_Record, frozen=True):
    """A column that identifies the row, so that its label can be joined later. The model does not read it."""

    name: str
    type: Literal["number", "category", "datetime", "boolean", "text"]
    description: str
    personal: bool


class ScoreBin(_Record, frozen=True):
    """The holdout rows whose score is at least `above`, up to the next bin.

    Classification: `share` of them were positive. Regression: a score plus `low` and plus `high` is its interval.
    """

    above: float
    rows: int
    share: float | None = None
    low: float | None = None
    high: float | None = None


class Probe(_Record, frozen=True):
    """A row and the score that the model gave it when it was exported."""

    row: dict[str, Cell]
    score: float


class Contract(_Record, frozen=True):
    """The whole contract.

    `threshold` is the lowest score with the label yes, `confidence` is that of the intervals. `grid` holds the bucket
    bounds of the histogram of scores, `holdout` the counts of the holdout in these buckets.
    """

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
    experience: list[ScoreBin]
    grid: Annotated[list[float], Meta(min_length=1)]
    holdout: list[int]
    probes: Annotated[list[Probe], Meta(min_length=1)]

    @property
    def numeric(self) -> list[Input]:
        """The inputs that are numbers. They come first in the model's order."""
        return [field for field in self.inputs if field.kind == "number"]

    @property
    def categorical(self) -> list[Input]:
        """The inputs that are categories."""
        return [field for field in self.inputs if field.kind == "category"]


class _Format(Struct):
    format: int


def load_contract(path: Path) -> Contract:
    """Read and check a contract. Raises `ModelError`."""
    return decode_contract(read_bytes(path, HINT), path)


def decode_contract(data: bytes, path: Path) -> Contract:
    """Decode and check the content of a contract. Raises `ModelError`."""
    found = decode_json(data, _Format, path, name="a contract", hint=HINT).format
    if found != FORMAT:
        raise ModelError(
            f"{path}: format {found}, but this service reads format {FORMAT}; serve it by its own"
        )
    contract = decode_json(data, Contract, path, name="a contract", hint=HINT)
    if contract.task == "classification" and not 0 <= (contract.threshold or 0) <= 1:
        raise ModelError(
            f"{path}: threshold {contract.threshold}: no probability, so no label could be right"
        )
    return contract
