"""Reads the prediction log from the volumes of a Compose project, through the engine that DOCKER_HOST names.

A short-lived container without network sees the volumes and can only read. So the log of a version that was replaced
is read too, and nothing has to run at that moment.
"""

from __future__ import annotations

import contextlib
import io
import shutil
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from bots.deploy.compose import PYTHON
from bots.deploy.docker import EngineError
from bots.deploy.reading import Reader, wrap_in_python
from bots.monitoring.log_listing import (
    LIST,
    FileGone,
    FileUnreadable,
    FoundFile,
    SourceUnreachable,
    is_disk_fault,
    keep_whole,
    parse_listing,
)

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container

VOLUMES = ("stable-log", "canary-log", "shadow-log")
PLACE = "/logs"
# A reader that its bot could not end, because that was killed, ends by itself.
LONGEST = 6 * 3600
CHUNK = 2 << 20
TRIES = 3
_PROJECT, _VOLUME = "com.docker.compose.project", "com.docker.compose.volume"


@contextlib.contextmanager
def open_engine_logs(client: DockerClient, name: str) -> Iterator[EngineLogs]:
    """Open the log of the Compose project `name`. Raises `SourceUnreachable`, `EngineError`."""
    from docker.errors import DockerException

    try:
        image, mounts = _find_image(client, name), _find_volumes(client, name)
        reader = client.containers.run(
            image,
            entrypoint=[PYTHON, "-c", f"import time; time.sleep({LONGEST})"],
            command=[],
            detach=True,
            auto_remove=True,
            volumes={volume: {"bind": f"{PLACE}/{place}", "mode": "ro"} for volume, place in mounts.items()},
            network_mode="none",
            read_only=True,
            cap_drop=["ALL"],
            security_opt=["no-new-privileges:true"],
            mem_limit="128m",
            pids_limit=16,
            healthcheck={"test": ["NONE"]},
            labels={"release.reads-log-of": name},
        )
    except (DockerException, OSError) as error:
        raise EngineError(f"the engine cannot start what reads the log of {name}: {error}") from error
    try:
        yield EngineLogs(reader, f"the volumes of {name}")
    finally:
        # The engine removes it by itself once it has ended, so it may be gone already.
        with contextlib.suppress(DockerException, OSError):
            reader.remove(force=True)


def _find_image(client: DockerClient, name: str) -> str:
    """Find the image of a version that was deployed: it is there, and has a Python."""
    found = client.containers.list(all=True, filters={"label": f"{_PROJECT}={name}"}, ignore_removed=True)
    versions = [
        one for one in found if one.labels.get("com.docker.compose.service") in ("stable", "canary", "shadow")
    ]
    if not versions:
        raise SourceUnreachable(
            f"{name}: no version of it is on this engine, so there is no log to read. Release one, or see that "
            "DOCKER_HOST names the host that it was released to"
        )
    newest = max(versions, key=lambda one: str(one.attrs["Created"]))
    return str(newest.attrs["Image"])


def _find_volumes(client: DockerClient, name: str) -> dict[str, str]:
    """Find the volumes of the log: their names on the engine, and in the Compose project."""
    found = client.volumes.list(filters={"label": f"{_PROJECT}={name}"})
    mounts = {
        str(one.name): place
        for one in found
        if (place := (one.attrs.get("Labels") or {}).get(_VOLUME)) in VOLUMES
    }
    if not mounts:
        raise SourceUnreachable(
            f"{name}: this engine has no volume {VOLUMES[0]} of it. A log that is kept elsewhere is named by "
            "monitoring.predictions in params.yaml"
        )
    return mounts


@dataclass
class EngineLogs:
    """The volumes of a project, seen by the container `reader`."""

    reader: Container
    where: str
    unseen: list[str] = field(default_factory=list)

    def list_files(self) -> list[FoundFile]:
        """See `LogSource`."""
        command = wrap_in_python(PYTHON, ["-c", LIST, PLACE])
        try:
            done = Reader().run(f"the list of {self.where}", self.reader, command)
        except EngineError as error:
            raise SourceUnreachable(f"{self.where}: {error}") from error
        if done.code != 0:
            raise SourceUnreachable(f"{self.where} cannot be listed: {done.errors.strip()[-300:]}")
        found, faults = parse_listing(done.text)
        self.unseen += faults
        return found

    def fetch(self, name: str, path: Path) -> None:
        """See `LogSource`. The file comes as a stream, so that memory does not grow with it."""
        for left in reversed(range(TRIES)):
            try:
                with keep_whole(path) as part:
                    self._fetch_once(name, part)
                return
            except _Cut as error:
                if not left:
                    raise FileUnreadable(
                        f"{name}: it did not arrive whole, {TRIES} times: {error}"
                    ) from error

    def _fetch_once(self, name: str, part: Path) -> None:
        from docker.errors import APIError, DockerException

        try:
            chunks, _ = self.reader.get_archive(f"{PLACE}/{name}", chunk_size=CHUNK)
            _save_member(chunks, part, name)
        except APIError as error:
            said = str(error.explanation or error)
            if error.status_code == 404:
                if "No such container" in said:
                    raise SourceUnreachable(f"{self.where}: what read them was removed") from error
                raise FileGone(f"{name}: it is gone") from error
            raise _Cut(f"the engine says: {said}") from error
        except DockerException as error:
            raise _Cut(f"the engine says: {error}") from error
        except OSError as error:  # also what the library for HTTP raises
            if is_disk_fault(error):
                raise
            raise _Cut(str(error) or type(error).__name__) from error


class _Cut(Exception):
    """An answer was cut; asking again may help."""


def _save_member(chunks: Iterator[bytes], part: Path, name: str) -> None:
    """Save the only file of a tar stream. Raises `_Cut`, `FileUnreadable`, OSError."""
    try:
        with tarfile.open(fileobj=_Stream(chunks), mode="r|") as archive:
            member = archive.next()
            if member is None:
                raise _Cut("the archive was empty")
            source = archive.extractfile(member) if member.isreg() else None
            if source is None:
                raise FileUnreadable(f"{name}: it is no plain file")
            with part.open("wb") as file:
                shutil.copyfileobj(source, file, CHUNK)
                if file.tell() != member.size:
                    raise _Cut(f"{file.tell()} of {member.size} bytes came")
    except (tarfile.TarError, EOFError) as error:
        raise _Cut(f"its archive was cut: {error}") from error


class _Stream(io.RawIOBase):
    """The chunks of an answer as a file that is read once."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks, self._rest = chunks, b""

    def read(self, size: int = -1) -> bytes:
        """Read up to `size` bytes."""
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return b""
            self._rest = chunk
        taken, self._rest = (self._rest, b"") if size < 0 else (self._rest[:size], self._rest[size:])
        return taken
