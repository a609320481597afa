"""How long a bake takes: the default project, from the command to the first commit, five times."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
TIMES = 5
BUDGET = 2.0


def bake() -> float:
    """Seconds of one bake, in an empty folder."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        command = [sys.executable, "-m", "cookiecutter", str(ROOT), "--no-input", "--default-config"]
        subprocess.run([*command, "--output-dir", folder], check=True, capture_output=True)
        return time.perf_counter() - began


def main() -> int:
    """Print the median; exit 1 where it is over the budget."""
    median = statistics.median(bake() for _ in range(TIMES))
    print(f"bake: {median:.2f} s (median of {TIMES}; budget {BUDGET:.0f} s)")
    return int(median > BUDGET)


if __name__ == "__main__":
    sys.exit(main())
