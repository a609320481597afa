"""A Docker engine, a registry on loopback and a base image for tests: found, or started and stopped again.

An engine that answers already is used as it is. Otherwise one is started for these tests alone, with everything it
keeps in a temporary folder, where this is possible: as root, with Debian's docker.io. Test processes take turns.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

BASE = "ship-base:bookworm"
PACKAGES = "python3,python3-venv,ca-certificates"
AUTHORITY = "/etc/ssl/certs/ca-certificates.crt"
PATIENCE = 60.0
SSHD = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host
AuthorizedKeysFile {folder}/person.pub
PidFile {folder}/sshd.pid
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
StrictModes no
SetEnv DOCKER_HOST={docker} PATH=/usr/bin:/bin
"""
SSH = """\
Host 127.0.0.1
    IdentityFile {folder}/person
    IdentitiesOnly yes
    UserKnownHostsFile {folder}/known_hosts
    StrictHostKeyChecking yes
    BatchMode yes
"""


@dataclass(frozen=True)
class Engine:
    """Where the engine and the registry are; `environ` is what the bots need to know of them."""

    folder: Path
    registry: str
    environ: dict[str, str]

    def docker(self, *words: str) -> str:
        """What Debian's own client says, which can build."""
        client = next(
            path for path in ("/usr/bin/docker", shutil.which("docker")) if path and Path(path).exists()
        )
        done = subprocess.run(
            [client, *words], env={**os.environ, **self.environ}, text=True, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()


@contextlib.contextmanager
def engine() -> Iterator[Engine]:
    """An engine with a registry and a base image; tests are skipped in words where none can be had."""
    with contextlib.ExitStack() as ends, (Path(tempfile.gettempdir()) / "ship-engine.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        # Docker's sockets and pytest's long paths do not go together.
        folder = Path(
            ends.enter_context(tempfile.TemporaryDirectory(prefix="ship-", ignore_cleanup_errors=True))
        )
        host = os.environ.get("DOCKER_HOST") or _running() or _started(folder, ends)
        registry = _registry(folder, ends)
        environ = {
            "DOCKER_HOST": host,
            "SHIP_BASE": BASE,
            "SHIP_PROXY_BASE": BASE,
            "DOCKER_CONFIG": str(folder),
        }
        if Path(AUTHORITY).exists():
            environ["SHIP_CA"] = AUTHORITY
        found = Engine(folder, registry, environ)
        if not found.docker("images", "--quiet", BASE):
            _base(found)
        yield found


def free_port() -> int:
    """A port on loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def registry(folder: Path, ends: contextlib.ExitStack, **more: object) -> str:
    """A registry on loopback that keeps its images in `folder`; `more` is merged into its settings."""
    import yaml

    program = _needed("docker-registry")
    port = free_port()
    settings = {
        "version": 0.1,
        "log": {"level": "error"},
        "storage": {"filesystem": {"rootdirectory": str(folder / f"registry-{port}")}},
        "http": {"addr": f"127.0.0.1:{port}"},
        **more,
    }
    path = folder / f"registry-{port}.yaml"
    path.write_text(yaml.safe_dump(settings))
    _start([program, "serve", str(path)], folder / f"registry-{port}.log", ends)

    def answers() -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/", timeout=1):
                return True
        except urllib.error.HTTPError as error:
            with error:
                return error.code == 401
        except OSError:
            return False

    _wait("the registry", answers)
    return f"127.0.0.1:{port}"


@contextlib.contextmanager
def sshd(settings: Path, port: int) -> Iterator[None]:
    """A server for SSH on loopback, with these settings."""
    program = _needed("sshd")
    Path("/run/sshd").mkdir(exist_ok=True)
    with contextlib.ExitStack() as ends:
        _start([program, "-D", "-e", "-f", str(settings)], settings.with_suffix(".log"), ends)

        def answers() -> bool:
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0

        _wait("sshd", answers)
        yield


@contextlib.contextmanager
def over_ssh(engine: Engine, folder: Path) -> Iterator[dict[str, str]]:
    """The engine as one of another host: what the environment says of it, with an `ssh` that knows key and host."""
    port = free_port()
    for name in ("host", "person"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
        subprocess.run(command, check=True)
    known = {"folder": folder, "port": port, "docker": engine.environ["DOCKER_HOST"]}
    (folder / "sshd_config").write_text(SSHD.format(**known))
    (folder / "ssh_config").write_text(SSH.format(**known))
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {(folder / 'host.pub').read_text()}")
    # OpenSSH reads the configuration of whoever runs it, whatever HOME says.
    ssh = folder / "bin/ssh"
    ssh.parent.mkdir()
    ssh.write_text(f'#!/bin/sh\nexec /usr/bin/ssh -F {folder}/ssh_config "$@"\n')
    ssh.chmod(0o755)
    # Where an engine usually listens, on the other host.
    usual, linked = Path("/var/run/docker.sock"), False
    if not usual.exists():
        usual.unlink(missing_ok=True)
        usual.symlink_to(engine.environ["DOCKER_HOST"].removeprefix("unix://"))
        linked = True
    path = f"{ssh.parent}{os.pathsep}{os.environ['PATH']}"
    try:
        with sshd(folder / "sshd_config", port):
            yield {"PATH": path, "DOCKER_HOST": f"ssh://root@127.0.0.1:{port}"}
    finally:
        if linked:
            usual.unlink()


def _registry(folder: Path, ends: contextlib.ExitStack) -> str:
    return registry(folder, ends)


def _running() -> str | None:
    """The engine that answers on the usual socket."""
    host = "unix:///var/run/docker.sock"
    return host if _answers({"DOCKER_HOST": host}) else None


def _answers(environ: Mapping[str, str]) -> bool:
    docker = shutil.which("docker")
    words = [docker, "version", "--format", "{{.Server.Version}}"] if docker else ["false"]
    return (
        subprocess.run(words, env={**os.environ, **environ}, capture_output=True, check=False).returncode == 0
    )


def _started(folder: Path, ends: contextlib.ExitStack) -> str:
    program = _needed("dockerd")
    if os.geteuid() != 0:
        _unavailable("no Docker engine answers, and only root can start one")
    host = f"unix://{folder}/docker.sock"
    words = [
        program,
        "--host",
        host,
        "--data-root",
        str(folder / "data"),
        "--exec-root",
        str(folder / "exec"),
    ]
    _start([*words, "--pidfile", str(folder / "dockerd.pid")], folder / "dockerd.log", ends)
    _wait("dockerd", lambda: _answers({"DOCKER_HOST": host}))
    return host


def _base(found: Engine) -> None:
    """A base image of Debian's own packages: there is no registry to pull one from."""
    program = _needed("mmdebstrap")
    archive = found.folder / "base.tar"
    lean = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "man", "locale")]
    words = [
        program,
        "--quiet",
        "--variant=minbase",
        f"--include={PACKAGES}",
        *lean,
        "bookworm",
        str(archive),
    ]
    done = subprocess.run(words, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found.docker("import", str(archive), BASE)
    archive.unlink()


def _start(words: list[str], log: Path, ends: contextlib.ExitStack) -> None:
    with log.open("wb") as out:
        process = subprocess.Popen(words, stdout=out, stderr=out, stdin=subprocess.DEVNULL)
    ends.callback(process.wait)
    ends.callback(process.terminate)


def _wait(what: str, ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not ready():
        assert time.monotonic() < deadline, f"{what} does not answer"
        time.sleep(0.1)


def _needed(program: str) -> str:
    path = shutil.which(program, path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"]))
    if path is None:
        _unavailable(
            f"there is no {program}: apt-get install docker.io docker-registry mmdebstrap iptables openssh-server"
        )
    assert path is not None
    return path


def _unavailable(words: str) -> None:
    """A person without an engine may go without these tests; where everything was installed nobody may."""
    if os.environ.get("NO_SKIPS") == "true":
        pytest.fail(words, pytrace=False)
    pytest.skip(words)
