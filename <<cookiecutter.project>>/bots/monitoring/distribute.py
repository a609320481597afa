"""Counts many files of the prediction log: one after the other here, or side by side on a Dask cluster."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bots.monitoring import cluster
from bots.monitoring.summaries import FileSummary, SummaryError, summarize_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from bots.monitoring.summary_spec import SummarySpec


def summarize_files(
    paths: Iterable[Path], spec: SummarySpec, *, client: Any | None = None
) -> Iterator[tuple[Path, FileSummary | SummaryError]]:
    """Yield the summary of each file, or why it cannot be counted, in any order, few in memory at a time.

    `client` is a Dask cluster's, from `cluster.connect_cluster`, or None. A worker reads the file itself where it sees
    the same one, else it is sent the bytes. Raises `cluster.ClusterError` where no worker is left.
    """
    if client is None:
        yield from ((path, _try_file(path, spec)) for path in paths)
        return
    sent: set[Path] = set()

    def submit_file(client: Any, path: Path) -> Any:
        content = client.scatter(path.read_bytes(), hash=False) if path in sent else None
        return cluster.submit_call(client, count_on_worker, find_file(path), spec, data=content)

    waiting = list(paths)
    while waiting:
        unseen = []
        for path, found in cluster.run_jobs(client, submit_file, waiting):
            if isinstance(found, str):
                yield path, SummaryError(found)
            elif found is None:
                unseen.append(path)
            else:
                yield path, found
        sent.update(unseen)
        waiting = unseen


def _try_file(path: Path, spec: SummarySpec) -> FileSummary | SummaryError:
    try:
        return summarize_file(path, spec)
    except SummaryError as error:
        return error


def find_file(path: Path) -> tuple[str, int, int]:
    """Where a file is, its size, and when it changed: what tells it from another one. Raises OSError."""
    stamp = path.stat()
    return str(path.resolve()), stamp.st_size, stamp.st_mtime_ns


def count_on_worker(
    where: tuple[str, int, int], spec: SummarySpec, content: bytes | None
) -> FileSummary | str | None:
    """Count a file on a worker: its summary, or a `SummaryError` in words; None where the worker does not see it.

    `where` is the path, its size and when it changed; `content` its bytes where they were sent.
    """
    path = Path(where[0])
    try:
        if content is not None:
            with tempfile.TemporaryDirectory() as folder:
                copy = Path(folder) / path.name
                copy.write_bytes(content)
                return summarize_file(copy, spec)
        return summarize_file(path, spec) if find_file(path) == where else None
    except OSError:
        return None
    except SummaryError as error:
        return str(error)
