"""Serve the model over HTTP as a plain ASGI application: routes, limits, keys and error responses."""

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
from typing import Any

import msgspec

from serving import openapi, pages
from serving.decoding import hash_bytes
from serving.errors import ModelError, RequestError, ServingError, SettingsError
from serving.lineage import Lineage, load_lineage
from serving.log_parquet import list_converting
from serving.log_writer import LogWriter
from serving.metrics import ROUTES, Metrics
from serving.model import load_model
from serving.predictor import Predictor
from serving.rows import COUNTED_KINDS
from serving.server import Connections
from serving.settings import Environment, Settings, load_settings

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Content = tuple[bytes, bytes]  # media type and body
Handler = Callable[[Scope, Receive], Awaitable[Content]]

JSON = b"application/json"
HTML = b"text/html; charset=utf-8"
PROMETHEUS = b"text/plain; version=0.0.4; charset=utf-8"
PROBLEM = b"application/problem+json"
NO_SNIFF = (b"x-content-type-options", b"nosniff")
UNRELEASED = "unreleased"
# The variable by which the workers find the folder of their counters.
COUNTERS_VARIABLE = "SERVING_METRICS"
# The variable that tells the workers which files the service started with.
FILES_VARIABLE = "SERVING_FILES"

# How long the service converts its last files at its end, in seconds.
LAST_CONVERSION = 8.0

logger = logging.getLogger("serving")


class ClientDisconnected(Exception):
    """The caller closed the connection before its request was complete."""


class _Hold:
    """The bytes that one request holds of the worker's `limits.bytes_in_work`."""

    __slots__ = ("size",)

    def __init__(self) -> None:
        self.size = 0


class App:
    """The application of one worker. It also starts without a usable model, and then says why it is not ready."""

    def __init__(
        self, environment: Environment, settings: Settings, *, write: Callable[[int, bytes], int] = os.write
    ) -> None:
        """`write` writes bytes to an open file of the prediction log."""
        self._environment, self._settings, self._write = environment, settings, write
        self._limits = settings.limits
        self._keys = [key.encode() for key in environment.keys]
        self._active = 0
        self._bytes_in_work = 0
        self._not_ready = ""
        self._lineage: Lineage | None = None
        self._predictor: Predictor | None = None
        self._log: LogWriter | None = None
        try:
            self._predictor = self._build_predictor()
        except ServingError as error:
            self._not_ready = hide_folders(str(error), environment)
            logger.error("not ready: %s", error)
        self._metrics = (
            self._predictor.metrics
            if self._predictor
            else Metrics(_find_counters(), columns=(), kinds=(), grid=(1.0,))
        )
        self._routes: dict[str, tuple[str, Handler]] = {
            "/predict": ("POST", self._predict),
            "/explain": ("POST", self._explain),
            "/model": ("GET", self._show_model),
            "/health/live": ("GET", self._show_live),
            "/health/ready": ("GET", self._show_ready),
            "/metrics": ("GET", self._show_metrics),
            "/openapi.json": ("GET", self._show_openapi),
            "/docs": ("GET", self._show_docs),
            "/": ("GET", self._show_form),
        }

    @property
    def _version(self) -> str:
        return UNRELEASED if self._lineage is None else self._lineage.version

    def _build_predictor(self) -> Predictor:
        """Open the model that the environment names. Raises `SettingsError` or `ModelError`."""
        environment = self._environment
        if environment.keys_fault:
            raise SettingsError(environment.keys_fault)
        if self._settings.keys == "required" and not environment.keys:
            raise SettingsError("SERVING_API_KEYS: not set, but serving.keys is required")
        if self._settings.log.personal == "hash" and not environment.hash_key:
            raise SettingsError(
                "SERVING_HASH_KEY: not set, but serving.log.personal is hash, which needs a secret key"
            )
        if environment.lineage is not None:
            self._lineage = load_lineage(environment.lineage)
        model = load_model(environment.model)
        contract = model.contract
        if self._lineage is not None and self._lineage.onnx != contract.onnx:
            raise ModelError(
                f"{environment.lineage}: is the lineage of {self._lineage.onnx}, not of {contract.onnx}"
            )
        if self._lineage is not None and self._lineage.contract != model.contract_digest:
            raise ModelError(
                f"{environment.model / 'contract.json'}: is {model.contract_digest}, but version "
                f"{self._lineage.version} was released with {self._lineage.contract}: threshold, columns or limits may "
                "be others"
            )
        started_with = os.environ.get(FILES_VARIABLE)
        if started_with and started_with != hash_files(environment):
            raise ModelError(
                "the model, its contract, its lineage or params.yaml was replaced since the service was started; "
                "start it anew"
            )
        metrics = Metrics(
            _find_counters(),
            columns=[field.name for field in contract.inputs],
            kinds=COUNTED_KINDS,
            grid=contract.grid,
            classes=contract.classes,
        )
        return Predictor(model, self._settings, metrics, version=self._version, hash_key=environment.hash_key)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request, or the start and the end of the worker."""
        if scope["type"] == "lifespan":
            await self._run_lifespan(scope, receive, send)
            return
        began = time.perf_counter()
        status, headers = 200, [NO_SNIFF]
        try:
            async with asyncio.timeout(self._limits.seconds):
                kind, body = await self._route(scope, receive)
        except ClientDisconnected:
            return
        except Exception as error:  # noqa: BLE001  the details go to the service's own log, not to the caller
            problem = self._convert_error(error, scope)
            status, headers = problem.status, problem.headers
            kind, body = PROBLEM, problem.render()
        route = scope["path"] if scope["path"] in self._routes else ROUTES[-1]
        self._metrics.count_request(route, status, time.perf_counter() - began)
        length = str(len(body)).encode()
        headers = [(b"content-type", kind), (b"content-length", length), *headers]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _convert_error(self, error: Exception, scope: Scope) -> RequestError:
        """Convert any error into one that the caller may see."""
        if isinstance(error, RequestError):
            return error
        if isinstance(error, TimeoutError):
            return RequestError(504, f"no answer within {self._limits.seconds:g} s")
        logger.error("%s %s failed", scope["method"], scope["path"], exc_info=error)
        return RequestError(500, "the service failed at this request; its own log says why")

    async def _route(self, scope: Scope, receive: Receive) -> Content:
        """Call the handler of the request's path. Raises `RequestError`."""
        path, method = scope["path"], scope["method"]
        if path not in self._routes:
            raise RequestError(404, f"there is no {path[:200]}; /docs lists what there is")
        allowed, handler = self._routes[path]
        if method != allowed and not (method == "HEAD" and allowed == "GET"):
            raise RequestError(
                405, f"{path} takes {allowed}", allow="GET, HEAD" if allowed == "GET" else allowed
            )
        return await handler(scope, receive)

    async def _predict(self, scope: Scope, receive: Receive) -> Content:
        predictor = self._admit(scope)
        hold = _Hold()
        self._active += 1
        try:
            assert self._log is not None
            return JSON, await predictor.predict(await self._read_body(scope, receive, hold), self._log)
        finally:
            self._active -= 1
            self._bytes_in_work -= hold.size

    async def _explain(self, scope: Scope, receive: Receive) -> Content:
        predictor = self._admit(scope)
        hold = _Hold()
        self._active += 1
        try:
            return JSON, predictor.explain(await self._read_body(scope, receive, hold))
        finally:
            self._active -= 1
            self._bytes_in_work -= hold.size

    def _admit(self, scope: Scope) -> Predictor:
        """Return the predictor if this caller may use it now. Raises `RequestError`."""
        self._check_key(scope)
        predictor = self._require_predictor()
        if self._active >= self._limits.requests:
            raise RequestError(503, f"{self._active} requests are in work already", retry_after=1)
        return predictor

    def _require_predictor(self) -> Predictor:
        """Return the predictor. Raises `RequestError` if there is none."""
        if self._predictor is None:
            raise RequestError(503, f"not ready: {self._not_ready}", retry_after=30)
        return self._predictor

    def _check_key(self, scope: Scope) -> None:
        """Compare the caller's key with every key in constant time. Raises `RequestError`."""
        if not self._keys:
            return
        given = _find_header(scope, b"authorization")
        scheme, _, key = given.partition(b" ")
        found = [hmac.compare_digest(key.strip(), known) for known in self._keys]
        if scheme.lower() != b"bearer" or not any(found):
            raise RequestError(401, "a valid key is needed: Authorization: Bearer KEY")

    async def _read_body(self, scope: Scope, receive: Receive, hold: _Hold) -> bytes:
        """Read the body of a request, within the limits. `hold` gets its bytes. Raises `RequestError`."""
        most = self._limits.bytes
        kind = _find_header(scope, b"content-type").partition(b";")[0].strip().lower()
        if kind not in (b"", JSON):
            raise RequestError(415, "the body must be JSON: Content-Type: application/json")
        size = _find_header(scope, b"content-length")
        if size.isdigit() and int(size) > most:
            raise RequestError(413, f"the body has {int(size):,} bytes, more than {most:,}")
        body = b""
        try:
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientDisconnected
                part = message.get("body", b"")
                hold.size += len(part)
                self._bytes_in_work += len(part)
                if hold.size > most:
                    raise RequestError(413, f"the body has more than {most:,} bytes")
                if self._bytes_in_work > self._limits.bytes_in_work:
                    raise RequestError(503, "the requests in work have too many bytes already", retry_after=1)
                body = body + part if body else part
                if not message.get("more_body"):
                    return body
        except asyncio.CancelledError as error:
            raise RequestError(408, f"the body did not arrive within {self._limits.seconds:g} s") from error

    async def _show_model(self, scope: Scope, receive: Receive) -> Content:
        self._check_key(scope)
        contract = self._require_predictor().model.contract
        return JSON, msgspec.json.encode(
            {
                "title": contract.title,
                "question": contract.question,
                "task": contract.task,
                "target": contract.target,
                "threshold": contract.threshold,
                **({"classes": contract.classes} if contract.classes else {}),
                "version": self._version,
                "onnx": contract.onnx,
                "opset": contract.opset,
                "deployed": self._environment.deployed,
                "lineage": self._lineage,
            }
        )

    async def _show_live(self, scope: Scope, receive: Receive) -> Content:
        return JSON, b'{"status":"live"}'

    async def _show_ready(self, scope: Scope, receive: Receive) -> Content:
        if reason := await self._find_obstacle():
            raise RequestError(503, f"not ready: {reason}", retry_after=5)
        return JSON, msgspec.json.encode({"status": "ready", "version": self._version})

    async def _find_obstacle(self) -> str:
        """Say why predictions are not possible now; empty if they are."""
        if self._log is None:
            return self._not_ready or "starting"
        if self._settings.log.failure == "refuse" and not await self._log.accepts_entries():
            return f"the prediction log does not take entries: {self._log.failure or 'its store is too slow'}"
        return ""

    async def _show_metrics(self, scope: Scope, receive: Receive) -> Content:
        ready = not await self._find_obstacle()
        onnx = self._predictor.model.contract.onnx if self._predictor else ""
        return PROMETHEUS, self._metrics.render(ready=ready, version=self._version, onnx=onnx)

    async def _show_openapi(self, scope: Scope, receive: Receive) -> Content:
        contract = self._require_predictor().model.contract
        document = openapi.describe(contract, self._settings, self._version, keys=bool(self._keys))
        return JSON, msgspec.json.encode(document)

    async def _show_docs(self, scope: Scope, receive: Receive) -> Content:
        return HTML, pages.render_docs()

    async def _show_form(self, scope: Scope, receive: Receive) -> Content:
        return HTML, pages.render_form()

    async def _run_lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Open the log when the worker starts, and close it after the last request."""
        await receive()
        scope["state"]["connections"] = Connections(
            self._limits, lambda: self._metrics.count_request(ROUTES[-1], 503, 0.0)
        )
        if self._predictor is not None:
            folder = self._environment.log
            self._log = LogWriter(
                folder,
                self._predictor.encode_log_header(),
                self._settings.log,
                on_close=lambda: start_conversion(folder),
                on_unshipped=self._metrics.count_unshipped,
                write=self._write,
            )
            logger.info("ready: %s %s", self._version, self._predictor.model.contract.onnx)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        if self._log is not None:
            await self._log.close()
        await send({"type": "lifespan.shutdown.complete"})


def create() -> App:
    """Create the application of a worker from the environment. Raises `SettingsError`."""
    environment = Environment.from_variables(os.environ)
    return App(environment, load_settings(environment.params))


def hash_files(environment: Environment) -> str:
    """Compute one digest of the files that decide what is answered, so that all workers serve the same."""
    digests = []
    folder = environment.model
    for path in (folder / "model.onnx", folder / "contract.json", environment.lineage, environment.params):
        try:
            digests.append("" if path is None else hash_bytes(path.read_bytes()))
        except OSError:
            digests.append("")
    return hash_bytes(" ".join(digests).encode())


def hide_folders(text: str, environment: Environment) -> str:
    """Leave of each path only the file's name: where files lie is nothing for callers."""
    for path in (environment.model, environment.lineage, environment.params, environment.log):
        if path is not None:
            for shown in {path, path.absolute()}:
                text = text.replace(f"{shown}/", "")
                if path.name:
                    text = text.replace(str(shown), path.name)
    return text


def start_conversion(folder: Path) -> None:
    """Convert the log's complete files to Parquet in another process, so that this one can answer requests."""
    try:
        threading.Thread(target=_run_conversion, args=(folder,), daemon=True).start()
    except RuntimeError as error:  # no thread can start; the files stay as they are until the next time
        logger.error("the log's complete files are not converted: %s", error)


def finish_conversion(folder: Path) -> None:
    """Convert what the workers closed at their end, so that nothing waits for a start that may never come.

    It takes `LAST_CONVERSION` seconds at most; then the next start does it, as after a kill.
    """
    until = time.monotonic() + LAST_CONVERSION
    while any(folder.glob("*.jsonl")) and (left := until - time.monotonic()) > 0:
        _run_conversion(folder, left)
        if not list_converting(folder):
            return
        time.sleep(0.1)


def _run_conversion(folder: Path, seconds: float | None = None) -> None:
    """Convert in a process of its own, and say in the service's own log if that fails."""
    if not any(folder.glob("*.jsonl")):
        return  # a process costs as much as half a start
    command = [sys.executable, "-m", "serving", "archive", str(folder)]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=seconds
        )
    except subprocess.TimeoutExpired:
        logger.warning("the log's last file is not a table yet: the next start makes it one")
        return
    except OSError as error:
        logger.error("the log's complete files are not converted: %s", error.strerror)
        return
    if done.returncode:
        logger.error("the log's complete files are not converted: %s", done.stderr.strip()[-500:])


def _find_counters() -> Path:
    """Return the folder of all workers' counters."""
    return Path(os.environ.get(COUNTERS_VARIABLE) or tempfile.mkdtemp(prefix="serving-"))


def _find_header(scope: Scope, name: bytes) -> bytes:
    """Return the value of a header; empty if it is not there."""
    for key, value in scope["headers"]:
        if key == name:
            return bytes(value)
    return b""
