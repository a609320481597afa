"""Looks for what needs no statistics: rows that stay away, columns that change, a service that fails or is gone.

Pure: days, looks at the service and a policy go in, findings come out. An `alarm` is harm to those who ask now; a
`warning` may become harm; what could not be looked at is said, as trouble `blind` or as a `note`.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import partial
from operator import attrgetter
from typing import Final

from msgspec import Struct

from bots.monitoring.findings import Part, make_note
from bots.monitoring.service import ServiceLook, list_intervals
from bots.monitoring.service_health import check_service
from bots.observations import CategorySummary, Day, DayInputs, Finding, Level, NumberSummary
from bots.settings import ServiceHealth

LATE: Final = timedelta(hours=3)
"""So long after its end a day is waited for: the service closes its files by the hour, and then they are fetched."""
WEEKS: Final = 8  # the days of the same weekday that say what is usual
RECENT: Final = 28  # days that say it where there are too few of the same weekday
LEAST_WEEKDAYS: Final = 3
LEAST_DAYS: Final = 7
LEAST_USUAL: Final = 20  # rows of a usual day from which on more or fewer are judged
LEAST_ROWS: Final = 50  # rows, of as many days as that takes, from which on shares are judged
MOST_COLUMNS: Final = 20  # findings of one kind; the others are counted
LONGEST_NAME: Final = 100  # characters of a column in a sentence of many
FIRST_FILE: Final = (
    "No complete file is in the prediction log yet: the service completes one every `serving.log.minutes` minutes "
    "in which it is asked."
)


class Usual(Struct, frozen=True, kw_only=True):
    """What is usual for the version that runs: its columns, and the share of missing values of each."""

    missing: dict[str, float]


class HealthView(Struct, frozen=True, kw_only=True):
    """What a run could see. `days` of each version, also before the run; `shadows` are versions whose rows are copies.

    `began` is when the first version came, None where nobody knows. `newest` is when the newest complete file of the
    log was closed, None where there is none. `unreachable` says why the log could not be listed. `looks` at the
    service, the oldest first, with the run's own as the last one; None where nobody can ask it from here.
    """

    days: Sequence[DayInputs]
    usual: Usual | None = None
    shadows: frozenset[str] = frozenset()
    began: datetime | None = None
    newest: datetime | None = None
    unreachable: str | None = None
    looks: Sequence[ServiceLook] | None = None


class _Column(Struct, frozen=True):
    """A column on one day, all versions together."""

    rows: int = 0
    missing: int = 0
    unseen: int = 0


class _Days(Struct, frozen=True):
    """The days that are over, from the first that has rows to the newest, with those that have none."""

    names: list[Day]
    rows: dict[Day, int]
    columns: dict[Day, dict[str, _Column]]


def derive_usual(days: Iterable[DayInputs]) -> Usual:
    """Derive what is usual from days of the reference: the share of each column's values that are missing."""
    rows: dict[str, int] = {}
    missing: dict[str, int] = {}
    for day in days:
        for name, one in _list_columns(day):
            rows[name] = rows.get(name, 0) + one.rows
            missing[name] = missing.get(name, 0) + one.missing
    return Usual(missing={name: missing[name] / count if count else 0.0 for name, count in rows.items()})


def check_health(view: HealthView, policy: ServiceHealth, now: datetime) -> list[Finding]:
    """Check everything that needs no statistics; findings of what is true now, in a fixed order."""
    now = now.astimezone(UTC)
    days = _gather_days(view, now)
    return [
        *_check_log(view, policy, now),
        *_check_volume(view, days, policy),
        *_check_schema(view, days),
        *_check_missing(view, days, policy),
        *_check_unseen(days, policy),
        *check_service(view.looks, policy),
    ]


def _gather_days(view: HealthView, now: datetime) -> _Days:
    """Gather the days that are over, all versions of a day together but for shadows."""
    end = (now - LATE).date() - timedelta(days=1)
    rows: dict[Day, int] = {}
    columns: dict[Day, dict[str, _Column]] = {}
    for one in view.days:
        if one.version in view.shadows or date.fromisoformat(one.day) > end:
            continue
        rows[one.day] = rows.get(one.day, 0) + one.rows
        there = columns.setdefault(one.day, {})
        for name, column in _list_columns(one):
            there[name] = _add_column(there.get(name, _Column()), column)
    names: list[Day] = []
    if rows:
        first = date.fromisoformat(min(rows))
        names = [(first + timedelta(days=at)).isoformat() for at in range((end - first).days + 1)]
    return _Days(names, rows, columns)


def _list_columns(day: DayInputs) -> list[tuple[str, NumberSummary | CategorySummary]]:
    return [*day.numbers.items(), *day.categories.items()]


def _add_column(a: _Column, b: NumberSummary | CategorySummary) -> _Column:
    unseen = b.unseen if isinstance(b, CategorySummary) else 0
    return _Column(a.rows + b.rows, a.missing + b.missing, a.unseen + unseen)


def _check_log(view: HealthView, policy: ServiceHealth, now: datetime) -> Iterator[Finding]:
    """Check that the log can be read, and that it grows where the service is asked."""
    if view.unreachable is not None:
        yield Finding(
            trouble="blind",
            level="warning",
            check="log",
            words=f"The prediction log could not be read: {view.unreachable}. What came since is not judged.",
        )
        return
    if policy.silent_hours is None:
        return
    start = view.newest or view.began
    hours = (now - start.astimezone(UTC)).total_seconds() / 3600 if start else None
    if hours is not None and hours < policy.silent_hours:
        if view.newest is None:
            yield make_note("silence", FIRST_FILE)
        return
    since = f"for {hours:.0f} hours" if hours is not None else "yet"
    asked = _count_recent(view, now, policy.silent_hours)
    level: Level = "alarm" if asked else "warning"
    if asked is None:
        why = f"whether anybody asks the service is not known, because it {_tell_why_unknown(view)}"
    elif asked:
        why = f"although the service counted {asked} requests for predictions: they are answered and not in the log"
    else:
        why = "and the service counted no request: nobody asks it"
    yield Finding(
        trouble="health",
        level=level,
        check="silence",
        subject="prediction log",
        words=f"No complete file came into the prediction log {since}, {why}.",
        since=start.astimezone(UTC).date().isoformat() if start else None,
        expected=policy.silent_hours,
        found=hours,
    )


def _tell_why_unknown(view: HealthView) -> str:
    if not view.looks or not view.looks[-1].answered:
        return "could not be asked"
    return "was not looked at long enough: two looks tell how many requests came between them"


def _count_recent(view: HealthView, now: datetime, hours: float) -> int | None:
    """Count the requests since so many hours ago; None where that cannot be told."""
    if not view.looks or not view.looks[-1].answered:
        return None
    start = (now - timedelta(hours=hours)).strftime("%Y-%m-%dT%H:%M:%SZ")
    intervals = list_intervals(view.looks)
    if len(intervals) < 2 or intervals[-1][0].at < start:
        return None
    return sum(counts.answered for look, counts in intervals[1:] if look.at >= start)


def _check_volume(view: HealthView, days: _Days, policy: ServiceHealth) -> Iterator[Finding]:
    """Check the rows of the newest day against the median of the same weekday, or of all days where those are few."""
    factor = policy.volume
    if factor is None or not days.names or view.unreachable is not None:
        return
    newest = days.names[-1]
    usual = _find_usual_rows(days, len(days.names) - 1)
    if usual is None or usual < LEAST_USUAL:
        why = (
            f"only {len(days.names) - 1} days came before"
            if usual is None
            else f"{usual:.0f} rows a day are usual"
        )
        yield make_note(
            "volume", f"Whether the rows of {newest} are more or fewer than usual cannot be told: {why}."
        )
        return
    found = days.rows.get(newest, 0)
    if usual / factor <= found <= usual * factor:
        return
    what = "more" if found > usual else "fewer"

    def is_odd(at: int) -> bool:
        rows, normal = days.rows.get(days.names[at], 0), _find_usual_rows(days, at)
        return normal is not None and not normal / factor <= rows <= normal * factor

    yield Finding(
        trouble="health",
        level="warning",
        check="volume",
        words=f"{newest} has {found:,} rows, {what} than the usual {usual:,.0f} by more than {factor:g} times.",
        since=_find_start(days, is_odd),
        day=newest,
        expected=usual,
        found=float(found),
    )


def _find_usual_rows(days: _Days, at: int) -> float | None:
    """Find the usual rows of the day at this place; None where too few days came before it."""
    same = [days.rows.get(days.names[place], 0) for place in range(at - 7, -1, -7)][:WEEKS]
    if len(same) >= LEAST_WEEKDAYS:
        return float(statistics.median(same))
    recent = [days.rows.get(name, 0) for name in days.names[max(0, at - RECENT) : at]]
    return float(statistics.median(recent)) if len(recent) >= LEAST_DAYS else None


def _check_schema(view: HealthView, days: _Days) -> Iterator[Finding]:
    """Check that the newest rows have the columns that the model was trained with."""
    newest = next((name for name in reversed(days.names) if days.rows.get(name)), None)
    if newest is None:
        return
    if view.usual is None:
        yield make_note(
            "schema",
            "Columns and missing values are not judged: what is usual for this version is not known.",
        )
        return
    usual = view.usual.missing
    there = days.columns.get(newest, {})
    empty = [name for name in usual if name not in there or there[name].missing == there[name].rows > 0]
    gone = [name for name in empty if name not in there or usual[name] < 1]
    begun = {name: _find_start(days, partial(_is_empty, days, name)) for name in gone}
    for since in sorted(set(begun.values()), key=lambda day: day or ""):
        names = [name for name in gone if begun[name] == since]
        one = len(names) == 1
        yield Finding(
            trouble="health",
            level="warning",
            check="schema",
            subject=names[0] if one else None,
            words=f"No row of {newest} has a value of the {'column' if one else 'columns'} {_join_names(names)}, which "
            "the model was trained with.",
            since=since,
            day=newest,
            expected=1 - usual[names[0]] if one else None,
            found=0.0 if one else None,
        )
    if new := sorted(there.keys() - usual.keys()):
        shown = ", ".join(new[:5]) + (f" and {len(new) - 5} more" if len(new) > 5 else "")
        yield make_note("schema", f"Rows of {newest} have columns that the model does not know: {shown}.")


def _is_empty(days: _Days, name: str, at: int) -> bool | None:
    day = days.names[at]
    column = days.columns.get(day, {}).get(name)
    if not days.rows.get(day):
        return None
    return column is None or column.missing == column.rows


def _check_missing(view: HealthView, days: _Days, policy: ServiceHealth) -> Iterator[Finding]:
    """Check each column's share of missing values against the reference's."""
    if policy.missing is None or view.usual is None:
        return
    usual = view.usual.missing
    wrong: list[Finding] = []
    for name, expected in usual.items():
        share = partial(_count_bad, days, name, attrgetter("missing"))
        found = _pool(days, share)
        if found is None or found.bad == found.rows or found.share - expected < policy.missing:
            continue
        limit = expected + policy.missing
        wrong.append(
            Finding(
                trouble="health",
                level="warning",
                check="missing",
                subject=name,
                words=f"{found.share:.1%} of the values of {name} are missing; in training it was {expected:.1%}.",
                since=_find_start(days, partial(_is_beyond, share, limit)),
                day=days.names[-1],
                expected=expected,
                found=found.share,
            )
        )
    yield from _limit("missing", wrong)


def _check_unseen(days: _Days, policy: ServiceHealth) -> Iterator[Finding]:
    """Check the share of rows with a category that training did not show."""
    if policy.unseen is None:
        return
    wrong: list[Finding] = []
    names = sorted({name for there in days.columns.values() for name, one in there.items() if one.unseen})
    for name in names:
        share = partial(_count_bad, days, name, attrgetter("unseen"))
        found = _pool(days, share)
        limit = policy.unseen
        if found is None or found.share < limit:
            continue
        wrong.append(
            Finding(
                trouble="health",
                level="warning",
                check="unseen",
                subject=name,
                words=f"{found.share:.1%} of the rows have a value of {name} that training did not show.",
                since=_find_start(days, partial(_is_beyond, share, limit)),
                day=days.names[-1],
                expected=0.0,
                found=found.share,
            )
        )
    yield from _limit("unseen", wrong)


def _count_bad(days: _Days, name: str, count: Callable[[_Column], int], at: int) -> Part:
    """Count a column's bad values on the day at a place."""
    column = days.columns.get(days.names[at], {}).get(name, _Column())
    return Part(count(column), column.rows)


def _pool(days: _Days, share: Callable[[int], Part]) -> Part | None:
    """Take as many of the newest days together as have enough rows; None where all have too few."""
    bad = rows = 0
    for at in range(len(days.names) - 1, max(-1, len(days.names) - 1 - RECENT), -1):
        part = share(at)
        bad, rows = bad + part.bad, rows + part.rows
        if rows >= LEAST_ROWS:
            return Part(bad, rows)
    return None


def _is_beyond(share: Callable[[int], Part], limit: float, at: int) -> bool | None:
    """Whether a day is beyond a limit; None where it has no rows and so says nothing."""
    part = share(at)
    return part.share >= limit if part.rows else None


def _find_start(days: _Days, is_odd: Callable[[int], bool | None]) -> Day:
    """Find the first of the newest days in a row that are odd; days that say nothing are passed over."""
    start = len(days.names) - 1
    for at in range(len(days.names) - 1, -1, -1):
        odd = is_odd(at)
        if odd is False:
            break
        if odd:
            start = at
    return days.names[start]


def _join_names(names: Sequence[str]) -> str:
    """Names as a sentence has them: not all of very many, and the beginning of a long one."""
    cut = [name if len(name) <= LONGEST_NAME else f"{name[:LONGEST_NAME]}…" for name in names]
    shown = [*cut[:MOST_COLUMNS], *([f"{more} more"] if (more := len(names) - MOST_COLUMNS) > 0 else [])]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def _count_rest(check: str, names: Sequence[str]) -> Iterator[Finding]:
    if (more := len(names) - MOST_COLUMNS) > 0:
        yield make_note(check, f"The same is true of {more} more columns.")


def _limit(check: str, findings: Sequence[Finding]) -> Iterator[Finding]:
    """The worst findings of a kind, and how many there are more."""
    worst = sorted(findings, key=lambda one: (one.expected or 0) - (one.found or 0))
    yield from worst[:MOST_COLUMNS]
    yield from _count_rest(check, [one.subject or "" for one in worst])
