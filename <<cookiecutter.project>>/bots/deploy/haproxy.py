"""The proxy's admin socket: weights, and what the proxy knows of each server."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bots.deploy.docker import EngineError

if TYPE_CHECKING:
    from docker.models.containers import Container

BACKEND = "service"
SOCKET = "/run/haproxy/admin.sock"
_UP = "2"
_WHOLE = 100


@dataclass(frozen=True)
class Server:
    """One server as the proxy sees it: its address, whether it passes its checks, and the requests in flight."""

    address: str
    up: bool
    busy: int


def share(proxy: Container, canary: float) -> None:
    """Split the requests: `canary` of one to the canary, the rest to the stable version."""
    weight = round(canary * _WHOLE) if canary in (0, 1) else min(_WHOLE - 1, max(1, round(canary * _WHOLE)))
    # The one that gains first, so that there is never a moment without a server.
    weights = [("canary", weight), ("stable", _WHOLE - weight)]
    for name, value in sorted(weights, key=lambda one: -one[1]):
        _say(proxy, f"set server {BACKEND}/{name} weight {value}")


def close(proxy: Container, name: str) -> None:
    """Send the server nothing and ask it nothing, until `open_`: what will be there next may have the same address."""
    _say(proxy, f"set server {BACKEND}/{name} state maint")


def open_(proxy: Container, name: str) -> None:
    """Take the server back; requests follow its weight."""
    _say(proxy, f"set server {BACKEND}/{name} state ready")


def answers(proxy: Container) -> bool:
    """Whether its admin socket is there by now."""
    try:
        return bool(_say(proxy, "show info"))
    except EngineError:
        return False


def server(proxy: Container, name: str) -> Server:
    """What the proxy knows of `stable` or `canary`. Formats: HAProxy's management guide, section 9.3."""
    states = _table(_say(proxy, f"show servers state {BACKEND}").splitlines()[1:], " ")
    # An empty line ends the table.
    stats = _table(_say(proxy, f"show stat {BACKEND} 4 -1").splitlines(), ",")
    try:
        state = next(row for row in states if row["srv_name"] == name)
        busy = next(int(row["scur"]) for row in stats if row["svname"] == name)
    except (StopIteration, KeyError, ValueError) as error:
        raise EngineError(
            f"the proxy does not know the server {name!r}: is deploy/proxy/haproxy.cfg edited?"
        ) from error
    return Server(state["srv_addr"], state["srv_op_state"] == _UP, busy)


def _table(lines: list[str], delimiter: str) -> list[dict[str, str]]:
    kept = [line.removeprefix("# ") for line in lines if line.strip()]
    return list(csv.DictReader(kept, delimiter=delimiter))


def _say(proxy: Container, words: str) -> str:
    from docker.errors import APIError

    # The words are an argument of the shell's, never part of its script.
    script = f'printf "%s\\n" "$0" | socat -t 10 - UNIX-CONNECT:{SOCKET}'
    try:
        code, output = proxy.exec_run(["sh", "-c", script, words])
    except APIError as error:
        raise EngineError(f"the proxy does not run: {error.explanation or error}") from error
    said = output.decode(errors="replace").strip()
    if code != 0 or said.startswith(("Unknown", "No such", "Require", "Invalid", "Permission")):
        raise EngineError(f"the proxy did not take {words!r}: {said or f'exit code {code}'}")
    return said
