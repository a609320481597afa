"""The log in the volumes of a Compose project on a real engine: read whole by what cannot write, running or not."""

from __future__ import annotations

import contextlib
import io
import os
import secrets
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import docker
import pytest

from bots.deploy.docker import find_compose, run_command
from bots.monitoring.engine_logs import open_engine_logs
from bots.monitoring.log_listing import FileGone, FileUnreadable, LogSource, SourceUnreachable
from bots.monitoring.log_source import open_log_source
from bots.settings import load_settings
from fixtures import docker_engine as engines
from fixtures import support
from fixtures.docker_engine import Engine

pytestmark = [pytest.mark.docker, pytest.mark.slow]

DOCKERFILE = (
    f'FROM {engines.BASE}\nRUN python3 -m venv --without-pip /opt/venv\nUSER 10001:10001\nCMD ["true"]\n'
)


@dataclass
class Deployed:
    """A project as Compose leaves it: labelled volumes, a stopped stable version, no canary any more."""

    client: docker.DockerClient
    name: str
    image: str

    def write(self, volume: str, files: dict[str, bytes]) -> None:
        """Write files into a volume as the service does: readable by its user alone."""
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as archive:
            for name, content in files.items():
                about = tarfile.TarInfo(name)
                about.size, about.mode, about.uid, about.gid, about.mtime = (
                    len(content),
                    0o640,
                    10001,
                    10001,
                    1000,
                )
                archive.addfile(about, io.BytesIO(content))
        where = {f"{self.name}_{volume}": {"bind": "/v", "mode": "rw"}}
        one = self.client.containers.create(self.image, volumes=where)
        one.put_archive("/v", packed.getvalue())
        one.remove()

    def run(self, volume: str, script: str) -> None:
        where = {f"{self.name}_{volume}": {"bind": "/v", "mode": "rw"}}
        self.client.containers.run(self.image, ["sh", "-c", script], volumes=where, remove=True, user="0")

    def list_readers(self) -> list[str]:
        found = self.client.containers.list(all=True, filters={"label": f"release.reads-log-of={self.name}"})
        return [str(one.id) for one in found]


@pytest.fixture(scope="module")
def client(engine: Engine) -> Iterator[docker.DockerClient]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in engine.environ.items():
            patch.setenv(name, value)
        with contextlib.closing(docker.from_env(timeout=120)) as found:
            yield found


@pytest.fixture
def deployed(client: docker.DockerClient) -> Iterator[Deployed]:
    image, _ = client.images.build(fileobj=io.BytesIO(DOCKERFILE.encode()), rm=True)
    name = f"visits{secrets.token_hex(3)}-production"
    project = {"com.docker.compose.project": name}
    for volume in ("stable-log", "canary-log", "other"):
        client.volumes.create(f"{name}_{volume}", labels={**project, "com.docker.compose.volume": volume})
    client.containers.create(image.id, labels={**project, "com.docker.compose.service": "stable"})
    yield Deployed(client, name, str(image.id))
    for one in client.containers.list(all=True, filters={"label": f"com.docker.compose.project={name}"}):
        one.remove(force=True)
    for one in client.volumes.list(filters={"label": f"com.docker.compose.project={name}"}):
        one.remove(force=True)


COMPOSE = """\
services:
  stable:
    image: {image}
    command: ["sh", "-c", "printf stable > /var/log/predictions/a.parquet"]
    volumes: ["stable-log:/var/log/predictions"]
  canary:
    image: {image}
    command: ["sh", "-c", "printf canary > /var/log/predictions/a.parquet"]
    volumes: ["canary-log:/var/log/predictions"]
volumes:
  stable-log: {{}}
  canary-log: {{}}
"""
IMAGE = DOCKERFILE.replace("USER", "RUN install -d -o 10001 -g 10001 /var/log/predictions\nUSER")


def list_names(source: LogSource) -> list[str]:
    return sorted(file.name for file in source.list_files())


def test_volumes_are_read_whole_although_nothing_runs_and_nothing_is_left_behind(
    deployed: Deployed, tmp_path: Path
) -> None:
    content = os.urandom(20_000_000)
    deployed.write("stable-log", {"a.parquet": content, "b.jsonl": b"{}"})
    deployed.write("canary-log", {"a.parquet": b"canary"})
    deployed.write("other", {"c.parquet": b"no log"})
    with open_engine_logs(deployed.client, deployed.name) as source:
        found = {file.name: file for file in source.list_files()}
        assert set(found) == {"stable-log/a.parquet", "stable-log/b.jsonl", "canary-log/a.parquet"}
        assert (found["stable-log/a.parquet"].size, found["stable-log/a.parquet"].changed) == (
            20_000_000,
            1000,
        )
        source.fetch("stable-log/a.parquet", tmp_path / "a")
        source.fetch("canary-log/a.parquet", tmp_path / "b")
        with pytest.raises(FileGone):
            source.fetch("stable-log/z.parquet", tmp_path / "z")
        assert source.unseen == []
        [reader] = deployed.list_readers()
        about = deployed.client.containers.get(reader).attrs["HostConfig"]
        assert (about["NetworkMode"], about["ReadonlyRootfs"], about["CapDrop"]) == ("none", True, ["ALL"])
        assert all(":ro" in bind for bind in about["Binds"])
    assert (tmp_path / "a").read_bytes() == content
    assert (tmp_path / "b").read_bytes() == b"canary"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]
    assert deployed.list_readers() == []


def test_what_somebody_put_into_a_volume_leads_nobody_astray(deployed: Deployed, tmp_path: Path) -> None:
    deployed.run(
        "stable-log",
        "ln -s /etc/passwd /v/a.parquet; ln -s / /v/root; mkfifo /v/b.parquet; mkdir /v/c.parquet /v/shut; "
        "chmod 700 /v/shut; printf x > '/v/d\n.parquet'",
    )
    with open_engine_logs(deployed.client, deployed.name) as source:
        assert list_names(source) == ["stable-log/d\n.parquet"]
        assert len(source.unseen) == 1
        assert "shut cannot be read" in source.unseen[0]
        for name in ("a.parquet", "b.parquet", "c.parquet"):
            with pytest.raises(FileUnreadable):
                source.fetch(f"stable-log/{name}", tmp_path / "x")
    assert list(tmp_path.iterdir()) == []


def test_an_engine_that_runs_no_version_and_one_without_a_log_are_told(deployed: Deployed) -> None:
    with (
        pytest.raises(SourceUnreachable, match="no version of it is on this engine"),
        open_engine_logs(deployed.client, "nothing-production"),
    ):
        pytest.fail("it was opened")
    for volume in deployed.client.volumes.list(
        filters={"label": f"com.docker.compose.project={deployed.name}"}
    ):
        volume.remove(force=True)
    with (
        pytest.raises(SourceUnreachable, match="has no volume stable-log"),
        open_engine_logs(deployed.client, deployed.name),
    ):
        pytest.fail("it was opened")


def test_a_host_is_read_over_ssh_as_params_yaml_has_it(
    engine: Engine, deployed: Deployed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployed.write("stable-log", {"a.parquet": b"over ssh"})
    text = support.render_file("params.yaml", project=deployed.name.removesuffix("-production"))
    (tmp_path / "project" / "deploy").mkdir(parents=True)
    (tmp_path / "project" / "params.yaml").write_text(text)
    (tmp_path / "project" / "deploy" / "compose.yaml").write_text("")
    (tmp_path / "ssh").mkdir()
    with engines.open_over_ssh(engine, tmp_path / "ssh") as environ:
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        root = tmp_path / "project"
        with open_log_source(root, load_settings(root), tell=print) as source:
            assert list_names(source) == ["stable-log/a.parquet"]
            source.fetch("stable-log/a.parquet", tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == b"over ssh"


def test_what_compose_itself_made_is_found_also_of_a_canary_that_is_gone(
    client: docker.DockerClient, tmp_path: Path
) -> None:
    image, _ = client.images.build(fileobj=io.BytesIO(IMAGE.encode()), rm=True)
    name = f"visits{secrets.token_hex(3)}-production"
    (tmp_path / "compose.yaml").write_text(COMPOSE.format(image=image.id))
    words = [*find_compose(), "--project-name", name, "--file", str(tmp_path / "compose.yaml")]
    try:
        run_command("starting", [*words, "up", "--pull", "never", "--abort-on-container-failure"])
        run_command("removing the canary", [*words, "rm", "--force", "--stop", "canary"])
        with open_engine_logs(client, name) as source:
            assert list_names(source) == ["canary-log/a.parquet", "stable-log/a.parquet"]
            source.fetch("canary-log/a.parquet", tmp_path / "a")
        assert (tmp_path / "a").read_bytes() == b"canary"
    finally:
        run_command("removing", [*words, "down", "--volumes"])


def test_no_engine_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "deploy").mkdir()
    (tmp_path / "deploy" / "compose.yaml").write_text("")
    (tmp_path / "params.yaml").write_text(support.render_file("params.yaml"))
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nothing.sock")
    with (
        pytest.raises(SourceUnreachable, match="no Docker engine answers"),
        open_log_source(tmp_path, load_settings(tmp_path), tell=print),
    ):
        pytest.fail("it was opened")
