"""Writes what GitHub Actions reads from a job: its outputs and its summary."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path


def find_summary(environ: Mapping[str, str]) -> Callable[[str], None] | None:
    """Return a function that adds Markdown to the job's summary; None outside of a job."""
    path = environ.get("GITHUB_STEP_SUMMARY")
    return (lambda markdown: _append(path, markdown)) if path else None


def write_outputs(environ: Mapping[str, str], outputs: Mapping[str, str]) -> None:
    """Set the step's outputs, one line each; nothing outside of a job."""
    if path := environ.get("GITHUB_OUTPUT"):
        for name, value in outputs.items():
            _append(path, f"{name}={value}")


def _append(path: str, words: str) -> None:
    with Path(path).open("a", encoding="utf-8") as file:
        file.write(words + "\n")
