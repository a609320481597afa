"""Measure a review's comparison: its time and memory, or with `--coverage DRAWS` how often an interval holds the truth.

Time: ten metrics and three slice columns with 22 slices, one process. `--rows N` instead writes predictions of two
models on N rows as the pipeline does, and reads, checks and compares them in a process of its own: seconds, memory.
Coverage, and with `--slices DRAWS` how often slices of equally good models raise an alarm: docs/statistics.md.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "<<cookiecutter.project>>"), str(ROOT / "tests")]

import numpy as np  # noqa: E402
from msgspec import structs  # noqa: E402

from bots.settings import GateSlices  # noqa: E402
from bots.stats.predictions import Predictions  # noqa: E402
from bots.verdict import comparison  # noqa: E402
from fixtures import simulated  # noqa: E402

if TYPE_CHECKING:
    import pyarrow as pa

SIZES = (100_000, 200_000, 400_000)
DAYS = 365
SLICES = {"carrier": 16, "origin": 3, "month": 3}
DESIGNS: dict[str, dict[str, Any]] = {
    "500": {"rows": 500},
    "1,000": {"rows": 1000},
    "3,000": {"rows": 3000},
    "3,000 in 62": {"rows": 3000, "clusters": 62},
    "3,000 in 20": {"rows": 3000, "clusters": 20},
    "1,500 in 10": {"rows": 1500, "clusters": 10},
}
UNEVEN: dict[str, dict[str, Any]] = {
    "62, one with 30%": {"rows": 3000, "clusters": 62, "giant": 0.3},
    "20, one with 30%": {"rows": 3000, "clusters": 20, "giant": 0.3},
    "1% touched": {"rows": 3000, "touched": 0.01},
    "62, 1% touched": {"rows": 20_000, "clusters": 62, "touched": 0.01},
    "62, correlated 0.7": {"rows": 3000, "clusters": 62, "correlation": 0.7},
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--coverage", type=int, metavar="DRAWS", help="measure coverage in so many draws instead"
    )
    parser.add_argument("--rows", type=int, metavar="N", help="measure reading and comparing N rows instead")
    parser.add_argument(
        "--slices", type=int, metavar="DRAWS", help="measure the false alarms of slices in so many draws"
    )
    parser.add_argument("--within", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.within:
        print(json.dumps(read_and_compare(arguments.within)))
    elif arguments.rows:
        print_reading(arguments.rows)
    elif arguments.slices:
        print_false_alarms(arguments.slices)
    elif arguments.coverage:
        print_coverage(DESIGNS, arguments.coverage)
        print_coverage(UNEVEN, arguments.coverage)
    else:
        print_times()


def print_times() -> None:
    """Print a line for each size, with rows and with clusters as units."""
    policy = simulated.make_policy()
    print("| rows | units | seconds | of processor | per 100k | memory, MB |")
    print("| ---: | --- | ---: | ---: | ---: | ---: |")
    for rows in SIZES:
        for clusters in (0, 62, rows // 10):
            predictions = _make_predictions(rows, clusters)
            started, busy = time.perf_counter(), time.process_time()
            comparison.compare(predictions, policy)
            seconds, busy = time.perf_counter() - started, time.process_time() - busy
            what = f"{clusters:,} clusters" if clusters else "rows"
            figures = f"{seconds:.2f} | {busy:.2f} | {busy * 1e5 / rows:.2f} | {_measure_memory():.0f}"
            print(f"| {rows:,} | {what} | {figures} |", flush=True)


def print_reading(rows: int) -> None:
    """Print seconds and memory of reading and comparing two tables of so many rows, in a process of its own."""
    with TemporaryDirectory(prefix="comparison-") as folder:
        _write_tables(Path(folder), rows)
        told = subprocess.run(
            [sys.executable, __file__, "--within", folder], check=True, stdout=subprocess.PIPE, text=True
        )
    print(f"{rows:,} rows: {json.loads(told.stdout)}")


def read_and_compare(folder: Path) -> dict[str, float]:
    """Read the two tables as a review does, check the one against its own figures, and compare them."""
    from bots.evidence import Metric, MetricsReport
    from bots.review import holdout
    from bots.stats.predictions import read_table

    policy = simulated.make_policy()
    started = time.perf_counter()
    report = MetricsReport(
        task="classification",
        primary="roc_auc",
        values={},
        metrics=[Metric(name="roc_auc", value=0.5, direction="higher")],
        slices=[],
        calibration=[],
        rows=1,
        holdout="md5:" + 32 * "0",
        threshold=0.3,
    )
    found = holdout.load_predictions(folder, policy, report)
    reading = time.perf_counter() - started
    truth = read_table(folder / "main.parquet", "main's predictions")
    pair = replace(found.pair_with(truth, truth=truth, policy=policy), champion_threshold=0.3)
    result = comparison.compare(pair, policy)
    seconds = time.perf_counter() - started
    assert len(result.metrics) == 10
    return {
        "seconds": round(seconds, 1),
        "of processor": round(time.process_time(), 1),
        "of them reading": round(reading, 1),
        "memory, MB": round(_measure_memory()),
        "slices judged": result.statistics.slices_judged,
    }


def print_coverage(designs: dict[str, dict[str, Any]], draws: int) -> None:
    """Print the percentage of intervals that hold the truth: a line for each metric, a column for each design."""
    print(f"| rows (in units) | {' | '.join(designs)} |\n| --- {'| ---: ' * len(designs)}|")
    for task, names in simulated.METRICS.items():
        found = [
            simulated.measure_coverage(task, draws=draws, **{"clusters": 0, **design})
            for design in designs.values()
        ]
        for name in names:
            print(f"| {name} | {' | '.join(f'{100 * each[name]:.1f}' for each in found)} |", flush=True)
    print()


def print_false_alarms(draws: int) -> None:
    """Print how often any of 22 slices of two equally good models is called better or worse."""
    kinds = 22
    for rows, clusters in ((200, 0), (500, 62)):
        for name in ("roc_auc", "log_loss"):
            random = np.random.default_rng(1)
            policy = simulated.make_quick_policy(
                primary=name, matters={}, guards=[], slices=GateSlices(rows=1, matters=0.0)
            )
            policy = structs.replace(policy, evaluate=structs.replace(policy.evaluate, metrics=[name]))
            alarms = 0
            for _ in range(draws):
                drawn = _draw_equally_good(rows * kinds, clusters, random, kinds=kinds)
                found = comparison.compare(drawn, policy)
                alarms += any(part.outcome in ("improved", "regressed") for part in found.slices)
            where = f"in {clusters} clusters" if clusters else "each a unit"
            print(f"{name}, {rows} rows a slice, {where}: {alarms / draws:.1%}", flush=True)


def _draw_equally_good(rows: int, clusters: int, random: np.random.Generator, *, kinds: int) -> Predictions:
    drawn = simulated.draw_predictions("classification", rows, random, clusters=clusters)
    # Which of the two a row's score comes from is a coin's throw, for whole clusters: neither model is better.
    coins = random.random(max(clusters, rows)) < 0.5
    swapped = coins[np.asarray(drawn.clusters)] if clusters else coins[:rows]
    assert drawn.champion is not None
    return replace(
        drawn,
        champion=np.where(swapped, drawn.candidate, drawn.champion),
        candidate=np.where(swapped, drawn.champion, drawn.candidate),
        slices={"kind": random.integers(0, kinds, rows).astype(str)},
    )


def _measure_memory() -> float:
    """The most memory of this process, MB; `getrusage` would count what its parent had when it was started."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise SystemExit("no VmHWM in /proc/self/status: the memory of a process is measured on Linux only")


def _make_predictions(rows: int, clusters: int) -> Predictions:
    random = np.random.default_rng(rows)
    slices = {name: random.integers(0, kinds, rows).astype(str) for name, kinds in SLICES.items()}
    return simulated.draw_predictions("classification", rows, random, clusters=clusters, slices=slices)


def _write_tables(folder: Path, rows: int) -> None:
    """The candidate's predictions, main's, and the holdout's row numbers, where a project has them."""
    import pyarrow as pa
    from pyarrow import parquet

    from bots.layout import Layout

    random = np.random.default_rng(7)
    drawn = simulated.draw_predictions("classification", rows, random, clusters=DAYS)
    days = np.datetime64("2013-01-01") + np.asarray(drawn.clusters).astype("timedelta64[D]")
    shared: dict[str, Any] = {
        "row": pa.array(np.arange(rows)).cast(pa.string()),
        "target": drawn.target,
        "slice:date": _encode(days.astype(str)),
    }
    shared |= {
        f"slice:{name}": _encode(random.integers(0, kinds, rows).astype(str))
        for name, kinds in SLICES.items()
    }
    files = Layout()
    for path, column in ((files.predictions, drawn.candidate), ("main.parquet", drawn.champion)):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        parquet.write_table(pa.table({**shared, "score": column}), folder / path)
    (folder / files.holdout_rows).parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pa.table({"row": shared["row"]}), folder / files.holdout_rows)


def _encode(labels: np.ndarray) -> pa.Array:
    """Text as a Parquet file of pandas holds it."""
    import pyarrow as pa

    return pa.array(labels).cast(pa.string())


if __name__ == "__main__":
    main()
