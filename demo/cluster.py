"""Prove on a Kubernetes cluster what deploy/kubernetes/ promises: scaling by load, evictions, a canary, the way back.

Callers ask without a pause all the while, and no request of theirs may fail. It needs kubectl with a cluster of one
node that measures its pods' use and pulls from `--registry`; `.github/workflows/cluster.yaml` makes one.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "<<cookiecutter.project>>"))

from bots.deploy.kubernetes import Kubernetes
from bots.deploy.target import Version
from demo.__main__ import ROOT, DemoError, bake, console, run, train_main

NAMESPACE = "late-flights-production"
LEAST, MOST = 3, 12
"""The pods that the overlay `production` asks for."""
SECONDS_OF_LOAD = 600
SCALED_OUT_WITHIN = 300
SCALED_IN_WITHIN = 900
LOAD = """
import json, os, threading, time, urllib.request
body, end = os.environ["ROW"].encode(), time.monotonic() + float(os.environ["SECONDS"])
counts, lock = {"asked": 0, "failed": 0, "said": []}, threading.Lock()
def ask():
    while time.monotonic() < end:
        said = None
        try:
            # A connection of its own for each request, so that the Service chooses a pod each time.
            request = urllib.request.Request("http://model/predict", body, {"Content-Type": "application/json"})
            with urllib.request.urlopen(request, timeout=10) as answer:
                answer.read()
        except OSError as error:
            said = str(error)
        with lock:
            counts["asked"] += 1
            if said is not None:
                counts["failed"] += 1
                counts["said"] = counts["said"][:4] + [said]
threads = [threading.Thread(target=ask) for _ in range(int(os.environ["CALLERS"]))]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(json.dumps(counts))
"""


@dataclass(frozen=True)
class Cluster:
    """The namespace of the stage, asked by kubectl."""

    namespace: str

    def ask(self, *words: str, expect: tuple[int, ...] = (0,), text: str | None = None) -> str:
        """What kubectl prints. Raises `DemoError` where it exits otherwise than expected."""
        done = subprocess.run(
            ["kubectl", "--namespace", self.namespace, *words],
            input=text,
            text=True,
            capture_output=True,
            check=False,
        )
        if done.returncode not in expect:
            raise DemoError(
                f"kubectl {' '.join(words[:4])} exited with {done.returncode}: {done.stderr.strip()}"
            )
        return done.stdout + done.stderr

    def load(self, *words: str) -> Any:
        """What kubectl prints as JSON."""
        return json.loads(self.ask(*words, "--output", "json"))

    def count_ready(self) -> int:
        """How many pods of the stable version are ready."""
        found = self.load("get", "deployment", "model")
        return int(found["status"].get("readyReplicas", 0))

    def list_pods(self) -> list[str]:
        """The names of the stable version's pods."""
        found = self.load("get", "pods", "--selector", "app=model,track=stable")
        return [
            pod["metadata"]["name"] for pod in found["items"] if "deletionTimestamp" not in pod["metadata"]
        ]

    def evict(self, pod: str) -> bool:
        """Ask the cluster to move a pod, as a node that is drained does; whether it was allowed."""
        eviction = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": pod, "namespace": self.namespace},
        }
        path = f"/api/v1/namespaces/{self.namespace}/pods/{pod}/eviction"
        said = self.ask("create", "--raw", path, "--filename", "-", expect=(0, 1), text=json.dumps(eviction))
        if "disruption budget" in said:
            return False
        if '"status":"Success"' not in said.replace(" ", ""):
            raise DemoError(f"the eviction of {pod} was answered by: {said.strip()[:300]}")
        return True


def wait_until(what: str, holds: Callable[[], bool], seconds: float) -> float:
    """Wait until something holds; returns after how many seconds it did. Raises `DemoError` where it never does."""
    start = time.monotonic()
    while not holds():
        if time.monotonic() - start > seconds:
            raise DemoError(f"{what}: not within {seconds:.0f} s")
        time.sleep(2)
    took = time.monotonic() - start
    console.print(f"    {what}: after {took:.0f} s")
    return took


def build_versions(project: Path, registry: str) -> list[Version]:
    """Build two versions of the service, push them, and name them by their digests."""
    found = []
    for name in ("v1.0.0", "v1.0.1"):
        tag = f"{registry}/late-flights:{name}"
        words = (
            "build",
            "--quiet",
            "--file",
            "serving/Dockerfile",
            "--label",
            f"version={name}",
            "--tag",
            tag,
        )
        run(project, "docker", *words, ".")
        pushed = subprocess.run(["docker", "push", tag], text=True, capture_output=True, check=False)
        digest = re.search(r"digest: (sha256:[0-9a-f]{64})", pushed.stdout)
        if pushed.returncode or digest is None:
            raise DemoError(f"docker push {tag}: {pushed.stderr.strip() or pushed.stdout.strip()}")
        found.append(Version(f"{registry}/late-flights@{digest[1]}", name))
        console.print(f"    {found[-1].reference}")
    return found


def share_one_node(project: Path) -> None:
    """Ask for a volume that the pods of one node share: kind has no other."""
    path = project / "deploy" / "kubernetes" / "overlays" / "production" / "predictions.yaml"
    text = path.read_text(encoding="utf-8")
    changed = text.replace("ReadWriteMany", "ReadWriteOnce")
    if changed == text:
        raise DemoError(f"{path} asks for no volume that several nodes share any more")
    path.write_text(changed, encoding="utf-8")


def start_load(cluster: Cluster, image: str, row: dict[str, Any], *, callers: int, seconds: int) -> None:
    """Start a pod that asks the service without a pause."""
    environ = {"ROW": json.dumps(row), "SECONDS": str(seconds), "CALLERS": str(callers)}
    words = [word for name, value in environ.items() for word in ("--env", f"{name}={value}")]
    words += ["--restart=Never", "--command", "--", "/opt/venv/bin/python", "-c", LOAD]
    cluster.ask("run", "load", f"--image={image}", *words)


def end_load(cluster: Cluster, seconds: int) -> dict[str, Any]:
    """Wait for the end of the load; what it counted. Raises `DemoError` where a request failed."""
    cluster.ask("wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/load", f"--timeout={seconds + 120}s")
    counts: dict[str, Any] = json.loads(cluster.ask("logs", "load").strip().splitlines()[-1])
    cluster.ask("delete", "pod", "load")
    if counts["failed"] or not counts["asked"]:
        raise DemoError(f"{counts['failed']:,} of {counts['asked']:,} requests failed: {counts['said']}")
    return counts


def prove_disruptions(cluster: Cluster) -> None:
    """Evict one pod, and see that a second one has to wait until the first is replaced."""
    first, second, *_ = cluster.list_pods()
    if not cluster.evict(first):
        raise DemoError("the first eviction was refused, although all pods were ready")
    if cluster.evict(second):
        raise DemoError("a second pod was evicted while the first was not replaced")
    console.print("    one eviction at a time")


def prove(project: Path, registry: str, callers: int) -> None:
    """Prove all of it. Raises `DemoError` at the first promise that is not kept."""
    console.print("\n[bold]1/5[/bold] Two versions of the image")
    old, new = build_versions(project, registry)
    share_one_node(project)
    cluster = Cluster(NAMESPACE)
    subprocess.run(["kubectl", "create", "namespace", NAMESPACE], check=True)
    target = Kubernetes(
        project / "deploy" / "kubernetes",
        "production",
        NAMESPACE,
        lambda words: console.print(f"    {words}", markup=False),
    )
    contract = json.loads((project / "models" / "onnx" / "contract.json").read_text(encoding="utf-8"))
    console.print("\n[bold]2/5[/bold] The first version, and callers")
    target.promote(old)
    wait_until(f"{LEAST} pods", lambda: cluster.count_ready() >= LEAST, 180)
    start_load(cluster, old.reference, contract["probes"][0]["row"], callers=callers, seconds=SECONDS_OF_LOAD)
    wait_until("more pods by load", lambda: cluster.count_ready() > LEAST, SCALED_OUT_WITHIN)
    console.print("\n[bold]3/5[/bold] Evictions under load")
    prove_disruptions(cluster)
    console.print("\n[bold]4/5[/bold] A canary, its promotion, and the way back, under load")
    target.start_canary(new, old)
    target.set_share(0.2)
    target.promote(new)
    target.promote(old)
    if target.get_state().stable != old:
        raise DemoError(f"{target.get_state().stable} is served, not {old}")
    console.print("\n[bold]5/5[/bold] The callers go")
    counts = end_load(cluster, SECONDS_OF_LOAD)
    console.print(f"    {counts['asked']:,} requests, none failed")
    wait_until(f"{LEAST} pods again", lambda: cluster.count_ready() == LEAST, SCALED_IN_WITHIN)


def main() -> int:
    """Prove it; 0: all promises were kept, 1: one was not, and which."""
    parser = argparse.ArgumentParser(prog="python -m demo.cluster", description=__doc__)
    parser.add_argument(
        "--registry", default="localhost:5001", help="where images are pushed to and pulled from"
    )
    parser.add_argument("--callers", type=int, default=16, help="how many ask at one time (default: 16)")
    options = parser.parse_args()
    try:
        project = bake(ROOT / ".demo" / "cluster", {"deploy": "kubernetes"})
        train_main(project)
        prove(project, options.registry, options.callers)
    except DemoError as error:
        console.print(f"ERROR: {error}", style="red", markup=False)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
