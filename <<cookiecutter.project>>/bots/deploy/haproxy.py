"""Speaks with HAProxy's admin socket: sets the weights, opens and closes servers, reads what it knows of each."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from bots.deploy.docker import EngineError
from bots.deploy.reading import Incomplete, NotRunning, run_once, wrap_in_shell
from bots.settings import MOST_REPLICAS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from docker.models.containers import Container

    from bots.deploy.reading import Reader

SOCKET = "/run/haproxy/admin.sock"
_UP = "2"
_PERCENT = 100
_HEAVIEST = 256
# The words are an argument of the shell's, never part of its script.
_SCRIPT = f'printf "%s\\n" "$0" | socat -t 10 - UNIX-CONNECT:{SOCKET}'
_SHARE = "share/canary"
_NOWHERE = ("-", "0.0.0.0")  # noqa: S104 - what the proxy calls an address that it does not have
_BEGINNING = 80  # characters of what was told, in a message
_REFUSALS = ("Unknown", "No such", "Require", "Invalid", "Permission")


@dataclass(frozen=True)
class Server:
    """A server of the proxy that has an address: whether it passes its checks, and the requests in work there."""

    name: str
    address: str
    up: bool
    busy: int


@dataclass(frozen=True)
class Traffic:
    """What the proxy counted until now: each server's requests, and the mean seconds of its newest.

    `busy` is how many are in work or wait at this moment.
    """

    requests: Mapping[str, int]
    seconds: Mapping[str, float]
    busy: int = 0


@dataclass(frozen=True)
class Proxy:
    """The proxy in a container. Each command may be sent again, so one whose answer is lost is.

    Each role has several servers, one for each of its containers; those beyond have no address and get no request.
    """

    container: Container
    reader: Reader

    def set_share(self, canary: float, *, stable: int = 1, canaries: int = 1) -> None:
        """Split the requests: the share `canary` (0 to 1) to so many `canaries`, the rest to `stable` containers."""
        percent = round(canary * _PERCENT)
        if canary not in (0, 1):
            percent = min(_PERCENT - 1, max(1, percent))
        of_stable, of_canary = compute_weights(percent, stable=stable, canaries=canaries)
        # Those that gain first, so that there is never a moment without a server.
        weights = sorted([("canary", of_canary), ("stable", of_stable)], key=lambda one: one[1] == 0)
        words = [
            f"set server {name} weight {weight}" for role, weight in weights for name in _list_servers(role)
        ]
        self._tell([f"set server {_SHARE} weight {percent}", *words])

    def load_share(self) -> float:
        """Load the canary's share of the requests, 0 to 1."""
        states = self._load_table(f"show servers state {_SHARE.partition('/')[0]}")
        try:
            return int(states[0]["srv_uweight"]) / _PERCENT
        except (IndexError, KeyError, ValueError) as error:
            raise _not_known("share") from error

    def close_servers(self, role: str, names: Iterable[str] | None = None) -> None:
        """Send the servers no requests and no checks until they are opened: the next may have the same address.

        `names` are some of the role's; else all.
        """
        self._set_state(role, names, "maint")

    def drain_servers(self, role: str, names: Iterable[str]) -> None:
        """Send these servers of the role no more requests; they finish those that they have."""
        self._set_state(role, names, "drain")

    def open_servers(self, role: str) -> None:
        """Send all servers of the role requests again, by their weight."""
        self._set_state(role, None, "ready")

    def close_free_servers(self, role: str) -> None:
        """Close those servers of the role that have no address: a container that is started gets no request yet."""
        taken = {server.name for server in self.load_servers(role)}
        names = [path.partition("/")[2] for path in _list_servers(role)]
        self.close_servers(role, [name for name in names if name not in taken])

    def is_listening(self) -> bool:
        """Whether its admin socket answers by now."""
        try:
            return bool(_ask_once(self.container, "show info"))
        except (EngineError, Incomplete, OSError):
            return False

    def load_servers(self, role: str) -> list[Server]:
        """Load the servers of a role that have an address. Formats: HAProxy's management guide, section 9.3."""
        paths = _list_servers(role)
        backend = paths[0].partition("/")[0]
        states = {row.get("srv_name"): row for row in self._load_table(f"show servers state {backend}")}
        stats = _parse_table(self._send(f"show stat {backend} 4 -1").splitlines(), ",")
        busy = {row.get("svname"): row.get("scur") for row in stats}
        found = []
        for name in (path.partition("/")[2] for path in paths):
            try:
                state = states[name]
                if state["srv_addr"] not in _NOWHERE:
                    up = state["srv_op_state"] == _UP
                    found.append(Server(name, state["srv_addr"], up=up, busy=int(busy[name] or 0)))
            except (KeyError, ValueError) as error:
                raise _not_known(name) from error
        return found

    def load_traffic(self, role: str) -> Traffic:
        """Load how much a role's servers were asked. Seconds: the mean of the newest 1024 requests, queue included."""
        paths = _list_servers(role)
        backend, names = paths[0].partition("/")[0], {path.partition("/")[2] for path in paths}
        rows = _parse_table(self._send(f"show stat {backend} 6 -1").splitlines(), ",")
        try:
            own = {row["svname"]: row for row in rows if row["svname"] in names}
            requests = {name: int(row["req_tot"] or 0) for name, row in own.items()}
            seconds = {
                name: (int(row["qtime"] or 0) + int(row["rtime"] or 0)) / 1000 for name, row in own.items()
            }
            busy = sum(int(row["scur"] or 0) for row in own.values())
            busy += sum(int(row["qcur"] or 0) for row in rows if row["svname"] in (*own, "BACKEND"))
        except (KeyError, ValueError) as error:
            raise EngineError(f"the proxy's counters cannot be read: {error!r}") from error
        if len(own) != len(names):
            raise _not_known(min(names - set(own)))
        return Traffic(requests, seconds, busy)

    def _set_state(self, role: str, names: Iterable[str] | None, state: str) -> None:
        paths = _list_servers(role)
        chosen = None if names is None else set(names)
        words = [
            f"set server {path} state {state}"
            for path in paths
            if chosen is None or path.partition("/")[2] in chosen
        ]
        if words:
            self._tell(words)

    def _load_table(self, words: str) -> list[dict[str, str]]:
        """Load a table that has its version in the first line."""
        return _parse_table(self._send(words).splitlines()[1:], " ")

    def _tell(self, words: Sequence[str]) -> None:
        """Tell the proxy several things at once, which it answers with nothing but an empty line each."""
        self._send("; ".join(words), silent=len(words))

    def _send(self, words: str, *, silent: int = 0) -> str:
        def ask() -> str:
            return _ask_once(self.container, words, silent=silent)

        try:
            said = self.reader.read(f"the proxy's answer to {words[:_BEGINNING]!r}", ask)
        except NotRunning as error:
            raise EngineError(f"the proxy does not run: {error}") from error
        if said.startswith(_REFUSALS):
            advice = ". If it was made by an older release, the next one exchanges it" if silent else ""
            raise EngineError(
                f"the proxy did not take {words[:_BEGINNING]!r}: {said.splitlines()[0]}{advice}"
            )
        return said


def compute_weights(percent: int, *, stable: int, canaries: int) -> tuple[int, int]:
    """Compute the weights of one stable container and of one canary, so that all canaries get `percent` of 100.

    HAProxy's weights are whole numbers up to 256; the nearest ratio of two such numbers is taken.
    """
    if percent <= 0:
        return 1, 0
    if percent >= _PERCENT:
        return 0, 1
    ratio = Fraction(percent * stable, (_PERCENT - percent) * canaries)
    if ratio > 1:
        return _find_nearest(1 / ratio)
    small, large = _find_nearest(ratio)
    return large, small


def _find_nearest(ratio: Fraction) -> tuple[int, int]:
    """Find the two weights whose ratio, at most 1, is nearest."""
    nearest = max(ratio.limit_denominator(_HEAVIEST), Fraction(1, _HEAVIEST))
    return nearest.numerator, nearest.denominator


def _list_servers(role: str) -> list[str]:
    """List a role's servers in deploy/proxy/haproxy.cfg, each as `BACKEND/SERVER`; the shadow has one, of its own."""
    if role == "shadow":
        return ["shadow/shadow"]
    return [f"service/{role}{number}" for number in range(1, MOST_REPLICAS + 1)]


def _not_known(name: str) -> EngineError:
    return EngineError(
        f"the proxy does not know the server {name!r}: is deploy/proxy/haproxy.cfg edited? If the proxy was made by an "
        "older release, the next one exchanges it"
    )


def _ask_once(container: Container, words: str, *, silent: int = 0) -> str:
    """Ask the admin socket once. Raises `Incomplete` and `NotRunning`. `silent`: of so many commands at once."""
    done = run_once(container, wrap_in_shell(["sh", "-c", _SCRIPT, words]))
    if done.code != 0:
        raise Incomplete(f"{done.errors.strip() or done.text.strip() or f'exit code {done.code}'}")
    # HAProxy ends every answer with an empty line; `socat` ends well also where it waited in vain.
    lines = done.text.count("\n") if silent and not done.text.strip() else silent
    if lines < silent or not f"\n{done.text}".endswith("\n\n"):
        raise Incomplete(
            f"the admin socket said {done.text!r}" if done.text else "the admin socket said nothing"
        )
    return done.text.strip()


def _parse_table(lines: list[str], delimiter: str) -> list[dict[str, str]]:
    kept = [line.removeprefix("# ") for line in lines if line.strip()]
    return list(csv.DictReader(kept, delimiter=delimiter))
