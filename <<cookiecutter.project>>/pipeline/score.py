"""Score raw rows with this commit's model: a review scores its rows with main's own code by this."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd

from pipeline import classes, cluster, features, files, model, table
from pipeline.files import StageError

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

    from pipeline.params import Params, Task

CHUNK_ROWS: Final = 200_000
"""So many rows are scored at once; more of them go to the cluster, where there is one."""


def run(settings: Params, rows: str, out: str) -> None:
    """Predict a table of raw rows; writes `row` and `score` in the same order, `score:CLASS` for each of several."""
    raw = files.read_table(Path(rows))
    named = files.ROW_NAME if files.ROW_NAME in raw else files.ROW
    if named not in raw:
        raise StageError(
            f"{rows}: expected a column {files.ROW_NAME!r} (or {files.ROW!r}) that names each row"
        )
    frame = features.build_inputs(raw, settings, table.load())
    fitted = model.load(trusted=settings.model.trusted)
    scores = predict_anywhere(fitted, frame, settings.task)
    named_scores = {"score": scores}
    if settings.task == "multiclass":
        columns = classes.name_scores(classes.get_names(fitted))
        named_scores = dict(zip(columns, scores.T, strict=True))
    files.write_table(pd.DataFrame({files.ROW: raw[named].to_numpy(), **named_scores}), Path(out))


def predict_anywhere(fitted: Pipeline, frame: pd.DataFrame, task: Task) -> np.ndarray:
    """Score inputs, (n,) or (n, classes): on the Dask cluster where there is one and the rows are many; else here.

    Raises `StageError` where the cluster cannot do it.
    """
    if len(frame) <= CHUNK_ROWS:
        return model.predict(fitted, frame, task)
    with cluster.connect_cluster(os.environ) as client:
        if client is None:
            return model.predict(fitted, frame, task)
        content = pickle.dumps(fitted)

        def submit_rows(client: Any, start: int) -> Any:
            rows = pickle.dumps(frame.iloc[start : start + CHUNK_ROWS])
            sent = client.scatter((content, rows), hash=False)
            return cluster.submit_call(client, score_on_worker, task, data=sent)

        starts = range(0, len(frame), CHUNK_ROWS)
        parts = dict(cluster.run_jobs(client, submit_rows, starts))
        return np.concatenate([parts[start] for start in starts])


def score_on_worker(task: Task, sent: tuple[bytes, bytes]) -> np.ndarray:
    """Score the rows that a worker was sent with the model that it was sent."""
    fitted, rows = map(pickle.loads, sent)
    return model.predict(fitted, rows, task)
