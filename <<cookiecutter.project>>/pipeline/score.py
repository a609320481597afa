"""Score raw rows with this commit's model: a review scores its rows with main's own code by this."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from pipeline import features, files, model, table
from pipeline.files import StageError

if TYPE_CHECKING:
    from pipeline.params import Params


def run(settings: Params, rows: str, out: str) -> None:
    """Predict a table of raw rows; writes `row` and `score` in the same order."""
    raw = files.read_table(Path(rows))
    if files.ROW not in raw:
        raise StageError(f"{rows}: expected a column {files.ROW!r} that names each row")
    frame = features.build_inputs(raw, settings, table.load())
    scores = model.predict(model.load(trusted=settings.model.trusted), frame, settings.task)
    files.write_table(pd.DataFrame({files.ROW: raw[files.ROW].to_numpy(), "score": scores}), Path(out))
