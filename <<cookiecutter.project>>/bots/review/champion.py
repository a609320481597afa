"""Main's side of the comparison: its evidence from git, its outputs by DVC, its predictions by its own code."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, TypeVar

from bots import evidence, layout, settings
from bots.dvc import lockfile, model_stages, repro
from bots.dvc.command_line import DvcError
from bots.errors import BotsError
from bots.evidence import EvidenceError
from bots.git.repository import Repository
from bots.layout import Layout
from bots.review.facts import Reports, Side
from bots.settings import Settings

if TYPE_CHECKING:
    import pyarrow

E = TypeVar("E", bound=evidence.Evidence)


class ChampionUnavailable(BotsError):
    """Main has a model, but it cannot be had or does not run; the message says why."""


class ChampionTampered(ChampionUnavailable):
    """What the storage gave as main's contradicts main's commit; the message says what, and what to do."""


@dataclass(frozen=True)
class Champion:
    """Main's side, and a checkout of its commit in which its own code runs.

    The checkout is made when it is first needed, and shares the project's DVC cache. `removed` collects what was
    stored with a wrong content.
    """

    side: Side
    _repository: Repository
    _stack: ExitStack
    removed: list[str] = field(default_factory=list)
    tell: Callable[[str], None] = lambda words: None

    def load_predictions(self) -> pyarrow.Table:
        """Main's recorded predictions on main's holdout: made by its own code, its own libraries."""
        from bots.stats.predictions import PredictionsError, read_table

        path = self.side.files.predictions
        self._fetch(path)
        try:
            return read_table(self._worktree / path, f"main's {path}")
        except PredictionsError as error:
            raise ChampionUnavailable(str(error)) from error

    def score(self, rows: Path) -> pyarrow.Table:
        """Main's predictions on other rows, by its model and its code; columns `row`, `score`."""
        self._fetch(self.side.files.model)
        try:
            return score_rows(self._worktree, self.side.settings.review.score, rows)
        except DvcError as error:
            raise ChampionUnavailable(f"main's model cannot score this change's rows: {error}") from error

    def fetch_splits(self) -> tuple[Path, Path]:
        """Where main's tables of training and holdout rows are, brought there first."""
        files, lock = self.side.files, self.side.lock
        held = [lock.find_holder(path) for path in (files.training_rows, files.holdout_rows)]
        for place in dict.fromkeys(place or files.splits for place in held):
            self._fetch(place)
        return self._worktree / files.training_rows, self._worktree / files.holdout_rows

    def fetch_production_rows(self) -> Path | None:
        """Where main's later rows are, which neither train nor judge, brought there first; None where it has none."""
        path = self.side.files.production_rows
        place = self.side.lock.find_holder(path)
        if place is None:
            return None
        self._fetch(place)
        found = self._worktree / path
        return found if found.is_file() else None

    def compare_training_rows(self, command: str, *, root: Path, rows: Path) -> evidence.DriftReport:
        """Main's training rows against `rows`, by a command of the change that runs in `root`."""
        reference, _ = self.fetch_splits()
        with TemporaryDirectory(prefix="drift-") as folder:
            out = Path(folder) / "data-change.json"
            try:
                repro.run_command(root, command, reference=reference, current=rows, out=out)
                return evidence.load(out, evidence.DriftReport)
            except (DvcError, EvidenceError) as error:
                raise ChampionUnavailable(
                    f"the training data could not be compared with main's: {error}"
                ) from error

    @cached_property
    def _worktree(self) -> Path:
        worktree = self._stack.enter_context(self._repository.open_worktree(self.side.commit))
        try:
            set_up(worktree, self._repository.root, self.side.settings)
        except DvcError as error:
            raise ChampionUnavailable(f"main's checkout cannot be made ready: {error}") from error
        return worktree

    def _fetch(self, path: str) -> None:
        try:
            repro.fetch_outputs(self._worktree, self._repository.root, [path], self.removed, tell=self.tell)
        except DvcError as error:
            if path in self.removed:
                raise ChampionTampered(
                    f"the stored {path} of main is not the file that main's {layout.DVC_LOCK} names (replaced, or cut "
                    "short), and no other copy was found."
                ) from error
            raise ChampionUnavailable(str(error)) from error


@contextmanager
def open_champion(
    repository: Repository,
    commit: str,
    otherwise: Settings,
    removed: Iterable[str] = (),
    *,
    tell: Callable[[str], None] = lambda words: None,
) -> Iterator[Champion | None]:
    """Main's champion at a commit, or None where that commit's lock names no model.

    `otherwise` are the change's settings of the model, which count where the commit has no params.yaml. `removed`:
    outputs that were stored with a wrong content so far. `tell` hears of what takes time. Raises `SettingsError` and
    `LockfileError`.
    """
    side = read_side(repository, commit, otherwise)
    if side is None or side.model is None:
        yield None
        return
    with ExitStack() as stack:
        yield Champion(side, repository, stack, list(removed), tell)


def read_side(repository: Repository, commit: str, otherwise: Settings) -> Side | None:
    """Main's side of a model at a commit as git has it, or None where that commit's lock has no stage of it.

    Raises `SettingsError`, `LockfileError`.
    """
    lock = lockfile.parse_lock(repository.read_text(commit, layout.DVC_LOCK), f"main's {layout.DVC_LOCK}")
    if not lock.stages:
        return None
    known = read_models(repository, commit)
    own = known.get(otherwise.model_name, otherwise) if known else otherwise
    lock = model_stages.narrow_lock(lock, own.review.files, own)
    if not lock.stages:
        return None
    return Side(
        commit=commit,
        settings=own,
        lock=lock,
        reports=_read_reports(repository, commit, own.review.files),
    )


def read_models(repository: Repository, commit: str) -> dict[str | None, Settings]:
    """The bots' settings at a commit by the model's name; empty where it has no params.yaml. Raises `SettingsError`."""
    text = repository.read_text(commit, layout.PARAMS)
    if not text:
        return {}
    pipeline = repository.read_text(commit, layout.DVC_YAML)
    return settings.parse_models(text, f"main's {layout.PARAMS}", pipeline)


def _read_reports(repository: Repository, commit: str, files: Layout) -> Reports:
    """The reports that a comparison needs, as committed; None for one that this contract cannot read."""

    def read(name: str, kind: type[E]) -> E | None:
        path = files.name_report(name)
        content = repository.read_file(commit, path)
        try:
            return None if content is None else evidence.decode(content, kind, f"main's {path}")
        except EvidenceError:
            return None

    return Reports(
        split=read("split", evidence.SplitReport),
        training=read("training", evidence.TrainingReport),
        metrics=read("metrics", evidence.MetricsReport),
        explanation=read("explanation", evidence.ExplanationReport),
    )


def set_up(worktree: Path, project: Path, settings: Settings) -> None:
    """Make a fresh checkout ready to run, as its `review.setup` says. Raises `DvcError`."""
    if settings.review.setup is not None:
        repro.run_command(worktree, settings.review.setup, project=project)


def score_rows(root: Path, command: str, rows: Path) -> pyarrow.Table:
    """What the code and model in a checkout predict for these rows: columns `row`, `score`.

    The tables are Parquet, or CSV where the command asks for `{rows_csv}` or `{out_csv}`. Raises `DvcError` where the
    command fails or leaves no such table.
    """
    with TemporaryDirectory(prefix="scores-") as name:
        folder = Path(name)
        files = {"rows": rows, "out": folder / "scores.parquet"}
        files |= {"rows_csv": folder / "rows.csv", "out_csv": folder / "scores.csv"}
        if "{rows_csv}" in command:
            _write_csv(rows, files["rows_csv"])
        repro.run_command(root, command, **files)
        return _read_scores(files["out_csv" if "{out_csv}" in command else "out"], command)


def _write_csv(rows: Path, out: Path) -> None:
    """Write a Parquet table as CSV with quotes only where they are needed; a cell without a value is empty.

    Raises `DvcError`.
    """
    import csv

    import pyarrow

    from bots.stats.predictions import PredictionsError, open_table, write_label

    try:
        with (
            open_table(rows, "the rows to score") as table,
            out.open("w", encoding="utf-8", newline="") as file,
        ):
            nested = [one.name for one in table.schema_arrow if pyarrow.types.is_nested(one.type)]
            if nested:
                raise DvcError(
                    f"the rows to score cannot be written as CSV: {nested[0]} holds lists or records"
                )
            written = csv.writer(file, lineterminator="\n")
            written.writerow(table.schema_arrow.names)
            for batch in table.iter_batches():
                columns = [map(write_label, column.to_pylist()) for column in batch.columns]
                written.writerows(zip(*columns, strict=True))
    except (OSError, PredictionsError, pyarrow.ArrowException) as error:
        raise DvcError(f"the rows to score cannot be written as CSV: {error}") from error


def _read_scores(out: Path, command: str) -> pyarrow.Table:
    """The table that a command left. Names of rows stay text. Raises `DvcError`."""
    import pyarrow
    import pyarrow.csv
    import pyarrow.parquet as parquet

    from bots.stats.split_columns import PLAIN_ROW, ROW

    texts = pyarrow.csv.ConvertOptions(column_types=dict.fromkeys((ROW, PLAIN_ROW), pyarrow.string()))
    try:
        if out.suffix == ".csv":
            lines = pyarrow.csv.ParseOptions(newlines_in_values=True)
            return pyarrow.csv.read_csv(out, parse_options=lines, convert_options=texts)
        return parquet.read_table(out)
    except (OSError, pyarrow.ArrowException) as error:
        raise DvcError(f"`{command}` left no readable table: {error}") from error
