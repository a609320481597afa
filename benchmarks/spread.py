"""How often a committed model of a training that is not deterministic is called another one, by how far off it is."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "<<cookiecutter.project>>"))

from bots import settings
from bots.verdict import spread

SHIFTS = (0, 5, 10, 20, 50)
TOLERATED = (10, 30)
OUTCOMES = ("within", "too wide", "outside")


def judge(rng: np.random.Generator, shift: float, tolerated: float) -> str:
    """The outcome for a committed model that lies so many standard deviations of the training away."""
    gate = settings.Gate(primary="mae", guards=[], matters={"mae": tolerated}, tolerates=1.0)
    committed, *draws = (float(value) for value in rng.normal(size=1 + spread.MOST))
    for count in range(spread.FIRST, spread.MOST + 1):
        found = spread.judge_spread(
            "train",
            {"mae": committed + shift},
            [{"mae": value} for value in draws[:count]],
            gate,
            unlike=0.0,
            apart=0.0,
        )
        if found.outcome != "too wide":
            break
    return found.outcome


def main() -> None:
    """Print the table of docs/statistics.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, default=10_000, help="committed models a line (default: 10000)")
    models = parser.parse_args().models
    print("| the gate tolerates | the committed model is off by | within | too wide | outside |")
    print("| ---: | ---: | ---: | ---: | ---: |")
    for tolerated in TOLERATED:
        for shift in SHIFTS:
            rng = np.random.default_rng(shift)
            found = [judge(rng, shift, tolerated) for _ in range(models)]
            shares = " | ".join(f"{100 * found.count(outcome) / models:.1f}%" for outcome in OUTCOMES)
            print(f"| {tolerated} s | {shift} s | {shares} |")


if __name__ == "__main__":
    main()
