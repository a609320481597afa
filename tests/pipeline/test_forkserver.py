"""Stages that a process with loaded libraries becomes: to whoever asks, they are as if they had run by themselves."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bots import settings
from bots.dvc import command_line, repro
from fixtures import support

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the fork server is for Linux only")

FORK_SERVER = settings.parse_settings(support.render_file("params.yaml"), "params.yaml").review.fork_server

# What a stage does instead of its work, by its name.
ACTS = """
import os, signal, sys
from pipeline import forkserver

def act(words):
    if words[0] == "split":
        print("folder", os.getcwd(), "word", os.environ["WORD"], words)
        print("a complaint", file=sys.stderr)
        return 3
    if words[0] == "validate":
        os.kill(os.getpid(), signal.SIGKILL)
    raise RuntimeError("a fault of the stage")

forkserver.LOADED = ()
sys.exit(forkserver.serve(sys.argv[1], act))
"""


@pytest.fixture(autouse=True)
def _no_server_of_the_test_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PIPELINE_FORKSERVER", raising=False)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return support.make_project(tmp_path)


@contextmanager
def acting(project: Path) -> Iterator[str]:
    """A fork server whose stages do what `ACTS` says; yields its address."""
    address = str(project / "socket")
    command = [sys.executable, "-c", ACTS, address]
    with subprocess.Popen(command, cwd=project, env=environment(), stdin=subprocess.PIPE) as server:
        await_socket(address)
        yield address
        assert server.poll() is None, "the server outlives whatever its stages do"


def await_socket(address: str) -> None:
    until = time.monotonic() + 30
    while not Path(address).exists():
        assert time.monotonic() < until, "the fork server did not begin"
        time.sleep(0.02)


def environment(**more: str) -> dict[str, str]:
    return {**command_line.build_environment(), "PYTHONPATH": "", **more}


def stage(project: Path, name: str, *options: str, **environ: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *options, "-m", "pipeline", name]
    return subprocess.run(
        command,
        cwd=project,
        env=environment(**environ),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_a_stage_has_the_askers_folder_environment_output_and_exit_code(project: Path):
    with acting(project) as address:
        done = stage(project, "split", PIPELINE_FORKSERVER=address, WORD="hello")
    assert done.stdout == f"folder {project} word hello ['split']\n"
    assert done.stderr == "a complaint\n"
    assert done.returncode == 3


def test_a_killed_stage_says_so_and_fails(project: Path):
    with acting(project) as address:
        done = stage(project, "validate", PIPELINE_FORKSERVER=address)
    assert done.returncode == 1
    assert done.stderr.startswith("ERROR: the stage's process was killed")


def test_a_fault_of_a_stage_is_told_where_it_was_asked_for(project: Path):
    with acting(project) as address:
        done = stage(project, "features", PIPELINE_FORKSERVER=address)
    assert done.returncode == 1
    assert "RuntimeError: a fault of the stage" in done.stderr
    assert "killed" not in done.stderr


@pytest.mark.parametrize("left", ["nothing", "a dead socket"])
def test_without_a_server_a_stage_runs_by_itself(project: Path, left: str):
    address = project / "socket"
    if left == "a dead socket":
        with acting(project):
            pass
    assert address.exists() is (left == "a dead socket")
    done = stage(project, "validate", PIPELINE_FORKSERVER=str(address))
    assert done.returncode == 1
    assert "data/raw.parquet" in done.stderr
    assert (project / "reports" / "refusal.json").exists()


def test_the_server_of_a_review_has_the_libraries_that_a_stage_then_need_not_load(project: Path):
    alone = stage(project, "validate", "-X", "importtime")
    with repro.start_fork_server(project, FORK_SERVER) as environ:
        await_socket(environ["PIPELINE_FORKSERVER"])
        done = stage(project, "validate", "-X", "importtime", **environ)
    assert "pandas" in alone.stderr
    assert " pandas\n" not in done.stderr
    assert "data/raw.parquet: no such table" in done.stderr
    assert done.returncode == alone.returncode == 1


@pytest.mark.slow
def test_a_stage_obeys_the_parameters_of_its_own_moment(project: Path):
    params = project / "params.yaml"
    with repro.start_fork_server(project, FORK_SERVER) as environ:
        await_socket(environ["PIPELINE_FORKSERVER"])
        assert "no such table" in stage(project, "validate", **environ).stderr
        params.write_text(params.read_text(encoding="utf-8").replace("seed: 7", "seed: seven"), "utf-8")
        done = stage(project, "validate", **environ)
    assert done.returncode == 1
    assert "model.seed" in done.stderr


def test_the_server_of_a_review_ends_with_it(project: Path):
    with repro.start_fork_server(project, FORK_SERVER) as environ:
        address = environ["PIPELINE_FORKSERVER"]
        await_socket(address)
    assert not Path(address).exists()
    assert not Path(address).parent.exists()


def test_a_server_that_nobody_holds_any_more_ends(project: Path):
    held, hold = os.pipe()
    command = [sys.executable, "-c", ACTS, str(project / "socket")]
    with subprocess.Popen(command, cwd=project, env=environment(), stdin=held) as server:
        os.close(held)
        await_socket(str(project / "socket"))
        assert server.poll() is None
        os.close(hold)
        assert server.wait(30) == 0


@pytest.mark.parametrize("command", ["no-such-program {address}", "python {adress}"])
def test_a_server_that_cannot_be_started_is_told_with_the_command_that_should_start_it(
    project: Path, command: str
):
    with (
        pytest.raises(command_line.DvcError, match=rf"params\.yaml: `{re.escape(command)}` cannot be run"),
        repro.start_fork_server(project, command),
    ):
        pass


def test_without_a_command_there_is_no_server(project: Path):
    with repro.start_fork_server(project, None) as environ:
        assert "PIPELINE_FORKSERVER" not in environ


def test_a_server_that_the_environment_names_already_is_left_at_its_work(
    project: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PIPELINE_FORKSERVER", "/run/stages")
    with repro.start_fork_server(project, "no-such-program {address}") as environ:
        assert "PIPELINE_FORKSERVER" not in environ
