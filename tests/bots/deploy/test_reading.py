"""Whatever is read through an engine or a cluster arrives whole, or the release says that it did not."""

from __future__ import annotations

import contextlib
import io
import json
import os
import socket
import socketserver
import struct
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

import docker
import pytest
from docker.errors import APIError

from bots.deploy import compose, image, reading, smoke_test
from bots.deploy.compose import Compose
from bots.deploy.docker import EngineError
from bots.deploy.haproxy import Proxy, Server
from bots.deploy.reading import Incomplete, NotRunning, Reader
from bots.settings import Smoke

ADDRESSES = {"stable1": "172.18.0.3", "stable3": "172.18.0.5", "canary2": "172.18.0.4"}
SERVERS = [f"{role}{number}" for role in ("stable", "canary") for number in range(1, 17)]
STATES = "\n".join(
    [
        "1",
        "# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight",
        *(
            f"3 service {number} {name} {ADDRESSES.get(name, '-')} {2 if name[0] == 's' else 0} 0 1"
            for number, name in enumerate(SERVERS)
        ),
        "\n",
    ]
)
STATS = "\n".join(
    ["# pxname,svname,qcur,qmax,scur,smax,", *(f"service,{name},0,0,{name[-1]},9," for name in SERVERS), "\n"]
)
STABLE = [Server("stable1", "172.18.0.3", up=True, busy=1), Server("stable3", "172.18.0.5", up=True, busy=3)]
TRAFFIC = "\n".join(
    [
        "# pxname,svname,qcur,scur,req_tot,qtime,rtime,",
        "service,BACKEND,2,9,999,0,9,",
        *(f"service,{name},1,3,{40 if name == 'stable3' else 0},1,20," for name in SERVERS),
        "\n",
    ]
)
SHARE = """\
1
# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight
4 share 1 canary 127.0.0.1 0 5 30

"""
METRICS = "".join(f'model_requests_total{{route="/predict",status="{code}"}} 7\n' for code in (200, 422, 500))
# Says what HAProxy would, by the words that come in.
SOCAT = """\
#!/bin/sh
read -r words
echo "$words" >> "$FOLDER/told"
if [ -e "$FOLDER/silent" ]; then rm "$FOLDER/silent"; exit 0; fi
if [ -e "$FOLDER/refusing" ]; then rm "$FOLDER/refusing"; echo "Connection refused" >&2; exit 1; fi
case "$words" in
"show servers state service") cat "$FOLDER/states" ;;
"show servers state share") printf '%s\\n' "$SHARE" ;;
"show info") printf 'Name: HAProxy\\n\\n' ;;
"show stat service 4 -1") cat "$FOLDER/stats" ;;
"show stat service 6 -1") cat "$FOLDER/traffic" ;;
*service/other*) printf '\\nNo such server.\\n\\n\\n' ;;
*) printf '%s' "$words" | tr -cd ';' | tr ';' '\\n'; echo ;;
esac
"""

Mangle = Callable[[bytes], bytes]
FAULTS: dict[str, Mangle] = {
    "empty": lambda _: b"",
    "cut in half": lambda output: output[: len(output) // 2],
    "without its beginning": lambda output: output[len(output) // 2 :],
    "without its first line": lambda output: output.partition(b"\n")[2],
    "without its last line": lambda output: output[: output.rstrip(b"\n").rfind(b"\n") + 1],
    "half lines": lambda output: b"\n".join(line[: len(line) // 2] for line in output.split(b"\n")),
    "without its middle": lambda output: output[:20] + output[40:],
    "an empty line too few": lambda output: output.removesuffix(b"\n"),
}
EVERY_FAULT = pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)


@dataclass
class Container:
    """Carries a command out on this machine; what it printed is spoilt on its way, the first times."""

    folder: Path
    faults: list[Mangle | Exception] = field(default_factory=list)
    commands: int = 0
    name: str = "late-flights-production-stable-1"
    id: str = "c0ffee"

    def exec_run(
        self, words: list[str], *, demux: bool
    ) -> tuple[int | None, tuple[bytes | None, bytes | None]]:
        assert demux
        self.commands += 1
        environ = {**os.environ, "PATH": f"{self.folder}:{os.environ['PATH']}", "FOLDER": str(self.folder)}
        environ["SHARE"] = SHARE.removesuffix("\n")
        environ["PYTHONPATH"] = str(self.folder)
        done = subprocess.run(words, env=environ, capture_output=True, check=False)
        fault = self.faults.pop(0) if self.faults else lambda output: output
        if isinstance(fault, Exception):
            raise fault
        return done.returncode, (fault(done.stdout) or None, done.stderr or None)


@pytest.fixture
def container(tmp_path: Path) -> Container:
    (tmp_path / "socat").write_text(SOCAT)
    (tmp_path / "socat").chmod(0o755)
    (tmp_path / "states").write_text(STATES)
    (tmp_path / "stats").write_text(STATS)
    (tmp_path / "traffic").write_text(TRAFFIC)
    return Container(tmp_path)


def reader(seconds: float = 60.0) -> Reader:
    """Its clock goes on only while it waits."""
    now = [0.0]

    def sleep(wait: float) -> None:
        now[0] += wait

    return Reader(seconds=seconds, clock=lambda: now[0], sleep=sleep)


def proxy(container: Container, seconds: float = 60.0) -> Proxy:
    return Proxy(cast("Any", container), reader(seconds))


def refusal(status: int, words: str) -> APIError:
    import requests

    response = requests.Response()
    response.status_code = status
    return APIError(words, response=response, explanation=words)


@EVERY_FAULT
@pytest.mark.parametrize("times", [1, 5])
def test_a_spoilt_answer_of_the_proxy_is_read_again(container: Container, fault: Mangle, times: int) -> None:
    container.faults = [fault] * times
    assert proxy(container).load_servers("stable") == STABLE
    assert container.commands == times + 2


@pytest.mark.parametrize("name", ["empty", "cut in half", "without its first line", "an empty line too few"])
def test_what_the_proxy_is_told_is_told_again_when_its_answer_is_lost(
    container: Container, name: str
) -> None:
    container.faults = [FAULTS[name], FAULTS[name]]
    proxy(container).set_share(0.25, stable=3)
    told = (container.folder / "told").read_text().splitlines()
    weights = [f"set server service/{name} weight 1" for name in [*SERVERS[16:], *SERVERS[:16]]]
    assert told == ["; ".join(["set server share/canary weight 25", *weights])] * 3


def test_who_changes_the_number_of_replicas_can_tell_the_canarys_share(container: Container) -> None:
    assert proxy(container).load_share() == 0.3


def test_the_load_of_a_version_is_what_its_servers_answered_and_what_is_in_work_or_waits(
    container: Container,
) -> None:
    traffic = proxy(container).load_traffic("stable")
    assert traffic.requests["stable3"] == sum(traffic.requests.values()) == 40
    assert traffic.seconds["stable3"] == pytest.approx(0.021)
    assert traffic.busy == 16 * (3 + 1) + 2


def test_a_container_that_is_started_gets_no_request_before_it_is_ready(container: Container) -> None:
    proxy(container).close_free_servers("stable")
    *_, told = (container.folder / "told").read_text().splitlines()
    assert told == "; ".join(
        f"set server service/{name} state maint" for name in SERVERS[:16] if name not in ADDRESSES
    )


def test_a_proxy_of_an_older_release_that_knows_no_replicas_is_told_as_that(container: Container) -> None:
    (container.folder / "states").write_text("1\n# srv_name srv_addr srv_op_state\nstable 172.18.0.3 2\n\n")
    with pytest.raises(EngineError, match=r"'stable1': .* older release, the next one exchanges it"):
        proxy(container).load_servers("stable")


@pytest.mark.slow
@EVERY_FAULT
def test_a_proxy_whose_answers_never_arrive_is_told_as_that(container: Container, fault: Mangle) -> None:
    container.faults = [fault] * 1000
    with pytest.raises(EngineError, match=r"show servers state.* did not arrive whole in 6 s") as caught:
        proxy(container, seconds=6).load_servers("stable")
    assert "haproxy.cfg" not in str(caught.value)
    assert 20 < container.commands <= 31


@pytest.mark.parametrize("trouble", ["silent", "refusing"])
def test_an_admin_socket_that_is_busy_is_asked_again(container: Container, trouble: str) -> None:
    (container.folder / trouble).touch()
    assert not proxy(container).is_listening()
    (container.folder / trouble).touch()
    assert proxy(container).load_servers("canary") == [Server("canary2", "172.18.0.4", up=False, busy=2)]
    assert proxy(container).is_listening()


def test_a_table_that_the_proxy_did_not_finish_is_read_again(container: Container) -> None:
    (container.folder / "states").write_text(STATES.partition("3 service 1")[0])

    def finish(_: float) -> None:
        (container.folder / "states").write_text(STATES)

    asked = Proxy(cast("Any", container), Reader(sleep=finish))
    assert asked.load_servers("stable") == STABLE


def test_an_unknown_server_still_gets_its_advice_and_at_once(container: Container) -> None:
    with pytest.raises(EngineError, match=r"does not know the server 'other1': is .*haproxy\.cfg edited"):
        proxy(container).load_servers("other")
    assert container.commands == 2


def test_what_the_proxy_does_not_take_is_said_at_once(container: Container) -> None:
    with pytest.raises(
        EngineError, match=r"did not take 'set server service/other1 state maint.*': No such server"
    ):
        proxy(container).close_servers("other")
    assert container.commands == 1


def test_a_proxy_that_does_not_run_is_said_at_once(container: Container) -> None:
    container.faults = [refusal(409, "Container c0ffee is not running")]
    with pytest.raises(EngineError, match="the proxy does not run: Container c0ffee is not running"):
        proxy(container).load_servers("stable")


@pytest.mark.parametrize(
    "fault",
    [
        refusal(500, "context deadline exceeded"),
        ConnectionResetError("reset"),
        ValueError("77 is not a stream"),
    ],
    ids=["the engine fails", "the connection breaks", "the frames are out of step"],
)
def test_an_engine_that_fails_once_is_asked_again(container: Container, fault: Exception) -> None:
    container.faults = [fault]
    assert proxy(container).load_servers("stable") == STABLE


def test_an_engine_that_never_ends_an_answer_is_told_as_that(container: Container) -> None:
    never = threading.Event()

    class Stuck(Container):
        def exec_run(self, words: list[str], *, demux: bool) -> Any:
            never.wait()

    try:
        with pytest.raises(EngineError, match="there was no answer"):
            Proxy(cast("Any", Stuck(container.folder)), Reader(seconds=0.1)).load_servers("stable")
    finally:
        never.set()


@pytest.mark.parametrize("text", ["", "\n", "a", "a\n\n\n", "ünïcode\r\n", "%s \\n $HOME", "x" * 300_000])
@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
@pytest.mark.parametrize("kind", ["shell", "python"])
def test_what_is_printed_comes_as_it_is_whatever_it_holds(
    tmp_path: Path, text: str, locale: str, kind: str
) -> None:
    (tmp_path / "text").write_bytes(text.encode())
    if kind == "shell":
        script = 'cat "$0"; echo trouble >&2; exit 3'
        words = reading.wrap_in_shell(["sh", "-c", script, str(tmp_path / "text")])
    else:
        script = "import sys; sys.stdout.buffer.write(open(sys.argv[1], 'rb').read()); sys.exit('trouble')"
        words = reading.wrap_in_python(sys.executable, ["-c", script, str(tmp_path / "text")])
    done = subprocess.run(words, env={**os.environ, "LC_ALL": locale}, capture_output=True, check=True)
    code = {"shell": 3, "python": 1}[kind]
    assert reading.unwrap(done.stdout, done.stderr.decode()) == reading.Printed(code, text, "trouble\n")


class Engine(socketserver.StreamRequestHandler):
    """Answers as Docker's engine does; where it is in a hurry, the answer's head and the output are one segment."""

    def handle(self) -> None:
        hurries = cast("list[bool]", cast("Any", self.server).hurries)
        while line := self.rfile.readline():
            size = 0
            while header := self.rfile.readline().strip():
                if header.lower().startswith(b"content-length:"):
                    size = int(header.partition(b":")[2])
            self.rfile.read(size)
            if line.split()[1].endswith(b"/start"):
                self._stream(hurry=hurries.pop(0) if hurries else False)
                return
            body = json.dumps({"Id": "c0ffee", "ExitCode": 0}).encode()
            head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            self.wfile.write(head.encode() + body)

    def _stream(self, *, hurry: bool) -> None:
        head = b"HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.raw-stream\r\n"
        head += b"Connection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
        output = b"0 9\nthe whole"
        frame = struct.pack(">BxxxL", 1, len(output)) + output
        if hurry:
            self.request.sendall(head + frame)
        else:
            self.request.sendall(head)
            time.sleep(0.1)
            self.request.sendall(frame)


@pytest.fixture
def hurries() -> Iterator[tuple[list[bool], Any]]:
    """When the engine hurries, and a container of it."""
    with tempfile.TemporaryDirectory(prefix="engine-") as folder:
        path = f"{folder}/docker.sock"
        with socketserver.ThreadingUnixStreamServer(path, Engine) as server:
            server.daemon_threads = True
            when: list[bool] = []
            server.hurries = when  # type: ignore[attr-defined]
            threading.Thread(target=server.serve_forever, daemon=True).start()
            with contextlib.closing(docker.DockerClient(base_url=f"unix://{path}", version="1.41")) as client:
                yield when, client.containers.get("c0ffee")
            server.shutdown()


def test_what_dockers_library_loses_is_read_again(hurries: tuple[list[bool], Any]) -> None:
    when, found = hurries
    when[:] = [True, True, True, False]
    with pytest.raises(Incomplete, match="empty"):
        reading.run_once(found, ["true"])
    assert Reader(pause=0).run("it", found, ["true"]) == reading.Printed(0, "the whole")
    assert when == []


class Stopped(Container):
    """A container that ended."""

    def exec_run(self, words: list[str], *, demux: bool) -> Any:
        raise refusal(409, "is not running")


def test_a_container_that_ended_has_nothing_to_say(tmp_path: Path) -> None:
    with pytest.raises(NotRunning, match="is not running"):
        reader().run("it", cast("Any", Stopped(tmp_path)), ["true"])


@dataclass
class Service(Container):
    """A container with the service, whose contract is a file in it."""

    archives: list[Mangle | Exception] = field(default_factory=list)
    status: str = "running"
    attrs: dict[str, Any] = field(default_factory=lambda: {"Created": "2026", "RestartCount": 2})

    def get_archive(self, path: str) -> tuple[Iterator[bytes], dict[str, Any]]:
        assert path == compose.CONTRACT
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as archive:
            entry = tarfile.TarInfo("contract.json")
            entry.size = len(b'{"grid": []}')
            archive.addfile(entry, io.BytesIO(b'{"grid": []}'))
        fault = self.archives.pop(0) if self.archives else lambda output: output
        if isinstance(fault, Exception):
            raise fault
        return iter([fault(packed.getvalue())]), {}


@dataclass
class Client:
    """An engine with one container; listing fails as often as there are `failures`."""

    container: Service
    failures: list[Exception] = field(default_factory=list)

    @property
    def containers(self) -> Client:
        return self

    def list(self, **_: Any) -> list[Service]:
        if self.failures:
            raise self.failures.pop(0)
        return [self.container]


@pytest.fixture
def target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Compose, Client]:
    service = (
        f"import os\nif os.path.exists('{tmp_path}/ill'): raise SystemExit(1)\nprint({METRICS!r}, end='')\n"
    )
    (tmp_path / "serving").mkdir()
    (tmp_path / "serving/__main__.py").write_text(service)
    monkeypatch.setattr(compose, "PYTHON", sys.executable)
    client = Client(Service(tmp_path))
    clock = reader()
    stage = Compose(
        tmp_path,
        "late-flights-production",
        cast("Any", client),
        tell=print,
        clock=clock.clock,
        sleep=clock.sleep,
    )
    return stage, client


@EVERY_FAULT
def test_metrics_are_judged_only_when_they_are_whole(target: tuple[Compose, Client], fault: Mangle) -> None:
    stage, client = target
    client.container.faults = [fault, fault]
    assert stage.load_metrics("stable") == {"c0ffee": METRICS}


@pytest.mark.slow
def test_metrics_that_never_arrive_whole_are_not_judged(target: tuple[Compose, Client]) -> None:
    stage, client = target
    client.container.faults = [FAULTS["without its last line"]] * 1000
    hasty = replace(stage, sleep=lambda wait: stage.sleep(20 * wait))
    with pytest.raises(EngineError, match=r"stable-1 to /metrics did not arrive whole"):
        hasty.load_metrics("stable")


def test_a_service_that_does_not_answer_well_is_not_an_engine_that_loses_answers(
    target: tuple[Compose, Client],
) -> None:
    stage, client = target
    (stage.folder / "ill").touch()
    assert stage.load_metrics("stable") == {}
    health = stage.check_health("stable")
    assert (health.alive, health.restarts) == (False, 2)
    client.container.faults = [refusal(409, "is restarting")] * 3
    assert not stage.check_health("stable").alive


@pytest.mark.parametrize(
    "fault",
    [lambda _: b"", lambda packed: packed[:600], refusal(500, "timeout"), ConnectionResetError("reset")],
    ids=["empty", "cut", "the engine fails", "the connection breaks"],
)
def test_a_contract_is_read_again_until_it_is_whole(
    target: tuple[Compose, Client], fault: Mangle | Exception
) -> None:
    stage, client = target
    client.container.archives = [fault, fault]
    assert stage.load_contract("stable") == b'{"grid": []}'


def test_a_container_without_a_contract_has_none(target: tuple[Compose, Client]) -> None:
    stage, client = target
    client.container.archives = [refusal(404, "no such file")]
    assert stage.load_contract("stable") is None


def test_an_engine_that_cannot_list_its_containers_now_is_asked_again(target: tuple[Compose, Client]) -> None:
    stage, client = target
    client.failures = [refusal(500, "timeout"), ConnectionResetError("reset")]
    assert stage.check_health("stable").alive
    client.failures = [ConnectionRefusedError("nobody listens")] * 1000
    with pytest.raises(EngineError, match=r"list of late-flights-production's containers.*nobody listens"):
        stage.check_health("stable")


class Answers(BaseHTTPRequestHandler):
    """Answers in full what it is asked the third time."""

    asked = 0

    def do_POST(self) -> None:
        type(self).asked += 1
        body = json.dumps({"predictions": [{"score": 0.5}]}).encode()
        if type(self).asked == 1:
            self.close_connection = True
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body if type(self).asked > 2 else body[:10])

    def log_message(self, *_: object) -> None: ...


@dataclass
class Tried:
    """A container of the smoke test."""

    port: int
    status: str = "running"

    @property
    def ports(self) -> dict[str, Any]:
        return {smoke_test.PORT: [{"HostPort": str(self.port)}]}

    attrs = {"State": {"ExitCode": 139}}  # noqa: RUF012

    def reload(self) -> None: ...

    def logs(self, **_: object) -> bytes:
        return b"Segmentation fault\n"


def test_an_answer_that_was_cut_does_not_condemn_an_image() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        seen = smoke_test.Sample([{"x": 1.0}], [[0.5]])
        check = smoke_test._check_answers(cast("Any", Tried(server.server_port)), seen, Smoke())
        server.shutdown()
    assert check.passed, check
    assert Answers.asked == 3


def test_an_image_that_ends_when_it_is_asked_fails_its_check() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    seen = smoke_test.Sample([{"x": 1.0}], [[0.5]])
    ended = cast("Any", Tried(port, status="exited"))
    for check in (smoke_test._check_answers(ended, seen, Smoke()), smoke_test._check_refusals(ended, seen)):
        assert check.passed is False
        assert "ended by itself with 139" in check.words
        assert "Segmentation fault" in check.words


def test_an_image_whose_digest_got_lost_is_pushed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[list[dict[str, Any]]] = [[{"status": "Preparing"}], [{"aux": {"Digest": "sha256:1"}}]]

    class Images:
        def push(self, *_: object, **__: object) -> list[dict[str, Any]]:
            return events.pop(0)

    @contextlib.contextmanager
    def connect() -> Iterator[Any]:
        yield type("Client", (), {"images": Images()})

    monkeypatch.setattr(image, "connect", connect)
    assert image.push_image("registry/model:v1", tell=print) == "registry/model@sha256:1"
    assert events == []
