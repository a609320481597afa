"""Collecting the log: complete files once each, whatever lies beside them, and whatever stops a run in between."""

from __future__ import annotations

import errno
import os
import shutil
import tracemalloc
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from bots.monitoring import collection as module
from bots.monitoring.collection import (
    COLUMNS,
    Collection,
    collect_files,
    fetch_again,
    find_schema_problems,
    hash_file,
)
from bots.monitoring.log_listing import DiskFull, FileUnreadable, FoundFile, SourceUnreachable
from bots.monitoring.log_source import FolderLogs, open_address, open_log_source
from bots.observations import LogFile
from bots.settings import parse_settings
from fixtures import support
from serving import log_format, log_parquet

NOW = 1_789_000_000.0  # 2026-09-10
ONNX = "sha256:" + "a" * 64


def make_table(
    days: Iterable[str] = ("2026-09-09",), *, version: str = "v1", onnx: str = ONNX, first: int = 0
) -> pa.Table:
    """A table of the log: one row a day, with ids that begin at `first`."""
    listed = list(days)
    rows = len(listed)
    times = [f"{day}T10:00:00.000Z" for day in listed]
    text, number, boolean = pa.string(), pa.float64(), pa.bool_()
    return pa.table(
        {
            "prediction:id": pa.array([f"id-{first + at}" for at in range(rows)], text),
            "prediction:time": pa.array(times, text),
            "prediction:version": pa.array([version] * rows, text),
            "prediction:onnx": pa.array([onnx] * rows, text),
            "prediction:score": pa.array([0.5] * rows, number),
            "prediction:label": pa.array([True] * rows, boolean),
            "prediction:low": pa.array([None] * rows, number),
            "prediction:high": pa.array([None] * rows, number),
            "prediction:fallback": pa.array([False] * rows, boolean),
            "prediction:warnings": pa.array([""] * rows, text),
            "distance": pa.array([1.0] * rows, number),
            "airline": pa.array(["AA"] * rows, text),
        }
    )


def write(path: Path, table: pa.Table) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(table, path)
    return path


@dataclass
class Run:
    """A folder with a log, and the ledger of what was counted."""

    log: Path
    here: Path
    ledger: list[LogFile] = field(default_factory=list)
    source: Any = None

    def collect(self, **more: Any) -> Collection:
        source = self.source or FolderLogs(self.log)
        found = collect_files(source, self.ledger, self.here, tell=print, now=NOW, **more)
        merged = {(file.name, file.digest): file for file in self.ledger}
        for file in [*(one.file for one in found.new), *found.looked_at]:
            merged[file.name, file.digest] = file
        self.ledger = list(merged.values())
        return found

    @property
    def counted(self) -> int:
        return sum(file.rows for file in self.ledger)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    (tmp_path / "log").mkdir()
    return Run(tmp_path / "log", tmp_path / "here")


def name_left(found: Collection) -> dict[str, str]:
    return {file.name: file.reason for file in found.left}


def test_the_columns_are_those_that_the_service_writes() -> None:
    assert COLUMNS == log_format.COLUMNS


def test_a_table_that_the_service_itself_converted_is_counted(run: Run) -> None:
    lines = [
        f'{{"format":1,"version":"v7","onnx":"{ONNX}","columns":{{"distance":"number"}}}}',
        '{"id":"a-1","time":"2026-09-08T23:59:59.999Z","row":{"distance":3},"score":0.25,"label":false}',
        '{"id":"a-2","time":"2026-09-09T00:00:00.000Z","row":{"distance":null},"score":0.75,"fallback":true}',
    ]
    (run.log / "20260909T000000Z-abc.jsonl").write_text("\n".join(lines) + "\n")
    assert len(log_parquet.convert_log(run.log)) == 1
    [one] = run.collect().new
    assert (one.file.name, one.file.rows, one.file.version, one.file.onnx) == (
        "20260909T000000Z-abc.parquet",
        2,
        "v7",
        ONNX,
    )
    assert one.file.days == {"2026-09-08": 1, "2026-09-09": 1}
    assert one.file.digest == hash_file(one.path)
    assert one.path.read_bytes() == (run.log / "20260909T000000Z-abc.parquet").read_bytes()


def test_what_was_counted_is_not_counted_again_and_not_even_fetched(run: Run) -> None:
    write(run.log / "a.parquet", make_table())
    run.collect()
    shutil.rmtree(run.here)
    found = run.collect()
    assert (found.new, found.left, found.seen, run.counted) == ([], [], 1, 1)
    assert list(run.here.iterdir()) == []


def test_a_file_that_was_copied_about_is_read_once_more_and_then_known(run: Run) -> None:
    path = write(run.log / "a.parquet", make_table())
    run.collect()
    os.utime(path, (5, 5))
    assert [file.changed for file in run.collect().looked_at] == [5.0]
    assert run.collect().looked_at == []
    assert run.counted == 1


def test_a_counted_file_with_other_content_is_named_and_not_counted_twice(run: Run) -> None:
    write(run.log / "a.parquet", make_table())
    run.collect()
    write(run.log / "a.parquet", make_table(["2026-09-09"] * 3, first=7))
    found = run.collect()
    assert "another than the one that was counted under this name" in name_left(found)["a.parquet"]
    assert run.counted == 1


def test_the_same_content_under_two_names_is_counted_once_and_said_once(run: Run) -> None:
    write(run.log / "a.parquet", make_table())
    shutil.copyfile(run.log / "a.parquet", run.log / "b.parquet")
    found = run.collect()
    assert (len(found.new), run.counted) == (1, 1)
    assert name_left(found) == {"b.parquet": "it has the content of a.parquet, which was counted"}
    (run.log / "a.parquet").unlink()
    again = run.collect()
    assert (again.new, again.left, run.counted) == ([], [], 1)


def test_one_name_in_two_places_with_other_content_is_two_files(run: Run) -> None:
    write(run.log / "stable-log" / "a.parquet", make_table(first=1))
    write(run.log / "canary-log" / "a.parquet", make_table(first=2))
    run.collect()
    assert run.counted == 2


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("20260909T000000Z-abc.jsonl", "it is still written"),
        ("20260909T000000Z-abc.new", "it is still written"),
        ("20260909T000000Z-abc.parquet.part", "it is still written"),
        ("20260909T000000Z-abc.unreadable", "its predictions are in no table"),
        ("notes.txt", "it is no file of the log"),
        ("a\u202eb.parquet", "its name is none that the service gives"),
        (f"{'a' * 210}.parquet", "its name is none that the service gives"),
    ],
)
def test_what_is_no_complete_table_is_named_with_its_reason(run: Run, name: str, reason: str) -> None:
    write(run.log / name, make_table())
    found = run.collect()
    assert (found.new, len(found.left)) == ([], 1)
    assert reason in found.left[0].reason
    assert "\u202e" not in found.left[0].name


def test_what_the_shipper_remembers_is_no_news(run: Run) -> None:
    (run.log / "a.parquet.shipped").write_text("")
    assert run.collect().left == []


def change_type(name: str, kind: pa.DataType) -> Any:
    def change(table: pa.Table) -> pa.Table:
        at = table.schema.get_field_index(name)
        return table.set_column(at, pa.field(name, kind), pa.nulls(table.num_rows, kind))

    return change


def set_values(name: str, *values: Any) -> Any:
    def change(table: pa.Table) -> pa.Table:
        at = table.schema.get_field_index(name)
        return table.set_column(
            at, table.schema.field(name), pa.array(list(values), table.schema.field(at).type)
        )

    return change


WRONG = {
    "a missing column": (lambda table: table.drop(["prediction:id"]), "column prediction:id is missing"),
    "another type": (change_type("prediction:score", pa.string()), "prediction:score is text, expected number"),
    "a number for a time": (change_type("prediction:time", pa.timestamp("ms")), "prediction:time is timestamp"),
    "a list": (change_type("airline", pa.list_(pa.string())), "the column airline is list"),
    "a column twice": (
        lambda table: table.append_column("airline", table.column("airline")),
        "the column airline is there more than once",
    ),
    "no rows": (lambda table: table.slice(0, 0), "it has no row"),
    "no time": (set_values("prediction:time", None, "2026-09-09T10:00:00.000Z"), "a row has no time"),
    "no zone": (set_values("prediction:time", "2026-09-09T10:00:00", "2026-09-09T10:00:00Z"), "no time in UTC"),
    "no such day": (
        set_values("prediction:time", "2026-02-31T10:00:00Z", "2026-09-09T10:00:00Z"),
        "of the day 2026-02-31, which there is not",
    ),
    "two versions": (set_values("prediction:version", "v1", "v2"), "more than one version"),
    "two models": (set_values("prediction:onnx", "a", "b"), "more than one version"),
    "no version": (set_values("prediction:version", None, "v2"), "names no version"),
    "an empty version": (set_values("prediction:version", "", ""), "names no version"),
    "a long version": (set_values("prediction:version", "v" * 201, "v" * 201), "too long"),
}  # fmt: skip


@pytest.mark.parametrize("kind", WRONG)
def test_a_table_that_is_none_of_the_log_is_named_and_taken_once_it_is_whole(run: Run, kind: str) -> None:
    change, reason = WRONG[kind]
    good = make_table(["2026-09-09", "2026-09-09"])
    write(run.log / "a.parquet", change(good))
    write(run.log / "b.parquet", make_table(first=50))
    found = run.collect()
    assert reason in name_left(found)["a.parquet"]
    assert run.counted == 1, "the others are counted"
    write(run.log / "a.parquet", good)
    assert run.collect().left == []
    assert run.counted == 3


@pytest.mark.parametrize("cut", [0, 3, 100, -1, -9])
def test_a_half_written_table_is_left_until_it_is_whole(run: Run, cut: int) -> None:
    whole = write(run.log / "a.parquet", make_table()).read_bytes()
    (run.log / "a.parquet").write_bytes(whole[:cut])
    assert "it is no whole Parquet table" in name_left(run.collect())["a.parquet"]
    (run.log / "a.parquet").write_bytes(whole)
    run.collect()
    assert run.counted == 1


@given(st.binary(max_size=300), st.integers(0, 5_000), st.integers(0, 255))
@settings(max_examples=60)
def test_no_bytes_end_a_run_in_another_way(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, at: int, byte: int
) -> None:
    folder = tmp_path_factory.mktemp("fuzz")
    run = Run(folder / "log", folder / "here")
    whole = bytearray(write(run.log / "a.parquet", make_table()).read_bytes())
    whole[at % len(whole)] = byte
    (run.log / "a.parquet").write_bytes(bytes(whole))
    (run.log / "b.parquet").write_bytes(b"PAR1" + content + b"PAR1")
    found = run.collect()
    assert len(found.new) + len(found.left) == 2


def test_a_table_that_is_too_large_is_named_and_not_fetched(run: Run) -> None:
    write(run.log / "a.parquet", make_table())
    document = yaml.safe_load(support.render_file("params.yaml"))
    document["monitoring"] = {"predictions": str(run.log), "largest_file": 0.001}
    known = parse_settings(yaml.safe_dump(document), "params.yaml")
    with open_log_source(run.log, known, tell=print) as run.source:
        [left] = run.collect().left
    assert left.reason.endswith("MB, and monitoring.largest_file in params.yaml allows 0.001")
    assert list(run.here.iterdir()) == []


def test_a_table_that_unpacks_to_too_much_is_not_read(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    write(run.log / "a.parquet", make_table())
    monkeypatch.setattr(module, "LARGEST_GROUP", 10)
    assert "unpacks to" in name_left(run.collect())["a.parquet"]


def test_rows_from_a_wrong_clock_count_on_the_days_that_they_name_and_that_is_said(run: Run) -> None:
    write(run.log / "a.parquet", make_table(["2031-01-01", "2026-09-10", "1970-01-01", "1970-01-01"]))
    found = run.collect()
    assert run.counted == 4
    [ahead, behind] = found.notes
    assert ahead.startswith("a.parquet has 1 rows of days that have not come yet: the clock")
    assert behind.startswith("a.parquet has 2 rows from before 2000-01-01: the clock")
    assert behind.endswith("They count on the days that they name.")


@pytest.mark.slow
def test_the_memory_does_not_grow_with_a_files_rows(run: Run) -> None:
    def measure(rows: int) -> float:
        shutil.rmtree(run.log)
        run.ledger = []
        write(run.log / "a.parquet", make_table(["2026-09-09"] * 2_000))
        part = parquet.read_table(run.log / "a.parquet")
        with parquet.ParquetWriter(run.log / "a.parquet", part.schema) as writer:
            for _ in range(rows // 2_000):
                writer.write_table(part)
        before = pa.total_allocated_bytes()
        pool = pa.default_memory_pool()
        tracemalloc.start()
        run.collect()
        _, python = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert run.counted == rows
        assert pa.total_allocated_bytes() <= before + 1_000_000
        return python + (pool.max_memory() or 0)

    small = measure(100_000)
    assert measure(800_000) < small + 30_000_000


@dataclass
class Faulty:
    """A source over a folder that does what the test says when a file is fetched."""

    inner: FolderLogs
    faults: dict[str, Any] = field(default_factory=dict)
    lies: dict[str, int] = field(default_factory=dict)
    where: str = "there"
    unseen: list[str] = field(default_factory=list)

    def list_files(self) -> list[FoundFile]:
        return [
            FoundFile(file.name, self.lies.get(file.name, file.size), file.changed)
            for file in self.inner.list_files()
        ] + [
            FoundFile(name, size)
            for name, size in self.lies.items()
            if not (self.inner.folder / name).exists()
        ]

    def fetch(self, name: str, path: Path) -> None:
        fault = self.faults.get(name)
        if isinstance(fault, BaseException):
            raise fault
        self.inner.fetch(name, path)
        if fault:
            fault(path)


def test_a_file_that_grew_between_the_list_and_the_fetch_is_taken_the_next_time(run: Run) -> None:
    write(run.log / "a.parquet", make_table())
    run.source = Faulty(FolderLogs(run.log), lies={"a.parquet": 17, "gone.parquet": 5})
    found = name_left(run.collect())
    assert found == {"a.parquet": "it changed while it was fetched", "gone.parquet": "it is gone"}
    run.source = None
    run.collect()
    assert run.counted == 1


def test_a_file_that_cannot_be_fetched_does_not_keep_the_others_from_it(run: Run) -> None:
    for at, name in enumerate("abc"):
        write(run.log / f"{name}.parquet", make_table(first=at))
    run.source = Faulty(
        FolderLogs(run.log), {"b.parquet": FileUnreadable("b.parquet: it did not arrive whole")}
    )
    assert name_left(run.collect()) == {"b.parquet": "it did not arrive whole"}
    assert run.counted == 2


@pytest.mark.parametrize(
    "fault", [DiskFull("/here: No space left on device"), SourceUnreachable("there: nobody answers")]
)
def test_where_nothing_more_can_come_what_came_is_counted_and_the_rest_is_named(
    run: Run, fault: Exception
) -> None:
    for at, name in enumerate("abc"):
        write(run.log / f"{name}.parquet", make_table(first=at))
    run.source = Faulty(FolderLogs(run.log), {"b.parquet": fault})
    found = run.collect()
    assert set(name_left(found)) == {"b.parquet", "c.parquet"}
    assert len(found.unseen) == 1
    assert str(fault) in found.unseen[0]
    run.source = None
    run.collect()
    assert run.counted == 3


def test_a_disk_that_is_full_leaves_nothing_half_written(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    write(run.log / "a.parquet", make_table())

    def fill(source: Any, target: Any, length: int) -> None:
        target.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfileobj", fill)
        found = run.collect()
    assert "No space left on device" in name_left(found)["a.parquet"]
    assert list(run.here.iterdir()) == []
    run.collect()
    assert run.counted == 1


def test_before_a_disk_is_full_the_run_stops_fetching(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    write(run.log / "a.parquet", make_table())
    monkeypatch.setattr(module, "RESERVE", 10**18)
    assert "no space left" in name_left(run.collect())["a.parquet"]


def test_a_folder_that_is_not_there_is_told_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    with pytest.raises(SourceUnreachable, match=r"no such folder; monitoring\.predictions"):
        open_address(tmp_path, "gone").list_files()


def test_links_and_what_is_no_file_are_not_followed(run: Run, tmp_path: Path) -> None:
    outside = write(tmp_path / "outside.parquet", make_table())
    (run.log / "a.parquet").symlink_to(outside)
    (run.log / "folder").symlink_to(tmp_path)
    os.mkfifo(run.log / "b.parquet")
    assert run.collect().seen == 0
    with pytest.raises(FileUnreadable):
        FolderLogs(run.log).fetch("a.parquet", tmp_path / "copy")


def test_a_folder_that_cannot_be_read_is_said(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    write(run.log / "closed" / "a.parquet", make_table())
    scan = os.scandir

    def refuse(path: Any) -> Any:
        if str(path).endswith("closed"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert "cannot be read: Permission denied" in run.collect().unseen[0]


def test_counted_files_are_fetched_again_by_digest_and_what_has_gone_is_told(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for at, name in enumerate("abc"):
        write(run.log / f"{name}.parquet", make_table(first=at))
    run.collect()
    (run.log / "b.parquet").unlink()
    write(run.log / "c.parquet", make_table(first=9))
    capsys.readouterr()
    cache = tmp_path / "cache"
    again = fetch_again(FolderLogs(run.log), run.ledger, cache, tell=print)
    assert set(again) == {"a.parquet"}
    said = capsys.readouterr().out
    assert "b.parquet cannot be read again: it is gone" in said
    assert "c.parquet cannot be read again: its content is another" in said
    (run.log / "a.parquet").unlink()
    assert fetch_again(FolderLogs(run.log), run.ledger, cache, tell=print) == again, "the cache has it"
    again["a.parquet"].write_bytes(b"spoilt")
    assert fetch_again(FolderLogs(run.log), run.ledger, cache, tell=print) == {}


def test_a_ledger_leads_nobody_out_of_the_log(run: Run, tmp_path: Path) -> None:
    outside = write(tmp_path / "outside.parquet", make_table())
    file = LogFile(
        name="../outside.parquet", digest=hash_file(outside), rows=1, version="v1", onnx=ONNX, days={}
    )
    assert fetch_again(FolderLogs(run.log), [file], tmp_path / "cache", tell=print) == {}


@given(
    st.dictionaries(
        st.sampled_from(["a", "b", "prediction:score", *COLUMNS]),
        st.sampled_from([pa.string(), pa.float64(), pa.bool_(), pa.int64(), pa.null()]),
    )
)
def test_a_schema_is_the_logs_or_something_is_named(columns: dict[str, pa.DataType]) -> None:
    problems = list(find_schema_problems(pa.schema(list(columns.items()))))
    kinds = {"text": pa.string(), "number": pa.float64(), "boolean": pa.bool_()}
    fits = all(columns.get(name) == kinds[kind] for name, kind in COLUMNS.items())
    assert bool(problems) != (fits and all(kind in kinds.values() for kind in columns.values()))


def test_a_table_of_several_classes_is_one_of_the_log_as_the_service_writes_it(tmp_path: Path) -> None:
    header = log_format.Header(
        format=log_format.FORMAT, version="v1", onnx=ONNX, columns={"x": "number"}, classes=["a", 'b "c"']
    )
    entry = b'{"id":"1","time":"2026-09-09T10:00:00Z","row":{"x":1},"score":0.75,"label":"a","scores":[0.75,0.25]}'
    (tmp_path / "one.jsonl").write_bytes(msgspec.json.encode(header) + b"\n" + entry + b"\n")
    (path,) = log_parquet.convert_log(tmp_path)
    table = parquet.read_table(path)
    assert list(find_schema_problems(table.schema)) == []
    assert table.column('prediction:score:b "c"').to_pylist() == [0.25]
    wrong = table.set_column(5, "prediction:label", pa.array([True]))
    assert list(find_schema_problems(wrong.schema)) == [
        "the column prediction:label is boolean, expected text"
    ]
    wrong = table.drop_columns(["prediction:score:a", 'prediction:score:b "c"'])
    assert list(find_schema_problems(wrong.schema)) == [
        "the column prediction:label is text, expected boolean"
    ]


class Killed(BaseException):
    """The process ends here."""


STEPS = ("list", "fetch", "arrived", "collected", "pushing", "pushed", "none")


@pytest.mark.slow
@given(
    st.lists(
        st.tuples(
            st.sampled_from(STEPS),
            st.integers(0, 3),
            st.lists(st.sampled_from(["new", "copy", "half", "finish", "replace", "delete"]), max_size=3),
        ),
        min_size=1,
        max_size=8,
    )
)
@settings(max_examples=150)
def test_every_row_is_counted_once_wherever_runs_are_killed(
    tmp_path_factory: pytest.TempPathFactory, runs: list[tuple[str, int, list[str]]]
) -> None:
    """The branch is a list here that changes at once, as a push does; all else is real."""
    folder = tmp_path_factory.mktemp("crash")
    log, here = folder / "log", folder / "here"
    log.mkdir()
    world = World(log)
    branch: list[LogFile] = []

    def watch(step: str, at: int) -> None:
        nonlocal branch
        source = Killing(FolderLogs(log), step, at)
        found = collect_files(source, branch, here, tell=lambda words: None, now=NOW)
        kept = {(file.name, file.digest): file for file in branch}
        kept |= {(one.file.name, one.file.digest): one.file for one in found.new}
        kept |= {(file.name, file.digest): file for file in found.looked_at}
        for one in found.new:
            assert hash_file(one.path) == one.file.digest
        if step in ("collected", "pushing"):
            raise Killed
        branch = list(kept.values())
        if step == "pushed":
            raise Killed

    for step, at, changes in runs:
        for change in changes:
            world.change(change)
        try:
            watch(step, at)
        except Killed:
            pass
        else:
            world.counted_until_now()
    world.finish_all()
    watch("none", 0)
    world.counted_until_now()
    counted = Counter(file.digest for file in branch if file.rows)
    assert set(counted.values()) <= {1}
    assert world.must_be_counted <= set(counted)
    assert set(counted) <= world.ever


@dataclass
class World:
    """What services write, and what must be in the ledger in the end."""

    log: Path
    number: int = 0
    must_be_counted: set[str] = field(default_factory=set)
    ever: set[str] = field(default_factory=set)
    seen: set[str] = field(default_factory=set)
    half: dict[Path, bytes] = field(default_factory=dict)

    def _whole(self) -> list[Path]:
        return sorted(path for path in self.log.glob("*.parquet") if path not in self.half)

    def change(self, what: str) -> None:
        self.number += 1
        path = self.log / f"{self.number:03}.parquet"
        if what == "new":
            write(path, make_table(first=self.number * 10))
            self.ever.add(hash_file(path))
        elif what == "half":
            whole = write(path, make_table(first=self.number * 10)).read_bytes()
            self.ever.add(hash_file(path))
            path.write_bytes(whole[:-5])
            self.half[path] = whole
        elif what == "finish":
            for unfinished, whole in list(self.half.items())[:1]:
                unfinished.write_bytes(whole)
                del self.half[unfinished]
        elif what == "copy" and self._whole():
            shutil.copyfile(self._whole()[0], path)
            self.ever.add(hash_file(path))
        elif what == "replace" and self._whole():
            target = self._whole()[0]
            if target.name in self.seen:  # before it was counted this is a new file
                write(target, make_table(first=self.number * 10))
                self.seen.discard(target.name)
        elif what == "delete" and self._whole():
            target = self._whole()[0]
            if target.name in self.seen:
                target.unlink()

    def finish_all(self) -> None:
        for path, whole in self.half.items():
            path.write_bytes(whole)
        self.half.clear()

    def counted_until_now(self) -> None:
        for path in self._whole():
            digest = hash_file(path)
            if digest in self.ever:
                self.must_be_counted.add(digest)
            self.seen.add(path.name)


@dataclass
class Killing:
    """A source at which the process is killed."""

    inner: FolderLogs
    step: str
    at: int
    where: str = "there"
    unseen: list[str] = field(default_factory=list)

    def list_files(self) -> list[FoundFile]:
        if self.step == "list":
            raise Killed
        return self.inner.list_files()

    def fetch(self, name: str, path: Path) -> None:
        self.at -= 1
        if self.step == "fetch" and self.at < 0:
            path.write_bytes(b"half")
            path.rename(path.with_name(f"left-{name}"))
            raise Killed
        self.inner.fetch(name, path)
        if self.step == "arrived" and self.at < 0:
            raise Killed
