"""The service under callers who mean ill: it stays up, small and quick, and says what it refuses."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import os
import shutil
import socket
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from fixtures import served
from fixtures.served import HANGING, ROW, Service, run_service

if TYPE_CHECKING:
    from collections.abc import Iterator

BODY = json.dumps(ROW).encode()
HEAD = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
# Serves as `python -m serving` does, but may have few open files.
FEW_FILES = """
import resource
import serving.__main__ as own
resource.setrlimit(resource.RLIMIT_NOFILE, (96, 96))
own.main([])
"""


@pytest.fixture(scope="module")
def service(made: Path) -> Iterator[Service]:
    with run_service(made, policy={"limits": {"idle_seconds": 1}}) as running:
        yield running


def connect(service: Service) -> socket.socket:
    return socket.create_connection(("127.0.0.1", service.port), timeout=20)


def read_all(connection: socket.socket) -> bytes:
    """Read until the other side closes."""
    found = b""
    while part := connection.recv(65_536):
        found += part
    return found


def send_until_closed(connection: socket.socket, data: bytes, *, pause: float = 0.0) -> None:
    """Send the same again and again, until the other side does not take it."""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        connection.sendall(data)
        time.sleep(pause)


def read_processor_seconds(service: Service) -> float:
    fields = Path(f"/proc/{service.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def read_highest_memory(service: Service) -> int:
    """Read the most memory that the process ever had, in MB."""
    status = Path(f"/proc/{service.process.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) // 1000


def make_unknown_fields() -> bytes:
    """Make rows of 200 unknown fields each, all names different: 2 MB."""
    names = ("".join(letters) for letters in itertools.permutations("groupmebnavt", 6))
    rows, size = [], 0
    while size < 1_900_000:
        rows.append("{" + ",".join(f'"{name}":1' for name in itertools.islice(names, 200)) + "}")
        size += len(rows[-1]) + 1
    return f"[{','.join(rows)}]".encode()


@pytest.mark.parametrize(
    "body",
    [
        make_unknown_fields(),
        b"[" + b",".join([b'{"group":"%s"}' % (b"%06dabc" % number * 30)[:270] for number in range(1000)]) + b"]",
        b"[" + b",".join([b"{}"] * 660_000) + b"]",
        b"[" + b",".join([b"[]"] * 660_000) + b"]",
        b'["' + b'\\"' * 900_000,
        b'{"q":[' + b",".join([b"{}"] * 600_000) + b'],"x":1}',
        b"{" + b",".join(b'"%d":1' % number for number in range(150_000)) + b"}",
    ],
    ids=["unknown fields", "unknown categories", "rows", "lists", "quotes", "nested", "one wide row"],
)  # fmt: skip
def test_no_body_keeps_a_worker_busy(service: Service, body: bytes):
    before = read_processor_seconds(service)
    answer = service.predict(body)
    assert answer.status_code in (200, 400, 413, 422)
    assert answer.headers["content-type"].startswith("application/")
    assert read_processor_seconds(service) - before < 2  # 18 s for the first of them without the limits
    assert service.predict(ROW).status_code == 200


def test_rows_and_fields_are_counted_before_they_are_built(service: Service):
    many = service.predict(b"[" + b",".join([b"{}"] * 600_000) + b"]")
    assert (many.status_code, many.json()["detail"]) == (
        413,
        "more than 20,000 rows, but a request may have 1,000; send the rest in another",
    )
    wide = service.predict({**ROW, **{f"q{number}": 1 for number in range(1001)}})
    assert wide.status_code == 413
    assert "1,009 fields; 1,000 that the model does not know" in wide.json()["detail"]
    braces = [{**ROW, "visit": "{[" * 100, "note": "{" * 900}] * 2
    assert service.predict(braces).status_code == 200


def test_a_row_with_a_wrong_type_is_refused_however_many_findings_come_first(service: Service):
    row = {**{f"q{number}": 1 for number in range(200)}, "x": "far"}
    answer = service.predict([row] * 100)
    assert answer.status_code == 422
    assert {error["kind"] for error in answer.json()["errors"]} == {"type"}


def test_a_slip_of_the_pen_gets_its_hint_in_every_row(service: Service):
    found = service.predict([{**ROW, "groop": 1}] * 1000).json()["predictions"]
    assert {one["warnings"][0]["message"] for one in found} == {
        "the model knows no such field; did you mean 'group'?"
    }


@pytest.mark.slow
def test_a_worker_at_all_its_limits_stays_below_its_memory(folder: Path):
    with run_service(folder, policy={"limits": {"idle_seconds": 120}}) as service:
        connections = [connect(service) for _ in range(250)]

        def send(connection: socket.socket) -> None:
            with contextlib.suppress(OSError):
                connection.sendall(HEAD % 1_999_999 + b" " * 1_990_000)

        threads = [threading.Thread(target=send, args=(one,)) for one in connections]
        for thread in threads:
            thread.start()
        for body in (b"[" + b",".join([b"{}"] * 660_000) + b"]", b"[" + b",".join([b"[]"] * 660_000) + b"]"):
            answer = httpx.post(f"{service.url}/predict", content=body, timeout=60, trust_env=False)
            assert answer.status_code in (413, 503)
        for thread in threads:
            thread.join()
        assert read_highest_memory(service) < 512  # 782 without a limit for all requests together
        for connection in connections:
            connection.close()


@pytest.mark.slow
def test_bodies_beyond_the_bytes_of_a_worker_come_again_later(folder: Path):
    policy = {"limits": {"bytes": 50_000, "bytes_in_work": 60_000}}
    with run_service(folder, policy=policy) as service:
        with connect(service) as first:
            first.sendall(HEAD % 50_000 + b" " * 40_000)
            time.sleep(0.5)
            refused = service.predict(b" " * 40_000 + BODY)
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
            assert service.predict(ROW).status_code == 200
        time.sleep(0.2)
        assert service.predict(b" " * 40_000 + BODY).status_code == 200


@pytest.fixture(scope="module")
def impatient(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    own = Path(shutil.copytree(made, tmp_path_factory.mktemp("impatient") / "own"))
    policy = {"limits": {"idle_seconds": 1, "seconds": 1}, "log": {"patience": 0.5}}
    with run_service(own, policy=policy) as running:
        yield running


@pytest.mark.slow
@pytest.mark.parametrize(
    "start",
    [b"", b"POST /pre", HEAD % 5, BODY[:0] + b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\nGET /"],
    ids=["nothing", "half a line", "no body", "half a second request"],
)
def test_a_connection_that_does_not_move_on_is_closed(impatient: Service, start: bytes):
    with connect(impatient) as slow:
        slow.sendall(start)
        with contextlib.suppress(ConnectionResetError):
            read_all(slow)  # fails after 20 s


def test_a_head_that_trickles_in_is_given_up(service: Service):
    with connect(service) as slow:
        slow.sendall(b"POST / HTTP/1.1\r\n")
        with pytest.raises(OSError, match=r"reset|Broken pipe"):
            send_until_closed(slow, b"a: b\r\n", pause=0.1)


def test_a_caller_who_reads_no_answer_is_given_up(service: Service):
    with connect(service) as deaf:
        deaf.settimeout(90)
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with pytest.raises(OSError, match=r"reset|Broken pipe"):
            send_until_closed(deaf, b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n")


def test_a_head_without_end_is_refused(service: Service):
    with connect(service) as endless:
        endless.sendall(b"GET / HTTP/1.1\r\nlong: " + b"a" * 66_000)
        assert endless.recv(4000).startswith(b"HTTP/1.1 431 ")


@pytest.mark.slow
def test_requests_that_come_before_the_first_is_answered_are_few(folder: Path):
    with run_service(folder, command=("-c", HANGING)) as service, connect(service) as hasty:
        assert service.predict(ROW).status_code == 200
        (folder / "hang").touch()
        hasty.sendall((HEAD % len(BODY) + BODY) * 40)
        assert b"400 Bad Request" in read_all(hasty)
        (folder / "hang").unlink()


@pytest.mark.slow
def test_too_many_connections_are_answered_with_503_and_the_others_go_on(folder: Path):
    policy = {"limits": {"idle_seconds": 120}}
    with run_service(folder, command=("-c", FEW_FILES), policy=policy) as service:
        first = connect(service)
        others = [connect(service) for _ in range(70)]
        said = []
        for other in others:
            other.settimeout(0.3)
            with contextlib.suppress(TimeoutError):
                said.append(other.recv(4000))
        assert len(said) > 5
        assert {answer[:13] for answer in said} == {b"HTTP/1.1 503 "}
        assert all(b"retry-after: 1\r\n" in answer for answer in said)
        first.sendall(HEAD % len(BODY) + BODY)
        assert first.recv(4000).startswith(b"HTTP/1.1 200")
        for one in (first, *others):
            one.close()
        time.sleep(0.3)
        assert service.predict(ROW).status_code == 200
        assert service.read_metric('model_requests_total{route="other",status="503"}') >= len(said)


def test_a_post_is_answered_whose_caller_closed_its_own_side(service: Service):
    with connect(service) as half:
        half.sendall(HEAD % len(BODY) + BODY)
        half.shutdown(socket.SHUT_WR)
        answer = read_all(half)
    assert answer.startswith(b"HTTP/1.1 200")
    assert b'"predictions"' in answer


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_signal_under_load_resets_nobody_and_ends_with_0(folder: Path, workers: str):
    service = Service(folder, environment={"SERVING_WORKERS": workers})
    service.start(path="/health/ready")
    faults: list[str] = []
    answered: list[int] = []

    def ask(*, keep: bool) -> None:
        while True:
            connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=20)
            try:
                connection.connect()
            except ConnectionRefusedError:
                return
            try:
                more = True
                while more:
                    connection.request("POST", "/predict", BODY, {"Content-Type": "application/json"})
                    answer = connection.getresponse()
                    answered.append(answer.status)
                    more = keep and not answer.will_close
                    answer.read()
            except (OSError, http.client.HTTPException) as error:
                faults.append(repr(error))
            finally:
                connection.close()

    callers = [threading.Thread(target=ask, kwargs={"keep": number % 2 == 0}) for number in range(12)]
    for caller in callers:
        caller.start()
    until = time.monotonic() + 30
    while len(answered) < 200 and time.monotonic() < until:
        time.sleep(0.02)
    code = service.stop()
    for caller in callers:
        caller.join()
    assert faults == []
    assert code == 0
    assert set(answered) == {200}
    assert len({entry["prediction:id"] for entry in served.read_log(service.log)}) == len(answered)
