"""Fetch the raw table: from files and folders wherever they lie, or the bundled example."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pipeline import config, files
from pipeline.files import StageError
from pipeline.sources import Table, read_source, tables
from pipeline.sources.locations import take_first_line

if TYPE_CHECKING:
    from pipeline.params import Params, Read

PACKAGE = "package:"
AS_OF = "{as_of}"


def run(settings: Params) -> None:
    """Write data/raw.parquet from `data.source`, with every column that is there, and say how it was read."""
    source = place_day(settings.data.source, settings.data.as_of)
    if settings.data.read.query is not None:
        check_query_is_seen(settings.data.read.query)
    fetched = fetch(source, settings.data.read)
    for sentence in fetched.found:
        print(f"acquire: {sentence}")
    try:
        tables.write_raw(fetched, files.RAW)
    except (ValueError, TypeError, NotImplementedError) as error:  # pyarrow's errors are of these kinds
        raise StageError(f"{source}: cannot be kept as a table: {take_first_line(error)}") from error


def place_day(source: str, as_of: str | None) -> str:
    """Place the day on which the data is asked for where a source says `{as_of}`. Raises `StageError` without a day."""
    if AS_OF not in source:
        return source
    if as_of is None:
        raise StageError(
            f"params.yaml: data.as_of: expected a day such as 2026-11-26, because data.source says {AS_OF}"
        )
    return source.replace(AS_OF, as_of)


def check_query_is_seen(query: str, pipeline: Path = Path("dvc.yaml")) -> None:
    """Raise `StageError` where dvc.yaml does not name the query's file: an edit of it would change nothing."""
    if not pipeline.exists():
        return
    stages = config.read_yaml(pipeline, expected="stages:").get("stages") or {}
    deps = (stages.get("acquire") or {}).get("deps") or []
    if query not in deps:
        raise StageError(
            f"dvc.yaml: stages.acquire.deps: add {query}; without it an edit of the query would change nothing"
        )


def fetch(source: str, read: Read | None = None) -> Table:
    """Fetch the table of a source. Raises `StageError` that names the source, or its file, and what is wrong."""
    import pyarrow as pa

    if not source.startswith(PACKAGE):
        return read_source(source, read)
    # [example]
    from pipeline import flights

    if source == flights.SOURCE:
        return Table(pa.Table.from_pandas(flights.load_flights(), preserve_index=False))
    # [/example]
    raise StageError(
        f"params.yaml: data.source: {source}: this project has no such example; name a file, a folder or an address"
    )
