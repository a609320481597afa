"""The log is copied elsewhere whole, at least once and as one object, and no answer ever waits for that."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bots.monitoring.collection import collect_files
from bots.monitoring.log_source import open_address
from fixtures import support
from fixtures.served import ROW, Service, run_service
from serving import log_parquet, log_retention, log_shipping
from serving.errors import SettingsError
from serving.log_shipping import ObjectStore, Shipper, load_report, name_object, start_shipping
from serving.settings import LogPolicy, Ship, load_settings

HEAD = '{"format":1,"version":"v1","onnx":"sha256:1","columns":{"x":"number"}}\n'
LINE = '{"id":"%d","time":"2026-01-01T00:00:00Z","row":{"x":%d},"score":0.5,"label":true}\n'
LOGIN = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
}


def write_table(folder: Path, name: str, number: int = 0) -> Path:
    """A table that the service's own converter made."""
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.jsonl").write_text(HEAD + LINE % (number, number))
    [table] = log_parquet.convert_log(folder)
    return table


def wait_until(what: Callable[[], Any], seconds: float = 40) -> Any:
    until = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < until, "it did not come"
        time.sleep(0.1)
    return found


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    server = pytest.importorskip("moto.server")
    thread = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    thread.start()
    host, port = thread.get_host_and_port()
    yield f"http://{host}:{port}"
    thread.stop()


@dataclass
class Bucket:
    """A bucket of moto's."""

    name: str
    client: Any
    login: dict[str, str]

    def list(self) -> dict[str, Any]:
        found = self.client.list_objects_v2(Bucket=self.name).get("Contents", [])
        return {one["Key"]: one for one in found}

    def read(self, key: str) -> bytes:
        content: bytes = self.client.get_object(Bucket=self.name, Key=key)["Body"].read()
        return content


@pytest.fixture
def bucket(s3: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Bucket:
    boto3 = pytest.importorskip("boto3")
    login = {**LOGIN, "AWS_ENDPOINT_URL": s3}
    for name, value in login.items():
        monkeypatch.setenv(name, value)
    found = Bucket(f"log-{abs(hash(request.node.name)) % 10**9}", boto3.client("s3"), login)
    found.client.create_bucket(Bucket=found.name)
    return found


def serve(folder: Path, to: str, **more: Any) -> Any:
    """A service whose files become tables at once."""
    policy = {"log": {"ship": {"to": to}, "megabytes": 0.0001}}
    return run_service(folder, policy=policy, **more)


@pytest.mark.slow
def test_a_running_service_ships_its_tables_to_a_bucket_and_a_restart_ships_nothing_again(
    folder: Path, bucket: Bucket
) -> None:
    with serve(folder, f"s3://{bucket.name}/late/flights", environment=bucket.login) as service:
        assert service.predict(ROW).status_code == 200
        first = wait_until(bucket.list)
        wait_until(lambda: service.read_metric("predictions_ship_files_total") == 1)
        assert service.read_metric("predictions_ship_bytes_total") > 0
        assert service.read_metric("predictions_ship_waiting") == 0
        assert service.read_metric("predictions_ship_failures_total") == 0
    [key] = first
    [table] = service.log.glob("*.parquet")
    assert bucket.read(key) == table.read_bytes()
    assert key == f"late/flights/{name_object(table)}"
    assert table.with_name(table.name + ".shipped").exists()
    with serve(folder, f"s3://{bucket.name}/late/flights", environment=bucket.login) as service:
        assert service.predict(ROW).status_code == 200
        second = wait_until(lambda: found if len(found := bucket.list()) == 2 else None)
        assert second[key]["LastModified"] == first[key]["LastModified"]


@pytest.mark.slow
def test_the_watch_counts_what_the_service_shipped_once(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    with serve(folder, target.as_uri()) as service:
        assert service.predict([ROW, ROW]).status_code == 200
        wait_until(lambda: list(target.glob("*.parquet")) if target.exists() else [])
    found = collect_files(open_address(tmp_path, str(target)), [], tmp_path / "here", tell=print, now=2e9)
    assert [one.file.rows for one in found.new] == [2]
    here = collect_files(
        open_address(tmp_path, str(service.log)),
        [one.file for one in found.new],
        tmp_path / "here",
        tell=print,
        now=2e9,
    )
    assert [one for one in here.new if one.file.digest == found.new[0].file.digest] == []


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
def test_what_a_service_logged_until_its_end_is_a_table_and_shipped_when_it_has_stopped(
    folder: Path, tmp_path: Path, workers: str
) -> None:
    target = tmp_path / "target"
    policy = {"log": {"ship": {"to": target.as_uri()}}}
    with run_service(folder, policy=policy, environment={"SERVING_WORKERS": workers}) as service:
        for _ in range(8):
            assert service.predict(ROW).status_code == 200
        assert service.stop() == 0
    assert list(service.log.glob("*.jsonl")) == []
    tables = list(service.log.glob("*.parquet"))
    assert tables
    assert {path.name for path in target.iterdir()} == {name_object(table) for table in tables}


def test_at_its_end_a_service_asks_no_store_that_failed_before(tmp_path: Path) -> None:
    write_table(tmp_path / "log", "a")
    shipper = make_shipper(tmp_path / "log", Memory(faults=[OSError("refused")]))
    shipper.ship_waiting()
    began = time.monotonic()
    shipper.finish(seconds=30)
    assert time.monotonic() - began < 5


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["down", "no such bucket"])
def test_a_store_that_takes_nothing_costs_a_counter_and_neither_an_answer_nor_readiness(
    folder: Path, bucket: Bucket, fault: str
) -> None:
    login = bucket.login | ({"AWS_ENDPOINT_URL": "http://127.0.0.1:9"} if fault == "down" else {})
    with serve(folder, "s3://no-such-bucket/x", environment=login) as service:
        assert service.predict(ROW).status_code == 200
        wait_until(lambda: service.read_metric("predictions_ship_failures_total"))
        assert service.read_metric("predictions_ship_waiting") == 1
        assert service.read_metric("predictions_ship_files_total") == 0
        assert service.predict(ROW).status_code == 200
        assert service.client.get("/health/ready").status_code == 200
        assert "is not shipped: " in service.output
        assert "testing" not in service.output


@pytest.mark.slow
def test_without_the_setting_nothing_of_it_is_loaded_or_told(folder: Path) -> None:
    script = "import sys, serving.app, serving.__main__; sys.exit('obstore' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(support.TEMPLATE)}
    assert subprocess.run([sys.executable, "-c", script], env=environment, check=False).returncode == 0
    with run_service(folder) as service:
        assert "predictions_ship" not in service.client.get("/metrics").text


@dataclass
class Memory:
    """A store that does what the test says."""

    objects: dict[str, bytes] = field(default_factory=dict)
    faults: list[Any] = field(default_factory=list)
    threads: set[str] = field(default_factory=set)

    def put(self, name: str, path: Path) -> None:
        self.threads.add(threading.current_thread().name)
        fault = self.faults.pop(0) if self.faults else None
        if fault == "arrives":
            self.objects[name] = path.read_bytes()
            raise TimeoutError("the answer was lost")
        if fault is not None:
            raise fault
        self.objects[name] = path.read_bytes()


def make_shipper(folder: Path, store: Any, **more: Any) -> Shipper:
    return Shipper(
        folder, "s3://b/x", folder.parent / "report.json", open_store=lambda address: store, **more
    )


def test_the_thread_of_the_loop_never_ships(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_table(tmp_path / "log", "a")
    store = Memory()
    monkeypatch.setattr(log_shipping, "Shipper", lambda folder, address, report: make_shipper(folder, store))
    start_shipping(tmp_path / "log", "s3://b/x", tmp_path)
    wait_until(lambda: store.objects)
    assert store.threads == {"ship"}, "and not the thread that called, which is the loop's"


@pytest.mark.slow
def test_a_store_that_hangs_holds_up_nothing(folder: Path, tmp_path: Path) -> None:
    """A server that takes connections and never answers."""
    import socket

    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(20)
        login = {**LOGIN, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{silent.getsockname()[1]}"}
        with serve(folder, "s3://bucket/x", environment=login) as service:
            for _ in range(6):
                assert service.predict(ROW).status_code == 200
            wait_until(lambda: service.read_metric("predictions_ship_waiting"))
            assert service.client.get("/health/ready").status_code == 200
            began = time.monotonic()
            assert service.stop() == 0, "nothing waits for it at the end either"
            assert time.monotonic() - began < 20


KILLED = """
import os, signal, sys
from pathlib import Path
from serving.log_shipping import ObjectStore, Shipper
class Killing(ObjectStore):
    def put(self, name, path):
        if sys.argv[3] == "after":
            super().put(name, path)
        os.kill(os.getpid(), signal.SIGKILL)
Shipper(Path(sys.argv[1]), sys.argv[2], Path("report.json"), open_store=Killing).ship_waiting()
"""


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_shipper_that_is_killed_ships_the_same_object_the_next_time(
    tmp_path: Path, bucket: Bucket, when: str
) -> None:
    table = write_table(tmp_path / "log", "a")
    address = f"s3://{bucket.name}/x"
    environment = {**os.environ, "PYTHONPATH": str(support.TEMPLATE)}
    words = [sys.executable, "-c", KILLED, str(tmp_path / "log"), address, when]
    done = subprocess.run(words, env=environment, cwd=tmp_path, check=False)
    assert done.returncode == -signal.SIGKILL
    assert not table.with_name(table.name + ".shipped").exists()
    Shipper(tmp_path / "log", address, tmp_path / "report.json").ship_waiting()
    assert {key: bucket.read(key) for key in bucket.list()} == {f"x/{name_object(table)}": table.read_bytes()}
    assert table.with_name(table.name + ".shipped").exists()


def test_a_large_table_comes_whole_and_a_small_one_too(tmp_path: Path, bucket: Bucket) -> None:
    path = tmp_path / "a.parquet"
    for content in (b"", os.urandom(30_000_000)):
        path.write_bytes(content)
        ObjectStore(f"s3://{bucket.name}/x").put("a", path)
        assert bucket.read("x/a") == content


@pytest.mark.parametrize("lie", [{"size": 3, "e_tag": None}, {"size": None, "e_tag": "another"}])
def test_what_the_store_has_otherwise_than_it_was_sent_is_not_shipped(
    tmp_path: Path, bucket: Bucket, monkeypatch: pytest.MonkeyPatch, lie: dict[str, Any]
) -> None:
    obstore = pytest.importorskip("obstore")
    table = write_table(tmp_path / "log", "a")
    head = obstore.head
    monkeypatch.setattr(
        obstore,
        "head",
        lambda *words: {**head(*words), **{name: value for name, value in lie.items() if value is not None}},
    )
    shipper = Shipper(tmp_path / "log", f"s3://{bucket.name}/x", tmp_path / "report.json")
    assert shipper.ship_waiting() > 0
    assert not table.with_name(table.name + ".shipped").exists()
    found = load_report(tmp_path)
    assert found is None
    report = json.loads((tmp_path / "report.json").read_text())
    assert (report["failures"], report["waiting"]) == (1, 1)


def test_after_failures_it_is_tried_less_and_less_often_and_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_table(tmp_path / "log", "a")
    store = Memory(faults=[OSError("refused")] * 12)
    shipper = make_shipper(tmp_path / "log", store)
    waits = [shipper.ship_waiting() for _ in range(12)]
    assert 2.5 <= waits[0] <= 5
    assert waits[-1] >= 300
    assert max(waits) <= 600
    assert [record.message for record in caplog.records].count(
        "a.parquet is not shipped: OSError: refused; 1 tables wait, and it is tried again"
    ) == 1
    with caplog.at_level("INFO"):
        assert shipper.ship_waiting() == log_shipping.POLL_SECONDS
    assert caplog.records[-1].message == "the prediction log is shipped again"


class Panic(BaseException):
    """What obstore raises where its own code gives up: no `Exception`."""


def test_a_library_that_gives_up_does_not_end_the_shipping(tmp_path: Path) -> None:
    write_table(tmp_path / "log", "a")
    store = Memory(faults=[Panic("called expect on None\n\nDebug source: much")])
    shipper = make_shipper(tmp_path / "log", store)
    shipper.ship_waiting()
    assert shipper._said == "Panic: called expect on None"
    shipper.ship_waiting()
    assert len(store.objects) == 1


def test_a_marker_that_cannot_be_written_does_not_ship_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_table(tmp_path / "log", "a")
    store = Memory()
    shipper = make_shipper(tmp_path / "log", store)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", lambda *words: (_ for _ in ()).throw(OSError(28, "No space left")))
        shipper.ship_waiting()
    store.objects.clear()
    shipper.ship_waiting()
    assert store.objects == {}


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["table", "ship", "restart", "delete"]),
            st.sampled_from([None, "arrives", "refused", "full"]),
        ),
        max_size=12,
    )
)
@settings(max_examples=60)
def test_whatever_fails_each_table_that_was_kept_is_one_object_in_the_end(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, str | None]]
) -> None:
    folder = tmp_path_factory.mktemp("ship") / "log"
    folder.mkdir()
    store = Memory()
    shipper = make_shipper(folder, store)
    tables: dict[str, bytes] = {}
    for number, (step, fault) in enumerate(steps):
        if step == "table":
            path = write_table(folder, f"{number:03}", number)
            tables[name_object(path)] = path.read_bytes()
        elif step == "ship":
            errors = {
                "refused": PermissionError("no"),
                "full": OSError(28, "No space left"),
                "arrives": "arrives",
            }
            store.faults = [errors[fault]] if fault else []
            shipper.ship_waiting()
        elif step == "restart":
            shipper = make_shipper(folder, store)
        elif listed := sorted(folder.glob("*.parquet")):
            tables.pop(name_object(listed[0]))
            listed[0].unlink()
    store.faults = []
    make_shipper(folder, store).ship_waiting()
    assert tables.items() <= store.objects.items()
    assert {path.name + ".shipped" for path in folder.glob("*.parquet")} <= {
        path.name for path in folder.glob("*.shipped")
    }


SHIPPING = Ship(to="s3://bucket/x")


def fill(folder: Path, files: dict[str, tuple[float, bool]]) -> None:
    """Tables of 1 MB: name to when it changed and whether it was shipped."""
    folder.mkdir(exist_ok=True)
    for name, (changed, shipped) in files.items():
        path = folder / f"{name}.parquet"
        path.write_bytes(b"x" * 1_000_000)
        os.utime(path, (changed, changed))
        if shipped:
            (folder / f"{name}.parquet.shipped").write_text("")


def list_kept(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_for_its_megabytes_a_table_that_was_not_shipped_goes_last_and_that_is_counted(tmp_path: Path) -> None:
    now = 10**9
    fill(
        tmp_path,
        {"a": (now - 40, False), "b": (now - 30, True), "c": (now - 20, False), "d": (now - 10, True)},
    )
    policy = LogPolicy(total_megabytes=2.5, ship=SHIPPING)
    assert log_retention.tidy_folder(tmp_path, policy, now).unshipped == 0
    assert list_kept(tmp_path) == ["a.parquet", "c.parquet"]
    policy = LogPolicy(total_megabytes=1.5, ship=SHIPPING)
    assert log_retention.tidy_folder(tmp_path, policy, now).unshipped == 1
    assert list_kept(tmp_path) == ["c.parquet"]


def test_after_its_days_a_table_goes_shipped_or_not_with_its_marker(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    now, old = 10**9, 10**9 - 3 * 86_400
    fill(tmp_path, {"a": (old, False), "b": (old, True), "c": (now, False)})
    (tmp_path / "gone.parquet.shipped").write_text("")
    policy = LogPolicy(days=2, ship=SHIPPING)
    assert log_retention.tidy_folder(tmp_path, policy, now).unshipped == 1
    assert list_kept(tmp_path) == ["c.parquet"]
    assert sum("it was not shipped" in record.message for record in caplog.records) == 1


def test_without_shipping_the_oldest_goes_first_and_nothing_is_called_unshipped(tmp_path: Path) -> None:
    now = 10**9
    fill(tmp_path, {"a": (now - 40, False), "b": (now - 30, False)})
    survey = log_retention.tidy_folder(tmp_path, LogPolicy(total_megabytes=1.5), now)
    assert (survey.unshipped, list_kept(tmp_path), survey.total) == (0, ["b.parquet"], 1_000_000)


@pytest.mark.slow
def test_tables_that_had_to_go_unshipped_are_in_the_metrics(folder: Path) -> None:
    login = {**LOGIN, "AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
    (folder / "predictions").mkdir(exist_ok=True)
    fill(folder / "predictions", {"a": (time.time() - 500 * 86_400, False)})
    with serve(folder, "s3://bucket/x", environment=login) as service:
        service.predict(ROW)
        wait_until(lambda: service.read_metric("predictions_ship_deleted_total") == 1)


@pytest.mark.parametrize(
    "to",
    [
        "bucket/x", "http://host/x", "s3://", "s3://key:secret@bucket/x", "file://predictions", "s3://b/x?y", "ftp://x",
        "s3://bucket/x\n", 7, None,
    ],
)  # fmt: skip
def test_an_address_that_is_none_is_refused_before_anything_is_served(tmp_path: Path, to: Any) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(json.dumps({"serving": {"log": {"ship": {"to": to}}}}))
    with pytest.raises(SettingsError, match=r"serving\.log\.ship\.to"):
        load_settings(path)


@pytest.mark.parametrize(
    "to", ["s3://bucket", "gs://bucket/a/b", "az://account/container/x", "file:///mnt/log"]
)
def test_an_address_that_fits_is_taken(tmp_path: Path, to: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(json.dumps({"serving": {"log": {"ship": {"to": to}}}}))
    ship = load_settings(path).log.ship
    assert ship is not None
    assert ship.to == to


def test_by_default_nothing_is_shipped(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(support.render_file("params.yaml"))
    assert load_settings(tmp_path / "params.yaml").log.ship is None
    shutil.rmtree(tmp_path)
    assert Service(tmp_path).environment == {}
