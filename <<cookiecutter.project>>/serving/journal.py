"""The prediction log while it is written: an entry is in the file before its answer leaves the service.

A thread of its own writes what came together while it wrote before (group commit), so that a store that hangs holds
up answers, by the policy, but never the service. What `write` has taken survives the end of the process, however it
ends; with `sync` also that of the machine. Each worker has a file of its own, locked as long as it is written.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import queue
import secrets
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from serving.settings import LogPolicy

SUFFIX = ".jsonl"
MEGABYTE = 1_000_000
TICK = 1.0
# Entries that may wait for a store that hangs: beyond them they are lost at once, for memory is not a store.
MOST_WAITING = 10_000

# How much is written to see whether a store takes entries again: a few, not just what its last page has room for.
TRIAL = 20_000

Entry = tuple[bytes, "asyncio.Future[None]"]


class NotLogged(Exception):
    """An entry is not in the log, or not in time; the message says why."""


class Journal:
    """Writes entries into files of a folder, one file at a time."""

    def __init__(
        self,
        folder: Path,
        head: bytes,
        policy: LogPolicy,
        *,
        closed: Callable[[], None] = lambda: None,
        write: Callable[[int, bytes], int] = os.write,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`head` is every file's first line; `closed` is called whenever a file is complete."""
        self._folder, self._head, self._policy = folder, head, policy
        self._closed, self._write, self._clock = closed, write, clock
        self._queue: queue.SimpleQueue[list[Entry] | None] = queue.SimpleQueue()
        self._gathered: list[Entry] = []
        self._waiting = 0
        self._loop = asyncio.get_running_loop()
        self._file = -1
        self._size = 0
        self._until = 0.0
        self.failure: str | None = None
        self._thread = threading.Thread(target=self._work, name="journal", daemon=True)
        self._thread.start()

    async def add(self, lines: bytes) -> None:
        """Wait until these lines are in the file. Raises `NotLogged` on failure, or after `patience` seconds."""
        if self._waiting >= MOST_WAITING:
            raise NotLogged("the log's store does not keep up")
        future = self._loop.create_future()
        # What comes in one turn of the loop wakes the thread once.
        if not self._gathered:
            self._loop.call_soon(self._hand_over)
        self._gathered.append((lines, future))
        self._waiting += 1
        patience = self._loop.call_later(self._policy.patience, _late, future, self._policy.patience)
        try:
            await future
        finally:
            patience.cancel()

    async def works(self) -> bool:
        """Whether the log takes entries; after a failure it is tried, so that a store that came back is noticed."""
        if self.failure is None and self._waiting < MOST_WAITING:
            return True
        try:
            await self.add(b" " * TRIAL + b"\n")
        except NotLogged:
            return False
        return True

    def _hand_over(self) -> None:
        if self._gathered:
            self._queue.put(self._gathered)
            self._gathered = []

    async def close(self) -> None:
        """Write what is waiting, and let go of the file."""
        self._hand_over()
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join, self._policy.patience + TICK)

    def _work(self) -> None:
        going = True
        while going:
            entries, going = self._next()
            reason = self._store(b"".join(lines for lines, _ in entries)) if entries else None
            if entries:
                self.failure = reason
                self._loop.call_soon_threadsafe(self._tell, entries, reason)
            if self._file >= 0 and (not going or self._clock() >= self._until or self._is_large()):
                self._let_go()

    def _next(self) -> tuple[list[Entry], bool]:
        """All that waits, and whether there is more to come."""
        entries: list[Entry] = []
        try:
            gathered = self._queue.get(timeout=TICK)
            while gathered is not None:
                entries += gathered
                gathered = self._queue.get_nowait()
        except queue.Empty:
            return entries, True
        return entries, False

    def _store(self, data: bytes) -> str | None:
        """Write all of it, or none of it and why: half an entry is taken back."""
        try:
            if self._file < 0:
                self._begin()
            view = data
            while view:
                view = view[self._write(self._file, view) :]
            if self._policy.sync:
                os.fsync(self._file)
        except OSError as error:
            self._take_back()
            return error.strerror or type(error).__name__
        self._size += len(data)
        return None

    def _begin(self) -> None:
        """A new file, under its final name only when it is locked and has its first line."""
        self._folder.mkdir(parents=True, exist_ok=True)
        now = self._clock()
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
        path = self._folder / f"{stamp}-{secrets.token_hex(6)}{SUFFIX}"
        hidden = path.with_suffix(".new")
        file = os.open(hidden, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            head = self._head + b"\n"
            if self._write(file, head) != len(head):
                raise OSError(28, "No space left on device")
            os.replace(hidden, path)
        except OSError:
            os.close(file)
            hidden.unlink(missing_ok=True)
            raise
        self._file, self._size, self._until = file, len(head), now + self._policy.minutes * 60

    def _take_back(self) -> None:
        if self._file < 0:
            return
        try:
            os.ftruncate(self._file, self._size)
        except OSError:
            # The store is gone: whatever is at the end of this file is torn, so nothing may follow it.
            self._let_go()

    def _tell(self, entries: list[Entry], reason: str | None) -> None:
        self._waiting -= len(entries)
        for _, future in entries:
            if future.done():
                continue
            if reason is None:
                future.set_result(None)
            else:
                future.set_exception(NotLogged(reason))

    def _is_large(self) -> bool:
        return self._size >= self._policy.megabytes * MEGABYTE

    def _let_go(self) -> None:
        os.close(self._file)
        self._file = -1
        self._closed()


def _late(future: asyncio.Future[None], patience: float) -> None:
    if not future.done():
        future.set_exception(NotLogged(f"the log's store took more than {patience:g} s"))
