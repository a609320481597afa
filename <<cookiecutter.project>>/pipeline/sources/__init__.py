"""Read the table that `data.source` names: text, Parquet and Excel files, a folder of them, or a database."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.files import StageError
from pipeline.params import Read
from pipeline.sources import database, excel, locations, parquet, tables, text
from pipeline.sources.tables import Table

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

__all__ = ["Table", "read_source"]


def read_source(source: str, read: Read | None = None) -> Table:
    """Read the files of a path, a folder, a pattern or an address, or a query of a database, into one table.

    Files stand in the order of their names; the folders `name=value` between them are columns of text. Cells of text
    files stay the text that stands there, and an empty cell without quotes is null; the columns of other sources keep
    their own types. `read` says what is not to be looked for.

    Raises `StageError` that names the file, what is wrong, and what to do.
    """
    read = read or Read()
    if database.is_database(source):
        data, sentences = database.read_query(source, read)
        return Table(data, sentences, read)
    if read.query is not None:
        raise StageError(
            "params.yaml: data.read.query: a query needs a database as data.source (postgresql://…)"
        )
    place = locations.find_files(source)
    parts: list[tuple[str, pa.Table]] = []
    found: dict[str, list[str]] = {}
    filled = None
    for path in place.paths:
        with locations.name_errors(path), locations.open_locally(place.filesystem, path) as local:
            data, sentences, looked = _read_file(local, path, read)
        filled = filled or looked
        for sentence in sentences:
            found.setdefault(sentence, []).append(path)
        parts.append((path, tables.add_texts(data, place.find_partition(path))))
    return Table(tables.join_tables(parts), tell_files(found, total=len(parts)), filled or read)


def _read_file(local: Path, path: str, read: Read) -> tuple[pa.Table, list[str], Read]:
    """Read one file by its kind; also what was found, and `read` with that filled in."""
    name = path.lower()
    if name.endswith(locations.PARQUET):
        return *parquet.read_file(local, path), read
    if name.endswith(locations.EXCEL):
        return excel.read_file(local, path, read)
    return text.read_file(local, path, read)


def tell_files(found: dict[str, list[str]], total: int) -> list[str]:
    """Tell what was found, and in which files; what holds for many is told once."""
    told = []
    for sentence, paths in found.items():
        where = locations.take_name(paths[0])
        if len(paths) > 1:
            where = f"all {total:,} files" if len(paths) == total else f"{where} and {len(paths) - 1:,} more"
        told.append(f"{where}: {sentence}")
    return told
