"""Turns complete files of the prediction log into Parquet, those that a killed service left behind included."""

from __future__ import annotations

import contextlib
import fcntl
import os
from datetime import datetime
from typing import IO, TYPE_CHECKING, Any, Literal

import msgspec
from msgspec import Struct

from serving.journal import SUFFIX

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FORMAT = 1
CHUNK = 20_000
Type = Literal["number", "boolean", "text"]


class Head(Struct, frozen=True):
    """The first line of a file: what its entries have in common, so that it can be read without its model."""

    format: int
    version: str
    onnx: str
    columns: dict[str, Type]


class Entry(Struct, frozen=True, omit_defaults=True):
    """One prediction as it was answered, with the row that it was asked of."""

    id: str
    time: datetime
    row: msgspec.Raw
    score: float
    label: bool | None = None
    low: float | None = None
    high: float | None = None
    fallback: bool = False
    warnings: list[str] = []


# What the service adds to a row's own columns; a colon keeps them apart from any sensible column's name.
COLUMNS: dict[str, Type] = {
    "prediction:id": "text",
    "prediction:time": "text",
    "prediction:version": "text",
    "prediction:onnx": "text",
    "prediction:score": "number",
    "prediction:label": "boolean",
    "prediction:low": "number",
    "prediction:high": "number",
    "prediction:fallback": "boolean",
    "prediction:warnings": "text",
}


def archive(folder: Path) -> list[Path]:
    """Turn every complete file of a folder into Parquet; the files that are being written are left alone.

    A file whose first line cannot be read is set aside as `.unreadable`.
    Killed anywhere and run again it ends in the same state: a table appears whole, then its source goes.
    """
    return [made for path in sorted(folder.glob(f"*{SUFFIX}")) if (made := _one(path))]


def read(file: IO[bytes]) -> tuple[Head | None, Iterator[Entry]]:
    """The head and the entries of a file; lines that are torn, which nobody was answered from, are left out."""
    with contextlib.suppress(msgspec.MsgspecError, UnicodeDecodeError):
        return msgspec.json.decode(file.readline(), type=Head), _entries(file)
    return None, iter(())


def _entries(file: IO[bytes]) -> Iterator[Entry]:
    decoder = msgspec.json.Decoder(Entry)
    for line in file:
        if line.endswith(b"\n"):
            with contextlib.suppress(msgspec.MsgspecError, UnicodeDecodeError):
                yield decoder.decode(line)


def _one(path: Path) -> Path | None:
    with contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context(path.open("rb"))
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (FileNotFoundError, BlockingIOError):
            return None  # somebody writes it, or turned it into Parquet in this moment
        if not path.exists():
            return None
        head, entries = read(file)
        if head is None:
            path.replace(path.with_suffix(".unreadable"))
            return None
        made = _write(path.with_suffix(".parquet"), head, entries)
        path.unlink()
        return made


def _write(path: Path, head: Head, entries: Iterator[Entry]) -> Path | None:
    """One table, a chunk at a time; None where there is no entry."""
    from arro3.core import RecordBatchReader
    from arro3.io import write_parquet

    types = COLUMNS | head.columns
    chunks = _chunks(entries, head, types)
    first = next(chunks, None)
    if first is None:
        return None
    schema = first.schema

    def batches() -> Iterator[Any]:
        yield first
        yield from chunks

    temporary = path.with_suffix(".parquet.part")
    reader = RecordBatchReader.from_batches(schema, batches())
    write_parquet(reader, temporary, compression="zstd(3)")
    with temporary.open("rb") as written:
        os.fsync(written.fileno())
    os.replace(temporary, path)
    return path


def _chunks(entries: Iterator[Entry], head: Head, types: dict[str, Type]) -> Iterator[Any]:
    from arro3.core import Array, DataType, RecordBatch

    kinds = {"number": DataType.float64(), "boolean": DataType.bool(), "text": DataType.utf8()}
    rows = msgspec.json.Decoder(dict[str, Any])
    collected: list[tuple[Any, ...]] = []

    def chunk() -> Any:
        columns = zip(*collected, strict=True)
        return RecordBatch.from_pydict(
            {
                name: Array(list(values), kinds[kind])
                for (name, kind), values in zip(types.items(), columns, strict=True)
            }
        )

    for entry in entries:
        row = rows.decode(entry.row)
        collected.append(
            (
                *(entry.id, _moment(entry.time), head.version, head.onnx, entry.score, entry.label),
                *(entry.low, entry.high, entry.fallback, " ".join(entry.warnings)),
                *(_cell(row.get(name), kind) for name, kind in head.columns.items()),
            )
        )
        if len(collected) == CHUNK:
            yield chunk()
            collected.clear()
    if collected:
        yield chunk()


def _moment(time: datetime) -> str:
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _cell(value: Any, kind: Type) -> Any:
    """A value in its column's type; one that was logged in another is kept where it can be."""
    if value is None:
        return None
    if kind == "text":
        return value if isinstance(value, str) else msgspec.json.encode(value).decode()
    if kind == "boolean":
        return bool(value)
    return float(value)
