"""The replay of `make watch`, over its first weeks: the real service, a real remote, and the double of GitHub."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from fixtures.support import ROOT

pytestmark = pytest.mark.slow


def test_the_replay_counts_every_flight_once_and_ends_with_the_page(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "demo.watch", "--folder", str(tmp_path), "--days", "20"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3_000:] + done.stderr[-3_000:]
    out = tmp_path / "watched" / "monitoring"
    report = json.loads((out / "monitoring.json").read_text(encoding="utf-8"))
    assert (report["first"], report["last"]) == ("2013-08-31", "2013-09-19")
    assert report["rows"] == sum(point["rows"] for point in report["series"][-1]["points"])
    assert report["files"] == 20
    assert report["labels"]["joined"] > 0
    assert any(cohort["state"] == "mature" for cohort in report["cohorts"])
    assert "Predicted and what came" in (out / "monitoring.html").read_text(encoding="utf-8")
    branch = subprocess.run(
        ["git", "ls-tree", "-r", "--name-only", "monitoring"],
        cwd=tmp_path / "watched" / "github.git",
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert branch.count(".inputs.json") == 20
    assert "badge.svg" in branch
