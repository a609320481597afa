"""Main's side of the comparison: its evidence from git, its artifacts by DVC, its predictions by its own code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, TypeVar

from bots import evidence
from bots.dvc import lockfile, repro
from bots.dvc.command_line import DvcError
from bots.git.repository import Repository

if TYPE_CHECKING:
    import pyarrow

PREDICTIONS = "reports/predictions.parquet"
MODEL = "models/model.skops"
ONNX = "models/onnx"
RAW = "data/raw.parquet"
SPLITS = "data/splits"
HOLDOUT = Path("data/splits/holdout.parquet")
TRAIN = Path("data/splits/train.parquet")

E = TypeVar("E", bound=evidence.Evidence)


class ChampionUnavailable(Exception):
    """Main has a model, but it cannot be had or does not run; the message says why."""


@dataclass
class Champion:
    """Main's commit and what it left. The worktree is made when first needed, removed by `close`."""

    repository: Repository
    commit: str
    lock: lockfile.Lock
    _worktree: Path | None = None
    _stack: ExitStack = field(default_factory=ExitStack)

    def report(self, name: str, kind: type[E]) -> E | None:
        """A report as committed on main; None where main has none that this contract can read."""
        content = self.repository.read_file(self.commit, f"reports/{name}.json")
        if content is None:
            return None
        try:
            return evidence.decode(content, kind, f"main's reports/{name}.json")
        except evidence.EvidenceError:
            return None

    def worktree(self) -> Path:
        """A checkout of main's commit that shares this project's DVC cache."""
        if self._worktree is None:
            self._worktree = self._stack.enter_context(self.repository.open_worktree(self.commit))
        return self._worktree

    def predictions(self) -> pyarrow.Table:
        """Main's recorded predictions on main's holdout: made by its own code, its own libraries."""
        return self._table(PREDICTIONS)

    def score(self, command: str, rows: Path) -> pyarrow.Table:
        """Main's predictions on other rows: its model and its code in its worktree; columns `row`, `score`."""
        try:
            self._bring([MODEL])
            return score(self.worktree(), command, rows)
        except DvcError as error:
            raise ChampionUnavailable(f"main's model cannot score this change's holdout: {error}") from error

    def drift(self, command: str, root: Path) -> evidence.DriftReport:
        """This change's training rows (under `root`) against main's, by this change's command."""
        self._bring([SPLITS])
        out = self._scratch() / "data-change.json"
        try:
            repro.run_command(root, command, reference=self.worktree() / TRAIN, current=root / TRAIN, out=out)
            return evidence.load(out, evidence.DriftReport)
        except (DvcError, evidence.EvidenceError) as error:
            raise ChampionUnavailable(
                f"the training data could not be compared with main's: {error}"
            ) from error

    def close(self) -> None:
        """Remove the worktree."""
        self._stack.close()

    def _table(self, path: str) -> pyarrow.Table:
        import pyarrow
        import pyarrow.parquet as parquet

        self._bring([path])
        try:
            return parquet.read_table(self.worktree() / path)
        except (OSError, pyarrow.ArrowException) as error:
            raise ChampionUnavailable(f"main's {path} cannot be read: {error}") from error

    def _bring(self, targets: list[str]) -> None:
        try:
            repro.fetch_outputs(self.worktree(), self.repository.root, targets)
        except DvcError as error:
            raise ChampionUnavailable(str(error)) from error

    def _scratch(self) -> Path:
        return self.worktree().parent


def score(root: Path, command: str, rows: Path) -> pyarrow.Table:
    """What the code and model in a checkout predict for these rows: columns `row`, `score`.

    Raises `DvcError` where the command fails or leaves no such table.
    """
    import pyarrow
    from pyarrow import parquet

    with TemporaryDirectory(prefix="scores-") as folder:
        out = Path(folder) / "scores.parquet"
        repro.run_command(root, command, rows=rows, out=out)
        try:
            return parquet.read_table(out)
        except (OSError, pyarrow.ArrowException) as error:
            raise DvcError(f"`{command}` left no readable table: {error}") from error


@contextmanager
def of(repository: Repository, commit: str) -> Iterator[Champion | None]:
    """Main's champion at a commit, or None where that commit has no trained model."""
    locked = lockfile.parse_lock(repository.read_text(commit, "dvc.lock"), "main's dvc.lock")
    if locked.find_digest(MODEL) is None:
        yield None
        return
    champion = Champion(repository, commit, locked)
    try:
        yield champion
    finally:
        champion.close()
