"""The shadow gets copies of what callers ask, and callers feel nothing of it, whatever it does: with a real HAProxy."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator

import pytest

from fixtures import local_proxy
from fixtures.local_proxy import LocalProxy, ask_seen

pytestmark = pytest.mark.skipif(
    local_proxy.HAPROXY is None, reason="haproxy is not installed: it is a package of Debian"
)
BODY = json.dumps([{"carrier": "UA", "hour": 12}]).encode()


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalProxy]:
    with local_proxy.run_proxy(tmp_path_factory.mktemp("proxy")) as found:
        yield found


def wait_for_copies(proxy: LocalProxy, wanted: int) -> int:
    """How many copies the shadow has, once it has so many or time is up."""
    end = time.monotonic() + 10
    while (found := int(ask_seen(proxy.shadow)["requests"])) < wanted and time.monotonic() < end:
        time.sleep(0.05)
    return found


def test_without_a_shadow_nothing_is_copied_and_nothing_is_dropped(proxy: LocalProxy) -> None:
    before = proxy.count_dropped()
    assert proxy.call(200).failed == []
    assert proxy.count_dropped() == before


def test_a_shadow_gets_the_same_body_and_key_and_its_answer_goes_nowhere(proxy: LocalProxy) -> None:
    with proxy.play_shadow(0.0):
        asked = ask_seen(proxy.stable)["requests"]
        assert proxy.call(40, connections=2, body=BODY).failed == []
        assert wait_for_copies(proxy, 40) == 40
        assert ask_seen(proxy.stable)["requests"] == asked + 40
        last = ask_seen(proxy.shadow)
        assert last["body"] == BODY.decode()
        assert last["head"].startswith("POST /predict ")
        assert "content-type: application/json" in last["head"].lower()


def test_only_requests_for_predictions_are_copied(proxy: LocalProxy) -> None:
    with proxy.play_shadow(0.0):
        assert ask_seen(proxy.port)["requests"] >= 0
        assert ask_seen(proxy.shadow)["requests"] == 0


@pytest.mark.parametrize("seconds", [0.3, math.inf], ids=["slow", "hanging"])
def test_callers_feel_nothing_of_a_shadow_that_is_slow_or_hangs(proxy: LocalProxy, seconds: float) -> None:
    before = proxy.count_dropped()
    with proxy.play_shadow(seconds):
        measured = proxy.call(2000)
        dropped = proxy.count_dropped() - before
    assert measured.failed == []
    assert len(measured.seconds) == 2000
    # Far below what one copy takes: nobody waited for one.
    assert measured.find_quantile(0.99) < 0.2
    # What is under way and what waits is bounded; the rest is not kept.
    assert dropped >= 2000 - 64 - 8 * 20


def test_a_shadow_that_dies_under_load_costs_nobody_an_answer(proxy: LocalProxy) -> None:
    with proxy.play_shadow(0.01):
        first = proxy.call(400)
    second = proxy.call(400)
    assert (first.failed, second.failed) == ([], [])


def test_a_body_that_the_proxy_does_not_hold_whole_is_answered_and_not_copied(proxy: LocalProxy) -> None:
    before = proxy.count_dropped()
    with proxy.play_shadow(0.0):
        assert proxy.call(4, connections=1, body=b"[" + b" " * 400_000 + b"]").failed == []
        assert ask_seen(proxy.shadow)["requests"] == 0
    assert proxy.count_dropped() == before + 4


def test_the_proxy_keeps_few_copies_in_memory_under_large_bodies_and_a_hanging_shadow(
    proxy: LocalProxy,
) -> None:
    with proxy.play_shadow(math.inf):
        assert proxy.call(400, body=b"[" + b" " * 100_000 + b"]").failed == []
        said = proxy.ask_admin("show info")
        pools = next(line for line in said.splitlines() if line.startswith("PoolAlloc_MB"))
    assert int(pools.partition(": ")[2]) < 150
