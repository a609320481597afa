"""Deploys with Docker Compose: a proxy, the stable version, and for a while a canary, on the engine of DOCKER_HOST."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from bots.deploy.docker import EngineError, builder, compose, last, run
from bots.deploy.haproxy import Proxy
from bots.deploy.image import CA
from bots.deploy.reading import Incomplete, NotRunning, Reader, wrap_in_python
from bots.deploy.target import Health, NotReady, State, Version

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from docker import DockerClient
    from docker.models.containers import Container

    from bots.deploy.haproxy import Server
    from bots.deploy.target import Role

CONTRACT = "/srv/model/contract.json"
PYTHON = "/opt/venv/bin/python"
LOOK = 0.2
ENDS = 25  # looks for the code that a container ended with
TRIES = 3
PROXY_BASE = "SHIP_PROXY_BASE"


@dataclass
class Compose:
    """One stage: the Compose project `name`, described in `folder` (deploy/). Times in seconds."""

    folder: Path
    name: str
    client: DockerClient
    tell: Callable[[str], None]
    ready: float = 60.0
    drain: float = 30.0
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    def prepare(self) -> None:
        """Build the proxy where its files changed, and see that it runs."""
        image = self._proxy_image()
        there = self._container("proxy")
        if there is None or there.status != "running" or there.attrs["Config"]["Image"] != image:
            self.tell("starting the proxy")
            self._up("proxy", PROXY_IMAGE=image)
            deadline = self.clock() + self.ready
            while not self._proxy.answers():
                if self.clock() > deadline:
                    raise EngineError(
                        f"the proxy does not start; its last words:\n{_log(self._known('proxy'))}"
                    )
                self.sleep(LOOK)

    def state(self) -> State:
        """From the labels of what runs; a container that ended by itself counts, one that was never begun does not."""
        stable, canary = self._container("stable"), self._container("canary")
        return State(
            _version(stable, "release.image", "release.version"),
            _version(canary, "release.image", "release.version"),
            _version(canary, "release.previous-image", "release.previous-version"),
        )

    def offer(self, version: Version, previous: Version | None) -> None:
        """See `Target`."""
        there = self._container("canary")
        if _version(there, "release.image", "release.version") != version:
            self._remove("canary")
            self.tell(f"starting {version.name} as the canary")
            self._up(
                "canary",
                CANARY_IMAGE=version.reference,
                CANARY_VERSION=version.name,
                CANARY_DEPLOYED=_now(),
                CANARY_PREVIOUS_IMAGE=previous.reference if previous else "",
                CANARY_PREVIOUS_VERSION=previous.name if previous else "",
            )
        self._wait("canary", version)

    def share(self, canary: float) -> None:
        """See `Target`."""
        self._proxy.share(canary)

    def metrics(self, role: Role) -> Mapping[str, str]:
        """See `Target`."""
        there, text = self._ask(role, "/metrics")
        return {str(there.id): text} if there and text is not None else {}

    def health(self, role: Role) -> Health:
        """See `Target`."""
        there, text = self._ask(role, "/health/ready")
        return Health(int(there.attrs["RestartCount"]) if there else 0, alive=text is not None)

    def contract(self, role: Role) -> bytes | None:
        """See `Target`."""
        there = self._container(role)
        if there is None:
            return None
        return self._reader.read(f"the contract of {there.name}", lambda: _read_contract(there))

    def promote(self, version: Version) -> None:
        """The canary carries everything while the stable version is exchanged."""
        before = self.state()
        try:
            if before.stable == version:
                self._wait("stable", version, self._restarts("stable"))
            else:
                if before.canary == version:
                    self.share(1)
                self._remove("stable")
                self._stable(version)
        except NotReady:
            former = before.previous if before.stable == version else before.stable or before.previous
            if former or before.stable is None:
                self._remove("stable")
            if former:
                self._stable(former)
            raise
        self.withdraw()

    def withdraw(self) -> None:
        """See `Target`."""
        if self._container("stable"):
            self._open("stable")
        self.share(0)
        self._remove("canary")

    def _stable(self, version: Version) -> None:
        self.tell(f"starting {version.name} as the stable version")
        self._up(
            "stable", STABLE_IMAGE=version.reference, STABLE_VERSION=version.name, STABLE_DEPLOYED=_now()
        )
        self._wait("stable", version)

    def _wait(self, role: Role, version: Version, before: int = 0) -> None:
        """Until it calls itself ready and the proxy sees it so. `before`: the restarts it may have had already.

        Raises `NotReady`.
        """
        deadline = self.clock() + self.ready
        while self.clock() < deadline:
            there = self._known(role)
            if int(there.attrs["RestartCount"]) > before:
                words = f"{version.name} ended by itself{self._code(role)} and was started anew; its last words:\n"
                raise NotReady(words + _log(there))
            if self._get(there, "/health/ready") is not None and self._found(role, there):
                self._open(role)
                return
            self.sleep(LOOK)
        words = f"{version.name} is not ready after {self.ready:.0f} s; its last words:\n"
        raise NotReady(words + _log(self._known(role)))

    def _code(self, role: Role) -> str:
        """What it ended with, which its state says only until it is started anew: where it keeps ending, once more."""
        for _ in range(ENDS):
            there = self._known(role)
            if there.status != "running":
                return f" with {there.attrs['State']['ExitCode']}"
            self.sleep(LOOK)
        return ""

    def _restarts(self, role: Role) -> int:
        return int(self._known(role).attrs["RestartCount"])

    def _found(self, role: Role, there: Container) -> bool:
        """Whether the proxy knows where the container is by now."""
        networks = there.attrs["NetworkSettings"]["Networks"].values()
        return self._server(role).address in {network["IPAddress"] for network in networks}

    def _open(self, role: Role) -> None:
        """Let the proxy send requests, and wait until it would."""
        self._proxy.open_(role)
        deadline = self.clock() + self.drain
        while self.clock() < deadline and not self._server(role).up:
            self.sleep(LOOK)

    def _server(self, role: Role) -> Server:
        return self._proxy.server(role)

    def _drained(self, role: Role) -> None:
        """Wait until nothing is in flight there; what takes longer is finished by the service's own graceful stop."""
        deadline = self.clock() + self.drain
        while self.clock() < deadline and self._server(role).busy:
            self.sleep(LOOK)

    def _remove(self, role: Role) -> None:
        """Take it away once nothing is in flight there."""
        from docker.errors import NotFound

        if self._container(role):
            self._drained(role)
        self._proxy.close(role)
        for there in self._containers(role):
            with suppress(NotFound):
                there.update(restart_policy={"Name": "no"})
                there.stop()
                there.remove()

    @property
    def _reader(self) -> Reader:
        return Reader(clock=self.clock, sleep=self.sleep)

    @property
    def _proxy(self) -> Proxy:
        return Proxy(self._known("proxy"), self._reader)

    def _ask(self, role: Role, path: str) -> tuple[Container | None, str | None]:
        """The role's container, and what its service answers; asked again, for one look that fails may be bad luck."""
        there = None
        for left in reversed(range(TRIES)):
            there = self._container(role)
            text = self._get(there, path) if there else None
            if there is None or text is not None or not left:
                return there, text
            self.sleep(1)
        return there, None

    def _get(self, there: Container, path: str) -> str | None:
        """What the service in the container answers; None when it does not, or not well."""
        try:
            command = wrap_in_python(PYTHON, ["-m", "serving", "get", path])
            done = self._reader.run(f"the answer of {there.name} to {path}", there, command)
        except NotRunning:
            return None
        return done.text if done.code == 0 else None

    def _container(self, service: str) -> Container | None:
        """The service's container that was begun; the newest, should a lost bot have left two."""
        begun = [one for one in self._containers(service) if one.status != "created"]
        return max(begun, key=lambda one: str(one.attrs["Created"]), default=None)

    def _containers(self, service: str) -> list[Container]:
        labels = [f"com.docker.compose.project={self.name}", f"com.docker.compose.service={service}"]

        def list_once() -> list[Container]:
            from docker.errors import DockerException

            try:
                found = self.client.containers.list(all=True, filters={"label": labels}, ignore_removed=True)
            except DockerException as error:
                raise Incomplete(f"the engine says: {error}") from error
            return list(found)

        return self._reader.read(f"the list of {self.name}'s containers", list_once)

    def _known(self, service: str) -> Container:
        there = self._container(service)
        if there is None:
            raise EngineError(f"{self.name}: the container of `{service}` is gone; somebody removed it")
        return there

    def _up(self, service: str, **settings: str) -> None:
        """Start one service. What a lost bot's Compose still does may be in the way for a moment."""
        words = [*compose(), "--project-name", self.name, "--file", str(self.folder / "compose.yaml")]
        words += ["--profile", "canary", "up", "--detach", "--no-deps", "--quiet-pull", service]
        env = {**self.environ, "PROXY_IMAGE": "none", "STABLE_IMAGE": "none", **settings}
        for left in reversed(range(TRIES)):
            try:
                run(f"starting {service}", words, env=env)
            except EngineError:
                if not left:
                    raise
                self.sleep(1)
            else:
                return

    def _proxy_image(self) -> str:
        """The proxy's image, named by what it is made of and built where the engine does not have it yet."""
        context, base = self.folder / "proxy", self.environ.get(PROXY_BASE, "")
        files = sorted(path for path in context.iterdir() if path.is_file())
        content = b"\0".join([base.encode(), *(path.read_bytes() for path in files)])
        tag = f"{self.name}-proxy:{hashlib.sha256(content).hexdigest()[:12]}"
        if not self._reader.read(f"what the engine has as {tag}", lambda: self.client.images.list(name=tag)):
            self.tell("building the proxy")
            words = [builder(), "build", "--quiet", "--tag", tag]
            words += ["--build-arg", f"BASE={base}"] if base else []
            words += ["--secret", f"id=ca,src={self.environ[CA]}"] if self.environ.get(CA) else []
            run(
                "the build of the proxy", [*words, str(context)], env={**self.environ, "DOCKER_BUILDKIT": "1"}
            )
        return tag


def _version(there: Container | None, image: str, name: str) -> Version | None:
    labels = there.labels if there else {}
    return Version(labels[image], labels.get(name, "")) if labels.get(image) else None


def _read_contract(there: Container) -> bytes | None:
    """The container's contract.json; None where it has none. Raises `Incomplete`."""
    from docker.errors import APIError

    try:
        chunks, _ = there.get_archive(CONTRACT)
        with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as archive:
            found = archive.extractfile(archive.next() or "")
            return found.read() if found else None
    except APIError as error:
        if error.is_client_error():
            return None
        raise Incomplete(f"the engine says: {error.explanation or error}") from error
    except (tarfile.TarError, KeyError) as error:
        raise Incomplete(f"its archive was cut: {error}") from error


def _log(there: Container) -> str:
    """The last words for a message, which goes out without them where the engine does not say them."""
    from docker.errors import DockerException

    said = b""
    with suppress(DockerException, OSError):
        said = there.logs(tail=15)
    return last(said.decode(errors="replace"))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
