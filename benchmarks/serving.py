"""Measure what the service costs, side by side with a bare handler (the limit) and its peers, in one run.

`python benchmarks/serving.py` bakes and trains the default project in a scratch folder (or takes `--project`), gives
every peer its own environment, and sends requests of one row to each in turn, over 16 open connections for two seconds,
many times. A ratio is the median over the rounds of a server's figure divided by the limit's figure in the same round.
All requests go to this machine.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
TEMPLATE = ROOT / "<<cookiecutter.project>>"
PEERS = Path(__file__).parent / "peers"
CONNECTIONS = 16
MODEL_PACKAGES = ["numpy", "onnxruntime", "pandas", "pyyaml", "scikit-learn", "skops", "msgspec"]
UVICORN = [
    "-m",
    "uvicorn",
    "--loop",
    "uvloop",
    "--http",
    "httptools",
    "--no-access-log",
    "--log-level",
    "error",
]
LUA = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
local file = io.open(os.getenv("BODY"), "rb")
wrk.body = file:read("*a")
file:close()
"""


@dataclass(frozen=True)
class Server:
    """How to start a server, and the request to send."""

    name: str
    command: tuple[str, ...]
    path: str
    body: Any
    python: Path = Path(sys.executable)
    environment: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Figures:
    """One measurement: requests per second, and the 99th percentile of their time in milliseconds."""

    rate: float
    p99: float


def find_free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def train_project(folder: Path) -> Path:
    """Bake the default project and train its first model."""
    print("baking and training the default project", flush=True)
    run(ROOT, sys.executable, "-m", "cookiecutter", ".", "--no-input", "--output-dir", str(folder))
    project = next(folder.iterdir())
    run(project, sys.executable, "-m", "dvc", "repro", "--quiet")
    return project


def run(folder: Path, *words: str) -> str:
    """Run a command and return its output. The benchmark ends if it fails."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "DVC_NO_ANALYTICS": "true"}
    done = subprocess.run(words, cwd=folder, env=environment, text=True, capture_output=True, check=False)
    if done.returncode:
        sys.exit(f"`{' '.join(words)[:200]}` failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


def make_environment(folder: Path, name: str, *packages: str) -> Path:
    """Install a peer in its own environment, and return the interpreter."""
    print(f"installing {name}", flush=True)
    uv = str(Path(sys.executable).with_name("uv"))
    place = folder / f"venv-{name}"
    run(folder, uv, "venv", "--quiet", "--python", sys.executable, str(place))
    python = place / "bin" / "python"
    run(folder, uv, "pip", "install", "--quiet", "--python", str(python), "--compile-bytecode", *packages)
    return python


@contextlib.contextmanager
def run_server(server: Server, project: Path, port: int) -> Iterator[float]:
    """Run a server; yields the seconds from its start to its first response."""
    words = [word.replace("PORT", str(port)) for word in server.command]
    path = f"{server.python.parent}{os.pathsep}{os.environ['PATH']}"
    search = os.pathsep.join([str(PEERS), str(TEMPLATE)])
    own = {
        "PATH": path,
        "PYTHONPATH": search,
        "SERVING_PORT": str(port),
        "SERVING_HOST": "127.0.0.1",
        "PEER_PROJECT": str(project),
    }
    log = _log_path(project, port)
    with log.open("wb") as said:
        began = time.monotonic()
        process = subprocess.Popen(
            [str(server.python), *words],
            cwd=project,
            env={**os.environ, **own, **_fill_port(server.environment, port)},
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
        try:
            yield _wait_for_response(server, port, process, began=began, log=log)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, 15)
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, 9)
                process.wait()


def _log_path(project: Path, port: int) -> Path:
    return project / f"server-{port}.log"


def _fill_port(environment: dict[str, str], port: int) -> dict[str, str]:
    return {name: value.replace("PORT", str(port)) for name, value in environment.items()}


def _wait_for_response(
    server: Server, port: int, process: subprocess.Popen[bytes], *, began: float, log: Path
) -> float:
    """Wait for the first response; returns the seconds since `began`. The benchmark ends if none comes."""
    data = json.dumps(server.body).encode()
    url = f"http://127.0.0.1:{port}{server.path}"
    while time.monotonic() - began < 120 and process.poll() is None:
        request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
        with contextlib.suppress(OSError, urllib.error.URLError), urllib.request.urlopen(request, timeout=5):
            return time.monotonic() - began
        time.sleep(0.01)
    sys.exit(f"{server.name} does not answer:\n{log.read_text()[-3000:]}")


def measure_load(
    server: Server, port: int, *, seconds: float, scratch: Path, connections: int = CONNECTIONS
) -> Figures:
    """Send requests for some seconds, with wrk if it is installed."""
    url = f"http://127.0.0.1:{port}{server.path}"
    body = scratch / "body.json"
    body.write_text(json.dumps(server.body))
    if not shutil.which("wrk"):
        return asyncio.run(
            _measure_load_here(port, server.path, body.read_bytes(), seconds=seconds, connections=connections)
        )
    script = scratch / "post.lua"
    script.write_text(LUA)
    words = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "--latency", "-s", str(script), url]
    said = subprocess.run(
        words, env={**os.environ, "BODY": str(body)}, capture_output=True, text=True, check=True
    ).stdout
    if "Non-2xx" in said:
        sys.exit(f"{server.name} answered errors:\n{said}")
    rate, p99 = re.search(r"Requests/sec:\s+([\d.]+)", said), re.search(r"99%\s+([\d.]+)(us|ms|s)", said)
    assert rate is not None
    assert p99 is not None
    return Figures(float(rate[1]), float(p99[1]) * {"us": 0.001, "ms": 1, "s": 1000}[p99[2]])


async def _measure_load_here(
    port: int, path: str, body: bytes, *, seconds: float, connections: int
) -> Figures:
    """Send the same requests from this process, which itself takes a share of the processor."""
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    until, taken = time.perf_counter() + seconds, []

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while time.perf_counter() < until:
            began = time.perf_counter()
            writer.write(head.encode() + body)
            headers = await reader.readuntil(b"\r\n\r\n")
            size = re.search(rb"(?i)content-length: (\d+)", headers)
            assert size is not None
            await reader.readexactly(int(size[1]))
            taken.append(time.perf_counter() - began)
        writer.close()

    await asyncio.gather(*(client() for _ in range(connections)))
    return Figures(len(taken) / seconds, statistics.quantiles(taken, n=100)[98] * 1000)


def read_memory(port: int) -> float:
    """Read the resident memory of the process that listens on a port, in megabytes."""
    listed = subprocess.run(
        ["ss", "-ltnpH", f"sport = :{port}"], capture_output=True, text=True, check=False
    ).stdout
    found = re.search(r"pid=(\d+)", listed)
    if found is None:
        return float("nan")
    status = Path(f"/proc/{found[1]}/status").read_text()
    size = re.search(r"VmRSS:\s+(\d+)", status)
    return float(size[1]) / 1024 if size else float("nan")


def compare_servers(
    servers: list[Server], *, project: Path, scratch: Path, rounds: int, seconds: float
) -> None:
    """Print a table of every server beside the first one, which is the limit.

    All servers run at the same time, and each gets requests for a short time in turn: what disturbs the machine then
    disturbs all of them alike.
    """
    ports = {server.name: find_free_port() for server in servers}
    figures: dict[str, list[Figures]] = {server.name: [] for server in servers}
    with contextlib.ExitStack() as stack:
        for server in servers:
            print(f"starting {server.name}", flush=True)
            stack.enter_context(run_server(server, project, ports[server.name]))
            measure_load(server, ports[server.name], seconds=1, scratch=scratch)  # warm
        for turn in range(rounds):
            print(f"round {turn + 1} of {rounds}", flush=True)
            for server in servers:
                figures[server.name].append(
                    measure_load(server, ports[server.name], seconds=seconds, scratch=scratch)
                )
    limit = figures[servers[0].name]
    print(
        f"\n{'one row, 16 connections, one worker':38} requests/s   p99 ms   of the limit   p99 by the limit's"
    )
    for name, found in figures.items():
        shares = sorted(mine.rate / theirs.rate for mine, theirs in zip(found, limit, strict=True))
        late = statistics.median(mine.p99 / theirs.p99 for mine, theirs in zip(found, limit, strict=True))
        rate, p99 = statistics.median(one.rate for one in found), statistics.median(one.p99 for one in found)
        spread = f"({shares[0]:.0%} to {shares[-1]:.0%})"
        print(f"{name:38} {rate:10,.0f} {p99:8.1f} {statistics.median(shares):14.0%} {late:20.2f}   {spread}")
    print()


def measure_alone(ours: Server, row: dict[str, Any], *, project: Path, scratch: Path, rounds: int) -> None:
    """Print the start, the memory, the batches and the workers of the service itself."""
    starts, single, many, sizes = [], [], [], []
    batch = dataclasses.replace(ours, name="batch", body=[row] * 1000)
    for _ in range(rounds):
        port = find_free_port()
        with run_server(ours, project, port) as seconds:
            starts.append(seconds)
            single.append(measure_load(ours, port, seconds=3, scratch=scratch, connections=1).rate)
            many.append(measure_load(batch, port, seconds=3, scratch=scratch, connections=1).rate * 1000)
            measure_load(ours, port, seconds=3, scratch=scratch)
            sizes.append(read_memory(port))
    ratio = statistics.median(one / other for one, other in zip(many, single, strict=True))
    print(f"start to first answer: {statistics.median(starts):.2f} s")
    print(f"memory of one worker after load: {statistics.median(sizes):.0f} MB")
    print(f"a row alone: {1e6 / statistics.median(single):,.0f} us; in a batch of 1,000: "
          f"{1e6 / statistics.median(many):,.1f} us; the batch is {ratio:.0f}x cheaper a row")  # fmt: skip
    for workers in (1, 2):
        several = {**ours.environment, "SERVING_WORKERS": str(workers)}
        server = dataclasses.replace(ours, environment=several)
        rates = []
        for _ in range(rounds):
            port = find_free_port()
            with run_server(server, project, port):
                time.sleep(2)  # the second worker
                rates.append(measure_load(server, port, seconds=4, scratch=scratch).rate)
        print(f"{workers} worker{'s' if workers > 1 else ''}: {statistics.median(rates):,.0f} requests/s")


def describe_asgi(name: str, module: str, *, row: dict[str, Any], python: Path) -> Server:
    """Describe a peer that is an ASGI application, on the same server as ours."""
    command = (*UVICORN, "--port", "PORT", f"{module}:app")
    return Server(name=name, command=command, path="/predict", body=row, python=python)


def describe_peers(
    folder: Path, project: Path, row: dict[str, Any], *, names: list[str], kind: str
) -> list[Server]:
    """Describe mlflow, BentoML and MLServer with the same model (`kind`: `onnx` or `sklearn`), also with batching."""
    own = {"PEER_MODEL": kind, "MLFLOW_DISABLE_ENV_CREATION": "true", "BENTOML_DO_NOT_TRACK": "True"}
    found = []
    if "mlflow" in names:
        found.append(_describe_mlflow(folder, project, row, kind=kind, own=own))
    if "bentoml" in names:
        words = (
            "-m",
            "bentoml",
            "serve",
            "with_bentoml:Flights",
            "--working-dir",
            str(PEERS),
            "-p",
            "PORT",
            "-q",
        )
        python = find_python(folder, "bentoml", "bentoml")
        for batching in ("", "1"):
            title = f"BentoML, {kind}{', batching' if batching else ''}"
            how = own | {"PEER_BATCHING": batching}
            found.append(
                Server(
                    name=title,
                    command=words,
                    path="/predict",
                    body={"rows": [row]},
                    python=python,
                    environment=how,
                )
            )
    if "mlserver" in names:
        found += [
            _describe_mlserver(folder, row, kind=kind, own=own, batching=batching)
            for batching in (False, True)
        ]
    return found


def _describe_mlflow(
    folder: Path, project: Path, row: dict[str, Any], *, kind: str, own: dict[str, str]
) -> Server:
    python = find_python(folder, "mlflow", "mlflow")
    saved = folder / f"mlflow-{kind}"
    if not saved.exists():
        search = {"PYTHONPATH": os.pathsep.join([str(PEERS), str(TEMPLATE)]), "PEER_PROJECT": str(project)}
        save = [str(python), str(PEERS / "with_mlflow.py"), str(saved)]
        subprocess.run(
            save, cwd=project, env={**os.environ, **own, **search}, check=True, capture_output=True
        )
    words = (
        "-m",
        "mlflow",
        "models",
        "serve",
        "-m",
        str(saved),
        "-p",
        "PORT",
        "--env-manager",
        "local",
        "-w",
        "1",
    )
    return Server(
        name=f"mlflow, {kind}",
        command=words,
        path="/invocations",
        body={"dataframe_records": [row]},
        python=python,
        environment=own,
    )


def _describe_mlserver(
    folder: Path, row: dict[str, Any], *, kind: str, own: dict[str, str], batching: bool
) -> Server:
    """Describe MLServer. Its adaptive batching is a setting of the model: the most rows, and the seconds to wait."""
    python = find_python(folder, "mlserver", "mlserver")
    title = f"MLServer, {kind}{', batching' if batching else ''}"
    place = folder / title.replace(", ", "-")
    place.mkdir(exist_ok=True)
    settings: dict[str, Any] = {"name": "flights", "implementation": "with_mlserver.Flights"}
    if batching:
        settings |= {"max_batch_size": CONNECTIONS, "max_batch_time": 0.001}
    (place / "model-settings.json").write_text(json.dumps(settings))
    script = (
        "import sys; from mlserver.cli import main; sys.argv = ['mlserver', 'start', sys.argv[1]]; main()"
    )
    ports = {"MLSERVER_HTTP_PORT": "PORT", "MLSERVER_PARALLEL_WORKERS": "0", "MLSERVER_DEBUG": "false"}
    ports |= {f"MLSERVER_{what}_PORT": str(find_free_port()) for what in ("GRPC", "METRICS")}
    tensors = [
        {
            "name": name,
            "shape": [1, 1],
            "datatype": "BYTES" if isinstance(value, str) else "FP64",
            "data": [value],
        }
        for name, value in row.items()
    ]
    return Server(
        name=title,
        command=("-c", script, str(place)),
        path="/v2/models/flights/infer",
        body={"inputs": tensors},
        python=python,
        environment=own | ports,
    )


PYTHONS: dict[str, Path] = {}


def find_python(folder: Path, name: str, *packages: str) -> Path:
    """Return the interpreter of a peer's environment, which is made once."""
    if name not in PYTHONS:
        PYTHONS[name] = make_environment(folder, name, *packages, *MODEL_PACKAGES)
    return PYTHONS[name]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--project", type=Path, help="a trained project; by default one is baked and trained")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=2.0, help="of load a server and round")
    parser.add_argument(
        "--peers",
        default="starlette,fastapi,litestar,mlflow,bentoml,mlserver",
        help="separated by commas; may be empty",
    )
    chosen = parser.parse_args()
    names = [name for name in chosen.peers.split(",") if name]
    with tempfile.TemporaryDirectory(prefix="serving-bench-") as place:
        scratch = Path(place)
        project = chosen.project.resolve() if chosen.project else train_project(scratch / "project")
        contract = json.loads((project / "models/onnx/contract.json").read_text())
        row = {entry["name"]: entry["example"] for entry in contract["inputs"]}
        (project / "row.json").write_text(json.dumps(row))
        log = {"SERVING_LOG": str(scratch / "predictions")}
        limit = describe_asgi("bare ASGI handler (the limit)", "limit", row=row, python=Path(sys.executable))
        ours = Server(
            name="this service: checks, log, metrics",
            command=("-m", "serving"),
            path="/predict",
            body=row,
            environment=log,
        )
        web = [
            describe_asgi(
                title,
                f"with_{name}",
                row=row,
                python=find_python(scratch, name, name, "uvicorn", "uvloop", "httptools"),
            )
            for name, title in (
                ("starlette", "Starlette and msgspec"),
                ("fastapi", "FastAPI"),
                ("litestar", "Litestar"),
            )
            if name in names
        ]
        peers = describe_peers(scratch, project, row, names=names, kind="onnx")
        compare_servers(
            [limit, ours, *web, *peers],
            project=project,
            scratch=scratch,
            rounds=chosen.rounds,
            seconds=chosen.seconds,
        )
        if slow := describe_peers(scratch, project, row, names=names, kind="sklearn"):
            compare_servers(
                [limit, ours, *slow],
                project=project,
                scratch=scratch,
                rounds=max(1, chosen.rounds // 2),
                seconds=chosen.seconds,
            )
        measure_alone(ours, row, project=project, scratch=scratch, rounds=max(1, chosen.rounds // 2))


if __name__ == "__main__":
    main()
