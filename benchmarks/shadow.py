"""Measure what callers feel of a shadow: how long answers take through the real proxy, with and without one.

`python benchmarks/shadow.py` runs deploy/proxy with this machine's HAProxy before a service that answers after 2 ms,
and beside it in turn no shadow, a quick, a slow and a hanging one, and one that was killed, many times. Callers ask so
many times a second, whatever the answers take. A ratio is the median over the rounds of a figure divided by the one
without a shadow in the same round: what else the machine does is in both. `--rate 0` asks as often as answers come:
then callers, proxy, service and shadow share a machine that is full, and copies cost what their processor time costs.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "<<cookiecutter.project>>"), str(ROOT / "tests")]

from fixtures import local_proxy  # noqa: E402
from fixtures.local_proxy import LocalProxy  # noqa: E402

ANSWER = 0.002
SHADOWS: dict[str, float | None] = {
    "none": None,
    "quick": 0.0,
    "slow (300 ms)": 0.3,
    "hanging": math.inf,
    "killed": None,
}


@contextlib.contextmanager
def play(proxy: LocalProxy, name: str) -> Iterator[None]:
    """Play the shadow of this name while the block runs."""
    seconds = SHADOWS[name]
    if name == "killed":
        with proxy.play_shadow(0.0):
            proxy.call(64)
        yield
    elif seconds is None:
        yield
    else:
        with proxy.play_shadow(seconds):
            yield


def measure(proxy: LocalProxy, requests: int, rate: float) -> dict[str, float]:
    """Call for a while: answers a second, and milliseconds."""
    since = time.perf_counter()
    found = proxy.call(requests, connections=16, rate=rate or None)
    spent = time.perf_counter() - since
    if found.failed:
        raise SystemExit(f"{len(found.failed)} callers got no answer: {found.failed[:3]}")
    return {
        "answers/s": len(found.seconds) / spent,
        "p50 ms": 1000 * found.find_quantile(0.5),
        "p99 ms": 1000 * found.find_quantile(0.99),
    }


def main() -> None:
    """Measure every shadow, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--requests", type=int, default=2000, help="in each turn (default: 2000)")
    parser.add_argument("--rate", type=float, default=400, help="requests a second (default: 400)")
    arguments = parser.parse_args()
    if local_proxy.HAPROXY is None:
        raise SystemExit("ERROR: haproxy is not installed; it is a package of Debian")
    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in SHADOWS}
    with tempfile.TemporaryDirectory() as folder, local_proxy.run_proxy(Path(folder), ANSWER) as proxy:
        proxy.call(2000, connections=16)
        for number in range(arguments.rounds):
            names = list(SHADOWS)
            for name in names[number % len(names) :] + names[: number % len(names)]:
                with play(proxy, name):
                    rounds[name].append(measure(proxy, arguments.requests, arguments.rate))
    print("| shadow | answers/s | p50 ms | p99 ms | p99 beside none (all rounds) |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for name, found in rounds.items():
        middle = {key: statistics.median(one[key] for one in found) for key in found[0]}
        ratios = sorted(
            own["p99 ms"] / none["p99 ms"] for own, none in zip(found, rounds["none"], strict=True)
        )
        shown = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
        print(
            f"| {name} | {middle['answers/s']:,.0f} | {middle['p50 ms']:.1f} | {middle['p99 ms']:.1f} | {shown} |"
        )


if __name__ == "__main__":
    main()
