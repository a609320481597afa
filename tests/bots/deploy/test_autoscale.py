"""When containers are started and stopped by load: at once, with patience, within limits, and never to and fro."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bots.__main__ import main
from bots.deploy.autoscale import Autoscaler, Load, Wish, decide_replicas, find_wish, measure_load
from bots.deploy.docker import EngineError
from bots.deploy.haproxy import Traffic
from bots.settings import Replicas
from fixtures import support

POLICY = Replicas(least=1, most=8, in_work=2, patience=60)
LOADS = st.floats(0, 200)
NUMBERS = st.integers(1, 16)


@st.composite
def policies(draw: st.DrawFn) -> Replicas:
    least = draw(NUMBERS)
    return Replicas(
        least=least,
        most=draw(st.integers(least, 16)),
        in_work=draw(st.floats(0.1, 10)),
        latency=draw(st.none() | st.floats(0.01, 1)),
    )


def follow(
    in_work: Callable[[float], float], policy: Replicas, *, seconds: float, replicas: int = 1
) -> list[int]:
    """How many containers there are after each look of ten seconds under a load that changes with time."""
    wishes: list[Wish] = []
    found = []
    now = 0.0
    while now < seconds:
        now += 10
        replicas, wishes = decide_replicas(Load(replicas, in_work(now), 0.05), wishes, 0, now, policy)
        found.append(replicas)
    return found


@given(in_work=LOADS, seconds=st.none() | st.floats(0, 2), replicas=NUMBERS, policy=policies())
def test_whatever_the_load_the_number_stays_within_the_limits(
    in_work: float, seconds: float | None, replicas: int, policy: Replicas
) -> None:
    load = Load(replicas, in_work, seconds)
    for since in (0.0, 1000.0):
        number, wishes = decide_replicas(load, [], since, 1000.0, policy)
        assert policy.least <= number <= policy.most
        assert number <= max(policy.least, 2 * replicas)
        assert len(wishes) == 1


@given(low=LOADS, more=LOADS, replicas=NUMBERS)
def test_more_load_never_asks_for_fewer(low: float, more: float, replicas: int) -> None:
    policy = Replicas(least=1, most=16)
    assert (
        find_wish(Load(replicas, low, None), policy)
        <= find_wish(Load(replicas, low + more, None), policy) + 1
    )
    if more > 0.3 * replicas * policy.in_work:
        assert find_wish(Load(replicas, low, None), policy) <= find_wish(
            Load(replicas, low + more, None), policy
        )


@given(in_work=LOADS, replicas=NUMBERS, policy=policies())
def test_under_a_steady_load_the_number_comes_to_rest(
    in_work: float, replicas: int, policy: Replicas
) -> None:
    steady = Replicas(least=policy.least, most=policy.most, in_work=policy.in_work, patience=60)
    found = follow(lambda _: in_work, steady, seconds=300, replicas=replicas)
    assert len({*found[12:]}) == 1


def test_a_load_that_trembles_moves_nothing_to_and_fro() -> None:
    lots = random.Random(4)
    found = follow(lambda _: lots.uniform(6.5, 9.5), POLICY, seconds=3600)
    assert set(found[10:]) <= {4, 5}
    changes = sum(one != other for one, other in pairwise(found[10:]))
    assert changes <= 10


def test_a_hill_of_load_is_followed_up_at_once_and_down_with_patience() -> None:
    found = follow(lambda now: 5.5 if 60 < now <= 180 else 0.5, POLICY, seconds=360)
    assert found[5] == 1
    assert found[6:8] == [2, 3]  # at most twice as many at a time
    assert found[17] == 3
    assert found[18:23] == [3] * 5  # the load is gone, and for a minute nothing is stopped
    assert found[24:] == [1] * 12


def test_nothing_is_stopped_before_it_was_looked_at_for_long_enough() -> None:
    assert decide_replicas(Load(3, 0.0, None), [], 0, 59, POLICY)[0] == 3
    assert decide_replicas(Load(3, 0.0, None), [], 0, 60, POLICY)[0] == 1


@pytest.mark.parametrize(
    ("in_work", "seconds", "wish"),
    [(3.0, 0.4, 3), (0.2, 0.4, 1), (3.0, 0.15, 2), (3.0, 0.05, 2), (1.5, 0.05, 1), (1.5, 0.15, 2)],
    ids=["slow", "slow without load", "near the limit", "quick", "quick and idle", "idle, near the limit"],
)
def test_slow_answers_ask_for_another_container_where_more_would_help(
    in_work: float, seconds: float, wish: int
) -> None:
    policy = Replicas(least=1, most=8, in_work=2, latency=0.25)
    assert find_wish(Load(2, in_work, seconds), policy) == wish


def test_requests_in_work_are_counted_by_littles_law() -> None:
    before = Traffic({"stable1": 100, "stable2": 700}, {"stable1": 0.1, "stable2": 0.2})
    now = Traffic({"stable1": 200, "stable2": 50}, {"stable1": 0.1, "stable2": 0.2}, busy=3)
    load = measure_load(before, now, seconds=10, replicas=2)
    # 10 a second of 0.1 s, and 5 a second of 0.2 s: the second server's counter began anew.
    assert load.in_work == pytest.approx(1 + 1)
    assert load.seconds == pytest.approx(20 / 150)
    assert measure_load(now, now, seconds=10, replicas=2) == Load(2, 3.0, None)


def test_requests_that_pile_up_are_seen_before_the_mean_of_their_seconds_has_followed() -> None:
    before = Traffic({"stable1": 100}, {"stable1": 0.01}, busy=7)
    now = Traffic({"stable1": 260}, {"stable1": 0.02}, busy=9)
    assert measure_load(before, now, seconds=10, replicas=1).in_work == 7


class Stage:
    """A stage whose load is played."""

    def __init__(self, running: int = 1, ended: int = 0) -> None:
        self.running, self.ended, self.asked, self.promoting = running, ended, 0, False
        self.rate, self.fault = 0, ""
        self.scaled: list[int] = []
        self.replicas = POLICY

    def is_promoting(self) -> bool:
        if self.fault:
            raise EngineError(self.fault)
        return self.promoting

    def count_replicas(self, *, ended: bool = False) -> int:
        return self.running + (self.ended if ended else 0)

    def load_traffic(self) -> Traffic:
        self.asked += self.rate * 10
        return Traffic({"stable1": self.asked}, {"stable1": 0.1})

    def scale(self, number: int) -> None:
        self.scaled.append(number)
        self.running, self.ended = number, 0


def watch(stage: Stage, told: list[str]) -> Autoscaler:
    now = iter(range(0, 100_000, 10))

    @contextlib.contextmanager
    def open_stage() -> Iterator[Any]:
        yield stage

    return Autoscaler(cast("Any", open_stage), told.append, lambda: float(next(now)))


def test_a_stage_is_scaled_by_what_its_proxy_counts_and_told_why() -> None:
    stage, told = Stage(), cast("list[str]", [])
    scaler = watch(stage, told)
    scaler.look()
    assert stage.scaled == []
    stage.rate = 40
    scaler.look()
    assert stage.scaled == [2]
    assert told == ["1 -> 2: 4.0 requests in work at 1, 100 ms each"]


def test_one_that_ended_is_replaced_at_the_next_look() -> None:
    stage, told = Stage(running=2, ended=1), cast("list[str]", [])
    watch(stage, told).look()
    assert stage.scaled == [3]
    assert told == ["2 -> 3: one ended"]


def test_limits_that_were_edited_hold_at_the_next_look() -> None:
    stage, told = Stage(running=1), cast("list[str]", [])
    stage.replicas = Replicas(least=2, most=4)
    watch(stage, told).look()
    assert (stage.scaled, told) == ([2], ["1 -> 2: the limits of params.yaml"])


def test_a_promotion_is_left_alone() -> None:
    stage, told = Stage(running=0, ended=1), cast("list[str]", [])
    stage.promoting = True
    watch(stage, told).look()
    assert (stage.scaled, told) == ([], [])


def test_trouble_is_said_once_and_looked_at_again() -> None:
    stage, told = Stage(), cast("list[str]", [])
    scaler = watch(stage, told)
    stage.fault = "the engine is away"
    for _ in range(3):
        scaler.try_look()
    assert told == ["WARNING: the engine is away"]
    stage.fault, stage.running, stage.ended = "", 1, 1
    scaler.try_look()
    assert stage.scaled == [2]


def test_a_first_look_that_fails_ends_the_verb_with_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("signal.signal", lambda *_: None)
    (tmp_path / "deploy").mkdir()
    (tmp_path / "deploy/compose.yaml").touch()
    (tmp_path / "params.yaml").write_text(support.render_file("params.yaml"))
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nothing.sock")
    monkeypatch.chdir(tmp_path)
    assert main(["autoscale"]) == 1
    assert "no Docker engine answers" in capsys.readouterr().err
