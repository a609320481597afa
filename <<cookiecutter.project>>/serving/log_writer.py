"""Write the prediction log: an entry is in its file before the response leaves the service.

A thread writes all entries that came in during its last write together (group commit). If the disk hangs, responses
are late, as the policy allows, but the service goes on. What is written survives a crash of the process, and with
`sync` also one of the machine. Each worker has its own file, which stays locked until it is complete.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import queue
import secrets
import threading
import time
from typing import TYPE_CHECKING

from serving.errors import LogError
from serving.log_format import SUFFIX

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from serving.settings import LogPolicy

MEGABYTE = 1_000_000
POLL_SECONDS = 1.0
# How many entries may wait for a disk that hangs. Further ones fail at once, so that they do not fill the memory.
MAX_WAITING = 10_000
# How many bytes are written to see whether a full disk takes entries again: more than what fits into its last page.
TRIAL_BYTES = 20_000

Pending = tuple[bytes, "asyncio.Future[None]"]


class LogWriter:
    """Appends entries to files in a folder, one file at a time."""

    def __init__(
        self,
        folder: Path,
        header: bytes,
        policy: LogPolicy,
        *,
        on_close: Callable[[], None] = lambda: None,
        write: Callable[[int, bytes], int] = os.write,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`header` is the first line of every file. `on_close` is called when a file is complete."""
        self._folder, self._header, self._policy = folder, header, policy
        self._on_close, self._write, self._clock = on_close, write, clock
        self._queue: queue.SimpleQueue[list[Pending] | None] = queue.SimpleQueue()
        self._gathered: list[Pending] = []
        self._waiting = 0
        self._loop = asyncio.get_running_loop()
        self._file = -1
        self._size = 0
        self._close_at = 0.0
        self.failure: str | None = None
        self._thread = threading.Thread(target=self._write_batches, name="log", daemon=True)
        self._thread.start()

    async def append(self, lines: bytes) -> None:
        """Wait until these lines are in the file. Raises `LogError` if they cannot be written, or not in time."""
        if self._waiting >= MAX_WAITING:
            raise LogError("the log's store does not keep up")
        future = self._loop.create_future()
        # All entries of one turn of the event loop wake the thread once.
        if not self._gathered:
            self._loop.call_soon(self._hand_over)
        self._gathered.append((lines, future))
        self._waiting += 1
        timeout = self._loop.call_later(self._policy.patience, _expire, future, self._policy.patience)
        try:
            await future
        finally:
            timeout.cancel()

    async def accepts_entries(self) -> bool:
        """Whether entries can be written. After a failure it tries, so that a disk that works again is noticed."""
        if self.failure is None and self._waiting < MAX_WAITING:
            return True
        try:
            await self.append(b" " * TRIAL_BYTES + b"\n")
        except LogError:
            return False
        return True

    async def close(self) -> None:
        """Write the entries that still wait, then close the file."""
        self._hand_over()
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join, self._policy.patience + POLL_SECONDS)

    def _hand_over(self) -> None:
        """Give the gathered entries to the thread."""
        if self._gathered:
            self._queue.put(self._gathered)
            self._gathered = []

    def _write_batches(self) -> None:
        """Run the thread: write entries until `close` is called."""
        running = True
        while running:
            entries, running = self._take_waiting()
            reason = self._write_whole(b"".join(lines for lines, _ in entries)) if entries else None
            if entries:
                self.failure = reason
                self._loop.call_soon_threadsafe(self._resolve, entries, reason)
            if self._file >= 0 and (not running or self._clock() >= self._close_at or self._is_large()):
                self._close_file()

    def _take_waiting(self) -> tuple[list[Pending], bool]:
        """Take all entries that wait; the second value is False when there will be no more."""
        entries: list[Pending] = []
        try:
            gathered = self._queue.get(timeout=POLL_SECONDS)
            while gathered is not None:
                entries += gathered
                gathered = self._queue.get_nowait()
        except queue.Empty:
            return entries, True
        return entries, False

    def _write_whole(self, data: bytes) -> str | None:
        """Write the data whole or not at all; if not, return the reason."""
        try:
            if self._file < 0:
                self._open_file()
            rest = data
            while rest:
                rest = rest[self._write(self._file, rest) :]
            if self._policy.sync:
                os.fsync(self._file)
        except OSError as error:
            self._remove_partial_write()
            return error.strerror or type(error).__name__
        self._size += len(data)
        return None

    def _open_file(self) -> None:
        """Open a new file. It gets its final name when it is locked and has its header."""
        self._folder.mkdir(parents=True, exist_ok=True)
        now = self._clock()
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
        path = self._folder / f"{stamp}-{secrets.token_hex(6)}{SUFFIX}"
        temporary = path.with_suffix(".new")
        file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            header = self._header + b"\n"
            if self._write(file, header) != len(header):
                raise OSError(errno.ENOSPC, "No space left on device")
            os.replace(temporary, path)
        except OSError:
            os.close(file)
            temporary.unlink(missing_ok=True)
            raise
        self._file, self._size, self._close_at = file, len(header), now + self._policy.minutes * 60

    def _remove_partial_write(self) -> None:
        if self._file < 0:
            return
        try:
            os.ftruncate(self._file, self._size)
        except OSError:
            # The end of this file may be a part of an entry, so nothing may follow it.
            self._close_file()

    def _resolve(self, entries: list[Pending], reason: str | None) -> None:
        """Tell the requests that wait for these entries whether they are written."""
        self._waiting -= len(entries)
        for _, future in entries:
            if future.done():
                continue
            if reason is None:
                future.set_result(None)
            else:
                future.set_exception(LogError(reason))

    def _is_large(self) -> bool:
        return self._size >= self._policy.megabytes * MEGABYTE

    def _close_file(self) -> None:
        os.close(self._file)
        self._file = -1
        self._on_close()


def _expire(future: asyncio.Future[None], seconds: float) -> None:
    if not future.done():
        future.set_exception(LogError(f"the log's store took more than {seconds:g} s"))
