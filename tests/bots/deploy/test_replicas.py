"""How many containers share the requests, and how these are split between them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bots.__main__ import main
from bots.deploy.haproxy import compute_weights
from bots.deploy.replicas import count_canaries, count_wanted, describe_copy, list_running
from bots.settings import Replicas, SettingsError, parse_settings
from fixtures import support

COUNTS = st.integers(1, 16)


@given(percent=st.integers(1, 99), stable=COUNTS, canaries=COUNTS)
def test_all_canaries_together_get_their_share_however_many_containers_there_are(
    percent: int, stable: int, canaries: int
) -> None:
    of_stable, of_canary = compute_weights(percent, stable=stable, canaries=canaries)
    assert 1 <= of_stable <= 256
    assert 1 <= of_canary <= 256
    share = of_canary * canaries / (of_canary * canaries + of_stable * stable)
    assert abs(share - percent / 100) < 0.05  # 16 canaries beside one container have 6%, not 1%
    if canaries == count_canaries(percent / 100, stable):
        assert abs(share - percent / 100) < 0.002


@pytest.mark.parametrize(
    ("percent", "stable", "weights"), [(0, 3, (1, 0)), (100, 3, (0, 1)), (50, 3, (1, 3)), (10, 1, (9, 1))]
)
def test_weights_are_those_that_a_person_would_write(
    percent: int, stable: int, weights: tuple[int, int]
) -> None:
    assert compute_weights(percent, stable=stable, canaries=1) == weights


@given(share=st.floats(0.01, 0.5), stable=COUNTS)
def test_no_canary_has_more_work_than_a_stable_container_had(share: float, stable: int) -> None:
    canaries = count_canaries(share, stable)
    assert 1 <= canaries <= stable
    assert share / canaries <= max((1 - share) / stable, share) + 1e-9


def test_all_requests_are_taken_by_as_many_canaries_as_there_were_containers() -> None:
    assert [count_canaries(1, stable) for stable in (0, 1, 3)] == [1, 1, 3]


@pytest.mark.parametrize(
    ("stable", "canaries", "wanted"),
    [(1, 0, 2), (3, 1, 3), (9, 1, 4), (0, 3, 3), (0, 0, 2), (2, 4, 2)],
    ids=["fewer", "as many", "more", "lost its containers in a promotion", "the first one", "more canaries"],
)
def test_a_release_keeps_the_number_within_the_limits(stable: int, canaries: int, wanted: int) -> None:
    assert count_wanted(Replicas(least=2, most=4), stable, canaries) == wanted


def make_container(number: int, status: str = "running", **attrs: Any) -> Any:
    labels = {
        "com.docker.compose.project": "late-flights-production",
        "com.docker.compose.service": "stable",
        "com.docker.compose.container-number": str(number),
    }
    return SimpleNamespace(labels=labels, status=status, attrs={"Created": f"2026-0{number}", **attrs})


def test_those_that_run_are_listed_from_the_oldest_on() -> None:
    found = [make_container(3, "exited"), make_container(2, "restarting"), make_container(1)]
    assert [one.attrs["Created"] for one in list_running(found)] == ["2026-01", "2026-02"]


def test_a_copy_has_all_that_makes_the_container_and_a_number_of_its_own() -> None:
    first = make_container(1)
    attrs = {
        "Config": {
            "Hostname": "c0ffee",
            "Image": "registry/model@sha256:1",
            "Env": ["SERVING_API_KEYS=secret"],
            "Labels": {**first.labels, "release.version": "v1"},
        },
        "HostConfig": {"ReadonlyRootfs": True, "Memory": 512, "CapDrop": ["ALL"]},
        "NetworkSettings": {
            "Networks": {"late-flights-production_inside": {"IPAddress": "172.18.0.3", "Aliases": ["c0ffee"]}}
        },
    }
    name, made = describe_copy(attrs, [first, make_container(4, "created")])
    assert name == "late-flights-production-stable-5"
    assert (made["Image"], made["Env"]) == ("registry/model@sha256:1", ["SERVING_API_KEYS=secret"])
    assert made["HostConfig"] == attrs["HostConfig"]
    assert made["Labels"]["com.docker.compose.container-number"] == "5"
    assert made["Labels"]["release.version"] == "v1"
    assert made["NetworkingConfig"] == {
        "EndpointsConfig": {"late-flights-production_inside": {"Aliases": ["stable"]}}
    }
    assert "Hostname" not in made
    assert attrs["Config"]["Labels"]["com.docker.compose.container-number"] == "1"  # type: ignore[index]


@pytest.mark.parametrize(
    ("replicas", "said"),
    [
        ("{least: 3, most: 2}", "deploy.replicas.most: expected at least `least`, which is 3"),
        ("{least: 0, most: 2}", "deploy.replicas.least: expected a whole number >= 1"),
        ("{least: 1, most: 17}", "deploy.replicas.most: expected a whole number <= 16"),
        ("{least: 1, max: 3}", "deploy.replicas.max: unknown key"),
    ],
)
def test_limits_that_contradict_each_other_or_the_proxy_are_refused(replicas: str, said: str) -> None:
    text = support.render_file("params.yaml")
    written = text.partition("\n  replicas: ")[2].partition("\n")[0]
    text = text.replace(written, replicas)
    with pytest.raises(SettingsError) as caught:
        parse_settings(text, "params.yaml")
    assert said in str(caught.value)


@pytest.fixture
def project(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    (tmp_path / "deploy").mkdir()
    (tmp_path / "params.yaml").write_text(support.render_file("params.yaml"))
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nothing.sock")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("number", "made", "said"),
    [
        ("2", "deploy/compose.yaml", "deploy.replicas allows 1 to 1, not 2; change it there first"),
        ("1", "deploy/compose.yaml", "no Docker engine answers at unix://"),
        (
            "1",
            "deploy/kubernetes/",
            "only a stage of Docker Compose is scaled by the bots: deploy/kubernetes/base/",
        ),
        ("1", "deploy/", "has no deploy/compose.yaml"),
    ],
)
def test_what_cannot_be_scaled_is_said_in_a_line(
    project: Any, capsys: pytest.CaptureFixture[str], number: str, made: str, said: str
) -> None:
    path = project / made
    path.mkdir(exist_ok=True) if made.endswith("/") else path.touch()
    assert main(["scale", number]) == 1
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("number", ["0", "two", "1.5"])
def test_no_number_is_wrong_usage(number: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["scale", number])
    assert caught.value.code == 2
    assert f"{number!r}: expected a whole number of at least 1" in capsys.readouterr().err
