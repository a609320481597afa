"""Makes a model's inputs of a table of rows, and describes each: what it held, and what it means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from bots.derive.tables import DeriveError, write_names
from bots.evidence import Feature, FeaturesReport
from bots.stats.predictions import SLICE
from bots.stats.split_columns import ADDED, PLAIN_ROW, PLAIN_TARGET

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow
    from numpy.typing import NDArray

    from bots.derive.onnx_graph import Columns, Inputs
    from bots.derive.predictions import Judged
    from bots.derive.schema import Schema
    from bots.derive.tables import Rows
    from bots.settings import Settings

MOST_CATEGORIES: Final = 1_000


@dataclass(frozen=True, eq=False)
class Seen:
    """The inputs of the rows that judge and of those that train, which are the same where no other rows are told."""

    holdout: Inputs
    training: Inputs
    truths: frozenset[str]

    def has_gap(self, name: str) -> bool:
        """Whether any row has no value there."""
        return any(find_gaps(part[name]).any() for part in (self.holdout, self.training))


def list_inputs(columns: Sequence[str], settings: Settings) -> list[str]:
    """The columns of a table of rows that a model can read, in their order: no name, target, slice or weight.

    A column called `weight` is one of them unless data.weight names it.
    """
    left_out = {PLAIN_ROW, PLAIN_TARGET, settings.data.target, settings.data.weight}
    return [name for name in columns if name not in left_out and not name.startswith((ADDED, SLICE))]


def make_inputs(rows: Rows, columns: Columns) -> Inputs:
    """Each input as the model takes it, (n, 1): float32, NaN for a gap, or text, "" for a gap. Raises `DeriveError`."""
    for name in columns.names:
        if name not in rows.columns:
            raise DeriveError(f"{rows.path}: no column `{name}`, which the model reads")
    inputs = {name: _convert_numbers(rows, name)[:, None] for name in columns.numbers}
    return inputs | {name: _convert_texts(rows.table[name])[:, None] for name in columns.texts}


def _convert_numbers(rows: Rows, name: str) -> NDArray[np.float32]:
    import pyarrow
    import pyarrow.compute as arrow

    column = rows.table[name]
    if not pyarrow.types.is_string(column.type) and not pyarrow.types.is_temporal(column.type):
        try:
            known = arrow.fill_null(column.cast(pyarrow.float64()), np.nan)
            found = np.asarray(known.to_numpy(zero_copy_only=False))
            with np.errstate(over="ignore"):
                narrow = found.astype(np.float32)
        except pyarrow.ArrowException as error:
            raise DeriveError(
                f"{rows.path}: {name}: expected numbers, which the model reads ({error})"
            ) from error
        if np.isinf(narrow).any():
            raise DeriveError(
                f"{rows.path}: {name}: expected numbers that fit into 32 bits, as the model reads them"
            )
        return narrow
    texts = [text for text in write_names(column).to_pylist() if text is not None]
    strange = next((text for text in texts if not _is_number(text)), texts[0] if texts else "nothing")
    raise DeriveError(f"{rows.path}: {name}: expected numbers, which the model reads; got {strange[:60]!r}")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return not (len(text) > 1 and text[0] == "0" and text[1].isdigit())


def _convert_texts(column: pyarrow.ChunkedArray) -> NDArray[Any]:
    import pyarrow.compute as arrow

    texts = arrow.fill_null(write_names(column), "")
    return np.asarray(texts.to_numpy(zero_copy_only=False), dtype=object)


def find_gaps(column: NDArray[Any]) -> NDArray[np.bool_]:
    """Which rows of an input have no value, (n,)."""
    flat = column[:, 0]
    return np.asarray(flat == "" if flat.dtype == object else np.isnan(flat))


def find_truths(rows: Rows, columns: Columns) -> frozenset[str]:
    """The inputs that are numbers to the model and truths in the table."""
    import pyarrow

    return frozenset(name for name in columns.numbers if pyarrow.types.is_boolean(rows.table[name].type))


def make_features_table(judged: Judged, seen: Seen, columns: Columns) -> pyarrow.Table:
    """The holdout as the model's inputs: `row`, `target`, and each input as the model takes it; a gap is null."""
    import pyarrow

    made: dict[str, Any] = {PLAIN_ROW: judged.names, "target": judged.table["target"]}
    for name in columns.names:
        values, gaps = seen.holdout[name][:, 0], find_gaps(seen.holdout[name])
        if name in seen.truths:
            made[name] = pyarrow.array(values == 1, mask=gaps)
        else:
            made[name] = pyarrow.array(values, mask=gaps)
    return pyarrow.table(made)


def build_features_report(seen: Seen, columns: Columns, schema: Schema) -> FeaturesReport:
    """Describe each input as it was in the rows that train; of a personal one no value is shown."""
    features = []
    for name in columns.names:
        values, hidden = seen.training[name], schema.find_column(name).personal
        known = values[~find_gaps(values), 0]
        found = np.unique(known)
        number = name in columns.numbers
        features.append(
            Feature(
                name=name,
                kind="numeric" if number else "categorical",
                missing=float(find_gaps(values).mean()),
                distinct=len(found),
                low=float(known.min()) if number and len(known) and not hidden else None,
                high=float(known.max()) if number and len(known) and not hidden else None,
                categories=[str(one)[:4_000] for one in found]
                if not number and not hidden and len(found) <= MOST_CATEGORIES
                else [],
            )
        )
    return FeaturesReport(features=features)
