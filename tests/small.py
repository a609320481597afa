"""A small project with a trained main: real pipeline, real DVC, real git, on rows whose truth is known.

In group `b` the outcome follows `x2`, elsewhere it follows `x1`; main's model sees only `x2`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

import support

IDENTITY = {
    "GIT_AUTHOR_NAME": "T",
    "GIT_AUTHOR_EMAIL": "t@example.invalid",
    "GIT_COMMITTER_NAME": "T",
    "GIT_COMMITTER_EMAIL": "t@example.invalid",
}
SOURCE = "inbox/rows.csv"

SCHEMA: dict[str, Any] = {
    "row": "one visit",
    "moment": "when the visit begins",
    "identity": ["visit"],
    "time": "at",
    "columns": {
        "visit": {"type": "text", "known": "before", "description": "Number of the visit"},
        "at": {"type": "datetime", "known": "before", "description": "Begin of the visit"},
        "group": {
            "type": "category",
            "known": "before",
            "categories": ["a", "b", "c"],
            "description": "Channel",
        },
        "x1": {
            "type": "number",
            "known": "before",
            "nullable": True,
            "missing": 0.1,
            "description": "One reading",
        },
        "x2": {
            "type": "number",
            "known": "before",
            "nullable": True,
            "missing": 0.1,
            "description": "Another",
        },
        "noise": {"type": "number", "known": "before", "description": "Nothing at all"},
        "spent": {"type": "number", "known": "after", "description": "What the visit brought"},
        "bought": {"type": "boolean", "known": "after", "description": "Whether anything was bought"},
    },
}


def rows(count: int = 6000, seed: int = 5) -> pd.DataFrame:
    """Visits of a year, evenly spread over time."""
    rng = np.random.default_rng(seed)
    group = rng.choice(["a", "b", "c"], count, p=[0.5, 0.2, 0.3])
    x1, x2, noise = rng.normal(size=(3, count)).round(4)
    chance = 1 / (1 + np.exp(-2.0 * np.where(group == "b", x2, x1)))
    bought = rng.random(count) < chance
    return pd.DataFrame(
        {
            "visit": [f"v{number:05d}" for number in range(count)],
            "at": pd.date_range("2025-01-01", "2025-12-31", periods=count).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "group": group,
            "x1": x1,
            "x2": x2,
            "noise": noise,
            "spent": np.where(bought, 10.0, 0.0),
            "bought": bought,
        }
    )


def configure(params: dict[str, Any]) -> None:
    """Turn the flights' params.yaml into the visits'."""
    params["data"] |= {"source": SOURCE, "target": "bought", "derive": {}}
    params["split"] |= {
        "column": "at",
        "train": ["2025-01-01", "2025-06-01"],
        "holdout": ["2025-06-01", "2025-11-01"],
        "production": ["2025-11-01", "2026-01-01"],
    }
    params["features"] = {"numeric": ["x2"], "categorical": ["group"], "derived": {}}
    params["model"]["estimator"]["params"] = {"max_iter": 60, "max_leaf_nodes": 8}
    params["evaluate"] |= {"slices": ["group"], "fairness": ["group"], "threshold": 0.5}
    params["explain"] |= {"rows": 200, "worst": 3}
    params["drift"] |= {"rows": 1000, "period": None}
    params["gate"] |= {
        "resample": "rows",
        "replicates": 500,
        "limits": {"roc_auc": {"at_least": 0.3}},
        "slices": {"rows": 100, "matters": 0.1},
    }


@dataclass(frozen=True)
class Small:
    """A checkout of the small project."""

    folder: Path

    def run(self, *words: str, expect: int | None = 0) -> subprocess.CompletedProcess[str]:
        """Run a command in the project; the interpreter that runs the tests is its `python`."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        environment = {**os.environ, **IDENTITY, "PATH": path, "DVC_NO_ANALYTICS": "true"}
        done = subprocess.run(
            words,
            cwd=self.folder,
            env=environment,
            text=True,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        assert expect is None or done.returncode == expect, done.stdout[-3000:] + done.stderr[-3000:]
        return done

    def git(self, *words: str) -> str:
        return self.run("git", *words).stdout

    def dvc(self, *words: str) -> str:
        return self.run(sys.executable, "-m", "dvc", *words).stdout

    def commit(self, message: str) -> None:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", message)

    def edit(self, change: Callable[[dict[str, Any]], None], name: str = "params.yaml") -> None:
        path = self.folder / name
        document = yaml.safe_load(path.read_text())
        change(document)
        path.write_text(yaml.safe_dump(document, sort_keys=False))

    def deliver(self, frame: pd.DataFrame, name: str = "inbox/delivery.csv") -> None:
        """Put a new table in the inbox and let params.yaml point at it, as a data pull request would."""
        path = self.folder / name
        frame.to_parquet(path) if path.suffix == ".parquet" else frame.to_csv(path, index=False)
        self.point_at(name)

    def point_at(self, name: str) -> None:
        self.edit(lambda params: params["data"].update(source=name))

    def review(self, expect: int, *options: str) -> dict[str, Any]:
        """`bots review --base main`; its exit code, and its review.json. Stages so small gain nothing side by side."""
        done = self.run(
            sys.executable, "-m", "bots", "review", "--base", "main", "--jobs", "1", *options, expect=None
        )
        assert done.returncode == expect, (done.returncode, done.stdout[-2000:], done.stderr[-3000:])
        review: dict[str, Any] = json.loads((self.folder / "review" / "review.json").read_text())
        return review


def trained(folder: Path, *, train: bool = True) -> Small:
    """Bake, configure, deliver the rows, train, commit: main as a team would have it, or just before its training."""
    from cookiecutter.main import cookiecutter

    cookiecutter(
        str(support.ROOT),
        no_input=True,
        output_dir=str(folder),
        extra_context={"project": "visits"},
        default_config=True,
    )
    small = Small(folder / "visits")
    (small.folder / "inbox").mkdir()
    rows().to_csv(small.folder / SOURCE, index=False)
    (small.folder / "schema.yaml").write_text(yaml.safe_dump(SCHEMA, sort_keys=False))
    small.edit(configure)
    small.commit("Our own data and its contract")
    if train:
        small.dvc("repro", "--quiet")
        small.commit("Train the first model")
    return small


def clone(original: Small, folder: Path) -> Small:
    """A copy with its own work tree and cache, on a branch of its own."""
    copy = Small(folder / original.folder.name)
    shutil.copytree(original.folder, copy.folder, symlinks=True)
    copy.git("checkout", "--quiet", "-b", "change")
    return copy
