"""Keep the prediction log within its days and megabytes, and set aside what nobody can read."""

from __future__ import annotations

import contextlib
import logging
import os
from typing import TYPE_CHECKING, NamedTuple

from serving.log_format import SHIPPED, SUFFIX

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
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
    unshipped: int = 0
    """how many tables were deleted that were to be shipped and were not"""


def tidy_folder(folder: Path, policy: LogPolicy, now: float) -> Survey:
    """Delete the oldest complete files beyond the days and the megabytes that the policy keeps. Raises OSError.

    A file that a service still writes is never deleted. Where the log is shipped, a table that was not is deleted for
    its megabytes only after all that were.
    """
    complete: list[_Complete] = []
    unconverted: list[Path] = []
    markers: dict[str, int] = {}
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
                complete.append(_Complete(found.st_mtime, found.st_size, path))
            elif path.suffix == SUFFIX:
                unconverted.append(path)
            elif path.suffix == SHIPPED:
                markers[path.stem] = found.st_size
    unshipped = 0
    for file, why in _choose_deletions(complete, markers, policy, now=now, total=total):
        waits = _waits(file.path, markers, policy)
        with contextlib.suppress(FileNotFoundError):
            file.path.unlink()
            unshipped += waits
            logger.warning("deleted %s: %s%s", file.path, why, "; it was not shipped" if waits else "")
        total -= file.size + _remove_marker(file.path, markers)
    for left in set(markers) - {file.path.name for file in complete}:
        total -= _remove_marker(folder / left, markers)
    return Survey(total, unconverted, unshipped)


class _Complete(NamedTuple):
    """A complete file: when it changed, in seconds since 1970, and its bytes."""

    changed: float
    size: int
    path: Path


def _waits(path: Path, markers: Mapping[str, int], policy: LogPolicy) -> bool:
    """Whether a file is a table that is to be shipped and was not yet."""
    return policy.ship is not None and path.suffix == ".parquet" and path.name not in markers


def _choose_deletions(
    complete: list[_Complete], markers: Mapping[str, int], policy: LogPolicy, *, now: float, total: int
) -> Iterator[tuple[_Complete, str]]:
    """Choose what to delete, and why: first what is too old, then the oldest until the rest fits."""
    oldest_first = sorted(complete)
    too_old = [file for file in oldest_first if file.changed < now - policy.days * DAY]
    for file in too_old:
        total -= file.size + markers.get(file.path.name, 0)
        yield file, f"older than {policy.days:g} days"
    kept = sorted(oldest_first[len(too_old) :], key=lambda file: _waits(file.path, markers, policy))
    for file in kept:
        if total <= policy.total_megabytes * MEGABYTE:
            return
        total -= file.size + markers.get(file.path.name, 0)
        yield file, f"the log has more than {policy.total_megabytes:g} MB"


def _remove_marker(path: Path, markers: Mapping[str, int]) -> int:
    """Remove a table's marker, and return its bytes."""
    if path.name not in markers:
        return 0
    path.with_name(path.name + SHIPPED).unlink(missing_ok=True)
    return markers[path.name]


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
