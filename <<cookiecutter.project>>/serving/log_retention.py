"""Keep the prediction log within its days and megabytes, and set aside what nobody can read."""

from __future__ import annotations

import contextlib
import logging
import os
from typing import TYPE_CHECKING, NamedTuple

from serving.log_format import SUFFIX

if TYPE_CHECKING:
    from pathlib import Path

    from serving.settings import LogPolicy

COMPLETE = (".parquet", ".unreadable")
DAY = 86_400.0
MEGABYTE = 1_000_000

logger = logging.getLogger("serving")


class Survey(NamedTuple):
    """What a folder holds: the bytes of all its files, and the files that are not tables yet."""

    total: int
    unconverted: list[Path]


def tidy_folder(folder: Path, policy: LogPolicy, now: float) -> Survey:
    """Delete the oldest complete files beyond the days and the megabytes that the policy keeps. Raises OSError.

    A file that a service still writes is never deleted.
    """
    complete: list[tuple[float, int, Path]] = []
    unconverted: list[Path] = []
    total = 0
    with os.scandir(folder) as entries:
        for entry in entries:
            try:
                found = entry.stat(follow_symlinks=False)
            except FileNotFoundError:  # another worker has just deleted or renamed it
                continue
            total += found.st_size
            path = folder / entry.name
            if path.suffix in COMPLETE and entry.is_file(follow_symlinks=False):
                complete.append((found.st_mtime, found.st_size, path))
            elif path.suffix == SUFFIX:
                unconverted.append(path)
    for changed, size, path in sorted(complete):
        if changed < now - policy.days * DAY:
            why = f"older than {policy.days:g} days"
        elif total > policy.total_megabytes * MEGABYTE:
            why = f"the log has more than {policy.total_megabytes:g} MB"
        else:
            break
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
            logger.warning("deleted %s: %s", path, why)
        total -= size
    return Survey(total, unconverted)


def set_aside_unreadable(paths: list[Path]) -> None:
    """Rename what is no file or cannot be opened to `.unreadable`. Raises OSError if that is not possible."""
    for path in paths:
        try:
            if path.is_file():
                with path.open("rb"):
                    continue
            if not os.path.lexists(path):
                continue
        except FileNotFoundError:
            continue
        except OSError as error:
            logger.error("%s cannot be read (%s) and is set aside", path, error.strerror)
        with contextlib.suppress(FileNotFoundError):
            path.replace(path.with_suffix(".unreadable"))
            logger.error("%s was set aside as .unreadable: its predictions are in no table", path)
