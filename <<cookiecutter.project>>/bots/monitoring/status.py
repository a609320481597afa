"""Writes what others read of a run of the watch: its status, two badges; and says when nobody may watch for long."""

from __future__ import annotations

from typing import Final

import msgspec

from bots.layout import RUNNING_BADGE, WATCH_BADGE, WATCH_STATUS
from bots.naming import ALONE, Naming
from bots.observations import Finding, Instant, WatchReport, WatchStatus
from bots.render.watch_status import count_hours, render_badge, render_running_badge

SILENT_DAYS: Final = 50
GITHUB_DAYS: Final = 60
"""GitHub stops schedules in a public repository after so many days without activity."""


def build_status(report: WatchReport) -> WatchStatus:
    """Build the status of a run from its report."""
    going = [episode.since for episode in report.episodes if episode.until is None]
    since = min(going, default=None) if report.condition not in ("well", "labels pending") else None
    return WatchStatus(at=report.at, condition=report.condition, words=report.words, since=since)


def build_status_files(report: WatchReport) -> dict[str, bytes]:
    """Build the files of the branch `monitoring` that tell others how production is: path to content."""
    status = build_status(report)
    return {
        WATCH_STATUS: msgspec.json.format(msgspec.json.encode(status), indent=2) + b"\n",
        WATCH_BADGE: render_badge(status).encode(),
        RUNNING_BADGE: render_running_badge(report.deployments).encode(),
    }


def warn_of_silence(last_commit: Instant, now: Instant, naming: Naming = ALONE) -> Finding | None:
    """Warn that GitHub is about to stop the schedule of a public repository; None while main is busy.

    `last_commit` is when main's newest commit was made. GitHub does not say what else counts as activity, so this is a
    note and no alarm.
    """
    days = int(count_hours(last_commit, now) // 24)
    if days < SILENT_DAYS:
        return None
    return Finding(
        trouble="blind",
        level="note",
        check="schedule",
        words=f"Nothing was committed to main for {days} days. In a public repository GitHub stops schedules after "
        f"{GITHUB_DAYS} days without activity, and then nobody watches production: commit something, or enable the "
        f"workflow {naming.title_workflow('Monitor')} again under Actions.",
        since=last_commit[:10],
        found=float(days),
        threshold=float(GITHUB_DAYS),
    )
