"""Merges the dvc.lock of two branches stage by stage, so that it never ends with the markers of a conflict.

A record that both sides changed says what neither merged pipeline would write. It is dropped, and DVC makes it again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from bots.decoding import YAML_ERRORS, load_recorded_yaml
from bots.dvc.lockfile import REPRO, LockfileError, join_records, parse_lock, split_records

BOM = "\ufeff"
OURS, THEIRS, BASE = "dvc.lock of this side", "dvc.lock of the other side", "dvc.lock of their common commit"


@dataclass(frozen=True)
class MergedLock:
    """A lock's text, and the stages whose record it lost, with the reason, in the order of the pipeline."""

    text: str
    dropped: Mapping[str, str]


def merge_locks(base: str, ours: str, theirs: str) -> MergedLock:
    """Merge two locks that began as `base`; an empty text is a lock that is not there.

    A stage that one side changed is as that side has it. One that both changed to different records is dropped, and so
    is one whose record read what no record of the merged lock wrote. Raises `LockfileError` for a text that DVC would
    not have written, or for two versions of its format.
    """
    sides = ((base, BASE), (ours, OURS), (theirs, THEIRS))
    heads, (old, mine, other) = zip(*(_read_blocks(text, name) for text, name in sides), strict=True)
    if ours and theirs and len({load_recorded_yaml(head)["schema"] for head in heads[1:]}) > 1:
        raise LockfileError(
            "the two sides were written by versions of DVC with different formats: let the side with the older one run "
            "`python -m dvc repro` with the newer DVC first"
        )
    blocks, dropped = dict[str, str](), dict[str, str]()
    for name in dict.fromkeys([*mine, *other, *old]):
        was, here, there = old.get(name), mine.get(name), other.get(name)
        if _means_same(here, there) or _means_same(there, was):
            chosen = here
        elif _means_same(here, was):
            chosen = there
        else:
            dropped[name] = "both sides made it anew"
            continue
        if chosen is not None:
            blocks[name] = chosen
    dropped |= _drop_unfounded(blocks, gone=[*mine.values(), *other.values(), *old.values()])
    order = dict.fromkeys([*mine, *other])
    text = join_records(heads[1] or heads[2], {name: blocks[name] for name in order if name in blocks})
    return MergedLock(text, {name: dropped[name] for name in order if name in dropped})


def drop_unheld(text: str, find_digest: Callable[[str], str | None]) -> MergedLock:
    """Take out of a lock each record that read a file with other content than git has now, and those that read it.

    `find_digest` returns the MD5 of a file that git holds, None for every other path. What a stage writes is left to
    the records. Raises `LockfileError` for a text that DVC would not have written.
    """
    head, blocks = _read_blocks(text, OURS)
    order, kept = list(blocks), dict(blocks)
    written = {path for block in blocks.values() for path in _read_digests(block, "outs")}
    dropped = dict[str, str]()
    for name, block in blocks.items():
        for path, digest in _read_digests(block, "deps").items():
            if path not in written and (held := find_digest(path)) is not None and held != digest:
                dropped[name] = f"it read another {path}"
                del kept[name]
                break
    dropped |= _drop_unfounded(kept, gone=list(blocks.values()))
    if not dropped:
        return MergedLock(text, {})
    return MergedLock(join_records(head, kept), {name: dropped[name] for name in order if name in dropped})


def _read_blocks(text: str, name: str) -> tuple[str, dict[str, str]]:
    """Read a lock's head and its stages' own lines. Raises `LockfileError` where those are not what YAML says it is.

    Line ends and a byte order mark of Windows mean nothing, and the last line may lack its end.
    """
    parse_lock(text, name)
    if not text:
        return "", {}
    text = text.removeprefix(BOM).replace("\r\n", "\n").rstrip("\n") + "\n"
    try:
        head, blocks = split_records(text)
        document = load_recorded_yaml(text)
        whole = {str(stage): record for stage, record in document["stages"].items()}
        is_plain = document.keys() == {"schema", "stages"} == load_recorded_yaml(head).keys()
        if is_plain and {stage: _read_record(block) for stage, block in blocks.items()} == whole:
            return head, blocks
    except (*YAML_ERRORS, StopIteration):
        pass
    raise LockfileError(f"{name}: not laid out as DVC writes a lock; `{REPRO}` writes it anew")


def _read_record(block: str) -> Any:
    return next(iter(load_recorded_yaml(block).values()))


def _means_same(one: str | None, another: str | None) -> bool:
    if one is None or another is None or one == another:
        return one == another
    return bool(_read_record(one) == _read_record(another))


def _drop_unfounded(blocks: dict[str, str], *, gone: list[str]) -> dict[str, str]:
    """Take out each record that read another content than the record of its writer tells; and those that read it.

    `gone` are the records of all sides: what none of `blocks` writes, although one of these did, nobody vouches for.
    """
    all_outputs = {path for block in gone for path in _read_digests(block, "outs")}
    dropped = dict[str, str]()
    while True:
        outputs = {
            path: digest for block in blocks.values() for path, digest in _read_digests(block, "outs").items()
        }
        lost = {
            name: path
            for name, block in blocks.items()
            if (path := _find_unfounded(_read_digests(block, "deps"), outputs, all_outputs)) is not None
        }
        if not lost:
            return dropped
        for name, path in lost.items():
            del blocks[name]
            dropped[name] = f"it read another {path}"


def _find_unfounded(deps: Mapping[str, str], outputs: Mapping[str, str], all_outputs: set[str]) -> str | None:
    """Find the first file that was read and is not what the outputs say; None where all are."""
    for path, digest in deps.items():
        if path in outputs:
            if outputs[path] != digest:
                return path
            continue
        around = {path, *map(str, PurePosixPath(path).parents)}
        if around & all_outputs and not around & outputs.keys():
            return path
    return None


def _read_digests(block: str, kind: str) -> dict[str, str]:
    entries = _read_record(block).get(kind) or []
    return {str(entry["path"]): str(entry.get(entry.get("hash", "md5"))) for entry in entries}
