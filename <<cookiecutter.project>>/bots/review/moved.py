"""Looks at a holdout that moved: which of its rows main's model was trained on, and how both models stand on main's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import structs

from bots import layout
from bots.errors import BotsError
from bots.evidence import EvidenceError, MovedHoldout, OldHoldout
from bots.review.champion import ChampionTampered, ChampionUnavailable, score_rows
from bots.review.holdout import HoldoutPredictions, align_scores
from bots.settings import adopt_threshold
from bots.stats import metrics
from bots.stats.copies import KnownRows, choose_columns, find_known_rows
from bots.stats.predictions import (
    PredictionsError,
    get_scores,
    get_targets,
    get_weights,
    join_classes,
    list_class_names,
    list_classes,
    open_table,
    read_table,
)
from bots.stats.split_columns import PLAIN_ROW, PLAIN_TARGET, ROW, TARGET, find_row_column
from bots.verdict.moved import is_comparable
from bots.verdict.seen import FEW_SHARE

if TYPE_CHECKING:
    import pyarrow

    from bots.evidence import Part
    from bots.review.champion import Champion
    from bots.review.facts import Candidate, Side

LoadTruth = Callable[[], "pyarrow.Table"]
"""Loads main's own predictions on main's holdout, confirmed by main's figures."""


class _Unknown(BotsError):
    """Nobody can tell whether main's model was trained on a row; the message says why."""


@dataclass(frozen=True, eq=False)
class Moved:
    """What was found out about a holdout that moved. `judging` names the rows that judge; None where all do."""

    found: MovedHoldout
    judging: pyarrow.ChunkedArray | None = None

    def keep_judging(self, predictions: HoldoutPredictions) -> HoldoutPredictions:
        """The predictions of the rows that judge."""
        return predictions if self.judging is None else predictions.keep_rows(self.judging)


def look_at_moved_holdout(
    root: Path,
    candidate: Candidate,
    champion: Champion,
    *,
    load_truth: LoadTruth,
    tell: Callable[[str], None],
) -> Moved:
    """Look which rows of this change's holdout main's model was trained on, by main's own training table.

    Raises `ChampionTampered`; what else cannot be had is the `failure` of what is found.
    """
    main = champion.side
    before, after = find_holdout(main), find_holdout(candidate)
    found = MovedHoldout(before=before, after=after, rows=after.rows if after else 0)
    try:
        _require_described(main, candidate)
        tell("looking whether main's model was trained on this change's holdout")
        mains = _fetch_tables(champion)
        known, judging = _find_trained_on(root, candidate, main, mains)
        found = structs.replace(
            found,
            rows=len(known.named),
            trained_on=int(known.either.sum()),
            shared=int(_find_shared(root, candidate, main, mains).either.sum()),
            training_rows=_count_rows(mains[0], "main's training table"),
        )
    except ChampionTampered:
        raise
    except BotsError as error:
        return Moved(structs.replace(found, failure=str(error)[:1000]))
    old = _look_at_old(root, candidate, champion, mains[1], load_truth=load_truth, tell=tell)
    found = structs.replace(found, old=old)
    return Moved(found, judging if found.trained_on and is_comparable(found) else None)


def refuse_another_table(root: Path, candidate: Candidate, main: Side) -> None:
    """Raise `ChampionUnavailable` where main's model is one of another table, which has nothing to do with this one.

    It is, where this change's holdout has neither main's target nor one of its model's inputs. Names of rows are no
    help there: two tables may both number theirs. Where either cannot be read, nothing is said here.
    """
    report, target = main.reports.training, main.settings.data.target
    path = root / candidate.files.holdout_rows
    if report is None or target is None or not path.is_file():
        return
    try:
        with open_table(path, candidate.files.holdout_rows) as file:
            columns = set(file.schema_arrow.names)
    except PredictionsError:
        return
    if columns.isdisjoint({target, *report.inputs}):
        inputs = ", ".join(report.inputs[:3]) + (", …" if len(report.inputs) > 3 else "")
        raise ChampionUnavailable(
            f"it is one of another table: {candidate.files.holdout_rows} has neither its target {target} nor any of "
            f"its inputs ({inputs}). A person decides by this change's own figures"
        )


def find_holdout(side: Side) -> Part | None:
    """The holdout as a side's split describes it; None where it does not."""
    try:
        return side.reports.split.find_part("holdout") if side.reports.split else None
    except EvidenceError:
        return None


def _require_described(champion: Side, candidate: Side) -> None:
    for whose, side in (("main's", champion), ("this change's", candidate)):
        part, path = find_holdout(side), side.files.name_report("split")
        if part is None:
            raise _Unknown(f"{whose} {path} names no holdout")


def _fetch_tables(champion: Champion) -> tuple[Path, Path]:
    """Main's tables of training rows and of the holdout. Raises `_Unknown` where main's lock names none."""
    side = champion.side
    for path in (side.files.training_rows, side.files.holdout_rows):
        if side.lock.find_holder(path) is None:
            raise _Unknown(
                f"main's {layout.DVC_LOCK} names no {path}, where a pipeline keeps the rows that train and judge "
                f"(`review.files` in {layout.PARAMS})"
            )
    training, holdout = champion.fetch_splits()
    for table in (training, holdout):
        if not table.is_file():
            raise _Unknown(f"main's {table.name} is not among what its {layout.DVC_LOCK} names")
    return training, holdout


def _find_trained_on(
    root: Path, candidate: Candidate, main: Side, mains: tuple[Path, Path]
) -> tuple[KnownRows, pyarrow.ChunkedArray]:
    """Which rows of the new holdout main's training table has, and the names of the others."""
    import pyarrow

    path = root / candidate.files.holdout_rows
    columns = choose_columns(mains[0], path, list_wanted(main))
    known = find_known_rows(mains[0], path, columns)
    table = read_table(path, candidate.files.holdout_rows, [ROW, PLAIN_ROW])
    names = table[find_row_column(table.column_names)]
    return known, names.filter(pyarrow.array(~known.either))


def _find_shared(root: Path, candidate: Candidate, main: Side, mains: tuple[Path, Path]) -> KnownRows:
    """Which rows of the new holdout main's has too."""
    path = root / candidate.files.holdout_rows
    return find_known_rows(mains[1], path, choose_columns(mains[1], path, list_wanted(main)))


def list_wanted(side: Side) -> tuple[set[str], set[str]]:
    """The columns that make a row what it is to a side's model: its inputs, and what its target may be called."""
    report, target = side.reports.training, side.settings.data.target
    return set(report.inputs if report else ()), {TARGET, target or PLAIN_TARGET}


def _count_rows(path: Path, name: str) -> int:
    with open_table(path, name) as file:
        return int(file.metadata.num_rows)


def _look_at_old(
    root: Path,
    candidate: Candidate,
    champion: Champion,
    holdout: Path,
    *,
    load_truth: LoadTruth,
    tell: Callable[[str], None],
) -> OldHoldout | None:
    """How both models stand on main's holdout; this change's only where it was not trained on those rows.

    A few rows that are like a training row by nature, under another name, do not count.
    """
    main = champion.side
    written, name = main.reports.metrics, main.settings.gate.primary
    if written is None:
        return None
    found = OldHoldout(metric=name, rows=written.rows, champion=written.values.get(name))
    try:
        training = root / candidate.files.training_rows
        known = find_known_rows(training, holdout, choose_columns(training, holdout, list_wanted(candidate)))
        found = structs.replace(found, trained_on=int(known.either.sum()))
        if known.named.any() or int(known.copied.sum()) > FEW_SHARE * len(known.copied):
            return found
        tell("scoring main's holdout with this change's model")
        scored = score_rows(root, candidate.settings.review.score, holdout)
        return structs.replace(found, candidate=_measure(scored, load_truth(), candidate, main))
    except ChampionTampered:
        raise
    except BotsError as error:
        return structs.replace(found, note=str(error)[:1000])


def _measure(scored: pyarrow.Table, truth: pyarrow.Table, candidate: Candidate, main: Side) -> float | None:
    """The metric that decides, of this change's scores of main's holdout."""
    name, path = main.settings.gate.primary, main.files.predictions
    classes: tuple[str, ...] = ()
    if main.settings.task == "multiclass":
        classes = join_classes(list_classes(scored.column_names), list_class_names(truth, path))
    declared = main.settings.row_metrics
    scores = get_scores(align_scores(scored, truth, whose="this change's"), path, classes, declared)
    context = metrics.Context(
        threshold=adopt_threshold(candidate.settings, candidate.reports.metrics).evaluate.threshold,
        costs=main.settings.evaluate.costs,
        bins=main.settings.evaluate.calibration_bins,
        classes=classes,
        row_metrics=declared,
    )
    target, weights = get_targets(truth, path, classes, declared), get_weights(truth, path)
    return metrics.compute_value(name, target, scores, context, weights)
