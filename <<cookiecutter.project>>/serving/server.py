"""Run uvicorn with what it lacks: limits for each connection, and a stop that resets none of them."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import resource
import signal
import socket
import struct
from typing import TYPE_CHECKING, Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.supervisors import Multiprocess

from serving.errors import RequestError, SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import FrameType

    from serving.settings import Limits

# Bytes of a request's line and headers.
MAX_HEAD = 65_536
# Requests that a caller may send on a connection before the first of them is answered.
MAX_PIPELINED = 32
# A refused body is read on, up to so many times `limits.bytes`: many callers read the answer only after they sent all.
READ_ON = 10
BACKLOG = 2048
# File descriptors that a worker needs besides its connections: libraries, the log, the converter's start.
OWN_DESCRIPTORS = 48
LOOK_SECONDS = 1.0
# How long an idle connection may still send a request after the signal to stop.
IDLE_GRACE = 0.5
# How long the kernel gets to finish handshakes that began before the signal.
HANDSHAKE_GRACE = 0.1
SO_ATTACH_FILTER = 26  # Linux; the module `socket` does not name it
# A filter of four instructions: drop a packet with the flag SYN, let every other pass.
DROP_HANDSHAKES = (
    struct.pack("HBBI", 0x30, 0, 0, 13)  # load the byte with the flags
    + struct.pack("HBBI", 0x45, 0, 1, 0x02)  # is SYN set?
    + struct.pack("HBBI", 0x06, 0, 0, 0)  # yes: drop
    + struct.pack("HBBI", 0x06, 0, 0, 0xFFFFFFFF)  # no: pass
)


class Connections:
    """The limits of one worker's connections, and what became of those that break them.

    uvicorn closes a connection that is idle after an answer. Here ends one that never sends a whole head, reads no
    answer, or is beyond `limits.connections` or the limit of open files.
    """

    def __init__(self, limits: Limits, count_refused: Callable[[], None]) -> None:
        """`count_refused` is called for each connection that is refused."""
        self.limits, self._count_refused = limits, count_refused
        self.stopping = False
        self._lingering: set[Connection] = set()
        free = max(3, _find_descriptor_limit() - _count_descriptors() - OWN_DESCRIPTORS // 2)
        self._most = min(limits.connections, free * 2 // 3)
        self._most_lingering = max(1, free // 6)
        self._looks = False
        busy = RequestError(503, f"{self._most} connections are open already", retry_after=1)
        self._refusal = _encode_response(busy)

    def add(self, connection: Connection) -> None:
        """Watch a new connection, or refuse it if there are too many."""
        if not self._looks:
            self._looks = True
            connection.loop.call_later(LOOK_SECONDS, self._look, connection)
        if len(connection.connections) > self._most:
            self._refuse(connection)
        elif self.stopping:
            connection.shutdown()

    def discard(self, connection: Connection) -> None:
        """Forget a connection that is gone."""
        self._lingering.discard(connection)

    def _refuse(self, connection: Connection) -> None:
        """Answer with 503, and read on for a moment: closing at once would reset the answer too."""
        self._count_refused()
        connection.is_refused = True
        connection.connections.discard(connection)
        connection.transport.write(self._refusal)
        if len(self._lingering) >= self._most_lingering:
            connection.transport.close()
            return
        self._lingering.add(connection)
        connection.transport.write_eof()
        connection.loop.call_later(LOOK_SECONDS, connection.transport.abort)

    def _look(self, any_connection: Connection) -> None:
        """End the connections that did not move on within their time."""
        loop = any_connection.loop
        now = loop.time()
        for connection in list(any_connection.connections):
            if isinstance(connection, Connection) and connection.has_stalled(now, self.limits):
                connection.give_up()
        loop.call_later(LOOK_SECONDS, self._look, any_connection)


class Connection(HttpToolsProtocol):
    """One connection. The application hands its worker's `Connections` over in the state of the lifespan."""

    cycle: Any  # the last request; None before the first

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._all: Connections = self.app_state["connections"]
        self.is_refused = False
        # The bytes of a request that is not whole yet, and the request.
        self._taken = 0
        self._counted: Any = None
        # The last request and whether it was in work, since when.
        self._moved_at = self.loop.time()
        self._last: tuple[Any, bool] = (None, False)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to watch it."""
        super().connection_made(transport)
        self._all.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Watch it no more."""
        super().connection_lost(exc)
        self._all.discard(self)

    def data_received(self, data: bytes) -> None:
        """Parse the data, and end the connection if its request is too large to be read on."""
        if self.is_refused:
            return
        super().data_received(data)
        cycle = self.cycle
        in_head = cycle is None or cycle.scope is not self.scope
        if in_head or cycle.more_body:
            self._count_bytes(len(data), in_head=in_head)

    def _count_bytes(self, size: int, *, in_head: bool) -> None:
        if self.scope is not self._counted:
            self._counted, self._taken = self.scope, 0
        self._taken += size
        if in_head and self._taken > MAX_HEAD:
            self.is_refused = True
            words = f"the request's line and headers have more than {MAX_HEAD:,} bytes"
            self.transport.write(_encode_response(RequestError(431, words)))
            self.transport.close()
        elif self._taken > READ_ON * self._all.limits.bytes + MAX_HEAD:
            self.transport.abort()

    def on_headers_complete(self) -> None:
        """Begin a request. What is raised here becomes uvicorn's 400."""
        if len(self.pipeline) >= MAX_PIPELINED:
            raise ValueError("too many requests wait on one connection")
        super().on_headers_complete()
        if self._all.stopping and self.cycle is not None:
            self.cycle.keep_alive = False

    def eof_received(self) -> bool:  # type: ignore[override]
        """Keep the connection open for the answer to a whole request whose caller sends nothing more."""
        if self._is_idle() or self.cycle.more_body or self.cycle.scope is not self.scope:
            return False
        self.cycle.keep_alive = False
        return True

    def shutdown(self) -> None:
        """Close after the next answer, or soon if there is no request.

        A request may be on its way to an idle connection just now; closing at once would reset it.
        """
        self._all.stopping = True
        if self._is_idle():
            self.loop.call_later(IDLE_GRACE, self._close_if_idle)
        else:
            self.cycle.keep_alive = False

    def _is_idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _close_if_idle(self) -> None:
        if self._is_idle():
            self.transport.close()

    def give_up(self) -> None:
        """End the connection: with a proper end where the caller owes nothing, so that it may just connect again."""
        transport = self.transport
        if self._is_idle() and not transport.is_closing() and not transport.get_write_buffer_size():
            transport.close()
        else:
            transport.abort()

    def has_stalled(self, now: float, limits: Limits) -> bool:
        """Whether the connection has stayed as it is for longer than it may."""
        state = (self.cycle, not self._is_idle())
        if state[0] is not self._last[0] or state[1] != self._last[1]:
            self._last, self._moved_at = state, now
        allowed = limits.idle_seconds + (limits.seconds if state[1] else 0)
        return now - self._moved_at > allowed


class Server(uvicorn.Server):
    """The server of a single worker."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take what has connected already, then stop."""
        refuse_handshakes(listener.fileno() for server in self.servers for listener in server.sockets)
        await asyncio.sleep(HANDSHAKE_GRACE)
        await super().shutdown(sockets)


class Supervisor(Multiprocess):
    """The parent of several workers."""

    def terminate_all(self) -> None:
        """Let the workers take what has connected already, then stop them."""
        refuse_handshakes(listener.fileno() for listener in self.sockets)
        self.should_exit.clear()
        self.should_exit.wait(HANDSHAKE_GRACE)
        self.should_exit.set()
        super().terminate_all()


def refuse_taken_address(host: str, port: int) -> None:
    """Raise `SettingsError` where nobody can listen at the address: uvicorn's own line does not say what to do."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise SettingsError(
            f"cannot listen at {host}:{port}: {error.strerror}; SERVING_HOST and SERVING_PORT say where, for example "
            "`SERVING_PORT=8090 make serve`"
        ) from error


def run(app: Any, limits: Limits, **options: Any) -> None:
    """Serve until a signal stops it. `options` are uvicorn's."""
    backlog = _reserve_descriptors(limits)
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http=Connection,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # nothing here depends on who the caller is
        backlog=backlog,
        timeout_graceful_shutdown=limits.stop_seconds,
        **options,
    )
    if config.workers > 1:
        Supervisor(config, sockets=[config.bind_socket()]).run()
        return
    server = Server(config)

    def stop(number: int, frame: FrameType | None) -> None:
        # uvicorn raises the signal again when all is done; then there is nothing left to do.
        if not server.started:
            raise SystemExit(0)

    signal.signal(signal.SIGTERM, stop)
    with contextlib.suppress(KeyboardInterrupt):
        server.run()


def refuse_handshakes(listeners: Iterable[int]) -> None:
    """Let listening sockets take no new connection, but keep those that wait to be accepted.

    Closing a listener resets them. A caller whose first packet is dropped asks again after a second, and then finds the
    port closed, which is no reset. Where the system has no such filter, nothing is done.
    """
    program = ctypes.create_string_buffer(DROP_HANDSHAKES)
    option = struct.pack("HL", len(DROP_HANDSHAKES) // 8, ctypes.addressof(program))
    for number in listeners:
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(number)) as listener:
            listener.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, option)


def _encode_response(error: RequestError) -> bytes:
    """Encode a response that is sent without the application."""
    body = error.render()
    headers = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
        *error.headers,
    ]
    lines = [b"HTTP/1.1 %d %s" % (error.status, error.title.encode())]
    lines += [name + b": " + value for name, value in headers]
    return b"\r\n".join([*lines, b"", body])


def _reserve_descriptors(limits: Limits) -> int:
    """Raise the limit of open files as far as needed and allowed, and return how long the accept queue may be.

    The whole queue may be accepted before the first of it is refused, so it must fit beside the connections.
    """
    wanted = limits.connections + BACKLOG + OWN_DESCRIPTORS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < highest:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (highest, hard))
    return max(4, min(BACKLOG, (_find_descriptor_limit() - OWN_DESCRIPTORS) // 6))


def _find_descriptor_limit() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1_000_000 if soft == resource.RLIM_INFINITY else soft


def _count_descriptors() -> int:
    """Count the open files of this process."""
    try:
        with os.scandir("/proc/self/fd") as files:
            return sum(1 for _ in files)
    except OSError:
        return OWN_DESCRIPTORS
