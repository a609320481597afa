"""Deploys to a Kubernetes cluster by kubectl: a Deployment for the stable version, for a while one for a canary.

The Service sends requests to all pods alike. So a canary's share of the requests is its share of the pods, from the
moment that it is ready.
"""

from __future__ import annotations

import math
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
import yaml
from msgspec import Struct, field

from bots.decoding import DECODE_ERRORS, describe_decode_error
from bots.deploy.docker import EngineError, TimedOut, capture_output, indent_end, run_command
from bots.deploy.reading import Incomplete, Printed, Reader, unwrap, wrap_in_python
from bots.deploy.target import Health, NotReady, State, Version

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bots.deploy.target import Role

NAMES: dict[Role, str] = {"stable": "model", "canary": "model-canary", "shadow": "model-shadow"}
IMAGE = "release/image"
NAME = "release/version"
PREVIOUS_IMAGE = "release/previous-image"
PREVIOUS_NAME = "release/previous-version"
CONTRACT = "/srv/model/contract.json"
PYTHON = "/opt/venv/bin/python"
SLOWEST = 20.0  # seconds that one look at the cluster may take
TRIES = 3
T = TypeVar("T")
READ = "import sys; sys.stdout.write(open(sys.argv[1]).read())"


class _Metadata(Struct):
    name: str
    annotations: dict[str, str] = {}


class _Container(Struct):
    restart_count: int = field(name="restartCount", default=0)
    ready: bool = False


class _Status(Struct):
    phase: str = ""
    containers: list[_Container] = field(name="containerStatuses", default_factory=list)


class _Pod(Struct):
    metadata: _Metadata
    status: _Status


class _Pods(Struct):
    items: list[_Pod]


class _Replicas(Struct):
    replicas: int = 0


class _Deployment(Struct):
    metadata: _Metadata
    spec: _Replicas


class _Deployments(Struct):
    items: list[_Deployment]


@dataclass
class Kubernetes:
    """One stage (`staging` or `production`), in `namespace`, described in `folder` (deploy/kubernetes/).

    `ready` is how many seconds a version has to become ready. `model` is a further model of the project: everything of
    it bears its name, `MODEL-model`, beside the main model's in the same namespace.
    """

    folder: Path
    stage: str
    namespace: str
    tell: Callable[[str], None]
    ready: int = 180
    kubectl: str = "kubectl"
    model: str | None = None
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    def prepare(self) -> None:
        """See `Target`. The Service comes with the first version, so here the cluster is only reached."""
        words = ("get", "deployments", "--output", "name")
        self._try(lambda: self._look("reaching the cluster", *words))

    def get_state(self) -> State:
        """See `Target`. It is read from the annotations of the Deployments."""
        found = {one.metadata.name: one.metadata.annotations for one in self._list_deployments()}
        stable, canary = found.get(self._name("stable"), {}), found.get(self._name("canary"), {})
        return State(
            _read_version(stable, IMAGE, NAME),
            _read_version(canary, IMAGE, NAME),
            _read_version(canary, PREVIOUS_IMAGE, PREVIOUS_NAME),
        )

    def start_canary(self, version: Version, previous: Version | None) -> None:
        """See `Target`; here it gets the requests of one pod."""
        if self.get_state().canary != version:
            self.tell(f"starting {version.name} as the canary")
            before = {PREVIOUS_IMAGE: previous.reference, PREVIOUS_NAME: previous.name} if previous else {}
            self._apply("canary", "canary", version, more=before)
        self._wait_until_ready("canary", version)

    def start_shadow(self, version: Version) -> None:
        """See `Target`. A Service copies nothing, so the cluster's gateway would have to."""
        raise EngineError(
            "deploy.shadow: a release copies requests with Docker Compose only. On Kubernetes the gateway does: "
            "deploy/kubernetes/shadow/ and docs/deploy.md say how. Say `shadow: false` in params.yaml"
        )

    def remove_shadow(self) -> None:
        """See `Target`. What a person applied is theirs to remove."""

    def set_share(self, canary: float) -> None:
        """See `Target`: as many pods as needed for at least this share of all pods."""
        pods = {one.metadata.name: one.spec.replicas for one in self._list_deployments()}
        if not canary or self._name("canary") not in pods:
            return
        wanted = max(1, math.ceil(canary / (1 - canary) * pods.get(self._name("stable"), 0) - 1e-9))
        name = f"deployment/{self._name('canary')}"
        self._run_kubectl("scaling the canary", "scale", name, f"--replicas={wanted}")
        self._follow_rollout("waiting for the canary", name)

    def load_metrics(self, role: Role) -> Mapping[str, str]:
        """See `Target`."""
        texts = {pod.metadata.name: self._read_answer(pod, "/metrics") for pod in self._list_pods(role)}
        return {name: text for name, text in texts.items() if text is not None}

    def check_health(self, role: Role) -> Health:
        """See `Target`; read from the cluster's own probes."""
        pods = self._list_pods(role)
        containers = [one for pod in pods for one in pod.status.containers]
        alive = bool(containers) and all(one.ready for one in containers)
        return Health(sum(one.restart_count for one in containers), alive)

    def load_contract(self, role: Role) -> bytes | None:
        """See `Target`."""
        for pod in self._list_pods(role):
            if (text := self._run_python(pod, "-c", READ, CONTRACT)) is not None:
                return text.encode()
        return None

    def promote(self, version: Version) -> None:
        """See `Target`. The cluster replaces the pods one by one, each new one ready before an old one goes."""
        before = self.get_state()
        try:
            if before.stable != version:
                self.tell(f"starting {version.name} as the stable version")
                self._apply("stable", f"overlays/{self.stage}", version)
            self._wait_until_ready("stable", version)
        except NotReady:
            former = before.previous if before.stable == version else before.stable
            if former:
                self._apply("stable", f"overlays/{self.stage}", former)
                self._wait_until_ready("stable", former)
            elif before.stable is None:
                self._run_kubectl(
                    "removing it",
                    "delete",
                    "deployment",
                    self._name("stable"),
                    "--ignore-not-found",
                    "--wait",
                )
            raise
        self.withdraw()

    def withdraw(self) -> None:
        """See `Target`."""
        words = ("delete", "deployment", self._name("canary"), "--ignore-not-found", "--wait")
        self._run_kubectl("removing the canary", *words)

    def _wait_until_ready(self, role: Role, version: Version) -> None:
        name = f"deployment/{self._name(role)}"
        try:
            self._follow_rollout("the roll-out", name)
        except EngineError as error:
            words = ("logs", name, "--tail=15", "--all-containers")
            try:
                said = self._run_kubectl("reading the log", *words)
            except EngineError:
                said = ""
            raise NotReady(
                f"{version.name} is not ready: {error}; its last words:\n{indent_end(said)}"
            ) from error

    def _apply(
        self, role: Role, resources: str, version: Version, *, more: Mapping[str, str] | None = None
    ) -> None:
        """Apply a folder of deploy/kubernetes/ with this image by its digest, and annotations for `get_state`."""
        repository, _, digest = version.reference.partition("@")
        marks = {IMAGE: version.reference, NAME: version.name, **(more or {})}
        patch = [
            {"op": "add", "path": f"/metadata/annotations/{name.replace('/', '~1')}", "value": value}
            for name, value in marks.items()
        ]
        if self.model is not None:
            # What a kustomization of these folders does not know, it does not rename.
            own, pod = self._name("stable"), "/spec/template/spec"
            patch += [
                {"op": "replace", "path": f"{pod}/serviceAccountName", "value": own},
                {"op": "replace", "path": f"{pod}/containers/0/envFrom/0/secretRef/name", "value": own},
            ]
        with tempfile.TemporaryDirectory(dir=self.folder, prefix=".release-") as scratch:
            path = os.path.relpath(self.folder / resources, scratch)
            wrapped = {
                "apiVersion": "kustomize.config.k8s.io/v1beta1",
                "kind": "Kustomization",
                "resources": [path],
                "images": [{"name": "model", "newName": repository, "digest": digest}],
                "patches": [
                    {"target": {"kind": "Deployment", "name": NAMES[role]}, "patch": yaml.safe_dump(patch)}
                ],
                **self._rename(),
            }
            (Path(scratch) / "kustomization.yaml").write_text(yaml.safe_dump(wrapped), encoding="utf-8")
            self._run_kubectl(f"applying {resources}", "apply", "--kustomize", scratch)

    def _name(self, role: Role) -> str:
        """Name the Deployment of a role; that of the stable version is the label `app` of all."""
        return name_in_cluster(NAMES[role], self.model)

    def _rename(self) -> dict[str, Any]:
        """What a kustomization says so that a further model's objects, labels and selectors bear its name."""
        if self.model is None:
            return {}
        pairs = {"app": self._name("stable")}
        return {
            "namePrefix": f"{self.model}-",
            "labels": [{"pairs": pairs, "includeSelectors": True}],
        }

    def _read_answer(self, pod: _Pod, path: str) -> str | None:
        """Read what the service in the pod answers; None when it does not answer, or not well."""
        return self._run_python(pod, "-m", "serving", "get", path)

    def _run_python(self, pod: _Pod, *words: str) -> str | None:
        """Run Python in the pod; return what it prints, None when it fails or the pod does not run it."""
        name = pod.metadata.name
        command = wrap_in_python(PYTHON, words)

        def execute_once() -> Printed | None:
            try:
                return unwrap(self._look(f"asking {name}", "exec", name, "--", *command))
            except TimedOut as error:
                raise Incomplete(str(error)) from error
            except EngineError:
                return None

        for left in reversed(range(TRIES)):
            done = self._reader.read(f"the answer of {name}", execute_once)
            if done is not None and done.code == 0:
                return done.text
            if left:
                self.sleep(1)
        return None

    def _list_pods(self, role: Role) -> list[_Pod]:
        words = ("get", "pods", "--selector", f"app={self._name('stable')},track={role}", "--output", "json")
        pods = self._load_list("the list of the pods", _Pods, *words).items
        return [pod for pod in pods if pod.status.phase in ("Running", "Pending")]

    def _list_deployments(self) -> list[_Deployment]:
        words = ("get", "deployments", "--selector", f"app={self._name('stable')}", "--output", "json")
        return self._load_list("the list of the Deployments", _Deployments, *words).items

    def _load_list(self, what: str, kind: type[T], *words: str) -> T:
        """Load what `kubectl get` prints, asked again until it is whole."""

        def list_once() -> T:
            try:
                return msgspec.json.decode(self._look(f"asking for {what}", *words), type=kind)
            except DECODE_ERRORS as error:
                said = describe_decode_error(error)
                raise Incomplete(f"kubectl answered something else than expected: {said}") from error
            except EngineError as error:
                raise Incomplete(str(error)) from error

        return self._reader.read(what, list_once)

    def _follow_rollout(self, what: str, name: str) -> None:
        """Wait until a Deployment is rolled out; kubectl is started again where it ends early. Raises `EngineError`."""
        end = self.clock() + self.ready

        def follow_once() -> str:
            left = max(1, math.ceil(end - self.clock()))
            return self._run_kubectl(what, "rollout", "status", name, f"--timeout={left}s")

        self._try(follow_once, end)

    def _try(self, attempt: Callable[[], T], end: float = math.inf) -> T:
        """Try up to three times: one failure may be bad luck. Raises the last `EngineError`, at `end` at the latest."""
        for _ in range(TRIES - 1):
            try:
                return attempt()
            except EngineError:
                if self.clock() >= end:
                    raise
                self.sleep(1)
        return attempt()

    @property
    def _reader(self) -> Reader:
        return Reader(clock=self.clock, sleep=self.sleep)

    def _look(self, what: str, *words: str) -> bytes:
        return capture_output(what, self._build_command(*words), seconds=SLOWEST)

    def _run_kubectl(self, what: str, *words: str) -> str:
        return run_command(what, self._build_command(*words))

    def _build_command(self, *words: str) -> list[str]:
        return [self.kubectl, "--namespace", self.namespace, *words]


def name_in_cluster(name: str, model: str | None) -> str:
    """Name what a model has in a cluster: the main one `model` and `predictions`, a further one `upsell-model`."""
    return f"{model}-{name}" if model else name


def _read_version(annotations: Mapping[str, str], image: str, name: str) -> Version | None:
    reference = annotations.get(image)
    return Version(reference, annotations.get(name, "")) if reference else None
