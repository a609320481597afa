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

from bots.deploy.docker import (
    EngineError,
    find_builder,
    find_compose,
    indent_end,
    list_proxies,
    run_command,
)
from bots.deploy.haproxy import Proxy
from bots.deploy.image import CA
from bots.deploy.reading import Incomplete, NotRunning, Reader, wrap_in_python
from bots.deploy.replicas import count_canaries, count_wanted, describe_copy, list_running
from bots.deploy.target import Health, NotReady, State, Version
from bots.settings import Replicas

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from docker import DockerClient
    from docker.models.containers import Container

    from bots.deploy.haproxy import Traffic
    from bots.deploy.target import Role

CONTRACT = "/srv/model/contract.json"
PYTHON = "/opt/venv/bin/python"
PAUSE = 0.2
EXIT_LOOKS = 25  # looks for the code that a container ended with
TRIES = 3
PROXY_BASE = "SHIP_PROXY_BASE"


@dataclass
class Compose:
    """One stage: the Compose project `name`, described in `folder` (deploy/). Times in seconds.

    `port` is where the proxy has to listen; None: where it does already, or where PORT says when it is started.
    """

    folder: Path
    name: str
    client: DockerClient
    tell: Callable[[str], None]
    ready: float = 60.0
    drain: float = 30.0
    replicas: Replicas = field(default_factory=Replicas)
    port: str | None = None
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    def prepare(self) -> None:
        """See `Target`. The proxy is built anew where its files changed, and moves where its port did (`port`)."""
        image = self._build_proxy_image()
        there = self._find_container("proxy")
        is_there = there is not None and there.status == "running" and there.attrs["Config"]["Image"] == image
        moves = there is not None and self.port is not None and self.port not in _list_ports(there)
        if not is_there or moves:
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
        """See `Target`. There are as many canaries as carry it with no more work for each than now."""
        stable = len(self._list_running("stable"))
        if canary and self._list_running("canary"):
            self._keep("canary", count_canaries(canary, stable))
        self._split(canary)

    def load_metrics(self, role: Role) -> Mapping[str, str]:
        """See `Target`."""
        answers = self._ask_services(role, "/metrics")
        return {str(there.id): text for there, text in answers if text is not None}

    def check_health(self, role: Role) -> Health:
        """See `Target`."""
        answers = self._ask_services(role, "/health/ready")
        alive = bool(answers) and all(text is not None for _, text in answers)
        return Health(sum(_count_restarts(there) for there, _ in answers), alive)

    def scale(self, wanted: int) -> int:
        """Make so many containers answer as the stable version, without losing a request; how many there were.

        One that ended is replaced. Raises `NotReady`, and then there are as many as before, and `EngineError`.
        """
        before, share = self.get_state(), self._proxy.load_share()
        if before.stable is None:
            raise EngineError(f"{self.name}: no version runs here, so there is nothing to scale; release one")
        if share >= 1:
            raise EngineError(f"{self.name}: a version is being promoted just now; scale once that is done")
        running = self._list_running("stable")
        added = self._keep("stable", wanted)
        if self.get_state().stable != before.stable or self.is_promoting():
            self._take_away("stable", added)
            raise EngineError(f"{self.name}: a version was promoted meanwhile; scale once that is done")
        self._split(share)
        return len(running)

    def count_replicas(self, *, ended: bool = False) -> int:
        """Count the stable version's containers that run; with `ended` those too that do no more."""
        return len((self._list_begun if ended else self._list_running)("stable"))

    def is_promoting(self) -> bool:
        """Whether the canaries take all requests, because the stable version is replaced."""
        return self._proxy.load_share() >= 1

    def load_traffic(self) -> Traffic:
        """Load how much the stable version was asked."""
        return self._proxy.load_traffic("stable")

    def load_contract(self, role: Role) -> bytes | None:
        """See `Target`."""
        there = self._find_container(role)
        if there is None:
            return None
        return self._reader.read(f"the contract of {there.name}", lambda: _read_contract(there))

    def promote(self, version: Version) -> None:
        """See `Target`. As many canaries take all requests while the stable version's containers are replaced."""
        before = self.get_state()
        stable, canaries = (len(self._list_begun(role)) for role in ("stable", "canary"))
        wanted = count_wanted(self.replicas, stable, canaries)
        if before.stable != version and before.canary == version:
            # One that ended carries nothing; the stable version is started all the same.
            if self._list_running("canary"):
                self._keep("canary", wanted)
            self._split(1)
        try:
            if before.stable == version:
                restarts = _list_restarts(self._list_begun("stable"))
                self._wait_until_ready("stable", version, restarts)
                self._keep("stable", wanted)
            else:
                self._remove("stable")
                self._start_stable(version, wanted)
        except NotReady:
            former = before.previous if before.stable == version else before.stable or before.previous
            if former or before.stable is None:
                self._remove("stable")
            if former:
                self._start_stable(former, wanted)
            raise
        self.withdraw()

    def withdraw(self) -> None:
        """See `Target`."""
        if self._find_container("stable"):
            self._open_servers("stable")
        self._split(0)
        self._remove("canary")

    def _split(self, canary: float) -> None:
        """Split the requests between the containers that there are now."""
        stable, canaries = (max(1, len(self._list_running(role))) for role in ("stable", "canary"))
        self._proxy.set_share(canary, stable=stable, canaries=canaries)

    def _start_stable(self, version: Version, wanted: int) -> None:
        self.tell(f"starting {version.name} as the stable version")
        self._start_service(
            "stable",
            STABLE_IMAGE=version.reference,
            STABLE_VERSION=version.name,
            STABLE_DEPLOYED=_format_now(),
        )
        self._wait_until_ready("stable", version)
        self._keep("stable", wanted)

    def _keep(self, role: Role, wanted: int) -> list[Container]:
        """Keep so many containers of a role's version; those that were added. One that ended is replaced.

        Raises `NotReady`, and then those that were added are gone again.
        """
        found = self._list_containers(role)
        running = list_running(found)
        if not running:
            raise EngineError(f"{self.name}: no container of `{role}` runs any more; release a version")
        self._delete([one for one in found if one not in running])
        if len(running) > wanted:
            self._take_away(role, running[wanted:])
        if len(running) < wanted:
            return self._add(role, running, wanted - len(running))
        self._open_servers(role)
        return []

    def _add(self, role: Role, running: Sequence[Container], more: int) -> list[Container]:
        """Start more containers like the oldest one; they get requests once they are ready. Raises `NotReady`."""
        self.tell(f"starting {more} more of {role}, which makes {len(running) + more}")
        version = _read_version(running[0], "release.image", "release.version") or Version("", role)
        restarts = _list_restarts(running)
        self._proxy.close_free_servers(role)
        added: list[Container] = []
        try:
            for _ in range(more):
                added += [self._start_copy(running[0], role)]
            self._wait_until_ready(role, version, restarts)
        except BaseException:
            self._delete(added)
            self._proxy.open_servers(role)
            raise
        return added

    def _start_copy(self, pattern: Container, role: Role) -> Container:
        from docker.errors import DockerException

        name, description = describe_copy(pattern.attrs, self._list_containers(role))
        there = None
        try:
            made = self.client.api.create_container_from_config(description, name)
            there = self.client.containers.get(made["Id"])
            there.start()
            there.reload()
            return there
        except (DockerException, OSError) as error:
            if there is not None:
                with suppress(DockerException, OSError):
                    there.remove(force=True)
            raise EngineError(f"{name} cannot be started: {error}") from error

    def _take_away(self, role: Role, surplus: Sequence[Container]) -> None:
        """Remove containers of a role, each once it has answered what it was asked; the others stay."""
        self.tell(f"stopping {len(surplus)} of {role}")
        addresses = {address for there in surplus for address in _list_addresses(there)}
        names = [server.name for server in self._proxy.load_servers(role) if server.address in addresses]
        self._proxy.drain_servers(role, names)
        self._wait_until_idle(role, names)
        self._proxy.close_servers(role, names)
        self._delete(surplus)
        deadline = self.clock() + self.drain
        while self.clock() < deadline and any(
            server.address in addresses for server in self._proxy.load_servers(role)
        ):
            self.sleep(PAUSE)
        self._open_servers(role)

    def _delete(self, containers: Iterable[Container]) -> None:
        """Stop and remove containers; the service finishes what is in work."""
        from docker.errors import NotFound

        for there in containers:
            with suppress(NotFound):
                there.update(restart_policy={"Name": "no"})
                there.stop()
                there.remove()

    def _wait_until_ready(
        self, role: Role, version: Version, restarts: Mapping[str, int] | None = None
    ) -> None:
        """Wait until all containers of the role are ready and the proxy sees that.

        `restarts` has how often each was restarted until now. Raises `NotReady`.
        """
        deadline = self.clock() + self.ready
        ready: set[str] = set()
        while self.clock() < deadline:
            found = self._list_expected(role)
            for there in found:
                if _count_restarts(there) > (restarts or {}).get(str(there.id), 0):
                    code = self._describe_exit_code(there)
                    words = f"{version.name} ended by itself{code} and was started anew; its last words:\n"
                    raise NotReady(words + _read_last_words(there))
            for there in found:
                if there.id not in ready and self._read_answer(there, "/health/ready") is not None:
                    ready.add(str(there.id))
            if all(there.id in ready for there in found) and self._are_known_to_proxy(role, found):
                self._open_servers(role)
                return
            self.sleep(PAUSE)
        late = next((one for one in self._list_expected(role) if one.id not in ready), None)
        words = f"{version.name} is not ready after {self.ready:.0f} s; its last words:\n"
        raise NotReady(words + _read_last_words(late or self._get_container(role)))

    def _list_expected(self, role: Role) -> list[Container]:
        """List the role's containers that run; where none does, the newest that did. Raises `EngineError`."""
        return self._list_running(role) or [self._get_container(role)]

    def _describe_exit_code(self, there: Container) -> str:
        """` with CODE` of a container that keeps ending; its state has the exit code only until its next start."""
        from docker.errors import DockerException

        for _ in range(EXIT_LOOKS):
            with suppress(DockerException):
                there.reload()
            if there.status != "running":
                return f" with {there.attrs['State']['ExitCode']}"
            self.sleep(PAUSE)
        return ""

    def _are_known_to_proxy(self, role: Role, found: Sequence[Container]) -> bool:
        """Whether the proxy knows where the containers are by now."""
        known = {server.address for server in self._proxy.load_servers(role)}
        return all(known.intersection(_list_addresses(there)) for there in found)

    def _open_servers(self, role: Role) -> None:
        """Let the proxy send requests, and wait until the servers pass its checks."""
        self._proxy.open_servers(role)
        deadline = self.clock() + self.drain
        while self.clock() < deadline:
            servers = self._proxy.load_servers(role)
            if servers and all(server.up for server in servers):
                return
            self.sleep(PAUSE)

    def _wait_until_idle(self, role: Role, names: Iterable[str] | None = None) -> None:
        """Wait until no request is being answered; what takes longer is finished by the service's own graceful stop.

        `names` are some of the role's servers; else all.
        """
        chosen = None if names is None else set(names)
        deadline = self.clock() + self.drain
        while self.clock() < deadline and any(
            server.busy
            for server in self._proxy.load_servers(role)
            if chosen is None or server.name in chosen
        ):
            self.sleep(PAUSE)

    def _remove(self, role: Role) -> None:
        """Remove the role's containers once no request is being answered there."""
        if self._find_container(role):
            self._wait_until_idle(role)
        self._proxy.close_servers(role)
        self._delete(self._list_containers(role))

    @property
    def _reader(self) -> Reader:
        return Reader(clock=self.clock, sleep=self.sleep)

    @property
    def _proxy(self) -> Proxy:
        return Proxy(self._get_container("proxy"), self._reader)

    def _ask_services(self, role: Role, path: str) -> list[tuple[Container, str | None]]:
        """The role's containers, each with its service's answer; one that fails is asked up to three times."""
        answers: dict[str, str | None] = {}
        for left in reversed(range(TRIES)):
            found = self._list_begun(role)
            for there in found:
                if answers.get(str(there.id)) is None:
                    answers[str(there.id)] = self._read_answer(there, path)
            if not left or all(answers[str(there.id)] is not None for there in found):
                return [(there, answers[str(there.id)]) for there in found]
            self.sleep(1)
        return []

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
        return max(self._list_begun(service), key=lambda one: str(one.attrs["Created"]), default=None)

    def _list_begun(self, service: str) -> list[Container]:
        """List the service's containers that were started, whether they still run or not."""
        return [one for one in self._list_containers(service) if one.status != "created"]

    def _list_running(self, service: str) -> list[Container]:
        return list_running(self._list_containers(service))

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
            raise EngineError(f"{self.name}: {self._explain_absence(service)}")
        return there

    def _explain_absence(self, service: str) -> str:
        if any(self._list_begun(name) for name in ("proxy", "stable")):
            return f"the container of `{service}` is gone; somebody removed it"
        return (
            "nothing of it is on this engine: either no version was deployed yet, or DOCKER_HOST must name the engine "
            "that it was deployed to"
        )

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
            proxies = list_proxies(self.environ)
            words += [word for name in proxies for word in ("--build-arg", name)]
            run_command(
                "the build of the proxy",
                [*words, str(context)],
                env={**self.environ, **proxies, "DOCKER_BUILDKIT": "1"},
            )
        return tag


def _read_version(there: Container | None, image: str, name: str) -> Version | None:
    labels = there.labels if there else {}
    return Version(labels[image], labels.get(name, "")) if labels.get(image) else None


def _list_ports(there: Container) -> list[str]:
    """The ports of the host that lead to a container."""
    known = there.attrs["HostConfig"].get("PortBindings") or {}
    return [str(one.get("HostPort")) for found in known.values() for one in found or ()]


def _count_restarts(there: Container) -> int:
    return int(there.attrs["RestartCount"])


def _list_restarts(found: Iterable[Container]) -> dict[str, int]:
    """How often each container was restarted until now, by its id."""
    return {str(there.id): _count_restarts(there) for there in found}


def _list_addresses(there: Container) -> set[str]:
    """The container's addresses in its networks."""
    networks = there.attrs["NetworkSettings"]["Networks"].values()
    return {network["IPAddress"] for network in networks if network["IPAddress"]}


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
