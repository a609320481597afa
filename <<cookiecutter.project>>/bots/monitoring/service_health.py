"""Checks what the running service counts of itself: whether it answers, fails, refuses, is slow, and loses entries."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from msgspec import Struct

from bots.monitoring.findings import Part, make_note
from bots.monitoring.service import ServiceCounts, ServiceLook, add_counts, list_intervals
from bots.observations import Day, Finding, Level
from bots.settings import ServiceHealth

LEAST_REQUESTS: Final = 200  # from which on shares are judged, of as many looks as that takes
LEAST_EVENTS: Final = 2  # one failure is none
Interval = tuple[ServiceLook, ServiceCounts]


class _Kind(Struct, frozen=True):
    """A share that is judged: of what `count` says, at most `limit`."""

    check: str
    level: Level
    limit: float | None
    words: str
    count: Callable[[ServiceCounts], Part]


def check_service(looks: Sequence[ServiceLook] | None, policy: ServiceHealth) -> Iterator[Finding]:
    """Check the service by the looks at it, the oldest first; None where nobody can ask it from here."""
    if looks is None:
        words = "Errors, latency and availability are not judged: the service cannot be asked from here."
        yield make_note("service", words)
        return
    if not looks:
        return
    if not looks[-1].answered:
        yield _describe_silence(looks)
        return
    intervals = list_intervals(looks)
    for kind in _list_kinds(policy):
        yield from _check_share(intervals, kind)
    yield from _check_latency(intervals, policy.latency)
    yield from _check_lost(intervals[-1])


def _describe_silence(looks: Sequence[ServiceLook]) -> Finding:
    """Describe that the service did not answer at the newest look."""
    newest = since = looks[-1]
    last = "it never did"
    for look in reversed(looks):
        if look.answered:
            last = f"it last did at {look.at}"
            break
        since = look
    return Finding(
        trouble="health",
        level="alarm",
        check="availability",
        subject="service",
        words=f"The service did not answer at {newest.at}; {last}. It does not run, or cannot be reached from here.",
        since=since.at[:10],
        expected=1.0,
        found=0.0,
    )


def _list_kinds(policy: ServiceHealth) -> list[_Kind]:
    def count_failed(one: ServiceCounts) -> Part:
        return Part(one.failed, one.requests)

    def count_refused(one: ServiceCounts) -> Part:
        return Part(one.refused, one.requests)

    def count_not_ready(one: ServiceCounts) -> Part:
        return Part(one.not_ready, one.ready + one.not_ready)

    away = None if policy.availability is None else 1 - policy.availability
    return [
        _Kind("errors", "alarm", policy.errors, "of the requests failed (5xx)", count_failed),
        _Kind("refused", "warning", policy.refused, "of the requests were refused (4xx)", count_refused),
        _Kind(
            "availability", "alarm", away, "of the times that it was asked it was not ready", count_not_ready
        ),
    ]


def _check_share(intervals: Sequence[Interval], kind: _Kind) -> Iterator[Finding]:
    """Check one share over the newest looks that have enough to tell."""
    if kind.limit is None:
        return
    taken, since = _take_enough(intervals, kind)
    if taken.rows < LEAST_REQUESTS:
        words = f"The share cannot be judged: {taken.rows} were counted, {LEAST_REQUESTS} are needed."
        yield make_note(kind.check, words)
    elif taken.bad >= LEAST_EVENTS and taken.share >= kind.limit:
        yield Finding(
            trouble="health",
            level=kind.level,
            check=kind.check,
            subject="service",
            words=f"{taken.share:.2%} {kind.words} ({taken.bad:,} of {taken.rows:,}); expected is less than "
            f"{kind.limit:.2%}.",
            since=since,
            expected=kind.limit,
            found=taken.share,
        )


def _take_enough(intervals: Sequence[Interval], kind: _Kind) -> tuple[Part, Day]:
    """Take as many of the newest intervals together as have enough, and the day since which the share is beyond."""
    bad = rows = 0
    since = intervals[-1][0].at[:10]
    for look, counts in reversed(intervals):
        part = kind.count(counts)
        if rows >= LEAST_REQUESTS and part.rows and part.share < (kind.limit or 0):
            break
        if rows < LEAST_REQUESTS:
            bad, rows = bad + part.bad, rows + part.rows
        if part.bad:
            since = look.at[:10]
    return Part(bad, rows), since


def _check_latency(intervals: Sequence[Interval], limit: float | None) -> Iterator[Finding]:
    """Check the time that 99 of 100 answers take at most."""
    if limit is None:
        return
    since = intervals[-1][0].at[:10]
    taken = ServiceCounts()
    for look, counts in reversed(intervals):
        if taken.requests >= LEAST_REQUESTS:
            if counts.requests and counts.find_quantile(0.99) <= limit:
                break
        else:
            taken = add_counts([taken, counts])
        since = look.at[:10] if counts.requests else since
    slowest = taken.find_quantile(0.99)
    if taken.requests >= LEAST_REQUESTS and slowest > limit:
        yield Finding(
            trouble="health",
            level="alarm",
            check="latency",
            subject="service",
            words=f"1% of {taken.requests:,} answers took longer than {slowest:.3g} s; expected is {limit:g} s.",
            since=since,
            expected=limit,
            found=slowest,
        )


def _check_lost(newest: Interval) -> Iterator[Finding]:
    """Check for answers that the log does not have."""
    look, counts = newest
    if counts.lost:
        yield Finding(
            trouble="health",
            level="alarm",
            check="lost entries",
            subject="prediction log",
            words=f"{counts.lost:,} predictions were answered and are not in the log, so nobody can judge them.",
            since=look.at[:10],
            expected=0.0,
            found=float(counts.lost),
        )
