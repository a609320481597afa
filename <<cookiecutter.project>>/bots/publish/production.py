"""Finds what the watch last said of production, for the end of a review's comment.

The branch `monitoring` is written by the default branch's bots. It is read as data of a known shape all the same,
because whoever may push here may push there too; what it says is shown and decides nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from bots.decoding import DECODE_ERRORS
from bots.git.bare import Remote, find_folder, open_bare
from bots.git.repository import GitError
from bots.layout import WATCH_STATUS
from bots.log import make_visible
from bots.observations import WatchStatus
from bots.render.escape import escape_prose
from bots.render.watch_status import WORKFLOW, describe_status
from bots.retry import RetriesExhausted, Retry
from bots.settings import MonitoringSettings, SettingsError, load_naming, load_settings

LARGEST: Final = 100_000


def find_production_note(
    root: Path, environ: Mapping[str, str], now: float, retry: Retry, model: str | None = None
) -> str:
    """Find what a review says of production: Markdown, or nothing where nobody watches and nobody asked to.

    `now` is in seconds since 1970; `model` is a further model of the project.
    """
    try:
        content = _read_status(root, environ, retry, model)
    except (GitError, RetriesExhausted) as error:
        why = escape_prose(make_visible(error, 200))
        return f"\n<sub>What the watch knows of production could not be read: {why}</sub>\n"
    if content is None:
        return _ask_for_watch(root, model)
    try:
        if len(content) > LARGEST:
            raise msgspec.DecodeError("too large")
        status = msgspec.json.decode(content, type=WatchStatus)
        at = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return f"\n{describe_status(status, at, load_naming(root))}\n"
    except (*DECODE_ERRORS, ValueError):
        return f"\n<sub>What the watch says of production in `{WATCH_STATUS}` cannot be read.</sub>\n"


def _read_status(root: Path, environ: Mapping[str, str], retry: Retry, model: str | None) -> bytes | None:
    """Read the status from the watch's branch; None where nobody has written one."""
    branch = load_naming(root, model).monitoring_branch
    with open_bare(root, Remote.from_checkout(root, environ)) as bare:
        tip = retry.call("production", lambda: bare.fetch_tip(branch))
        blob = bare.list_files(tip).get(f"{find_folder(root)}{WATCH_STATUS}") if tip else None
        if tip is None or blob is None:
            return None
        retry.call("production", lambda: bare.fetch_blobs(tip, [blob]))
        return bare.read_blob(blob)


def _ask_for_watch(root: Path, model: str | None) -> str:
    try:
        settings = load_settings(root, model).monitoring
    except SettingsError:
        return ""
    if settings.labels.source is None and settings.predictions is None:
        return ""
    where = f"Actions > {load_naming(root).title_workflow(WORKFLOW)}"
    return f"\n<sub>{_describe_wish(settings)}, and production was never watched: *{where}*.</sub>\n"


def _describe_wish(settings: MonitoringSettings) -> str:
    named = "labels.source" if settings.labels.source is not None else "predictions"
    return f"`params.yaml` has a `monitoring.{named}`"
