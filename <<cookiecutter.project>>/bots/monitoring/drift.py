"""Tells change of what is asked and answered, by each day's rank among the reference's own days.

Change is reported and pages nobody: it may harm nobody. A column's rank is an e-value (`bots.stats.evalues`). Their
mean, weighted by what the model looks at, is one whatever goes together with what, and a detector adds up its days.
Columns are named by e-BH from the evidence of their last two weeks, never from the most that was ever seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from msgspec.structs import replace

from bots.monitoring.column_distances import CALLED, Ranked, ReferenceDistances
from bots.monitoring.performance import Restart, find_drift_threshold
from bots.observations import Day, DayInputs, DriftRank, DriftState, Finding, Level
from bots.render.monitoring_words import format_date
from bots.render.numbers import pluralize
from bots.stats import evalues, sequential

if TYPE_CHECKING:
    from bots.monitoring.reference import Reference
    from bots.settings import Settings
    from bots.stats.metrics import Floats

FRACTIONS = (0.05, 0.15, 0.4)
WINDOW = 14
"""The last days that columns are named by."""
LEVEL = 0.1
"""Of the columns that are named at most this share is wrong on average."""
PARTS = {"input": 0.6, "missing": 0.1, "prediction": 0.3}
SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class DriftJudgement:
    """How the newest days differ from the reference: `evidence` is the detector's, `words` are for people."""

    ranks: list[DriftRank]
    state: DriftState | None
    evidence: float | None
    findings: list[Finding]
    words: str


def judge_drift(
    inputs: Sequence[DayInputs],
    reference: Reference,
    state: DriftState | None,
    settings: Settings,
    *,
    restart: Restart,
    complete: Day,
) -> DriftJudgement:
    """Judge a version's days of input.

    `inputs` are days of any version: those of the reference's from the restart on are taken in order, each once, up to
    `complete`, the newest day whose log is whole. `state` is what the last run left.
    """
    if not reference.columns and reference.predictions is None:
        return DriftJudgement(ranks=[], state=state, evidence=None, findings=[], words=_say_blind(reference))
    own = sorted(
        (day for day in inputs if (day.version, day.onnx) == (reference.version, reference.onnx)),
        key=lambda day: day.day,
    )
    current = _find_state(state, reference, settings, restart)
    distances, newest = ReferenceDistances(reference), list[Ranked]()
    for day in own:
        if (
            day.day < current.start
            or day.day > complete
            or (current.last is not None and day.day <= current.last)
        ):
            continue
        found = list(distances.rank_day(day))
        newest = found or newest
        current = _take_in(current, day.day, found, reference)
    if not newest and current.last is not None:
        newest = [one for day in own if day.day == current.last for one in distances.rank_day(day)]
    ranks = _name_columns(newest, current)
    evidence = sequential.compute_evidence(current.values)
    findings = list(_find_findings(current, ranks, reference, settings)) if current.days else []
    return DriftJudgement(
        ranks=ranks,
        state=current,
        evidence=evidence if current.days else None,
        findings=findings,
        words=_say_all(current, ranks, reference),
    )


def _find_state(
    state: DriftState | None, reference: Reference, settings: Settings, restart: Restart
) -> DriftState:
    threshold = find_drift_threshold(settings)
    if (
        state is not None
        and state.version == reference.version
        and state.start >= restart.day
        and (state.fractions, state.threshold) == (list(FRACTIONS), threshold)
    ):
        return state
    return DriftState(
        version=reference.version,
        start=restart.day,
        fractions=list(FRACTIONS),
        values=[0.0] * len(FRACTIONS),
        threshold=threshold,
        why=restart.why,
    )


def _weigh(ranked: Ranked, reference: Reference) -> float:
    share = 1.0 if ranked.kind == "prediction" else reference.weights.get(ranked.column, 0.0)
    return PARTS[ranked.kind] * share


def _take_in(state: DriftState, day: Day, found: list[Ranked], reference: Reference) -> DriftState:
    """The detector after one more day; a day without a rank changes nothing and is counted."""
    if not found:
        return replace(state, last=day, skipped=state.skipped + 1)
    values = np.array([evalues.compute_rank_evalue(one.distance, one.others) for one in found])
    weights = np.array([_weigh(one, reference) for one in found])
    mean = evalues.average_evalues(values, weights)
    factors = 1.0 - np.array(state.fractions) + np.array(state.fractions) * mean
    after = sequential.update_values(state.values, factors, most=state.threshold)
    before, evidence = (sequential.compute_evidence(known) for known in (state.values, after))
    alarmed = state.alarmed
    if alarmed is None and evidence >= state.threshold * (1 - 1e-9):
        alarmed = day
    elif alarmed is not None and evidence <= state.threshold**0.5:
        alarmed = None
    recent = dict(state.recent)
    for one, value in zip(found, values.tolist(), strict=True):
        key = f"{one.kind}:{one.column}"
        recent[key] = [*recent.get(key, []), value][-WINDOW:]
    since = state.since
    if not alarmed and evidence < WINDOW:
        since = None
    elif since is None and evidence > before:
        since = day
    return replace(
        state, values=after, last=day, days=state.days + 1, alarmed=alarmed, recent=recent, since=since
    )


def compute_window_evidence(days: Sequence[float]) -> float:
    """The evidence of a column's last days, an e-value: the mean over fractions f of the product of 1 - f + f * e."""
    known: Floats = np.asarray(days, dtype=np.float64)
    return float(np.mean([np.prod(1.0 - part + part * known) for part in FRACTIONS]))


def _name_columns(newest: list[Ranked], state: DriftState) -> list[DriftRank]:
    """The columns of the newest day, those with the most evidence first, with what e-BH names."""
    evidence = [compute_window_evidence(state.recent.get(f"{one.kind}:{one.column}", [])) for one in newest]
    named = evalues.select_by_ebh(evidence, LEVEL)
    ranks = [
        DriftRank(
            column=one.column or "prediction",
            kind=one.kind,
            distance=float(one.distance),
            usual=float(np.median(one.others)) if len(one.others) else 0.0,
            rank=1 + int(np.count_nonzero(one.others < one.distance)),
            references=len(one.others),
            evidence=found,
            named=chosen,
        )
        for one, found, chosen in zip(newest, evidence, named, strict=True)
    ]
    return sorted(ranks, key=lambda rank: (-rank.evidence, rank.kind, rank.column))


def _find_findings(
    state: DriftState, ranks: list[DriftRank], reference: Reference, settings: Settings
) -> Iterator[Finding]:
    named = [rank for rank in ranks if rank.named]
    if not state.alarmed and not named:
        return
    acts = "drift" in settings.monitoring.retrain.when
    level: Level = "note" if not state.alarmed else "alarm" if acts else "warning"
    yield Finding(
        trouble="drift",
        level=level,
        check="drift",
        words=_say_change(state, named),
        version=reference.version,
        since=state.since or state.alarmed or state.last,
        day=state.last,
        evidence=sequential.compute_evidence(state.values),
        threshold=state.threshold,
    )


def _say_change(state: DriftState, named: list[DriftRank]) -> str:
    since = f" since {format_date(state.since)}" if state.since else ""
    which = f": {_list_columns(named)}" if named else ", though no single column stands out"
    harm = "That is a change, and no harm is shown by it alone."
    if not state.alarmed:
        return (
            f"In the last two weeks some of what is asked differs from the training rows' days{which}. {harm}"
        )
    return f"What is asked differs from the training rows' days{since}{which}. {harm}"


def _list_columns(named: Sequence[DriftRank]) -> str:
    words: Mapping[str, str] = {"missing": " (missing values)", "input": "", "prediction": ""}
    names = [
        _name_prediction(rank) if rank.kind == "prediction" else f"{rank.column}{words[rank.kind]}"
        for rank in named
    ]
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")


def _name_prediction(rank: DriftRank) -> str:
    return "which classes rows are called" if rank.column == CALLED else "the predictions"


def _say_blind(reference: Reference) -> str:
    notes = " ".join(reference.notes)
    return (
        f"Nothing is known of the days that the model learned from, so no change can be told. {notes}".strip()
    )


def _say_all(state: DriftState, ranks: list[DriftRank], reference: Reference) -> str:
    """What the page says above the columns."""
    if not state.days:
        return " ".join(["No whole day could be ranked yet.", *reference.notes])
    most = max((rank.references for rank in ranks), default=0)
    words = [f"Each day is ranked among {pluralize(most, 'day')} of the training rows."]
    if state.skipped:
        words.append(f"{pluralize(state.skipped, 'day')} had too few rows to be ranked.")
    return " ".join([*words, *reference.notes])
