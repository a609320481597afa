"""An engine on another host, which DOCKER_HOST names over SSH: a real sshd on loopback, keys, a known host."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bots.deploy.docker import EngineError, connect, find_builder, run_command
from fixtures import docker_engine as engines
from fixtures.docker_engine import Engine

pytestmark = [pytest.mark.docker, pytest.mark.slow]


@pytest.fixture
def host(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of the engine by SSH, and a person whose `ssh` knows key and host."""
    with engines.open_over_ssh(engine, tmp_path) as environ:
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        yield environ["DOCKER_HOST"]


def test_images_and_containers_of_a_host_are_reached_over_ssh(host: str) -> None:
    with connect() as client:
        assert client.images.list(engines.BASE)
        words = ["python3", "-c", "print(6 * 7)"]
        assert client.containers.run(engines.BASE, words, remove=True).strip() == b"42"
    assert run_command("listing", [find_builder(), "images", "--quiet", engines.BASE]).strip()


def test_a_host_whose_key_is_another_is_not_spoken_to(host: str, tmp_path: Path) -> None:
    known = tmp_path / "known_hosts"
    known.write_text(known.read_text().split()[0] + " " + (tmp_path / "person.pub").read_text())
    began = time.monotonic()
    with (
        pytest.raises(EngineError, match=r"(?s)ssh://root@127\.0\.0\.1.*verification failed"),
        connect(),
    ):
        pytest.fail("it was spoken to")
    assert time.monotonic() - began < 30
