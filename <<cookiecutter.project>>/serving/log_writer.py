"""Write the prediction log: an entry is in its file before the response leaves the service.

A thread writes all entries that came in during its last write together (group commit). If the disk hangs, responses
are late, as the policy allows, but the service goes on. What is written survives a crash of the process, and with
`sync` also one of the machine. Each worker has its own file, which stays locked until it is complete.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import logging
import os
import queue
import secrets
import threading
import time
from typing import TYPE_CHECKING

from serving.errors import LogError
from serving.log_format import SUFFIX
from serving.log_retention import set_aside_unreadable, tidy_folder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from serving.settings import LogPolicy

MEGABYTE = 1_000_000
# How often the thread looks whether its file is still in its folder, and at the clock.
POLL_SECONDS = 0.5
# How often the whole folder is surveyed, unless something was added to it or taken out.
SURVEY_SECONDS = 60.0
# A clock that goes back by more was set back.
CLOCK_STEP = 1.0
# How many entries may wait for a disk that hangs. Further ones fail at once, so that they do not fill the memory.
MAX_WAITING = 10_000
MAX_WAITING_BYTES = 32_000_000
# How many bytes are written to see whether a full disk takes entries again: more than what fits into its last page.
TRIAL_BYTES = 20_000

logger = logging.getLogger("serving")

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
        on_unshipped: Callable[[int], None] = lambda tables: None,
        write: Callable[[int, bytes], int] = os.write,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`header` is the first line of every file. `on_close` is called when a file is complete.

        `on_unshipped` is called with the number of tables that had to be deleted before they were shipped.
        """
        self._folder, self._header, self._policy = folder, header, policy
        self._on_unshipped = on_unshipped
        self._on_close, self._write, self._clock, self._monotonic = on_close, write, clock, monotonic
        self._queue: queue.SimpleQueue[list[Pending] | None] = queue.SimpleQueue()
        self._gathered: list[Pending] = []
        self._waiting = self._waiting_bytes = 0
        self._loop = asyncio.get_running_loop()
        self._file = -1
        self._path = folder
        self._size = 0
        self._close_at = self._close_at_monotonic = 0.0
        # What the clock says beyond the monotonic one, and when it was compared.
        self._clock_ahead = clock() - monotonic()
        self._looked_at = monotonic()
        # The last survey: when, the folder's time of change, the bytes of all files but the own, and what hinders.
        self._surveyed_at, self._folder_changed, self._other_bytes = float("-inf"), 0, 0
        self._unconverted: list[Path] = []
        self._hindrance: str | None = None
        self.failure: str | None = None
        self._thread: threading.Thread | None = None
        self._start_thread()

    async def append(self, lines: bytes) -> None:
        """Wait until these lines are in the file. Raises `LogError` if they cannot be written, or not in time."""
        if self._waiting >= MAX_WAITING or self._waiting_bytes + len(lines) > MAX_WAITING_BYTES:
            raise LogError("the log's store does not keep up")
        if self._thread is None and not self._start_thread():
            raise LogError(str(self.failure))
        future = self._loop.create_future()
        # All entries of one turn of the event loop wake the thread once.
        if not self._gathered:
            self._loop.call_soon(self._hand_over)
        self._gathered.append((lines, future))
        self._waiting += 1
        self._waiting_bytes += len(lines)
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
        until = time.monotonic() + self._policy.patience + 2 * POLL_SECONDS
        while self._thread is not None and self._thread.is_alive() and time.monotonic() < until:
            await asyncio.sleep(0.01)

    def _start_thread(self) -> bool:
        """Start the thread, and say whether it runs. Without it, no entry is taken."""
        thread = threading.Thread(target=self._write_batches, name="log", daemon=True)
        try:
            thread.start()
        except (RuntimeError, MemoryError) as error:
            self._report(f"its thread cannot start ({error})")
            return False
        self._thread = thread
        return True

    def _report(self, reason: str) -> None:
        """Keep a failure, and say it once in the service's own log."""
        if reason != self.failure:
            logger.error("the prediction log in %s does not take entries: %s", self._folder, reason)
        self.failure = reason

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
            try:
                reason = self._take_turn(entries, running=running)
            except Exception as error:  # noqa: BLE001  the thread goes on, and these entries are not in the log
                reason = f"{type(error).__name__}: {error}"
            if reason is not None:
                self._report(reason)
            elif entries:
                self.failure = None
            if entries:
                self._loop.call_soon_threadsafe(self._resolve, entries, reason)

    def _take_turn(self, entries: list[Pending], *, running: bool) -> str | None:
        """Look at the store if it is time, write the entries, and close a file that is complete.

        Returns why the entries are not in the log, or why the next ones would not be; None if all is well.
        """
        reason = self._look() if self._monotonic() - self._looked_at >= POLL_SECONDS else self._hindrance
        if entries and reason is None:
            reason = self._write_whole(b"".join(lines for lines, _ in entries))
        if self._file >= 0 and (not running or self._is_due() or self._is_large()):
            self._close_file()
        return reason

    def _look(self) -> str | None:
        """Say whether the clock was set back, the file or its folder is gone, or the folder is full."""
        now = self._monotonic()
        self._looked_at = now
        before, self._clock_ahead = self._clock_ahead, self._clock() - now
        if self._clock_ahead < before - CLOCK_STEP:
            if self._file >= 0:
                self._close_file()  # what follows gets a file with the new time in its name
            return f"the clock was set back by {before - self._clock_ahead:.0f} s"
        if self._file >= 0 and not self._is_in_place():
            os.close(self._file)
            self._file = -1
            return "its file or folder was deleted or replaced"
        try:
            self._hindrance = self._survey(now)
        except OSError as error:
            self._hindrance = error.strerror or type(error).__name__
        return self._hindrance

    def _is_in_place(self) -> bool:
        """Whether a reader of the folder finds the file that is being written."""
        try:
            return os.path.samestat(self._path.stat(), os.fstat(self._file))
        except OSError:
            return False

    def _survey(self, now: float) -> str | None:
        """Delete what is not kept, set aside what cannot be read, and say if there are too many megabytes even so."""
        try:
            changed = self._folder.stat().st_mtime_ns
        except (FileNotFoundError, NotADirectoryError):
            return None  # the next entry makes it, or says why not
        most = self._policy.total_megabytes * MEGABYTE
        set_aside_unreadable(self._unconverted)
        is_due = now - self._surveyed_at >= SURVEY_SECONDS or changed != self._folder_changed
        if is_due or self._other_bytes + self._size > most:
            survey = tidy_folder(self._folder, self._policy, self._clock())
            if survey.unshipped:
                self._on_unshipped(survey.unshipped)
            self._surveyed_at, self._folder_changed = now, changed
            self._unconverted = [path for path in survey.unconverted if path != self._path]
            set_aside_unreadable(self._unconverted)
            self._other_bytes = survey.total - (self._size if self._file >= 0 else 0)
        if self._other_bytes + (self._size if self._file >= 0 else 0) <= most:
            return None
        if self._file >= 0:
            self._close_file()  # as a table it is smaller, and may be deleted
        return f"it has more than {self._policy.total_megabytes:g} MB, and no complete file is left to delete"

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
            is_deleted = os.fstat(self._file).st_nlink == 0
        except OSError as error:
            self._remove_partial_write()
            return error.strerror or type(error).__name__
        self._size += len(data)
        if is_deleted:
            os.close(self._file)
            self._file = -1
            return "its file or folder was deleted or replaced"
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
            _check_lock(temporary)
            header = self._header + b"\n"
            if self._write(file, header) != len(header):
                raise OSError(errno.ENOSPC, "No space left on device")
            os.replace(temporary, path)
        except OSError:
            os.close(file)
            temporary.unlink(missing_ok=True)
            raise
        self._file, self._path, self._size = file, path, len(header)
        self._close_at = now + self._policy.minutes * 60
        self._close_at_monotonic = self._monotonic() + self._policy.minutes * 60

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
        self._waiting_bytes -= sum(len(lines) for lines, _ in entries)
        for _, future in entries:
            if future.done():
                continue
            if reason is None:
                future.set_result(None)
            else:
                future.set_exception(LogError(reason))

    def _is_due(self) -> bool:
        """Whether the file is old enough; a clock that was set back does not make it younger."""
        return self._clock() >= self._close_at or self._monotonic() >= self._close_at_monotonic

    def _is_large(self) -> bool:
        return self._size >= self._policy.megabytes * MEGABYTE

    def _close_file(self) -> None:
        os.close(self._file)
        self._file = -1
        self._on_close()


def _check_lock(path: Path) -> None:
    """Raise OSError if a locked file can be locked again: then the converter would take files that are written."""
    other = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    finally:
        os.close(other)
    raise OSError(errno.ENOLCK, "the store has no working locks")


def _expire(future: asyncio.Future[None], seconds: float) -> None:
    if not future.done():
        future.set_exception(LogError(f"the log's store took more than {seconds:g} s"))
