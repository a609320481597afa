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


# How programs begin the line that says what went wrong: Python, Node.js, R, Java, Go, Rust, shells, compilers.
_ERROR = re.compile(
    r"(Uncaught |Exception in thread \S+ )?"
    r"([\w.$]*(Error|Exception)\b|error\b|ERROR\b|fatal\b|panic:|thread '.*' panicked|Execution halted$)"
)
# What only says that another program failed, whose own words are better.
_WRAPPER = re.compile(
    r"ERROR: failed to reproduce|subprocess\.CalledProcessError\b|make: \*\*\*|npm (ERR!|error)"
)


def find_last_words(log: str) -> str:
    """The line of a log that says what went wrong, without terminal colours; its last line where none does.

    What a program calls an ERROR comes first, then the last error that some language's runtime told; the word of DVC,
    or of another program in between, that something failed only where there is nothing else.
    """
    plain = re.sub(r"\x1b\[[0-9;]*m", "", log)
    spoken = [line.strip() for line in plain.splitlines() if line.strip()]
    told = [line for line in spoken if not _WRAPPER.match(line)]
    called = [line for line in told if line.startswith("ERROR")]
    thrown = [line for line in told if _ERROR.match(line) and line != "Execution halted"]
    wrapped = [line for line in spoken if _WRAPPER.match(line)]
    return next(iter(called or thrown[-1:] or wrapped or spoken[-1:]), "no output")[:1000]
