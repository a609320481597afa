"""Downloads an artifact of a workflow run within limits: a stranger's run may have uploaded it, bomb and all.

Its size is asked before it is fetched, and what it would become before it is unpacked. A name that leads out of the
folder, a link, or anything else than files and folders is refused, and nothing is written then.
"""

from __future__ import annotations

import hashlib
import shutil
import stat
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Protocol

from bots.errors import BotsError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MIB = 1 << 20
# What must be left on the disk beside everything that is unpacked.
_SPARE = 512 * MIB
_CHUNK = 1 << 20


class ArtifactMissing(BotsError):
    """The run has no artifact of that name."""


class ArtifactRefused(BotsError):
    """The artifact is too large, or is not what an upload by the workflow would be; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The most that is taken: bytes as they are sent, bytes unpacked, and files."""

    packed: int
    unpacked: int
    files: int


@dataclass(frozen=True)
class Artifact:
    """What GitHub says of an artifact; `digest` is that of the zip file, `sha256:…`, where GitHub knows it."""

    id: int
    name: str
    size: int
    expired: bool
    digest: str | None = None


class ArtifactSource(Protocol):
    """The calls that a download needs. Each may raise `RequestDenied` or `TemporaryFailure`."""

    def find_artifact(self, run: int, name: str) -> Artifact | None:
        """Find the newest artifact of that name of a run."""

    def read_artifact(self, artifact: int) -> Iterator[bytes]:
        """Read an artifact's zip file, piece by piece."""


def choose_artifact(found: Artifact | None, run: int, name: str, limits: Limits) -> Artifact:
    """The artifact, if there is one and it may be fetched. Raises `ArtifactMissing` and `ArtifactRefused`."""
    if found is None:
        raise ArtifactMissing(f"the run {run} has no artifact named {name}")
    if found.expired:
        raise ArtifactMissing(f"the artifact {name} of the run {run} is no longer kept: run the review again")
    if found.size > limits.packed:
        raise ArtifactRefused(
            f"the artifact {name} is too large: {_format_size(found.size)}, at most {_format_size(limits.packed)}"
        )
    return found


def fetch_archive(artifact: Artifact, pieces: Iterable[bytes], out: IO[bytes], limits: Limits) -> None:
    """Write the zip file. Raises `ArtifactRefused` where it is too large, or not the one that GitHub names."""
    total, digest = 0, hashlib.sha256()
    for piece in pieces:
        total += len(piece)
        if total > limits.packed:
            raise ArtifactRefused(
                f"the artifact {artifact.name} sends more than the {_format_size(limits.packed)} that are allowed"
            )
        digest.update(piece)
        out.write(piece)
    if artifact.digest not in (None, f"sha256:{digest.hexdigest()}"):
        raise ArtifactRefused(
            f"the artifact {artifact.name} is not the one that GitHub names: its digest differs"
        )


def unpack(archive: IO[bytes], folder: Path, name: str, limits: Limits) -> int:
    """Unpack a zip file into a folder that is not there yet; returns how many files it had.

    Everything is looked at before anything is written. Raises `ArtifactRefused`; then there is no folder.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            places = list(_check_entries(opened, name, limits))
            _check_room(folder.parent, sum(entry.file_size for entry, _ in places), name)
            folder.mkdir(parents=True)
            for entry, place in places:
                _write_entry(opened, entry, folder / place)
    except ArtifactRefused:
        raise
    # zipfile raises these for what is no zip file, is cut short, or asks for what zipfile does not know.
    except (zipfile.BadZipFile, zlib.error, RuntimeError, ValueError, EOFError, OSError) as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise ArtifactRefused(f"the artifact {name} cannot be unpacked: {error}") from error
    return len(places)


def _check_entries(
    opened: zipfile.ZipFile, name: str, limits: Limits
) -> Iterator[tuple[zipfile.ZipInfo, PurePosixPath]]:
    """The files with their places; folders come of themselves. Raises `ArtifactRefused`."""
    entries = opened.infolist()
    total = sum(entry.file_size for entry in entries)
    if len(entries) > limits.files or total > limits.unpacked:
        raise ArtifactRefused(
            f"the artifact {name} would become {len(entries):,} files of {_format_size(total)}, at most "
            f"{limits.files:,} of {_format_size(limits.unpacked)} are allowed"
        )
    seen: set[PurePosixPath] = set()
    for entry in entries:
        place = PurePosixPath(entry.filename)
        kind = stat.S_IFMT(entry.external_attr >> 16)
        if (
            place.is_absolute()
            or ".." in place.parts
            or "\\" in entry.filename
            or "\0" in entry.orig_filename
        ):
            raise ArtifactRefused(
                f"the artifact {name} names {entry.filename[:200]!r}, which leads out of its folder"
            )
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ArtifactRefused(f"the artifact {name} is packed in a way that no upload is")
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise ArtifactRefused(f"the artifact {name} holds {entry.filename[:200]!r}, which is no file")
        if entry.is_dir():
            continue
        if place in seen or not place.parts:
            raise ArtifactRefused(
                f"the artifact {name} names {entry.filename[:200]!r} twice, or nothing at all"
            )
        seen.add(place)
        yield entry, place


def _check_room(folder: Path, needed: int, name: str) -> None:
    while not folder.exists():
        folder = folder.parent
    if (free := shutil.disk_usage(folder).free) < needed + _SPARE:
        raise ArtifactRefused(
            f"the artifact {name} would become {_format_size(needed)}, and the disk has {_format_size(free)} left"
        )


def _write_entry(opened: zipfile.ZipFile, entry: zipfile.ZipInfo, place: Path) -> None:
    """Write one file; zipfile gives no more bytes of it than were announced."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with opened.open(entry) as source, place.open("xb") as target:
        shutil.copyfileobj(source, target, _CHUNK)


def _format_size(size: int) -> str:
    """Bytes in words: `12 MiB`, and bytes below one."""
    return f"{size / MIB:,.0f} MiB" if size >= MIB else f"{size:,} bytes"
