"""What the pages say to type to serve a model is typed, against the service that `make serve` starts."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from fixtures import served
from fixtures.documents import build_environment, give_tools, read_command, type_command
from fixtures.served import ROW, Service
from fixtures.support import TEMPLATE

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A project with a model, which `make serve` serves on a port that is free."""
    folder = tmp_path_factory.mktemp("served") / "own"
    shutil.copytree(served.share_project(tmp_path_factory), folder)
    shutil.copy(TEMPLATE / "Makefile", folder)
    shutil.copytree(TEMPLATE / "requirements", folder / "requirements")
    for path in (folder / "requirements").glob("storage-*"):
        path.unlink()
    give_tools(folder)
    made = Service(folder)
    port = made.variables["SERVING_PORT"]
    with (folder / "service.log").open("wb") as log:
        process = subprocess.Popen(
            ["sh", "-c", read_command("docs/serving.md", "SERVING_PORT=8090 make serve", {"8090": port})],
            cwd=folder, env=build_environment(made.variables), start_new_session=True, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        wait_until_ready(made, process)
        yield made
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=40)
        made.client.close()


def wait_until_ready(service: Service, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until and process.poll() is None:
        try:
            if service.client.get("/health/ready").status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    raise AssertionError(service.output)


def test_a_port_that_is_taken_is_said_with_the_way_to_another(service: Service) -> None:
    said = type_here(service, read_command("docs/serving.md", "make serve"), expect=2)
    assert f"cannot listen at 127.0.0.1:{service.port}" in said


def type_here(service: Service, command: str, *, expect: int = 0) -> str:
    return type_command(service.folder, command, expect=expect, environ=service.variables)


def test_the_service_is_asked_from_a_terminal(service: Service) -> None:
    ready = read_command("docs/serving.md", "python -m serving get /health/ready")
    assert '"ready"' in type_here(service, ready)


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_the_service_is_asked_by_curl(service: Service) -> None:
    type_here(service, read_command("docs/serving.md", "python -m serving example > row.json"))
    asked = read_command(
        "docs/serving.md",
        "curl http://127.0.0.1:8080/predict -H 'Content-Type: application/json' -d @row.json",
        {"http://127.0.0.1:8080": service.url},
    )
    assert '"predictions"' in type_here(service, asked)
    healthy = read_command("docs/runbook.md", "curl HOST/health/ready", {"HOST": service.url})
    assert '"ready"' in type_here(service, healthy)


def test_the_model_is_asked_without_a_service(service: Service) -> None:
    (service.folder / "bodies.json").write_text(json.dumps([ROW, [ROW, ROW]]))
    answer = read_command("docs/serving.md", "python -m serving answer < bodies.json")
    assert type_here(service, answer).count('"score"') == 3
    described = json.loads(type_here(service, read_command("docs/serving.md", "python -m serving openapi")))
    assert "/predict" in described["paths"]


def test_the_log_is_turned_into_tables_at_once(service: Service, tmp_path: Path) -> None:
    (tmp_path / "predictions").mkdir()
    command = read_command("docs/serving.md", "python -m serving archive predictions")
    type_command(tmp_path, command, environ=service.variables)
