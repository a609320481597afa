"""Measure how fast the watch counts the prediction log, beside a bare scan of the same files and Evidently.

`--rows 1 10 100` are millions of rows of 15 columns, in files of a million rows as the service writes them (zstd
Parquet, 10 columns of the prediction beside those of the row). Each way of reading them runs in a process of its own:
seconds, seconds of processor time, rows a second, peak memory. With one thread, so that work is compared with work;
`--threads` leaves pyarrow its own number. `--dask` counts them on a scheduler with one and with two worker processes.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "<<cookiecutter.project>>"), str(ROOT / "tests")]

import numpy as np  # noqa: E402

from bots.monitoring import cluster  # noqa: E402
from bots.monitoring.distribute import summarize_files  # noqa: E402
from bots.monitoring.summaries import FileSummary, sum_inputs  # noqa: E402
from bots.stats.histograms import choose_edges  # noqa: E402
from fixtures.dask_cluster import run_cluster  # noqa: E402
from fixtures.prediction_log import ONNX, make_spec  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bots.monitoring.summary_spec import SummarySpec

MILLION = 1_000_000
NUMBERS = tuple(f"number{at}" for at in range(12))
CATEGORIES = {"carrier": 16, "origin": 3, "dest": 105}
EVIDENTLY_ROWS = 2
"""Millions: of 3 million rows it needs 4 GB and minutes (docs of the template say how much)."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, nargs="+", default=[1, 10], metavar="MILLIONS")
    parser.add_argument("--folder", type=Path, help="where the files are written, and left")
    parser.add_argument("--threads", action="store_true")
    parser.add_argument("--dask", action="store_true")
    parser.add_argument("--way", choices=["scan", "count", "evidently"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        if options.way:
            print(json.dumps(read_files(options.way, list_files(folder, options.rows[0]), options.threads)))
            return
        write_files(folder, max(options.rows))
        for rows in options.rows:
            if options.dask:
                measure_cluster(list_files(folder, rows))
            else:
                measure_ways(folder, rows, options.threads)


def measure_ways(folder: Path, rows: int, threads: bool) -> None:
    ways = ["scan", "count", *(["evidently"] if rows <= EVIDENTLY_ROWS else [])]
    for way in ways:
        words = [sys.executable, __file__, "--way", way, "--rows", str(rows), "--folder", str(folder)]
        words += ["--threads"] if threads else []
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"{rows:>4} million  {way:<10} failed: {done.stderr[-300:]}", flush=True)
            continue
        found = json.loads(done.stdout.splitlines()[-1])
        print(
            f"{rows:>4} million  {way:<10} {found['seconds']:8.1f} s  {found['processor']:8.1f} s of a processor  "
            f"{rows * MILLION / found['seconds'] / 1e6:6.2f} million rows/s  {found['megabytes']:6.0f} MB",
            flush=True,
        )  # fmt: skip


def make_log_spec() -> SummarySpec:
    """What is counted of 12 numbers and 3 categories, as of the example."""
    return make_spec(
        numbers=NUMBERS,
        categories={name: frozenset(name_values(name)) for name in CATEGORIES},
        edges=choose_edges("classification", 0.3),
    )


def name_values(name: str) -> list[str]:
    return [f"{name} {at}" for at in range(CATEGORIES[name])]


def list_files(folder: Path, millions: int) -> list[Path]:
    return [folder / f"{at:04}.parquet" for at in range(millions)]


def write_files(folder: Path, millions: int) -> None:
    """Write files that are not there yet: a million rows each, two files a day."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(1)
    shared = make_columns(random)
    ids = pa.array([f"-{at:x}" for at in range(MILLION)])
    for at, path in enumerate(list_files(folder, millions)):
        if path.exists():
            continue
        day = np.datetime64("2026-01-01") + at // 2
        start = day.astype("datetime64[ms]") + (at % 2) * 43_200_000
        times = start + np.sort(random.integers(0, 43_200_000, MILLION)).astype("timedelta64[ms]")
        columns = {
            "prediction:id": pc.binary_join_element_wise(random.bytes(8).hex(), ids, ""),
            "prediction:time": pc.binary_join_element_wise(
                pc.strftime(pa.array(times), format="%Y-%m-%dT%H:%M:%S"), "Z", ""
            ),
            **shared,
        }
        pq.write_table(pa.table(columns), path, compression="zstd", compression_level=3)


def make_columns(random: np.random.Generator) -> dict[str, Any]:
    """All columns of a file but those that tell its rows apart."""
    import pyarrow as pa

    score = random.beta(1, 3, MILLION).astype(np.float32).astype(np.float64)
    empty = pa.nulls(MILLION, pa.float64())
    columns: dict[str, Any] = {
        "prediction:version": pa.array(["v1.0.0"] * MILLION),
        "prediction:onnx": pa.array([ONNX] * MILLION),
        "prediction:score": score,
        "prediction:label": score >= 0.3,
        "prediction:low": empty,
        "prediction:high": empty,
        "prediction:fallback": np.zeros(MILLION, dtype=bool),
        "prediction:warnings": np.where(random.random(MILLION) < 0.01, "number0:beyond", ""),
    }
    for at, name in enumerate(NUMBERS):
        whole = random.integers(0, 60, MILLION).astype(np.float64)
        values = whole if at % 2 else random.normal(size=MILLION).astype(np.float32).astype(np.float64)
        columns[name] = pa.array(values, mask=random.random(MILLION) < (0.0 if at % 3 else 0.01))
    for name in CATEGORIES:
        columns[name] = random.choice(name_values(name), MILLION)
    return {
        name: pa.array(values) if isinstance(values, np.ndarray) else values
        for name, values in columns.items()
    }


def read_files(way: str, paths: Sequence[Path], threads: bool) -> dict[str, float]:
    """Read all files in one of the ways, in this process."""
    import pyarrow as pa

    if not threads:
        pa.set_cpu_count(1)
        pa.set_io_thread_count(1)
    start, processor = time.perf_counter(), time.process_time()
    {"scan": scan_files, "count": count_files, "evidently": report_files}[way](paths)
    return {
        "seconds": time.perf_counter() - start,
        "processor": time.process_time() - processor,
        "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def scan_files(paths: Sequence[Path]) -> None:
    """Read every column of every file, batch by batch, and do nothing with it."""
    import pyarrow.parquet as pq

    for path in paths:
        with pq.ParquetFile(path) as file:
            for _ in file.iter_batches(2**16):
                pass


def count_files(paths: Sequence[Path]) -> None:
    total = None
    for _, found in summarize_files(paths, make_log_spec()):
        assert isinstance(found, FileSummary)
        total = sum_inputs([*([] if total is None else [total]), *found.days.values()], 200)
    assert total is not None
    assert total.rows == len(paths) * MILLION


def report_files(paths: Sequence[Path]) -> None:
    """Evidently's preset on all rows against as many of the reference."""
    import pyarrow.parquet as pq
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    columns = [*NUMBERS, *CATEGORIES]
    definition = DataDefinition(numerical_columns=list(NUMBERS), categorical_columns=list(CATEGORIES))
    frame = pq.read_table(list(map(str, paths)), columns=columns).to_pandas()
    current, reference = (Dataset.from_pandas(frame, data_definition=definition) for _ in range(2))
    Report([DataDriftPreset()]).run(current, reference)


def measure_cluster(paths: Sequence[Path]) -> None:
    """Count all files with one worker process and with two.

    Beside the seconds stand those that processors worked: of all workers, and of this process, which hands files out
    and takes summaries in one after the other. On a busy machine only these tell how well the work can be shared.
    """
    for workers in (1, 2):
        with (
            tempfile.TemporaryDirectory() as folder,
            run_cluster(Path(folder), workers=workers) as started,
            cluster.connect_cluster(started.environ) as client,
        ):
            client.wait_for_workers(workers)
            worked = -sum(client.run(time.process_time).values())
            start, own = time.perf_counter(), time.process_time()
            found = summarize_files(paths, make_log_spec(), client=client)
            rows = 0
            for _, each in found:
                assert isinstance(each, FileSummary)
                rows += sum(day.rows for day in each.days.values())
            seconds, own = time.perf_counter() - start, time.process_time() - own
            worked += sum(client.run(time.process_time).values())
        speed = rows / seconds / 1e6
        print(
            f"{rows / 1e6:4.0f} million  {workers} worker(s)  {seconds:6.1f} s  {speed:.2f} million rows/s  "
            f"{worked:6.1f} s of the workers' processors, {own:.1f} s here",
            flush=True,
        )


if __name__ == "__main__":
    main()
