"""Looks for signs that a change's model has seen the rows that judge it: copies of them to train on, and their fit."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from bots import layout
from bots.errors import BotsError
from bots.evidence import CopiedRows, FitGap
from bots.review.champion import score_rows
from bots.review.facts import Seen
from bots.review.holdout import PredictionsError, align_scores, list_both_classes
from bots.review.moved import list_wanted
from bots.stats import split_columns
from bots.stats.copies import CopyCount, choose_columns, count_copies, find_columns
from bots.stats.predictions import (
    SLICE,
    WEIGHT,
    Predictions,
    get_numbers,
    get_scores,
    make_predictions,
    open_table,
)
from bots.stats.targets import get_target
from bots.verdict.fit_gap import compare_fit

if TYPE_CHECKING:
    import pyarrow

    from bots.dvc.lockfile import Lock
    from bots.review.champion import Champion
    from bots.review.facts import Candidate
    from bots.settings import Settings

TARGET = "target"
# Training rows that both models score; 20,000 know a mean loss to a hundredth of its spread.
SAMPLED = 20_000
_SEED = 20130701
# What decides nothing about how a model is trained, beside values that the lock names as causes of their own.
_NO_CODE = (layout.PARAMS, layout.DVC_LOCK, layout.CARD)
_NO_CODE_ENDINGS = (".md", ".csv", ".parquet", ".dvc", ".gitignore")


def look_for_seen_rows(
    root: Path,
    candidate: Candidate,
    champion: Champion | None,
    *,
    holdout: Callable[[], Predictions] | None,
    changed: Collection[str],
    tell: Callable[[str], None],
) -> Seen:
    """Look for rows of the holdout among the training rows, and for a fit that is too good.

    `holdout` gives both models' scores for the same holdout; None where they are not to be had. `changed` are the paths
    that the change edits. Both looks are left out where they cannot find anything: tables that are main's, and a model
    that main's own code trained.
    """
    counted = list(_count_copies(root, candidate, champion, tell))
    found = Seen(
        copied=tuple(one for one in counted if isinstance(one, CopiedRows)),
        untold=tuple(one for one in counted if isinstance(one, str)),
    )
    if champion is None or holdout is None or not trains_by_other_code(candidate, champion, changed):
        return found
    if champion.side.settings.task == "scores":
        said = (
            "Whether the model was fitted to the holdout cannot be told: for the task scores nobody but the team knows "
            "how its metrics fall where a model learns by heart."
        )
        return replace(found, untold=(*found.untold, said))
    tell("comparing how both models fit training rows and holdout")
    try:
        return replace(found, gap=_compare_fit(root, candidate, champion, holdout()))
    except BotsError as error:
        said = f"Whether the model was fitted to the holdout cannot be told: {error}"
        return replace(found, untold=(*found.untold, said))


def trains_by_other_code(candidate: Candidate, champion: Champion, changed: Collection[str]) -> bool:
    """Whether something else than parameters and data can have made the difference between two models."""
    if candidate.model == champion.side.model:
        return False
    if candidate.settings.review != champion.side.settings.review:
        return True  # commands that the review runs
    return any(
        path not in _NO_CODE
        and not path.startswith(f"{layout.REPORTS}/")
        and not path.endswith(_NO_CODE_ENDINGS)
        for path in changed
    )


def _count_copies(
    root: Path, candidate: Candidate, champion: Champion | None, tell: Callable[[str], None]
) -> Iterator[CopiedRows | str]:
    """The copies in the table of training rows and in that of the model's inputs, for each that is not main's.

    A sentence in place of a table that cannot tell; the other one is looked at all the same.
    """
    files, main = candidate.files, champion.side if champion else None
    rows_are_mains = main is not None and have_same_output(candidate.lock, main.lock, files.training_rows)
    inputs_are_mains = main is not None and have_same_output(
        candidate.lock, main.lock, files.training_features
    )
    if rows_are_mains and inputs_are_mains:
        return
    tell("looking for rows of the holdout among the training rows")
    training, judging = root / files.training_rows, root / files.holdout_rows
    columns, nature = None, None
    try:
        columns = _choose_columns(training, judging, candidate)
        found = count_copies(training, judging, columns)
        if champion is not None:
            nature = found if rows_are_mains else _count_on_main(champion, columns)
        if not rows_are_mains:
            yield _describe(files.training_rows, found, nature)
    except BotsError as error:
        yield _explain_untold(files.training_rows, error)
    training, judging = root / files.training_features, root / files.holdout_features
    if not training.exists() or not judging.exists() or inputs_are_mains:
        return
    try:
        again = _choose_columns(training, judging, candidate)
        alike = columns is not None and _drop_target(again, candidate) == _drop_target(columns, candidate)
        yield _describe(
            files.training_features, count_copies(training, judging, again), nature if alike else None
        )
    except BotsError as error:
        yield _explain_untold(files.training_features, error)


def _explain_untold(table: str, error: BotsError) -> str:
    return f"Whether rows of the holdout are among those of {table} cannot be told: {error}"


def have_same_output(candidate: Lock, champion: Lock, path: str) -> bool:
    """Whether both locks name the same content for the output that a path is, or lies in."""
    for place in (PurePosixPath(path), *PurePosixPath(path).parents):
        found = candidate.find_digest(str(place))
        if found is not None:
            return found == champion.find_digest(str(place))
    return False


def _choose_columns(training: Path, judging: Path, candidate: Candidate) -> list[str]:
    """The columns that make a row what it is to a model: its inputs and the target.

    Raises `PredictionsError` where the tables share nothing but the target: most rows have a target in common.
    """
    columns = choose_columns(training, judging, list_wanted(candidate))
    if not _drop_target(columns, candidate):
        raise PredictionsError(
            f"{training.name} and {judging.name} have no column in common but the row's name and the target"
        )
    return columns


def _drop_target(columns: Collection[str], candidate: Candidate) -> set[str]:
    return set(columns) - {split_columns.TARGET, TARGET, candidate.settings.data.target}


def _count_on_main(champion: Champion, columns: list[str]) -> CopyCount | None:
    """The copies in main's tables by the same columns; None where those lack one."""
    training, judging = champion.fetch_splits()
    found = find_columns(training, judging, columns)
    return count_copies(training, judging, found) if set(found) == set(columns) else None


def _describe(table: str, found: CopyCount, nature: CopyCount | None) -> CopiedRows:
    return CopiedRows(
        table=table,
        rows=found.rows,
        copies=found.copies,
        same_rows=found.same_rows,
        champion=nature.copies if nature else None,
        champion_rows=nature.rows if nature else None,
    )


def _compare_fit(root: Path, candidate: Candidate, champion: Champion, holdout: Predictions) -> FitGap:
    """Both models on the same sample of this change's training rows, each by its own code, beside the holdout."""
    settings, policy = candidate.settings, champion.side.settings
    rows = candidate.files.training_rows
    with TemporaryDirectory(prefix="training-") as folder, ThreadPoolExecutor(2) as pool:
        path = Path(folder) / "training.parquet"
        sample = draw_rows(root / rows, rows, path)
        own = pool.submit(score_rows, root, settings.review.score, path)
        mains = pool.submit(champion.score, path)
        training = _make_pair(
            sample, own.result(), mains.result(), name=rows, settings=settings, policy=policy
        )
    return compare_fit(training, holdout)


def draw_rows(path: Path, name: str, out: Path, count: int = SAMPLED) -> pyarrow.Table:
    """Draw rows of a table, the same ones each time, and write them to `out`. Raises `PredictionsError`."""
    import pyarrow
    import pyarrow.parquet as parquet

    with open_table(path, name) as file:
        total, drawn, start = file.metadata.num_rows, [], 0
        chosen = np.random.default_rng(_SEED).choice(total, min(count, total), replace=False)
        chosen.sort()
        for batch in file.iter_batches():
            inside = chosen[(chosen >= start) & (chosen < start + len(batch))] - start
            drawn.append(batch.take(pyarrow.array(inside)))
            start += len(batch)
        table = pyarrow.Table.from_batches(drawn, schema=file.schema_arrow)
    parquet.write_table(table, out)
    return table


def _make_pair(
    sample: pyarrow.Table,
    own: pyarrow.Table,
    mains: pyarrow.Table,
    *,
    name: str,
    settings: Settings,
    policy: Settings,
) -> Predictions:
    """The scores of both models for the sampled rows, with the truth and what is resampled together."""
    import pyarrow

    together, target = policy.gate.resample, settings.data.target
    row = split_columns.find_row_column(sample.column_names)
    # A pipeline of a team's own may call the target so in its tables.
    target = target if target is not None and target in sample.column_names else TARGET
    missing = {row, target, *({together} - {"rows"})} - set(sample.column_names)
    if missing:
        raise PredictionsError(f"{name}: no column {', '.join(sorted(missing))}")
    classes = list_both_classes(own, mains, policy)
    truth = get_target(sample, target, name, settings.data.positive, classes)
    columns = {split_columns.PLAIN_ROW: sample[row]}
    if (weight := policy.data.weight) is not None and weight in sample.column_names:
        columns[WEIGHT] = get_numbers(sample, weight, name)
    if together != "rows":
        columns[SLICE + together] = sample[together].cast(pyarrow.string())
    table = pyarrow.table(columns)
    pair = make_predictions(
        table,
        name,
        scores=get_scores(align_scores(own, table, whose="this change's"), name, classes),
        classes=classes,
        target=truth,
        task=policy.task,
        slices=[],
        resample=together,
        days_together=policy.gate.days_together,
        threshold=None,
        costs=None,
        bins=policy.evaluate.calibration_bins,
    )
    return replace(pair, champion=get_scores(align_scores(mains, table, whose="main's"), name, classes))
