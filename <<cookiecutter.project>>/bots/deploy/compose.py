"""Deploys with Docker Compose to the engine of DOCKER_HOST: a proxy, the stable version, for a while a canary."""

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

from bots.deploy.docker import EngineError, find_builder, find_compose, indent_end, run_command
from bots.deploy.haproxy import Proxy
from bots.deploy.image import CA
from bots.deploy.reading import Incomplete, NotRunning, Reader, wrap_in_python
from bots.deploy.target import Health, NotReady, State, Version

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from docker import DockerClient
    from docker.models.containers import Container

    from bots.deploy.target import Role

CONTRACT = "/srv/model/contract.json"
PYTHON = "/opt/venv/bin/python"
PAUSE = 0.2
EXIT_LOOKS = 25  # looks for the code that a container ended with
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
        """See `Target`. The proxy is built anew where its files changed."""
        image = self._build_proxy_image()
        there = self._find_container("proxy")
        if there is None or there.status != "running" or there.attrs["Config"]["Image"] != image:
            self.tell("starting the proxy")
            self._start_service("proxy", PROXY_IMAGE=image)
            deadline = self.clock() + self.ready
            while not self._proxy.is_listening():
                if self.clock() > deadline:
                    raise EngineError(
                        f"the proxy does not start; its last words:\n{_read_last_words(self._get_container('proxy'))}"
                    )
                self.sleep(PAUSE)

    def get_state(self) -> State:
        """See `Target`. Read from labels; a container that ended counts, one that never started does not."""
        stable, canary = self._find_container("stable"), self._find_container("canary")
        shadow = self._find_container("shadow")
        return State(
            _read_version(stable, "release.image", "release.version"),
            _read_version(canary, "release.image", "release.version"),
            _read_version(canary, "release.previous-image", "release.previous-version"),
            _read_version(shadow, "release.image", "release.version"),
        )

    def start_canary(self, version: Version, previous: Version | None) -> None:
        """See `Target`."""
        there = self._find_container("canary")
        if _read_version(there, "release.image", "release.version") != version:
            self._remove("canary")
            self.tell(f"starting {version.name} as the canary")
            self._start_service(
                "canary",
                CANARY_IMAGE=version.reference,
                CANARY_VERSION=version.name,
                CANARY_DEPLOYED=_format_now(),
                CANARY_PREVIOUS_IMAGE=previous.reference if previous else "",
                CANARY_PREVIOUS_VERSION=previous.name if previous else "",
            )
        self._wait_until_ready("canary", version)

    def start_shadow(self, version: Version) -> None:
        """See `Target`. The proxy copies requests to it from the moment that it passes its checks."""
        there = self._find_container("shadow")
        if _read_version(there, "release.image", "release.version") != version:
            self.remove_shadow()
            self.tell(f"starting {version.name} as the shadow")
            self._start_service(
                "shadow",
                SHADOW_IMAGE=version.reference,
                SHADOW_VERSION=version.name,
                SHADOW_DEPLOYED=_format_now(),
            )
        self._wait_until_ready("shadow", version)

    def remove_shadow(self) -> None:
        """See `Target`."""
        if self._list_containers("shadow"):
            self._remove("shadow")

    def set_share(self, canary: float) -> None:
        """See `Target`."""
        self._proxy.set_share(canary)

    def load_metrics(self, role: Role) -> Mapping[str, str]:
        """See `Target`."""
        there, text = self._ask_service(role, "/metrics")
        return {str(there.id): text} if there and text is not None else {}

    def check_health(self, role: Role) -> Health:
        """See `Target`."""
        there, text = self._ask_service(role, "/health/ready")
        return Health(int(there.attrs["RestartCount"]) if there else 0, alive=text is not None)

    def load_contract(self, role: Role) -> bytes | None:
        """See `Target`."""
        there = self._find_container(role)
        if there is None:
            return None
        return self._reader.read(f"the contract of {there.name}", lambda: _read_contract(there))

    def promote(self, version: Version) -> None:
        """See `Target`. The canary takes all requests while the stable version is replaced."""
        before = self.get_state()
        try:
            if before.stable == version:
                self._wait_until_ready("stable", version, self._count_restarts("stable"))
            else:
                if before.canary == version:
                    self.set_share(1)
                self._remove("stable")
                self._start_stable(version)
        except NotReady:
            former = before.previous if before.stable == version else before.stable or before.previous
            if former or before.stable is None:
                self._remove("stable")
            if former:
                self._start_stable(former)
            raise
        self.withdraw()

    def withdraw(self) -> None:
        """See `Target`."""
        if self._find_container("stable"):
            self._open_server("stable")
        self.set_share(0)
        self._remove("canary")

    def _start_stable(self, version: Version) -> None:
        self.tell(f"starting {version.name} as the stable version")
        self._start_service(
            "stable",
            STABLE_IMAGE=version.reference,
            STABLE_VERSION=version.name,
            STABLE_DEPLOYED=_format_now(),
        )
        self._wait_until_ready("stable", version)

    def _wait_until_ready(self, role: Role, version: Version, before: int = 0) -> None:
        """Wait until the version is ready and the proxy sees that. `before`: how often it was restarted until now.

        Raises `NotReady`.
        """
        deadline = self.clock() + self.ready
        while self.clock() < deadline:
            there = self._get_container(role)
            if int(there.attrs["RestartCount"]) > before:
                code = self._describe_exit_code(role)
                words = f"{version.name} ended by itself{code} and was started anew; its last words:\n"
                raise NotReady(words + _read_last_words(there))
            if self._read_answer(there, "/health/ready") is not None and self._is_known_to_proxy(role, there):
                self._open_server(role)
                return
            self.sleep(PAUSE)
        words = f"{version.name} is not ready after {self.ready:.0f} s; its last words:\n"
        raise NotReady(words + _read_last_words(self._get_container(role)))

    def _describe_exit_code(self, role: Role) -> str:
        """` with CODE` of a container that keeps ending; its state has the exit code only until its next start."""
        for _ in range(EXIT_LOOKS):
            there = self._get_container(role)
            if there.status != "running":
                return f" with {there.attrs['State']['ExitCode']}"
            self.sleep(PAUSE)
        return ""

    def _count_restarts(self, role: Role) -> int:
        return int(self._get_container(role).attrs["RestartCount"])

    def _is_known_to_proxy(self, role: Role, there: Container) -> bool:
        """Whether the proxy knows where the container is by now."""
        networks = there.attrs["NetworkSettings"]["Networks"].values()
        return self._proxy.load_server(role).address in {network["IPAddress"] for network in networks}

    def _open_server(self, role: Role) -> None:
        """Let the proxy send requests, and wait until the server passes its checks."""
        self._proxy.open_server(role)
        deadline = self.clock() + self.drain
        while self.clock() < deadline and not self._proxy.load_server(role).up:
            self.sleep(PAUSE)

    def _drain(self, role: Role) -> None:
        """Wait until no request is being answered; what takes longer is finished by the service's own graceful stop."""
        deadline = self.clock() + self.drain
        while self.clock() < deadline and self._proxy.load_server(role).busy:
            self.sleep(PAUSE)

    def _remove(self, role: Role) -> None:
        """Remove the role's container once no request is being answered there."""
        from docker.errors import NotFound

        if self._find_container(role):
            self._drain(role)
        self._proxy.close_server(role)
        for there in self._list_containers(role):
            with suppress(NotFound):
                there.update(restart_policy={"Name": "no"})
                there.stop()
                there.remove()

    @property
    def _reader(self) -> Reader:
        return Reader(clock=self.clock, sleep=self.sleep)

    @property
    def _proxy(self) -> Proxy:
        return Proxy(self._get_container("proxy"), self._reader)

    def _ask_service(self, role: Role, path: str) -> tuple[Container | None, str | None]:
        """The role's container and its service's answer, asked for up to three times: one failure may be bad luck."""
        there = None
        for left in reversed(range(TRIES)):
            there = self._find_container(role)
            text = self._read_answer(there, path) if there else None
            if there is None or text is not None or not left:
                return there, text
            self.sleep(1)
        return there, None

    def _read_answer(self, there: Container, path: str) -> str | None:
        """Read what the service in the container answers; None when it does not answer, or not well."""
        try:
            command = wrap_in_python(PYTHON, ["-m", "serving", "get", path])
            done = self._reader.run(f"the answer of {there.name} to {path}", there, command)
        except NotRunning:
            return None
        return done.text if done.code == 0 else None

    def _find_container(self, service: str) -> Container | None:
        """Find the service's container that was started; the newest, should a killed bot have left two."""
        begun = [one for one in self._list_containers(service) if one.status != "created"]
        return max(begun, key=lambda one: str(one.attrs["Created"]), default=None)

    def _list_containers(self, service: str) -> list[Container]:
        labels = [f"com.docker.compose.project={self.name}", f"com.docker.compose.service={service}"]

        def list_once() -> list[Container]:
            from docker.errors import DockerException

            try:
                found = self.client.containers.list(all=True, filters={"label": labels}, ignore_removed=True)
            except DockerException as error:
                raise Incomplete(f"the engine says: {error}") from error
            return list(found)

        return self._reader.read(f"the list of {self.name}'s containers", list_once)

    def _get_container(self, service: str) -> Container:
        there = self._find_container(service)
        if there is None:
            raise EngineError(f"{self.name}: the container of `{service}` is gone; somebody removed it")
        return there

    def _start_service(self, service: str, **settings: str) -> None:
        """Start one service. What a killed bot's Compose still does may be in the way for a moment, so try again."""
        words = [*find_compose(), "--project-name", self.name, "--file", str(self.folder / "compose.yaml")]
        words += [
            "--profile",
            "canary",
            "--profile",
            "shadow",
            "up",
            "--detach",
            "--no-deps",
            "--quiet-pull",
            service,
        ]
        env = {**self.environ, "PROXY_IMAGE": "none", "STABLE_IMAGE": "none", **settings}
        for left in reversed(range(TRIES)):
            try:
                run_command(f"starting {service}", words, env=env)
            except EngineError:
                if not left:
                    raise
                self.sleep(1)
            else:
                return

    def _build_proxy_image(self) -> str:
        """Build the proxy's image where the engine does not have it yet. Its tag is a digest of what it is made of."""
        context, base = self.folder / "proxy", self.environ.get(PROXY_BASE, "")
        files = sorted(path for path in context.iterdir() if path.is_file())
        content = b"\0".join([base.encode(), *(path.read_bytes() for path in files)])
        tag = f"{self.name}-proxy:{hashlib.sha256(content).hexdigest()[:12]}"
        if not self._reader.read(f"what the engine has as {tag}", lambda: self.client.images.list(name=tag)):
            self.tell("building the proxy")
            words = [find_builder(), "build", "--quiet", "--tag", tag]
            words += ["--build-arg", f"BASE={base}"] if base else []
            words += ["--secret", f"id=ca,src={self.environ[CA]}"] if self.environ.get(CA) else []
            run_command(
                "the build of the proxy", [*words, str(context)], env={**self.environ, "DOCKER_BUILDKIT": "1"}
            )
        return tag


def _read_version(there: Container | None, image: str, name: str) -> Version | None:
    labels = there.labels if there else {}
    return Version(labels[image], labels.get(name, "")) if labels.get(image) else None


def _read_contract(there: Container) -> bytes | None:
    """Read the container's contract.json; None where it has none. Raises `Incomplete`."""
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


def _read_last_words(there: Container) -> str:
    """Read the end of a container's log for a message; empty where the engine does not give it."""
    from docker.errors import DockerException

    said = b""
    with suppress(DockerException, OSError):
        said = there.logs(tail=15)
    return indent_end(said.decode(errors="replace"))


def _format_now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
