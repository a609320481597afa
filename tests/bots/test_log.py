"""What the bots write while they work."""

from __future__ import annotations

import io

from rich.console import Console

from bots.log import Progress


def test_a_long_step_is_one_line_of_a_log() -> None:
    written = io.StringIO()
    step = "training the change with model.seed = 8, main's model with model.seed = 8, and " + "so on " * 20
    with Progress(Console(file=written, width=80)) as progress:
        progress.tell(step.strip())
    (line,) = written.getvalue().splitlines()
    assert line.startswith(f"  {step.strip()} … done (")
