"""Reaches the prediction log where it lies: a folder, an address that fsspec reads, the host's engine, a cluster."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from bots.deploy.docker import EngineError
from bots.deploy.platform import find_platform, name_namespace
from bots.log import make_visible
from bots.monitoring.log_listing import (
    DEEPEST,
    FileGone,
    FileUnreadable,
    FoundFile,
    LogSource,
    SourceUnreachable,
    Tell,
    is_disk_fault,
    keep_whole,
)
from bots.naming import Naming
from bots.network import open_filesystem
from bots.settings import Settings

# What reads a kind of address, and the lock file of the storages that it belongs into.
_PACKAGES = {
    "s3": ("s3fs", "s3"),
    "s3a": ("s3fs", "s3"),
    "gs": ("gcsfs", "gcs"),
    "gcs": ("gcsfs", "gcs"),
    "az": ("adlfs", "azure"),
    "abfs": ("adlfs", "azure"),
    "abfss": ("adlfs", "azure"),
    "ssh": ("paramiko", "ssh"),
    "sftp": ("paramiko", "ssh"),
    "http": ("aiohttp", "http"),
    "https": ("aiohttp", "http"),
}
_PASSWORD = re.compile(r"://[^/@]*:[^/@]*@")
_SECRET = re.compile(r"(?<=://)[^/@\s]*@")


@contextlib.contextmanager
def open_log_source(
    root: Path,
    settings: Settings,
    *,
    tell: Tell,
    environ: Mapping[str, str] = os.environ,
    stage: str = "production",
) -> Iterator[LogSource]:
    """Open the prediction log: at `monitoring.predictions`, or where the release of `root` was deployed.

    A file beyond `monitoring.largest_file` is listed and not fetched. Raises `SourceUnreachable`.
    """
    address, megabytes = settings.monitoring.predictions, settings.monitoring.largest_file
    if address is not None:
        yield LimitedLogs(open_address(root, address), megabytes)
        return
    project, model = settings.project.name, settings.model_name
    name = Naming(model=model).name_deployment(project, stage)
    try:
        with contextlib.ExitStack() as stack:
            source = stack.enter_context(_open_deployed(root, project, stage, model=model, tell=tell))
            yield LimitedLogs(source, megabytes)
    except EngineError as error:
        raise SourceUnreachable(f"the prediction log of {name}: {error}") from error


@contextlib.contextmanager
def _open_deployed(
    root: Path, project: str, stage: str, *, model: str | None, tell: Tell
) -> Iterator[LogSource]:
    platform = find_platform(root)
    if platform == "compose":
        from bots.deploy.docker import connect
        from bots.monitoring.engine_logs import open_engine_logs

        name = Naming(model=model).name_deployment(project, stage)
        with connect() as client, open_engine_logs(client, name) as source:
            yield source
    elif platform == "kubernetes":
        from bots.monitoring.cluster_logs import open_cluster_logs

        with open_cluster_logs(name_namespace(project, stage), tell=tell, model=model) as source:
            yield source
    else:
        raise SourceUnreachable(
            "monitoring.predictions in params.yaml: expected the address of the prediction log; this project has no "
            "deploy/ that says where it runs"
        )


def open_address(root: Path, address: str) -> LogSource:
    """Open a folder, or any address that fsspec reads; a path is relative to `root`. Raises `SourceUnreachable`."""
    if "://" not in address and "::" not in address:
        return FolderLogs((root / Path(address).expanduser()).resolve())
    if address.startswith("file://"):
        return FolderLogs(Path(address.removeprefix("file://")))
    return _open_fsspec(address)


@dataclass
class LimitedLogs:
    """Another source whose files of more than so many megabytes are not fetched."""

    inner: LogSource
    megabytes: float
    _sizes: dict[str, int] = field(default_factory=dict)

    @property
    def where(self) -> str:
        """See `LogSource`."""
        return self.inner.where

    @property
    def unseen(self) -> list[str]:
        """See `LogSource`."""
        return self.inner.unseen

    def list_files(self) -> list[FoundFile]:
        """See `LogSource`."""
        found = self.inner.list_files()
        self._sizes = {file.name: file.size for file in found}
        return found

    def fetch(self, name: str, path: Path) -> None:
        """See `LogSource`."""
        size = self._sizes.get(name, 0) / 1e6
        if size > self.megabytes:
            raise FileUnreadable(
                f"{name}: it has {size:,.1f} MB, and monitoring.largest_file in params.yaml allows {self.megabytes:g}"
            )
        self.inner.fetch(name, path)


def hide_secret(text: str) -> str:
    """Take a name and password out of the addresses in a text."""
    return _SECRET.sub("", text)


@dataclass
class FolderLogs:
    """A folder of this machine. Links in it are not followed."""

    folder: Path
    unseen: list[str] = field(default_factory=list)

    @property
    def where(self) -> str:
        """The folder."""
        return str(self.folder)

    def list_files(self) -> list[FoundFile]:
        """See `LogSource`."""
        if not self.folder.is_dir():
            raise SourceUnreachable(
                f"{self.folder}: no such folder; monitoring.predictions in params.yaml names it"
            )
        found: list[FoundFile] = []
        walked = os.walk(self.folder, onerror=self._note)
        for base, folders, names in walked:
            if len(Path(base).relative_to(self.folder).parts) >= DEEPEST and folders:
                self.unseen.append(f"What lies deeper than {make_visible(base, 200)} was not looked at.")
                folders.clear()
            for name in names:
                path = Path(base, name)
                with contextlib.suppress(FileNotFoundError):  # deleted since it was listed
                    about = path.lstat()
                    if stat.S_ISREG(about.st_mode):
                        listed = path.relative_to(self.folder).as_posix()
                        found.append(FoundFile(listed, about.st_size, about.st_mtime))
        return found

    def _note(self, error: OSError) -> None:
        if Path(error.filename) == self.folder:
            raise SourceUnreachable(f"{self.folder}: {error.strerror}") from error
        self.unseen.append(
            f"The folder {make_visible(error.filename, 200)} cannot be read: {error.strerror}."
        )

    def fetch(self, name: str, path: Path) -> None:
        """See `LogSource`."""
        source = self.folder / name
        try:
            opened = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise FileGone(f"{name}: it is gone") from error
        except OSError as error:
            raise FileUnreadable(f"{name}: {error.strerror}") from error
        with os.fdopen(opened, "rb") as file, keep_whole(path) as part, part.open("wb") as copy:
            if not stat.S_ISREG(os.fstat(opened).st_mode):
                raise FileUnreadable(f"{name}: it is no plain file")
            shutil.copyfileobj(file, copy, 1 << 20)


def _open_fsspec(address: str) -> LogSource:
    where = hide_secret(address)
    if _PASSWORD.search(address):
        raise SourceUnreachable(
            f"monitoring.predictions {where}: the address holds a password, and git keeps params.yaml. Take it out: "
            "the store's own variables of the environment log in, such as AWS_ACCESS_KEY_ID"
        )
    scheme = address.partition("://")[0].rpartition("::")[2]
    try:
        there, path = open_filesystem(address)
    except ImportError as error:
        package, lock = _PACKAGES.get(scheme, ("the package that it names", scheme))
        raise SourceUnreachable(
            f"monitoring.predictions {where}: {_describe(error)}. Write {package} into "
            f"requirements/storage-{lock}.in, then `make lock` and `make setup`"
        ) from error
    except Exception as error:
        raise SourceUnreachable(f"monitoring.predictions {where}: {_describe(error)}") from error
    return FsspecLogs(there, path, where)


def _describe(error: Exception) -> str:
    said = " ".join(str(error).split()) or "no words"
    return make_visible(hide_secret(f"{type(error).__name__}: {said}"), 500)


@dataclass
class FsspecLogs:
    """A bucket or server that fsspec reads; it logs in as the library of that kind of store does."""

    there: Any
    path: str
    where: str
    unseen: list[str] = field(default_factory=list)

    def list_files(self) -> list[FoundFile]:
        """See `LogSource`. An address without any file raises: nothing was shipped there, or it is the wrong one."""
        try:
            self.there.invalidate_cache()
            walked = list(self.there.walk(self.path, maxdepth=DEEPEST, detail=True, on_error="raise"))
        except FileNotFoundError as error:
            raise self._explain_nothing() from error
        except Exception as error:
            # Every store's library has its own errors, without a common base class.
            raise SourceUnreachable(f"{self.where}: {_describe(error)}") from error
        found = [entry for _, _, files in walked for entry in files.values() if entry.get("type") == "file"]
        if not found:
            raise self._explain_nothing()
        return [
            FoundFile(self._shorten(str(entry["name"])), int(entry.get("size") or 0), _read_time(entry))
            for entry in found
        ]

    def _explain_nothing(self) -> SourceUnreachable:
        return SourceUnreachable(
            f"{self.where}: there is no file. Either nothing was shipped there yet, or monitoring.predictions in "
            "params.yaml names another place than serving.log.ship.to"
        )

    def _shorten(self, name: str) -> str:
        base = self.there._strip_protocol(self.path).rstrip("/") + "/"
        return name.removeprefix(base)

    def fetch(self, name: str, path: Path) -> None:
        """See `LogSource`."""
        source = f"{self.path.rstrip('/')}/{name}"
        with keep_whole(path) as part:
            try:
                self.there.get_file(source, str(part))
            except FileNotFoundError as error:
                raise FileGone(f"{name}: it is gone") from error
            except Exception as error:
                if is_disk_fault(error):
                    raise
                raise FileUnreadable(f"{name}: {_describe(error)}") from error


def _read_time(entry: Mapping[str, Any]) -> float | None:
    for key in ("LastModified", "last_modified", "mtime", "updated"):
        value = entry.get(key)
        if isinstance(value, (int, float)):
            return float(value)
        if isinstance(value, datetime):
            return value.timestamp()
    return None
