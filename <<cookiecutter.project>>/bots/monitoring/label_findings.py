"""Says in sentences what is the matter with labels: that none come, that some cannot be used, that days wait."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING, Final

from bots.monitoring.cohorts import CohortJudgement, Flow
from bots.observations import Cohort, Day, Finding, LabelCounts, Level

if TYPE_CHECKING:
    from bots.settings import Labels

NO_SOURCE: Final = (
    "No labels come (monitoring.labels.source is null): whether the answers are right cannot be seen."
)
MANY: Final = 0.01
"""From this share of labels on, those that cannot be used are a warning."""


def describe_labels(
    counts: LabelCounts | None, judged: CohortJudgement, settings: Labels, today: Day
) -> list[Finding]:
    """Describe everything about labels that people should know. `counts` is None where none could be had this time."""
    if settings.source is None:
        return [_make_finding("no source", "note", NO_SOURCE)]
    found = [] if counts is None else _describe_counts(counts, settings)
    return [*found, *_describe_silence(judged.flow, today), *_describe_unjudged(judged.cohorts, settings)]


def _make_finding(check: str, level: Level, words: str, **more: object) -> Finding:
    return Finding(trouble="labels", check=check, level=level, words=words, **more)  # type: ignore[arg-type]


_UNUSED: Final = {
    "contradicted": "{count} of {of} predictions have different labels{example}; none of these is used.",
    "unreadable": "{count} of {of} labels are not what is predicted{example}; they are not used.",
    "keyless": "{count} of {of} labels do not say which prediction they are about, or not as the log "
    "can tell{example}.",
    "early": "{count} of {of} labels say that they were known before their prediction was made: clocks disagree, or "
    "names are used again.",
    "future": "{count} of {of} labels say that they will be known later than now: a clock is wrong.",
}


def _describe_counts(counts: LabelCounts, settings: Labels) -> list[Finding]:
    if not counts.rows:
        return [_make_finding("empty", "warning", "The labels' source answers, but it holds no row.")]
    named = counts.joined + counts.orphaned
    of = dict.fromkeys(_UNUSED, counts.rows) | {"contradicted": named, "early": counts.joined}
    unused = [
        _make_finding(
            check,
            "warning" if getattr(counts, check) >= MANY * of[check] else "note",
            words.format(
                count=f"{getattr(counts, check):,}", of=f"{of[check]:,}", example=_give_example(counts, check)
            ),
            found=float(getattr(counts, check)),
        )
        for check, words in _UNUSED.items()
        if getattr(counts, check)
    ]
    return [*_describe_orphans(counts, settings), *unused, *_describe_curious(counts, settings)]


def _describe_orphans(counts: LabelCounts, settings: Labels) -> list[Finding]:
    if not counts.orphaned:
        return []
    example = _give_example(counts, "orphaned")
    if not counts.joined:
        words = (
            f"None of {counts.orphaned:,} labels belongs to a prediction that waits for one{example}: is a prediction "
            f"named by {', '.join(settings.join)}, and written as it was asked?"
        )
        return [_make_finding("orphaned", "warning", words)]
    words = (
        f"{counts.orphaned:,} of {counts.joined + counts.orphaned:,} labels belong to no prediction that waits for one"
        f"{example}: it is older, or was never made."
    )
    return [_make_finding("orphaned", "note", words)]


def _describe_curious(counts: LabelCounts, settings: Labels) -> list[Finding]:
    names = ", ".join(settings.join)
    told = {
        "duplicated": (
            counts.duplicated - counts.contradicted - counts.corrected,
            "predictions have their label several times; it counts once.",
        ),
        "corrected": (counts.corrected, "labels were corrected later; the newest counts."),
        "shared": (
            counts.shared,
            f"predictions share their label with another one of the same {names}: asked again, or answered by two "
            "versions.",
        ),
    }
    return [
        _make_finding(check, "note", f"{count:,} {words}")
        for check, (count, words) in told.items()
        if count > 0
    ]


def _give_example(counts: LabelCounts, check: str) -> str:
    return f" (such as {counts.examples[check]})" if check in counts.examples else ""


def _describe_silence(flow: Flow, today: Day) -> list[Finding]:
    if not flow.silent or flow.last is None:
        return []
    passed = (date.fromisoformat(today) - flow.last).days
    words = (
        f"No label came for {passed} days, since {flow.last.isoformat()}, and about {flow.expected:,.0f} should have: "
        "the source seems to have stopped. Days wait, so that none is judged by half its labels."
    )
    return [_make_finding("silent", "warning", words, since=flow.last.isoformat(), expected=flow.expected)]


def _describe_unjudged(cohorts: Sequence[Cohort], settings: Labels) -> list[Finding]:
    """Describe the days that were closed without being judged; a warning while they are the newest closed ones."""
    closed = [one for one in cohorts if one.state in ("mature", "timed out", "no labels") and one.predicted]
    lost = [one for one in closed if one.state == "no labels"]
    if not lost:
        return []
    newest = [one for one in closed if one.day > lost[-1].day]
    predicted, labelled = sum(one.predicted for one in lost), sum(one.labelled for one in lost)
    many = "day is" if len(lost) == 1 else "days are"
    span = lost[0].day if len(lost) == 1 else f"{lost[0].day} to {lost[-1].day}"
    words = (
        f"{len(lost)} {many} not judged ({span}): {labelled / predicted:.0%} of the predictions got a label, and at "
        f"least {settings.share:.0%} must, in time."
    )
    level: Level = "note" if newest else "warning"
    return [_make_finding("too few", level, words, since=lost[0].day, found=labelled / predicted)]
