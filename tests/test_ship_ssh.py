"""An engine on another host, which DOCKER_HOST names over SSH: a real sshd on loopback, keys, a known host."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import engine as engines
from bots.ship.engine import EngineError, builder, connected, run
from engine import Engine

pytestmark = [pytest.mark.docker, pytest.mark.slow]

SERVER = """\
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
CLIENT = """\
Host 127.0.0.1
    IdentityFile {folder}/person
    IdentitiesOnly yes
    UserKnownHostsFile {folder}/known_hosts
    StrictHostKeyChecking yes
    BatchMode yes
"""


@pytest.fixture
def host(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of the engine by SSH, and a person whose `ssh` knows key and host."""
    port = engines.free_port()
    for name in ("host", "person"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / name)]
        subprocess.run(command, check=True)
    known = {"folder": tmp_path, "port": port, "docker": engine.environ["DOCKER_HOST"]}
    (tmp_path / "sshd_config").write_text(SERVER.format(**known))
    (tmp_path / "ssh_config").write_text(CLIENT.format(**known))
    (tmp_path / "known_hosts").write_text(f"[127.0.0.1]:{port} {(tmp_path / 'host.pub').read_text()}")
    # OpenSSH reads the configuration of whoever runs it, whatever HOME says.
    ssh = tmp_path / "bin/ssh"
    ssh.parent.mkdir()
    ssh.write_text(f'#!/bin/sh\nexec /usr/bin/ssh -F {tmp_path}/ssh_config "$@"\n')
    ssh.chmod(0o755)
    monkeypatch.setenv("PATH", f"{ssh.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("DOCKER_HOST", address := f"ssh://root@127.0.0.1:{port}")
    # Where an engine usually listens, on the other host.
    usual, linked = Path("/var/run/docker.sock"), False
    if not usual.exists():
        usual.unlink(missing_ok=True)
        usual.symlink_to(engine.environ["DOCKER_HOST"].removeprefix("unix://"))
        linked = True
    try:
        with engines.sshd(tmp_path / "sshd_config", port):
            yield address
    finally:
        if linked:
            usual.unlink()


def test_images_and_containers_of_a_host_are_reached_over_ssh(host: str) -> None:
    with connected() as client:
        assert client.images.list(engines.BASE)
        words = ["python3", "-c", "print(6 * 7)"]
        assert client.containers.run(engines.BASE, words, remove=True).strip() == b"42"
    assert run("listing", [builder(), "images", "--quiet", engines.BASE]).strip()


def test_a_host_whose_key_is_another_is_not_spoken_to(host: str, tmp_path: Path) -> None:
    known = tmp_path / "known_hosts"
    known.write_text(known.read_text().split()[0] + " " + (tmp_path / "person.pub").read_text())
    began = time.monotonic()
    with (
        pytest.raises(EngineError, match=r"(?s)ssh://root@127\.0\.0\.1.*verification failed"),
        connected(),
    ):
        pytest.fail("it was spoken to")
    assert time.monotonic() - began < 30
