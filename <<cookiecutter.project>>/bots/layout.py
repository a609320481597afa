"""Where the bots find what the pipeline writes: evidence at fixed paths, the rest as `review:` in params.yaml says."""

from __future__ import annotations

from pathlib import PurePosixPath

from msgspec import Struct

REPORTS = "reports"
CARD = "MODEL_CARD.md"
DVC_LOCK = "dvc.lock"
DVC_YAML = "dvc.yaml"
PARAMS = "params.yaml"
REQUIREMENTS = "requirements/"


class Layout(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`review.files` of params.yaml: paths from the project's root.

    `splits` is the DVC output that holds `training_rows` and `holdout_rows`, the raw rows that train and judge.
    `holdout_features` are the same holdout as the model's inputs; `predictions` the model's scores on it.
    """

    raw: str = "data/raw.parquet"
    splits: str = "data/splits"
    training_rows: str = "data/splits/train.parquet"
    holdout_rows: str = "data/splits/holdout.parquet"
    holdout_features: str = "data/features/holdout.parquet"
    predictions: str = "reports/predictions.parquet"
    model: str = "models/model.skops"
    onnx: str = "models/onnx"

    def is_data(self, path: str) -> bool:
        """Whether a path lies in the folder of the raw table, or in the one where the splits are."""
        folders = {PurePosixPath(self.raw).parent, PurePosixPath(self.splits).parent} - {PurePosixPath()}
        return any(PurePosixPath(path).is_relative_to(folder) for folder in folders)
