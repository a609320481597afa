"""Sets versions beside each other: what each was asked and earned, and how it did on the days that both answered.

A shadow answers copies of requests, so nobody got its answers: its rows are kept apart from those that callers got.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath
from typing import Final

from msgspec.structs import replace

from bots.observations import DayInputs, DayOutcomes, LogFile, VersionSummary

SHADOW: Final = " (shadow)"
FOLDER: Final = "shadow-log"
FEWEST_DAYS: Final = 5
CONFIDENCE: Final = 0.95


def mark_shadow(file: LogFile) -> LogFile:
    """Mark a file of a shadow's log by its version, so that its rows never count among those of callers."""
    if FOLDER not in PurePosixPath(file.name).parts or is_shadow(file.version):
        return file
    return replace(file, version=f"{file.version}{SHADOW}")


def is_shadow(version: str) -> bool:
    """Tell whether the rows of a version are copies."""
    return version.endswith(SHADOW)


def find_shadows(days: Iterable[DayInputs]) -> frozenset[str]:
    """Find the versions whose rows are copies."""
    return frozenset(day.version for day in days if is_shadow(day.version))


def list_versions(
    inputs: Sequence[DayInputs], outcomes: Sequence[DayOutcomes], running: tuple[str, str] | None
) -> list[VersionSummary]:
    """List every version that answered, the newest first, with what came of its answers.

    Outcomes are those of days whose labels came as far as they will. The differences are to the running version, on
    the days that both answered.
    """
    keys = sorted({(day.version, day.onnx) for day in inputs})
    beside = [day for day in outcomes if (day.version, day.onnx) == running]
    found = [_summarize(key, inputs, outcomes, beside, is_running=key == running) for key in keys]
    return sorted(found, key=lambda one: (one.running, one.last, one.version), reverse=True)


def _summarize(
    key: tuple[str, str],
    inputs: Sequence[DayInputs],
    outcomes: Sequence[DayOutcomes],
    beside: Sequence[DayOutcomes],
    *,
    is_running: bool,
) -> VersionSummary:
    asked = [day for day in inputs if (day.version, day.onnx) == key]
    known = [day for day in outcomes if (day.version, day.onnx) == key and day.mature and day.labelled]
    low, middle, high, days = (
        (None, None, None, 0) if is_running else compare_days(known, [one for one in beside if one.mature])
    )
    return VersionSummary(
        version=key[0],
        running=is_running,
        shadow=is_shadow(key[0]),
        first=min(day.day for day in asked),
        last=max(day.day for day in asked),
        rows=sum(day.rows for day in asked),
        labelled=sum(day.labelled for day in known),
        metric=_average(known, "metric"),
        predicted=_average(known, "score"),
        observed=_average(known, "target"),
        value=_average(known, "value"),
        days=days,
        difference=middle,
        low=low,
        high=high,
    )


def _average(days: Sequence[DayOutcomes], name: str) -> float | None:
    there = [day for day in days if name in day.sums]
    rows = sum(day.labelled for day in there)
    return math.fsum(day.sums[name] for day in there) / rows if rows else None


def compare_days(
    ours: Sequence[DayOutcomes], theirs: Sequence[DayOutcomes]
) -> tuple[float | None, float | None, float | None, int]:
    """Compare the mean loss of two versions on the days that both answered: low, difference, high, and how many days.

    Each common day is one observation, so that the weather of a day, which both had, cancels out. The interval is
    Student's t at 95%; there is none with fewer than five days.
    """
    other = {day.day: day for day in theirs if day.labelled and "metric" in day.sums}
    gaps = [
        day.sums["metric"] / day.labelled - other[day.day].sums["metric"] / other[day.day].labelled
        for day in ours
        if day.day in other and "metric" in day.sums
    ]
    count = len(gaps)
    if not count:
        return None, None, None, 0
    mean = math.fsum(gaps) / count
    if count < FEWEST_DAYS:
        return None, mean, None, count
    from scipy.special import stdtrit

    spread = math.sqrt(math.fsum((gap - mean) ** 2 for gap in gaps) / (count - 1) / count)
    reach = float(stdtrit(count - 1, 0.5 + CONFIDENCE / 2)) * spread
    return mean - reach, mean, mean + reach, count
