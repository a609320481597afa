"""Copy the prediction log's complete tables to a store elsewhere, from a thread that no answer waits for.

Each table is copied at least once, under a name that its content gives: copying it again makes the same object. What
was copied has a marker beside it, so that a service that starts anew goes on. A store that is down costs a counter and
a line in the service's own log, nothing else.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import logging
import os
import random
import threading
import time
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from serving.decoding import DECODE_ERRORS
from serving.log_format import SHIPPED

if TYPE_CHECKING:
    from collections.abc import Callable

REPORT = "shipping.json"
POLL_SECONDS = 5.0
FIRST_WAIT = 5.0
LONGEST_WAIT = 600.0
# How long the service ships at its end.
LAST_SECONDS = 5.0
# The clouds' own variables that name another server; one without TLS is asked only where such a variable says so.
ENDPOINTS = (
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AWS_ENDPOINT",
    "AZURE_STORAGE_ENDPOINT",
    "AZURE_ENDPOINT",
)
PART_BYTES = 8 << 20

logger = logging.getLogger("serving")


class Report(msgspec.Struct):
    """What was shipped since the service started, for /metrics: files, bytes, failed attempts, and what waits.

    `oldest` is when the oldest table that waits was complete, in seconds since 1970.
    """

    files: int = 0
    bytes: int = 0
    failures: int = 0
    waiting: int = 0
    oldest: float | None = None


class Store(Protocol):
    """A store that takes files."""

    def put(self, name: str, path: Path) -> None:
        """Copy a file whole or not at all, and see that all of it is there. Raises any error."""


class ObjectStore:
    """A bucket or folder, reached by obstore; it logs in by the environment, as the cloud's own tools do."""

    def __init__(self, address: str) -> None:
        """`address` is `serving.log.ship.to`. Raises any error of obstore, or ImportError."""
        from obstore.store import LocalStore, from_url

        if address.startswith("file:"):
            folder = Path(address.removeprefix("file://"))
            self._store: Any = LocalStore(folder, mkdir=True)
            return
        # The service itself tries again, later; here a request that hangs must end.
        self._store = from_url(
            address,
            client_options={
                "connect_timeout": "5s",
                "timeout": "60s",
                "allow_http": any(os.environ.get(name, "").startswith("http://") for name in ENDPOINTS),
            },
            retry_config={"max_retries": 2, "retry_timeout": timedelta(seconds=30)},
        )

    def put(self, name: str, path: Path) -> None:
        """See `Store`."""
        import obstore

        size = path.stat().st_size
        made = obstore.put(self._store, name, path, chunk_size=PART_BYTES, max_concurrency=2)
        there = obstore.head(self._store, name)
        if there["size"] != size:
            raise OSError(f"{name}: the store has {there['size']} of {size} bytes")
        if made["e_tag"] and there["e_tag"] and made["e_tag"] != there["e_tag"]:
            raise OSError(f"{name}: the store has another object than the one that was sent")


@dataclass
class Shipper:
    """Ships the tables of one folder. `report` is where the counters lie, for /metrics."""

    folder: Path
    address: str
    report: Path
    open_store: Callable[[str], Store] = ObjectStore
    _counts: Report = field(default_factory=Report)
    _store: Store | None = None
    _done: set[str] = field(default_factory=set)
    _failed: int = 0
    _said: str = ""
    _wake: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Ship for ever; after a failure less and less often."""
        # Loading the library takes a while, which the last seconds of a service do not have.
        with contextlib.suppress(ImportError):  # told with the first table
            importlib.import_module("obstore")
        while True:
            try:
                seconds = self.ship_waiting()
            except Exception:  # the thread goes on: what waits is shipped another time
                logger.exception("the prediction log's shipper stumbled")
                seconds = LONGEST_WAIT
            self._wake.wait(seconds)
            self._wake.clear()

    def finish(self, seconds: float = LAST_SECONDS) -> None:
        """Give the thread so many seconds for what has just become a table; none where the store failed last."""
        until = time.monotonic() + seconds
        self._wake.set()
        while not self._failed and self._list_waiting() and time.monotonic() < until:
            time.sleep(0.05)

    def ship_waiting(self) -> float:
        """Ship every table that waits, oldest first, until one fails; return the seconds until the next look."""
        waiting = self._list_waiting()
        self.save_report(waiting)
        for at, path in enumerate(waiting):
            reason = self._try(path)
            if reason is not None:
                self._counts.failures += 1
                self._failed += 1
                self._tell(f"{path.name} is not shipped: {reason}", len(waiting) - at)
                self.save_report(waiting[at:])
                return self._choose_wait()
            if self._said:
                logger.info("the prediction log is shipped again")
            self._failed, self._said = 0, ""
            self.save_report(waiting[at + 1 :])
        return POLL_SECONDS

    def _choose_wait(self) -> float:
        """Choose how long to wait after a failure; services that failed together do not come back together."""
        longest: float = min(LONGEST_WAIT, FIRST_WAIT * 2 ** min(self._failed - 1, 20))
        return random.uniform(longest / 2, longest)  # noqa: S311

    def _tell(self, words: str, waiting: int) -> None:
        """Say a failure once in the service's own log, until it is another one."""
        if words.partition(": ")[2] != self._said:
            self._said = words.partition(": ")[2]
            logger.error("%s; %d tables wait, and it is tried again", words, waiting)

    def _list_waiting(self) -> list[Path]:
        """List the tables without a marker, oldest first. An unreadable folder has none: the log itself tells."""
        found, markers = [], set()
        with contextlib.suppress(OSError), os.scandir(self.folder) as entries:
            for entry in entries:
                if entry.name.endswith(SHIPPED):
                    markers.add(entry.name.removesuffix(SHIPPED))
                elif entry.name.endswith(".parquet") and entry.is_file(follow_symlinks=False):
                    found.append(entry.name)
        self._done &= set(found)
        return [self.folder / name for name in sorted(found) if name not in markers | self._done]

    def _try(self, path: Path) -> str | None:
        """Ship one table; why it was not, where it was not. One that was deleted meanwhile needs nothing."""
        try:
            if self._store is None:
                self._store = self.open_store(self.address)
            name, size = name_object(path), path.stat().st_size
            self._store.put(name, path)
        except FileNotFoundError as error:
            if not path.exists():
                return None
            return _describe(error)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001  each store has its own errors, and obstore may panic
            return _describe(error)
        self._counts.files += 1
        self._counts.bytes += size
        self._done.add(path.name)
        return self._mark(path, name)

    def _mark(self, path: Path, name: str) -> str | None:
        """Note beside the table that it was shipped. Without the note a service that starts anew ships it again."""
        marker = path.with_name(path.name + SHIPPED)
        try:
            # That it is there is what counts, so it need not be whole.
            marker.write_bytes(msgspec.json.encode({"object": name, "to": self.address}))
        except OSError as error:
            return f"its marker cannot be written ({error.strerror})"
        if not path.exists():  # deleted meanwhile, perhaps with its marker
            marker.unlink(missing_ok=True)
        return None

    def save_report(self, waiting: list[Path]) -> None:
        """Save the counters where /metrics reads them."""
        self._counts.waiting, self._counts.oldest = len(waiting), None
        if waiting:
            with contextlib.suppress(OSError):
                self._counts.oldest = waiting[0].stat().st_mtime
        part = self.report.with_suffix(".part")
        with contextlib.suppress(OSError):  # the folder of the counters is gone: the service ends
            part.write_bytes(msgspec.json.encode(self._counts))
            part.replace(self.report)


def name_object(path: Path) -> str:
    """Name a table in the store: when it was begun, what its worker drew by lot, and the digest of its content."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return f"{path.stem}-{digest[:16]}.parquet"


def _describe(error: BaseException) -> str:
    words = " ".join(str(error).partition("Debug source:")[0].split())
    return f"{type(error).__name__}: {words[:300] or 'no words'}"


def start_shipping(folder: Path, address: str, counters: Path) -> Shipper:
    """Ship the folder's tables from a thread of its own. It ends with the process, and nothing waits for it."""
    shipper = Shipper(folder, address, counters / REPORT)
    shipper.save_report([])
    try:
        threading.Thread(target=shipper.run, name="ship", daemon=True).start()
    except RuntimeError as error:
        logger.error("the prediction log is not shipped: no thread can start (%s)", error)
    return shipper


def load_report(counters: Path) -> Report | None:
    """Load what was shipped so far; None where nothing is to be shipped."""
    try:
        return msgspec.json.decode((counters / REPORT).read_bytes(), type=Report)
    except (OSError, *DECODE_ERRORS):
        return None
