"""Where the bots find what the pipeline writes: evidence at fixed paths, the rest as `review:` in params.yaml says."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Annotated

from msgspec import Meta, Struct

REPORTS = "reports"
CARD = "MODEL_CARD.md"
MODEL = "models/model.skops"
DVC_LOCK = "dvc.lock"
DVC_YAML = "dvc.yaml"
PARAMS = "params.yaml"
REQUIREMENTS = "requirements/"
RUNBOOK = "docs/runbook.md"
COMPOSE = "deploy/compose.yaml"
KUBERNETES = "deploy/kubernetes"
MONITORING_BRANCH = "monitoring"
CONSUMERS = "consumers"
WATCH_STATUS = "status.json"
WATCH_BADGE = "badge.svg"
RUNNING_BADGE = "running.svg"
WATCHED = (
    "bots/",
    "consumers/",
    "pipeline/",
    "dvc.yaml",
    "schema.yaml",
    ".dvc/",
    ".dvcignore",
    ".github/",
    "Makefile",
    "requirements/",
)


def place_review(folder: Path, model: str | None) -> Path:
    """Where the review of a model lies in the folder of a project's reviews, or what belongs to it in another folder:
    the main model's in it, any other's below."""
    return folder if model is None else folder / "models" / model


def name_report(name: str) -> str:
    """The path of a piece of evidence: `reports/metrics.json` for metrics."""
    return f"{REPORTS}/{name}.json"


class Layout(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`review.files` of params.yaml: paths from the project's root."""

    raw: Annotated[str, Meta(description="the raw table")] = "data/raw.parquet"
    splits: Annotated[str, Meta(description="the DVC output that holds the two tables of rows")] = (
        "data/splits"
    )
    training_rows: Annotated[str, Meta(description="the raw rows that train")] = "data/splits/train.parquet"
    holdout_rows: Annotated[str, Meta(description="the raw rows that judge")] = "data/splits/holdout.parquet"
    production_rows: Annotated[
        str,
        Meta(
            description="later raw rows that neither train nor judge, to confirm an improvement; need not be there"
        ),
    ] = "data/splits/production.parquet"
    training_features: Annotated[
        str, Meta(description="the rows that train as the model's inputs; need not be there")
    ] = "data/features/train.parquet"
    holdout_features: Annotated[str, Meta(description="the same holdout as the model's inputs")] = (
        "data/features/holdout.parquet"
    )
    predictions: Annotated[str, Meta(description="the model's scores on the holdout")] = (
        "reports/predictions.parquet"
    )
    model: Annotated[
        str,
        Meta(
            description="the trained model: its path, or its name under `artifacts:` in dvc.yaml; left out: the only "
            "artifact there of the type `model`"
        ),
    ] = MODEL
    onnx: Annotated[str, Meta(description="the folder of the exported model")] = "models/onnx"
    reports: Annotated[str, Meta(description="the folder of the model's evidence")] = REPORTS

    def name_report(self, name: str) -> str:
        """The path of a piece of this model's evidence: `reports/metrics.json` for metrics."""
        return f"{self.reports}/{name}.json"

    @property
    def tables(self) -> list[str]:
        """The tables that train and judge a model, which it may share with others."""
        return [
            self.raw,
            self.splits,
            self.training_rows,
            self.holdout_rows,
            self.production_rows,
            self.training_features,
            self.holdout_features,
        ]

    @property
    def card(self) -> str:
        """The path of the model card: the project's root has that of the main model."""
        return CARD if self.reports == REPORTS else f"{self.reports}/{CARD}"

    def is_data(self, path: str) -> bool:
        """Whether a path lies in the folder of the raw table, or in the one where the splits are."""
        folders = {PurePosixPath(self.raw).parent, PurePosixPath(self.splits).parent} - {PurePosixPath()}
        return any(PurePosixPath(path).is_relative_to(folder) for folder in folders)
