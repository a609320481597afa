"""Says, before anything is trained, what main's holdout can show of the metric that decides."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from bots import evidence, layout, settings
from bots.dvc import cache, lockfile, wrong_files
from bots.dvc.cache import CacheError
from bots.dvc.lockfile import Lock, LockfileError
from bots.evidence import EvidenceError, MetricsReport
from bots.render.certainty import describe_sensitivity
from bots.settings import Settings, SettingsError
from bots.stats.distinct import are_distinct
from bots.stats.split_columns import PLAIN_ROW

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow
    from numpy.typing import NDArray

    from bots.evidence import Sensitivity
    from bots.git.repository import Repository
    from bots.stats.intervals import Interval
    from bots.stats.predictions import Predictions

MOST_COMMITS = 30
"""So many commits of main's dvc.lock are looked at for an earlier model."""
ASSUMED_SHARE = 0.15
"""The standard error of a difference as a share of main's own, where no earlier model tells it: 0.15 is that of two
models whose results go together at a correlation of 0.989. docs/statistics.md says what was measured."""
EARLIER = "how main's last two models differ on this holdout"
ASSUMED = "an assumption: the difference of two models varies 0.15 times as much as main's own figure"


@dataclass(frozen=True)
class Expectation:
    """What a holdout can show, and the words that say so before the training."""

    sensitivity: Sensitivity
    words: str


def expect_sensitivity(repository: Repository, base: str, model: str | None = None) -> Expectation | None:
    """What the holdout of main at a commit can show of a model, the main one or a named one.

    None where main has no predictions at hand that tell it.

    The standard error of a difference is that between main's model and the one before it on the same rows, where its
    predictions are still in DVC's cache, or else an assumed share of that of main's own figure. Only the cache is
    read, nothing is fetched; a file there counts only if its content fits its digest.
    """
    from bots.stats.predictions import PredictionsError
    from bots.verdict import comparison

    try:
        policy = settings.parse_settings(
            repository.read_text(base, layout.PARAMS) or "",
            f"main's {layout.PARAMS}",
            repository.read_text(base, layout.DVC_YAML),
            model=model,
        )
        lock = lockfile.parse_lock(repository.read_text(base, layout.DVC_LOCK))
        recorded = _load_recorded(repository, base, lock, policy)
        if recorded is None:
            return None
        main = recorded.predictions
        earlier = next(_load_earlier(repository, base, lock, policy), None)
        pair = _put_beside(recorded, earlier) if earlier is not None else None
        interval = _estimate(pair, policy) if pair is not None else None
        basis = EARLIER
        if interval is None or interval.difference is None or not interval.error:
            interval, basis = _assume(_estimate(main, policy)), ASSUMED
    except (SettingsError, LockfileError, PredictionsError, EvidenceError):
        return None  # the review itself says what is wrong with main's files
    found = comparison.describe_sensitivity(interval, policy.gate, rows=len(main.target), basis=basis)
    if found is None:
        return None
    primary = policy.gate.primary
    said = describe_sensitivity(found, primary, policy.gate.matters[primary])
    return Expectation(found, f"{said} It has {len(main.target):,}. This is expected by {basis}")


@dataclass(frozen=True, eq=False)
class _Recorded:
    """The predictions of a commit, and the names of their rows in the same order; None where they have none."""

    predictions: Predictions
    rows: pyarrow.ChunkedArray | None


def _load_earlier(repository: Repository, base: str, main: Lock, policy: Settings) -> Iterator[_Recorded]:
    """The predictions of main's earlier models on the same splits, the newest first; without those that are broken."""
    from bots.stats.predictions import PredictionsError

    files = policy.review.files
    for commit in repository.list_commits_of(base, layout.DVC_LOCK, MOST_COMMITS):
        try:
            lock = lockfile.parse_lock(repository.read_text(commit, layout.DVC_LOCK))
        except LockfileError:
            continue
        same = lockfile.have_same_rows(
            lock.find_content(files.holdout_rows), main.find_content(files.holdout_rows)
        )
        if same and lock.find_digest(files.predictions) != main.find_digest(files.predictions):
            try:
                found = _load_recorded(repository, commit, lock, policy)
            except (PredictionsError, EvidenceError):
                continue  # an earlier commit's files are nobody's to mend; one before it may tell as much
            if found is not None:
                yield found


def _load_recorded(repository: Repository, commit: str, lock: Lock, policy: Settings) -> _Recorded | None:
    """The predictions that a commit's lock names; None where the cache does not have them as they were."""
    from bots.stats.predictions import make_predictions, read_table

    path = policy.review.files.predictions
    digest = lock.find_digest(path)
    if digest is None or not digest.startswith("md5:"):
        return None
    name = digest.removeprefix("md5:")
    file = wrong_files.find_folders(repository.root)[0] / cache.build_path(name)
    try:
        cache.verify_file(file, name)
    except (OSError, CacheError):
        return None
    gate, evaluate = policy.gate, _adopt_threshold(repository, commit, policy).evaluate
    table = read_table(file, path)
    predictions = make_predictions(
        table,
        path,
        task=policy.task,
        slices=[],
        resample=gate.resample,
        days_together=gate.days_together,
        threshold=evaluate.threshold,
        costs=evaluate.costs,
        bins=evaluate.calibration_bins,
        row_metrics=policy.row_metrics,
    )
    return _Recorded(predictions, table[PLAIN_ROW] if PLAIN_ROW in table.column_names else None)


def _adopt_threshold(repository: Repository, commit: str, policy: Settings) -> Settings:
    """The settings with the threshold that the model of a commit brought itself, where params.yaml has none."""
    path = policy.review.files.name_report("metrics")
    content = repository.read_file(commit, path)
    written = evidence.decode(content, MetricsReport, f"{path} of {commit[:12]}") if content else None
    return settings.adopt_threshold(policy, written)


def _put_beside(main: _Recorded, earlier: _Recorded) -> Predictions | None:
    """Main's predictions with those of an earlier model as what they are compared with, row by row by their names.

    None where the two are not about the same rows, targets and classes.
    """
    own, other = main.predictions, earlier.predictions
    order = _find_order(main.rows, earlier.rows)
    if order is None or own.classes != other.classes or not np.array_equal(own.target, other.target[order]):
        return None
    return replace(own, champion=other.candidate[order], champion_threshold=other.candidate_threshold)


def _find_order(
    main: pyarrow.ChunkedArray | None, earlier: pyarrow.ChunkedArray | None
) -> NDArray[np.int64] | None:
    """At which place of the earlier rows each of main's is, (n,); None where they are not the same rows, each once."""
    import pyarrow.compute as arrow

    if main is None or earlier is None or main.type != earlier.type or len(main) != len(earlier):
        return None
    if not are_distinct(main) or not are_distinct(earlier):
        return None
    places = arrow.index_in(main, value_set=earlier.combine_chunks())
    return None if places.null_count else np.asarray(places.to_numpy(zero_copy_only=False), dtype=np.int64)


def _estimate(predictions: Predictions, policy: Settings) -> Interval | None:
    """The interval of the primary metric; None where its figures make none, or of one model alone no difference."""
    from bots.stats import intervals

    gate = policy.gate
    rows = intervals.choose_rows(predictions)
    measure = predictions.get_measure(gate.primary)
    return intervals.estimate_interval(rows, measure, confidence=gate.confidence)


def _assume(own: Interval | None) -> Interval | None:
    """The interval of a difference of nothing, from that of main's own figure."""
    if own is None or own.error is None:
        return None
    return replace(own, difference=0.0, error=ASSUMED_SHARE * own.error)
