"""Reads main's side of a review from a checkout of the default branch."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from bots import evidence, settings
from bots.dvc import model_stages
from bots.evidence import (
    DataReport,
    EvidenceError,
    ExportReport,
    MetricsReport,
    Part,
    SeedScores,
    SplitReport,
    TrainingReport,
)
from bots.git.repository import Repository
from bots.layout import COMPOSE, CONSUMERS, DVC_YAML, KUBERNETES, Layout
from bots.verdict.callers import load_consumers
from bots.verification.collection import load_lock

if TYPE_CHECKING:
    from bots.dvc.lockfile import Lock
    from bots.settings import Settings
    from bots.verdict.callers import Consumer

E = TypeVar("E", bound=evidence.Evidence)


@dataclass(frozen=True, kw_only=True)
class Main:
    """Main's side, from a checkout of the default branch in `root`; None where its pipeline left no such report.

    `consumers` are the contracts of the model's callers by name, `unread` says what is wrong with those of no use.
    """

    commit: str
    settings: Settings
    lock: Lock
    metrics: MetricsReport | None
    split: SplitReport | None
    export: ExportReport | None
    data: DataReport | None = None
    seeds: SeedScores | None = None
    training: TrainingReport | None = None
    deployed: bool = False
    declared: frozenset[str] = frozenset()
    root: Path = Path()
    consumers: dict[str, Consumer] = field(default_factory=dict)
    unread: tuple[str, ...] = ()

    @property
    def files(self) -> Layout:
        """Where its pipeline keeps its files."""
        return self.settings.review.files

    @property
    def model(self) -> str | None:
        """The digest of its model, by its lock."""
        return self.lock.find_digest(self.settings.review.files.model)

    @property
    def future(self) -> set[str]:
        """The columns that are known only after the moment of prediction, by main's contract, and the target."""
        columns = self.data.columns if self.data else []
        found = {column.name for column in columns if column.known == "after"}
        return found | ({self.settings.data.target} if self.settings.data.target else set())

    @property
    def inputs(self) -> tuple[str, ...]:
        """The inputs of its model, by its training; none where that is not known."""
        return tuple(self.training.inputs) if self.training else ()

    @property
    def holdout_part(self) -> Part | None:
        """Its holdout, by its split."""
        try:
            return self.split.find_part("holdout") if self.split else None
        except EvidenceError:
            return None

    @property
    def holdout(self) -> str | None:
        """The digest of its holdout, by its split."""
        return self.holdout_part.digest if self.holdout_part else None


def load_main(root: Path, model: str | None = None) -> Main:
    """Load main's side of a model from its checkout; of the main model, or of a named one.

    Raises `SettingsError`, `LockfileError`, `EvidenceError` and `GitError`.
    """
    own = settings.load_settings(root, model)
    files = own.review.files

    consumers, unread = load_consumers(root / CONSUMERS)

    def load(name: str, kind: type[E]) -> E | None:
        path = files.name_report(name)
        return evidence.load_if_there(root / path, kind, f"main's {path}")

    return Main(
        commit=Repository(root).resolve("HEAD"),
        settings=own,
        lock=model_stages.narrow_lock(load_lock(root), files, own),
        metrics=load("metrics", MetricsReport),
        split=load("split", SplitReport),
        export=load("export", ExportReport),
        data=load("data", DataReport),
        seeds=_load_seeds(root, files),
        training=load("training", TrainingReport),
        deployed=any((root / path).exists() for path in (COMPOSE, KUBERNETES)),
        declared=_find_declared_models(root),
        root=root,
        consumers={name: one for name, one in consumers.items() if one.model == model},
        unread=tuple(unread) if model is None else (),
    )


def _find_declared_models(root: Path) -> frozenset[str]:
    """The paths of the models that main's dvc.yaml declares."""
    path = root / DVC_YAML
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else None
    return frozenset(settings.list_declared_models(text).values())


def _load_seeds(root: Path, files: Layout) -> SeedScores | None:
    """The scores by seed that main keeps; None where it has none that can be read: no review uses such ones."""
    path = files.name_report("seeds")
    try:
        return evidence.load_if_there(root / path, SeedScores, f"main's {path}")
    except EvidenceError:
        return None
