"""The prediction log holds every answered prediction, however the process ends and whatever the disk does."""

from __future__ import annotations

import asyncio
import concurrent.futures
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures import served
from fixtures.served import HANGING, ROW, Service, run_service
from serving import app, log_parquet, log_retention, log_writer
from serving.errors import LogError
from serving.log_writer import LogWriter
from serving.settings import LogPolicy

pytestmark = pytest.mark.slow

HEAD = b'{"format":1,"version":"v1","onnx":"sha256:1","columns":{"x":"number","town":"text"}}'
LINE = '{"id":"%d","time":"2026-01-01T00:00:00Z","row":{"x":%d,"town":"Ulm"},"score":0.5,"label":true}\n'


def make_line(number: int) -> bytes:
    return (LINE % (number, number)).encode()


def test_an_entry_has_the_row_its_identity_and_the_answer(folder):
    with run_service(folder) as service:
        (told,) = service.predict({**ROW, "town": "Rome"}).json()["predictions"]
    (entry,) = served.read_log(service.log)
    assert entry["prediction:id"] == told["id"]
    assert entry["prediction:score"] == told["score"]
    assert entry["prediction:label"] == told["label"]
    assert entry["prediction:warnings"] == "town:unseen"
    assert entry["prediction:version"] == "unreleased"
    assert entry["prediction:onnx"].startswith("sha256:")
    assert pd.Timestamp(entry["prediction:time"]).tzinfo is not None
    assert (entry["visit"], entry["x"], entry["town"], entry["member"]) == ("v1", 1.5, "Rome", True)


@pytest.mark.parametrize(
    ("policy", "environment"), [("drop", {}), ("hash", {"SERVING_HASH_KEY": "salt"}), ("keep", {})]
)
def test_personal_values_are_dropped_hashed_or_kept_by_choice(folder, policy, environment):
    with run_service(folder, policy={"log": {"personal": policy}}, environment=environment) as service:
        service.predict([ROW, ROW, {**ROW, "email": "b@example.invalid", "age": None}])
    text = b"".join(path.read_bytes() for path in service.log.iterdir())
    first, second, other = served.read_log(service.log)
    assert (b"a@example.invalid" in text) == (policy == "keep")
    if policy == "drop":
        assert pd.isna(first["email"])
        assert pd.isna(first["age"])
    elif policy == "hash":
        assert first["email"] == second["email"] != other["email"]
        assert len(first["email"]) == len(first["age"]) == 64
        assert pd.isna(other["age"])
    else:
        assert (first["email"], first["age"]) == ("a@example.invalid", 41)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_kill_9_under_load_loses_no_answered_prediction(folder, workers):
    service = Service(folder, environment={"SERVING_WORKERS": workers})
    service.start(path="/health/ready")
    answered: list[str] = []
    stop = threading.Event()

    def ask() -> None:
        with httpx.Client(base_url=service.url, trust_env=False, timeout=5) as client:
            while not stop.is_set():
                try:
                    found = client.post("/predict", json=[ROW, ROW])
                except httpx.TransportError:
                    return
                answered.extend(one["id"] for one in found.json()["predictions"])

    parent = service.process.pid
    mine = [int(pid) for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        asking = [pool.submit(ask) for _ in range(6)]
        until = time.monotonic() + 30
        while len(answered) <= 100 and time.monotonic() < until:
            time.sleep(0.02)
        for pid in [parent, *mine]:
            os.kill(pid, signal.SIGKILL)
        stop.set()
        for one in asking:
            one.result()
    service.stop()
    assert len(answered) > 50
    again = Service(folder)
    again.start(path="/health/ready")  # what was left behind is archived by the next start
    until = time.monotonic() + 20
    while not list(again.log.glob("*.parquet")) and time.monotonic() < until:
        time.sleep(0.1)
    again.stop()
    kept = {entry["prediction:id"] for entry in served.read_log(service.log)}
    assert set(answered) <= kept


@pytest.fixture
def small_disk(tmp_path: Path):
    """A disk of 256 KB."""
    place = tmp_path / "disk"
    place.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(place)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"no disk can be mounted here: {done.stderr.strip()}")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)  # an archive may still look at it


def fill_disk(place: Path) -> Path:
    """Fill a disk."""
    path = place / "filler"
    with path.open("wb", buffering=0) as file:
        for _ in range(1000):
            try:
                file.write(b"\0" * 4096)
            except OSError:
                return path
    raise AssertionError("the disk did not fill up")


def ask_until_refused(service: Service) -> httpx.Response:
    """Ask until the last page of the disk is full."""
    for _ in range(200):
        answer = service.predict([ROW] * 20)
        if answer.status_code != 200:
            return answer
    raise AssertionError("the disk did not fill up")


def test_a_full_disk_refuses_and_recovers_when_there_is_room_again(folder, small_disk):
    with run_service(folder, environment={"SERVING_LOG": str(small_disk)}) as service:
        answered = [one["id"] for one in service.predict([ROW] * 5).json()["predictions"]]
        filler = fill_disk(small_disk)
        refused = ask_until_refused(service)
        assert refused.status_code == 503
        assert "No space left on device" in refused.json()["detail"]
        assert refused.headers["retry-after"] == "5"
        assert service.client.get("/health/ready").status_code == 503
        assert service.read_metric("model_ready") == 0
        filler.unlink()
        assert service.client.get("/health/ready").status_code == 200
        answered += [one["id"] for one in service.predict([ROW] * 5).json()["predictions"]]
    shutil.copytree(small_disk, folder / "copy")
    kept = {entry["prediction:id"] for entry in served.read_log(folder / "copy")}
    assert set(answered) <= kept


def test_by_choice_a_full_disk_is_counted_and_the_answers_go_on(folder, small_disk):
    policy = {"log": {"failure": "serve"}}
    with run_service(folder, environment={"SERVING_LOG": str(small_disk)}, policy=policy) as service:
        fill_disk(small_disk)
        for _ in range(50):
            assert service.predict([ROW] * 20).status_code == 200
        lost = service.read_metric("model_log_lost_total")
        assert lost >= 500
        assert service.client.get("/health/ready").status_code == 200
        assert service.read_metric("model_ready") == 1


@pytest.mark.parametrize(("failure", "status"), [("refuse", 503), ("serve", 200)])
def test_a_store_that_hangs_holds_up_answers_by_the_policy_and_never_the_service(folder, failure, status):
    policy = {"log": {"failure": failure, "patience": 0.3}}
    with run_service(folder, command=("-c", HANGING), policy=policy) as service:
        assert service.predict(ROW).status_code == 200
        (folder / "hang").touch()
        began = time.monotonic()
        assert service.predict(ROW).status_code == status
        assert 0.3 <= time.monotonic() - began < 2
        assert service.client.get("/health/live").status_code == 200
        assert service.read_metric("model_log_lost_total") == (1 if failure == "serve" else 0)
        (folder / "hang").unlink()
        time.sleep(0.3)
        assert service.predict(ROW).status_code == 200


def test_a_log_that_cannot_be_made_is_told(folder):
    (folder / "predictions").write_text("not a folder")
    with run_service(folder) as service:
        assert "File exists" in service.predict(ROW).json()["detail"]


async def write_entries(folder: Path, policy: LogPolicy, entries: int, **edges) -> list[bool]:
    """Write entries one after another, and say of each whether it is in the log."""
    log = LogWriter(folder, HEAD, policy, **edges)
    found = []
    for number in range(entries):
        try:
            await log.append(make_line(number))
            found.append(True)
        except LogError:
            found.append(False)
    await log.close()
    return found


def read_ids(folder: Path) -> list[int]:
    return [int(entry["prediction:id"]) for entry in served.read_log(folder)]


@given(st.lists(st.sampled_from(["all", "half", "full", "broken"]), max_size=30))
@settings(max_examples=40)
def test_whatever_a_disk_does_what_was_confirmed_is_in_the_log_once_and_whole(tmp_path_factory, faults):
    folder = tmp_path_factory.mktemp("log")
    todo = list(faults)

    def write(file: int, data: bytes) -> int:
        fault = todo.pop(0) if todo else "all"
        if fault == "full":
            raise OSError(errno.ENOSPC, "full")
        if fault == "broken":  # some of it arrives, then the disk says no
            os.write(file, data[: len(data) // 3])
            raise OSError(errno.EIO, "broken")
        return os.write(file, data[: len(data) // 2 + 1] if fault == "half" else data)

    found = asyncio.run(write_entries(folder, LogPolicy(), 20, write=write))
    assert read_ids(folder) == [number for number, kept in enumerate(found) if kept]


@given(st.integers(0, 400), st.binary(max_size=30))
@settings(max_examples=40)
def test_a_torn_end_costs_only_what_was_not_confirmed(tmp_path_factory, cut, noise):
    folder = tmp_path_factory.mktemp("log")
    whole = HEAD + b"\n" + b"".join(make_line(number) for number in range(4))
    kept = len(HEAD) + 1 + cut
    (folder / "a.jsonl").write_bytes(whole[:kept] + noise.replace(b"\n", b""))
    complete = whole[:kept].count(b"\n") - 1
    assert read_ids(folder)[:complete] == list(range(complete))
    assert len(read_ids(folder)) <= complete + 1


def test_files_turn_into_tables_by_time_and_by_size(tmp_path):
    clock = iter(range(0, 100_000, 45))
    closed: list[int] = []
    policy = LogPolicy(minutes=1)
    asyncio.run(
        write_entries(
            tmp_path / "time", policy, 10, clock=lambda: next(clock), on_close=lambda: closed.append(1)
        )
    )
    assert len(closed) >= 4
    assert read_ids(tmp_path / "time") == list(range(10))
    asyncio.run(write_entries(tmp_path / "size", LogPolicy(megabytes=0.0003), 10))
    assert len(list((tmp_path / "size").glob("*.jsonl"))) >= 3
    assert sorted(read_ids(tmp_path / "size")) == list(range(10))


def test_the_running_service_makes_tables_by_itself(folder):
    with run_service(folder, policy={"log": {"minutes": 0.02}}) as service:
        service.predict(ROW)
        until = time.monotonic() + 30
        while not list(service.log.glob("*.parquet")) and time.monotonic() < until:
            time.sleep(0.1)
        assert len(pd.read_parquet(next(service.log.glob("*.parquet")))) == 1


@pytest.mark.parametrize("sync", [True, False])
def test_by_choice_an_entry_is_on_the_disk_itself_before_its_answer_leaves(tmp_path, monkeypatch, sync):
    happened: list[str] = []
    monkeypatch.setattr("serving.log_writer.os.fsync", lambda file: happened.append("on the disk"))

    async def answered() -> None:
        log = LogWriter(tmp_path, HEAD, LogPolicy(sync=sync))
        await log.append(make_line(0))
        happened.append("answered")
        await log.close()

    asyncio.run(answered())
    assert happened == (["on the disk", "answered"] if sync else ["answered"])


def test_a_file_that_is_being_written_is_left_alone(tmp_path):
    async def while_open() -> list[Path]:
        log = LogWriter(tmp_path, HEAD, LogPolicy())
        await log.append(make_line(0))
        made = log_parquet.convert_log(tmp_path)
        await log.append(make_line(1))
        await log.close()
        return made

    assert asyncio.run(while_open()) == []
    assert read_ids(tmp_path) == [0, 1]


def test_killed_between_table_and_source_the_archive_ends_in_the_same_state(tmp_path):
    source = HEAD + b"\n" + make_line(0) + make_line(1)
    (tmp_path / "a.jsonl").write_bytes(source)
    (tmp_path / "a.parquet").write_bytes(b"half a table")
    (tmp_path / "a.parquet.part").write_bytes(b"half")
    assert read_ids(tmp_path) == [0, 1]
    (tmp_path / "a.jsonl").write_bytes(source)
    assert read_ids(tmp_path) == [0, 1]


@pytest.mark.parametrize("at", ["before its first byte", "after its table"])
def test_a_service_that_ends_waits_for_who_is_converting_its_last_file(tmp_path, monkeypatch, at):
    (tmp_path / "a.jsonl").write_bytes(HEAD + b"\n" + make_line(0))
    reached, go = threading.Event(), threading.Event()
    write = log_parquet._write_table

    def pause(*given: Any) -> Path | None:
        table = write(*given) if at == "after its table" else None
        reached.set()
        assert go.wait(20)
        return table or write(*given)

    monkeypatch.setattr(log_parquet, "_write_table", pause)
    monkeypatch.chdir(served.support.TEMPLATE)  # where the converter of the service's end finds itself
    with concurrent.futures.ThreadPoolExecutor() as pool:
        converting = pool.submit(log_parquet.convert_log, tmp_path)
        assert reached.wait(20)
        ending = pool.submit(app.finish_conversion, tmp_path)
        with pytest.raises(TimeoutError):
            ending.result(timeout=2)
        go.set()
        ending.result(timeout=20)
        assert list(tmp_path.glob("*.jsonl*")) == []
        assert converting.result() == list(tmp_path.glob("*.parquet"))


def test_a_service_that_ends_waits_for_no_other_that_still_writes(tmp_path, monkeypatch):
    monkeypatch.chdir(served.support.TEMPLATE)

    async def while_open() -> float:
        log = LogWriter(tmp_path, HEAD, LogPolicy())
        await log.append(make_line(0))
        began = time.monotonic()
        app.finish_conversion(tmp_path)
        took = time.monotonic() - began
        await log.close()
        return took

    assert asyncio.run(while_open()) < app.LAST_CONVERSION


def test_a_file_without_entries_leaves_nothing(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(HEAD + b"\n")
    assert log_parquet.convert_log(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_another_kind_is_set_aside_not_deleted(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(b"something else\n")
    assert log_parquet.convert_log(tmp_path) == []
    assert (tmp_path / "a.unreadable").read_bytes() == b"something else\n"


def test_large_files_are_archived_in_order_and_in_parts(tmp_path):
    many = log_parquet.CHUNK_ROWS + 7
    (tmp_path / "a.jsonl").write_bytes(HEAD + b"\n" + b"".join(make_line(number) for number in range(many)))
    done = subprocess.run(
        [sys.executable, "-m", "serving", "archive", str(tmp_path)],
        cwd=served.support.TEMPLATE, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout.strip() == str(tmp_path / "a.parquet")
    table = pd.read_parquet(tmp_path / "a.parquet")
    assert table["x"].tolist() == list(range(many))
    assert json.loads(LINE % (0, 0))["row"]["town"] == table["town"].iloc[0]


def test_labels_join_by_the_identity_columns(folder):
    with run_service(folder) as service:
        service.predict([{**ROW, "visit": f"v{number}"} for number in range(20)])
    entries = pd.DataFrame(served.read_log(service.log))
    labels = pd.DataFrame({"visit": [f"v{number}" for number in range(0, 20, 2)], "outcome": 1.0})
    assert len(entries.merge(labels, on="visit")) == 10


@pytest.mark.parametrize(("failure", "status"), [("refuse", 503), ("serve", 200)])
def test_a_deleted_folder_is_noticed_before_the_answer_leaves(folder, failure, status):
    with run_service(folder, policy={"log": {"failure": failure}}) as service:
        assert service.predict(ROW).status_code == 200
        shutil.rmtree(service.log)
        assert service.predict(ROW).status_code == status
        assert service.read_metric("model_log_lost_total") == (1 if failure == "serve" else 0)
        told = service.predict(ROW).json()["predictions"][0]["id"]
        assert "was deleted or replaced" in service.output
    assert [entry["prediction:id"] for entry in served.read_log(service.log)] == [told]


def test_a_replaced_folder_is_noticed_within_a_second(folder):
    with run_service(folder) as service:
        assert service.predict(ROW).status_code == 200
        service.log.rename(folder / "moved")
        service.log.mkdir()
        until = time.monotonic() + 20
        while "was deleted or replaced" not in service.output and time.monotonic() < until:
            time.sleep(0.1)
        told = service.predict(ROW).json()["predictions"][0]["id"]
    assert [entry["prediction:id"] for entry in served.read_log(service.log)] == [told]
    assert log_writer.POLL_SECONDS < 1


def test_a_store_without_working_locks_takes_no_entry(tmp_path, monkeypatch):
    monkeypatch.setattr("serving.log_writer.fcntl.flock", lambda file, how: None)
    assert asyncio.run(write_entries(tmp_path, LogPolicy(), 2)) == [False, False]
    assert list(tmp_path.iterdir()) == []


def test_a_clock_that_is_set_back_is_noticed_and_the_file_still_ends_in_time(tmp_path, caplog):
    times = {"clock": 1_000_000.0, "monotonic": 0.0}

    async def write() -> list[bool]:
        log = LogWriter(
            tmp_path, HEAD, LogPolicy(), clock=lambda: times["clock"], monotonic=lambda: times["monotonic"]
        )
        found = []
        for number, (clock, monotonic) in enumerate([(0, 0), (-86_399, 1), (-86_398, 2), (-82_700, 3700)]):
            times.update(clock=1_000_000.0 + clock, monotonic=float(monotonic))
            try:
                await log.append(make_line(number))
                found.append(True)
            except LogError:
                found.append(False)
        await log.close()
        return found

    assert asyncio.run(write()) == [True, False, True, True]
    assert "the clock was set back by 86400 s" in caplog.text
    assert len(list(tmp_path.glob("*.jsonl"))) == 2
    assert read_ids(tmp_path) == [2, 3, 0]  # the names of the files tell their times


def test_a_thread_that_cannot_start_takes_no_entry_until_it_can(tmp_path, monkeypatch):
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def write() -> None:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            log = LogWriter(tmp_path, HEAD, LogPolicy())
            assert log.failure == "its thread cannot start (can't start new thread)"
            with pytest.raises(LogError, match="cannot start"):
                await log.append(make_line(0))
            assert not await log.accepts_entries()
        assert await log.accepts_entries()
        await log.append(make_line(1))
        await log.close()

    asyncio.run(write())
    assert read_ids(tmp_path) == [1]


def test_whatever_breaks_in_the_thread_it_goes_on_and_says_so(tmp_path):
    faults = [MemoryError("none left")]

    def write(file: int, data: bytes) -> int:
        if faults:
            raise faults.pop()
        return os.write(file, data)

    assert asyncio.run(write_entries(tmp_path, LogPolicy(), 2, write=write)) == [False, True]
    assert read_ids(tmp_path) == [1]


def test_an_old_file_that_cannot_be_read_is_set_aside_and_keeps_no_other_from_its_table(folder):
    log = folder / "predictions"
    (log / "b.jsonl").mkdir(parents=True)
    (log / "a.jsonl").write_bytes(HEAD + b"\n" + make_line(7))
    (log / "c.jsonl").symlink_to("nowhere")
    with run_service(folder, path="/health/ready") as service:
        until = time.monotonic() + 30
        while time.monotonic() < until and not (
            (log / "a.parquet").exists()
            and not (log / "b.jsonl").exists()
            and not os.path.lexists(log / "c.jsonl")
        ):
            time.sleep(0.1)
        assert "set aside" in service.output
    assert (log / "b.unreadable").is_dir()
    assert len(pd.read_parquet(log / "a.parquet")) == 1


def test_only_the_days_and_megabytes_of_the_policy_are_kept(tmp_path):
    for age, name in enumerate(["new", "young", "old", "older"]):
        path = tmp_path / f"{name}.parquet"
        path.write_bytes(b"0" * 100_000)
        os.utime(path, (1_000_000 - age * 86_400,) * 2)
    (tmp_path / "written.jsonl").write_bytes(b"0" * 100_000)
    policy = LogPolicy(days=2.5, total_megabytes=0.25)
    survey = log_retention.tidy_folder(tmp_path, policy, now=1_000_000)
    assert {path.name for path in tmp_path.iterdir()} == {"new.parquet", "written.jsonl"}
    assert survey.total == 200_000


def test_one_caller_cannot_fill_the_disk(folder):
    with run_service(folder, policy={"log": {"total_megabytes": 0.3, "megabytes": 0.1}}) as service:
        until = time.monotonic() + 60
        while "deleted " not in service.output and time.monotonic() < until:
            answer = service.predict([ROW] * 200)
            assert answer.status_code in (200, 503)
            size = sum(path.stat().st_size for path in service.log.iterdir() if path.exists())
            assert size < 10_000_000
        assert "the log has more than 0.3 MB" in service.output


def test_what_does_not_fit_and_cannot_be_deleted_is_refused(tmp_path):
    (tmp_path / "other.new").write_bytes(b"0" * 2_000_000)

    async def write() -> list[str]:
        said = []
        log = LogWriter(tmp_path, HEAD, LogPolicy(total_megabytes=1))
        for number in range(2):
            await asyncio.sleep(2 * log_writer.POLL_SECONDS)
            try:
                await log.append(make_line(number))
            except LogError as error:
                said.append(str(error))
            (tmp_path / "other.new").unlink(missing_ok=True)
        await log.close()
        return said

    (told,) = asyncio.run(write())
    assert "no complete file is left to delete" in told
    assert read_ids(tmp_path) == [1]
