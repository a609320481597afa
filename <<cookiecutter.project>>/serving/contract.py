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
MOST_CLASSES = 100
Digest = Annotated[str, Meta(pattern="^sha256:[0-9a-f]{64}$")]
ClassName = Annotated[str, Meta(min_length=1, max_length=200)]
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

    Classification: `share` of them were positive. Several classes: the score is the largest probability, and `share`
    of them were of the class that has it. Regression: a score plus `low` and plus `high` is its interval.
    """

    above: float
    rows: int
    share: float | None = None
    low: float | None = None
    high: float | None = None


class Probe(_Record, frozen=True):
    """A row and the score that the model gave it when it was exported; with several classes one for each."""

    row: dict[str, Cell]
    score: float | list[float]


class Contract(_Record, frozen=True):
    """The whole contract.

    `threshold` is the lowest score with the label yes, `confidence` is that of the intervals. `grid` holds the bucket
    bounds of the histogram of scores, `holdout` the counts of the holdout in these buckets.

    `multiclass`: `classes` are the names, in the order of the model's scores; the label is the class of the largest
    one, the first of equal ones. `grid` and `holdout` are of the largest, `called` counts the holdout's labels.
    """

    format: int
    title: str
    question: str
    row: str
    moment: str | None
    task: Literal["classification", "regression", "multiclass"]
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
    classes: Annotated[list[ClassName], Meta(max_length=MOST_CLASSES)] = []
    called: list[int] = []

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
    if problem := _find_problem(contract):
        raise ModelError(f"{path}: {problem}")
    return contract


def _find_problem(contract: Contract) -> str | None:
    """Find what the types do not show: parts of a contract that cannot be true together."""
    if contract.task == "classification" and not 0 <= (contract.threshold or 0) <= 1:
        return f"threshold {contract.threshold}: no probability, so no label could be right"
    several, classes = contract.task == "multiclass", contract.classes
    if several and len(classes) < 2:
        return f"{len(classes)} classes: a model of several classes names each of them"
    if twice := sorted({name for name in classes if classes.count(name) > 1}):
        return f"classes: {twice[0]!r} is there more than once"
    if classes and not several:
        return f"classes: the task is {contract.task}, which has none"
    for number, probe in enumerate(contract.probes):
        found = len(probe.score) if isinstance(probe.score, list) else 0
        if found != len(classes):
            expected = f"a list of {len(classes)} scores, one for each class" if several else "one score"
            return f"probe {number}: expected {expected}"
    return None
