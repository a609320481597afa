"""Says what a run of the watch saw: how production is in a word and a sentence, its curves, and what it earned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby

from bots.monitoring.findings import HIDES, Unseen
from bots.monitoring.side_by_side import is_shadow
from bots.observations import (
    Condition,
    DayInputs,
    DayOutcomes,
    Finding,
    Point,
    Series,
    Trouble,
)
from bots.render.numbers import pluralize

MOST_POINTS = 400
LATEST = 5


def choose_condition(
    findings: Sequence[Finding], unseen: Sequence[str], judged: Sequence[DayOutcomes]
) -> Condition:
    """Choose the worst that is true: harm, then not having seen, then what may become harm, then not knowing yet."""
    levels = {finding.level for finding in findings}
    if "alarm" in levels:
        return "alarm"
    if unseen or any(finding.trouble == "blind" for finding in findings if finding.level != "note"):
        return "blind"
    if "warning" in levels:
        return "warning"
    return "well" if judged else "labels pending"


def write_headline(
    condition: Condition,
    findings: Sequence[Finding],
    *,
    unseen: Sequence[str],
    judged: Sequence[DayOutcomes],
    rows: int,
) -> str:
    """Write the sentence that stands below the condition. `findings` have the worst first."""
    loud = [finding.words for finding in findings if finding.level == "alarm"]
    if condition == "alarm":
        return " ".join(loud[:2])
    if condition == "blind":
        blind = [finding.words for finding in findings if finding.trouble == "blind"]
        return (unseen[0] if unseen else blind[0]) + " What was not seen may be well or not."
    if condition == "warning":
        warnings = [finding.words for finding in findings if finding.level == "warning"]
        more = f" And {len(warnings) - 1} more." if len(warnings) > 1 else ""
        return warnings[0] + more
    if condition == "labels pending":
        if not rows:
            return "No prediction is in the log yet: how good the answers are is not known."
        return (
            f"{rows:,} predictions are watched, but no day's labels are complete yet: how good the answers are is not "
            "known."
        )
    doubts = [finding.words for finding in findings if finding.trouble == "performance"]
    if doubts:
        return f"No harm is shown. {doubts[0]}"
    labelled = sum(day.labelled for day in judged)
    days = len({day.day for day in judged})
    return (
        "Nothing speaks against the answers being as good as they were reviewed, on "
        f"{pluralize(labelled, 'prediction')} of {pluralize(days, 'day')}."
    )


def find_looked(
    unseen: Sequence[Unseen], judged: Sequence[DayOutcomes], today: str
) -> dict[Trouble, str | None]:
    """Find the newest day on which each kind of trouble could be looked for; None where it could not be.

    What a run could not see ends no trouble that is looked for there, and holds no other one open. Performance was
    looked for up to the newest day that was judged.
    """
    newest = max((day.day for day in judged), default=None)
    hidden = {trouble for one in unseen for trouble in HIDES[one.of]}
    looked: dict[Trouble, str | None] = {
        "performance": newest,
        "health": today,
        "drift": today,
        "labels": today,
        "blind": today,
    }
    return {trouble: None if trouble in hidden else day for trouble, day in looked.items()}


def draw_requests(inputs: Sequence[DayInputs]) -> Series:
    """Count the predictions of each day that callers got, of all versions together."""
    ordered = sorted((one for one in inputs if not is_shadow(one.version)), key=lambda one: one.day)
    counted = [(day, sum(one.rows for one in group)) for day, group in groupby(ordered, lambda one: one.day)]
    return Series(
        name="requests",
        label="Predictions",
        kind="count",
        points=[Point(day=day, value=float(rows), rows=rows) for day, rows in counted[-MOST_POINTS:]],
    )


def measure_earned(
    outcomes: Sequence[DayOutcomes], promised: Mapping[str, float]
) -> tuple[float | None, float | None]:
    """What the decisions with a known outcome were worth, and what as many would have been worth as reviewed.

    `promised` maps a model (its ONNX digest) to the value of a row on its holdout.
    """
    valued = [day for day in outcomes if "value" in day.sums]
    if not valued:
        return None, None
    earned = sum(day.sums["value"] for day in valued)
    if any(day.onnx not in promised for day in valued):
        return earned, None
    return earned, sum(promised[day.onnx] * day.labelled for day in valued)


def cut_series(series: Sequence[Series]) -> list[Series]:
    """Keep the newest days of each curve, so that a report stays small however long it is watched."""
    return [
        Series(
            name=one.name,
            label=one.label,
            kind=one.kind,
            direction=one.direction,
            reference=one.reference,
            points=one.points[-MOST_POINTS:],
        )
        for one in series
    ]
