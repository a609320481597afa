"""Computes the intervals of past versions' main metric from their commits' predictions, as the model card does."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bots.dvc import cache, lockfile
from bots.errors import BotsError
from bots.layout import DVC_LOCK, DVC_YAML, PARAMS
from bots.monitoring.history import Estimate
from bots.settings import adopt_threshold, parse_settings
from bots.stats import intervals, predictions

if TYPE_CHECKING:
    from bots.evidence import MetricsReport
    from bots.release.registry import RegistryRepository
    from bots.release.versions import Release
    from bots.settings import Settings

Read = Callable[[str], bytes | None]
"""Gives the content of one of DVC's files by its digest; None where nothing has it."""


def list_predictions(
    repository: RegistryRepository, releases: Sequence[Release], settings: Settings
) -> dict[str, str]:
    """List the digests of the predictions of these versions, by version; without those whose dvc.lock names none."""
    found = {}
    for release in releases:
        try:
            content = repository.read_file(release.commit, DVC_LOCK)
            text = (content or b"").decode(errors="replace")
            lock = lockfile.parse_lock(text, f"{DVC_LOCK} of {release.commit[:7]}")
        except BotsError:
            # That this lock cannot be read is told where the version's origin is.
            continue
        algorithm, _, digest = (lock.find_digest(settings.review.files.predictions) or "").partition(":")
        if algorithm == "md5" and cache.DIGEST.fullmatch(digest) and not digest.endswith(".dir"):
            found[release.version] = digest
    return found


@dataclass(frozen=True)
class IntervalMeter:
    """Measures the interval of versions. `digests` are of their predictions, `read` brings those."""

    repository: RegistryRepository
    settings: Settings
    digests: dict[str, str]
    read: Read

    def measure(self, release: Release, report: MetricsReport) -> Estimate:
        """Measure a version's interval; the reason where there is none."""
        digest = self.digests.get(release.version)
        if digest is None:
            return Estimate(why="dvc.lock of its commit names no predictions of its own")
        content = self.read(digest)
        if content is None:
            return Estimate(why="its predictions are neither here nor in the storage")
        if cache.compute_md5(content) != digest:
            return Estimate(why="the file of its predictions is not what its name says")
        try:
            return self._measure(release, report, content)
        except (BotsError, ValueError) as error:
            return Estimate(why=f"its predictions could not be judged: {error}")

    def _measure(self, release: Release, report: MetricsReport, content: bytes) -> Estimate:
        name = self.settings.gate.primary
        own = adopt_threshold(self._load_settings(release.commit), report)
        with tempfile.TemporaryDirectory(prefix="history-") as folder:
            path = Path(folder) / "predictions.parquet"
            path.write_bytes(content)
            table = predictions.read_table(path, own.review.files.predictions)
        known = predictions.make_predictions(
            table,
            own.review.files.predictions,
            task=own.task,
            slices=(),
            resample=own.gate.resample,
            days_together=own.gate.days_together,
            threshold=report.threshold,
            costs=report.costs[0] if report.costs else None,
            bins=own.evaluate.calibration_bins,
            row_metrics=own.row_metrics,
        )
        measure = known.find_measure(name)
        if measure is None:
            return Estimate(why=f"its predictions have no {name}")
        rows = intervals.choose_rows(known)
        found = intervals.estimate_interval(rows, measure, confidence=self.settings.gate.confidence)
        said = release.metrics.get(name)
        if said is None or found.candidate is None or not math.isclose(said, found.candidate, rel_tol=1e-6):
            return Estimate(why="its predictions give another value than its release states")
        if found.low is None or found.high is None:
            return Estimate(why=found.note or "too few rows")
        return Estimate(found.low, found.high)

    def _load_settings(self, commit: str) -> Settings:
        texts = [
            (self.repository.read_file(commit, path) or b"").decode(errors="replace")
            for path in (PARAMS, DVC_YAML)
        ]
        return parse_settings(
            texts[0], f"{PARAMS} of {commit[:7]}", texts[1] or None, model=self.settings.model_name
        )
