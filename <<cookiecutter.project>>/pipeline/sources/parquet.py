"""Read a Parquet file: its columns have types of their own, and what pandas kept as an index is a column, too."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from pipeline.sources import tables

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

_UNNAMED = re.compile(r"__index_level_(\d+)__")


def read_file(path: Path, source: str) -> tuple[pa.Table, list[str]]:
    """Read a Parquet file; also what was found.

    Levels of an index are columns: those without a name are called as `reset_index` of pandas calls them. Columns of
    codes (dictionaries) become columns of their values.
    """
    import pyarrow as pa
    import pyarrow.parquet

    with path.open("rb") as file:
        data = pyarrow.parquet.ParquetFile(file).read(use_threads=False)
    for position, field in enumerate(data.schema):
        if pa.types.is_dictionary(field.type):
            values = data.column(position).cast(field.type.value_type)
            data = data.set_column(position, field.name, values)
    data, found = _name_index(_add_counted_index(data))
    with tables.name_file(source):
        tables.check_names(data.column_names)
    return data.replace_schema_metadata(None), found


def _add_counted_index(data: pa.Table) -> pa.Table:
    """Add the levels that pandas describes by start and step alone, where they have a name."""
    import numpy as np
    import pyarrow as pa

    for level in _list_index(data):
        if isinstance(level, dict) and level.get("kind") == "range" and level.get("name") is not None:
            counted = np.arange(data.num_rows) * level["step"] + level["start"]
            if str(level["name"]) not in data.column_names:
                data = data.add_column(0, str(level["name"]), pa.array(counted))
    return data


def _name_index(data: pa.Table) -> tuple[pa.Table, list[str]]:
    """Name the levels of an index that have no name."""
    found = []
    names = list(data.column_names)
    unnamed = [name for name in names if _UNNAMED.fullmatch(name)]
    for name in unnamed:
        level = int(_UNNAMED.sub(r"\1", name))
        called = "index" if len(unnamed) == 1 and "index" not in names else f"level_{level}"
        names[names.index(name)] = called
        found.append(f"the index has no name; it is the column {called!r}")
    return data.rename_columns(names), found


def _list_index(data: pa.Table) -> list[Any]:
    """List the levels of the index as pandas describes them in the file."""
    described = (data.schema.metadata or {}).get(b"pandas")
    levels: list[Any] = json.loads(described).get("index_columns", []) if described else []
    return levels
