"""What the cluster is told: manifests that hold, and a roll-out by kubectl's words, on a cluster that remembers."""

from __future__ import annotations

import contextlib
import functools
import io
import itertools
import json
import os
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import kubernetes_validate
import pytest
import yaml

from bots.deploy import kubernetes
from bots.deploy.docker import EngineError
from bots.deploy.kubernetes import Kubernetes
from bots.deploy.rollout import Clock, roll_out
from bots.deploy.target import State, Version
from bots.settings import Canary
from doubles import kubectl
from fixtures.support import TEMPLATE

if TYPE_CHECKING:
    from collections.abc import Callable

    from bots.deploy.rollout import RolloutResult

FOLDER = TEMPLATE / "deploy/kubernetes"
# Of the lock; a machine's own may be too old for the manifests.
REAL = shutil.which("kubectl", path=os.pathsep.join([sysconfig.get_path("scripts"), os.environ["PATH"]]))
V1, V2 = (Version(f"ghcr.io/octo-org/late-flights@sha256:{digit * 64}", f"v{digit}") for digit in "12")
POLICY = Canary(share=0.25, requests=100, seconds=60, every=1)

pytestmark = pytest.mark.skipif(REAL is None and os.environ.get("CI") != "true", reason="there is no kubectl")


@functools.cache
def built(folder: str) -> list[dict[str, Any]]:
    """What kustomize makes of one of our folders; nobody changes it."""
    done = subprocess.run(
        [str(REAL), "kustomize", str(FOLDER / folder)], text=True, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


@pytest.mark.slow
@pytest.mark.parametrize("folder", ["overlays/staging", "overlays/production", "canary", "shadow"])
def test_every_manifest_is_one_that_kubernetes_takes(folder: str) -> None:
    for one in built(folder):
        kubernetes_validate.validate(one, "1.37", strict=True)


@pytest.mark.parametrize("folder", ["overlays/staging", "overlays/production", "canary", "shadow"])
def test_every_pod_is_caged_and_probed(folder: str) -> None:
    (deployment,) = (one for one in built(folder) if one["kind"] == "Deployment")
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {"startupProbe", "readinessProbe", "livenessProbe"} <= container.keys()
    assert container["resources"]["limits"]["memory"]
    assert deployment["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0


def test_nobody_hears_a_shadow_and_its_log_lies_beside_the_others() -> None:
    found = {one["kind"]: one for one in built("shadow")}
    (service,) = (one for one in built("overlays/production") if one["kind"] == "Service")
    labels = found["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert not service["spec"]["selector"].items() <= labels.items()
    assert found["Service"]["spec"]["selector"].items() <= labels.items()
    assert found["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"].items() <= labels.items()
    (volume,) = (
        one
        for one in found["Deployment"]["spec"]["template"]["spec"]["volumes"]
        if one["name"] == "predictions"
    )
    assert volume["persistentVolumeClaim"] == {"claimName": "predictions"}
    route = yaml.safe_load((FOLDER / "shadow/route.yaml").read_text())
    mirror, rest = route["spec"]["rules"]
    assert mirror["filters"][0]["requestMirror"]["backendRef"] == {
        "name": found["Service"]["metadata"]["name"],
        "port": found["Service"]["spec"]["ports"][0]["port"],
    }
    assert mirror["backendRefs"] == rest["backendRefs"] == [{"name": service["metadata"]["name"], "port": 80}]


def test_a_stage_has_all_that_keeps_it_up_and_shut() -> None:
    kinds = {one["kind"] for one in built("overlays/production")}
    assert kinds == {
        "Deployment",
        "HorizontalPodAutoscaler",
        "NetworkPolicy",
        "PersistentVolumeClaim",
        "PodDisruptionBudget",
        "Service",
        "ServiceAccount",
    }


def test_the_service_asks_stable_and_canary_alike_but_they_are_two_deployments() -> None:
    (stable,) = (one for one in built("overlays/production") if one["kind"] == "Deployment")
    (canary,) = built("canary")
    (service,) = (one for one in built("overlays/production") if one["kind"] == "Service")
    selector = service["spec"]["selector"].items()
    for deployment in (stable, canary):
        assert selector <= deployment["spec"]["template"]["metadata"]["labels"].items()
    assert stable["spec"]["selector"] != canary["spec"]["selector"]


@dataclass
class Cluster:
    """The stand-in's memory, and a target that speaks with it."""

    path: Path
    target: Kubernetes

    @property
    def memory(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.path.read_text())
        return found

    def remember(self, **what: Any) -> None:
        self.path.write_text(json.dumps({**self.memory, **what}))

    def roll_out(self, version: Version, *, shadow: bool = False) -> RolloutResult:
        clock = Clock(sleep=lambda _: None)
        return roll_out(self.target, version, POLICY, watch=True, tell=print, shadow=shadow, clock=clock)


def run_here(run: Callable[..., Any]) -> Callable[..., Any]:
    """The runner of commands, but with the stand-in in this process, which spares the start of one for each look."""

    def run_words(what: str, words: list[str], **how: Any) -> Any:
        if words[0] != kubectl.__name__:
            return run(what, words, **how)
        out, errors = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
            try:
                code = kubectl.main(words[1:])
            except SystemExit as end:
                code = 1
                errors.write(str(end))
        if code:
            raise EngineError(f"{what} failed; its last words:\n{errors.getvalue()}{out.getvalue()}")
        return out.getvalue().encode() if run.__name__ == "capture_output" else out.getvalue()

    return run_words


@pytest.fixture
def spawning_cluster(cluster: Cluster, tmp_path: Path) -> Cluster:
    """The same by real commands."""
    program = tmp_path / "kubectl"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{kubectl.__file__}" "$@"\n')
    program.chmod(0o755)
    return replace(cluster, target=replace(cluster.target, kubectl=str(program)))


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    assert REAL is not None
    path = tmp_path / "cluster.json"
    path.write_text(json.dumps(kubectl.EMPTY))
    for name in ("capture_output", "run_command"):
        monkeypatch.setattr(kubernetes, name, run_here(getattr(kubernetes, name)))
    monkeypatch.setenv("CLUSTER", str(path))
    monkeypatch.setenv("REAL_KUBECTL", REAL)
    folder = tmp_path / "kubernetes"
    shutil.copytree(FOLDER, folder)
    target = Kubernetes(
        folder,
        "production",
        "late-flights-production",
        tell=print,
        kubectl=kubectl.__name__,
        sleep=lambda _: None,
    )
    return Cluster(path, target)


def test_the_first_version_brings_the_whole_stage_with_its_image_by_digest(cluster: Cluster) -> None:
    outcome = cluster.roll_out(V1)
    assert (outcome.done, outcome.runs) == ("deployed", V1)
    objects = cluster.memory["objects"]
    assert "NetworkPolicy/model" in objects
    assert kubectl.get_image(cluster.memory, "model") == V1.reference
    assert all(words[:2] == ["--namespace", "late-flights-production"] for words in cluster.memory["words"])


@pytest.mark.slow
def test_a_good_version_is_watched_and_takes_over(spawning_cluster: Cluster) -> None:
    spawning_cluster.roll_out(V1)
    outcome = spawning_cluster.roll_out(V2)
    assert (outcome.done, outcome.runs, outcome.previous) == ("promoted", V2, V1)
    assert spawning_cluster.target.get_state() == State(V2)
    assert list(kubectl.list_deployments(spawning_cluster.memory)) == ["model"]
    assert any("--replicas=1" in words for words in spawning_cluster.memory["words"])


@pytest.mark.slow
def test_a_version_with_errors_is_rolled_back(cluster: Cluster) -> None:
    cluster.roll_out(V1)
    cluster.remember(failing=[V2.reference])
    outcome = cluster.roll_out(V2)
    assert (outcome.done, outcome.runs) == ("rolled back", V1)
    assert outcome.words.startswith("errors: ")
    assert cluster.target.get_state() == State(V1)


def test_a_version_that_does_not_become_ready_is_taken_away_with_its_last_words(cluster: Cluster) -> None:
    cluster.roll_out(V1)
    cluster.remember(broken=[V2.reference])
    outcome = cluster.roll_out(V2)
    assert (outcome.done, outcome.runs) == ("rolled back", V1)
    assert "timed out waiting" in outcome.words
    assert "cannot read its model" in outcome.words


def test_a_first_version_that_does_not_become_ready_leaves_nothing_that_looks_deployed(
    cluster: Cluster,
) -> None:
    cluster.remember(broken=[V1.reference])
    assert cluster.roll_out(V1).done == "failed"
    assert cluster.target.get_state() == State()


@pytest.mark.slow
@pytest.mark.parametrize(("share", "pods"), [(0.1, 1), (0.25, 1), (0.4, 2), (0.5, 3)])
def test_a_share_of_the_requests_is_a_share_of_the_pods(cluster: Cluster, share: float, pods: int) -> None:
    cluster.target.promote(V1)
    cluster.target.start_canary(V2, V1)
    cluster.target.set_share(share)
    assert kubectl.list_deployments(cluster.memory)["model-canary"]["spec"]["replicas"] == pods
    assert cluster.target.get_state() == State(V1, V2, V1)


@pytest.mark.slow
def test_a_lost_bots_canary_is_found_again(cluster: Cluster) -> None:
    cluster.roll_out(V1)
    cluster.target.start_canary(V2, V1)
    assert cluster.roll_out(V2).done == "promoted"
    applied = [words for words in cluster.memory["words"] if words[2] == "apply"]
    assert len(applied) == 3


def test_a_cluster_that_does_not_answer_is_told_in_words(cluster: Cluster) -> None:
    cluster.target.kubectl = "false"
    with pytest.raises(EngineError, match="reaching the cluster failed"):
        cluster.roll_out(V1)


@pytest.mark.slow
@pytest.mark.parametrize("trouble", [{"cut": 3}, {"flaky": 2}], ids=["cut answers", "a server that is away"])
def test_what_the_cluster_does_not_answer_at_once_is_asked_again(
    cluster: Cluster, trouble: dict[str, int]
) -> None:
    cluster.roll_out(V1)
    for look in (
        cluster.target.get_state,
        lambda: cluster.target.check_health("stable"),
        lambda: cluster.target.load_contract("stable"),
        lambda: cluster.target.load_metrics("stable").keys(),
    ):
        expected = look()
        cluster.remember(**trouble)
        assert look() == expected
        assert expected
        cluster.remember(cut=0, flaky=0)
    cluster.remember(**trouble)
    assert cluster.roll_out(V2).done == "promoted"


def test_metrics_that_never_arrive_whole_are_told_as_that(cluster: Cluster) -> None:
    cluster.roll_out(V1)
    ticks = itertools.count(0, 25)
    cluster.target.clock = lambda: float(next(ticks))
    pods = cluster.target._list_pods("stable")
    cluster.remember(cut=1000)
    with pytest.raises(EngineError, match=r"the answer of model-0 did not arrive whole.*cut to"):
        cluster.target._read_answer(pods[0], "/metrics")


def test_the_stand_in_refuses_what_it_does_not_know(cluster: Cluster) -> None:
    with pytest.raises(EngineError, match=r"does not know `kubectl .* cordon"):
        cluster.target._run_kubectl("cordoning", "cordon", "node")


def test_a_shadow_that_no_release_can_feed_is_refused_before_anything_changes(cluster: Cluster) -> None:
    cluster.roll_out(V1)
    before = cluster.target.get_state()
    with pytest.raises(
        EngineError, match=r"deploy\.shadow: a release copies requests with Docker Compose only"
    ):
        cluster.roll_out(V2, shadow=True)
    assert cluster.target.get_state() == before


def test_a_further_model_has_names_of_its_own_beside_the_main_one(cluster: Cluster) -> None:
    cluster.roll_out(V1)
    main = {key: json.dumps(one) for key, one in cluster.memory["objects"].items()}
    cluster.target.model = "upsell"
    assert cluster.roll_out(V2).done == "deployed"
    objects = cluster.memory["objects"]
    assert {key: json.dumps(objects[key]) for key in main} == main, "the main model is not touched"
    own = {key: one for key, one in objects.items() if key not in main}
    assert {key.rpartition("/")[2] for key in own} == {"upsell-model", "upsell-predictions"}
    assert len(own) == len(main)
    for one in own.values():
        kubernetes_validate.validate(one, "1.37", strict=True)
    pod = own["Deployment/upsell-model"]["spec"]["template"]
    (claim,) = (one for one in pod["spec"]["volumes"] if one["name"] == "predictions")
    assert claim["persistentVolumeClaim"]["claimName"] == "upsell-predictions"
    assert pod["spec"]["serviceAccountName"] == "upsell-model"
    assert pod["spec"]["containers"][0]["envFrom"] == [
        {"secretRef": {"name": "upsell-model", "optional": True}}
    ]
    assert own["HorizontalPodAutoscaler/upsell-model"]["spec"]["scaleTargetRef"]["name"] == "upsell-model"
    for kind, path in (
        ("Service", ("spec", "selector")),
        ("NetworkPolicy", ("spec", "podSelector", "matchLabels")),
        ("PodDisruptionBudget", ("spec", "selector", "matchLabels")),
    ):
        found: Any = own[f"{kind}/upsell-model"]
        for key in path:
            found = found[key]
        assert found["app"] == "upsell-model"
        assert found.items() <= pod["metadata"]["labels"].items()
    assert cluster.target.get_state() == State(V2)
    cluster.target.model = None
    assert cluster.target.get_state() == State(V1)


@pytest.mark.slow
def test_a_further_models_canary_takes_nothing_of_the_main_one(cluster: Cluster) -> None:
    cluster.roll_out(V1)
    cluster.target.model = "upsell"
    cluster.roll_out(V1)
    cluster.remember(failing=[V2.reference])
    assert cluster.roll_out(V2).done == "rolled back"
    cluster.remember(failing=[])
    cluster.target.start_canary(V2, V1)
    pod = kubectl.list_deployments(cluster.memory)["upsell-model-canary"]["spec"]["template"]
    assert pod["metadata"]["labels"]["app"] == "upsell-model"
    assert pod["spec"]["serviceAccountName"] == "upsell-model"
    assert cluster.target.load_metrics("canary").keys() == {"upsell-model-canary-0"}
    assert cluster.roll_out(V2).done == "promoted"
    assert sorted(kubectl.list_deployments(cluster.memory)) == ["model", "upsell-model"]
    assert kubectl.get_image(cluster.memory, "model") == V1.reference
    cluster.target.model = None
    assert cluster.target.load_metrics("stable").keys() == {f"model-{number}" for number in range(3)}
