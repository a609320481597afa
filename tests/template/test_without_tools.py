"""Who types a command in a shell that does not know `.venv` is told what to type first."""

from __future__ import annotations

import subprocess
import sys

import pytest

from fixtures.support import TEMPLATE


@pytest.mark.parametrize("room", ["bots", "pipeline", "serving"])
def test_a_python_without_the_tools_says_where_they_are(room: str) -> None:
    # -S: as the system's Python, without what is installed beside it.
    command = [sys.executable, "-S", "-m", room, "--help"]
    done = subprocess.run(command, cwd=TEMPLATE, env={}, text=True, capture_output=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"ERROR: this Python ({sys.executable}) lacks ")
    assert done.stderr.endswith("`source .venv/bin/activate` lets this shell find them\n")
