"""Ask the running service for the later months of the flights, day by day, and date its log as if it had been then.

A service logs the time at which it answers. The replay knows of which day each request was, and moves the times of the
log there, nothing else: what is logged is what the service was asked and answered.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa

BATCH = 1_000
LATENESS = timedelta(days=14)
DAY = "date"


@dataclass(frozen=True)
class ReplayedDay:
    """One day: its file of the prediction log, and the labels that become known on that day."""

    day: date
    log: Path
    rows: int


@contextmanager
def run_service(project: Path, log: Path) -> Iterator[str]:
    """Run the project's service with its log in a folder; yields its address. At the end it completes its log."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    variables = {"SERVING_HOST": "127.0.0.1", "SERVING_PORT": str(port), "SERVING_LOG": str(log)}
    with subprocess.Popen(
        (sys.executable, "-m", "serving"),
        cwd=project,
        env={**os.environ, **variables},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        address = f"http://127.0.0.1:{port}"
        try:
            _wait_until_ready(address, process)
            yield address
        finally:
            process.terminate()
            process.communicate(timeout=60)


def _wait_until_ready(address: str, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(f"{address}/health/ready", timeout=5):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            if process.poll() is not None or time.monotonic() > deadline:
                said = (
                    process.stderr.read()
                    if process.poll() is not None and process.stderr
                    else "it is not ready"
                )
                raise RuntimeError(f"the service does not start: {said[-2_000:]}") from None
            time.sleep(0.1)


def ask_service(address: str, rows: list[dict[str, Any]]) -> list[str]:
    """Ask for predictions of these rows, and return the id of each answer."""
    ids: list[str] = []
    for start in range(0, len(rows), BATCH):
        body = json.dumps(rows[start : start + BATCH]).encode()
        request = urllib.request.Request(f"{address}/predict", body, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                ids += [one["id"] for one in json.load(response)["predictions"]]
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"the service refused the rows: {error.read(2_000).decode()}") from error
    return ids


def _leave_gaps(row: dict[str, Any]) -> dict[str, Any]:
    """The row without what is missing in it: JSON has no word for a number that is none."""
    return {name: value for name, value in row.items() if value is not None and value == value}  # noqa: PLR0124


def load_days(project: Path) -> tuple[pa.Table, list[date]]:
    """Load the rows that stand for production, and the days that they are of, in order."""
    from pyarrow import parquet

    table = parquet.read_table(project / "data/splits/production.parquet")
    return table, sorted({date.fromisoformat(day) for day in table[DAY].to_pylist()})


def replay(
    project: Path, folder: Path, *, days: int | None, tell: Callable[[int, int], None]
) -> tuple[list[ReplayedDay], pa.Table]:
    """Send every day's rows to the service, then date its log; a file for each day.

    Returns the days, and the truth of each prediction: `prediction:id`, `late`, `known_at`. `tell` gets how many of how
    many days were asked.
    """
    import pyarrow as pa
    from pyarrow import compute

    table, found = load_days(project)
    found = found[:days]
    contract = json.loads((project / "models/onnx/contract.json").read_text(encoding="utf-8"))
    inputs = [one["name"] for one in contract["inputs"]]
    raw = folder / "asked"
    raw.mkdir(parents=True)
    asked: dict[str, date] = {}
    truth: list[dict[str, Any]] = []
    with run_service(project, raw) as address:
        for number, day in enumerate(found):
            rows = table.filter(compute.equal(table[DAY], day.isoformat()))
            ids = ask_service(address, [_leave_gaps(row) for row in rows.select(inputs).to_pylist()])
            asked |= dict.fromkeys(ids, day)
            known = datetime.combine(day, datetime.min.time(), UTC) + LATENESS
            truth += [
                {"prediction:id": one, "late": int(late), "known_at": known.isoformat()}
                for one, late in zip(ids, rows["late"].to_pylist(), strict=True)
                if late is not None  # a flight that never left: nobody will ever know
            ]
            tell(number + 1, len(found))
    complete_log(project, raw)
    dated = date_log(raw, folder / "predictions", asked)
    return [ReplayedDay(day, *dated[day]) for day in found], pa.Table.from_pylist(truth)


def complete_log(project: Path, log: Path) -> None:
    """Make tables of what a stopped service left, as its next start would; its own converter may still be at work."""
    code = "import pathlib, sys; from serving.log_parquet import convert_log; convert_log(pathlib.Path(sys.argv[1]))"
    deadline = time.monotonic() + 60
    while any(log.glob("*.jsonl")):
        if time.monotonic() > deadline:
            raise RuntimeError(f"the service's log in {log} does not become a table")
        subprocess.run((sys.executable, "-c", code, str(log)), cwd=project, check=True)
        time.sleep(0.1)


def date_log(source: Path, target: Path, days: dict[str, date]) -> dict[date, tuple[Path, int]]:
    """Write a log's rows into one file for each day, with times spread over that day."""
    import pyarrow as pa
    from pyarrow import compute, parquet

    target.mkdir(parents=True)
    table = pa.concat_tables([parquet.read_table(path) for path in sorted(source.glob("*.parquet"))])
    of_day = pa.array([days[one].isoformat() for one in table["prediction:id"].to_pylist()])
    written: dict[date, tuple[Path, int]] = {}
    for day in sorted(set(days.values())):
        rows = table.filter(compute.equal(of_day, day.isoformat()))
        start = datetime.combine(day, datetime.min.time(), UTC)
        seconds = np.linspace(6 * 3600, 23 * 3600, rows.num_rows)
        times = [_format_time(start + timedelta(seconds=float(one))) for one in seconds]
        place = rows.column_names.index("prediction:time")
        path = target / f"replay-{day.isoformat()}.parquet"
        parquet.write_table(
            rows.set_column(place, "prediction:time", pa.array(times)), path, compression="zstd"
        )
        written[day] = path, rows.num_rows
    return written


def _format_time(moment: datetime) -> str:
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
