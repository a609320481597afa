"""Takes the log's complete files in, each once: by its name and by the digest of its bytes.

What cannot be counted now is named with its reason, and looked at again the next time.
"""

from __future__ import annotations

import hashlib
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from msgspec import Struct

from bots.log import make_visible
from bots.monitoring.log_listing import (
    DiskFull,
    FileUnreadable,
    FoundFile,
    LogSource,
    SourceUnreachable,
    Tell,
)
from bots.monitoring.summary_spec import CLASS_SCORE
from bots.observations import LeftFile, LogFile

if TYPE_CHECKING:
    import pyarrow as pa

TEXT, NUMBER, BOOLEAN = "text", "number", "boolean"
COLUMNS = {
    "prediction:id": TEXT,
    "prediction:time": TEXT,
    "prediction:version": TEXT,
    "prediction:onnx": TEXT,
    "prediction:score": NUMBER,
    "prediction:label": BOOLEAN,
    "prediction:low": NUMBER,
    "prediction:high": NUMBER,
    "prediction:fallback": BOOLEAN,
    "prediction:warnings": TEXT,
}
"""The columns that each table of the log has before those of the rows (docs/serving.md)."""

LARGEST_GROUP = 2_000_000_000  # bytes of a part of a table, as it says itself
MOST_COLUMNS = 5_000
BATCH_ROWS = 65_536
RESERVE = 200_000_000  # bytes that stay free on this machine
CLOCKS = timedelta(hours=1)  # by so much may a host's clock be ahead
EARLIEST = "2000-01-01"
MOST_DAYS = 400  # days in one file; a file is closed after minutes
_WRITTEN = (".jsonl", ".new", ".part")
_OWN = (".shipped",)
_SET_ASIDE = ".unreadable"
_TIME = r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,9})?Z$"


class Collected(Struct, frozen=True):
    """A complete file that was not counted before, and where it lies here."""

    file: LogFile
    path: Path


class Collection(Struct, frozen=True):
    """What a run found. `seen` files are in the log.

    `looked_at` goes into the ledger beside what is new: files that were counted before and read again, and copies,
    which are told once. `left` was not counted, and `notes` and `unseen` are whole sentences for people.
    """

    new: list[Collected]
    left: list[LeftFile]
    seen: int
    looked_at: list[LogFile] = []
    notes: list[str] = []
    unseen: list[str] = []


class NotCounted(Exception):
    """A file that cannot be counted; the message says why, as a part of a sentence."""


def collect_files(
    source: LogSource,
    ledger: Iterable[LogFile],
    folder: Path,
    *,
    tell: Tell,
    now: float,
) -> Collection:
    """Fetch the log's new files into `folder`, and check each.

    `now` is in seconds since 1970. Raises `SourceUnreachable` where the log cannot be listed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    listed = source.list_files()
    collector = _Collector(source, ledger, folder, tell=tell, now=now)
    for found in sorted(listed, key=lambda file: (PurePosixPath(file.name).name, file.name)):
        collector.take(found)
    return Collection(
        collector.new,
        collector.left,
        len(listed),
        collector.looked_at,
        collector.notes,
        [*source.unseen, *collector.unseen],
    )


class _Collector:
    """One run's work: what is known of the log so far, and what became of each file."""

    def __init__(
        self, source: LogSource, ledger: Iterable[LogFile], folder: Path, *, tell: Tell, now: float
    ) -> None:
        self._source, self._folder, self._tell, self._now = source, folder, tell, now
        self._by_name: dict[str, LogFile] = {}
        self._by_digest: dict[str, LogFile] = {}
        for file in ledger:
            self._by_name[file.name] = file
            if file.copy_of is None:
                self._by_digest[file.digest] = file
        self._stopped: str | None = None
        self.new: list[Collected] = []
        self.left: list[LeftFile] = []
        self.looked_at: list[LogFile] = []
        self.notes: list[str] = []
        self.unseen: list[str] = []

    def take(self, found: FoundFile) -> None:
        """Count a file, or say why it is left."""
        kind = PurePosixPath(found.name).suffix
        known = self._by_name.get(found.name)
        if kind in _OWN or (known and (known.size, known.changed) == (found.size, found.changed)):
            return
        try:
            self._refuse(found, kind)
            self._fetch(found, known)
        except NotCounted as error:
            self._leave(found, str(error))
        except FileUnreadable as error:
            self._leave(found, str(error).removeprefix(f"{found.name}: "))
        except (DiskFull, SourceUnreachable) as error:
            self._stopped = f"it was not fetched: {error}"
            self.unseen.append(f"Not all of the log was fetched: {make_visible(error, 500)}.")
            self._leave(found, self._stopped)

    def _leave(self, found: FoundFile, reason: str) -> None:
        name = make_visible(found.name, 200) or "(no name)"
        self.left.append(LeftFile(name=name, reason=make_visible(reason, 1_000)))

    def _refuse(self, found: FoundFile, kind: str) -> None:
        """Raise `NotCounted` for a file that need not be fetched to know that it cannot be counted."""
        if kind in _WRITTEN:
            raise NotCounted("it is still written")
        if kind == _SET_ASIDE:
            raise NotCounted(
                "the service could not read it and has set it aside; its predictions are in no table"
            )
        if kind != ".parquet":
            raise NotCounted("it is no file of the log")
        if make_visible(found.name, 200) != found.name or ".." in PurePosixPath(found.name).parts:
            raise NotCounted("its name is none that the service gives")
        if self._stopped:
            raise NotCounted(self._stopped)
        if shutil.disk_usage(self._folder).free < found.size + RESERVE:
            raise DiskFull(f"{self._folder}: no space left; make room there, then run it again")

    def _fetch(self, found: FoundFile, known: LogFile | None) -> None:
        # A name that nobody else has: what a killed run left here is never taken for this file.
        arrived = self._folder / f".{secrets.token_hex(8)}.parquet"
        try:
            self._tell(f"fetching {make_visible(found.name, 100)} ({found.size / 1e6:.1f} MB)")
            self._source.fetch(found.name, arrived)
            if arrived.stat().st_size != found.size:
                raise NotCounted("it changed while it was fetched")
            digest = hash_file(arrived)
            if known is not None:
                self._compare(found, known, digest)
            elif digest in self._by_digest:
                self._add_copy(found, self._by_digest[digest])
            else:
                self._add(found, digest, arrived)
        finally:
            arrived.unlink(missing_ok=True)

    def _compare(self, found: FoundFile, known: LogFile, digest: str) -> None:
        """Hold a file of a known name against what was counted."""
        if known.digest != digest:
            raise NotCounted(
                "its content is another than the one that was counted under this name; what it has now is not counted"
            )
        self.looked_at.append(_renew(known, found))

    def _add_copy(self, found: FoundFile, counted: LogFile) -> None:
        copy = LogFile(
            name=found.name,
            digest=counted.digest,
            rows=0,
            version=counted.version,
            onnx=counted.onnx,
            days={},
            size=found.size,
            changed=found.changed,
            copy_of=counted.name,
        )
        self._by_name[found.name] = copy
        self.looked_at.append(copy)
        self._leave(found, f"it has the content of {counted.name}, which was counted")

    def _add(self, found: FoundFile, digest: str, arrived: Path) -> None:
        file = read_log_file(arrived, found.name, digest)
        file = _renew(file, found)
        path = name_local(self._folder, digest)
        arrived.replace(path)
        self._by_name[found.name] = self._by_digest[digest] = file
        self.new.append(Collected(file, path))
        self._note_clocks(file)

    def _note_clocks(self, file: LogFile) -> None:
        """Say where a host's clock is wrong: its rows count on the days that they name."""
        latest = (datetime.fromtimestamp(self._now, UTC) + CLOCKS).date().isoformat()
        for words, rows in (
            ("of days that have not come yet", _sum_days(file, lambda day: day > latest)),
            (f"from before {EARLIEST}", _sum_days(file, lambda day: day < EARLIEST)),
        ):
            if rows:
                self.notes.append(
                    f"{file.name} has {rows} rows {words}: the clock of the host that wrote it is wrong. They count on "
                    "the days that they name."
                )


def _sum_days(file: LogFile, chosen: Callable[[str], bool]) -> int:
    return sum(rows for day, rows in file.days.items() if chosen(day))


def _renew(file: LogFile, found: FoundFile) -> LogFile:
    from msgspec import structs

    return structs.replace(file, size=found.size, changed=found.changed)


def name_local(folder: Path, digest: str) -> Path:
    """Name the place of a fetched file: by its digest."""
    return folder / f"{digest.partition(':')[2]}.parquet"


def hash_file(path: Path) -> str:
    """Compute a file's digest: `sha256:…`."""
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def fetch_again(source: LogSource, files: Iterable[LogFile], folder: Path, *, tell: Tell) -> dict[str, Path]:
    """Fetch counted files again where `folder` does not have them: name to path.

    A file whose digest is not what was counted, or that has gone, is left out and told. Raises `DiskFull`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found: dict[str, Path] = {}
    for file in files:
        if file.copy_of is not None:
            continue
        path = name_local(folder, file.digest)
        if not (path.exists() and hash_file(path) == file.digest):
            said = _fetch_known(source, file, path)
            if said:
                tell(f"{make_visible(file.name, 200)} cannot be read again: {said}")
                continue
        found[file.name] = path
    return found


def _fetch_known(source: LogSource, file: LogFile, path: Path) -> str | None:
    """Fetch a counted file to its place; why it cannot be had, where it cannot."""
    if ".." in PurePosixPath(file.name).parts or PurePosixPath(file.name).is_absolute():
        return "its name leads out of the log"
    arrived = path.with_name(f".{secrets.token_hex(8)}.parquet")
    try:
        source.fetch(file.name, arrived)
        if hash_file(arrived) != file.digest:
            return "its content is another than the one that was counted"
        arrived.replace(path)
    except (FileUnreadable, SourceUnreachable) as error:
        return make_visible(str(error).removeprefix(f"{file.name}: "), 500)
    finally:
        arrived.unlink(missing_ok=True)
    return None


def read_log_file(path: Path, name: str, digest: str) -> LogFile:
    """Read what a table of the log holds, in batches: memory does not grow with its rows. Raises `NotCounted`."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as table:
            _check_shape(table)
            return _sum_rows(table, name, digest)
    except (pa.ArrowException, OSError, ValueError, LookupError, TypeError) as error:
        said = " ".join(str(error).split())
        raise NotCounted(f"it is no whole Parquet table: {said}") from error


def _check_shape(table: pa.parquet.ParquetFile) -> None:
    """Raise `NotCounted` where a table is none of the log, or says that it is too large to be read."""
    about = table.metadata
    if about.num_columns > MOST_COLUMNS:
        raise NotCounted(f"it has {about.num_columns} columns, and {MOST_COLUMNS} are read at most")
    largest = max((about.row_group(at).total_byte_size for at in range(about.num_row_groups)), default=0)
    if largest > LARGEST_GROUP:
        raise NotCounted(
            f"a part of it unpacks to {largest / 1e6:.0f} MB, and {LARGEST_GROUP / 1e6:.0f} are read"
        )
    problems = list(find_schema_problems(table.schema_arrow))
    if problems:
        raise NotCounted(f"it has another schema than the log's: {'; '.join(problems[:5])}")


def find_schema_problems(schema: pa.Schema) -> Iterator[str]:
    """Find what a table of the log has otherwise than docs/serving.md says."""
    names = list(schema.names)
    doubled = (
        sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    )
    for name in doubled:
        yield f"the column {name} is there more than once"
    classes = [name for name in dict.fromkeys(names) if name.startswith(CLASS_SCORE)]
    expected = COLUMNS | ({"prediction:label": TEXT} if classes else {}) | dict.fromkeys(classes, NUMBER)
    for name, kind in expected.items():
        if name not in names:
            yield f"the column {name} is missing"
        elif name not in doubled and (found := _name_kind(schema.field(name).type)) != kind:
            yield f"the column {name} is {found}, expected {kind}"
    for field in schema:
        if field.name not in expected and _name_kind(field.type) not in (TEXT, NUMBER, BOOLEAN):
            yield f"the column {field.name} is {field.type}, expected {TEXT}, {NUMBER} or {BOOLEAN}"


def _name_kind(kind: pa.DataType) -> str:
    import pyarrow as pa

    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return TEXT
    if pa.types.is_float64(kind):
        return NUMBER
    return BOOLEAN if pa.types.is_boolean(kind) else str(kind)


def _sum_rows(table: pa.parquet.ParquetFile, name: str, digest: str) -> LogFile:
    """Count the rows of each day, and see that all are of one version. Raises `NotCounted`."""
    days: dict[str, int] = {}
    versions: set[tuple[str, str]] = set()
    rows = 0
    columns = ["prediction:time", "prediction:version", "prediction:onnx"]
    for batch in table.iter_batches(batch_size=BATCH_ROWS, columns=columns):
        rows += batch.num_rows
        for day, count in _count_days(batch.column("prediction:time")).items():
            days[day] = days.get(day, 0) + count
        versions |= _find_versions(batch)
        if len(versions) > 1:
            raise NotCounted("it holds rows of more than one version")
        if len(days) > MOST_DAYS:
            raise NotCounted(f"it holds rows of more than {MOST_DAYS} days")
    if rows != table.metadata.num_rows:
        raise NotCounted(f"it says that it has {table.metadata.num_rows} rows, and {rows} came")
    if not rows:
        raise NotCounted("it has no row")
    (version, onnx), *_ = versions
    if not version or len(version) > 200 or not onnx or len(onnx) > 4_000:
        raise NotCounted("it names no version and model, or too long ones")
    return LogFile(
        name=name, digest=digest, rows=rows, version=version, onnx=onnx, days=dict(sorted(days.items()))
    )


def _count_days(times: pa.Array) -> Mapping[str, int]:
    """Count the rows of each day in UTC. Raises `NotCounted` for a time that is none of the log's."""
    import pyarrow as pa
    import pyarrow.compute as pc

    readable = pc.match_substring_regex(times, _TIME)
    if times.null_count or not pc.all(readable, min_count=0).as_py():
        raise NotCounted("a row has no time, or one that is no time in UTC")
    counted = pc.value_counts(pc.utf8_slice_codeunits(times, 0, 10))
    found = dict(zip(counted.field(0).to_pylist(), counted.field(1).to_pylist(), strict=True))
    for day in found:
        try:
            date.fromisoformat(day)
        except ValueError as error:
            raise NotCounted(f"a row is of the day {day}, which there is not") from error
    assert isinstance(counted, pa.StructArray)
    return found


def _find_versions(batch: pa.RecordBatch) -> set[tuple[str, str]]:
    import pyarrow.compute as pc

    several = [pc.unique(batch.column(f"prediction:{name}")).to_pylist() for name in ("version", "onnx")]
    if any(None in values for values in several):
        raise NotCounted("a row names no version or no model")
    return {(version, onnx) for version in several[0] for onnx in several[1]}
