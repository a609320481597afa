"""What is known of a version that answers: what is counted of it, and what it is held against."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from bots import evidence
from bots.evidence import DataReport, FeaturesReport, MetricsReport
from bots.monitoring.health import Usual
from bots.monitoring.reference import Reference, build_reference, fetch_reference_files
from bots.monitoring.summary_spec import SummarySpec, build_spec
from bots.settings import adopt_threshold, load_settings

if TYPE_CHECKING:
    from bots.dvc.storage import Storage
    from bots.settings import Settings


class VersionRecord(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a version is counted by and held against, made once from its commit's own files.

    `times` are the columns that the data contract calls datetime.
    """

    spec: SummarySpec
    reference: Reference
    times: list[str] = []

    def find_usual(self) -> Usual | None:
        """Find which share of each column was missing in training; None where that is not known."""
        shares = {}
        for name, column in self.reference.columns.items():
            rows = sum(map(sum, column.rows)) + sum(column.missing)
            if rows:
                shares[name] = sum(column.missing) / rows
        return Usual(missing=shares) if shares else None


def make_record(
    root: Path,
    settings: Settings,
    storage: Callable[[], Storage],
    *,
    commit: str,
    version: str,
    onnx: str,
) -> VersionRecord:
    """Make the record of a version from the files of its commit, which git and the storage bring.

    `settings` are the model's.

    Raises `ReferenceMissing`, `StorageError`, `EvidenceError`, `PredictionsError`, `SettingsError`.
    """
    with tempfile.TemporaryDirectory(prefix="reference-") as name:
        folder = Path(name)
        fetch_reference_files(root, commit, settings, storage(), folder)
        # The commit's own settings may say otherwise how it is judged, but not where its files lie.
        files = settings.review.files
        written = evidence.load_if_there(folder / files.name_report("metrics"), MetricsReport)
        own = adopt_threshold(load_settings(folder, settings.model_name), written)
        reference = build_reference(folder, own, version=version, onnx=onnx)
        data = evidence.load_if_there(folder / files.name_report("data"), DataReport)
        spec = build_spec(
            own,
            evidence.load(folder / files.name_report("features"), FeaturesReport),
            data,
            edges=reference.edges,
            loss=reference.loss,
            classes=reference.classes,
        )
        times = [column.name for column in data.columns if column.type == "datetime"] if data else []
        return VersionRecord(spec=spec, reference=reference, times=times)
