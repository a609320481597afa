"""What scaling does to the containers of a stage, on an engine and a proxy that are played."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from docker.errors import DockerException

from bots.__main__ import main
from bots.deploy.autoscale import Autoscaler
from bots.deploy.compose import Compose
from bots.deploy.docker import EngineError
from bots.deploy.haproxy import Server, Traffic
from bots.settings import Replicas
from fixtures import support
from fixtures.documents import read_words

STAGE = "late-flights-production"


@dataclass
class Played:
    """An engine with the containers of a stage, and the proxy before them."""

    containers: list[Any] = field(default_factory=list)
    share: float = 0.0
    told: list[str] = field(default_factory=list)
    made: int = 0

    def add(self, service: str = "stable", version: str = "v1", status: str = "running") -> Container:
        self.made += 1
        labels = {
            "com.docker.compose.project": STAGE,
            "com.docker.compose.service": service,
            "com.docker.compose.container-number": str(self.made),
            "release.image": f"registry/model@sha256:{version}",
            "release.version": version,
        }
        one = Container(self, f"id{self.made}", labels, status)
        self.containers.append(one)
        return one

    # What the client of the engine has.
    @property
    def api(self) -> Played:
        return self

    def create_container_from_config(self, description: dict[str, Any], name: str) -> dict[str, str]:
        labels = description["Labels"]
        assert name.startswith(f"{STAGE}-{labels['com.docker.compose.service']}-")
        one = self.add(labels["com.docker.compose.service"], labels["release.version"], "created")
        return {"Id": one.id}

    def get(self, name: str) -> Container:
        return next(one for one in self.containers if one.id == name)

    def list(self, *, filters: dict[str, list[str]], **_: Any) -> Sequence[Container]:
        service = filters["label"][1].partition("service=")[2]
        return [one for one in self.containers if one.labels["com.docker.compose.service"] == service]

    # What the proxy has.
    def load_share(self) -> float:
        return self.share

    def set_share(self, canary: float, *, stable: int, canaries: int) -> None:
        self.share = canary
        self.told.append(f"share {canary} of {stable} and {canaries}")

    def load_servers(self, role: str) -> Sequence[Server]:
        found = [
            one for one in self.list(filters={"label": ["", f"service={role}"]}) if one.status == "running"
        ]
        return [Server(f"{role}{one.number}", one.address, up=True, busy=0) for one in found]

    def close_free_servers(self, role: str) -> None:
        self.told.append(f"close free {role}")

    def close_servers(self, role: str, names: Sequence[str] | None = None) -> None:
        self.told.append(f"close {names or role}")

    def drain_servers(self, role: str, names: Sequence[str]) -> None:
        self.told.append(f"drain {names}")

    def open_servers(self, role: str) -> None:
        self.told.append(f"open {role}")


@dataclass
class Container:
    """A container of a played engine."""

    engine: Played
    id: str
    labels: dict[str, str]
    status: str

    @property
    def number(self) -> str:
        return self.labels["com.docker.compose.container-number"]

    @property
    def address(self) -> str:
        return f"172.18.0.{self.number}"

    @property
    def attrs(self) -> dict[str, Any]:
        return {
            "Created": f"{int(self.number):04}",
            "RestartCount": 0,
            "Config": {"Labels": self.labels},
            "HostConfig": {},
            "NetworkSettings": {"Networks": {"inside": {"IPAddress": self.address}}},
        }

    def start(self) -> None:
        self.status = "running"
        self.engine.told.append(f"start {self.number}")

    def reload(self) -> None: ...

    def update(self, **_: Any) -> None: ...

    def stop(self) -> None:
        self.engine.told.append(f"stop {self.number}")

    def remove(self, **_: Any) -> None:
        self.engine.containers.remove(self)


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> Played:
    engine = Played()
    monkeypatch.setattr(Compose, "_proxy", property(lambda _: engine))
    monkeypatch.setattr(Compose, "_read_answer", lambda *_: "ready")
    return engine


def open_stage(played: Played, **more: Any) -> Compose:
    engine: Any = type("Client", (), {"containers": played, "api": played})()
    return Compose(Path("deploy"), STAGE, engine, tell=print, sleep=lambda _: None, **more)


def list_numbers(played: Played, service: str = "stable") -> list[str]:
    return [one.number for one in played.containers if one.labels["com.docker.compose.service"] == service]


def test_a_further_replica_gets_requests_only_once_it_is_ready(played: Played) -> None:
    played.add()
    assert open_stage(played).scale(3) == 1
    assert played.told == [
        "close free stable", "start 2", "start 3", "open stable", "share 0.0 of 3 and 1",
    ]  # fmt: skip


def test_the_newest_go_and_answer_first_what_they_were_asked(played: Played) -> None:
    for _ in range(3):
        played.add()
    assert open_stage(played).scale(1) == 3
    assert played.told[:4] == [
        "drain ['stable2', 'stable3']", "close ['stable2', 'stable3']", "stop 2", "stop 3",
    ]  # fmt: skip
    assert list_numbers(played) == ["1"]


def test_one_that_the_engine_cannot_start_is_not_left_behind(
    played: Played, monkeypatch: pytest.MonkeyPatch
) -> None:
    played.add()

    def refuse(container: Container) -> None:
        raise DockerException("no such network interface")

    monkeypatch.setattr(Container, "start", refuse)
    with pytest.raises(
        EngineError, match=r"production-stable-2 cannot be started: no such network interface"
    ):
        open_stage(played).scale(2)
    assert list_numbers(played) == ["1"]
    assert played.told == ["close free stable", "open stable"]


def test_one_that_ended_is_replaced_and_those_that_run_stay(played: Played) -> None:
    played.add(status="exited")
    played.add()
    assert open_stage(played).scale(2) == 1
    assert list_numbers(played) == ["2", "3"]


def test_a_canary_keeps_its_share_whatever_the_number_of_replicas(played: Played) -> None:
    played.add()
    played.add("canary", "v2")
    played.share = 0.1
    open_stage(played).scale(3)
    assert played.told[-1] == "share 0.1 of 3 and 1"


def test_a_canary_with_a_large_share_gets_company(played: Played) -> None:
    for _ in range(3):
        played.add()
    played.add("canary", "v2")
    open_stage(played).set_share(0.3)
    assert played.told[-1] == "share 0.3 of 3 and 2"


@pytest.mark.parametrize(
    ("share", "stable", "said"),
    [(0.0, 0, "no version runs here.* release one"), (1.0, 1, "is being promoted just now")],
)
def test_what_cannot_be_scaled_now_is_said(played: Played, share: float, stable: int, said: str) -> None:
    played.share = share
    for _ in range(stable):
        played.add()
    with pytest.raises(EngineError, match=said):
        open_stage(played).scale(2)
    assert played.told == []


def test_a_stage_that_never_was_is_not_called_one_that_somebody_removed(played: Played) -> None:
    empty = open_stage(played)
    with pytest.raises(EngineError, match="either no version was deployed yet, or DOCKER_HOST must name"):
        empty._get_container("proxy")
    played.add("stable")
    with pytest.raises(EngineError, match="`proxy` is gone; somebody removed it"):
        empty._get_container("proxy")


def test_a_stage_whose_last_container_ended_is_not_scaled_but_told(played: Played) -> None:
    played.add(status="exited")
    with pytest.raises(EngineError, match="no container of `stable` runs any more; release a version"):
        open_stage(played).scale(2)
    assert list_numbers(played) == ["1"]


def test_what_was_added_while_a_version_was_promoted_is_taken_away_again(
    played: Played, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = played.add()

    def promote_meanwhile(container: Container) -> None:
        container.status = "running"
        if first in played.containers:
            played.containers.remove(first)
            played.add(version="v2")

    monkeypatch.setattr(Container, "start", promote_meanwhile)
    with pytest.raises(EngineError, match="a version was promoted meanwhile; scale once that is done"):
        open_stage(played).scale(2)
    assert [one.labels["release.version"] for one in played.containers] == ["v2"]


@pytest.mark.parametrize(
    ("running", "ended", "wanted"),
    [(3, 0, 3), (0, 1, 1), (2, 1, 3)],
    ids=["all run", "it ended", "one ended"],
)
def test_a_promotion_that_was_killed_has_the_number_from_its_canaries(
    played: Played, monkeypatch: pytest.MonkeyPatch, running: int, ended: int, wanted: int
) -> None:
    for number in range(running + ended):
        played.add("canary", "v2", "running" if number < running else "exited")
    stage = open_stage(played, replicas=Replicas(least=1, most=4))
    monkeypatch.setattr(Compose, "_start_service", lambda *_, **__: played.add(version="v2"))
    canary = stage.get_state().canary
    assert canary is not None
    stage.promote(canary)
    assert len(list_numbers(played)) == wanted
    assert list_numbers(played, "canary") == []


@pytest.fixture
def project(played: Played, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project that allows three replicas, deployed on the played engine."""
    text = support.render_file("params.yaml", project="late-flights")
    written = text.partition("\n  replicas: ")[2].partition("\n")[0]
    (tmp_path / "params.yaml").write_text(text.replace(written, "{least: 1, most: 3, every: 1}"))
    (tmp_path / "deploy").mkdir()
    (tmp_path / "deploy/compose.yaml").touch()
    client: Any = type("Client", (), {"containers": played, "api": played})()
    monkeypatch.setattr("bots.deploy.platform.connect", lambda: contextlib.nullcontext(client))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_verb_says_how_many_there_were_and_are(
    played: Played, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    played.add()
    assert main([*read_words("docs/deploy.md", "python -m bots scale 3"), "--json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out) == {"before": 1, "now": 3}
    assert "scale: starting 2 more of stable, which makes 3" in said.err
    assert main(["scale", "2"]) == 0
    assert "scale: 2 answer; there were 3" in capsys.readouterr().err


def test_the_loop_ends_with_0_when_it_is_told_to_stop_and_leaves_what_runs(
    played: Played, project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for status in ("running", "exited"):
        played.add(status=status)
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(Compose, "load_traffic", lambda _: Traffic({}, {}))
    monkeypatch.setattr(Autoscaler, "try_look", lambda _: os.kill(os.getpid(), signal.SIGTERM))
    try:
        assert main(read_words("docs/deploy.md", "python -m bots autoscale")) == 0
    finally:
        signal.signal(signal.SIGTERM, before[0])
        signal.signal(signal.SIGINT, before[1])
    said = capsys.readouterr().err
    assert "autoscale: 1 -> 2: one ended" in said
    assert "autoscale: stopped; what runs stays as it is" in said
    assert list_numbers(played) == ["1", "3"]
