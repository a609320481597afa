"""Read the rows of a request by the contract, and find values that are missing, not allowed or unlike training."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
import numpy as np
from msgspec import Meta, Struct

from serving.decoding import DECODE_ERRORS, describe_decode_error
from serving.errors import MalformedBodyError, TooLargeError

if TYPE_CHECKING:
    from serving.contract import Bound, Cell, Contract, Identity, Input
    from serving.settings import Limits

FindingKind = Literal["type", "unknown", "missing", "range", "category", "beyond", "unseen", "unanswered"]
# The kinds that are counted by column. Rows with `type` or `unanswered` are refused; an `unknown` field has no column.
COUNTED_KINDS: tuple[FindingKind, ...] = ("missing", "range", "category", "beyond", "unseen")
# The key of `serving.rows` in params.yaml that says what to do with each kind.
POLICY_KEYS: dict[FindingKind, str] = {
    "unknown": "unknown",
    "missing": "missing",
    "range": "impossible",
    "category": "impossible",
    "beyond": "unlike",
    "unseen": "unlike",
}
MAX_TEXT = 1000
MAX_LONG_TEXT = 20_000  # of a column of free text
MAX_NUMBER = float(np.finfo(np.float32).max)
# Findings of one row, and of all rows of a request together: a row beyond has one, so that it is not taken for good.
MAX_FINDINGS = 100
MAX_ALL_FINDINGS = 10_000
# How much work the suggestions for one request may be, in pairs of letters compared: less than 0.1 s.
MAX_COMPARED = 500_000
# Characters of a caller's value that a message repeats.
MAX_SHOWN = 80
MAX_REASON = 300

# Whatever opens or closes an object or a list, outside of texts.
# Possessive, and with an end that may be missing, so that no body takes more than one pass.
BRACKETS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[][{}]', re.DOTALL)
# What a name in JSON has an escape for.
ESCAPED = re.compile(r'["\\\x00-\x1f]')
# Rows are counted exactly up to so many times the limit.
COUNTED_TIMES = 20

Number = Annotated[float, Meta(ge=-MAX_NUMBER, le=MAX_NUMBER)]
Text = Annotated[str, Meta(max_length=MAX_TEXT)]
LongText = Annotated[str, Meta(max_length=MAX_LONG_TEXT)]


class Finding(Struct, frozen=True):
    """What is wrong or unusual about one field of a row, in words for the caller."""

    field: str
    kind: FindingKind
    message: str


class ParsedRow(Struct, frozen=True):
    """One row of a request. `row` is None if a value has a wrong type; the findings say which."""

    row: Any
    findings: tuple[Finding, ...] = ()


class Batch(Struct, frozen=True):
    """Rows as the model takes them, each array of shape (inputs, rows).

    `numbers` is float32 with NaN for missing values; `categories` is text, "" for missing values.
    """

    numbers: np.ndarray
    categories: np.ndarray


class RowReader:
    """Reads and checks the rows of one contract.

    `Row` is the type of a row. Its fields are named `c0`, `c1`, … in the order of `fields`: first the numeric inputs
    (`width` of them), then the categorical ones, then the identity columns.
    """

    def __init__(self, contract: Contract) -> None:
        self.inputs = [*contract.numeric, *contract.categorical]
        self.fields: list[Input | Identity] = [*self.inputs, *contract.identity]
        self.width = len(contract.numeric)
        self._names = [field.name for field in self.fields]
        types = [_choose_type(field) for field in self.inputs]
        types += [Number | None if field.type == "number" else Text | None for field in contract.identity]
        self._types: dict[str, Any] = dict(zip(self._names, types, strict=True))
        # A struct cannot call a field by a name that JSON escapes: such rows are read field by field, and more slowly.
        self._is_struct = not any(map(ESCAPED.search, self._names))
        self.Row = msgspec.defstruct(
            "Row",
            [
                (f"c{at}", kind, msgspec.field(default=None, name=name if self._is_struct else None))
                for at, (name, kind) in enumerate(self._types.items())
            ],
            forbid_unknown_fields=True,
        )
        self._decoder = msgspec.json.Decoder(self.Row | list[self.Row])  # type: ignore[name-defined]
        limits = [_compute_limits(field) for field in self.inputs[: self.width]]
        self._low = np.array([[low] for low, _ in limits], dtype=np.float32).reshape(-1, 1)
        self._high = np.array([[high] for _, high in limits], dtype=np.float32).reshape(-1, 1)
        self._usual = [_collect_usual(field) for field in self.inputs[self.width :]]
        # The column and the categories of each input that has a list of them.
        self._suggesting = {
            field.name: (at, field.categories) for at, field in enumerate(self.inputs) if field.categories
        }
        such_as = self.inputs[0].name[:MAX_SHOWN]
        self._no_field = Finding(
            "",
            "type",
            f"has none of the fields that the model reads, such as {such_as!r}; GET /docs lists them",
        )
        self._is_plain = [field.type in ("category", "text") for field in self.inputs[self.width :]]

    def decode(self, body: bytes, limits: Limits | None = None) -> list[ParsedRow]:
        """Decode a body: one JSON object (a row), or a list of them.

        If a field occurs twice, the last one counts. Raises `TooLargeError` beyond the limits, and `MalformedBodyError`
        for anything else.
        """
        if limits and body.count(b"{") > limits.rows:  # before they are built
            _count_rows(body, limits.rows)
        if not self._is_struct:
            return self._decode_by_field(body, limits)
        try:
            found = self._decoder.decode(body)
        except msgspec.ValidationError:
            return self._decode_by_field(body, limits)
        except DECODE_ERRORS as error:
            raise MalformedBodyError(_describe_error(error)) from error
        return [ParsedRow(row) for row in found] if isinstance(found, list) else [ParsedRow(found)]

    def _decode_by_field(self, body: bytes, limits: Limits | None) -> list[ParsedRow]:
        """Decode a body with a wrong field again, slowly, to say all that is wrong at once."""
        try:
            found = msgspec.json.decode(body)
        except DECODE_ERRORS as error:
            raise MalformedBodyError(_describe_error(error)) from error
        if not isinstance(found, dict | list):
            raise MalformedBodyError("expected a row (an object) or a list of rows")
        rows = found if isinstance(found, list) else [found]
        if limits:
            self._check_size(rows, limits)
        parsed = []
        left, hints = MAX_ALL_FINDINGS, Hints()
        for row in rows:
            parsed.append(self._parse_row(row, min(MAX_FINDINGS, max(1, left)), hints))
            left -= len(parsed[-1].findings)
        return parsed

    def _check_size(self, rows: list[Any], limits: Limits) -> None:
        """Raise `TooLargeError` if there are more rows, or more unknown fields in a row, than allowed."""
        if len(rows) > limits.rows:
            raise TooLargeError(_describe_rows(f"{len(rows):,}", limits.rows))
        for row in rows:
            if isinstance(row, dict) and len(row) > limits.fields + len(self._names):
                raise TooLargeError(
                    f"a row has {len(row):,} fields; {limits.fields:,} that the model does not know are allowed"
                )

    def _parse_row(self, fields: Any, most: int, hints: Hints) -> ParsedRow:
        """Check each field, and describe the first `most` findings."""
        if not isinstance(fields, dict):
            return ParsedRow(None, (Finding("", "type", "expected an object with the row's fields"),))
        findings: list[Finding] = []
        values: dict[str, Any] = {}
        wrong: Finding | None = None
        for name, value in fields.items():
            if name not in self._types:
                if len(findings) < most:
                    hint = hints.suggest(name, self._names)
                    words = f"the model knows no such field{hint}"
                    findings.append(Finding(name[:MAX_SHOWN], "unknown", words))
                continue
            try:
                values[name] = msgspec.convert(value, self._types[name])
            except (msgspec.ValidationError, RecursionError) as error:
                if wrong is None or len(findings) < most:
                    wrong = Finding(name, "type", _describe_error(error))
                    findings.append(wrong)
        if wrong is None:
            return ParsedRow(self.make_row(values), tuple(findings))
        # A wrong type must be among them: it refuses the row, which an unknown field may not do.
        listed = findings[:most] if wrong in findings[:most] else [*findings[: most - 1], wrong]
        return ParsedRow(None, tuple(listed))

    def make_row(self, values: dict[str, Any]) -> Any:
        """Make a row of values by the names of their columns. Raises `msgspec.ValidationError` for a wrong value."""
        if self._is_struct:
            return msgspec.convert(values, self.Row)
        places = {name: at for at, name in enumerate(self._names)}
        return msgspec.convert({f"c{places[name]}": value for name, value in values.items()}, self.Row)

    def name_values(self, row: Any) -> Any:
        """What JSON writes as the row's values by the names of their columns."""
        if self._is_struct:
            return row
        return dict(zip(self._names, msgspec.structs.astuple(row), strict=True))

    def build_batch(self, rows: list[Any]) -> Batch:
        """Build the arrays of these rows."""
        columns = list(zip(*map(msgspec.structs.astuple, rows), strict=True))
        numbers = np.array(columns[: self.width], dtype=np.float32).reshape(self.width, len(rows))
        given = columns[self.width : len(self.inputs)]
        categories = [
            column if None not in column and plain else [*map(format_category, column)]
            for column, plain in zip(given, self._is_plain, strict=True)
        ]
        return Batch(numbers, np.array(categories, dtype=object).reshape(len(categories), len(rows)))

    def fill_batch(self, batch: Batch, row: Any) -> None:
        """Replace the row of a batch of one. This is faster than a new batch."""
        values = msgspec.structs.astuple(row)
        given = values[self.width : len(self.inputs)]
        batch.numbers[:, 0] = values[: self.width]
        batch.categories[:, 0] = [
            value if plain and value is not None else format_category(value)
            for value, plain in zip(given, self._is_plain, strict=True)
        ]

    def add_hints(self, row: Any, findings: list[Finding], hints: Hints) -> None:
        """Add to the findings of a row which category may have been meant."""
        for at, finding in enumerate(findings):
            field = self._suggesting.get(finding.field) if finding.kind == "category" else None
            if field is not None:
                column, known = field
                hint = hints.suggest(format_category(getattr(row, f"c{column}")), known)
                findings[at] = Finding(finding.field, finding.kind, finding.message + hint)

    def check(self, batch: Batch) -> dict[int, list[Finding]]:
        """Find what is missing, not allowed or unlike training, by the row's number. Usual rows are not in it."""
        found: dict[int, list[Finding]] = {}
        numbers = batch.numbers
        fits = (numbers >= self._low) & (numbers <= self._high)  # false where missing
        if np.count_nonzero(fits) < fits.size or not self.width:
            for row in np.flatnonzero(np.isnan(numbers).all(axis=0)).tolist():
                if not any(batch.categories[:, row]):
                    found[row] = [self._no_field]
            for column, row in np.argwhere(~fits).tolist():
                finding = _check_number(self.inputs[column], float(numbers[column, row]))
                if finding:
                    found.setdefault(row, []).append(finding)
        for at, (values, usual) in enumerate(zip(batch.categories.tolist(), self._usual, strict=True)):
            for row, value in enumerate(values):
                if value not in usual and (finding := _check_category(self.inputs[self.width + at], value)):
                    found.setdefault(row, []).append(finding)
        return found


def format_category(value: Any) -> str:
    """Write a value as the pipeline writes categories: whole numbers without a fraction, "" for a missing value."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else str(value)
    return str(value)


def decode_cell(field: Input, cell: Cell) -> Any:
    """Convert a cell of the contract to the value that a request has for it."""
    if cell is None:
        return None
    if field.type == "boolean":
        return cell in (1.0, "true")
    return float(cell) if field.type == "number" else cell


def _choose_type(field: Input) -> Any:
    if field.type == "boolean":
        return bool | None
    if field.type == "text":
        return LongText | None
    return Number | None if field.type == "number" else Text | None


def _compute_limits(field: Input) -> tuple[float, float]:
    """Compute the range of usual numbers: allowed, and within what training held."""
    low, high = field.range or (None, None)
    lows = [bound for bound in (low, field.low) if bound is not None]
    highs = [bound for bound in (high, field.high) if bound is not None]
    return max(lows, default=-np.inf), min(highs, default=np.inf)


class _Anything:
    """A set that has every category but the missing one."""

    def __contains__(self, value: object) -> bool:
        return value != ""


def _collect_usual(field: Input) -> frozenset[str] | _Anything:
    """Collect the usual categories: allowed, and seen in training."""
    allowed = None if field.categories is None else frozenset(field.categories)
    seen = None if field.seen is None else frozenset(field.seen)
    if allowed is not None and seen is not None:
        return allowed & seen
    return allowed or seen or _Anything()


def _check_number(field: Input, value: float) -> Finding | None:
    """Say why a number is not usual: missing, impossible, or beyond what training held."""
    if np.isnan(value):
        return _check_missing(field)
    unit = f" {field.unit}" if field.unit else ""
    sides: list[tuple[str, FindingKind, Bound, Bound]] = [
        ("possible", "range", *(field.range or (None, None))),
        ("seen in training", "beyond", field.low, field.high),
    ]
    for name, kind, low, high in sides:
        # Bounds as float32, as the value is: 0.1 is not above 0.1.
        if low is not None and value < np.float32(low):
            words = f"{_format_number(value)}{unit} is below the lowest {name}, {_format_number(low)}{unit}"
            return Finding(field.name, kind, words)
        if high is not None and value > np.float32(high):
            words = f"{_format_number(value)}{unit} is above the highest {name}, {_format_number(high)}{unit}"
            return Finding(field.name, kind, words)
    return None


def _check_category(field: Input, value: str) -> Finding | None:
    """Say why a category is not usual: missing, not allowed, or not seen in training."""
    if value == "":
        return _check_missing(field)
    shown = value if len(value) <= MAX_SHOWN else value[:MAX_SHOWN] + "…"
    if field.categories is not None and value not in field.categories:
        return Finding(field.name, "category", f"{shown!r} is none of the allowed values")
    more = ", and the model has no answer for it" if field.closed else ""
    return Finding(field.name, "unseen", f"{shown!r} did not occur in training{more}")


def _check_missing(field: Input) -> Finding | None:
    """Report a missing value if the model or schema.yaml expects one, or if training always had one."""
    if field.required:
        return Finding(field.name, "missing", "no value, and the model has no answer without one")
    if not field.nullable:
        return Finding(field.name, "missing", "no value, though there always is one")
    if field.missing == 0:
        return Finding(field.name, "missing", "no value; in training it was never missing")
    return None


class Hints:
    """Suggests known words for unknown ones, with a limit for all words of a request: comparing them is slow."""

    def __init__(self) -> None:
        self._left = MAX_COMPARED
        self._given: dict[tuple[str, int], str] = {}

    def suggest(self, word: str, known: list[str]) -> str:
        """Suggest the known word that is most similar; empty if none is, or if there was too much to compare."""
        word = word[:MAX_SHOWN]
        key = (word, id(known))
        if key in self._given:
            return self._given[key]
        if self._left > 0:
            self._left -= sum(40 + len(word) * len(one) for one in known)
        if self._left <= 0:
            return ""
        near = difflib.get_close_matches(word, known, n=1)
        self._given[key] = f"; did you mean {near[0]!r}?" if near else ""
        return self._given[key]


def _count_rows(body: bytes, most: int) -> None:
    """Count the objects and lists in the outer list, and raise `TooLargeError` if they are too many.

    Texts may hold brackets too, and objects may be values, so counting brackets alone is not enough.
    """
    depth = rows = 0
    for found in BRACKETS.finditer(body):
        bracket = found[0]
        if bracket in (b"{", b"["):
            depth += 1
            rows += depth == 2
            if rows > COUNTED_TIMES * most:
                raise TooLargeError(_describe_rows(f"more than {COUNTED_TIMES * most:,}", most))
        elif bracket in (b"}", b"]"):
            depth -= 1
    if rows > most and body.lstrip()[:1] == b"[":
        raise TooLargeError(_describe_rows(f"{rows:,}", most))


def _describe_rows(rows: str, most: int) -> str:
    return f"{rows} rows, but a request may have {most:,}; send the rest in another"


def _format_number(value: float) -> str:
    return f"{float(value):.7g}"


def _describe_error(error: Exception) -> str:
    return describe_decode_error(error)[0][:MAX_REASON]
