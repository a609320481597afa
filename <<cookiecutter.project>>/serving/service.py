"""What the service does with rows: check, score, say what experience knows of such a score, log, answer."""

from __future__ import annotations

import asyncio
import bisect
import hashlib
import hmac
import secrets
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from msgspec import UNSET, Struct, UnsetType

from serving.archive import FORMAT, Entry, Head, Type
from serving.batching import Batching
from serving.journal import NotLogged
from serving.problems import Problem
from serving.rows import POLICY, Finding, Malformed, Read, given

if TYPE_CHECKING:
    from serving.batching import Scored
    from serving.contract import Contract, Experience, Identity, Input
    from serving.journal import Journal
    from serving.metrics import Metrics
    from serving.model import Model
    from serving.settings import RowPolicy, Serving

# From this many rows on, the model is asked in a thread: the loop must not wait for it. Fewer are scored together.
MANY = 64
SHOWN_ERRORS = 100


class Observed(Struct, frozen=True):
    """How often rows of the holdout with such a score were positive."""

    share: float
    rows: int


class Interval(Struct, frozen=True):
    """Where the true value lies with this confidence, as for rows of the holdout with such a score."""

    low: float
    high: float
    confidence: float
    rows: int


class Prediction(Struct, frozen=True):
    """The answer to one row. `errors` stand in place of it where the row is refused."""

    id: str | UnsetType = UNSET
    score: float | UnsetType = UNSET
    label: bool | UnsetType = UNSET
    observed: Observed | UnsetType | None = UNSET
    interval: Interval | UnsetType | None = UNSET
    fallback: bool | UnsetType = UNSET
    warnings: list[Finding] | UnsetType = UNSET
    errors: list[Finding] | UnsetType = UNSET


class Predictions(Struct, frozen=True):
    version: str
    predictions: list[Prediction]


class Reason(Struct, frozen=True):
    """What changes in the score if this one value were the typical one: `effect` is score minus that score."""

    field: str
    value: Any
    typical: Any
    effect: float


class Explanation(Struct, frozen=True):
    version: str
    score: float
    label: bool | UnsetType
    observed: Observed | UnsetType
    interval: Interval | UnsetType
    typical_score: float
    reasons: list[Reason]
    warnings: list[Finding]


class Refusal(Struct, frozen=True):
    """An error of a request's row, by the row's number."""

    row: int
    field: str
    kind: str
    message: str


class Service:
    """One worker's service over a model that may serve."""

    def __init__(
        self,
        model: Model,
        settings: Serving,
        metrics: Metrics,
        *,
        version: str,
        hash_key: str = "",
    ) -> None:
        self.model, self.settings, self.metrics, self.version = model, settings, metrics, version
        self._contract = model.contract
        self._edges = [entry.above for entry in self._contract.experience]
        self._experience = [_told(entry, self._contract) for entry in self._contract.experience]
        self._threshold = 0.5 if self._contract.threshold is None else self._contract.threshold
        self._is_classification = self._contract.task == "classification"
        self._encoder = msgspec.json.Encoder()
        self._prefix, self._count = secrets.token_hex(8), 0
        self._batching = Batching(self._score, MANY)
        self._thread = ThreadPoolExecutor(1, "model")
        self._private = _private(model, settings.log.personal, hash_key)

    def head(self) -> bytes:
        """The first line of this service's log files."""
        hashed = self.settings.log.personal == "hash"
        columns: dict[str, Type] = {
            entry.name: "text" if hashed and entry.personal else _column_type(entry)
            for entry in _fields(self.model)
        }
        return self._encoder.encode(Head(FORMAT, self.version, self._contract.onnx, columns))

    async def predict(self, body: bytes, journal: Journal) -> bytes:
        """The answer to `POST /predict`. Raises `Problem`."""
        reads = self._read(body)
        findings = [list(read.findings) for read in reads]
        readable = [at for at, read in enumerate(reads) if read.row is not None]
        scores: list[float] = []
        if readable:
            scores, found = await self._scored([reads[at].row for at in readable])
            for at, more in found.items():
                findings[readable[at]] += more
        return await self._answer(reads, findings, dict(zip(readable, scores, strict=True)), journal)

    def explain(self, body: bytes) -> bytes:
        """The answer to `POST /explain`: each value in turn replaced by the typical one, in one batch.

        Replacing one value at a time is the sensitivity of Robnik-Šikonja and Kononenko (2008, "Explaining
        classifications for individual instances"); effects need not add up where inputs act together. Raises `Problem`.
        """
        reads = self._read(body)
        if len(reads) != 1:
            raise Problem(422, f"one row is explained at a time, not {len(reads)}")
        row, findings = reads[0].row, list(reads[0].findings)
        if row is None:
            raise _refused([(0, found) for found in findings])
        reader = self.model.reader
        typical = self._typical()
        rows = [row, reader.Row(**typical)]
        rows += [msgspec.structs.replace(row, **{name: value}) for name, value in typical.items()]
        batch = reader.batch(rows)
        findings += reader.check(batch).get(0, [])
        if refused := [(0, found) for found in findings if self._does(found) == "refuse"]:
            raise _refused(refused)
        score, ordinary, *others = self.model.scores(batch).tolist()
        values = msgspec.structs.astuple(row)
        reasons = [
            Reason(entry.name, value, other, score - without)
            for entry, value, other, without in zip(
                reader.inputs, values[: len(typical)], typical.values(), others, strict=True
            )
            if value != other
        ]
        reasons.sort(key=lambda reason: -abs(reason.effect))
        label, observed, interval = self._judge(score)
        answer = Explanation(self.version, score, label, observed, interval, ordinary, reasons, findings)
        return self._encoder.encode(answer)

    def _typical(self) -> dict[str, Any]:
        """A typical row by the attributes of the reader's rows."""
        return {f"c{at}": given(entry, entry.example) for at, entry in enumerate(self.model.reader.inputs)}

    def _read(self, body: bytes) -> list[Read]:
        try:
            reads = self.model.reader.decode(body)
        except Malformed as error:
            raise Problem(400, f"the body is not a row or a list of rows in JSON: {error}") from error
        if not reads:
            raise Problem(422, "the list of rows is empty")
        most = self.settings.limits.rows
        if len(reads) > most:
            raise Problem(
                413, f"{len(reads):,} rows, but a request may have {most:,}; send the rest in another"
            )
        return reads

    async def _scored(self, rows: list[Any]) -> Scored:
        if len(rows) < MANY:
            return await self._batching.score(rows)
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._score, rows)

    def _score(self, rows: list[Any]) -> Scored:
        batch = self.model.batch(rows)
        return self.model.scores(batch).tolist(), self.model.reader.check(batch)

    def _does(self, finding: Finding) -> str:
        """What the policy does with a finding; a wrong type is always refused."""
        policy: RowPolicy = self.settings.rows
        return "refuse" if finding.kind == "type" else getattr(policy, POLICY[finding.kind])

    async def _answer(
        self, reads: list[Read], findings: list[list[Finding]], scores: dict[int, float], journal: Journal
    ) -> bytes:
        errors = [
            (row, found)
            for row, several in enumerate(findings)
            for found in several
            if self._does(found) == "refuse"
        ]
        refused = {row for row, _ in errors} if errors else ()
        if errors and (self.settings.rows.whole_batch or len(refused) == len(reads)):
            raise _refused(errors)
        answers, entries, given = [], [], []
        now = datetime.now(UTC)
        for row, read in enumerate(reads):
            if row in refused:
                answers.append(Prediction(errors=[found for at, found in errors if at == row]))
                continue
            answer, entry = self._one(read.row, scores[row], findings[row], now)
            answers.append(answer)
            entries.append(entry)
            given.append(entry.score)
        await self._log(entries, journal)
        self.metrics.scores(np.array(given, dtype=np.float32))
        return self._encoder.encode(Predictions(self.version, answers))

    def _one(
        self, row: Any, score: float, findings: list[Finding], now: datetime
    ) -> tuple[Prediction, Entry]:
        """The answer to one row, and what the log says of it."""
        falls_back = bool(findings) and any(self._does(found) == "fallback" for found in findings)
        if falls_back and self.settings.rows.fallback is not None:
            score = self.settings.rows.fallback
        self._count += 1
        name = f"{self._prefix}-{self._count:x}"
        label, observed, interval = self._judge(score)
        if falls_back:  # experience is with the model's scores
            observed, interval = (None, UNSET) if self._is_classification else (UNSET, None)
        for found in findings:
            self.metrics.warning(found.field, found.kind)
        kinds = [f"{found.field}:{found.kind}" for found in findings]
        logged = msgspec.Raw(self._encoder.encode(self._private(row)))
        answer = Prediction(name, score, label, observed, interval, falls_back, findings)
        low, high = (interval.low, interval.high) if isinstance(interval, Interval) else (None, None)
        known = None if label is UNSET else label
        return answer, Entry(name, now, logged, score, known, low, high, falls_back, kinds)

    def _judge(self, score: float) -> tuple[Any, Any, Any]:
        """Label, observed share and interval of a score; unset what the task does not have."""
        told = self._experience[max(bisect.bisect_right(self._edges, score) - 1, 0)]
        if self._is_classification:
            return score >= self._threshold, told, UNSET
        return UNSET, UNSET, Interval(score + told.low, score + told.high, told.confidence, told.rows)

    async def _log(self, entries: list[Entry], journal: Journal) -> None:
        """Raises `Problem` where the policy refuses an answer that is not in the log."""
        try:
            await journal.add(self._encoder.encode_lines(entries))
        except NotLogged as error:
            if self.settings.log.failure == "refuse":
                raise Problem(
                    503, f"the prediction log does not take entries: {error}", retry_after=5
                ) from error
            self.metrics.lost(len(entries))


def _told(entry: Experience, known: Contract) -> Any:
    if entry.share is not None:
        return Observed(entry.share, entry.rows)
    return Interval(entry.low or 0.0, entry.high or 0.0, known.confidence or 0.0, entry.rows)


def _fields(model: Model) -> list[Input | Identity]:
    """What a row holds, in its order."""
    return [*model.reader.inputs, *model.contract.identity]


def _column_type(entry: Input | Identity) -> Type:
    """A field's type in the log's tables; a truth that is an input as text stays text."""
    if entry.type == "boolean" and getattr(entry, "kind", "") == "number":
        return "boolean"
    return "number" if entry.type == "number" else "text"


def _private(model: Model, policy: str, key: str) -> Any:
    """What turns a row into what may be logged of it: personal fields dropped, or hashed with a secret key."""
    personal = [f"c{at}" for at, entry in enumerate(_fields(model)) if entry.personal]
    if not personal or policy == "keep":
        return lambda row: row

    def hashed(value: Any) -> str | None:
        if value is None:
            return None
        text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
        return hmac.new(key.encode(), text.encode(), hashlib.sha256).hexdigest()

    def private(row: Any) -> Any:
        shown = hashed if policy == "hash" else lambda _: None
        return msgspec.structs.replace(row, **{name: shown(getattr(row, name)) for name in personal})

    return private


def _refused(errors: list[tuple[int, Finding]]) -> Problem:
    """Which rows are refused, field by field."""
    rows = len({row for row, _ in errors})
    first = errors[0][1]
    where = f"{first.field}: " if first.field else ""
    detail = f"{rows:,} row{'s are' if rows > 1 else ' is'} refused; {where}{first.message}"
    listed = [Refusal(row, found.field, found.kind, found.message) for row, found in errors[:SHOWN_ERRORS]]
    return Problem(422, detail, errors=listed)
