"""Requests as typed rows, and what is odd about them: the contract decides, before the model is asked."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
import numpy as np
from msgspec import Meta, Struct

if TYPE_CHECKING:
    from serving.contract import Bound, Cell, Contract, Input

Kind = Literal["type", "unknown", "missing", "range", "category", "beyond", "unseen"]
# What can be counted by column; `type` never comes to a prediction.
COUNTED: tuple[Kind, ...] = ("missing", "range", "category", "beyond", "unseen")
# Keys of `serving.rows` in params.yaml.
POLICY: dict[Kind, str] = {
    "unknown": "unknown",
    "missing": "missing",
    "range": "impossible",
    "category": "impossible",
    "beyond": "unlike",
    "unseen": "unlike",
}
LONGEST = 1000
LARGEST = float(np.finfo(np.float32).max)
SHOWN = 80
MOST_FINDINGS = 100

Number = Annotated[float, Meta(ge=-LARGEST, le=LARGEST)]
Text = Annotated[str, Meta(max_length=LONGEST)]


class Finding(Struct, frozen=True):
    """What is odd about one field of a row, in words for whoever sent it."""

    field: str
    kind: Kind
    message: str


class Malformed(Exception):
    """The body is not what can be read at all."""


class Read(Struct, frozen=True):
    """One row of a request: its values, unless they cannot be read, and what was found so far."""

    row: Any
    findings: tuple[Finding, ...] = ()


class Batch(Struct, frozen=True):
    """Rows as the model takes them: numbers float32, NaN where missing, and labels as text; both (inputs, rows)."""

    numbers: np.ndarray
    labels: np.ndarray


class Reader:
    """Reads requests for one contract."""

    def __init__(self, contract: Contract) -> None:
        self.inputs = [*contract.numbers, *contract.labels]
        self.width = len(contract.numbers)
        self.names = [entry.name for entry in self.inputs] + [entry.name for entry in contract.identity]
        kinds = [_type(entry) for entry in self.inputs]
        kinds += [Number | None if entry.type == "number" else Text | None for entry in contract.identity]
        self.types: dict[str, Any] = dict(zip(self.names, kinds, strict=True))
        self.Row = msgspec.defstruct(
            "Row",
            [
                (f"c{at}", kind, msgspec.field(default=None, name=name))
                for at, (name, kind) in enumerate(self.types.items())
            ],
            forbid_unknown_fields=True,
        )
        self._decoder = msgspec.json.Decoder(self.Row | list[self.Row])  # type: ignore[name-defined]
        limits = [_limits(entry) for entry in self.inputs[: self.width]]
        self._low = np.array([[low] for low, _ in limits], dtype=np.float32).reshape(-1, 1)
        self._high = np.array([[high] for _, high in limits], dtype=np.float32).reshape(-1, 1)
        self._known = [_known(entry) for entry in self.inputs[self.width :]]
        self._is_plain = [entry.type in ("category", "text") for entry in self.inputs[self.width :]]

    def decode(self, body: bytes) -> list[Read]:
        """The rows of a request, which is one JSON object or a list of them.

        A row that is not of the contract's types comes back with its findings and without values. Of a field that
        is there twice, the last one counts. Raises `Malformed` for what is no JSON or no row at all.
        """
        try:
            found = self._decoder.decode(body)
        except msgspec.ValidationError:
            return self._decode_slowly(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Malformed(_said(error)) from error
        return [Read(row) for row in found] if isinstance(found, list) else [Read(found)]

    def _decode_slowly(self, body: bytes) -> list[Read]:
        try:
            found = msgspec.json.decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise Malformed(_said(error)) from error
        if isinstance(found, dict):
            return [self._read(found)]
        if isinstance(found, list):
            return [self._read(row) for row in found]
        raise Malformed("expected a row (an object) or a list of rows")

    def _read(self, given: Any) -> Read:
        """One row, field by field, so that all that is wrong with it is said at once."""
        if not isinstance(given, dict):
            return Read(None, (Finding("", "type", "expected an object with the row's fields"),))
        findings = []
        values: dict[str, Any] = {}
        for name, value in given.items():
            if name not in self.types:
                near = difflib.get_close_matches(name[:SHOWN], self.names, n=1)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                findings.append(Finding(name[:SHOWN], "unknown", f"the model knows no such field{hint}"))
                continue
            try:
                values[name] = msgspec.convert(value, self.types[name])
            except (msgspec.ValidationError, RecursionError) as error:
                findings.append(Finding(name, "type", _said(error)))
        row = None if any(found.kind == "type" for found in findings) else msgspec.convert(values, self.Row)
        return Read(row, tuple(findings[:MOST_FINDINGS]))

    def batch(self, rows: list[Any]) -> Batch:
        """Rows as the model takes them."""
        columns = list(zip(*map(msgspec.structs.astuple, rows), strict=True))
        numbers = np.array(columns[: self.width], dtype=np.float32).reshape(self.width, len(rows))
        given = columns[self.width : len(self.inputs)]
        labels = [
            column if None not in column and plain else [*map(label, column)]
            for column, plain in zip(given, self._is_plain, strict=True)
        ]
        return Batch(numbers, np.array(labels, dtype=object).reshape(len(labels), len(rows)))

    def fill(self, batch: Batch, row: Any) -> None:
        """Put one row into a batch of one, in place of the row that it held."""
        values = msgspec.structs.astuple(row)
        given = values[self.width : len(self.inputs)]
        batch.numbers[:, 0] = values[: self.width]
        batch.labels[:, 0] = [
            value if plain and value is not None else label(value)
            for value, plain in zip(given, self._is_plain, strict=True)
        ]

    def check(self, batch: Batch) -> dict[int, list[Finding]]:
        """What is odd about the rows, by their number; nothing for a row that is like those of training."""
        found: dict[int, list[Finding]] = {}
        numbers = batch.numbers
        fits = (numbers >= self._low) & (numbers <= self._high)  # false where missing
        if np.count_nonzero(fits) < fits.size or not self.width:
            for row in np.flatnonzero(np.isnan(numbers).all(axis=0)).tolist():
                if not any(batch.labels[:, row]):
                    found[row] = [Finding("", "type", "has none of the fields that the model reads")]
            for column, row in np.argwhere(~fits).tolist():
                finding = _number(self.inputs[column], float(numbers[column, row]))
                if finding:
                    found.setdefault(row, []).append(finding)
        for at, (values, known) in enumerate(zip(batch.labels.tolist(), self._known, strict=True)):
            for row, value in enumerate(values):
                if value not in known and (finding := _label(self.inputs[self.width + at], value)):
                    found.setdefault(row, []).append(finding)
        return found


def label(value: Any) -> str:
    """A value as the pipeline writes it into a category: whole numbers without a fraction, "" where missing."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else str(value)
    return str(value)


def given(entry: Input, value: Cell) -> Any:
    """A value of the contract in the type that a request gives it."""
    if value is None:
        return None
    if entry.type == "boolean":
        return value in (1.0, "true")
    return float(value) if entry.type == "number" else value


def _type(entry: Input) -> Any:
    if entry.type == "boolean":
        return bool | None
    return Number | None if entry.type == "number" else Text | None


def _limits(entry: Input) -> tuple[float, float]:
    """The numbers that need no second look: allowed, and not beyond what training showed."""
    low, high = entry.range or (None, None)
    lows = [bound for bound in (low, entry.low) if bound is not None]
    highs = [bound for bound in (high, entry.high) if bound is not None]
    return max(lows, default=-np.inf), min(highs, default=np.inf)


class _Anything:
    """What a column whose categories are not listed knows."""

    def __contains__(self, value: object) -> bool:
        return value != ""


def _known(entry: Input) -> frozenset[str] | _Anything:
    """The categories that need no second look."""
    allowed = None if entry.categories is None else frozenset(entry.categories)
    seen = None if entry.seen is None else frozenset(entry.seen)
    if allowed is not None and seen is not None:
        return allowed & seen
    return allowed or seen or _Anything()


def _number(entry: Input, value: float) -> Finding | None:
    """What a number that does not fit is: missing, impossible, or beyond what training showed."""
    if np.isnan(value):
        return _missing(entry)
    unit = f" {entry.unit}" if entry.unit else ""
    sides: list[tuple[str, Kind, Bound, Bound]] = [
        ("possible", "range", *(entry.range or (None, None))),
        ("seen in training", "beyond", entry.low, entry.high),
    ]
    for name, kind, low, high in sides:
        # Bounds as float32, as the value is: 0.1 is not above 0.1.
        if low is not None and value < np.float32(low):
            words = f"{_short(value)}{unit} is below the lowest {name}, {_short(low)}{unit}"
            return Finding(entry.name, kind, words)
        if high is not None and value > np.float32(high):
            words = f"{_short(value)}{unit} is above the highest {name}, {_short(high)}{unit}"
            return Finding(entry.name, kind, words)
    return None


def _label(entry: Input, value: str) -> Finding | None:
    """What a category that is not known is: missing, not allowed, or never seen in training."""
    if value == "":
        return _missing(entry)
    shown = value if len(value) <= SHOWN else value[:SHOWN] + "…"
    if entry.categories is not None and value not in entry.categories:
        near = difflib.get_close_matches(value[:SHOWN], entry.categories, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        return Finding(entry.name, "category", f"{shown!r} is none of the allowed values{hint}")
    return Finding(entry.name, "unseen", f"{shown!r} did not occur in training")


def _missing(entry: Input) -> Finding | None:
    """A gap is odd where schema.yaml expects none, or where training had none to learn from."""
    if not entry.nullable:
        return Finding(entry.name, "missing", "no value, though there always is one")
    if entry.missing == 0:
        return Finding(entry.name, "missing", "no value; in training it was never missing")
    return None


def _short(value: float) -> str:
    return f"{float(value):.7g}"


def _said(error: Exception) -> str:
    """A decoder's message as people read it."""
    if isinstance(error, UnicodeDecodeError):
        return "not UTF-8"
    if isinstance(error, RecursionError):
        return "nested too deeply"
    what = str(error).partition(" - at `$")[0]
    return what[:1].lower() + what[1:300]
