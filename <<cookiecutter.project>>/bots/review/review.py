"""The review of a change: reproduce it, bring main's model, compare both on the same rows, judge, and say why."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bots import evidence, settings
from bots.dvc import lockfile, repro
from bots.dvc.command_line import DvcError
from bots.git.repository import Repository
from bots.layout import Layout
from bots.review import candidate as candidates
from bots.review import champion as champions
from bots.review import gate
from bots.review.candidate import Candidate
from bots.review.champion import (
    HOLDOUT,
    MODEL,
    ONNX,
    PREDICTIONS,
    RAW,
    SPLITS,
    Champion,
    ChampionUnavailable,
    score,
)
from bots.settings import Settings

if TYPE_CHECKING:
    from bots.review.comparison import Comparison
    from bots.review.holdout import HoldoutPredictions

Tell = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Compared:
    """What holding the candidate against the champion gave, or why it gave nothing."""

    comparison: Comparison | None = None
    disagreements: tuple[str, ...] = ()
    unavailable: str | None = None
    broken: str | None = None
    data_change: evidence.DriftReport | None = None
    notes: tuple[str, ...] = ()


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
    here = _settings_here(repository)
    candidate = candidates.reproduced(
        repository,
        base_commit,
        tell,
        pull=pull,
        retrain=retrain,
        jobs=jobs or repro.count_cores(),
        fork_server=here.review.fork_server,
    )
    with champions.of(repository, base_commit) as champion:
        # Without a model on main there is nothing that its gate was made for.
        policy = (_settings_at(repository, base_commit) if champion else None) or here
        compared = _compare(repository.root, candidate, champion, policy, here, tell)
        facts = _facts(candidate, champion, compared, policy, here)
        return _written(candidate, champion, compared, facts, policy)


def _settings_here(repository: Repository) -> Settings:
    try:
        text = (repository.root / "params.yaml").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise settings.SettingsError(f"params.yaml: cannot be read: {error}") from error
    return settings.parse(text, "params.yaml")


def _settings_at(repository: Repository, commit: str) -> Settings | None:
    """Main's settings; None where the commit has no params.yaml."""
    text = repository.read_text(commit, "params.yaml")
    return settings.parse(text, "main's params.yaml") if text else None


def _compare(
    root: Path, candidate: Candidate, champion: Champion | None, policy: Settings, here: Settings, tell: Tell
) -> Compared:
    if candidate.reproduction.failed or candidate.evaluation is None or candidate.broken:
        return Compared()
    if champion is not None and not lockfile.find_changed_outputs(champion.lock, candidate.lock):
        return Compared(comparison=unchanged(candidate.evaluation, policy))
    from bots.review import holdout

    threshold = here.evaluate.threshold
    try:
        tell("comparing with main on the holdout" if champion else "reading the holdout's predictions")
        made = holdout.of(root, here, candidate.evaluation)
        disagreements = made.disagreements(candidate.evaluation)
        if champion is None:
            return Compared(comparison=made.alone(policy, threshold), disagreements=disagreements)
        try:
            disagreements = _contradictions(root, candidate, made, here, tell) + disagreements
            comparison = _against(root, candidate, champion, made, policy, here, tell)
        except ChampionUnavailable as error:
            alone = made.alone(here, threshold)
            return Compared(comparison=alone, disagreements=disagreements, unavailable=str(error))
        change, notes = _data_change(root, candidate, champion, here, tell)
        return Compared(comparison=comparison, disagreements=disagreements, data_change=change, notes=notes)
    except holdout.PredictionsError as error:
        return Compared(broken=str(error))


def _contradictions(
    root: Path, candidate: Candidate, made: HoldoutPredictions, here: Settings, tell: Tell
) -> tuple[str, ...]:
    """Where a lock brought predictions that no stage made in this run, whether the model really gives them."""
    if candidate.made_here(PREDICTIONS):
        return ()
    tell("asking this change's model for its predictions again")
    try:
        return made.contradictions(score(root, here.review.score, root / HOLDOUT))
    except DvcError as error:
        return (f"{PREDICTIONS} cannot be checked against the model: {error}",)


def _against(
    root: Path,
    candidate: Candidate,
    champion: Champion,
    made: HoldoutPredictions,
    policy: Settings,
    here: Settings,
    tell: Tell,
) -> Comparison:
    """The comparison with main's model, each at its own decision threshold.

    Where the holdout is main's, main's record of it is the truth, and main's recorded scores, made by its own
    code with its own libraries, are used as long as no column of the rows changed. Else main's code scores the
    rows in a worktree.
    """
    if policy.task != here.task:
        raise ChampionUnavailable(f"main's model solves another task, a {policy.task}")
    evaluation = champion.report("metrics", evidence.MetricsReport)
    theirs = evaluation.threshold if evaluation else None
    truth = champion.predictions() if _same_holdout(candidate, champion) else None
    scores = truth
    if truth is None or champion.lock.find_digest(SPLITS) != candidate.lock.find_digest(SPLITS):
        tell("scoring this change's holdout with main's model and code")
        scores = champion.score(policy.review.score, root / HOLDOUT)
    return made.against(scores, truth, theirs, policy, here.evaluate.threshold)


def unchanged(evaluation: evidence.MetricsReport, policy: Settings) -> Comparison:
    """The comparison of a model with itself: every difference is exactly zero, nothing needs computing."""
    from bots.review.comparison import Comparison, role

    metrics = [
        evidence.MetricComparison(
            name=metric.name,
            direction=metric.direction,
            role=role(metric.name, policy.gate),
            champion=metric.value,
            candidate=metric.value,
            difference=0.0,
            low=0.0,
            high=0.0,
            matters=policy.gate.matters.get(metric.name, 0.0),
            outcome="equivalent",
            unit=metric.unit,
        )
        for metric in evaluation.metrics
    ]
    statistics = evidence.Statistics(
        rows=evaluation.rows,
        replicates=0,
        confidence=policy.gate.confidence,
        resampled=policy.gate.resample,
        units=0,
        slices_judged=0,
    )
    return Comparison(metrics=metrics, slices=[], statistics=statistics)


def _same_holdout(candidate: Candidate, champion: Champion | None) -> bool:
    if champion is None or candidate.split is None:
        return False
    theirs = champion.report("split", evidence.SplitReport)
    return theirs is not None and theirs.part("holdout").digest == candidate.split.part("holdout").digest


def _data_change(
    root: Path, candidate: Candidate, champion: Champion, here: Settings, tell: Tell
) -> tuple[evidence.DriftReport | None, tuple[str, ...]]:
    """Drift between the two training tables; nothing where they are the same or the project has no such command."""
    theirs = champion.report("split", evidence.SplitReport)
    if theirs is None or candidate.split is None or here.review.drift is None:
        return None, ()
    if theirs.part("train").digest == candidate.split.part("train").digest:
        return None, ()
    tell("comparing this change's training data with main's")
    try:
        return champion.drift(here.review.drift, root), ()
    except ChampionUnavailable as error:
        return None, (str(error),)


def _facts(
    candidate: Candidate, champion: Champion | None, compared: Compared, policy: Settings, here: Settings
) -> gate.Facts:
    main_lock = champion.lock if champion else lockfile.Lock()
    return gate.Facts(
        champion=champion is not None,
        champion_unavailable=compared.unavailable,
        comparison=compared.comparison,
        refusal=candidate.refusal,
        failed_stage=candidate.reproduction.failed,
        broken=candidate.broken or compared.broken,
        holdout_same=champion is None or _same_holdout(candidate, champion),
        not_reproduced=tuple(_not_reproduced(candidate, policy)),
        disagreements=compared.disagreements,
        data=candidate.data,
        export=candidate.export,
        explanation=candidate.explanation,
        evaluation=candidate.evaluation,
        nothing_changed=champion is not None and not lockfile.find_changed_outputs(main_lock, candidate.lock),
        gate_changed=(here.gate, here.evaluate.costs) != (policy.gate, policy.evaluate.costs),
    )


def _not_reproduced(candidate: Candidate, policy: Settings) -> list[str]:
    """Stages that contradict the committed lock. Other bytes with the same metrics, as another processor's
    rounding makes them, are no contradiction: what counts is what the commit claims of the model."""
    stages = lockfile.find_not_reproduced(candidate.committed, candidate.lock)
    claimed, found = candidate.claimed, candidate.evaluation
    if not stages or claimed is None or found is None or claimed.holdout != found.holdout:
        return stages
    return [] if same_metrics(claimed.values, found.values, policy.gate.matters) else stages


def same_metrics(claimed: dict[str, float], found: dict[str, float], matters: dict[str, float]) -> bool:
    """Whether two sets of metrics agree to a tenth of what matters (to 1e-6 where nothing is said to matter)."""
    return set(claimed) == set(found) and all(
        abs(claimed[name] - found[name]) <= max(matters.get(name, 0) / 10, 1e-6) for name in claimed
    )


def _written(
    candidate: Candidate,
    champion: Champion | None,
    compared: Compared,
    facts: gate.Facts,
    policy: Settings,
) -> evidence.Review:
    judgement = gate.judge(facts, policy.gate)
    comparison = compared.comparison
    main_lock = champion.lock if champion else lockfile.Lock()
    main_evaluation = champion.report("metrics", evidence.MetricsReport) if champion else None
    main_explanation = champion.report("explanation", evidence.ExplanationReport) if champion else None
    return evidence.Review(
        title=policy.project.title,
        task=policy.task,
        verdict=judgement.verdict,
        reason=judgement.reason,
        headline=judgement.headline,
        passed=judgement.passed,
        candidate=_revision(candidate.commit, candidate.lock, candidate.split, dirty=bool(candidate.dirty)),
        champion=_champion_revision(champion),
        rules=judgement.rules,
        causes=_causes(candidate, champion, policy.review.files),
        stages=_stages(candidate, main_lock),
        metrics=comparison.metrics if comparison else [],
        slices=comparison.slices if comparison else [],
        shifts=shifts(main_explanation, candidate.explanation),
        statistics=comparison.statistics if comparison else None,
        evaluation=candidate.evaluation,
        champion_calibration=main_evaluation.calibration if main_evaluation else [],
        training=candidate.training,
        explanation=candidate.explanation,
        data=candidate.data,
        split=candidate.split,
        drift=candidate.drift,
        data_change=compared.data_change,
        export=candidate.export,
        refusal=candidate.refusal,
        on_merge=_on_merge(candidate, main_lock),
        notes=_notes(candidate, compared, facts),
    )


def _revision(
    commit: str, locked: lockfile.Lock, split: evidence.SplitReport | None, *, dirty: bool = False
) -> evidence.Revision:
    return evidence.Revision(
        commit=commit,
        model=locked.find_digest(MODEL),
        onnx=locked.find_digest(ONNX),
        data=locked.find_digest(RAW),
        holdout=split.part("holdout").digest if split else None,
        dirty=dirty,
    )


def _champion_revision(champion: Champion | None) -> evidence.Revision | None:
    if champion is None:
        return None
    return _revision(champion.commit, champion.lock, champion.report("split", evidence.SplitReport))


def _causes(candidate: Candidate, champion: Champion | None, files: Layout) -> list[evidence.Cause]:
    """Why the results differ from main's: from the locks, and from the libraries that training recorded."""
    if champion is None:
        return []
    found = lockfile.find_causes(champion.lock, candidate.lock, files)
    theirs = champion.report("training", evidence.TrainingReport)
    if theirs is None or candidate.training is None:
        return found
    libraries = library_changes(theirs.environment, candidate.training.environment)
    merged = {cause.kind: list(cause.changes) for cause in found}
    if libraries:
        merged["environment"] = [*merged.get("environment", []), *libraries]
    return [evidence.Cause(kind=kind, changes=changes) for kind, changes in merged.items()]


def library_changes(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """Libraries whose version differs between two trainings: `scikit-learn 1.9.0 → 1.9.1`."""
    return [
        f"{name} {before.get(name, 'absent')} → {after.get(name, 'absent')}"
        for name in sorted(set(before) | set(after))
        if before.get(name) != after.get(name)
    ]


def _stages(candidate: Candidate, main_lock: lockfile.Lock) -> list[evidence.StageRun]:
    changed = lockfile.find_changed_outputs(main_lock, candidate.lock)
    runs = []
    for name, state in candidate.reproduction.states.items():
        stage = candidate.lock.stages.get(name)
        wrote = stage is not None and any(path in changed for path in stage.outs)
        runs.append(evidence.StageRun(name=name, state=state, changed=wrote and state != "not reached"))
    return runs


def shifts(
    champion: evidence.ExplanationReport | None, candidate: evidence.ExplanationReport | None
) -> list[evidence.ImportanceShift]:
    """How each feature's share of the explanation moved, the largest move first."""
    if champion is None or candidate is None:
        return []
    before = {item.feature: item for item in champion.ranking}
    after = {item.feature: item for item in candidate.ranking}
    moved = [
        evidence.ImportanceShift(
            feature=name,
            champion=before[name].share if name in before else None,
            candidate=after[name].share if name in after else None,
            direction_flipped=_flipped(before.get(name), after.get(name)),
        )
        for name in [*after, *(name for name in before if name not in after)]
    ]
    return sorted(moved, key=lambda shift: -abs((shift.candidate or 0) - (shift.champion or 0)))


def _flipped(before: evidence.Importance | None, after: evidence.Importance | None) -> bool:
    """Whether a clear direction (rank correlation beyond a half) turned into its opposite."""
    if before is None or after is None or before.direction is None or after.direction is None:
        return False
    return before.direction * after.direction < 0 and min(abs(before.direction), abs(after.direction)) > 0.5


def _on_merge(candidate: Candidate, main_lock: lockfile.Lock) -> list[str]:
    old, new = main_lock.find_digest(MODEL), candidate.lock.find_digest(MODEL)
    if candidate.reproduction.failed or new is None:
        return ["Nothing can be merged yet: the pipeline stopped, so there is no model to judge."]
    if old == new:
        return [f"Main keeps the model it has ({new})."]
    replaced = f"{new} becomes main's model" + (f", in the place of {old}." if old else ", its first.")
    if lockfile.find_stale(candidate.committed, candidate.lock):
        return [
            replaced,
            "dvc.lock and reports/ of this branch are not committed yet. On GitHub the lock bot does it; elsewhere "
            "commit them and run `python -m bots storage push`, so that what merges is what was judged.",
        ]
    return [replaced, "dvc.lock of this branch already names it: what merges is what was judged."]


def _notes(candidate: Candidate, compared: Compared, facts: gate.Facts) -> list[str]:
    notes = list(compared.notes)
    if candidate.dirty:
        shown = ", ".join(candidate.dirty[:5]) + (", …" if len(candidate.dirty) > 5 else "")
        notes.append(f"The work tree differs from its commit: {shown}.")
    if not facts.nothing_changed and not candidate.made_here(MODEL) and not candidate.reproduction.failed:
        notes.append(
            "No training ran here: the model is the one that the author's dvc.lock names, scored again."
        )
    different = lockfile.find_not_reproduced(candidate.committed, candidate.lock)
    if different and not facts.not_reproduced:
        notes.append(
            f"{', '.join(different)} gave other bytes than the committed dvc.lock with the same metrics, as "
            "another processor may. What was judged is what this run made."
        )
    if facts.gate_changed:
        notes.append(
            "This change edits the gate; main's gate judged it. The edit takes effect after the merge."
        )
    return notes
