"""Read the table that `data.source` names: text files, Parquet files, or a folder of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.params import Read
from pipeline.sources import locations, parquet, text
from pipeline.sources.tables import Table, join_tables

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Table", "read_source"]


def read_source(source: str, read: Read | None = None) -> Table:
    """Read the files of a path, a folder, a pattern or an address into one table, in the order of their names.

    Cells of text files stay the text that stands there, and an empty cell without quotes is null; the columns of other
    files keep the types that the file gives them. `read` says what is not to be looked for.

    Raises `StageError` that names the file, what is wrong, and what to do.
    """
    read = read or Read()
    place = locations.find_files(source)
    parts: list[tuple[str, pa.Table]] = []
    found: dict[str, list[str]] = {}
    filled = read
    for path in place.paths:
        with locations.name_errors(path), locations.open_locally(place.filesystem, path) as local:
            if path.lower().endswith(locations.PARQUET):
                data = parquet.read_file(local)
            else:
                data, sentences, looked = text.read_file(local, path, read)
                filled = looked if not found else filled
                for sentence in sentences:
                    found.setdefault(sentence, []).append(path)
        parts.append((path, data))
    return Table(join_tables(parts), tell_files(found, total=len(parts)), filled)


def tell_files(found: dict[str, list[str]], total: int) -> list[str]:
    """Tell what was found, and in which files; what holds for many is told once."""
    told = []
    for sentence, paths in found.items():
        where = locations.take_name(paths[0])
        if len(paths) > 1:
            where = f"all {total:,} files" if len(paths) == total else f"{where} and {len(paths) - 1:,} more"
        told.append(f"{where}: {sentence}")
    return told
