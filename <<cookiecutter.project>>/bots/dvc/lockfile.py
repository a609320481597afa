"""dvc.lock as values: what each stage read and wrote, and why two locks differ."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import PurePosixPath
from typing import Any

import yaml

from bots import layout
from bots.decoding import YAML_ERRORS, describe_yaml_error, find_conflict, load_recorded_yaml
from bots.errors import BotsError
from bots.evidence import Cause, CauseKind
from bots.layout import Layout

REPRO = "python -m dvc repro"


class LockfileError(BotsError):
    """dvc.lock cannot be read; the message says what is wrong and what to do."""


@dataclass(frozen=True)
class LockedStage:
    """One stage as the lock recorded it: paths to digests, parameters flattened to dotted keys."""

    command: str
    deps: Mapping[str, str]
    params: Mapping[str, Any]
    outs: Mapping[str, str]

    def has_same_inputs(self, other: LockedStage) -> bool:
        """Whether the other run of this stage was given the same command, files and parameters."""
        return (self.command, self.deps, self.params) == (other.command, other.deps, other.params)


@dataclass(frozen=True)
class Lock:
    """The whole lock. An absent file is an empty lock."""

    stages: Mapping[str, LockedStage] = field(default_factory=dict)

    def find_digest(self, path: str) -> str | None:
        """`md5:…` of an output, or None where no stage wrote it."""
        for stage in self.stages.values():
            if path in stage.outs:
                return stage.outs[path]
        return None

    def find_holder(self, path: str) -> str | None:
        """The output that a path is, or lies in; None where no stage wrote one."""
        places = (str(place) for place in (PurePosixPath(path), *PurePosixPath(path).parents))
        return next((place for place in places if self.find_digest(place) is not None), None)

    def find_content(self, path: str) -> str | None:
        """The digest of the output that a path is, or lies in; of what no stage wrote, that of what the stages read.

        None where the lock names neither, or stages read it with several contents.
        """
        holder = self.find_holder(path)
        if holder is not None:
            return self.find_digest(holder)
        for place in (path, *map(str, PurePosixPath(path).parents)):
            read = {stage.deps[place] for stage in self.stages.values() if place in stage.deps}
            if read:
                return read.pop() if len(read) == 1 else None
        return None

    @property
    def outputs(self) -> dict[str, str]:
        """Every output with its digest."""
        return {path: digest for stage in self.stages.values() for path, digest in stage.outs.items()}


def have_same_rows(one: str | None, other: str | None) -> bool:
    """Whether two locks name the same rows that judge, by `find_content` of each; where one names none, they do not."""
    return one is not None and one == other


@lru_cache(maxsize=8)  # a review reads the same two or three again and again
def parse_lock(text: str | None, name: str = "dvc.lock") -> Lock:
    """A lock from its text; no text is an empty lock.

    Raises `LockfileError` for anything that DVC would not have written.
    """
    if not text:
        return Lock()
    try:
        document = load_recorded_yaml(text)
        stages = document["stages"]
        return Lock({str(stage): _parse_stage(recorded) for stage, recorded in stages.items()})
    except YAML_ERRORS as error:
        raise LockfileError(_explain_fault(text, name, error)) from error


def _explain_fault(text: str, name: str, error: Exception) -> str:
    """What is wrong with a lock, and what mends it. The lock of another commit cannot be mended here."""
    here = name == layout.DVC_LOCK
    if find_conflict(text):
        mend = (
            f"resolve {layout.PARAMS} and the code first, then take one side and let the pipeline make the rest: "
            f"`git checkout HEAD -- {name} && {REPRO}`"
            if here
            else "it was committed like that; mend it there"
        )
        return f"{name}: not a DVC lock: it holds a merge in conflict; {mend}"
    mend = (
        f"`git checkout HEAD -- {name}` restores the committed one"
        if here
        else "mend it where it was committed"
    )
    what = f"no {error}" if isinstance(error, KeyError) else describe_yaml_error(text, error)
    return f"{name}: not a DVC lock ({what}); {mend}"


def split_records(text: str) -> tuple[str, dict[str, str]]:
    """A lock's text as what stands before its stages, and each stage's own lines as DVC wrote them."""
    head, *blocks = re.split(r"(?m)^(?=  [^\s#])", text)
    return head, {str(next(iter(load_recorded_yaml(block)))): block for block in blocks}


def arrange_stages(text: str, like: Iterable[str], *, keep: Collection[str] | None = None) -> str:
    """The lock's text with its stages in this order, the others after them; of those in `keep` alone, if it is given.

    DVC appends a stage where it ends; stages that run side by side end in any order.
    """
    head, found = split_records(text)
    found = found if keep is None else {name: lines for name, lines in found.items() if name in keep}
    if not found:
        return ""
    order = dict.fromkeys([*(name for name in like if name in found), *found])
    return head + "".join(found[name] for name in order)


def join_records(head: str, blocks: Mapping[str, str]) -> str:
    """A lock's text from what stands before its stages, and their own lines. DVC reads no empty `stages:`."""
    head = re.sub(r"(?m)^stages:.*$", "stages:" if blocks else "stages: {}", head)
    return head + "".join(blocks.values())


def drop_stages(text: str, names: Iterable[str]) -> str:
    """The lock's text without the records of these stages, so that DVC runs them."""
    head, found = split_records(text)
    gone = set(names)
    return join_records(head, {name: block for name, block in found.items() if name not in gone})


def take_record(text: str, other: str, name: str) -> str:
    """The lock's text with a stage's record as another lock's text has it. Raises `LockfileError` where it has none."""
    head, found = split_records(text)
    record = split_records(other)[1].get(name)
    if record is None:
        raise LockfileError(f"dvc.lock: expected a record of the stage {name}; `{REPRO}` writes it")
    return join_records(head, {**found, name: record})


def _parse_stage(recorded: Mapping[str, Any]) -> LockedStage:
    params: dict[str, Any] = {}
    for keys in (recorded.get("params") or {}).values():
        params.update(flatten(keys))
    return LockedStage(
        command=str(recorded["cmd"]),
        deps=dict(_parse_digest(entry) for entry in recorded.get("deps") or []),
        params=params,
        outs=dict(_parse_digest(entry) for entry in recorded.get("outs") or []),
    )


def _parse_digest(entry: Mapping[str, Any]) -> tuple[str, str]:
    algorithm = entry.get("hash", "md5")
    return str(entry["path"]), f"{algorithm}:{entry.get(algorithm, entry.get('etag', ''))}"


def flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    """Nested mappings as dotted keys."""
    if not isinstance(value, Mapping) or not value:
        return {prefix: value}
    flat: dict[str, Any] = {}
    for key, item in value.items():
        flat.update(flatten(item, f"{prefix}.{key}" if prefix else str(key)))
    return flat


def find_causes(before: Lock, after: Lock, files: Layout) -> list[Cause]:
    """Why the results of two locks may differ, by kind, each change once, what changes most first.

    Kinds and changes are ordered by `weigh_change`. Only what nobody computed counts as a cause: files that no stage
    writes, parameters, commands, and outputs that changed although their stage was given the same inputs, which is
    data that came from outside.
    """
    found: dict[CauseKind, dict[str, None]] = {"code": {}, "params": {}, "data": {}, "environment": {}}
    sources = _Sources({*before.outputs, *after.outputs}, files)
    for name in [*after.stages, *(name for name in before.stages if name not in after.stages)]:
        was, now = before.stages.get(name), after.stages.get(name)
        for kind, change in _compare_stages(name, was, now, sources=sources):
            found[kind][change] = None
    return order_causes({kind: list(changes) for kind, changes in found.items()})


def order_causes(changes: Mapping[CauseKind, Sequence[str]]) -> list[Cause]:
    """The changes of each kind as causes: the heaviest change first, and the kind that has it; at most 200 a kind."""
    ordered = {
        kind: sorted(each, key=lambda change: weigh_change(kind, change)) for kind, each in changes.items()
    }
    causes = [Cause(kind=kind, changes=each[:200]) for kind, each in ordered.items() if each]
    return sorted(causes, key=lambda cause: weigh_change(cause.kind, cause.changes[0]))


# A parameter's key, and how much a change of it changes; what no line names is as heavy as an edit of code.
_WEIGHTS = (
    (re.compile(r"model\..*\buse|data\.(task|target|positive|source)"), 0),
    (re.compile(r"model\.(seed|threads|trusted)\b.*|(project|evaluate|explain|drift|export|gate)\b.*"), 3),
    (re.compile(r"model\.estimator\.params\b.*"), 2),
)
_MIDDLE = 1


def weigh_change(kind: CauseKind, change: str) -> int:
    """How much a change may change a model, 0 the most: which class is fitted to what, then code, columns and rows,
    then its constants and libraries, then what only tells about the model."""
    if kind == "environment":
        return 2
    key = change.partition(": ")[0] if kind == "params" else ""
    return next((weight for pattern, weight in _WEIGHTS if pattern.fullmatch(key)), _MIDDLE)


def _compare_stages(
    name: str, before: LockedStage | None, after: LockedStage | None, *, sources: _Sources
) -> Iterator[tuple[CauseKind, str]]:
    if before is None or after is None:
        yield "code", f"stage {name} {'added' if before is None else 'removed'}"
        return
    if before.command != after.command:
        yield "code", f"stage {name} runs another command: {after.command}"
    for path in sorted(set(before.deps) | set(after.deps)):
        if path in sources and before.deps.get(path) != after.deps.get(path):
            presence = _describe_presence(path in before.deps, path in after.deps)
            yield sources.classify(path), f"{path}{presence}"
    for key in sorted(set(before.params) | set(after.params)):
        old, new = before.params.get(key, _ABSENT), after.params.get(key, _ABSENT)
        if old != new:
            yield "params", f"{key}: {_describe_change(key, old, new)}"
    if before.has_same_inputs(after):
        for path in sorted(set(before.outs) | set(after.outs)):
            if before.outs.get(path) != after.outs.get(path):
                yield "data", f"{path} has other content from the same source"


@dataclass(frozen=True)
class _Sources:
    """The files that no stage writes: neither one of the outputs, nor below a folder among them."""

    outputs: set[str]
    files: Layout

    def __contains__(self, path: object) -> bool:
        parents = PurePosixPath(str(path)).parents
        return path not in self.outputs and not any(str(parent) in self.outputs for parent in parents)

    def classify(self, path: str) -> CauseKind:
        """What kind of cause a source is."""
        if path.startswith(layout.REQUIREMENTS):
            return "environment"
        return "data" if self.files.is_data(path) else "code"


_ABSENT = object()


def _describe_presence(was_there: bool, is_there: bool) -> str:
    if was_there and is_there:
        return ""
    return " (removed)" if was_there else " (added)"


def _describe_change(key: str, old: Any, new: Any) -> str:
    """What became of a parameter; of a list, what came and went; of an import path, its last name where it tells."""
    if key.endswith(".use") and isinstance(old, str) and isinstance(new, str):
        names = [path.rpartition(".")[2] for path in (old, new)]
        old, new = names if names[0] != names[1] else (old, new)
    if isinstance(old, list) and isinstance(new, list):
        came, gone = [item for item in new if item not in old], [item for item in old if item not in new]
        if came or gone:
            return ", ".join([*(f"+ {_show(item)}" for item in came), *(f"− {_show(item)}" for item in gone)])
    return f"{_show(old)} → {_show(new)}"


def _show(value: Any) -> str:
    if value is _ABSENT:
        return "not set"
    text = str(yaml.safe_dump(value, default_flow_style=True, width=10_000, allow_unicode=True)).strip()
    text = text.removesuffix("...").strip()
    return text if len(text) <= 120 else text[:119] + "…"


def find_not_reproduced(committed: Lock, reproduced: Lock) -> list[str]:
    """Stages that were given exactly the committed inputs and wrote something else."""
    return [
        name
        for name, stage in reproduced.stages.items()
        if (was := committed.stages.get(name)) is not None
        and was.has_same_inputs(stage)
        and dict(was.outs) != dict(stage.outs)
    ]


def find_stale(committed: Lock, reproduced: Lock) -> list[str]:
    """Stages whose committed record was made from other inputs than the commit holds, or is missing."""
    return [
        name
        for name, stage in reproduced.stages.items()
        if (was := committed.stages.get(name)) is None or not was.has_same_inputs(stage)
    ]


def find_changed_outputs(before: Lock, after: Lock) -> set[str]:
    """Outputs whose digest differs between two locks."""
    old, new = before.outputs, after.outputs
    return {path for path in set(old) | set(new) if old.get(path) != new.get(path)}
