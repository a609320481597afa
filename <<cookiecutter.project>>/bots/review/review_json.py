"""Writes down what a review found out and decided: the value that `review.json` holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import structs

from bots import evidence, layout
from bots.dvc import lockfile
from bots.render.moved import warn_of_choice
from bots.review.facts import Compared, NotCompared
from bots.verdict.looks import describe_looks
from bots.verdict.rules import find_primary
from bots.verdict.sentences import cut

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from bots.evidence import ExplanationReport, Importance
    from bots.review.facts import Candidate, Facts, Side
    from bots.verdict.conclusion import GateResult

SHOWN_PATHS = 5
SHOWN_PLACES = 20


def build_review(facts: Facts, result: GateResult) -> evidence.Review:
    """The review of a change from its facts and what the gate made of them."""
    candidate, champion, comparison = facts.candidate, facts.champion, facts.comparison
    reports = candidate.reports
    return evidence.Review(
        title=facts.policy.title,
        model_name=candidate.settings.model_name,
        task=facts.policy.task,
        verdict=result.verdict,
        reason=result.reason,
        headline=result.headline,
        passed=result.passed,
        base=facts.base,
        candidate=_describe_side(candidate, dirty=bool(candidate.dirty)),
        champion=_describe_side(champion) if champion else None,
        rules=result.rules,
        causes=_find_causes(candidate, champion),
        stages=_list_stages(candidate, champion),
        metrics=comparison.metrics if comparison else [],
        slices=comparison.slices if comparison else [],
        classes=comparison.classes if comparison else [],
        confusion=comparison.confusion if comparison else [],
        champion_confusion=comparison.champion_confusion if comparison else [],
        shifts=compare_importances(champion.reports.explanation if champion else None, reports.explanation),
        statistics=structs.replace(comparison.statistics, expected=facts.expected) if comparison else None,
        seeds=comparison.seeds if comparison else None,
        looks=_describe_looks(facts),
        confirmation=comparison.confirmation if comparison else None,
        evaluation=reports.metrics,
        champion_calibration=champion.reports.metrics.calibration
        if champion and champion.reports.metrics
        else [],
        training=reports.training,
        explanation=reports.explanation,
        data=reports.data,
        split=reports.split,
        drift=reports.drift,
        data_change=facts.result.data_change if isinstance(facts.result, Compared) else None,
        export=reports.export,
        refusal=candidate.refusal,
        on_merge=_tell_of_merge(candidate, champion),
        notes=list(_note(facts)),
        copied_rows=list(facts.seen.copied) if facts.seen else [],
        fit_gap=facts.seen.gap if facts.seen else None,
        moved=facts.moved,
        spread=candidate.spread,
    )


def _describe_looks(facts: Facts) -> evidence.Looks | None:
    if facts.looks is None:
        return None
    gate = facts.policy.gate
    return describe_looks(find_primary(facts.comparison, gate), gate.confidence, facts.looks)


def _describe_side(side: Side, *, dirty: bool = False) -> evidence.Revision:
    return evidence.Revision(
        commit=side.commit,
        model=side.model,
        onnx=side.lock.find_digest(side.files.onnx),
        data=side.lock.find_digest(side.files.raw),
        holdout=side.find_rows_digest("holdout"),
        dirty=dirty,
    )


def _find_causes(candidate: Candidate, champion: Side | None) -> list[evidence.Cause]:
    """Why the results differ from main's: from the locks, and from the libraries that training recorded."""
    if champion is None:
        return []
    causes = lockfile.find_causes(champion.lock, candidate.lock, candidate.files)
    before, after = champion.reports.training, candidate.reports.training
    libraries = compare_libraries(before.environment, after.environment) if before and after else []
    if not libraries:
        return causes
    changes = {cause.kind: list(cause.changes) for cause in causes}
    changes["environment"] = [*changes.get("environment", []), *libraries]
    return lockfile.order_causes(changes)


def compare_libraries(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """Libraries whose version differs between two trainings: `scikit-learn 1.9.0 → 1.9.1`."""
    return [
        f"{name} {before.get(name, 'absent')} → {after.get(name, 'absent')}"
        for name in sorted(set(before) | set(after))
        if before.get(name) != after.get(name)
    ]


def _list_stages(candidate: Candidate, champion: Side | None) -> list[evidence.StageRun]:
    changed = lockfile.find_changed_outputs(champion.lock if champion else lockfile.Lock(), candidate.lock)
    runs = []
    for name, state in candidate.reproduction.states.items():
        stage = candidate.lock.stages.get(name)
        wrote = stage is not None and any(path in changed for path in stage.outs)
        runs.append(evidence.StageRun(name=name, state=state, changed=wrote and state != "not reached"))
    return runs


def compare_importances(
    champion: ExplanationReport | None, candidate: ExplanationReport | None
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
            direction_flipped=_has_flipped(before.get(name), after.get(name)),
        )
        for name in [*after, *(name for name in before if name not in after)]
    ]
    return sorted(moved, key=lambda shift: -abs((shift.candidate or 0) - (shift.champion or 0)))


def _has_flipped(before: Importance | None, after: Importance | None) -> bool:
    """Whether a clear direction (rank correlation beyond a half) turned into its opposite."""
    if before is None or after is None or before.direction is None or after.direction is None:
        return False
    return before.direction * after.direction < 0 and min(abs(before.direction), abs(after.direction)) > 0.5


def _tell_of_merge(candidate: Candidate, champion: Side | None) -> list[str]:
    """What becomes of main's model when the change is merged."""
    old, new = champion.model if champion else None, candidate.model
    if candidate.reproduction.failed:
        return ["Nothing can be merged yet: the pipeline stopped, so there is no model to judge."]
    if new is None:
        return [f"Nothing can be merged yet: {layout.DVC_LOCK} names no {candidate.files.model}."]
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


def _list_paths(paths: Sequence[str]) -> str:
    """The first paths of a list."""
    return ", ".join(cut(path, 200) for path in paths[:SHOWN_PATHS]) + (
        ", …" if len(paths) > SHOWN_PATHS else ""
    )


def _list_watched(watched: Mapping[str, Sequence[str]]) -> str:
    """Each watched place that a change edits; the file itself where it is a single one."""
    return ", ".join(
        cut(paths[0], 100) if len(paths) == 1 else f"{len(paths)} files in {cut(place, 100)}"
        for place, paths in list(watched.items())[:SHOWN_PLACES]
    )


def _warn_of_edits(facts: Facts) -> Iterator[str]:
    """What the change chose of what it is judged by."""
    if facts.moved is not None:
        yield warn_of_choice(facts.moved)
    if facts.watched:
        yield (
            f"This change edits what judges or feeds the model: {_list_watched(facts.watched)}. Read those lines: this "
            "review ran them, so it cannot vouch for them."
        )


def _tell_of_untold(facts: Facts) -> Iterator[str]:
    """What of this change's pipeline a review cannot tell, and nobody should take for looked at."""
    candidate = facts.candidate
    if candidate.reproduction.failed:
        return
    if candidate.reports.split is not None and candidate.find_rows_digest("train") is None:
        yield (
            f"{candidate.files.name_report('split')} has no part named train, so nobody can tell whether the "
            "training rows are main's."
        )
    if facts.other_models.aside:
        shown = _list_paths(facts.other_models.aside)
        yield (
            f"This review says nothing of {shown}: it differs from main's, and neither makes the judged model nor is "
            "made of it."
        )


def _note(facts: Facts) -> Iterator[str]:
    """What a reader should know beside the verdict."""
    candidate = facts.candidate
    yield from _warn_of_edits(facts)
    if facts.removed:
        shown = _list_paths(facts.removed)
        yield (
            f"Hashed again, stored files were not what dvc.lock names ({shown}): somebody replaced them, or they were "
            "cut short. They were removed before anything used them, and fetched or made again where they were needed."
        )
    if isinstance(facts.result, Compared) and facts.result.data_change_failure:
        yield facts.result.data_change_failure
    if isinstance(facts.result, Compared) and facts.result.champion_unconfirmed:
        yield facts.result.champion_unconfirmed
    if not isinstance(facts.result, NotCompared):
        yield from (f"{words}." for words in facts.result.unrepeated)
    if facts.seen is not None:
        yield from facts.seen.untold
    if candidate.dirty:
        yield f"The work tree differs from its commit: {_list_paths(candidate.dirty)}."
    yield from _tell_of_untold(facts)
    trained = candidate.has_made(candidate.files.model)
    mains = facts.champion is not None and facts.champion.model == candidate.model
    if candidate.model and not mains and not trained and not candidate.reproduction.failed:
        yield "No training ran here: the model is the one that the author's dvc.lock names, scored again."
    if facts.differently_reproduced and not facts.not_reproduced:
        yield (
            f"{', '.join(facts.differently_reproduced)} gave other bytes than the committed dvc.lock with the same "
            "metrics, as another processor may. What was judged is what this run made."
        )
    if facts.gate_changed:
        yield "This change edits the gate; main's gate judged it. The edit takes effect after the merge."
