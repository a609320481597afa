"""When a new version is promoted, watched longer, paused, or rolled back, and how sure that is."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bots.deploy import prometheus
from bots.deploy.canary import CanaryDecision, CanaryObservation, decide_canary
from bots.deploy.prometheus import MetricsError, ServiceCounters
from bots.deploy.watch import Watch
from bots.settings import Canary
from bots.stats import significance

POLICY = Canary(requests=500, seconds=600)
TIMES = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, math.inf)
GRID = (*(round(step * 0.05, 2) for step in range(1, 21)), math.inf)
SIMULATIONS = 400


def cumulated(values: np.ndarray, bounds: tuple[float, ...]) -> dict[float, int]:
    return {bound: int((values <= bound).sum()) for bound in bounds}


def reading(
    requests: int,
    *,
    errors: int = 0,
    refused: int = 0,
    seconds: np.ndarray | None = None,
    scores: np.ndarray | None = None,
    lost: int = 0,
    classes: dict[str, int] | None = None,
) -> ServiceCounters:
    """So many requests, each answered in 2 ms with a score of one half, unless told otherwise."""
    answered = requests - errors - refused
    return ServiceCounters(
        Counter({200: answered, 500: errors, 422: refused}),
        cumulated(np.full(requests, 0.002) if seconds is None else seconds, TIMES),
        cumulated(np.full(answered, 0.5) if scores is None else scores, GRID),
        lost,
        classes or {},
    )


def judged(
    canary: ServiceCounters, stable: ServiceCounters | None = None, policy: Canary = POLICY, **seen: Any
) -> CanaryDecision:
    return decide_canary(
        CanaryObservation(canary, stable or reading(4500), **{"seconds": 60.0, **seen}), policy
    )


def test_a_version_like_the_running_one_is_promoted_once_enough_requests_came() -> None:
    early, late = judged(reading(499)), judged(reading(500))
    assert (early.action, early.words) == ("wait", "499 of 500 requests in 60 s")
    assert late.action == "promote"
    assert {check.name for check in late.checks} == {
        "alive",
        "prediction log",
        "errors",
        "refusals",
        "p95 latency",
        "p99 latency",
        "predictions",
    }


def test_a_version_that_calls_the_same_requests_otherwise_is_taken_back() -> None:
    running = reading(4500, classes={"a": 2250, "b": 1800, "c": 450})
    alike = judged(reading(500, classes={"a": 250, "b": 200, "c": 50}), running)
    assert alike.action == "promote"
    assert [check.passed for check in alike.checks if check.name == "classes"] == [True]
    moved = reading(500, classes={"a": 50, "b": 200, "c": 250})
    found = judged(moved, running)
    assert found.action == "roll back"
    assert found.words.startswith("classes: stability index")
    assert judged(moved, running, allowed_called=2.0).action == "promote"


def test_a_class_that_only_one_version_has_counts_as_never_called_by_the_other() -> None:
    running = reading(4500, classes={"a": 2250, "b": 2250})
    found = judged(reading(500, classes={"a": 150, "b": 150, "new": 200}), running)
    assert found.action == "roll back"
    assert judged(reading(500, classes={"a": 250, "b": 250, "new": 0}), running).action == "promote"


def test_whether_one_version_with_classes_and_one_without_agree_cannot_be_told() -> None:
    found = judged(reading(500, classes={"a": 500}), reading(4500), seconds=600.0)
    assert found.action == "pause"
    assert "classes: only one of the two versions has several classes" in found.words


@given(st.integers(0, 2**31), st.integers(2, 100))
@settings(max_examples=40, deadline=None)
def test_versions_that_call_alike_are_seldom_told_apart_however_many_the_classes(
    seed: int, classes: int
) -> None:
    rng = np.random.default_rng(seed)
    shares = rng.dirichlet(np.full(classes, 0.5))
    own, running = (dict(enumerate(rng.multinomial(size, shares).tolist())) for size in (500, 4500))
    counted = [{str(name): count for name, count in one.items()} for one in (own, running)]
    found = judged(reading(500, classes=counted[0]), reading(4500, classes=counted[1]))
    assert found.action != "roll back"


@pytest.mark.parametrize("quiet", ["promote", "roll back", "pause"])
def test_when_too_few_requests_came_in_time_the_policy_decides(quiet: Any) -> None:
    policy = Canary(quiet=quiet, seconds=60)
    found = judged(reading(3), policy=policy, seconds=60.0)
    assert found.action == quiet
    assert "only 3 of 500 requests came in 60 s" in found.words


def test_too_few_requests_to_tell_pause_a_version_where_nobody_chose_otherwise() -> None:
    found = judged(reading(3), policy=Canary(seconds=60), seconds=60.0)
    assert (found.action, found.words) == ("pause", "cannot tell: only 3 of 500 requests came in 60 s")


def test_a_rise_that_matters_and_may_be_chance_is_watched_to_the_end_and_then_paused() -> None:
    few = reading(500, errors=4), reading(4500, errors=3)
    early, late = judged(*few), judged(*few, seconds=600.0)
    assert early.action == "wait"
    assert late.action == "pause"
    assert late.words == (
        "cannot tell after 500 requests: errors: 0.80% of 500 requests, 0.07% of 4500 at the running version; it may "
        "be chance"
    )
    assert [check.passed for check in late.checks if check.name == "errors"] == [None]


def test_what_was_open_with_few_requests_is_decided_with_more() -> None:
    doubled = judged(reading(1000, errors=6), reading(9000, errors=6), judged=1, judged_at=500, seconds=300.0)
    assert doubled.action == "wait"
    better = judged(reading(1000, errors=4), reading(9000, errors=6), judged=1, judged_at=500, seconds=300.0)
    assert better.action == "promote"
    worse = judged(
        reading(2000, errors=40), reading(18000, errors=12), judged=2, judged_at=1000, seconds=300.0
    )
    assert worse.action == "roll back"


def test_a_paused_version_is_judged_again_only_with_twice_the_requests() -> None:
    seen: dict[str, Any] = {"judged": 2, "judged_at": 800, "watches": 3, "last": True, "seconds": 90_000.0}
    same = judged(reading(1599), **seen)
    assert same.action == "pause"
    assert "judged with 800: judged again with twice as many" in same.words
    assert judged(reading(1600), **seen).action == "promote"


def test_quiet_promote_does_not_let_a_doubtful_version_pass() -> None:
    policy = Canary(quiet="promote", seconds=60)
    found = judged(reading(40, errors=1), reading(400), policy, seconds=60.0)
    assert found.action == "pause"
    assert "errors: 2.50% of 40 requests" in found.words


def test_errors_end_the_watch_at_once_with_their_figures() -> None:
    found = judged(reading(40, errors=8))
    assert found.action == "roll back"
    assert found.words == "errors: 20.00% of 40 requests, 0.00% of 4500 at the running version"


def test_errors_that_the_running_version_has_as_well_are_not_the_new_ones() -> None:
    assert judged(reading(500, errors=100), reading(4500, errors=900)).action == "promote"


def test_a_rise_of_errors_that_is_too_small_to_matter_is_let_pass() -> None:
    policy = Canary(requests=100_000, errors=0.01)
    found = judged(reading(100_000, errors=500), reading(900_000, errors=900), policy)
    assert found.action == "promote"


def test_callers_that_are_refused_more_often_speak_against_a_version() -> None:
    found = judged(reading(500, refused=100), reading(4500, refused=20))
    assert found.action == "roll back"
    assert found.words.startswith("refusals: 20.00%")


def test_a_slow_version_is_rolled_back_with_both_quantiles() -> None:
    found = judged(reading(500, seconds=np.full(500, 0.08)))
    assert found.action == "roll back"
    assert "p95 latency: 98 ms, 2 ms at the running version, 22 ms allowed" in found.words


def test_a_shadow_is_not_judged_by_its_latency() -> None:
    found = judged(reading(500, seconds=np.full(500, 0.08)), shadow=True)
    assert found.action == "promote"
    assert not [check for check in found.checks if "latency" in check.name]


def test_a_slow_tail_is_found_even_when_the_rest_is_quick() -> None:
    seconds = np.where(np.arange(500) < 25, 0.2, 0.002)
    found = judged(reading(500, seconds=seconds))
    assert "p99 latency" in found.words
    assert "p95" not in found.words


def test_slower_by_less_than_the_floor_is_let_pass() -> None:
    assert judged(reading(500, seconds=np.full(500, 0.02))).action == "promote"


def test_shifted_predictions_are_rolled_back_unless_the_review_saw_the_shift() -> None:
    rng = np.random.default_rng(1)
    before, after = rng.beta(2, 5, 4500), rng.beta(5, 2, 500)
    old = reading(4500, scores=before)
    new = reading(500, scores=after)
    counts = [prometheus.count_bins(cumulated(rng.beta(a, 7 - a, 50_000), GRID)) for a in (5, 2)]
    found = judged(new, old)
    assert found.action == "roll back"
    assert found.words.startswith("predictions: stability index")
    assert judged(new, old, allowed=significance.compute_stability_index(*counts)).action == "promote"


@pytest.mark.parametrize(
    ("seen", "why"),
    [({"restarts": 1}, "alive: it was restarted once"), ({"alive": False}, "alive: it does not run")],
)
def test_a_version_that_does_not_live_is_rolled_back_whatever_its_answers(seen: Any, why: str) -> None:
    found = judged(reading(500), **seen)
    assert found.action == "roll back"
    assert found.words.startswith(why)


def test_lost_log_entries_count_unless_both_versions_lose_them() -> None:
    assert judged(reading(10, lost=1)).words.startswith(
        "prediction log: 1 log entries lost, 0 by the running"
    )
    assert judged(reading(500, lost=1), reading(4500, lost=9)).action == "promote"


def test_without_a_running_version_to_compare_with_nobody_can_tell() -> None:
    found = judged(reading(500), ServiceCounters(), seconds=600.0)
    assert found.action == "pause"
    assert "no requests to compare (500 and 0)" in found.words
    assert {check.name for check in found.checks if check.passed is None} >= {"errors", "p95 latency"}


def simulated(
    rng: np.random.Generator, requests: int, shift: float = 0.0, slower: float = 1.0
) -> ServiceCounters:
    errors = int(rng.binomial(requests, 0.01))
    scores = np.clip(rng.beta(2, 4, requests - errors) + shift, 0, 1)
    return reading(
        requests, errors=errors, seconds=rng.lognormal(-5.5, 0.8, requests) * slower, scores=scores
    )


def rate(decision: str, requests: int, **change: float) -> float:
    """How often it comes to this decision."""
    rng = np.random.default_rng(7)
    found = [
        judged(simulated(rng, requests, **change), simulated(rng, 9 * requests)).action == decision
        for _ in range(SIMULATIONS)
    ]
    return float(np.mean(found))


def test_an_equal_version_is_rolled_back_no_more_often_than_the_policy_risks() -> None:
    # Three standard errors of a rate of `risk` in so many simulations.
    noise = 3 * math.sqrt(POLICY.risk * (1 - POLICY.risk) / SIMULATIONS)
    assert rate("roll back", 500) <= POLICY.risk + noise


@pytest.mark.slow
def test_an_equal_version_is_still_paused_at_the_end_in_few_roll_outs() -> None:
    rng = np.random.default_rng(11)
    found = []
    for _ in range(SIMULATIONS):
        first = simulated(rng, 500), simulated(rng, 4500)
        decision = judged(*first)
        found.append(decision.action)
        if decision.action == "wait":
            rest = simulated(rng, 1500), simulated(rng, 13_500)
            canary, stable = (
                prometheus.count_since({}, {"a": a, "b": b}) for a, b in zip(first, rest, strict=True)
            )
            found[-1] = judged(canary, stable, judged=1, judged_at=500, seconds=600.0).action
    print({action: found.count(action) / SIMULATIONS for action in set(found)})
    assert found.count("roll back") <= 0.02 * SIMULATIONS
    assert found.count("pause") <= 0.05 * SIMULATIONS


@pytest.mark.slow
def test_an_equal_version_looked_at_for_ever_is_rolled_back_no_more_often_than_the_policy_risks() -> None:
    rng = np.random.default_rng(5)
    rolled = 0
    for _ in range(SIMULATIONS):
        canary, stable, at = reading(0), reading(0), 0
        for look in range(5):
            more = 500 * 2**look - canary.requests
            canary = prometheus.count_since({}, {"a": canary, "b": simulated(rng, more)})
            stable = prometheus.count_since({}, {"a": stable, "b": simulated(rng, 9 * more)})
            found = judged(canary, stable, judged=look, judged_at=at, watches=look + 1, last=True)
            at = canary.requests
            rolled += found.action == "roll back"
            if found.action == "roll back":
                break
    noise = 3 * math.sqrt(POLICY.risk * (1 - POLICY.risk) / SIMULATIONS)
    assert rolled / SIMULATIONS <= POLICY.risk + noise


def test_small_samples_do_not_cry_wolf() -> None:
    policy = Canary(requests=30, shift=0.0)
    rng = np.random.default_rng(3)
    found = [judged(simulated(rng, 30), simulated(rng, 300), policy).action for _ in range(SIMULATIONS)]
    assert found.count("roll back") <= 0.03 * SIMULATIONS


@pytest.mark.slow
@pytest.mark.parametrize("change", [{"shift": 0.15}, {"slower": 12.0}], ids=str)
def test_a_regression_that_matters_is_found_in_95_of_100_roll_outs(change: dict[str, float]) -> None:
    assert rate("roll back", 500, **change) >= 0.95


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.sampled_from([0.001, 0.004, 0.02, 0.09, 0.3]), min_size=1, max_size=60),
    st.sampled_from([0.5, 0.95, 0.99]),
)
def test_a_quantile_lies_in_the_bin_that_holds_it(times: list[float], q: float) -> None:
    found = prometheus.estimate_quantile(cumulated(np.array(times), TIMES), q)
    exact = float(np.quantile(times, q, method="inverted_cdf"))
    above = min(bound for bound in TIMES if bound >= exact)
    assert found <= above
    assert found >= max((bound for bound in TIMES if bound < exact), default=0.0)


TEXT = """\
# HELP model_requests_total Requests answered
# TYPE model_requests_total counter
model_requests_total{route="/predict",status="200"} 30.0
model_requests_total{route="/predict",status="503"} 2.0
model_requests_total{route="/health/ready",status="200"} 99.0
model_request_seconds_bucket{le="0.001",route="/predict"} 10.0
model_request_seconds_bucket{le="+Inf",route="/predict"} 32.0
model_request_seconds_bucket{le="0.001",route="/model"} 7.0
model_prediction_score_bucket{le="0.5"} 12.0
model_prediction_score_bucket{le="+Inf"} 30.0
model_log_lost_total 1.0
model_class_predictions_total{class="say \\"hi\\"\u2028{x}"} 12.0
model_class_predictions_total{class="b"} 0.0
model_info{onnx="sha256:aa",version="a \\"quoted\\" {one}"} 1.0
"""


def test_only_predictions_are_read_of_what_a_service_says() -> None:
    found = prometheus.parse_metrics(TEXT)
    assert (found.requests, found.answered, found.errors, found.lost) == (32, 30, 2, 1)
    assert found.seconds == {0.001: 10, math.inf: 32}
    assert found.classes == {'say "hi"\u2028{x}': 12, "b": 0}
    assert prometheus.count_bins(found.scores) == [12, 18]


def test_what_is_no_metrics_text_is_named() -> None:
    with pytest.raises(MetricsError, match="at '<html>'"):
        prometheus.parse_metrics("<html>\n")


def test_an_instance_that_started_anew_counts_from_its_start() -> None:
    before, now = {"a": reading(100), "b": reading(50)}, {"a": reading(130), "b": reading(7), "c": reading(5)}
    assert prometheus.count_since(before, now).requests == 30 + 7 + 5


def test_classes_are_counted_since_a_look_and_survive_a_pause() -> None:
    before, now = {"a": reading(10, classes={"x": 4, "y": 6})}, {"a": reading(15, classes={"x": 9, "y": 6})}
    watch = Watch(since=0.0, watched=Watch.pack(before), stable={})
    stored = msgspec.json.decode(msgspec.json.encode(watch), type=Watch)
    assert prometheus.count_since(stored.unpack("watched"), now).classes == {"x": 5, "y": 0}


def test_an_empty_bin_stays_a_bin() -> None:
    found = prometheus.count_since({"a": reading(0)}, {"a": reading(5)})
    assert tuple(found.seconds) == TIMES
    assert found.seconds[0.001] == 0
