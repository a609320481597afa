"""What checking and splitting a table costs: seconds and memory of `acquire`, `validate` and `split`, each a process.

The table is made up: 15 columns of ids, times, numbers, gaps and categories, as text. Run it on a quiet machine:

    python benchmarks/tables.py --rows 2000000
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

ROOT = Path(__file__).parents[1]
TEMPLATE = ROOT / "<<cookiecutter.project>>"
STAGES = ("acquire", "validate", "split")


def make_table(rows: int) -> pd.DataFrame:
    """Make a table of 15 columns; the same rows each time."""
    random = np.random.default_rng(0)
    seconds = pd.to_timedelta(np.sort(random.integers(0, 730 * 86400, rows)), unit="s")
    times = pd.Timestamp("2024-01-01") + seconds
    gaps = np.where(random.random(rows) < 0.1, "", np.round(random.random(rows), 4).astype(str))
    columns: dict[str, Any] = {
        "id": np.char.add("C", np.char.zfill(random.permutation(rows).astype(str), 8)),
        "seen": times.strftime("%Y-%m-%dT%H:%M:%SZ"),
        **{f"number{n}": np.round(random.normal(100, 20, rows), 3) for n in range(6)},
        "whole": random.integers(0, 1000, rows),
        "gap": gaps,
        **{f"kind{n}": np.char.add("k", random.integers(0, n, rows).astype(str)) for n in (3, 30, 2000)},
        "zip": np.char.zfill(random.integers(1000, 99999, rows).astype(str), 5),
        "bought": (random.random(rows) < 0.2).astype(int),
    }
    return pd.DataFrame(columns)


def write_project(folder: Path, table: pd.DataFrame) -> None:
    """Write the table, its contract and its parameters."""
    sys.path.insert(0, str(ROOT / "tests"))
    from fixtures import support

    table.to_csv(folder / "rows.csv", index=False)
    params = yaml.safe_load(support.render_file("params.yaml", task="classification"))
    params["data"] |= {"source": "rows.csv", "target": "bought", "derive": {}}
    params["features"] = {
        "numeric": [f"number{n}" for n in range(6)],
        "categorical": ["kind3"],
        "derived": {},
    }
    params["evaluate"] |= {"slices": [], "fairness": []}
    params["gate"]["resample"] = "rows"
    params["drift"]["period"] = None
    params["split"] |= {
        "column": "seen",
        "train": ["2024-01-01", "2025-01-01"],
        "holdout": ["2025-01-01", "2025-07-01"],
        "production": ["2025-07-01", "2026-06-01"],
    }
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    kinds = {"id": "category", "seen": "datetime", "zip": "category"}
    columns: dict[str, Any] = {}
    for name in table.columns:
        kind = kinds.get(name, "category" if name.startswith("kind") else "number")
        columns[name] = {"type": kind, "known": "after" if name == "bought" else "before"}
    columns["gap"] |= {"nullable": True, "missing": 0.2}
    columns["number0"]["range"] = [-1000, 1000]
    schema = {"row": "a sale", "identity": ["id"], "time": "seen", "columns": columns}
    (folder / "schema.yaml").write_text(yaml.safe_dump(schema, sort_keys=False))


def prepare(folder: Path, rows: int) -> None:
    """Make the table, and write it with what the stages read."""
    write_project(folder, make_table(rows))


def measure(stage: str, folder: Path) -> tuple[float, float, int]:
    """Run a stage; its seconds on the clock, of the processors, and its largest memory in MB."""
    began = time.perf_counter()
    environ = {**os.environ, "PYTHONPATH": str(TEMPLATE)}
    with subprocess.Popen([sys.executable, "-m", "pipeline", stage], cwd=folder, env=environ) as process:
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{stage} ended with {process.returncode}")
    return time.perf_counter() - began, used.ru_utime + used.ru_stime, used.ru_maxrss // 1024


def main() -> None:
    """Print a line for each stage."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=2_000_000)
    rows = parser.parse_args().rows
    with tempfile.TemporaryDirectory() as folder:
        # In a process of its own: a child's largest memory counts what its parent had.
        made = multiprocessing.Process(target=prepare, args=(Path(folder), rows))
        made.start()
        made.join()
        for stage in STAGES:
            clock, processors, memory = measure(stage, Path(folder))
            print(f"{stage:9} {clock:6.1f} s, {processors:6.1f} s of processors, {memory:,} MB")


if __name__ == "__main__":
    main()
