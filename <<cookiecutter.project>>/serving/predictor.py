"""Predict and explain rows: check them, score them, log the predictions, and build the response."""

from __future__ import annotations

import asyncio
import math
import secrets
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from msgspec import UNSET

from serving.answers import build_interpreter, find_most_rows
from serving.batching import Batcher
from serving.errors import LogError, MalformedBodyError, RequestError, TooLargeError
from serving.log_format import FORMAT, ColumnType, Entry, Header
from serving.redaction import build_redactor
from serving.responses import Explanation, Interval, Prediction, Predictions, Reason, RowError
from serving.rows import POLICY_KEYS, Finding, FindingKind, Hints, ParsedRow, decode_cell

if TYPE_CHECKING:
    from serving.answers import Score
    from serving.batching import ScoredRows
    from serving.contract import Identity, Input
    from serving.log_writer import LogWriter
    from serving.metrics import Metrics
    from serving.model import Model
    from serving.settings import Settings

# Requests with at least so many rows are scored in a thread, so that the event loop does not wait for them.
# Smaller ones are scored together with others.
THREAD_ROWS = 64
MAX_ERRORS = 100
# Rows of a request without an answer for which it is tried which value it is.
MAX_EXPLAINED = 10
# Decoded, a body takes many times its bytes, so few that are large are decoded at one time.
LARGE_BYTES = 65_536
LARGE_AT_ONCE = 4


class Answer(msgspec.Struct, frozen=True):
    """The response to a request, the entries of its rows for the log, and their scores: float32, shape (rows,).

    With several classes `classes` are the names that the rows are called.
    """

    response: bytes
    entries: bytes
    scores: np.ndarray
    classes: list[str]


class Predictor:
    """Answers the requests of one worker with one model."""

    def __init__(
        self,
        model: Model,
        settings: Settings,
        metrics: Metrics,
        *,
        version: str,
        hash_key: str,
    ) -> None:
        """`version` is part of every response. `hash_key` is the secret for `serving.log.personal: hash`.

        Raises `SettingsError` where the settings do not fit the model.
        """
        self.model, self.settings, self.metrics, self.version = model, settings, metrics, version
        contract = model.contract
        self._contract = contract
        self._interpreter = build_interpreter(contract, settings.rows.fallback)
        self._limits = msgspec.structs.replace(
            settings.limits, rows=find_most_rows(contract, settings.limits)
        )
        self._encoder = msgspec.json.Encoder()
        self._id_prefix, self._id_count = secrets.token_hex(8), 0
        self._large = asyncio.Semaphore(LARGE_AT_ONCE)
        self._batcher = Batcher(self._score_batch, THREAD_ROWS)
        self._thread = ThreadPoolExecutor(1, "model")
        self._redact = build_redactor(model.reader.fields, settings.log.personal, hash_key)
        self._required = {field.name for field in contract.inputs if field.required}
        self._closed = {field.name for field in contract.inputs if field.closed}

    def encode_log_header(self) -> bytes:
        """Encode the first line of this worker's log files."""
        hashed = self.settings.log.personal == "hash"
        columns: dict[str, ColumnType] = {
            field.name: "text" if hashed and field.personal else _choose_column_type(field)
            for field in self.model.reader.fields
        }
        header = Header(
            format=FORMAT,
            version=self.version,
            onnx=self._contract.onnx,
            columns=columns,
            classes=self._contract.classes,
        )
        return self._encoder.encode(header)

    async def predict(self, body: bytes, log: LogWriter) -> bytes:
        """Build the response to `POST /predict`. Raises `RequestError`."""
        if len(body) < LARGE_BYTES:
            answer = await self._answer(body)
        else:
            async with self._large:
                answer = await self._answer(body)
        del body
        await self._log_entries(answer.entries, len(answer.scores), log)
        self.metrics.count_scores(answer.scores)
        for name in answer.classes:
            self.metrics.count_class(name)
        return answer.response

    async def answer(self, body: bytes) -> bytes:
        """Build the same response without logging the predictions. Raises `RequestError`."""
        return (await self._answer(body)).response

    async def _answer(self, body: bytes) -> Answer:
        """Build the response and the entries of its rows. Raises `RequestError`."""
        parsed = self._decode(body)
        findings, scores = await self._check_and_score(parsed)
        errors = [
            (at, finding)
            for at, several in enumerate(findings)
            for finding in several
            if self._choose_action(finding) == "refuse"
        ]
        refused: dict[int, list[Finding]] = {}
        for at, finding in errors:
            refused.setdefault(at, []).append(finding)
        if errors and (self.settings.rows.whole_batch or len(refused) == len(parsed)):
            raise _build_refusal(errors)
        predictions, entries = [], []
        now = datetime.now(UTC)
        for at, row in enumerate(parsed):
            if at in refused:
                predictions.append(Prediction(errors=refused[at]))
                continue
            prediction, entry = self._build_prediction(row.row, scores[at], findings[at], now=now)
            predictions.append(prediction)
            entries.append(entry)
        return Answer(
            response=self._encoder.encode(Predictions(self.version, predictions)),
            entries=self._encoder.encode_lines(entries),
            scores=np.array([entry.score for entry in entries], dtype=np.float32),
            classes=[str(entry.label) for entry in entries] if self._contract.classes else [],
        )

    def explain(self, body: bytes) -> bytes:
        """Build the response to `POST /explain`: replace one value after the other by a typical one, in one batch.

        This is the sensitivity of Robnik-Šikonja and Kononenko (2008, "Explaining classifications for individual
        instances"). Effects need not add up where inputs act together. With several classes it is the probability of
        the class that the row is called. Raises `RequestError`.
        """
        parsed = self._decode(body)
        if len(parsed) != 1:
            raise RequestError(422, f"one row is explained at a time, not {len(parsed)}")
        row, findings = parsed[0].row, list(parsed[0].findings)
        if row is None:
            raise _build_refusal([(0, finding) for finding in findings])
        reader = self.model.reader
        # Where the contract shows no typical value of an input that must have one, the row's own stays.
        usual = self._build_typical_row()
        typical = {
            name: value if value is not None or field.name not in self._required else getattr(row, name)
            for (name, value), field in zip(usual.items(), reader.inputs, strict=True)
        }
        rows = [row, reader.Row(**typical)]
        rows += [msgspec.structs.replace(row, **{name: value}) for name, value in typical.items()]
        batch = reader.build_batch(rows)
        found = reader.check(batch).get(0, [])
        reader.add_hints(row, found, Hints())
        findings += found
        if errors := [(0, finding) for finding in findings if self._choose_action(finding) == "refuse"]:
            raise _build_refusal(errors)
        scores = self.model.score(batch)
        own: Score = scores[0].tolist()
        if not self._interpreter.has_answer(own):
            unanswered = self._find_unanswered(row, by_field=True)
            raise _build_refusal([(0, finding) for finding in unanswered])
        score, typical_score, *replaced = self._interpreter.pick_explained(scores)
        values = msgspec.structs.astuple(row)
        reasons = [
            Reason(field=field.name, value=value, typical=usual, effect=score - without)
            for field, value, usual, without in zip(
                reader.inputs, values[: len(typical)], typical.values(), replaced, strict=True
            )
            if value != usual and math.isfinite(without)
        ]
        reasons.sort(key=lambda reason: -abs(reason.effect))
        meaning = self._interpreter.interpret(own)
        explanation = Explanation(
            version=self.version,
            score=meaning.score,
            label=meaning.label,
            probabilities=meaning.probabilities,
            answer=meaning.answer,
            observed=meaning.observed,
            interval=meaning.interval,
            typical_score=typical_score if math.isfinite(typical_score) else None,
            reasons=reasons,
            warnings=findings,
        )
        return self._encoder.encode(explanation)

    def _build_typical_row(self) -> dict[str, Any]:
        """Build a typical row, by the field names of the reader's row type."""
        inputs = self.model.reader.inputs
        return {f"c{at}": decode_cell(field, field.example) for at, field in enumerate(inputs)}

    def _decode(self, body: bytes) -> list[ParsedRow]:
        """Decode the rows of a request. Raises `RequestError`."""
        try:
            rows = self.model.reader.decode(body, self._limits)
        except TooLargeError as error:
            raise RequestError(413, str(error)) from error
        except MalformedBodyError as error:
            raise RequestError(400, f"the body is not a row or a list of rows in JSON: {error}") from error
        if not rows:
            raise RequestError(422, "the list of rows is empty")
        return rows

    async def _check_and_score(self, parsed: list[ParsedRow]) -> tuple[list[list[Finding]], dict[int, Score]]:
        """Return the findings of each row, and the scores of those that can be read, by the row's number."""
        findings = [list(row.findings) for row in parsed]
        readable = [at for at, row in enumerate(parsed) if row.row is not None]
        if not readable:
            return findings, {}
        scores, found = await self._score([parsed[at].row for at in readable])
        if found:
            hints = Hints()
            for at, more in found.items():
                self.model.reader.add_hints(parsed[readable[at]].row, more, hints)
                findings[readable[at]] += more
        self._explain_unanswered(parsed, findings, dict(zip(readable, scores, strict=True)))
        return findings, dict(zip(readable, scores, strict=True))

    def _explain_unanswered(
        self, parsed: list[ParsedRow], findings: list[list[Finding]], scores: dict[int, Score]
    ) -> None:
        """Add to each row without a finite score why it has none, unless it is refused or falls back anyhow."""
        explained = 0
        has_answer = self._interpreter.has_answer
        for at, score in scores.items():
            if has_answer(score) or any(self._choose_action(found) != "warn" for found in findings[at]):
                continue
            explained += 1
            findings[at] += self._find_unanswered(parsed[at].row, explained <= MAX_EXPLAINED)

    async def _score(self, rows: list[Any]) -> ScoredRows:
        if len(rows) < THREAD_ROWS:
            return await self._batcher.score(rows)
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, self._score_batch, rows)
        except RuntimeError:  # no thread can start
            return self._score_batch(rows)

    def _score_batch(self, rows: list[Any]) -> ScoredRows:
        batch = self.model.build_batch(rows)
        return self.model.score(batch).tolist(), self.model.reader.check(batch)

    def _find_unanswered(self, row: Any, by_field: bool) -> list[Finding]:
        """Find the values for which the model has no finite score: with a typical one in its place it has."""
        kind: FindingKind = "unanswered"
        fields = []
        if by_field:
            typical = self._build_typical_row()
            replaced = [msgspec.structs.replace(row, **{name: value}) for name, value in typical.items()]
            scores = self.model.score(self.model.reader.build_batch(replaced)).tolist()
            fields = [
                field.name
                for field, score in zip(self.model.reader.inputs, scores, strict=True)
                if self._interpreter.has_answer(score)
            ]
        if not fields:
            return [Finding("", kind, "the model has no finite answer for this row")]
        words = "the model has no finite answer with this value; with a typical one in its place it has"
        return [Finding(name, kind, words) for name in fields[:MAX_ERRORS]]

    def _choose_action(self, finding: Finding) -> str:
        """Choose what to do with a row that has this finding. What has no answer is refused, or falls back."""
        if finding.kind in ("type", "unanswered"):
            return "refuse"
        action: str = getattr(self.settings.rows, POLICY_KEYS[finding.kind])
        without = finding.kind == "missing" and finding.field in self._required
        new = finding.kind in ("unseen", "category") and finding.field in self._closed
        return "refuse" if action == "warn" and (without or new) else action

    def _build_prediction(
        self, row: Any, score: Score, findings: list[Finding], *, now: datetime
    ) -> tuple[Prediction, Entry]:
        """Build the prediction of one row, and its entry in the log."""
        falls_back = bool(findings) and any(self._choose_action(found) == "fallback" for found in findings)
        if falls_back and self._interpreter.fallback is not None:
            score = self._interpreter.fallback
        self._id_count += 1
        name = f"{self._id_prefix}-{self._id_count:x}"
        meaning = self._interpreter.interpret(score, falls_back=falls_back)
        for finding in findings:
            self.metrics.count_warning(finding.field, finding.kind)
        prediction = Prediction(
            id=name,
            score=meaning.score,
            label=meaning.label,
            probabilities=meaning.probabilities,
            answer=meaning.answer,
            observed=meaning.observed,
            interval=meaning.interval,
            fallback=falls_back,
            warnings=findings,
        )
        interval = meaning.interval
        low, high = (interval.low, interval.high) if isinstance(interval, Interval) else (None, None)
        entry = Entry(
            id=name,
            time=now,
            row=msgspec.Raw(self._encoder.encode(self.model.reader.name_values(self._redact(row)))),
            score=meaning.score,
            label=None if meaning.label is UNSET else meaning.label,
            low=low,
            high=high,
            fallback=falls_back,
            warnings=[f"{finding.field}:{finding.kind}" for finding in findings],
            scores=meaning.scores,
        )
        return prediction, entry

    async def _log_entries(self, entries: bytes, rows: int, log: LogWriter) -> None:
        """Log predictions. If this fails, count them as lost or raise `RequestError`, as the policy says."""
        try:
            await log.append(entries)
        except LogError as error:
            if self.settings.log.failure == "refuse":
                raise RequestError(
                    503, f"the prediction log does not take entries: {error}", retry_after=5
                ) from error
            self.metrics.count_lost(rows)


def _choose_column_type(field: Input | Identity) -> ColumnType:
    """Choose the type of a field in the log. A boolean is text unless the model reads it as a number."""
    if field.type == "boolean" and getattr(field, "kind", "") == "number":
        return "boolean"
    return "number" if field.type == "number" else "text"


def _build_refusal(errors: list[tuple[int, Finding]]) -> RequestError:
    """Build the error that lists the findings for which rows are refused, by the row's number."""
    rows = len({row for row, _ in errors})
    first = errors[0][1]
    where = f"{first.field}: " if first.field else ""
    detail = f"{rows:,} row{'s are' if rows > 1 else ' is'} refused; {where}{first.message}"
    listed = [
        RowError(row=row, field=finding.field, kind=finding.kind, message=finding.message)
        for row, finding in errors[:MAX_ERRORS]
    ]
    return RequestError(422, detail, errors=listed)
