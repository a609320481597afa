"""Lets both models score fresh rows, to see whether an improvement on the holdout is one there too."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from bots.errors import BotsError
from bots.review.champion import score_rows
from bots.review.holdout import align_scores, list_both_classes
from bots.review.seen import have_same_output
from bots.stats.predictions import get_scores
from bots.stats.split_columns import PLAIN_ROW, find_row_column
from bots.verdict import fresh_rows
from bots.verdict.confirmation import UNTOLD_BY_SCORES, explain_untold, judge_fresh_rows

if TYPE_CHECKING:
    import pyarrow

    from bots.evidence import Confirmation
    from bots.review.champion import Champion
    from bots.review.facts import Candidate
    from bots.stats.predictions import Predictions


def confirm_on_fresh_rows(
    root: Path, candidate: Candidate, champion: Champion, tell: Callable[[str], None]
) -> Confirmation:
    """What the labelled rows of main's production part say; whatever is in the way is an answer too, not an error."""
    path = champion.side.files.production_rows
    if champion.side.settings.task == "scores":
        return explain_untold(UNTOLD_BY_SCORES)
    try:
        place = champion.fetch_production_rows()
        if place is None:
            return explain_untold(f"main has no {path}")
        rows = fresh_rows.draw_labelled_rows(place, f"main's {path}", champion.side.settings)
        if not len(rows):
            return explain_untold(f"no row of main's {path} has a label")
        if lost := _count_used_rows(root, candidate, champion, place):
            return explain_untold(
                f"{lost:,} rows of main's {path} are not in this change's, which may train or judge on them"
            )
        tell(f"asking {len(rows):,} fresh rows whether it is better there too")
        return judge_fresh_rows(_score_both(root, candidate, champion, rows), champion.side.settings.gate)
    except BotsError as error:
        return explain_untold(f"main's {path} cannot be scored: {error}")


def _count_used_rows(root: Path, candidate: Candidate, champion: Champion, place: Path) -> int:
    """How many rows of main's production part the change's own split does not leave aside."""
    path = candidate.files.production_rows
    if have_same_output(candidate.lock, champion.side.lock, path):
        return 0
    return fresh_rows.count_missing_rows(place, root / path, path)


def _score_both(root: Path, candidate: Candidate, champion: Champion, rows: pyarrow.Table) -> Predictions:
    """Both models' scores of the rows, each by its own code."""
    import pyarrow
    import pyarrow.parquet as parquet

    main, path = champion.side, champion.side.files.production_rows
    with TemporaryDirectory(prefix="fresh-") as folder, ThreadPoolExecutor(2) as pool:
        table = Path(folder) / "rows.parquet"
        parquet.write_table(rows, table)
        own = pool.submit(score_rows, root, candidate.settings.review.score, table)
        mains = pool.submit(champion.score, table)
        names = pyarrow.table({PLAIN_ROW: rows[find_row_column(rows.column_names)]})
        scored = align_scores(own.result(), names, whose="this change's")
        before = align_scores(mains.result(), names, whose="main's")
    classes = list_both_classes(scored, before, main.settings)
    return fresh_rows.pair_scores(
        rows,
        path,
        champion=get_scores(before, path, classes),
        candidate=get_scores(scored, path, classes),
        classes=classes,
        policy=main.settings,
        thresholds=(
            main.reports.metrics.threshold if main.reports.metrics else None,
            candidate.reports.metrics.threshold if candidate.reports.metrics else None,
        ),
    )
