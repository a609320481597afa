"""What is quoted of a program that failed: the line that says why, in whatever language it was written."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bots.dvc.command_line import DvcError, find_last_words
from bots.dvc.repro import run_command

NODE = """\
/project/score.js:3
  throw new Error('no weights in model.json');
  ^

Error: no weights in model.json
    at Object.<anonymous> (/project/score.js:3:9)
    at Module._compile (node:internal/modules/cjs/loader:1105:14)

Node.js v18.19.0
"""
PYTHON = """\
Traceback (most recent call last):
  File "score.py", line 3, in <module>
    import torch
ModuleNotFoundError: No module named 'torch'
"""


@pytest.mark.parametrize(
    ("log", "told"),
    [
        (NODE, "Error: no weights in model.json"),
        (PYTHON, "ModuleNotFoundError: No module named 'torch'"),
        (PYTHON + "ERROR: failed to reproduce 'train': failed to run: python train.py, exited with 1\n",
         "ModuleNotFoundError: No module named 'torch'"),
        ("ERROR: failed to reproduce 'train': failed to run: exit 3, exited with 3\nmore\n",
         "ERROR: failed to reproduce 'train': failed to run: exit 3, exited with 3"),
        ("reading\nERROR: no such column\nbye\n", "ERROR: no such column"),
        ("Error in library(caret) : there is no package called 'caret'\nExecution halted\n",
         "Error in library(caret) : there is no package called 'caret'"),
        ('Exception in thread "main" java.lang.IllegalStateException: no model\n\tat Main.main(Main.java:3)\n',
         'Exception in thread "main" java.lang.IllegalStateException: no model'),
        ("panic: no model\n\ngoroutine 1 [running]:\nexit status 2\n", "panic: no model"),
        (NODE + "Traceback …\nsubprocess.CalledProcessError: Command '['node', 'score.js']' returned 1\n",
         "Error: no weights in model.json"),
        ("one\ntwo\n", "two"),
        ("\x1b[31m\n", "no output"),
    ],
)  # fmt: skip
def test_the_line_that_says_why_is_quoted(log: str, told: str):
    assert find_last_words(log) == told


@given(st.text())
def test_some_line_of_the_log_is_always_told(log: str):
    told = find_last_words(log)
    assert told
    assert len(told) <= 1000
    assert "\n" not in told


def test_a_failed_command_quotes_its_error(tmp_path: Path):
    (tmp_path / "score.py").write_text(
        "import sys\nprint('working')\nraise SystemExit('Error: no weights')\n"
    )
    with pytest.raises(DvcError, match=r"`python score\.py …` failed: Error: no weights"):
        run_command(tmp_path, "python score.py")


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_node_s_error_is_quoted_as_node_says_it(tmp_path: Path):
    (tmp_path / "score.js").write_text("throw new TypeError('no weights');\n")
    log = subprocess.run(
        ["node", "score.js"], cwd=tmp_path, capture_output=True, text=True, check=False
    ).stderr
    assert find_last_words(log) == "TypeError: no weights"
