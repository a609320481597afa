"""Measure how a search and the scoring of many rows are shared by the workers of a Dask cluster.

A search tries 8 sets of parameters on 3 folds of the example's training rows; scoring asks the trained model about
`--rows` rows. Both are done here first, then on a scheduler with one and with two worker processes of one thread each.
Beside the seconds stand those that processors worked, of all workers and of this process: on a busy machine only these
tell how well the work can be shared.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "<<cookiecutter.project>>"), str(ROOT / "tests")]

import numpy as np  # noqa: E402

from fixtures import trained  # noqa: E402
from fixtures.dask_cluster import run_cluster  # noqa: E402
from pipeline import cluster, files, model, score  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable

SEARCH: dict[str, Any] = {
    "iterations": 8,
    "folds": 3,
    "params": {"estimator__max_leaf_nodes": [7, 15, 31, 63], "estimator__learning_rate": [0.05, 0.1]},
}


def main() -> None:
    """Train the example, then do both tasks here and on clusters of one and of two workers."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--step", type=int, default=8, help="every so-manieth flight is trained on")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as prepared,
        tempfile.TemporaryDirectory() as kept,
        contextlib.chdir(kept),
    ):
        bench = trained.copy(trained.prepare(Path(prepared), "classification", step=options.step), Path(kept))
        if bench.run("train"):
            raise SystemExit(bench.refusal())
        fitted, frame = model.load(), files.read_table(files.FEATURES / "holdout.parquet")
        rows = frame.iloc[np.arange(options.rows) % len(frame)].reset_index(drop=True)
        bench.edit("params.model.search", SEARCH)
        bench.edit("params.model.threads", 1)

        def search() -> Any:
            if bench.run("train"):
                raise SystemExit(bench.refusal())
            return files.read_evidence("training")["search"]

        def ask() -> Any:
            return score.predict_anywhere(fitted, rows, "classification")

        for name, work in (("search", search), (f"score {options.rows:,} rows", ask)):
            measure(name, work)


def measure(name: str, work: Callable[[], Any]) -> None:
    """Do some work here and on clusters, and print how long it took and whether the result is the same."""
    start, own = time.perf_counter(), time.process_time()
    here = work()
    print(
        f"{name}: here {time.perf_counter() - start:.1f} s, {time.process_time() - own:.1f} s of processors"
    )
    for workers in (1, 2):
        with tempfile.TemporaryDirectory() as folder, run_cluster(Path(folder), workers=workers) as started:
            with cluster.connect_cluster(started.environ) as client:
                client.wait_for_workers(workers)
                worked = -sum(client.run(time.process_time).values())
            os.environ.update(started.environ)
            start, own = time.perf_counter(), time.process_time()
            try:
                found = work()
            finally:
                os.environ.pop(cluster.ADDRESS, None)
            seconds, own = time.perf_counter() - start, time.process_time() - own
            with cluster.connect_cluster(started.environ) as client:
                worked += sum(client.run(time.process_time).values())
        same = np.array_equal(found, here) if isinstance(here, np.ndarray) else found == here
        told = "the same result" if same else "ANOTHER RESULT"
        print(
            f"{name}: {workers} worker(s) {seconds:.1f} s, {worked:.1f} s of the workers' processors, "
            f"{own:.1f} s here; {told}",
            flush=True,
        )


if __name__ == "__main__":
    main()
