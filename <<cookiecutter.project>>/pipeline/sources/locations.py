"""Find the files of a source, wherever they lie, and open each as a plain local file."""

from __future__ import annotations

import re
import shutil
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import unquote

from pipeline.files import StageError

if TYPE_CHECKING:
    from collections.abc import Iterator

TEXT = (".csv", ".tsv", ".txt")
PACKED = ("", ".gz", ".bz2", ".xz", ".zst", ".zip")
TEXTS = tuple(kind + packed for kind in TEXT for packed in PACKED)
PARQUET = (".parquet", ".pq")
EXCEL = (".xlsx", ".xlsm", ".xlsb", ".xls", ".ods")
KNOWN = (*TEXTS, *PARQUET, *EXCEL)
TOLD = (*TEXT, *PARQUET, *EXCEL)
# The drivers of these ask the proxy of the environment only where this option tells them to.
PROXIED = {
    "http": "client_kwargs",
    "https": "client_kwargs",
    "gs": "session_kwargs",
    "gcs": "session_kwargs",
}
EMPTY_PARTITION = "__HIVE_DEFAULT_PARTITION__"


@dataclass(frozen=True)
class Place:
    """Where the files of a source lie: their file system, and their paths in the order of their names."""

    filesystem: Any
    paths: list[str]
    # The folder that the source names, up to its first pattern.
    root: str = ""

    def find_partition(self, path: str) -> dict[str, str | None]:
        """Find the values that the folders `name=value` below the source give to each row of a file."""
        folders = path.removeprefix(self.root).split("/")[:-1]
        pairs = [folder.partition("=") for folder in folders if "=" in folder.strip("=")]
        return {
            unquote(name): None if value == EMPTY_PARTITION else unquote(value) for name, _, value in pairs
        }


def find_files(source: str) -> Place:
    """Find the files of a path, a folder, a pattern or an address. Raises `StageError` where there are none."""
    import fsspec

    with name_errors(source):
        filesystem, pattern = fsspec.core.url_to_fs(source, **_list_options(source))
        paths = _list_matches(filesystem, pattern)
    if not paths:
        told = f"; expected {' '.join(TOLD)}"
        raise StageError(f"data.source: {source}: no file there{advise_fetch(source) or told}")
    for path in paths:
        if not path.lower().endswith(KNOWN):
            raise StageError(
                f"data.source: {path}: unknown kind of file; expected {' '.join(TOLD)}, the texts also packed "
                f"({' '.join(PACKED[1:])})"
            )
    return Place(filesystem, paths, _find_root(pattern, paths))


def _list_options(source: str) -> dict[str, dict[str, Any]]:
    kinds = {part.partition("://")[0] for part in source.split("::") if "://" in part}
    return {kind: {PROXIED[kind]: {"trust_env": True}} for kind in kinds & PROXIED.keys()}


def advise_fetch(source: str) -> str:
    """Say how a local file comes that is not here and that DVC keeps: it has a `.dvc` file, or its folder has one."""
    place = Path(source.removeprefix("file://"))
    if place.is_absolute() and place.is_relative_to(Path.cwd()):
        place = place.relative_to(Path.cwd())
    for path in (place, *place.parents):
        if path.name and path.with_name(f"{path.name}.dvc").is_file():
            return f"; DVC keeps {path}: `python -m bots storage fetch {path}` brings it"
    return ""


def _find_root(pattern: str, paths: list[str]) -> str:
    """Find the folder below which files lie: of one file its own, of a pattern the last one without a sign."""
    if paths == [pattern]:
        return pattern.rpartition("/")[0]
    plain = re.split(r"[*?\[]", pattern, maxsplit=1)[0]
    return pattern.rstrip("/") if plain == pattern else plain.rpartition("/")[0]


def take_name(path: str) -> str:
    """Take the last part of a path or an address."""
    return path.rstrip("/").rsplit("/", 1)[-1]


@contextmanager
def open_locally(filesystem: Any, path: str) -> Iterator[Path]:
    """Give a local file with the unpacked content: the file itself, or a temporary copy of what is packed or far."""
    packed = path.lower().rsplit(".", 1)[-1] if path.lower().endswith(PACKED[1:]) else ""
    if not packed and "file" in _list_protocols(filesystem):
        if not Path(path).exists():
            raise FileNotFoundError(path)
        yield Path(path)
        return
    with tempfile.TemporaryDirectory(prefix="acquire-") as folder:
        copy = Path(folder) / "table"
        with filesystem.open(path, "rb") as file, _unpack(file, packed) as content, copy.open("wb") as out:
            shutil.copyfileobj(content, out, 1 << 20)
        yield copy


@contextmanager
def name_errors(path: str) -> Iterator[None]:
    """Turn every error of the block into a `StageError` that names the path."""
    try:
        yield
    except StageError:
        raise
    except FileNotFoundError as error:
        raise StageError(f"data.source: {path}: no such file{advise_fetch(path)}") from error
    except ImportError as error:  # fsspec says which driver an address needs
        raise StageError(
            f"data.source: {path}: {error}; add it to requirements/pipeline.in, then run `make lock` and "
            "`make setup`"
        ) from error
    except Exception as error:  # every driver and every codec has errors of its own
        raise StageError(f"data.source: {path}: cannot be read: {take_first_line(error)}") from error


def take_first_line(error: Exception) -> str:
    """Take the first line of an error's message, or its type where it has none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _list_matches(filesystem: Any, path: str) -> list[str]:
    """List a source's files: the file itself, the tables in a folder, or all files that a pattern matches.

    In a folder, files and folders whose name begins with a dot or an underscore are what tools keep for themselves.
    """
    if filesystem.isdir(path):
        root = path.rstrip("/")
        return sorted(
            found
            for found in filesystem.find(path)
            if found.lower().endswith(KNOWN) and not _is_hidden(found.removeprefix(root).lstrip("/"))
        )
    if any(character in path for character in "*?["):
        return sorted(match for match in filesystem.glob(path) if not filesystem.isdir(match))
    return [path]


def _is_hidden(inner: str) -> bool:
    return any(part.startswith((".", "_")) and "=" not in part for part in inner.split("/"))


def _list_protocols(filesystem: Any) -> tuple[str, ...]:
    protocol = filesystem.protocol
    return (protocol,) if isinstance(protocol, str) else tuple(protocol)


@contextmanager
def _unpack(file: IO[bytes], packed: str) -> Iterator[Any]:
    """Give the unpacked content of an open file. Raises `StageError` for a zip of several files."""
    import bz2
    import gzip
    import lzma
    import zipfile

    import pyarrow as pa

    if packed == "zip":
        with zipfile.ZipFile(file) as archive:
            names = [
                entry.filename
                for entry in archive.infolist()
                if not entry.is_dir() and not entry.filename.startswith("__MACOSX/")
            ]
            if len(names) != 1:
                raise StageError(
                    f"data.source: the zip file holds {len(names)} files ({', '.join(names[:5])}); expected one table"
                )
            with archive.open(names[0]) as content:
                yield content
    elif packed == "zst":
        with pa.CompressedInputStream(pa.PythonFile(file, mode="r"), "zstd") as content:
            yield content
    elif packed:
        openers: dict[str, Any] = {"gz": gzip.open, "bz2": bz2.open, "xz": lzma.open}
        with openers[packed](file, "rb") as content:
            yield content
    else:
        yield file
