"""Selects and orders what a reader of a review should see first."""

from __future__ import annotations

from collections.abc import Iterable

from bots.evidence import (
    ClassComparison,
    ColumnDrift,
    DriftComparison,
    Finding,
    GateRule,
    ImportanceShift,
    MetricComparison,
    Review,
    SliceComparison,
)

_ROLES = {"primary": 0, "guard": 1, "shown": 2}
_CONCERN = {"regressed": 0, "improved": 1, "equivalent": 1, "undecided": 1, "not judged": 2}


def rank_metrics(review: Review, limit: int | None = None) -> list[MetricComparison]:
    """Order the metrics: the one that decides, guards, those that got worse, then the largest beside what matters."""
    return sorted(
        review.metrics,
        key=lambda metric: (_ROLES[metric.role], metric.outcome != "regressed", -_scale_difference(metric)),
    )[:limit]


def _scale_difference(metric: MetricComparison) -> float:
    """Return the difference as a multiple of what matters; where nothing is said to matter, any counts once."""
    if metric.difference is None:
        return 0.0
    return abs(metric.difference) / metric.matters if metric.matters else float(metric.difference != 0)


def find_reach(metrics: Iterable[MetricComparison]) -> float:
    """Return the end of a scale that holds every interval, as a multiple of what matters, at most ten."""
    ends = [
        abs(end) / (metric.matters or abs(metric.difference or 0.0) or 1.0)
        for metric in metrics
        for end in (metric.low, metric.high)
        if end is not None and metric.difference is not None
    ]
    return min(10.0, max([2.0, *ends]))


def is_compared(review: Review) -> bool:
    """Return whether there are two models to compare."""
    return any(metric.difference is not None for metric in review.metrics)


def is_unchanged(review: Review) -> bool:
    """Return whether this change's model is main's, so that there is nothing to compare."""
    model = review.candidate.model
    return review.champion is not None and model is not None and model == review.champion.model


def find_primary(review: Review) -> MetricComparison | None:
    """Return the metric that decides."""
    return next((metric for metric in review.metrics if metric.role == "primary"), None)


def rank_slices(review: Review, limit: int | None = None) -> list[SliceComparison]:
    """Order the slices: regressed, then the others that were judged by how far they fell, then too small to judge."""
    metric = find_primary(review)
    sign = -1.0 if metric and metric.direction == "lower" else 1.0
    return sorted(
        review.slices,
        key=lambda piece: (
            _CONCERN[piece.outcome],
            sign * (piece.difference or 0.0),
            sign * (piece.candidate or 0.0),
            piece.column,
            piece.value,
        ),
    )[:limit]


def rank_classes(review: Review, limit: int | None = None) -> list[ClassComparison]:
    """Order the classes: those whose recall fell beyond chance, then by how far it fell, then by recall itself."""
    return sorted(
        review.classes,
        key=lambda one: (
            not has_fallen(one),
            one.difference if one.difference is not None else 0.0,
            one.candidate.recall if one.candidate.recall is not None else 2.0,
            one.name,
        ),
    )[:limit]


def has_fallen(one: ClassComparison) -> bool:
    """Return whether a class's recall is lower than main's beyond chance."""
    return one.high is not None and one.high < 0


def get_confusions(review: Review) -> tuple[list[list[int]], list[list[int]]]:
    """Return who is called whom by this change and by main; nothing of a table that is no square of the classes."""
    size = len(review.classes)

    def keep(table: list[list[int]]) -> list[list[int]]:
        return table if len(table) == size and all(len(row) == size for row in table) else []

    return keep(review.confusion), keep(review.champion_confusion)


def rank_confusions(review: Review, limit: int | None = None) -> list[tuple[str, str, int, int | None]]:
    """List the mistakes, `(actual, called, by this change, by main)`: those that changed, else all; largest first."""
    names = [one.name for one in review.classes]
    confusion, main = get_confusions(review)
    found = []
    for actual, row in enumerate(confusion):
        for called, count in enumerate(row):
            before = main[actual][called] if main else None
            if actual != called and (count if before is None else count != before):
                found.append((names[actual], names[called], count, before))
    return sorted(found, key=lambda one: (-abs(one[2] - (one[3] or 0)), -one[2], one[:2]))[:limit]


def rank_shifts(review: Review, limit: int | None = None) -> list[ImportanceShift]:
    """List the features whose share of the explanation changed by a point or more, largest change first."""
    moved = [
        shift for shift in review.shifts if abs(_subtract_shares(shift)) >= 0.01 or shift.direction_flipped
    ]
    return sorted(moved, key=lambda shift: (-abs(_subtract_shares(shift)), shift.feature))[:limit]


def _subtract_shares(shift: ImportanceShift) -> float:
    return (shift.candidate or 0.0) - (shift.champion or 0.0)


def list_unquoted_rules(review: Review) -> list[GateRule]:
    """List the broken rules that the headline does not quote already."""
    failed = [rule for rule in review.rules if not rule.passed]
    return [rule for rule in failed if rule.message.strip().rstrip(".") not in review.headline]


def rank_findings(review: Review) -> list[Finding]:
    """List what the checks noticed, errors first, each once, whichever stage told it."""
    told = [
        *(review.refusal.findings if review.refusal else []),
        *(review.data.findings if review.data else []),
    ]
    once = {(finding.check, finding.column, finding.message): finding for finding in told}
    return sorted(once.values(), key=lambda finding: finding.severity != "error")


def rank_drifted(comparison: DriftComparison) -> list[ColumnDrift]:
    """List the columns beyond their threshold: predictions and target first, then by how far beyond."""
    order = {"prediction": 0, "target": 1, "input": 2}
    return sorted(
        (column for column in comparison.columns if column.drifted),
        key=lambda column: (order[column.role], -(column.score or float("inf")) / (column.threshold or 1.0)),
    )


def list_unjudged(comparison: DriftComparison) -> list[ColumnDrift]:
    """List the columns that were not judged: neither beyond their threshold nor with a score below it."""
    return [column for column in comparison.columns if column.score is None and not column.drifted]


def list_uncalibrated(comparison: DriftComparison) -> list[ColumnDrift]:
    """List the columns that were judged by a threshold that no period of the reference was there for."""
    return [column for column in comparison.columns if column.score is not None and not column.calibrated]


def rank_columns(comparison: DriftComparison) -> list[ColumnDrift]:
    """List all columns: those beyond their threshold, those below it, those that were not judged."""
    unknown = list_unjudged(comparison)
    below = [column for column in comparison.columns if not column.drifted and column.score is not None]
    return [*rank_drifted(comparison), *below, *unknown]
