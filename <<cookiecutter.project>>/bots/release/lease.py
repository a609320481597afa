"""Lets one process at a time change a stage: a lease on a ref of the repository, which its holder renews.

Concurrency groups of GitHub Actions cannot do that: a job that waits for somebody's approval holds its group, and a
rollback would wait behind it. A lease that nobody renews any more is taken over, by the taker's own clock alone: clocks
of two machines are never compared.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Struct

from bots.errors import BotsError
from bots.git.bare import Author, RefMoved, parse_tag
from bots.release import tags
from bots.release.registry import RegistryError, format_time
from bots.retry import TemporaryFailure

if TYPE_CHECKING:
    from bots.release.registry import RegistryRepository
    from bots.release.versions import Stage

SECONDS: Final = 180.0  # without a renewal, until a lease is taken over
RENEWAL: Final = 45.0  # seconds between two renewals
POLL: Final = 3.0  # seconds between two looks at a stage that is taken
PATIENCE: Final = 2400.0  # seconds until a waiting process gives up


class _Words(Struct, frozen=True, kw_only=True):
    """What a lease says: for which stage, whose, since when, and how often it was renewed."""

    stage: str
    by: str
    since: str
    holder: str
    turn: int


@dataclass
class Lease:
    """A stage's lease, as one process sees it. `current` is the object that it has pushed; `lost` ends it."""

    repository: RegistryRepository
    stage: Stage
    by: str
    tell: Callable[[str], None]
    sleep: Callable[[float], None] = time.sleep
    now: Callable[[], float] = time.monotonic
    current: str | None = None
    lost: str | None = None
    _renewed: float = 0.0
    _turn: int = 0
    _holder: str = field(default_factory=lambda: secrets.token_hex(8))

    @property
    def ref(self) -> str:
        """The ref that holds the lease."""
        return self.repository.naming.name_lease(self.stage)

    @property
    def _place(self) -> str:
        """What a lease is signed for: one project's lease is none of another's."""
        naming = self.repository.naming
        return self.stage if naming.is_plain else f"{naming.artifact} {self.stage}"

    def acquire(self) -> None:
        """Take the lease, and wait for it while somebody has it. Raises `RegistryError` where that takes too long."""
        start = since = self.now()
        seen: str | None = None
        while True:
            try:
                found = self._find()
                holder = self._read(found) if found else None
                if found is None or holder is None or (found == seen and self.now() - since >= SECONDS):
                    if holder:
                        self.tell(
                            f"{holder.by} does not renew the lease of {self.stage} any more: taking it over"
                        )
                    if self._push(found):
                        return
                elif found != seen:
                    if seen is None:
                        self.tell(
                            f"{self.stage} is being changed by {holder.by} since {holder.since}: waiting"
                        )
                    seen, since = found, self.now()
            except TemporaryFailure as error:
                self.tell(str(error))
            if self.now() - start > PATIENCE:
                raise RegistryError(
                    f"{self.stage} is still being changed by somebody else; run this again later. If nobody is: "
                    f"`git push origin :{self.ref}`"
                )
            self.sleep(POLL)

    def renew(self) -> None:
        """Renew the lease once, and take it back from who has no right to it; else it is lost."""
        try:
            if self._push(self.current):
                return
            found = self._find()
            if found is None or self._read(found) is None:
                self._push(found)
            else:
                self.lost = f"another process took the lease of {self.stage} while this one was at work"
        except (TemporaryFailure, BotsError, OSError) as error:
            if self.now() - self._renewed >= SECONDS:
                self.lost = f"the lease of {self.stage} could not be renewed in time: {error}"

    def release(self) -> None:
        """Give the lease up, where it is still ours. One that cannot be given up ends by itself."""
        if self.lost or self.current is None:
            return
        try:
            self.repository.bare.push_refs({self.ref: ("", self.current)})
        except (TemporaryFailure, BotsError, OSError) as error:
            self.tell(f"the lease of {self.stage} ends by itself in {SECONDS:.0f} s: {error}")

    def check(self) -> None:
        """Raise `RegistryError` where the lease was lost."""
        if self.lost:
            raise RegistryError(
                f"{self.lost}, so {self.stage} may run either version: look at it, then run this again"
            )

    def _find(self) -> str | None:
        return self.repository.bare.find_remote_ref(self.ref)

    def _push(self, expected: str | None) -> bool:
        """Push a lease of ours in the place of the expected object; whether it is there now."""
        signer = self.repository.get_signer()
        self._turn += 1
        at = self.repository.clock()
        known = _Words(
            stage=self.stage, by=self.by, since=format_time(at), holder=self._holder, turn=self._turn
        )
        line = msgspec.json.encode(known).decode()
        signature = signer.sign(_format_payload(self._place, line))
        made = self.repository.bare.create_tag(
            f"lock-{self.stage}",
            self.repository.tip,
            message=f"{self.stage} is being changed by {self.by}\n\n{tags.SIGNED}{signature}\n{line}\n",
            author=Author("bots", "bots@localhost", int(at)),
        )
        try:
            self.repository.bare.push_refs({self.ref: (made, expected)})
        except RefMoved:
            # Or the push arrived, and only its answer did not.
            if self._find() != made:
                return False
        self.current, self._renewed = made, self.now()
        return True

    def _read(self, found: str) -> _Words | None:
        """Read a lease; None where it is none that the bots wrote, which holds nobody up."""
        raw = self.repository.bare.fetch_object(self.ref, found)
        tag = parse_tag(f"lock-{self.stage}", "tag", raw or b"")
        line = tags.find_record_line(tag.message)
        signature = tags.find_signature(tag.message)
        fault = tag.fault or self.repository.keys.find_fault(signature, _format_payload(self._place, line))
        if fault:
            self.tell(f"{self.ref} {fault}; it is not obeyed")
            return None
        try:
            return msgspec.json.decode(line, type=_Words)
        except msgspec.DecodeError:
            return None


def _format_payload(stage: str, line: str) -> bytes:
    return f"registry lock 1\n{stage}\n{line}".encode(errors="surrogatepass")


@contextmanager
def hold_stage(lease: Lease) -> Iterator[Lease]:
    """Hold a stage's lease while the block runs, and renew it meanwhile. Raises `RegistryError` where it was lost."""
    lease.acquire()
    stop = threading.Event()

    def renew() -> None:
        while not lease.lost and not stop.wait(RENEWAL):
            lease.renew()

    thread = threading.Thread(target=renew, daemon=True)
    thread.start()
    try:
        yield lease
    finally:
        stop.set()
        thread.join()
        lease.release()
