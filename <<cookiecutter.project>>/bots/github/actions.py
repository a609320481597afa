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


def find_run(environ: Mapping[str, str]) -> str | None:
    """Find the address of the workflow's run; None outside of a workflow."""
    known = [environ.get(name) for name in ("GITHUB_SERVER_URL", "GITHUB_REPOSITORY", "GITHUB_RUN_ID")]
    return f"{known[0]}/{known[1]}/actions/runs/{known[2]}" if all(known) else None


def find_document(environ: Mapping[str, str], folder: str, path: str) -> str | None:
    """Find the address of a file of the default branch; None outside of a workflow.

    `folder` is the project's place in the repository: empty, or with a slash at the end.
    """
    server, repository = environ.get("GITHUB_SERVER_URL"), environ.get("GITHUB_REPOSITORY")
    return f"{server}/{repository}/blob/HEAD/{folder}{path}" if server and repository else None


def _append(path: str, words: str) -> None:
    with Path(path).open("a", encoding="utf-8") as file:
        file.write(words + "\n")
