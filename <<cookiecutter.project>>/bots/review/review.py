"""Reviews a change: reproduce it, bring main's model, compare both on the same rows, judge, and say why."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from bots import evidence, settings
from bots.dvc import lockfile, repro
from bots.dvc.command_line import DvcError
from bots.git.repository import Repository
from bots.review.candidate import reproduce_candidate
from bots.review.champion import Champion, ChampionUnavailable, open_champion, score_rows
from bots.review.facts import (
    Candidate,
    Compared,
    Facts,
    NoBaseline,
    NotCompared,
    Unavailable,
    have_same_holdout,
)
from bots.review.gate import apply_gate
from bots.review.review_json import build_review
from bots.settings import Settings

if TYPE_CHECKING:
    from bots.review.comparison import Comparison
    from bots.review.holdout import HoldoutPredictions

Tell = Callable[[str], None]


def review(
    repository: Repository,
    base: str,
    *,
    pull: bool = False,
    retrain: bool = False,
    jobs: int | None = None,
    tell: Tell,
) -> evidence.Review:
    """Review the checkout against a base commit.

    Raises `GitError`, `DvcError`, `SettingsError` or `LockfileError` where no review can be made at all; everything
    else that goes wrong is the review's verdict. `jobs` stages are reproduced at once, by default one on a core.
    """
    base_commit = repository.resolve(base)
    own = settings.load_settings(repository.root)
    candidate = reproduce_candidate(
        repository,
        base_commit,
        own,
        pull=pull,
        retrain=retrain,
        jobs=jobs or repro.count_cores(),
        tell=tell,
    )
    with open_champion(repository, base_commit, own) as champion:
        result = _compare(repository.root, candidate, champion, tell)
    facts = Facts(candidate=candidate, champion=champion.side if champion else None, result=result)
    return build_review(facts, apply_gate(facts))


def _compare(
    root: Path, candidate: Candidate, champion: Champion | None, tell: Tell
) -> NotCompared | NoBaseline | Unavailable | Compared:
    written = candidate.reports.metrics
    if candidate.reproduction.failed or written is None or candidate.reports.broken:
        return NotCompared()
    if champion is not None and not lockfile.find_changed_outputs(champion.side.lock, candidate.lock):
        return Compared(comparison=compare_with_itself(written, champion.side.settings))
    from bots.review import holdout

    try:
        tell("comparing with main on the holdout" if champion else "reading the holdout's predictions")
        predictions = holdout.load_predictions(root, candidate.settings, written)
        disagreements = predictions.find_disagreements(written)
        if champion is None:
            return NoBaseline(comparison=predictions.summarize(), disagreements=disagreements)
        disagreements = _find_contradictions(root, candidate, predictions, tell) + disagreements
        try:
            comparison = _compare_with_champion(root, candidate, champion, predictions=predictions, tell=tell)
        except ChampionUnavailable as error:
            alone = predictions.summarize()
            return Unavailable(comparison=alone, disagreements=disagreements, reason=str(error))
        change, failure = _compare_data(root, candidate, champion, tell)
        return Compared(
            comparison=comparison,
            disagreements=disagreements,
            data_change=change,
            data_change_failure=failure,
        )
    except holdout.PredictionsError as error:
        return NotCompared(broken=str(error))


def _find_contradictions(
    root: Path, candidate: Candidate, predictions: HoldoutPredictions, tell: Tell
) -> tuple[str, ...]:
    """Where a lock brought predictions that no stage made in this run, whether the model really gives them."""
    files = candidate.files
    if candidate.has_made(files.predictions):
        return ()
    tell("asking this change's model for its predictions again")
    try:
        scored = score_rows(root, candidate.settings.review.score, root / files.holdout_rows)
        return predictions.find_contradictions(scored)
    except DvcError as error:
        return (f"{files.predictions} cannot be checked against the model: {error}",)


def _compare_with_champion(
    root: Path, candidate: Candidate, champion: Champion, *, predictions: HoldoutPredictions, tell: Tell
) -> Comparison:
    """The comparison with main's model, each at its own decision threshold.

    Where the holdout is main's, main's record of it is the truth, and main's recorded scores, made by its own
    code with its own libraries, are used as long as no column of the rows changed. Else main's code scores the
    rows in a worktree.
    """
    main = champion.side
    if main.settings.task != candidate.settings.task:
        raise ChampionUnavailable(f"main's model solves another task, a {main.settings.task}")
    truth = champion.load_predictions() if have_same_holdout(candidate, main) else None
    scores = truth
    if truth is None or main.splits != candidate.splits:
        tell("scoring this change's holdout with main's model and code")
        scores = champion.score(root / candidate.files.holdout_rows)
    return predictions.compare_with(
        scores,
        truth=truth,
        threshold=main.reports.metrics.threshold if main.reports.metrics else None,
        policy=main.settings,
    )


def compare_with_itself(written: evidence.MetricsReport, policy: Settings) -> Comparison:
    """The comparison of a model with itself: every difference is exactly zero, nothing needs computing."""
    from bots.review.comparison import Comparison, find_role

    metrics = [
        evidence.MetricComparison(
            name=metric.name,
            direction=metric.direction,
            role=find_role(metric.name, policy.gate),
            champion=metric.value,
            candidate=metric.value,
            difference=0.0,
            low=0.0,
            high=0.0,
            matters=policy.gate.matters.get(metric.name, 0.0),
            outcome="equivalent",
            unit=metric.unit,
        )
        for metric in written.metrics
    ]
    statistics = evidence.Statistics(
        rows=written.rows,
        replicates=0,
        confidence=policy.gate.confidence,
        resampled=policy.gate.resample,
        units=0,
        slices_judged=0,
    )
    return Comparison(metrics=metrics, slices=[], statistics=statistics)


def _compare_data(
    root: Path, candidate: Candidate, champion: Champion, tell: Tell
) -> tuple[evidence.DriftReport | None, str | None]:
    """Drift between the two training tables, or why it is not known; neither where they are the same rows."""
    command, rows = candidate.settings.review.drift, candidate.find_rows_digest("train")
    before = champion.side.find_rows_digest("train")
    if command is None or rows is None or before is None or rows == before:
        return None, None
    tell("comparing this change's training data with main's")
    try:
        current = root / candidate.files.training_rows
        return champion.compare_training_rows(command, root=root, rows=current), None
    except ChampionUnavailable as error:
        return None, str(error)
