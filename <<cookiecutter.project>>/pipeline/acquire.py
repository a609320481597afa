"""Fetch the raw table: from files, folders, any address that fsspec reads, or the bundled example."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from pipeline import files
from pipeline.files import StageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd

    from pipeline.params import Params

PACKAGE = "package:"
AS_OF = "{as_of}"
CSV = (".csv", ".csv.gz", ".csv.bz2", ".csv.xz", ".csv.zst", ".csv.zip")
PARQUET = (".parquet", ".pq")
COMPRESSION: dict[str, Literal["gzip", "bz2", "xz", "zstd", "zip"]] = {
    "gz": "gzip",
    "bz2": "bz2",
    "xz": "xz",
    "zst": "zstd",
    "zip": "zip",
}


def run(settings: Params) -> None:
    """Write data/raw.parquet from `data.source`, with every column that is there."""
    source = place_day(settings.data.source, settings.data.as_of)
    frame = fetch(source)
    try:
        files.write_table(frame, files.RAW)
    except (ValueError, TypeError, NotImplementedError) as error:  # pyarrow's errors are of these kinds
        raise StageError(f"{source}: cannot be kept as a table: {_take_first_line(error)}") from error


def place_day(source: str, as_of: str | None) -> str:
    """Place the day on which the data is asked for where a source says `{as_of}`. Raises `StageError` without a day."""
    if AS_OF not in source:
        return source
    if as_of is None:
        raise StageError(
            f"params.yaml: data.as_of: expected a day such as 2026-11-26, because data.source says {AS_OF}"
        )
    return source.replace(AS_OF, as_of)


def fetch(source: str) -> pd.DataFrame:
    """Fetch the table of a source. Raises `StageError` that names the source, or its file, and what is wrong."""
    if not source.startswith(PACKAGE):
        return read_files(source)
    # [example]
    from pipeline import flights

    if source == flights.SOURCE:
        return flights.load_flights()
    # [/example]
    raise StageError(
        f"params.yaml: data.source: {source}: this project has no such example; name a file, a folder or an address"
    )


def read_files(source: str) -> pd.DataFrame:
    """Read the files of a path, a folder, a pattern or an address into one table, in the order of their names."""
    import pandas as pd

    filesystem, paths = _find_files(source)
    tables: list[pd.DataFrame] = []
    for path in paths:
        table = _read_file(filesystem, path)
        tables.append(
            table if not tables else _align_columns(table, tables[0], path=path, first_path=paths[0])
        )
    frame = tables[0] if len(tables) == 1 else pd.concat(tables, ignore_index=True)
    for name in frame.columns:
        if pd.api.types.infer_dtype(frame[name], skipna=True).startswith("mixed"):
            frame[name] = frame[name].map(str, na_action="ignore")  # `validate` says what does not fit
    return frame


def _find_files(source: str) -> tuple[Any, list[str]]:
    """Find the file system of a source and the paths of its files."""
    import fsspec

    with _name_errors(source):
        filesystem, path = fsspec.core.url_to_fs(source)
        paths = _list_matches(filesystem, path)
    if not paths:
        raise StageError(f"data.source: {source}: no file there; expected {' '.join((*CSV, *PARQUET))}")
    for path in paths:
        if not path.lower().endswith((*CSV, *PARQUET)):
            raise StageError(
                f"data.source: {path}: unknown kind of file; expected {' '.join((*CSV, *PARQUET))}"
            )
    return filesystem, paths


def _list_matches(filesystem: Any, path: str) -> list[str]:
    """List a source's files: the file itself, the tables in a folder, or all files that a pattern matches."""
    if filesystem.isdir(path):
        return sorted(found for found in filesystem.find(path) if found.lower().endswith((*CSV, *PARQUET)))
    if any(character in path for character in "*?["):
        return sorted(match for match in filesystem.glob(path) if not filesystem.isdir(match))
    return [path]


def _read_file(filesystem: Any, path: str) -> pd.DataFrame:
    import pandas as pd

    with _name_errors(path), filesystem.open(path, "rb") as file:
        if path.lower().endswith(PARQUET):
            return pd.read_parquet(file)
        # Types are inferred from whole columns, so that one odd value cannot hide in a chunk.
        return pd.read_csv(
            file, low_memory=False, compression=COMPRESSION.get(path.lower().rsplit(".", 1)[-1])
        )


@contextmanager
def _name_errors(path: str) -> Iterator[None]:
    """Turn every error of the block into a `StageError` that names the path."""
    import pandas as pd

    try:
        yield
    except FileNotFoundError as error:
        raise StageError(f"data.source: {path}: no such file") from error
    except ImportError as error:  # fsspec says which driver an address needs
        raise StageError(
            f"data.source: {path}: {error}; add it to requirements/pipeline.in and run `make lock`"
        ) from error
    except pd.errors.EmptyDataError as error:
        raise StageError(
            f"data.source: {path}: the file is empty; expected a line of column names"
        ) from error
    except Exception as error:  # every driver and every codec has errors of its own
        raise StageError(f"data.source: {path}: cannot be read: {_take_first_line(error)}") from error


def _take_first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _align_columns(table: pd.DataFrame, first: pd.DataFrame, path: str, first_path: str) -> pd.DataFrame:
    """Put the columns in the order of the first table's. Raises `StageError` where they are not the same."""
    lacks = [str(name) for name in first.columns if name not in table.columns]
    adds = [str(name) for name in table.columns if name not in first.columns]
    if lacks or adds:
        differences = [f"lacks {', '.join(lacks)}"] * bool(lacks) + [f"adds {', '.join(adds)}"] * bool(adds)
        raise StageError(f"data.source: {path}: not the columns of {first_path}: {' and '.join(differences)}")
    return table[first.columns]
