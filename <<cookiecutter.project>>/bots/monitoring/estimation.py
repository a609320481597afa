"""Says how the model probably does before labels come, and later how much such estimates were to be believed.

Estimates are made week by week, warn and never page: they take for granted that a score means what it meant on the
holdout (`bots.stats.estimates`), which is just what may have changed. So each is held against the truth once that is
known.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING

import numpy as np
from msgspec.structs import replace

from bots.monitoring.estimated_metrics import TARGET, WEEK, compute_truths, estimate_metrics, list_estimated
from bots.monitoring.performance import find_matter
from bots.monitoring.performance_series import find_week
from bots.observations import Day, DayInputs, DayOutcomes, EstimateRecord, Finding, ScoreCounts
from bots.render.monitoring_words import format_date
from bots.render.numbers import format_value, pluralize
from bots.stats import deviances
from bots.stats.histograms import add_counts
from bots.stats.metrics import describe_measure, find_label

if TYPE_CHECKING:
    from bots.monitoring.reference import Reference
    from bots.settings import Settings

CONFIDENCE = 0.95
FEWEST_WEEKS = 5
"""From so many weeks with a truth on the estimates themselves are judged."""
DOUBT = 0.01
"""Estimates are not to be believed where so many misses had at most this chance."""
MOST_RECORDS = 400


@dataclass(frozen=True, kw_only=True)
class EstimateJudgement:
    """The estimates with the truth beside them where it is known; `coverage` is the share of these that held it."""

    records: list[EstimateRecord]
    coverage: float | None
    findings: list[Finding]
    words: str


def estimate_weeks(
    inputs: Sequence[DayInputs],
    outcomes: Sequence[DayOutcomes],
    records: Sequence[EstimateRecord],
    reference: Reference,
    settings: Settings,
    *,
    complete: Day,
) -> EstimateJudgement:
    """Estimate a version's weeks up to `complete`, the newest day whose log is whole, and hold them against labels.

    Records come week by week, a week's primary metric last.

    `inputs` and `outcomes` are days of any version; `records` are those of the runs before, which stay as they were
    but for their truth, and the running week's, which is estimated anew.
    """
    own = [
        day
        for day in inputs
        if (day.version, day.onnx) == (reference.version, reference.onnx)
        and day.day <= complete
        and day.scores
    ]
    if not reference.missed:
        return EstimateJudgement(
            records=list(records), coverage=None, findings=[], words=_say_why_not(reference)
        )
    kept = {(one.day, one.version, one.metric): one for one in records}
    for week in sorted({find_week(day.day) for day in own}):
        days = [day for day in own if find_week(day.day) == week]
        for record in _estimate_week(week, days, reference, settings):
            key = (record.day, record.version, record.metric)
            if key not in kept or kept[key].rows < record.rows:
                kept[key] = record
        labelled = [
            day
            for day in outcomes
            if (day.version, day.onnx) == (reference.version, reference.onnx) and find_week(day.day) == week
        ]
        kept |= _find_truths(kept, week, days=days, labelled=labelled, reference=reference)
    found = sorted(
        kept.values(),
        key=lambda one: (one.day, one.version, one.metric == settings.gate.primary, one.metric),
    )[-MOST_RECORDS:]
    judged = [one for one in found if one.truth is not None]
    held = [one for one in judged if _holds(one)]
    findings = list(_find_doubts(found, reference))
    if not findings:
        findings = list(_find_harm(found, reference, settings))
    return EstimateJudgement(
        records=found,
        coverage=len(held) / len(judged) if judged else None,
        findings=findings,
        words=_say_coverage(len(held), len(judged)),
    )


def _estimate_week(
    week: Day, days: Sequence[DayInputs], reference: Reference, settings: Settings
) -> Iterator[EstimateRecord]:
    counts: ScoreCounts | None = reduce(add_counts, (day.scores for day in days), None)
    if counts is None or counts.edges != reference.edges:
        return
    names = list_estimated(settings.evaluate.metrics, settings.gate.primary, reference.loss, reference.task)
    found = estimate_metrics(
        counts, names, np.array(reference.rates), np.array(reference.losses), settings.context
    )
    for name, value in found.items():
        if name not in reference.missed:
            continue
        reach = find_reach(reference.missed[name], len(days))
        low, high = _clip(name, value - reach, value + reach)
        yield EstimateRecord(
            day=week,
            version=reference.version,
            metric=name,
            rows=sum(counts.rows),
            estimate=value,
            low=low,
            high=high,
        )


def find_reach(missed: Sequence[float], days: int) -> float:
    """How far the truth may lie from an estimate of so many days, at 95%: Student's t times what the holdout's weeks
    missed by on average (root of the mean square), more for a week of fewer days."""
    from scipy.special import stdtrit

    count = len(missed)
    usual = math.sqrt(math.fsum(miss**2 for miss in missed) / count)
    quantile = float(stdtrit(count, 0.5 + CONFIDENCE / 2))
    return quantile * usual * math.sqrt((1 + 1 / count) * max(1.0, WEEK / max(1, days)))


def _clip(name: str, low: float, high: float) -> tuple[float, float]:
    measure = describe_measure(name)
    least, most = (0.0, 1.0) if name == TARGET or measure is None else measure.bounds
    return (low if least is None else max(least, low)), (high if most is None else min(most, high))


def _find_truths(
    kept: dict[tuple[str, str, str], EstimateRecord],
    week: Day,
    *,
    days: Sequence[DayInputs],
    labelled: Sequence[DayOutcomes],
    reference: Reference,
) -> dict[tuple[str, str, str], EstimateRecord]:
    """The week's records with their truth, once every day that was asked in it is mature."""
    mature = {day.day for day in labelled if day.mature}
    if not {day.day for day in days} <= mature:
        return {}
    names = [name for day, version, name in kept if (day, version) == (week, reference.version)]
    truths = compute_truths(labelled, names, reference.task)
    keys = {name: (week, reference.version, name) for name in truths}
    return {key: replace(kept[key], truth=truths[name]) for name, key in keys.items()}


def _holds(record: EstimateRecord) -> bool:
    return record.truth is not None and record.low <= record.truth <= record.high


def _find_doubts(records: Sequence[EstimateRecord], reference: Reference) -> Iterator[Finding]:
    """A finding for each metric whose estimates missed the truth far more often than they should."""
    for name in sorted({one.metric for one in records}):
        known = [
            one
            for one in records
            if one.metric == name and one.truth is not None and one.version == reference.version
        ]
        misses = sum(not _holds(one) for one in known)
        if len(known) < FEWEST_WEEKS or _find_chance(misses, len(known)) > DOUBT:
            continue
        yield Finding(
            trouble="performance",
            level="warning",
            check="estimates",
            subject=name,
            version=reference.version,
            since=known[0].day,
            day=known[-1].day,
            expected=CONFIDENCE,
            found=1 - misses / len(known),
            words=(
                f"Do not believe the estimates of {_name(name, reference)}: the truth lay outside of them in "
                f"{misses} of {pluralize(len(known), 'week')}. What a score means has changed since the review."
            ),
        )


def _find_chance(misses: int, weeks: int) -> float:
    """The chance of as many misses or more where each week misses with 5%."""
    rate = 1 - CONFIDENCE
    return math.fsum(
        math.comb(weeks, count) * rate**count * (1 - rate) ** (weeks - count)
        for count in range(misses, weeks + 1)
    )


def _name(metric: str, reference: Reference) -> str:
    share = "the share of rows that are called rightly" if reference.classes else "the share of positives"
    return share if metric == TARGET else find_label(metric)


def _find_harm(
    records: Sequence[EstimateRecord], reference: Reference, settings: Settings
) -> Iterator[Finding]:
    """A warning where the newest week has no label and its primary metric seems worse than is tolerated."""
    primary = settings.gate.primary
    newest = [one for one in records if one.metric == primary and one.version == reference.version][-1:]
    names = {"log_loss": "log_loss", "brier": "squared_error", "mae": "absolute_error"}
    if deviances.find_measure(primary) is not None:
        names[primary] = "metric"
    if not newest or newest[0].truth is not None or primary not in names:
        return
    record, usual = newest[0], reference.find_mean(names[primary])
    if usual is None:
        return
    limit = usual + settings.monitoring.harm.tolerance * find_matter(reference, settings)
    if record.low <= limit:
        return
    yield Finding(
        trouble="performance",
        level="warning",
        check="estimate",
        subject=primary,
        version=record.version,
        since=record.day,
        day=record.day,
        expected=usual,
        found=record.estimate,
        low=record.low,
        high=record.high,
        words=(
            f"Before labels came, the {_name(primary, reference)} of the week of {format_date(record.day)} is "
            f"estimated to be {format_value(primary, record.estimate)} ({format_value(primary, record.low)} to "
            f"{format_value(primary, record.high)}), where the review's holdout had {format_value(primary, usual)}. "
            "The rows have become harder; whether answers have become wrong, only labels tell."
        ),
    )


def _say_coverage(held: int, judged: int) -> str:
    if not judged:
        return "No week has both an estimate and its truth yet."
    return f"The truth lay within the estimate in {held} of {judged} estimates whose truth is known."


def _say_why_not(reference: Reference) -> str:
    if not reference.by_day:
        return "Nothing is estimated before labels come: the holdout's rows have no day, so no error could be stated."
    return "Nothing is estimated before labels come: the holdout has fewer than four weeks to state an error from."
