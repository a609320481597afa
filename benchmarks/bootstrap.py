"""Measure the time of a review's statistics, or with `--coverage DRAWS` how often their intervals hold the truth.

Time: all ten metrics, three slice columns with 22 slices, 2,000 replicates, one process. `per 100k` is the seconds of
processor time for each 100,000 rows; it is constant if the time grows linearly. Coverage: the table of
docs/statistics.md.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "<<cookiecutter.project>>"), str(ROOT / "tests")]

import numpy as np  # noqa: E402

from bots.stats.predictions import Predictions  # noqa: E402
from bots.verdict import comparison  # noqa: E402
from fixtures import simulated  # noqa: E402

SIZES = (100_000, 200_000, 400_000)
DESIGNS = ((500, 0), (1000, 0), (3000, 0), (3000, 62), (3000, 20), (1500, 10))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--coverage", type=int, metavar="DRAWS", help="measure coverage in so many draws instead"
    )
    draws = parser.parse_args().coverage
    print_times() if draws is None else print_coverage(draws)


def print_times() -> None:
    """Print a line for each size, resampled by rows and by clusters."""
    policy = simulated.make_policy()
    print("| rows | resampled | seconds | of processor | per 100k | memory, MB |")
    print("| ---: | --- | ---: | ---: | ---: | ---: |")
    for rows in SIZES:
        for clusters in (0, 62, rows // 10):
            predictions = _make_predictions(rows, clusters)
            started, busy = time.perf_counter(), time.process_time()
            comparison.compare(predictions, policy)
            seconds, busy = time.perf_counter() - started, time.process_time() - busy
            memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            what = f"{clusters:,} clusters" if clusters else "rows"
            figures = f"{seconds:.2f} | {busy:.2f} | {busy * 1e5 / rows:.2f} | {memory:.0f}"
            print(f"| {rows:,} | {what} | {figures} |", flush=True)


def print_coverage(draws: int) -> None:
    """Print the percentage of intervals that hold the truth: a line for each metric, a column for each design."""
    heads = [f"{rows:,}" + (f" in {clusters}" if clusters else "") for rows, clusters in DESIGNS]
    print(f"| rows (in clusters) | {' | '.join(heads)} |\n| --- {'| ---: ' * len(heads)}|")
    for task, names in simulated.METRICS.items():
        found = [
            simulated.measure_coverage(task, rows=rows, clusters=clusters, draws=draws)
            for rows, clusters in DESIGNS
        ]
        for name in names:
            print(f"| {name} | {' | '.join(f'{100 * each[name]:.1f}' for each in found)} |", flush=True)


def _make_predictions(rows: int, clusters: int) -> Predictions:
    random = np.random.default_rng(rows)
    columns = {"carrier": 16, "origin": 3, "month": 3}
    slices = {name: random.integers(0, kinds, rows).astype(str) for name, kinds in columns.items()}
    return simulated.draw_predictions("classification", rows, random, clusters=clusters, slices=slices)


if __name__ == "__main__":
    main()
