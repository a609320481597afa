"""Read a Parquet file: its columns have types of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa


def read_file(path: Path) -> pa.Table:
    """Read a Parquet file; columns of codes (dictionaries) become columns of their values."""
    import pyarrow as pa
    import pyarrow.parquet

    data = pyarrow.parquet.read_table(path, partitioning=None)
    for position, field in enumerate(data.schema):
        if pa.types.is_dictionary(field.type):
            values = data.column(position).cast(field.type.value_type)
            data = data.set_column(position, field.name, values)
    return data.replace_schema_metadata(None)
