"""A bench for the model stages: a project's folder with the features of a sample of real flights, ready to train."""

from __future__ import annotations

import contextlib
import shutil
from typing import TYPE_CHECKING

import flights

if TYPE_CHECKING:
    from pathlib import Path

SMALL = {"max_iter": 20, "max_leaf_nodes": 15}


def prepare(folder: Path, task: str, *, train: bool = False) -> Path:
    """Do the data stages on every 16th flight, and train and evaluate a small model if asked."""
    with contextlib.chdir(folder):
        bench = flights.Bench(folder, task)
        bench.edit("params.model.estimator.params", SMALL)
        bench.edit("params.gate.primary", "roc_auc" if task == "classification" else "mae")
        bench.keep(flights.sample(16))
        for stage in ("split", "features", *(("train", "evaluate") if train else ())):
            assert bench.run(stage) == 0, bench.refusal()
    return folder


def copy(prepared: Path, folder: Path, task: str = "classification") -> flights.Bench:
    """A bench of one's own, as `prepare` left it."""
    bench = flights.Bench(folder, task)
    shutil.copytree(prepared, folder, dirs_exist_ok=True)
    return bench
