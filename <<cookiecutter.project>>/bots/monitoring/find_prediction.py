"""Finds one prediction in the log by its id: what was asked and answered, when, and by which version."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from bots.log import make_visible
from bots.monitoring.log_listing import FileUnreadable
from bots.monitoring.summary_spec import ID, ONNX, TIME, VERSION

if TYPE_CHECKING:
    from collections.abc import Callable

    from bots.monitoring.log_listing import LogSource

SUFFIX: Final = ".parquet"
_ID = re.compile(r"[0-9a-f]{16}-[0-9a-f]{1,16}")


class LoggedPrediction(Struct, frozen=True, kw_only=True):
    """A row of the log: `asked` are the request's columns as they were logged, `answered` what the model said."""

    id: str
    time: str
    version: str
    onnx: str
    file: str
    asked: dict[str, Any]
    answered: dict[str, Any]


class Search(Struct, frozen=True, kw_only=True):
    """What was found, in how many complete files; `unread` are files that could not be read, with the reason."""

    found: LoggedPrediction | None
    files: int
    unread: list[str] = []


def is_prediction_id(word: str) -> bool:
    """Whether a word is written as the service writes the ids of its answers."""
    return _ID.fullmatch(word) is not None


def find_prediction(source: LogSource, wanted: str, *, tell: Callable[[str], None]) -> Search:
    """Search the complete files of a log for an id, the newest first. Raises `SourceUnreachable`."""
    files = [file for file in source.list_files() if file.name.endswith(SUFFIX)]
    files.sort(key=lambda file: (file.changed or 0.0, file.name), reverse=True)
    unread = list[str]()
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "log.parquet")
        for number, file in enumerate(files, start=1):
            tell(f"looking in file {number} of {len(files)}")
            try:
                source.fetch(file.name, copy)
                found = _read_row(copy, wanted, file.name)
            except FileUnreadable as error:
                unread.append(make_visible(error, 300))
                continue
            if found is not None:
                return Search(found=found, files=number, unread=unread)
    return Search(found=None, files=len(files), unread=unread)


def _read_row(path: Path, wanted: str, name: str) -> LoggedPrediction | None:
    """Read the row of an id; None where the file has none. Raises `FileUnreadable`."""
    import pyarrow as pa
    import pyarrow.parquet as parquet

    try:
        found = parquet.read_table(path, filters=[(ID, "=", wanted)]).to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise FileUnreadable(f"{name}: {error}") from error
    if not found:
        return None
    row = found[0]
    plain = {ID, TIME, VERSION, ONNX}
    return LoggedPrediction(
        id=wanted,
        time=str(row.get(TIME)),
        version=str(row.get(VERSION)),
        onnx=str(row.get(ONNX)),
        file=name,
        asked={key: value for key, value in row.items() if not key.startswith("prediction:")},
        answered={
            key.removeprefix("prediction:"): value
            for key, value in row.items()
            if key.startswith("prediction:") and key not in plain
        },
    )
