"""Measure what a second replica brings: answers a second through the real proxy, of one container and of two.

`python benchmarks/replicas.py` needs what the tests of a real engine need (`tests/fixtures/docker_engine.py`). It
deploys the real service with a model of real flights, and then one whose model waits 60 ms, scales each to one
container and to two in turn, and calls as fast as answers come. A ratio is of two turns that follow each other: what
else the machine does is in both. Callers, proxy and containers share this machine's cores, so a model that computes
gains only where cores are left.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "<<cookiecutter.project>>"), str(ROOT / "tests")]

import docker  # noqa: E402

from bots.deploy import image, rollout, smoke_test  # noqa: E402
from bots.deploy.compose import Compose  # noqa: E402
from bots.deploy.target import Version  # noqa: E402
from bots.layout import Layout  # noqa: E402
from bots.settings import Canary, Replicas  # noqa: E402
from fixtures import docker_engine, versions  # noqa: E402

MODELS: dict[str, Callable[[Path], None] | None] = {"computes": None, "waits 60 ms": versions.slow}


def ship(root: Path, registry: str, name: str, change: Callable[[Path], None] | None) -> Version:
    """Build a variant of the service and push it."""
    here = versions.make_variant(root, root.parent / name, change) if change else root
    built = image.build_image(
        here,
        versions.make_lineage(here, name),
        f"{registry}/replicas:{name}",
        title="late-flights",
        onnx=Layout().onnx,
        tell=print,
    )
    return Version(image.push_image(built.reference, tell=print), name)


def measure(load: versions.Load, seconds: float) -> float:
    """Answers a second, of callers that are under way."""
    before, since = load.answers["200"], time.perf_counter()
    time.sleep(seconds)
    return (load.answers["200"] - before) / (time.perf_counter() - since)


def compare(target: Compose, load: versions.Load, rounds: int, seconds: float) -> list[tuple[float, float]]:
    """Answers a second of one container and of two, in turn."""
    found = []
    for _ in range(rounds):
        pair = []
        for number in (1, 2):
            target.scale(number)
            pair.append(measure(load, seconds))
        found.append((pair[0], pair[1]))
    return found


def main() -> None:
    """Measure both models, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5, help="of each turn (default: 5)")
    parser.add_argument("--callers", type=int, default=8)
    arguments = parser.parse_args()
    rows = []
    with docker_engine.open_engine() as engine, tempfile.TemporaryDirectory() as folder:
        port = docker_engine.find_free_port()
        os.environ.update(engine.environ, PORT=str(port))
        root = versions.make_checkout(Path(folder) / "checkout")
        sample = smoke_test.load_sample(root, Layout(), 50)
        with contextlib.closing(docker.from_env(timeout=120)) as client:
            deploy = ROOT / "<<cookiecutter.project>>" / "deploy"
            target = Compose(deploy, "replicas-production", client, tell=print, replicas=Replicas(most=2))
            try:
                for number, (name, change) in enumerate(MODELS.items()):
                    version = ship(root, engine.registry, f"v{number}", change)
                    rollout.roll_out(target, version, Canary(), watch=False, tell=print)
                    with versions.Load(port, sample.rows, callers=arguments.callers, pause=0.0) as load:
                        found = compare(target, load, arguments.rounds, arguments.seconds)
                    if load.failed:
                        raise SystemExit(f"ERROR: callers got {load.failed}")
                    rows.append((name, found))
            finally:
                for one in client.containers.list(
                    all=True, filters={"label": "com.docker.compose.project=replicas-production"}
                ):
                    one.remove(force=True, v=True)
    print(
        f"{os.cpu_count()} cores, {arguments.callers} callers, {arguments.rounds} rounds of {arguments.seconds:g} s"
    )
    print("| model | one, answers/s | two, answers/s | ratio (all rounds) |")
    print("| --- | ---: | ---: | ---: |")
    for name, found in rows:
        one, two = (statistics.median(pair[index] for pair in found) for index in (0, 1))
        ratios = sorted(pair[1] / pair[0] for pair in found)
        shown = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
        print(f"| {name} | {one:,.0f} | {two:,.0f} | {shown} |")


if __name__ == "__main__":
    main()
