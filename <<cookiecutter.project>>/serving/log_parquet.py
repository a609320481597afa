"""Convert complete files of the prediction log to Parquet, also those that a killed service left behind."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
from typing import IO, TYPE_CHECKING, Any

import msgspec

from serving.decoding import DECODE_ERRORS
from serving.log_format import SUFFIX, ColumnType, Entry, Header

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path

CHUNK_ROWS = 20_000
PART = ".parquet.part"


def convert_log(folder: Path) -> list[Path]:
    """Convert every complete file of a folder to Parquet, and return the new tables. Raises OSError.

    Files that a service still writes are left alone. What cannot be opened, or has no header that can be read, is
    renamed to `.unreadable`. A file that fails in another way is left, and does not keep the others from it.
    If the process is killed, the next call ends in the same state: a table appears whole, then its source is deleted.
    """
    tables: list[Path] = []
    faults: list[OSError] = []
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        try:
            table = _convert_file(path)
        except OSError as error:
            faults.append(error)
        else:
            tables += [table] if table else []
    if faults:
        raise faults[0]
    return tables


def _convert_file(path: Path) -> Path | None:
    with contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context(path.open("rb"))
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (FileNotFoundError, BlockingIOError):
            return None  # a service writes it, or another process has just converted it
        except (PermissionError, IsADirectoryError):
            path.replace(path.with_suffix(".unreadable"))
            return None
        if not path.exists():
            return None
        header = _read_header(file)
        if header is None:
            path.replace(path.with_suffix(".unreadable"))
            return None
        # It says from the first moment that this file is taken: who finds it locked waits for it, as for no service.
        path.with_suffix(PART).touch()
        table = _write_table(path.with_suffix(".parquet"), header, _read_entries(file))
        path.unlink()
        return table


def list_converting(folder: Path) -> list[Path]:
    """List the files that another process is converting, until their table is whole and they are deleted."""
    return [
        path
        for path in sorted(folder.glob(f"*{SUFFIX}"))
        if path.with_suffix(PART).exists() or path.with_suffix(".parquet").exists()
    ]


def _read_header(file: IO[bytes]) -> Header | None:
    with contextlib.suppress(*DECODE_ERRORS):
        return msgspec.json.decode(file.readline(), type=Header)
    return None


def _read_entries(file: IO[bytes]) -> Iterator[Entry]:
    """Read the entries. Lines that are cut off are left out: their predictions were never answered."""
    decoder = msgspec.json.Decoder(Entry)
    for line in file:
        if line.endswith(b"\n"):
            with contextlib.suppress(*DECODE_ERRORS):
                yield decoder.decode(line)


def _write_table(path: Path, header: Header, entries: Iterator[Entry]) -> Path | None:
    """Write a table whole or not at all, one chunk after the other; None if there is no entry."""
    from arro3.core import RecordBatchReader
    from arro3.io import write_parquet

    chunks = _build_chunks(entries, header)
    first = next(chunks, None)
    temporary = path.with_suffix(PART)
    if first is None:
        temporary.unlink(missing_ok=True)
        return None

    def all_chunks() -> Iterator[Any]:
        yield first
        yield from chunks

    reader = RecordBatchReader.from_batches(first.schema, all_chunks())
    write_parquet(reader, temporary, compression="zstd(3)")
    with temporary.open("rb") as written:
        os.fsync(written.fileno())
    os.replace(temporary, path)
    return path


def _build_chunks(entries: Iterator[Entry], header: Header) -> Iterator[Any]:
    """Build Arrow record batches of up to `CHUNK_ROWS` rows."""
    from arro3.core import Array, DataType, RecordBatch

    arrow_types = {"number": DataType.float64(), "boolean": DataType.bool(), "text": DataType.utf8()}
    types = header.own_columns | header.columns
    decoder = msgspec.json.Decoder(dict[str, Any])
    rows: list[tuple[Any, ...]] = []

    def build_chunk() -> Any:
        columns = zip(*rows, strict=True)
        return RecordBatch.from_pydict(
            {
                name: Array(list(values), arrow_types[kind])
                for (name, kind), values in zip(types.items(), columns, strict=True)
            }
        )

    for entry in entries:
        row = decoder.decode(entry.row)
        rows.append(
            (
                *(entry.id, _format_time(entry.time), header.version, header.onnx, entry.score, entry.label),
                *(entry.low, entry.high, entry.fallback, " ".join(entry.warnings)),
                *(entry.scores or itertools.repeat(None, len(header.classes))),
                *(_convert_value(row.get(name), kind) for name, kind in header.columns.items()),
            )
        )
        if len(rows) == CHUNK_ROWS:
            yield build_chunk()
            rows.clear()
    if rows:
        yield build_chunk()


def _format_time(time: datetime) -> str:
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _convert_value(value: Any, kind: ColumnType) -> Any:
    """Convert a value to its column's type."""
    if value is None:
        return None
    if kind == "text":
        return value if isinstance(value, str) else msgspec.json.encode(value).decode()
    if kind == "boolean":
        return bool(value)
    return float(value)
