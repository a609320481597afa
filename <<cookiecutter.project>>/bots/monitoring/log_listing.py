"""What every place of the prediction log has in common: how its files are listed, fetched whole, and what may fail."""

from __future__ import annotations

import contextlib
import errno
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from msgspec import Struct

from bots.errors import BotsError
from bots.files import replace_file
from bots.log import make_visible

DEEPEST = 4  # folders below the log's own
# Errors of this machine's own disk: to read on would end in the same way.
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)

Tell = Callable[[str], None]


class SourceUnreachable(BotsError):
    """The prediction log cannot be reached; the message says where and what to do."""


class FileUnreadable(BotsError):
    """One file of the log cannot be fetched; the others may be."""


class FileGone(FileUnreadable):
    """A file that was listed is not there any more."""


class DiskFull(BotsError):
    """This machine cannot keep what is fetched."""


class FoundFile(Struct, frozen=True):
    """A file of the log as its store lists it: bytes, and seconds since 1970 where the store tells."""

    name: str
    size: int
    changed: float | None = None


class LogSource(Protocol):
    """Where the prediction log lies."""

    @property
    def where(self) -> str:
        """Where it lies, for people."""

    @property
    def unseen(self) -> list[str]:
        """Whole sentences on what was not seen."""

    def list_files(self) -> list[FoundFile]:
        """List every file of the log, complete or not. Raises `SourceUnreachable`."""

    def fetch(self, name: str, path: Path) -> None:
        """Fetch a listed file, whole or not at all.

        Raises `FileUnreadable` (`FileGone`), `DiskFull`, and `SourceUnreachable` where no further file would come.
        """


def is_disk_fault(error: BaseException) -> bool:
    """Tell whether an error is one of this machine's own disk."""
    return isinstance(error, OSError) and error.errno in _DISK


@contextlib.contextmanager
def keep_whole(path: Path) -> Iterator[Path]:
    """Yield a path to write to; it replaces `path` once the block is through. Raises `DiskFull`."""
    try:
        with replace_file(path) as part:
            yield part
    except OSError as error:
        if is_disk_fault(error):
            raise DiskFull(f"{path.parent}: {error.strerror}; make room there, then run it again") from error
        raise


# Runs with the service's own Python, where the log lies: no link is followed, what cannot be read is said.
LIST = f"""
import json, os, stat, sys
root, found, faults = sys.argv[1], [], []
for base, folders, names in os.walk(root, onerror=lambda error: faults.append([error.filename, error.strerror])):
    if len(os.path.relpath(base, root).split(os.sep)) >= {DEEPEST}:
        faults += [[os.path.join(base, name), "too deep"] for name in folders]
        folders.clear()
    for name in names:
        path = os.path.join(base, name)
        try:
            about = os.lstat(path)
        except OSError:
            continue
        if stat.S_ISREG(about.st_mode):
            found.append([os.path.relpath(path, root), about.st_size, about.st_mtime])
print(json.dumps([found, faults]))
"""


def parse_listing(text: str) -> tuple[list[FoundFile], list[str]]:
    """Parse what `LIST` printed: the files, and sentences on what could not be read. Raises `SourceUnreachable`."""
    try:
        found, faults = json.loads(text)
        files = [FoundFile(str(name), int(size), float(changed)) for name, size, changed in found]
        said = [
            f"{make_visible(path, 200)} cannot be read: {make_visible(why, 100)}." for path, why in faults
        ]
    except (ValueError, TypeError) as error:
        raise SourceUnreachable(
            f"the list of the log's files cannot be read: {make_visible(text, 100)}"
        ) from error
    return files, said
