"""What the stand-ins share: their inputs, their outputs, and how a step fails."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn


def fail(words: str) -> NoReturn:
    """End the step as a failed action does."""
    print(f"::error::{words}")
    sys.exit(1)


def read_inputs(*required: str) -> dict[str, str]:
    """The step's `with`, defaults included, as text. Fails where one of these is empty."""
    given: dict[str, str] = {name: str(value) for name, value in json.loads(os.environ["INPUTS"]).items()}
    for name in required:
        if not given[name]:
            fail(f"Input required and not supplied: {name}")
    return given


def require_supported(given: dict[str, str], name: str, *supported: str) -> None:
    """Fail on a value that this stand-in cannot stand in for."""
    if given[name] not in supported:
        fail(f"the stand-in supports {name}: {' or '.join(supported)}, not {given[name]!r}")


def write_output(name: str, value: str) -> None:
    """An output of the step."""
    with Path(os.environ["GITHUB_OUTPUT"]).open("a", encoding="utf-8") as file:
        file.write(f"{name}={value}\n")


def find_in_workspace(path: str) -> Path:
    """A path of the job's folder."""
    return Path(os.environ["GITHUB_WORKSPACE"]) / path


def make_kept_folder(kind: str) -> Path:
    """Where this kind of thing outlives a job."""
    folder = Path(os.environ["STAND_IN_KEEPS"]) / kind
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def split_lines(text: str) -> list[str]:
    """An input of several lines."""
    return [line.strip() for line in text.splitlines() if line.strip()]


def main(step: Callable[[], None]) -> None:
    """Run a stand-in, if the workflow is run by the tests."""
    if "STAND_IN_KEEPS" not in os.environ:
        fail("STAND_IN_KEEPS must name a folder")
    step()
