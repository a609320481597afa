"""Speaks with HAProxy's admin socket: sets the weights, opens and closes servers, reads what it knows of each."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bots.deploy.docker import EngineError
from bots.deploy.reading import Incomplete, NotRunning, run_once, wrap_in_shell

if TYPE_CHECKING:
    from docker.models.containers import Container

    from bots.deploy.reading import Reader

SOCKET = "/run/haproxy/admin.sock"
_UP = "2"
_WHOLE = 100
# The words are an argument of the shell's, never part of its script.
_SCRIPT = f'printf "%s\\n" "$0" | socat -t 10 - UNIX-CONNECT:{SOCKET}'


@dataclass(frozen=True)
class Server:
    """One server as the proxy sees it: its address, whether it passes its checks, and the requests in work."""

    address: str
    up: bool
    busy: int


@dataclass(frozen=True)
class Proxy:
    """The proxy in a container. Each command may be sent again, so one whose answer is lost is."""

    container: Container
    reader: Reader

    def set_share(self, canary: float) -> None:
        """Split the requests: the share `canary` (0 to 1) to the canary, the rest to the stable version."""
        weight = round(canary * _WHOLE)
        if canary not in (0, 1):
            weight = min(_WHOLE - 1, max(1, weight))
        # The one that gains first, so that there is never a moment without a server.
        weights = [("canary", weight), ("stable", _WHOLE - weight)]
        for name, value in sorted(weights, key=lambda one: -one[1]):
            self._send(f"set server {_name_backend(name)}/{name} weight {value}")

    def close_server(self, name: str) -> None:
        """Send the server no requests and no checks until `open_server`: the next one may have the same address."""
        self._send(f"set server {_name_backend(name)}/{name} state maint")

    def open_server(self, name: str) -> None:
        """Send the server requests again, by its weight."""
        self._send(f"set server {_name_backend(name)}/{name} state ready")

    def is_listening(self) -> bool:
        """Whether its admin socket answers by now."""
        try:
            return bool(_ask_once(self.container, "show info"))
        except (EngineError, Incomplete, OSError):
            return False

    def load_server(self, name: str) -> Server:
        """Load what the proxy knows of a server. Formats: HAProxy's management guide, section 9.3."""
        backend = _name_backend(name)
        states = _parse_table(self._send(f"show servers state {backend}").splitlines()[1:], " ")
        stats = _parse_table(self._send(f"show stat {backend} 4 -1").splitlines(), ",")
        try:
            state = next(row for row in states if row["srv_name"] == name)
            busy = next(int(row["scur"]) for row in stats if row["svname"] == name)
        except (StopIteration, KeyError, ValueError) as error:
            raise EngineError(
                f"the proxy does not know the server {name!r}: is deploy/proxy/haproxy.cfg edited?"
            ) from error
        return Server(state["srv_addr"], state["srv_op_state"] == _UP, busy)

    def _send(self, words: str) -> str:
        try:
            said = self.reader.read(
                f"the proxy's answer to {words!r}", lambda: _ask_once(self.container, words)
            )
        except NotRunning as error:
            raise EngineError(f"the proxy does not run: {error}") from error
        if said.startswith(("Unknown", "No such", "Require", "Invalid", "Permission")):
            raise EngineError(f"the proxy did not take {words!r}: {said}")
        return said


def _name_backend(server: str) -> str:
    """Name the backend of deploy/proxy/haproxy.cfg that has a server: the shadow has one of its own."""
    return "shadow" if server == "shadow" else "service"


def _ask_once(container: Container, words: str) -> str:
    """Ask the admin socket once. Raises `Incomplete` and `NotRunning`."""
    done = run_once(container, wrap_in_shell(["sh", "-c", _SCRIPT, words]))
    if done.code != 0:
        raise Incomplete(f"{done.errors.strip() or done.text.strip() or f'exit code {done.code}'}")
    # HAProxy ends every answer with an empty line; `socat` ends well also where it waited in vain.
    if not f"\n{done.text}".endswith("\n\n"):
        raise Incomplete(
            f"the admin socket said {done.text!r}" if done.text else "the admin socket said nothing"
        )
    return done.text.strip()


def _parse_table(lines: list[str], delimiter: str) -> list[dict[str, str]]:
    kept = [line.removeprefix("# ") for line in lines if line.strip()]
    return list(csv.DictReader(kept, delimiter=delimiter))
