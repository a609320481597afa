"""The service over HTTP, as a plain ASGI application: routes, limits, keys, and what goes wrong in words."""

from __future__ import annotations

import asyncio
import hmac
import logging
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from serving import lineage, model, openapi, pages, settings
from serving.contract import Unfit
from serving.journal import Journal
from serving.metrics import ROUTES, Metrics
from serving.problems import Problem
from serving.rows import COUNTED
from serving.service import Service

if TYPE_CHECKING:
    from serving.settings import Environment, Serving

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]
Handler = Callable[[Scope, Receive], Awaitable[tuple[bytes, bytes]]]

JSON = b"application/json"
PLAIN = b"text/plain; version=0.0.4; charset=utf-8"
PROBLEM = b"application/problem+json"
UNRELEASED = "unreleased"
METRICS = "SERVING_METRICS"

log = logging.getLogger("serving")


class Gone(Exception):
    """Nobody waits for the answer any more."""


class App:
    """One worker's application. It starts whatever the model is like, and says why where it cannot serve it."""

    def __init__(
        self, environment: Environment, chosen: Serving, *, write: Callable[[int, bytes], int] = os.write
    ) -> None:
        """`write` puts bytes into an open file of the log."""
        self._environment, self._settings, self._write = environment, chosen, write
        self._limits = chosen.limits
        self._keys = [key.encode() for key in environment.keys]
        self._working = 0
        self._reason = ""
        self._lineage: lineage.Lineage | None = None
        self._service: Service | None = None
        self._journal: Journal | None = None
        try:
            self._service = self._open()
        except Unfit as error:
            self._reason = str(error)
            log.error("not ready: %s", error)
        self._metrics = self._service.metrics if self._service else Metrics(_counters(), (), (), (1.0,))
        self._routes: dict[str, tuple[str, Handler]] = {
            "/predict": ("POST", self._predict),
            "/explain": ("POST", self._explain),
            "/model": ("GET", self._model),
            "/health/live": ("GET", self._live),
            "/health/ready": ("GET", self._ready),
            "/metrics": ("GET", self._count),
            "/openapi.json": ("GET", self._describe),
            "/docs": ("GET", self._docs),
            "/": ("GET", self._form),
        }

    @property
    def _version(self) -> str:
        return UNRELEASED if self._lineage is None else self._lineage.version

    def _open(self) -> Service:
        """The service over the model that the environment names. Raises `Unfit`."""
        place = self._environment
        if self._settings.log.personal == "hash" and not place.hash_key:
            raise Unfit(
                "SERVING_HASH_KEY: not set, but serving.log.personal is hash, which needs a secret key"
            )
        if place.lineage is not None:
            self._lineage = lineage.load(place.lineage)
        found = model.load(place.model)
        if self._lineage is not None and self._lineage.onnx != found.contract.onnx:
            raise Unfit(
                f"{place.lineage}: is the lineage of {self._lineage.onnx}, not of {found.contract.onnx}"
            )
        columns = [entry.name for entry in found.contract.inputs]
        counters = Metrics(_counters(), columns, COUNTED, found.contract.grid)
        return Service(found, self._settings, counters, version=self._version, hash_key=place.hash_key)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, or the life of the worker."""
        if scope["type"] == "lifespan":
            await self._live_on(receive, send)
            return
        began = time.perf_counter()
        status, headers = 200, pages.SAFE
        try:
            async with asyncio.timeout(self._limits.seconds):
                kind, body = await self._respond(scope, receive)
        except Gone:
            return
        except Exception as error:  # noqa: BLE001  the caller learns nothing of the inside, the operator all
            problem = self._problem(error, scope)
            status, headers = problem.status, problem.headers
            kind, body = PROBLEM, problem.body()
        route = scope["path"] if scope["path"] in self._routes else ROUTES[-1]
        self._metrics.request(route, status, time.perf_counter() - began)
        length = str(len(body)).encode()
        headers = [(b"content-type", kind), (b"content-length", length), *headers]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _problem(self, error: Exception, scope: Scope) -> Problem:
        if isinstance(error, Problem):
            return error
        if isinstance(error, TimeoutError):
            return Problem(504, f"no answer within {self._limits.seconds:g} s")
        log.error("%s %s failed", scope["method"], scope["path"], exc_info=error)
        return Problem(500, "the service failed at this request; its own log says why")

    async def _respond(self, scope: Scope, receive: Receive) -> tuple[bytes, bytes]:
        path, method = scope["path"], scope["method"]
        if path not in self._routes:
            raise Problem(404, f"there is no {path[:200]}; /docs lists what there is")
        allowed, handler = self._routes[path]
        if method != allowed and not (method == "HEAD" and allowed == "GET"):
            raise Problem(405, f"{path} takes {allowed}", allow="GET, HEAD" if allowed == "GET" else allowed)
        return await handler(scope, receive)

    async def _predict(self, scope: Scope, receive: Receive) -> tuple[bytes, bytes]:
        service = self._ask(scope)
        self._working += 1
        try:
            body = await self._body(scope, receive)
            assert self._journal is not None
            return JSON, await service.predict(body, self._journal)
        finally:
            self._working -= 1

    async def _explain(self, scope: Scope, receive: Receive) -> tuple[bytes, bytes]:
        service = self._ask(scope)
        self._working += 1
        try:
            return JSON, service.explain(await self._body(scope, receive))
        finally:
            self._working -= 1

    def _ask(self, scope: Scope) -> Service:
        """The service, if this caller may ask it, and now."""
        self._allow(scope)
        if self._service is None:
            raise Problem(503, f"not ready: {self._reason}", retry_after=30)
        if self._working >= self._limits.requests:
            raise Problem(503, f"{self._working} requests are in work already", retry_after=1)
        return self._service

    def _allow(self, scope: Scope) -> None:
        """Compare the caller's key with every key, in a time that tells nothing about them."""
        if not self._keys:
            return
        given = _header(scope, b"authorization")
        word, _, key = given.partition(b" ")
        found = [hmac.compare_digest(key.strip(), known) for known in self._keys]
        if word.lower() != b"bearer" or not any(found):
            raise Problem(401, "a valid key is needed: Authorization: Bearer KEY")

    async def _body(self, scope: Scope, receive: Receive) -> bytes:
        """The request's body, as far as it may be. Raises `Problem`."""
        most = self._limits.bytes
        kind = _header(scope, b"content-type").partition(b";")[0].strip().lower()
        if kind not in (b"", JSON):
            raise Problem(415, "the body must be JSON: Content-Type: application/json")
        size = _header(scope, b"content-length")
        if size.isdigit() and int(size) > most:
            raise Problem(413, f"the body has {int(size):,} bytes, more than {most:,}")
        body = b""
        try:
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise Gone
                body += message.get("body", b"")
                if len(body) > most:
                    raise Problem(413, f"the body has more than {most:,} bytes")
                if not message.get("more_body"):
                    return body
        except asyncio.CancelledError as error:
            raise Problem(408, f"the body did not arrive within {self._limits.seconds:g} s") from error

    async def _model(self, scope: Scope, receive: Receive) -> tuple[bytes, bytes]:
        self._allow(scope)
        service = self._service
        if service is None:
            raise Problem(503, f"not ready: {self._reason}", retry_after=30)
        known = service.model.contract
        return JSON, msgspec.json.encode(
            {
                "title": known.title,
                "question": known.question,
                "task": known.task,
                "target": known.target,
                "threshold": known.threshold,
                "version": self._version,
                "onnx": known.onnx,
                "opset": known.opset,
                "deployed": self._environment.deployed,
                "lineage": self._lineage,
            }
        )

    async def _live(self, scope: Scope, receive: Receive) -> tuple[bytes, bytes]:
        return JSON, b'{"status":"live"}'

    async def _ready(self, scope: Scope, receive: Receive) -> tuple[bytes, bytes]:
        if reason := await self._obstacle():
            raise Problem(503, f"not ready: {reason}", retry_after=5)
        return JSON, msgspec.json.encode({"status": "ready", "version": self._version})

    async def _obstacle(self) -> str:
        """Why the service may not be asked now; empty where it may."""
        if self._journal is None:
            return self._reason or "starting"
        if self._settings.log.failure == "refuse" and not await self._journal.works():
            return f"the prediction log does not take entries: {self._journal.failure or 'its store is too slow'}"
        return ""

    async def _count(self, scope: Scope, receive: Receive) -> tuple[bytes, bytes]:
        ready = not await self._obstacle()
        onnx = self._service.model.contract.onnx if self._service else ""
        return PLAIN, self._metrics.text(ready=ready, version=self._version, onnx=onnx)

    async def _describe(self, scope: Scope, receive: Receive) -> tuple[bytes, bytes]:
        if self._service is None:
            raise Problem(503, f"not ready: {self._reason}", retry_after=30)
        known = self._service.model.contract
        document = openapi.describe(known, self._settings, self._version, keys=bool(self._keys))
        return JSON, msgspec.json.encode(document)

    async def _docs(self, scope: Scope, receive: Receive) -> tuple[bytes, bytes]:
        return pages.HTML, pages.docs()

    async def _form(self, scope: Scope, receive: Receive) -> tuple[bytes, bytes]:
        return pages.HTML, pages.form()

    async def _live_on(self, receive: Receive, send: Send) -> None:
        """Begin the log when the worker begins, and end it when the last request is answered."""
        await receive()
        if self._service is not None:
            folder = self._environment.log
            head, policy = self._service.head(), self._settings.log
            self._journal = Journal(folder, head, policy, closed=lambda: archive(folder), write=self._write)
            log.info("ready: %s %s", self._version, self._service.model.contract.onnx)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        if self._journal is not None:
            await self._journal.close()
        await send({"type": "lifespan.shutdown.complete"})


def create() -> App:
    """The application as the environment describes it: what each worker calls. Raises `Unfit` for bad settings."""
    environment = settings.Environment.read(os.environ)
    return App(environment, settings.load(environment.params))


def archive(folder: Path) -> None:
    """Turn the log's complete files into Parquet, in a process of its own: the answers need this one."""
    command = [sys.executable, "-m", "serving", "archive", str(folder)]
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "check": False}
    threading.Thread(target=subprocess.run, args=(command,), kwargs=quiet, daemon=True).start()


def _counters() -> Path:
    """Where all workers' counters lie."""
    return Path(os.environ.get(METRICS) or tempfile.mkdtemp(prefix="serving-"))


def _header(scope: Scope, name: bytes) -> bytes:
    for key, value in scope["headers"]:
        if key == name:
            return bytes(value)
    return b""
