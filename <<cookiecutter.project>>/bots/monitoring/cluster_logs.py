"""Reads the prediction log from a Kubernetes cluster by kubectl.

Where the log lies in the volume claim `predictions`, a short-lived pod sees all of it and can only read: also what pods
wrote that have gone. Where it does not, each pod is asked for its own.
"""

from __future__ import annotations

import contextlib
import secrets
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import yaml
from msgspec import Struct

from bots.decoding import DECODE_ERRORS, describe_decode_error
from bots.deploy.docker import EngineError, capture_output, indent_end
from bots.deploy.kubernetes import NAMES, PYTHON, name_in_cluster
from bots.deploy.reading import Incomplete, Printed, Reader, unwrap, wrap_in_python
from bots.files import write_file
from bots.monitoring.log_listing import (
    LIST,
    DiskFull,
    FileGone,
    FileUnreadable,
    FoundFile,
    SourceUnreachable,
    Tell,
    keep_whole,
    parse_listing,
)

CLAIM = "predictions"
OWN = "/var/log/predictions"
PLACE = "/logs"
LONGEST = 6 * 3600
SLOWEST = 60.0
READY = 120
TRIES = 3
SLOWEST_BYTES = 200_000.0  # bytes a second
READ = (
    "import shutil, sys\n"
    "try:\n"
    "    file = open(sys.argv[1], 'rb')\n"
    "except FileNotFoundError:\n"
    "    sys.exit(44)\n"
    "shutil.copyfileobj(file, sys.stdout.buffer, 1 << 20)\n"
)
_GONE = 44
_UNKNOWN = 1 << 30


class _Metadata(Struct):
    name: str


class _Status(Struct):
    phase: str = ""


class _Pod(Struct):
    metadata: _Metadata
    status: _Status


class _Pods(Struct):
    items: list[_Pod]


class _Deployments(Struct):
    items: list[dict[str, Any]]


@dataclass(frozen=True)
class _Cluster:
    namespace: str
    kubectl: str
    model: str | None = None

    @property
    def selector(self) -> str:
        """Select what runs the model."""
        return f"app={name_in_cluster(NAMES['stable'], self.model)}"

    def run(self, what: str, *words: str, seconds: float = SLOWEST) -> bytes:
        """Run kubectl. Raises `EngineError`."""
        return capture_output(what, [self.kubectl, "--namespace", self.namespace, *words], seconds=seconds)

    def load(self, what: str, kind: Any, *words: str) -> Any:
        """Load what `kubectl get` prints as JSON, asked again until it is whole. Raises `EngineError`."""

        def ask() -> Any:
            try:
                return msgspec.json.decode(self.run(what, *words, "--output", "json"), type=kind)
            except DECODE_ERRORS as error:
                said = describe_decode_error(error)
                raise Incomplete(f"kubectl answered something else than expected: {said}") from error

        return Reader().read(what, ask)


@contextlib.contextmanager
def open_cluster_logs(
    namespace: str, *, tell: Tell, kubectl: str = "kubectl", model: str | None = None
) -> Iterator[ClusterLogs]:
    """Open the log of a model that runs in a namespace. Raises `SourceUnreachable`, `EngineError`.

    `model` is a further model of the project, None the main one.
    """
    cluster, claim = _Cluster(namespace, kubectl, model), name_in_cluster(CLAIM, model)
    words = ("get", "persistentvolumeclaims", claim, "--ignore-not-found", "--output", "name")
    if not cluster.run("looking for the log's volume", *words).strip():
        yield _open_pods(cluster)
        return
    name = f"log-reader-{secrets.token_hex(4)}"
    try:
        _start_reader(cluster, name)
        yield ClusterLogs(cluster, [(name, PLACE)], f"the volume claim {claim} of {namespace}")
    finally:
        words = (
            "delete",
            "pods",
            "--selector",
            f"app=log-reader,run={name}",
            "--ignore-not-found",
            "--wait=false",
        )
        try:
            cluster.run("removing what read the log", *words)
        except EngineError as error:
            tell(f"WARNING: the pod {name} was not removed; it ends by itself: {error}")


def _open_pods(cluster: _Cluster) -> ClusterLogs:
    words = ("get", "pods", "--selector", cluster.selector)
    pods = cluster.load("the list of the pods", _Pods, *words).items
    running = [pod.metadata.name for pod in pods if pod.status.phase == "Running"]
    where = f"the pods of {cluster.namespace}"
    if not running:
        raise SourceUnreachable(f"{where}: none runs, so no log can be read")
    claim = name_in_cluster(CLAIM, cluster.model)
    lost = (
        f"{cluster.namespace} has no volume claim {claim}: what pods logged that have gone since the last look is "
        "lost. docs/monitoring.md says how to keep it."
    )
    return ClusterLogs(cluster, [(name, OWN) for name in running], where, [lost])


def _start_reader(cluster: _Cluster, name: str) -> None:
    """Start a pod that can only read the volume; it ends by itself where this process cannot end it."""
    words = ("get", "deployments", "--selector", cluster.selector)
    deployments = cluster.load("the list of the Deployments", _Deployments, *words).items
    if not deployments:
        raise SourceUnreachable(f"{cluster.namespace}: no version is deployed there, so no log can be read")
    pod = build_reader(
        name, deployments[0]["spec"]["template"]["spec"], name_in_cluster(CLAIM, cluster.model)
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "reader.yaml")
        write_file(path, yaml.safe_dump(pod).encode())
        cluster.run("starting what reads the log", "apply", "--filename", str(path))
    words = ("wait", "--for=condition=Ready", f"pod/{name}", f"--timeout={READY}s")
    cluster.run("waiting for what reads the log", *words, seconds=READY + SLOWEST)


def build_reader(name: str, like: dict[str, Any], claim: str = CLAIM) -> dict[str, Any]:
    """Build the pod that reads the log of a claim, where and as the service's own pods run."""
    taken = {key: like[key] for key in ("imagePullSecrets", "nodeSelector", "tolerations") if key in like}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": "log-reader", "run": name}},
        "spec": {
            **taken,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "restartPolicy": "Never",
            "activeDeadlineSeconds": LONGEST,
            "terminationGracePeriodSeconds": 0,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 10001,
                "runAsGroup": 10001,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": "reader",
                    "image": like["containers"][0]["image"],
                    "command": [PYTHON, "-c", f"import time; time.sleep({LONGEST})"],
                    "resources": {
                        "requests": {"cpu": "10m", "memory": "32Mi"},
                        "limits": {"memory": "128Mi"},
                    },
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "readOnlyRootFilesystem": True,
                        "capabilities": {"drop": ["ALL"]},
                    },
                    "volumeMounts": [{"name": CLAIM, "mountPath": PLACE, "readOnly": True}],
                }
            ],
            "volumes": [{"name": CLAIM, "persistentVolumeClaim": {"claimName": claim, "readOnly": True}}],
        },
    }


@dataclass
class ClusterLogs:
    """The log as these pods see it: their names, and the folder in them. A file's name begins with its pod's."""

    cluster: _Cluster
    pods: list[tuple[str, str]]
    where: str
    unseen: list[str] = field(default_factory=list)
    _sizes: dict[str, int] = field(default_factory=dict)

    def list_files(self) -> list[FoundFile]:
        """See `LogSource`."""
        found: list[FoundFile] = []
        faults: list[str] = []
        for pod, folder in self.pods:
            try:
                ask = partial(self._list_once, pod, folder)
                done = Reader().read(f"the list of {pod}", ask)
            except EngineError as error:
                faults.append(f"The log of {pod} cannot be listed: {error}.")
                continue
            files, more = parse_listing(done.text)
            faults += more
            prefix = "" if folder == PLACE else f"{pod}/"
            found += [msgspec.structs.replace(file, name=prefix + file.name) for file in files]
        if len(faults) >= len(self.pods) and not found:
            raise SourceUnreachable(f"{self.where}: {' '.join(faults)}")
        self.unseen += faults
        self._sizes = {file.name: file.size for file in found}
        return found

    def _list_once(self, pod: str, folder: str) -> Printed:
        command = wrap_in_python(PYTHON, ["-c", LIST, folder])
        done = unwrap(self.cluster.run(f"listing the log of {pod}", "exec", pod, "--", *command))
        if done.code != 0:
            raise EngineError(f"it ended with {done.code}")
        return done

    def fetch(self, name: str, path: Path) -> None:
        """See `LogSource`. kubectl writes the file itself, so memory does not grow with it."""
        pod, folder = self.pods[0]
        inside = name
        if folder != PLACE:
            pod, _, inside = name.partition("/")
        words = [self.cluster.kubectl, "--namespace", self.cluster.namespace, "exec", pod, "--", PYTHON]
        words += ["-c", READ, f"{folder}/{inside}"]
        size = self._sizes.get(name)
        for left in reversed(range(TRIES)):
            try:
                with keep_whole(path) as part:
                    _fetch_once(words, part, size=size, name=name)
                return
            except Incomplete as error:
                if not left:
                    raise FileUnreadable(
                        f"{name}: it did not arrive whole, {TRIES} times: {error}"
                    ) from error


def _fetch_once(words: list[str], part: Path, *, size: int | None, name: str) -> None:
    """Fetch a file of that many bytes (None: not known). Raises `Incomplete`, `FileGone`, `DiskFull`."""
    code, said = _run_into(words, part, SLOWEST + (size or _UNKNOWN) / SLOWEST_BYTES)
    if code == _GONE:
        raise FileGone(f"{name}: it is gone")
    if "no space left on device" in said.lower():
        raise DiskFull(f"{part.parent}: no space left; make room there, then run it again")
    if code != 0:
        raise Incomplete(said or f"kubectl ended with {code}")
    if size is not None and part.stat().st_size != size:
        raise Incomplete(f"{part.stat().st_size} of {size} bytes came")


def _run_into(words: list[str], part: Path, seconds: float) -> tuple[int, str]:
    """Run a command whose output goes to a file; return its exit code and its last words."""
    with part.open("wb") as file:
        try:
            done = subprocess.run(
                words,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.PIPE,
                timeout=seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return -1, f"it took longer than {seconds:.0f} s"
        except OSError as error:
            raise SourceUnreachable(f"{words[0]} cannot be started: {error}") from error
    return done.returncode, indent_end(done.stderr.decode(errors="replace"), 3).strip()
