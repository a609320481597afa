"""Tells what a model takes and answers, from the contract beside it, and how two contracts differ for who calls it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

from bots.evidence import Interface, InterfaceChange

MOST_CHANGES: Final = 200
LONGEST: Final = 200
LONGEST_NAME: Final = 1_000
"""A longer one is refused, for cut short two of them could be the same; the evidence holds texts of 4,000."""
Bound = float | None
Word = Annotated[str, Meta(max_length=LONGEST_NAME)]
Effect = Literal["breaks", "narrows", "other"]


class _Answers(Struct, frozen=True):
    yes: Word
    no: Word


class _Target(Struct, frozen=True):
    name: Word = ""
    unit: Word | None = None
    answers: _Answers | None = None


class _Input(Struct, frozen=True):
    name: Word
    type: Word
    nullable: bool = False
    unit: Word | None = None
    range: tuple[Bound, Bound] | None = None
    categories: list[str] | None = None

    @property
    def kind(self) -> str:
        """The type, with a question mark behind it where the value may be missing."""
        return self.type + ("?" if self.nullable else "")


class Contract(Struct, frozen=True):
    """What the bots read of the contract beside an ONNX model, which the service reads whole."""

    onnx: str
    inputs: Annotated[list[_Input], Meta(max_length=10_000)]
    task: str | None = None
    target: _Target | None = None
    classes: Annotated[list[str], Meta(max_length=1_000)] = []

    @property
    def types(self) -> dict[str, str]:
        """Each input's type, with a question mark behind it where the value may be missing."""
        return {one.name: one.kind for one in self.inputs}

    @property
    def answers(self) -> dict[str, str] | None:
        """Each field of an answer with its type, as serving/openapi.py describes it; None for an unknown task."""
        target = self.target or _Target()
        unit = f" in {target.unit}" if target.unit else ""
        always = {"id": "text", "fallback": "yes or no", "warnings": "list"}
        if self.task == "regression":
            return always | {"score": f"number{unit}: {target.name}", "interval": "low and high, or null"}
        observed = {"observed": "share and rows, or null"}
        if self.task == "multiclass":
            named = _join_names(sorted(self.classes))  # an answer gives them by name, in whatever order
            called = {"score": f"probability of the {target.name} in label", "label": f"one of {named}"}
            return always | called | {"probabilities": f"a number for each of {named}"} | observed
        if self.task == "classification":
            event = f"{target.name}: {target.answers.yes}" if target.answers else target.name
            found = always | {"score": f"probability of {event}", "label": "yes or no"} | observed
            if target.answers:
                found["answer"] = f"one of {_join_names([target.answers.yes, target.answers.no])}"
            return found
        return None


def parse_contract(content: bytes) -> Contract:
    """Parse a contract. Raises what `bots.decoding.DECODE_ERRORS` has."""
    return msgspec.json.decode(content, type=Contract)


def breaks_requests(before: Mapping[str, str], now: Mapping[str, str]) -> bool:
    """Whether a request that was valid may not be any more: an input removed, retyped, or needed from now on."""
    names = {**before, **now}
    return any(_breaks_request(before.get(name), now.get(name)) for name in names)


def _breaks_request(before: str | None, now: str | None) -> bool:
    """The same of one input; None where a side has none. One that may be missing has a question mark."""
    if now is None:
        return True
    if before is None:
        return not now.endswith("?")
    return before.rstrip("?") != now.rstrip("?") or (before.endswith("?") and not now.endswith("?"))


def breaks_answers(before: Mapping[str, str], now: Mapping[str, str]) -> bool:
    """Whether a field of an answer is gone, or means something else."""
    return any(now.get(name) != kind for name, kind in before.items())


def compare_interfaces(before: Contract | None, now: Contract) -> Interface:
    """Compare what two models take and answer; without `before` only what there is now is told."""
    changes = [] if before is None else [*_compare_requests(before, now), *_compare_answers(before, now)]
    return Interface(
        inputs=now.types, answers=now.answers, changes=changes[:MOST_CHANGES], total=len(changes)
    )


def _compare_requests(before: Contract, now: Contract) -> Iterator[InterfaceChange]:
    old, new = ({one.name: one for one in side.inputs} for side in (before, now))
    for name in {**old, **new}:
        was, is_now = old.get(name), new.get(name)
        told = [None if one is None else _describe_input(one) for one in (was, is_now)]
        if told[0] != told[1]:
            yield InterfaceChange(
                side="request",
                field=name[:LONGEST] or "(no name)",
                before=told[0],
                after=told[1],
                effect=_find_effect(was, is_now),
            )


def _find_effect(before: _Input | None, now: _Input | None) -> Effect:
    kinds = [None if one is None else one.kind for one in (before, now)]
    if _breaks_request(kinds[0], kinds[1]):
        return "breaks"
    return "narrows" if before is not None and now is not None and _narrows(before, now) else "other"


def _compare_answers(before: Contract, now: Contract) -> Iterator[InterfaceChange]:
    old, new = before.answers, now.answers
    if old is None or new is None:
        return
    for name in {**old, **new}:
        if old.get(name) != new.get(name):
            yield InterfaceChange(
                side="answer",
                field=name,
                before=old.get(name),
                after=new.get(name),
                effect="breaks" if name in old else "other",
            )


def _describe_input(one: _Input) -> str:
    """An input's type in words: `number in km, 0 to 5000, may be missing`."""
    words = one.type + (f" in {one.unit[:LONGEST]}" if one.unit else "")
    if one.range is not None:
        low, high = ("any" if bound is None else f"{bound:g}" for bound in one.range)
        words += f", {low} to {high}"
    if one.categories is not None:
        words += f", one of {_join_names(one.categories)}"
    return words + (", may be missing" if one.nullable else "")


def _narrows(before: _Input, now: _Input) -> bool:
    """Whether a value that was allowed is refused from now on, or a number has another unit."""
    if before.unit != now.unit:
        return True
    if now.categories is not None and (
        before.categories is None or set(before.categories) - set(now.categories)
    ):
        return True
    old, new = (one.range or (None, None) for one in (before, now))
    lower = new[0] is not None and (old[0] is None or new[0] > old[0])
    upper = new[1] is not None and (old[1] is None or new[1] < old[1])
    return lower or upper


def _join_names(names: list[str]) -> str:
    """Names in a row; of many the first ones, how many there are, and a digest, so that a change shows."""
    joined = ", ".join(names)
    if len(joined) <= LONGEST:
        return joined
    digest = hashlib.sha256("\0".join(names).encode(errors="surrogatepass")).hexdigest()[:8]
    return f"{joined[:LONGEST]}… ({len(names)} in all, {digest})"
