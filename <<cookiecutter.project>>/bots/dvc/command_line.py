"""Runs DVC by its command line, which is its public interface."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from bots.errors import BotsError


class DvcError(BotsError):
    """DVC could not do what was asked; the message carries its words."""


def build_environment() -> dict[str, str]:
    """This process's environment with its own interpreter first on the PATH, so that `python` in dvc.yaml is it."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    return {**os.environ, "PATH": path, "DVC_NO_ANALYTICS": "true", "DO_NOT_TRACK": "1"}


def run_dvc(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a DVC command in a project; the caller looks at the exit code."""
    return subprocess.run(
        [sys.executable, "-m", "dvc", *words],
        cwd=root,
        env=build_environment(),
        text=True,
        encoding="utf-8",
        errors="replace",
        capture_output=True,
        check=False,
    )


def find_last_words(log: str) -> str:
    """The last line of a log that says something, an error before any other, without terminal colours."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", log)
    spoken = [line.strip() for line in plain.splitlines() if line.strip()]
    errors = [line for line in spoken if line.startswith("ERROR")]
    return (errors or spoken or ["no output"])[0 if errors else -1][:1000]
