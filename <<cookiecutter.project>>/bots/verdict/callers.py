"""Says whether a service's answers keep what its callers rely on: their contracts against answers, in plain values.

An application that calls the service says in `consumers/NAME.json` which requests it makes and what it relies on in
each answer. docs/callers.md describes the file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from bots.decoding import DECODE_ERRORS, describe_decode_error
from bots.errors import BotsError
from bots.evidence import Evidence, Name, Text
from bots.verdict.rules import Finding
from bots.verdict.sentences import cut

RULE: Final = "callers"
REASON: Final = "caller-broken"
LARGEST: Final = 1 << 20
SHOWN: Final = 3
_NAME = re.compile(r"[a-z0-9]+([-_][a-z0-9]+)*")
Kind = Literal["number", "text", "boolean", "list", "object"]
_KINDS: Final[dict[type, Kind]] = {
    int: "number",
    float: "number",
    str: "text",
    bool: "boolean",
    list: "list",
    dict: "object",
}
_SHOWN_AS: Final = {
    "number": "a number",
    "text": "a text",
    "boolean": "true or false",
    "list": "a list",
    "object": "an object",
}


class CallersError(BotsError):
    """A caller's contract cannot be read; the message names file, field and what was expected."""


class FieldRule(Evidence, frozen=True, kw_only=True):
    """What a caller relies on of one field of a prediction. `nullable`: it copes with null. A number lies from `low` to
    `high`, a text is `one_of` these."""

    type: Kind
    nullable: bool = False
    low: float | None = None
    high: float | None = None
    one_of: Annotated[list[Text], Meta(min_length=1, max_length=1_000)] | None = None


class CallerRequest(Evidence, frozen=True, kw_only=True):
    """A request that a caller makes: `body` is the JSON of `POST /predict`, one row or a list of rows. The service
    answers with `status`; where that is 200, each prediction has the fields of `answer` (`observed.share` is the field
    `share` of the field `observed`), and comes within `seconds`, where that is asked."""

    name: Name
    body: dict[str, Any] | Annotated[list[dict[str, Any]], Meta(min_length=1, max_length=1_000)]
    status: Annotated[int, Meta(ge=200, le=599)] = 200
    answer: Annotated[dict[Name, FieldRule], Meta(max_length=200)] = msgspec.field(default_factory=dict)
    seconds: Annotated[float, Meta(gt=0)] | None = None


class Consumer(Evidence, frozen=True, kw_only=True):
    """`consumers/NAME.json`: what the application NAME sends to the service, and what it relies on in the answers.
    `owner` is whom to ask before that changes; `model` names a further model of the project, null: the main one."""

    format: Literal[1] = 1
    description: Text = ""
    owner: Text = ""
    model: Name | None = None
    requests: Annotated[list[CallerRequest], Meta(min_length=1, max_length=100)]


@dataclass(frozen=True)
class Answer:
    """What the service answered to a request: the decoded body, and how long that took."""

    status: int
    body: Any
    seconds: float = 0.0


def require_name(name: str, where: str) -> None:
    """Require a name that can stand in a path and in a sentence. Raises `CallersError`."""
    if not _NAME.fullmatch(name) or len(name) > 100:
        raise CallersError(
            f"{where}: expected a name of lower-case letters, digits, hyphens and underscores, not {name[:60]!r}"
        )


def parse_consumer(content: bytes, path: str) -> Consumer:
    """Parse a caller's contract; `path` is what messages call it. Raises `CallersError`."""
    require_name(path.rpartition("/")[2].removesuffix(".json"), path)
    if len(content) > LARGEST:
        raise CallersError(f"{path}: expected at most {LARGEST:,} bytes, it has {len(content):,}")
    try:
        found = msgspec.json.decode(content, type=Consumer)
    except DECODE_ERRORS as error:
        raise CallersError(f"{path}: {describe_decode_error(error)}") from error
    for number, request in enumerate(found.requests, start=1):
        if problem := _find_problem(request):
            raise CallersError(f"{path}: requests: {request.name[:60]!r} (number {number}): {problem}")
    return found


def load_consumers(folder: Path) -> tuple[dict[str, Consumer], list[str]]:
    """Load the contracts of a folder by name, and what is wrong with those that cannot be read."""
    known: dict[str, Consumer] = {}
    wrong: list[str] = []
    files = sorted(folder.glob("*.json")) if folder.is_dir() and not folder.is_symlink() else []
    for path in files:
        if path.is_symlink() or not path.is_file():
            continue  # told below, as what else nobody reads
        try:
            known[path.stem] = parse_consumer(path.read_bytes(), f"{folder.name}/{path.name}")
        except CallersError as error:
            wrong.append(str(error))
        except OSError as error:
            wrong.append(f"{folder.name}/{path.name}: it cannot be read: {error.strerror}")
    return known, wrong + list_misplaced(folder)


def list_misplaced(folder: Path) -> list[str]:
    """List what looks like a contract and is read by nobody: in a folder below, with another ending, or a link."""
    if not folder.is_dir() or folder.is_symlink():
        return []
    return [
        f"{folder.name}/{path.relative_to(folder)}: nobody reads it; a contract is a file {folder.name}/NAME.json"
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in (".json", ".yaml", ".yml")
        and not (path.suffix == ".json" and path.parent == folder and not path.is_symlink())
        and (path.is_symlink() or not path.is_dir())
    ]


def _find_problem(request: CallerRequest) -> str | None:
    """Find what the types do not show: a rule that no answer can keep, or that is never looked at."""
    if request.status != 200 and (request.answer or request.seconds):
        return f"an answer of status {request.status} has no predictions, so `answer` and `seconds` would say nothing"
    for name, rule in request.answer.items():
        if rule.type != "number" and (rule.low is not None or rule.high is not None):
            return f"answer.{name}: `low` and `high` are of numbers, and its type is {rule.type}"
        if rule.low is not None and rule.high is not None and rule.low > rule.high:
            return f"answer.{name}: `low` is above `high`"
        if rule.one_of is not None and rule.type != "text":
            return f"answer.{name}: `one_of` is of texts, and its type is {rule.type}"
    return None


def build_schema() -> bytes:
    """Build the JSON Schema (draft 2020-12) of a caller's contract."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **msgspec.json.schema(Consumer)}
    return msgspec.json.format(msgspec.json.encode(schema), indent=2) + b"\n"


def propose_rules(prediction: Mapping[str, Any]) -> dict[str, FieldRule]:
    """Propose what a caller may rely on from a prediction: each field that has a value, with its type."""
    rules = {}
    for name, value in prediction.items():
        if value is not None and type(value) in _KINDS:
            rules[name] = FieldRule(type=_KINDS[type(value)])
    return rules


def encode_consumer(consumer: Consumer) -> bytes:
    """Encode a contract as its file: indented, without what has its default."""
    document = _leave_defaults(consumer)
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"


def _leave_defaults(value: Any) -> Any:
    """A value as plain JSON values, the fields of the types of this module only where they say something."""
    if isinstance(value, Evidence):
        known = msgspec.structs.fields(value)
        shown = [(one, getattr(value, one.encode_name)) for one in known]
        return {
            one.encode_name: _leave_defaults(field)
            for one, field in shown
            if one.required or one.encode_name in ("format", "description", "owner") or field != one.default
        }
    if isinstance(value, dict):
        return {name: _leave_defaults(one) for name, one in value.items()}
    return [_leave_defaults(one) for one in value] if isinstance(value, list) else value


def list_breaks(consumer: Consumer, answers: Sequence[Answer]) -> list[str]:
    """List what a caller relies on and does not get any more, a clause each; `answers` are those to its requests."""
    found: dict[str, None] = {}
    for request, answer in zip(consumer.requests, answers, strict=True):
        found |= dict.fromkeys(_judge_answer(request, answer))
    return list(found)


def _judge_answer(request: CallerRequest, answer: Answer) -> Iterator[str]:
    name = cut(request.name, 60)
    if answer.status != request.status:
        why = answer.body.get("detail") if isinstance(answer.body, dict) else None
        told = f" ({cut(str(why), 200)})" if why else ""
        yield f"the request `{name}` is answered with {answer.status}{told}, not with {request.status}"
        return
    if request.status != 200:
        return
    predictions = answer.body.get("predictions") if isinstance(answer.body, dict) else None
    rows = len(request.body) if isinstance(request.body, list) else 1
    if not isinstance(predictions, list) or len(predictions) != rows:
        yield f"the answer to `{name}` has no list of {rows} predictions"
        return
    for prediction in predictions:
        for path, rule in request.answer.items():
            if problem := _judge_field(prediction, path, rule):
                yield f"field `{cut(path, 60)}` {problem}"
    if request.seconds is not None and answer.seconds > request.seconds:
        yield f"the request `{name}` takes {answer.seconds:.3g} s, more than {request.seconds:g} s"


def _shorten(value: float) -> str:
    """A number in a few digits; a whole number that no float holds by its beginning."""
    try:
        return f"{value:g}"
    except OverflowError:
        return f"{str(value)[:9]}…"


def _judge_field(prediction: Any, path: str, rule: FieldRule) -> str | None:
    """What is wrong with one field of a prediction; None where nothing is."""
    value = prediction
    for part in [path] if isinstance(value, dict) and path in value else path.split("."):
        if not isinstance(value, dict) or part not in value:
            return "is gone"
        value = value[part]
    if value is None:
        return None if rule.nullable else "became null"
    kind = _KINDS[type(value)]
    if kind != rule.type:
        return f"became {_SHOWN_AS[kind]}"
    if rule.low is not None and value < rule.low:
        return f"is {_shorten(value)}, below {rule.low:g}"
    if rule.high is not None and value > rule.high:
        return f"is {_shorten(value)}, above {rule.high:g}"
    if rule.one_of is not None and value not in rule.one_of:
        return f"is `{cut(value, 40)}`, which is none of those that it knows"
    return None


@dataclass(frozen=True)
class CallersFound:
    """What became of the callers' contracts. `kept` are the names of those that hold, `broken` has the clauses of those
    that do not, `wrong` what is wrong with files that cannot be read, `problem` why the service could not be asked."""

    kept: tuple[str, ...] = ()
    broken: Mapping[str, Sequence[str]] = field(default_factory=dict)
    wrong: tuple[str, ...] = ()
    problem: str | None = None


def describe_breaks(found: CallersFound) -> str:
    """Describe what is broken: `breaks billing: field `risk` became a list`; empty where nothing is."""
    told = []
    for name, clauses in found.broken.items():
        more = f" and {len(clauses) - SHOWN} more" if len(clauses) > SHOWN else ""
        told.append(f"breaks {name}: {'; '.join(clauses[:SHOWN])}{more}")
    told += found.wrong
    if found.problem is not None:
        told.append(f"nobody can tell whether callers are kept: {found.problem}")
    return ". ".join(told)


def check_callers(found: CallersFound) -> Finding:
    """The gate's rule: every caller still gets what it relies on."""
    told = describe_breaks(found)
    if not told:
        message = f"{', '.join(found.kept)} {'gets' if len(found.kept) == 1 else 'get'} what they rely on."
        return Finding(rule=RULE, passed=True, message=message)
    return Finding(rule=RULE, passed=False, message=f"{told[0].upper()}{told[1:]}.", reason=REASON)
