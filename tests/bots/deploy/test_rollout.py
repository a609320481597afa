"""The steps of a roll-out on a stage that only remembers: what it does, and that a lost bot does no harm."""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from bots.deploy.prometheus import ServiceCounters
from bots.deploy.rollout import (
    Clock,
    Halt,
    RolloutResult,
    measure_reviewed_classes,
    measure_reviewed_shift,
    never_halt,
    roll_out,
)
from bots.deploy.target import Health, NotReady, State, Version
from bots.deploy.watch import Watch
from bots.settings import Canary

if TYPE_CHECKING:
    from bots.deploy.target import Role

V1, V2, V3 = (Version(f"registry/model@sha256:{digit * 64}", f"v{digit}") for digit in "123")
POLICY = Canary(requests=100, seconds=60, every=1)


class Killed(BaseException):
    """The bot's process is gone."""


@dataclass
class Memory:
    """A stage in memory. It dies at its `dies`-th change, before or after carrying it out."""

    stable: Version | None = None
    canary: Version | None = None
    previous: Version | None = None
    shadow: Version | None = None
    weight: float = 0.0
    broken: frozenset[str] = frozenset()
    failing: frozenset[str] = frozenset()
    silent: bool = False
    dies: int | None = None
    after: bool = False
    changes: int = 0
    requests: dict[str, int] = field(default_factory=dict)
    clock: float = 0.0

    def _change(self, change: dict[str, Version | float | None]) -> None:
        self.changes += 1
        dead = self.dies is not None and self.changes > self.dies
        if dead and not self.after:
            raise Killed
        for name, value in change.items():
            setattr(self, name, value)
        assert self.stable or not self.requests or (self.canary and self.weight == 1), "nobody answers"
        if dead:
            raise Killed

    def prepare(self) -> None: ...

    def get_state(self) -> State:
        return State(self.stable, self.canary, self.previous if self.canary else None, self.shadow)

    def start_shadow(self, version: Version) -> None:
        if self.shadow != version:
            self._change({"shadow": version})
        if version.name in self.broken:
            raise NotReady(f"{version.name} ended by itself")

    def remove_shadow(self) -> None:
        if self.shadow:
            self._change({"shadow": None})

    def start_canary(self, version: Version, previous: Version | None) -> None:
        if self.canary != version:
            self._change({"canary": version, "previous": previous})
        if version.name in self.broken:
            raise NotReady(f"{version.name} ended by itself")

    def set_share(self, canary: float) -> None:
        self._change({"weight": canary})

    def load_metrics(self, role: Role) -> dict[str, str]:
        if self.silent:
            return {}
        version = {"canary": self.canary, "shadow": self.shadow, "stable": self.stable}[role]
        assert version is not None
        self.requests[role] = self.requests.get(role, 0) + (30 if role == "canary" else 270)
        bad = self.requests[role] // 3 if version.name in self.failing else 0
        asked = self.requests[role]
        return {
            role: f'model_requests_total{{route="/predict",status="200"}} {asked - bad}\n'
            f'model_requests_total{{route="/predict",status="500"}} {bad}\n'
            f'model_request_seconds_bucket{{route="/predict",le="0.1"}} {asked}\n'
            f'model_request_seconds_bucket{{route="/predict",le="+Inf"}} {asked}\n'
            f'model_prediction_score_bucket{{le="0.5"}} {asked - bad}\n'
            f'model_prediction_score_bucket{{le="+Inf"}} {asked - bad}\n'
        }

    def check_health(self, role: Role) -> Health:
        return Health(0, alive=True)

    def load_contract(self, role: Role) -> bytes | None:
        return None

    def promote(self, version: Version) -> None:
        if self.stable != version:
            if self.canary == version:
                self.set_share(1)
            self._change({"stable": None})
            self._change({"stable": version})
            if "unlucky" in self.broken:
                self._change({"stable": self.previous})
                raise NotReady("no memory left")
        self.withdraw()

    def withdraw(self) -> None:
        self.set_share(0)
        if self.canary:
            self._change({"canary": None})

    def sleep(self, seconds: float) -> None:
        self.clock += seconds


def run(
    stage: Memory,
    version: Version = V2,
    *,
    watch: bool = True,
    said: list[str] | None = None,
    policy: Canary = POLICY,
    paused: Watch | None = None,
    shadow: bool = False,
    halt: Halt = never_halt,
) -> RolloutResult:
    clock = Clock(lambda: stage.clock, stage.sleep, lambda: stage.clock)
    tell = said.append if said is not None else lambda _: None
    return roll_out(
        stage, version, policy, watch=watch, tell=tell, clock=clock, paused=paused, shadow=shadow, halt=halt
    )


def test_a_good_version_is_watched_with_its_share_and_promoted() -> None:
    stage = Memory(stable=V1)
    said: list[str] = []
    outcome = run(stage, said=said)
    assert (outcome.done, outcome.runs, outcome.previous) == ("promoted", V2, V1)
    assert stage.get_state() == State(V2)
    assert stage.weight == 0
    assert said[0] == "watching it with 10% of the requests"
    assert outcome.decision is not None
    assert outcome.seconds == 4


def test_a_version_with_errors_is_taken_back() -> None:
    stage = Memory(stable=V1, failing=frozenset({"v2"}))
    outcome = run(stage)
    assert (outcome.done, outcome.runs) == ("rolled back", V1)
    assert outcome.words.startswith("errors: 33")
    assert stage.get_state() == State(V1)


def test_a_version_that_does_not_become_ready_never_gets_a_request() -> None:
    stage = Memory(stable=V1, broken=frozenset({"v2"}))
    outcome = run(stage)
    assert (outcome.done, outcome.runs, outcome.decision) == ("rolled back", V1, None)
    assert stage.requests == {}


def test_a_promotion_that_fails_half_way_brings_back_what_ran() -> None:
    stage = Memory(stable=V1, broken=frozenset({"unlucky"}))
    outcome = run(stage)
    assert (outcome.done, outcome.runs) == ("rolled back", V1)
    assert outcome.words == "no memory left"
    assert stage.get_state() == State(V1)


def test_the_first_version_is_deployed_without_a_canary() -> None:
    stage = Memory()
    outcome = run(stage)
    assert (outcome.done, outcome.runs, outcome.previous) == ("deployed", V2, None)
    assert stage.requests == {}


def test_what_runs_already_is_left_as_it_is() -> None:
    stage = Memory(stable=V2)
    assert run(stage).done == "runs already"
    assert stage.get_state() == State(V2)


def test_a_return_to_an_earlier_version_is_not_watched() -> None:
    stage = Memory(stable=V2)
    outcome = run(stage, V1, watch=False)
    assert (outcome.done, outcome.decision, stage.requests) == ("promoted", None, {})


def test_somebody_elses_canary_gives_way() -> None:
    stage = Memory(stable=V1, canary=V3, previous=V1, weight=0.1)
    assert run(stage).runs == V2
    assert stage.get_state() == State(V2)


def test_a_promotion_that_a_lost_bot_began_is_finished_first() -> None:
    stage = Memory(canary=V3, previous=V1, weight=1.0)
    said: list[str] = []
    outcome = run(stage, said=said)
    assert said[0] == "finishing the promotion of v3"
    assert (outcome.done, outcome.previous, outcome.runs) == ("promoted", V3, V2)


def test_a_service_that_tells_nothing_is_judged_by_the_policy_in_the_end() -> None:
    outcome = run(Memory(stable=V1, silent=True), policy=replace(POLICY, quiet="promote"))
    assert outcome.done == "promoted"
    assert "only 0 of 100 requests" in outcome.words
    assert outcome.seconds == POLICY.seconds


def test_a_version_that_nobody_can_judge_yet_is_paused_and_keeps_its_share() -> None:
    stage = Memory(stable=V1, silent=True)
    outcome = run(stage)
    assert (outcome.done, outcome.runs, outcome.succeeded) == ("paused", V1, False)
    assert "cannot tell: only 0 of 100 requests came in 60 s" in outcome.words
    assert stage.get_state() == State(V1, V2, V1)
    assert stage.weight == POLICY.share


def test_a_hold_pauses_a_version_at_the_next_look_and_also_one_that_would_be_promoted_then() -> None:
    stage = Memory(stable=V1)
    outcome = run(stage, halt=lambda: "production is on hold")
    assert (outcome.done, outcome.runs, outcome.words) == ("paused", V1, "production is on hold")
    assert (stage.get_state(), stage.weight, outcome.seconds) == (State(V1, V2, V1), POLICY.share, 1)
    assert outcome.watch is not None
    stage.clock = 5000.0
    stage.requests["canary"] = 1000
    again = run(stage, paused=outcome.watch, halt=lambda: "production is on hold")
    assert (again.done, again.words) == ("paused", "production is on hold")


def test_a_hold_keeps_no_version_that_harms_callers() -> None:
    stage = Memory(stable=V1, failing=frozenset({"v2"}))
    held = iter([None, "production is on hold"])
    assert run(stage, halt=lambda: next(held)).done == "rolled back"


def paused_stage() -> tuple[Memory, Watch]:
    """A stage with a version that was paused after 90 requests, and what its watch had seen."""
    stage = Memory(stable=V1)
    outcome = run(stage, policy=replace(POLICY, requests=100, seconds=3))
    assert (outcome.done, stage.requests["canary"]) == ("paused", 120)
    assert outcome.watch is not None
    return stage, msgspec.json.decode(msgspec.json.encode(outcome.watch), type=Watch)


def test_a_paused_version_is_judged_by_all_that_came_since_it_began_without_waiting() -> None:
    stage, watch = paused_stage()
    stage.clock = 5000.0
    said: list[str] = []
    outcome = run(stage, paused=watch, said=said)
    assert (outcome.done, outcome.runs, outcome.seconds) == ("promoted", V2, 0)
    assert "nothing speaks against it in 120 requests and 5000 s" in outcome.words
    assert said[0].startswith("judging it again by all that came since 1970-01-01")
    assert stage.get_state() == State(V2)


def test_a_paused_version_that_went_wrong_meanwhile_is_taken_back() -> None:
    stage, watch = paused_stage()
    stage.failing = frozenset({"v2"})
    assert run(stage, paused=watch).done == "rolled back"
    assert stage.get_state() == State(V1)


def test_a_person_ends_a_pause_by_a_word_and_the_version_takes_over() -> None:
    stage, _ = paused_stage()
    outcome = run(stage, watch=False)
    assert (outcome.done, outcome.runs, outcome.decision) == ("promoted", V2, None)
    assert (stage.get_state(), stage.weight) == (State(V2), 0)


def test_a_paused_version_that_somebody_removed_is_watched_from_the_beginning() -> None:
    stage, watch = paused_stage()
    stage.canary = None
    said: list[str] = []
    assert run(stage, paused=watch, said=said).done == "promoted"
    assert said[0] == "watching it with 10% of the requests"


def test_a_newer_version_takes_the_place_of_a_paused_one() -> None:
    stage, _ = paused_stage()
    assert run(stage, V3).runs == V3
    assert stage.get_state() == State(V3)


@pytest.mark.parametrize("failing", [False, True], ids=["good", "bad"])
@pytest.mark.parametrize("after", [False, True], ids=["before it is done", "once it is done"])
@pytest.mark.parametrize("dies", range(8))
def test_killed_at_any_change_and_run_again_it_ends_in_the_same_state(
    dies: int, after: bool, failing: bool
) -> None:
    bad = frozenset({"v2"}) if failing else frozenset()
    stage = Memory(stable=V1, failing=bad, dies=dies, after=after)
    try:
        run(stage)
    except Killed:
        stage.dies = None
        run(stage)
    assert stage.get_state() == State(V1 if failing else V2)
    assert stage.weight == 0


def test_where_it_is_wanted_a_version_is_a_shadow_first_and_then_a_canary() -> None:
    stage = Memory(stable=V1)
    said: list[str] = []
    outcome = run(stage, shadow=True, said=said)
    assert (outcome.done, outcome.runs) == ("promoted", V2)
    assert said[0] == "watching it with copies of the requests"
    assert "as a shadow: nothing speaks against it in 270 requests and 1 s" in said
    assert "watching it with 10% of the requests" in said
    assert stage.get_state() == State(V2)


def test_a_bad_shadow_is_taken_out_before_anybody_got_its_answer() -> None:
    stage = Memory(stable=V1, failing=frozenset({"v2"}))
    outcome = run(stage, shadow=True)
    assert (outcome.done, outcome.runs) == ("rolled back", V1)
    assert outcome.words.startswith("as a shadow: errors: 33")
    assert (stage.get_state(), stage.requests.get("canary")) == (State(V1), None)


def test_a_shadow_that_does_not_start_is_taken_out() -> None:
    stage = Memory(stable=V1, broken=frozenset({"v2"}))
    assert run(stage, shadow=True).done == "rolled back"
    assert stage.get_state() == State(V1)


def test_a_shadow_that_nobody_can_judge_yet_is_paused_and_goes_on_as_a_shadow() -> None:
    stage = Memory(stable=V1, silent=True)
    outcome = run(stage, shadow=True)
    assert (outcome.done, stage.get_state()) == ("paused", State(V1, shadow=V2))
    assert outcome.words.startswith("as a shadow: cannot tell: only 0 of 100")
    assert (outcome.watch is not None and outcome.watch.role, stage.weight) == ("shadow", 0)
    stage.silent = False
    again = run(stage, shadow=True, paused=outcome.watch)
    assert (again.done, stage.get_state()) == ("promoted", State(V2))


@pytest.mark.parametrize("watch", [True, False], ids=["not wanted any more", "by a person's word"])
def test_a_shadow_that_is_not_wanted_any_more_goes(watch: bool) -> None:
    stage = Memory(stable=V1, shadow=V2)
    assert run(stage, watch=watch).done == "promoted"
    assert stage.get_state() == State(V2)


def test_a_newer_version_takes_the_place_of_a_shadow() -> None:
    stage = Memory(stable=V1, shadow=V3)
    assert run(stage, shadow=True).runs == V2
    assert stage.get_state() == State(V2)


@pytest.mark.parametrize("failing", [False, True], ids=["good", "bad"])
@pytest.mark.parametrize("after", [False, True], ids=["before it is done", "once it is done"])
@pytest.mark.parametrize("dies", range(10))
def test_killed_at_any_change_with_a_shadow_and_run_again_it_ends_in_the_same_state(
    dies: int, after: bool, failing: bool
) -> None:
    bad = frozenset({"v2"}) if failing else frozenset()
    stage = Memory(stable=V1, failing=bad, dies=dies, after=after)
    try:
        run(stage, shadow=True)
    except Killed:
        stage.dies = None
        run(stage, shadow=True)
    assert stage.get_state() == State(V1 if failing else V2)
    assert stage.weight == 0


def contract(holdout: list[int], grid: list[float]) -> bytes:
    return json.dumps({"title": "x", "grid": grid, "holdout": holdout}).encode()


def test_the_shift_that_the_review_saw_is_read_from_both_contracts() -> None:
    grid = [0.5, 1.0]
    assert measure_reviewed_shift(contract([90, 10, 0], grid), contract([90, 10, 0], grid)) == 0
    assert measure_reviewed_shift(contract([90, 10, 0], grid), contract([10, 90, 0], grid)) == pytest.approx(
        3.4, abs=0.1
    )
    assert measure_reviewed_shift(contract([90, 10, 0], grid), contract([9, 1, 0], [0.4, 1.0])) == 0
    assert measure_reviewed_shift(None, contract([9, 1, 0], grid)) == 0
    assert measure_reviewed_shift(b"{}", contract([9, 1, 0], grid)) == 0


def name_classes(called: dict[str, int]) -> bytes:
    about = {"task": "multiclass", "grid": [1.0], "holdout": [1, 0]}
    return json.dumps({**about, "classes": [*called], "called": [*called.values()]}).encode()


def test_how_differently_the_review_saw_rows_called_is_read_from_both_contracts_by_the_classes_names() -> (
    None
):
    before = name_classes({"a": 90, "b": 10})
    assert measure_reviewed_classes(before, name_classes({"b": 10, "a": 90})) == 0
    assert measure_reviewed_classes(before, name_classes({"a": 10, "b": 90})) == pytest.approx(3.4, abs=0.1)
    assert measure_reviewed_classes(before, name_classes({"a": 45, "b": 5, "c": 50})) > 1
    assert measure_reviewed_classes(before, contract([9, 1], [1.0])) == 0
    assert measure_reviewed_classes(before, None) == 0
    assert (
        measure_reviewed_classes(before, b'{"grid":[1.0],"holdout":[1],"classes":["a"],"called":[1,2]}') == 0
    )
    assert measure_reviewed_shift(before, contract([9, 1], [1.0])) == 0  # a score is another thing there


@pytest.mark.slow
@given(
    st.dictionaries(
        st.text(max_size=20),
        st.builds(
            ServiceCounters,
            st.dictionaries(st.sampled_from([200, 422, 500, 503]), st.integers(0, 10**9)).map(Counter),
            seconds=st.dictionaries(st.sampled_from([0.0005, 0.1, 10.0, math.inf]), st.integers(0, 10**9)),
            scores=st.dictionaries(st.floats(0, 1), st.integers(0, 10**9)),
            lost=st.integers(0, 10**6),
        ),
        max_size=4,
    )
)
def test_what_a_watch_began_with_survives_its_pause_unchanged(counters: dict[str, ServiceCounters]) -> None:
    watch = Watch(since=1.5, watched=Watch.pack(counters), stable=Watch.pack(counters))
    again = msgspec.json.decode(msgspec.json.encode(watch), type=Watch)
    assert again.unpack("watched") == again.unpack("stable") == counters
