"""Measure how long a bake of the default project takes, from the command to the first commit."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
REPEATS = 5
BUDGET = 2.0


def measure_bake() -> float:
    """Measure one bake in an empty folder, in seconds."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        command = [sys.executable, "-m", "cookiecutter", str(ROOT), "--no-input", "--default-config"]
        subprocess.run([*command, "--output-dir", folder], check=True, capture_output=True)
        return time.perf_counter() - began


def main() -> int:
    """Print the median. The exit code is 1 if it is over the budget."""
    median = statistics.median(measure_bake() for _ in range(REPEATS))
    print(f"bake: {median:.2f} s (median of {REPEATS}; budget {BUDGET:.0f} s)")
    return int(median > BUDGET)


if __name__ == "__main__":
    sys.exit(main())
