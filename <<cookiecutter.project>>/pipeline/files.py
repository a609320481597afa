"""Read and write the pipeline's files: tables and evidence; the same content gives the same bytes."""

from __future__ import annotations

import hashlib
import json
import math
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    import pandas as pd

RAW = Path("data/raw.parquet")
SPLITS = Path("data/splits")
FEATURES = Path("data/features")
MODEL = Path("models/model.skops")
ONNX = Path("models/onnx/model.onnx")
REPORTS = Path("reports")
PREDICTIONS = REPORTS / "predictions.parquet"
REFUSAL = REPORTS / "refusal.json"
ROWS_AT_ONCE = 200_000
FIRST_ROWS = 2_000  # tell whether the texts of a column repeat
FOUND = "acquire:found"  # in the metadata of the raw table
# What the pipeline adds to the tables of data/splits (the name of each row) and data/features (all of them).
# schema.yaml refuses column names that begin so: no column of a team's data is ever taken for one of these.
ROW_NAME = "split:row"
TARGET = "split:target"
GROUP = "split:group"
WEIGHT = "split:weight"
ALIASES = (
    "aliases"  # among the attributes of a table of data/features: the words for its columns in expressions
)
RESERVED = ("split:", "slice:", "prediction:", "metric:")
# The row's name in reports/predictions.parquet and in the scores of a table, as the evidence contract has it.
ROW = "row"


class StageError(Exception):
    """A stage cannot go on. The message says what, where and what to do; `findings` have the details."""

    def __init__(self, message: str, findings: list[dict[str, Any]] | None = None) -> None:
        super().__init__(message)
        self.findings = findings or []


def make_finding(
    check: str, severity: str, message: str, *, examples: list[object] | None = None, **details: Any
) -> dict[str, Any]:
    """One thing that a check noticed, as the evidence contract wants it (at most 10 examples, 200 characters each)."""
    known = {name: value for name, value in details.items() if value is not None}
    shown = [str(example)[:200] for example in (examples or [])[:10]]
    return {"check": check, "severity": severity, "message": message[:4000], **known, "examples": shown}


@contextmanager
def write_whole(path: Path) -> Iterator[Path]:
    """Give a file beside `path` to write to; it takes the place of `path` at the end, or is deleted by an error.

    A process that is killed meanwhile leaves the old file, or none, but never half a file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    try:
        yield part
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def write_text(text: str, path: Path) -> None:
    """Write a text file whole or not at all, with the same bytes on every system."""
    with write_whole(path) as part:
        part.write_text(text, encoding="utf-8", newline="\n")


def write_json(content: dict[str, Any], path: Path, indent: int = 2) -> None:
    """Write a JSON file whole or not at all. Raises `ValueError` for a number that is not finite."""
    write_text(json.dumps(content, indent=indent, ensure_ascii=False, allow_nan=False) + "\n", path)


def write_evidence(name: str, content: dict[str, Any], path: Path | None = None) -> None:
    """Write `reports/<name>.json`, or `path`; a number that is not finite becomes null."""
    write_json({"format": 1, **_replace_infinite(content)}, path or REPORTS / f"{name}.json")


def read_evidence(name: str) -> dict[str, Any]:
    """Read evidence that an earlier stage wrote."""
    content: dict[str, Any] = json.loads((REPORTS / f"{name}.json").read_text(encoding="utf-8"))
    return content


def read_table(path: Path, columns: list[str] | None = None) -> pd.DataFrame:
    """Read a Parquet table. Raises `StageError` where it is missing or broken."""
    import pandas as pd

    try:
        return pd.read_parquet(path, columns=columns)
    except FileNotFoundError as error:
        raise StageError(
            f"{path}: no such table; run `dvc repro` to make it, or `python -m bots storage fetch` to fetch it"
        ) from error
    except (OSError, ValueError) as error:
        raise StageError(f"{path}: not a readable Parquet table ({str(error).splitlines()[0]})") from error


class StoredTable:
    """A Parquet table of which a column is read when it is asked for, so that not all are in memory at once."""

    def __init__(self, path: Path) -> None:
        import pandas as pd
        import pyarrow.parquet

        self.path = path
        read_table(path, columns=[])  # names a file that is missing or broken
        about = pyarrow.parquet.read_metadata(path)
        self.columns: list[str] = list(about.schema.to_arrow_schema().names)
        self.index = pd.RangeIndex(about.num_rows)

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, name: str) -> pd.Series:
        return read_table(self.path, columns=[name])[name]


def read_found(path: Path) -> list[str]:
    """Read what `acquire` found of how the source of a raw table is written; empty where that is usual."""
    import pyarrow.parquet

    metadata = pyarrow.parquet.read_schema(path).metadata or {}
    found: list[str] = json.loads(metadata.get(FOUND.encode(), b"[]"))
    return found


def write_table(frame: pd.DataFrame, path: Path) -> None:
    """Write a Parquet table, whole or not at all, without an index."""
    with write_whole(path) as part:
        frame.to_parquet(part, index=False, compression="zstd")


def get_aliases(frame: pd.DataFrame) -> dict[str, str]:
    """Get the words for the columns of a table of data/features that expressions use instead of their names."""
    return dict(frame.attrs.get(ALIASES, {}))


def digest_file(path: Path) -> str:
    """`sha256:…` of a file's bytes."""
    with path.open("rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()


def digest_table(frame: pd.DataFrame) -> str:
    """`sha256:…` of a table's content: names, types and values in row order, whatever file holds it."""
    digest = hashlib.sha256(repr([(name, str(kind)) for name, kind in frame.dtypes.items()]).encode())
    for start in range(
        0, len(frame), ROWS_AT_ONCE
    ):  # a row's hash depends on the row alone; fewer need less memory
        digest.update(_hash_rows(frame.iloc[start : start + ROWS_AT_ONCE]).tobytes())
    return "sha256:" + digest.hexdigest()


def _hash_rows(frame: pd.DataFrame) -> np.ndarray:
    """Hash each row: uint64 (rows,), the same as `pandas.util.hash_pandas_object(frame, index=False)` gives."""
    import numpy as np

    combined, multiplier = np.full(len(frame), 0x345678, dtype="uint64"), 1_000_003
    for left, (_, column) in zip(range(frame.shape[1], 0, -1), frame.items(), strict=True):
        combined ^= _hash_column(column)
        combined *= np.uint64(multiplier)
        multiplier += 82_520 + 2 * left
    return combined + np.uint64(97_531)


def _hash_column(column: pd.Series) -> np.ndarray:
    """Hash each value: uint64 (rows,).

    pandas finds the distinct texts of a column before it hashes them, which takes longer where most are distinct.
    """
    import numpy as np
    import pandas as pd

    first = column.iloc[:FIRST_ROWS]
    if not isinstance(column.dtype, pd.StringDtype) or first.nunique() < len(first) / 2:
        return pd.util.hash_pandas_object(column, index=False).to_numpy()
    hashes = pd.util.hash_pandas_object(column, index=False, categorize=False).to_numpy(copy=True)
    hashes[column.isna().to_numpy()] = np.iinfo("uint64").max  # as pandas does where it finds distinct texts
    return hashes


def _replace_infinite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _replace_infinite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_replace_infinite(item) for item in value]
    if hasattr(value, "item") and not isinstance(value, str):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
