"""Finds the Docker engine that DOCKER_HOST names, its client and Compose; says what to install where one is missing."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from bots.errors import BotsError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from docker import DockerClient

# From this version on the client builds with BuildKit only through its plugin buildx; before, by itself.
_BUILDX = 23
_LAST_LINES = 15
_LOCAL = "unix://"
_REMOTE = "ssh://"
_USUAL = "unix:///var/run/docker.sock"
_SLOWEST_LOGIN = 30  # seconds
_SLOWEST_ANSWER = 120  # seconds; a container that stops slowly is waited for


class EngineError(BotsError):
    """The engine, its client or a registry did not do what was asked; the message says which, why, and what to do."""


class TimedOut(EngineError):
    """A command did not end in the time that it had."""


@contextlib.contextmanager
def connect() -> Iterator[DockerClient]:
    """Open a client of the engine, and close it in the end. Raises `EngineError` when the engine does not answer."""
    host = os.environ.get("DOCKER_HOST") or _USUAL
    with _open_tunnel(host) if host.startswith(_REMOTE) else contextlib.nullcontext(host) as here:
        client = _create_client(here)
        with contextlib.closing(client):
            yield client


def _create_client(host: str) -> DockerClient:
    import docker
    from docker.errors import DockerException

    try:
        # Docker's library leaves its socket open where nobody listens.
        if host.startswith(_LOCAL):
            with socket.socket(socket.AF_UNIX) as probe:
                probe.connect(host.removeprefix(_LOCAL))
        client = docker.from_env(timeout=_SLOWEST_ANSWER, environment={**os.environ, "DOCKER_HOST": host})
    except (DockerException, OSError) as error:
        raise EngineError(
            f"no Docker engine answers at {host}: {error}. Start it, or name another one by DOCKER_HOST"
        ) from error
    return client


@contextlib.contextmanager
def _open_tunnel(host: str) -> Iterator[str]:
    """The engine of `ssh://user@host:port` as a socket here, by people's own ssh with their keys and known hosts."""
    if shutil.which("ssh") is None:
        raise EngineError(f"{host} is reached by ssh, and there is none on the PATH")
    place = urllib.parse.urlsplit(host)
    login = f"{place.username}@{place.hostname}" if place.username else str(place.hostname)
    with tempfile.TemporaryDirectory(prefix="ship-") as folder, tempfile.TemporaryFile() as said:
        here = Path(folder, "docker.sock")
        words = ["ssh", "-nNT", "-o", "BatchMode=yes", "-o", "ExitOnForwardFailure=yes"]
        words += ["-L", f"{here}:{_USUAL.removeprefix(_LOCAL)}", "-p", str(place.port or 22), "--", login]
        tunnel = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=said, stderr=said)
        try:
            deadline = time.monotonic() + _SLOWEST_LOGIN
            while not here.exists():
                if tunnel.poll() is not None or time.monotonic() > deadline:
                    said.seek(0)
                    words_of_ssh = indent_end(said.read().decode(errors="replace"))
                    raise EngineError(f"{host} cannot be reached; the last words of ssh:\n{words_of_ssh}")
                time.sleep(0.05)
            yield f"{_LOCAL}{here}"
        finally:
            tunnel.terminate()
            tunnel.wait()


@lru_cache(maxsize=1)
def find_builder() -> str:
    """Find the Docker client on the PATH that can build with BuildKit. Raises `EngineError` when there is none."""
    found = [path for folder in os.get_exec_path() if (path := shutil.which("docker", path=folder))]
    for path in found:
        said = _try_command([path, "--version"])
        version = re.search(r"version (\d+)\.", said or "")
        if version and (int(version[1]) < _BUILDX or _try_command([path, "buildx", "version"]) is not None):
            return path
    if found:
        raise EngineError(f"{found[0]} cannot build with BuildKit: install its plugin buildx")
    raise EngineError("there is no `docker` on the PATH: install Docker's client with buildx")


@lru_cache(maxsize=1)
def find_compose() -> tuple[str, ...]:
    """Find the words that start Compose: Docker's plugin, or the program of its own. Raises `EngineError`."""
    docker = shutil.which("docker")
    if docker and _try_command([docker, "compose", "version"]) is not None:
        return docker, "compose"
    beside = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    if alone := shutil.which("docker-compose", path=beside):
        return (alone,)
    raise EngineError("there is no Docker Compose: install Docker's plugin compose, or docker-compose")


def list_proxies(environ: Mapping[str, str]) -> dict[str, str]:
    """List the variables that name a proxy, in capitals for pip and in small letters for apt, each as it is set."""
    names = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
    known = {name: environ.get(name) or environ.get(name.lower()) for name in names}
    return {one: value for name, value in known.items() if value for one in (name, name.lower())}


def run_command(
    what: str, words: list[str], *, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> str:
    """Run a command; return what it prints. Raises `EngineError` with its last lines when it fails."""
    return capture_output(what, words, env=env, cwd=cwd).decode(errors="replace")


def capture_output(
    what: str,
    words: list[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    seconds: float | None = None,
) -> bytes:
    """Run a command; return the bytes that it prints.

    Raises `EngineError` as `run_command` does, and `TimedOut` after `seconds`.
    """
    try:
        done = subprocess.run(
            words,
            env={**os.environ, **(env or {})},
            cwd=cwd,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise TimedOut(f"{what} took longer than {error.timeout:.0f} s") from error
    except OSError as error:
        raise EngineError(f"{what} failed: {words[0]} cannot be started: {error}") from error
    if done.returncode:
        said = (done.stderr + done.stdout).decode(errors="replace")
        raise EngineError(f"{what} failed; its last words:\n{indent_end(said)}")
    return done.stdout


def indent_end(text: str, lines: int = _LAST_LINES) -> str:
    """Indent the end of a log, for a message."""
    kept = [line.rstrip() for line in text.splitlines() if line.strip()][-lines:]
    return "\n".join(f"    {line}" for line in kept) or "    (nothing)"


def _try_command(words: list[str]) -> str | None:
    """Run a quick command; return what it prints, None when it fails."""
    try:
        done = subprocess.run(words, text=True, capture_output=True, stdin=subprocess.DEVNULL, check=False)
    except OSError:
        return None
    return done.stdout if done.returncode == 0 else None
