"""Reviews a change: reproduce it, bring main's model, compare both on the same rows, judge, and say why."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from bots import evidence, layout, settings
from bots.dvc import cache, lockfile, repro
from bots.dvc.command_line import DvcError
from bots.dvc.storage import prepare_storage
from bots.dvc.unread import require_project
from bots.dvc.wrong_files import find_folders, forget_state, remove_wrong_files
from bots.errors import BotsError
from bots.git.bare import find_folder
from bots.git.repository import Repository
from bots.naming import make_naming
from bots.review.callers import try_callers
from bots.review.candidate import Checkout, prepare_checkout, reproduce_candidate
from bots.review.champion import (
    Champion,
    ChampionTampered,
    ChampionUnavailable,
    open_champion,
    read_models,
    read_side,
    score_rows,
)
from bots.review.confirm import confirm_on_fresh_rows
from bots.review.facts import (
    Candidate,
    Compared,
    Facts,
    NoBaseline,
    NotCompared,
    Side,
    Tampered,
    Unavailable,
    have_same_holdout,
)
from bots.review.gate import apply_gate
from bots.review.review_json import build_review
from bots.review.seen import look_for_seen_rows
from bots.settings import MAIN_MODEL, Settings, require_model
from bots.verdict.confirmation import wants_confirmation
from bots.verdict.looks import LookCount, judge_at_look
from bots.verdict.moved import is_comparable

if TYPE_CHECKING:
    import pyarrow

    from bots.review.holdout import HoldoutPredictions
    from bots.review.moved import Moved
    from bots.stats.predictions import Predictions
    from bots.verdict.comparison import Comparison

Tell = Callable[[str], None]
CountLooks = Callable[[set[str], str], LookCount]
"""Counts the models that holdouts have judged, from their digests and that of the model at hand."""


class ReviewCrashed(BotsError):
    """The review of one model of several ended by a mistake of the bots; its traceback is in the log."""


@dataclass(frozen=True, kw_only=True)
class Commits:
    """What a review holds against each other, before it looks at one model.

    `base` is main's commit. `own` and `mains` are the settings of both by the model's name; main's are empty where it
    has no params.yaml.
    """

    base: str
    checkout: Checkout
    own: Mapping[str | None, Settings]
    mains: Mapping[str | None, Settings]

    @property
    def models(self) -> list[str | None]:
        """The models that are reviewed: those that main declares, or else the change; the main one is None."""
        return list(self.mains or self.own)

    def get_settings(self, model: str | None) -> Settings:
        """The change's settings of a model; main's where the change does not declare it any more."""
        return self.own[model] if model in self.own else self.mains[model]

    def get_announced(self, model: str | None) -> Settings | None:
        """Main's settings of a further model that it declares; None of the main one, and where it declares none so."""
        return None if model is None else self.mains.get(model)

    def get_policy(self, model: str | None) -> Settings:
        """The settings that say what belongs to a model: main's, where it has some."""
        return (self.mains or self.own)[model]


def review_models(
    repository: Repository,
    base: str,
    *,
    only: str | None = None,
    pull: bool = False,
    retrain: bool = False,
    jobs: int | None = None,
    count_looks: CountLooks,
    tell: Tell,
) -> Iterator[tuple[str | None, evidence.Review | BotsError]]:
    """Review every model of the checkout against a base commit: its name, None for the main one, and its review.

    Where the project has several models, an error of one takes the place of its review, and the next has its turn.
    `only` names the one that is reviewed. `jobs` stages are reproduced at once, by default one on a core. Raises
    `GitError`, `DvcError`, `SettingsError`, `LockfileError`, `CacheError` or `StorageError` where no review can be made
    at all; everything else that goes wrong is the review's verdict.
    """
    require_project(repository.root)
    base_commit = repository.resolve(base)
    repository.remove_abandoned_worktrees()
    own, mains = settings.load_models(repository.root), read_models(repository, base_commit)
    if only is not None:
        require_model(mains or own, only, "main's " if mains else "")
    with forget_state():
        removed = _prepare_files(repository, base_commit, pull=pull, tell=tell)
        judged = [one.review.files.model for one in own.values()]
        checkout = prepare_checkout(
            repository, base_commit, models=judged, pull=pull, retrain=retrain, tell=tell
        )
        commits = Commits(
            base=base_commit,
            checkout=replace(checkout, removed=(*removed, *checkout.removed)),
            own=own,
            mains=mains,
        )
        for model in commits.models if only is None else [only]:
            if len(commits.models) > 1:
                tell(f"reviewing {model or MAIN_MODEL}")
            yield (
                model,
                _try_review(repository, commits, model, jobs=jobs, count_looks=count_looks, tell=tell),
            )


def _try_review(
    repository: Repository,
    commits: Commits,
    model: str | None,
    *,
    jobs: int | None,
    count_looks: CountLooks,
    tell: Tell,
) -> evidence.Review | BotsError:
    """The review of a model, or the error that kept it from being made where other models have their turn after it."""
    alone = len(commits.models) == 1
    try:
        return review(
            repository,
            commits,
            model,
            jobs=jobs or repro.count_cores(),
            count_looks=count_looks,
            tell=tell,
        )
    except BotsError as error:
        if alone:
            raise
        return error
    except Exception as error:
        if alone:
            raise
        traceback.print_exc()
        return ReviewCrashed(f"the review of {model or MAIN_MODEL} crashed ({type(error).__name__}: {error})")


def review(
    repository: Repository,
    commits: Commits,
    model: str | None,
    *,
    jobs: int,
    count_looks: CountLooks,
    tell: Tell,
) -> evidence.Review:
    """Review one model of a change; `model` is its name, None for the main one. Raises what `review_models` does."""
    base, checkout, own = commits.base, commits.checkout, commits.get_settings(model)
    main = read_side(repository, base, own)
    expected: list[evidence.Sensitivity] = []
    candidate = reproduce_candidate(
        repository,
        base,
        own,
        checkout=checkout,
        policy=commits.get_policy(model),
        jobs=jobs,
        before=lambda: expected.extend(_expect(repository, base, model, tell)),
        tell=tell,
    )
    changed = tuple(repository.list_changed_paths(base, candidate.commit))
    # By main's name of the project: a change that renames it moves none of what belongs to it out of sight.
    named = commits.get_policy(model).project.name
    placed = make_naming(named, find_folder(repository.root)).placed
    with open_champion(repository, base, own, candidate.removed, tell=tell) as champion:
        policy = champion.side.settings if champion else commits.get_announced(model) or own
        candidate = _try_committed(repository, candidate, policy, jobs=jobs, tell=tell)
        facts = Facts(
            candidate=candidate,
            champion=champion.side if champion else None,
            result=_compare(repository, candidate, champion, changed=changed, jobs=jobs, tell=tell),
            changed=tuple(repository.list_changed_paths(base, candidate.commit, at_root=placed)),
            base=base,
            expected=next(iter(expected), None),
            deployed=any(repository.has_path(base, path) for path in (layout.COMPOSE, layout.KUBERNETES)),
            unnamed=main if champion is None else None,
            declared=_find_declared_models(repository, base),
            announced=commits.get_announced(model),
        )
        facts = _judge_at_look(facts, count_looks, tell)
        facts = _ask_fresh_rows(facts, repository.root, champion, tell)
    if candidate.refusal is None:
        contracts, found = try_callers(
            repository, base, candidate.files.onnx, model, tell, models={*commits.models, *commits.own}
        )
        facts = replace(facts, contracts=contracts, callers=found)
    removed = [*candidate.removed, *(champion.removed if champion else [])]
    facts = replace(facts, removed=tuple(dict.fromkeys(removed)))
    return build_review(facts, apply_gate(facts))


def _find_declared_models(repository: Repository, base: str) -> frozenset[str]:
    """The paths of the models that dvc.yaml declares, here or at the base."""
    path = repository.root / layout.DVC_YAML
    here = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else None
    texts = (here, repository.read_text(base, layout.DVC_YAML))
    return frozenset(place for text in texts for place in settings.list_declared_models(text).values())


def _expect(
    repository: Repository, base: str, model: str | None, tell: Tell
) -> Iterator[evidence.Sensitivity]:
    """Say what main's holdout can show, before anything is trained; nothing where main has no model at hand."""
    from bots.review.expectation import expect_sensitivity

    tell("asking what main's holdout can show")
    expected = expect_sensitivity(repository, base, model)
    if expected is not None:
        tell(expected.words)
        yield expected.sensitivity


def _prepare_files(repository: Repository, base: str, *, pull: bool, tell: Tell) -> list[str]:
    """Remove what is stored under a wrong name, then bring what is missing within DVC's reach.

    Returns the paths of what was removed. Raises what `prepare_storage` raises.
    """
    root = repository.root
    tell("hashing again what DVC's cache holds")
    named = {**cache.map_named_digests(root), **cache.map_named_digests(root, base)}
    removed = remove_wrong_files(find_folders(root), named)
    if pull:
        tell("fetching from storage")
        prepare_storage(root, [base], tell)
    return removed


def _try_committed(
    repository: Repository, candidate: Candidate, policy: Settings, *, jobs: int, tell: Tell
) -> Candidate:
    """The change with its committed model, where that is another than what training gave here and may be judged."""
    if not lockfile.find_not_reproduced(candidate.committed, candidate.lock):
        return candidate
    from bots.review.training_spread import try_committed

    return try_committed(repository, candidate, policy, jobs=jobs, tell=tell)


def _compare(
    repository: Repository,
    candidate: Candidate,
    champion: Champion | None,
    *,
    changed: tuple[str, ...],
    jobs: int,
    tell: Tell,
) -> NotCompared | NoBaseline | Unavailable | Compared:
    root, written = repository.root, candidate.reports.metrics
    if candidate.reproduction.failed or written is None or candidate.reports.broken:
        return NotCompared()
    if champion is not None and not lockfile.find_changed_outputs(champion.side.lock, candidate.lock):
        return Compared(comparison=compare_with_itself(written, champion.side.settings))
    from bots.review import holdout

    try:
        tell("comparing with main on the holdout" if champion else "reading the holdout's predictions")
        predictions = holdout.load_predictions(root, candidate.settings, written)
        disagreements = predictions.find_disagreements(written)
        look = partial(
            look_for_seen_rows, root, candidate, champion, changed=(*changed, *candidate.dirty), tell=tell
        )
        if champion is None:
            return NoBaseline(
                comparison=predictions.summarize(), disagreements=disagreements, seen=look(holdout=None)
            )
        contradictions, unrepeated = _find_contradictions(root, candidate, predictions, tell)
        disagreements = contradictions + disagreements
        try:
            moved = _look_at_moved(root, candidate, champion, tell)
            judging = moved.keep_judging(predictions) if moved else predictions
            comparison, pair = _compare_with_champion(
                repository, candidate, champion, predictions=judging, moved=moved, jobs=jobs, tell=tell
            )
        except ChampionUnavailable as error:
            kind = Tampered if isinstance(error, ChampionTampered) else Unavailable
            return kind(
                comparison=predictions.summarize(),
                disagreements=disagreements,
                unrepeated=unrepeated,
                reason=str(error),
            )
        change, failure = _compare_data(root, candidate, champion, tell)
        return Compared(
            comparison=comparison,
            disagreements=disagreements,
            unrepeated=unrepeated,
            seen=look(holdout=_find_pair(candidate, champion, predictions, moved=moved, pair=pair)),
            data_change=change,
            data_change_failure=failure,
            champion_unconfirmed=_explain_unconfirmed(champion.side),
            moved=moved.found if moved else None,
        )
    except holdout.PredictionsError as error:
        return NotCompared(broken=str(error))


def _judge_at_look(facts: Facts, count_looks: CountLooks, tell: Tell) -> Facts:
    """The facts with the looks at the holdout, and what they leave of an improvement. Main's own model is no look."""
    result, candidate = facts.result, facts.candidate
    if not isinstance(result, Compared) or facts.nothing_changed:
        return facts
    tell("counting the looks at the holdout")
    holdout, model = candidate.find_rows_digest("holdout"), candidate.model
    if holdout is None or model is None:
        looks = LookCount(count=1, unknown="the pipeline names no digest of its holdout and of its model")
    else:
        looks = count_looks(facts.counted_holdouts, model)
    judged = judge_at_look(result.comparison, facts.policy.gate, looks.count)
    return replace(facts, result=replace(result, comparison=judged), looks=looks)


def _ask_fresh_rows(facts: Facts, root: Path, champion: Champion | None, tell: Tell) -> Facts:
    """The facts with what fresh rows say of an improvement, where they have a say."""
    result = facts.result
    if champion is None or not isinstance(result, Compared) or not wants_confirmation(result.comparison):
        return facts
    found = confirm_on_fresh_rows(root, facts.candidate, champion, tell)
    return replace(facts, result=replace(result, comparison=replace(result.comparison, confirmation=found)))


def _find_contradictions(
    root: Path, candidate: Candidate, predictions: HoldoutPredictions, tell: Tell
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Where a lock brought predictions that no stage made in this run, whether the model really gives them.

    What contradicts them, and which metrics that rows bring came out otherwise, which contradicts nothing.
    """
    files = candidate.files
    if candidate.has_made(files.predictions):
        return (), ()
    tell("asking this change's model for its predictions again")
    try:
        scored = score_rows(root, candidate.settings.review.score, root / files.holdout_rows)
        return predictions.find_contradictions(scored), predictions.find_unrepeated(scored)
    except DvcError as error:
        return (f"{files.predictions} cannot be checked against the model: {error}",), ()


def _compare_with_champion(
    repository: Repository,
    candidate: Candidate,
    champion: Champion,
    *,
    predictions: HoldoutPredictions,
    moved: Moved | None,
    jobs: int,
    tell: Tell,
) -> tuple[Comparison, Predictions]:
    """The comparison with main's model, each at its own decision threshold; with further seeds where one says much.

    Where the holdout is main's, main's record of it is the truth, and main's recorded scores, made by its own
    code with its own libraries, are used as long as no column of the rows changed. Else main's code scores the
    rows in a worktree. Beside it both models' predictions, as they were compared.
    """
    main = champion.side
    if main.settings.task != candidate.settings.task:
        raise ChampionUnavailable(f"main's model solves another task, {main.settings.task}")
    truth = _load_truth(champion) if moved is None else None
    scores = truth
    if truth is None or not lockfile.have_same_rows(main.rows, candidate.rows):
        tell("scoring this change's holdout with main's model and code")
        scores = champion.score(repository.root / candidate.files.holdout_rows)
    pair = replace(
        predictions.pair_with(scores, truth=truth, policy=main.settings),
        champion_threshold=main.reports.metrics.threshold if main.reports.metrics else None,
    )
    from bots.verdict import comparison, seeds

    found = comparison.compare(pair, main.settings)
    judged = moved is None or is_comparable(moved.found)
    if not judged or found.seedless or not seeds.wants_more_seeds(found.metrics, main.settings.gate):
        return found, pair
    from bots.review.seeds import study_seeds

    studied = study_seeds(
        repository,
        candidate,
        main,
        pair=pair,
        predictions=predictions,
        one_seed=seeds.find_primary_outcome(found.metrics),
        jobs=jobs,
        tell=tell,
    )
    return comparison.compare(pair, main.settings, studied), pair


def _look_at_moved(root: Path, candidate: Candidate, champion: Champion, tell: Tell) -> Moved | None:
    """What there is to say of a holdout that is not main's; None where it is. Raises `ChampionUnavailable`."""
    if have_same_holdout(candidate, champion.side):
        return None
    from bots.review.moved import look_at_moved_holdout, refuse_another_table

    refuse_another_table(root, candidate, champion.side)
    return look_at_moved_holdout(
        root, candidate, champion, load_truth=lambda: _load_truth(champion), tell=tell
    )


def _load_truth(champion: Champion) -> pyarrow.Table:
    """Main's own predictions on main's holdout, confirmed. Raises `ChampionUnavailable` and `ChampionTampered`."""
    truth = champion.load_predictions()
    _confirm_champion(champion.side, truth)
    return truth


def _find_pair(
    candidate: Candidate,
    champion: Champion,
    predictions: HoldoutPredictions,
    *,
    moved: Moved | None,
    pair: Predictions,
) -> Callable[[], Predictions] | None:
    """What gives both models' scores, where both were judged on the same rows; `pair` as they were compared."""
    if moved is not None:
        return (lambda: pair) if is_comparable(moved.found) else None

    def load_pair() -> Predictions:
        truth = champion.load_predictions()
        return predictions.pair_with(truth, truth=truth, policy=champion.side.settings)

    return load_pair


def _confirm_champion(main: Side, truth: pyarrow.Table) -> None:
    """Raise `ChampionTampered` where main's stored predictions do not give the figures of main's metrics.json."""
    from bots.review import holdout

    written, path = main.reports.metrics, main.files.predictions
    if written is None:
        return
    try:
        found = [*holdout.find_disagreements(truth, written, main.settings)]
    except holdout.PredictionsError as error:
        found = [str(error)]
    if len(truth) != written.rows:
        found.insert(0, f"{written.rows:,} rows were judged, the file has {len(truth):,}")
    if found:
        raise ChampionTampered(
            f"the stored {path} of main does not give the figures of main's {main.files.name_report('metrics')} in git "
            f"({'; '.join(found[:3])})"
        )


def _explain_unconfirmed(main: Side) -> str | None:
    """Why main's stored predictions could not be held against main's own figures; None where they were."""
    if main.reports.metrics is not None:
        return None
    return (
        f"Main's commit has no {main.files.name_report('metrics')} that can be read, so nobody can tell whether the "
        "stored predictions of main are those that it was merged with."
    )


def compare_with_itself(written: evidence.MetricsReport, policy: Settings) -> Comparison:
    """The comparison of a model with itself: every difference is exactly zero, nothing needs computing."""
    from bots.verdict.comparison import Comparison, find_role

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
            inner_low=0.0,
            inner_high=0.0,
        )
        for metric in written.metrics
    ]
    statistics = evidence.Statistics(
        rows=written.rows,
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
