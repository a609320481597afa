"""`download`: fetch what a review's run handed over, within limits."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bots.commands.options import Verbs

if TYPE_CHECKING:
    from bots.github.artifact import ArtifactSource, Limits
    from bots.github.workflow_run import WorkflowRun
    from bots.retry import Retry

BUDGET = 900.0


def add_parser(verbs: Verbs) -> None:
    """Add the verb and its options."""
    parser = verbs.add_parser(
        "download",
        help="fetch what a review's run handed over, if it is not too large",
        description="In a workflow of the default branch: fetch an artifact of the run that GITHUB_EVENT_PATH names, "
        "and unpack it into a new folder. One that is too large, would become too large, or has names that lead "
        "elsewhere is refused before anything is unpacked.",
        epilog="exit codes: 0 fetched; 1 there is none, or it was refused, and why; 2 wrong usage, or no workflow_run "
        "event",
    )
    parser.add_argument("what", choices=["review", "model"], help="the review, or what it judged")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="default: review/ or model/")


def run(arguments: argparse.Namespace) -> int:
    """Fetch the artifact of the run's own attempt.

    Where a review is refused, a file takes the folder's place and says why: `publish` tells it.
    """
    from bots.github.artifact import ArtifactRefused
    from bots.github.client import Connection, GitHubClient, NotInWorkflow
    from bots.github.workflow_run import load_workflow_run
    from bots.retry import Retry

    try:
        connection = Connection.from_environ(os.environ)
        workflow_run = load_workflow_run(os.environ.get("GITHUB_EVENT_PATH"))
    except NotInWorkflow as error:
        print(f"ERROR: download: {error}", file=sys.stderr)
        return 2
    out: Path = arguments.out or Path(arguments.what)
    retry = Retry(time.time, time.sleep, log, deadline=time.time() + BUDGET)
    api = GitHubClient(connection)
    try:
        count = fetch(
            api, workflow_run, arguments.what, out=out, limits=find_limits(arguments.what), retry=retry
        )
    except ArtifactRefused as error:
        if arguments.what == "review" and not out.exists():
            out.parent.mkdir(parents=True, exist_ok=True)
            out.write_text(f"{error}\n", encoding="utf-8")
        raise
    log(f"{out}: {count:,} files")
    return 0


def find_limits(what: str) -> Limits:
    """The most that is taken of a review, and of a model."""
    from bots.github.artifact import MIB, Limits
    from bots.publish import model_bundle

    if what == "review":
        return Limits(packed=64 * MIB, unpacked=256 * MIB, files=1000)
    return Limits(packed=model_bundle.LARGEST, unpacked=model_bundle.LARGEST, files=model_bundle.MOST_FILES)


def fetch(
    api: ArtifactSource, run: WorkflowRun, what: str, *, out: Path, limits: Limits, retry: Retry
) -> int:
    """Fetch and unpack the artifact; returns how many files it has.

    Raises `ArtifactMissing`, `ArtifactRefused`, `RequestDenied`, `RetriesExhausted`.
    """
    import tempfile

    from bots.github.artifact import ArtifactRefused, choose_artifact, fetch_archive, unpack

    name = f"{what}-{run.run_attempt}"
    if out.exists():
        raise ArtifactRefused(f"{out} is there already: name a folder that is not")
    found = retry.call(name, lambda: api.find_artifact(run.id, name))
    artifact = choose_artifact(found, run.id, name, limits)
    with tempfile.TemporaryFile() as archive:

        def read() -> None:
            archive.seek(0)
            archive.truncate()
            fetch_archive(artifact, api.read_artifact(artifact.id), archive, limits)

        retry.call(name, read)
        return unpack(archive, out, name, limits)


def log(words: str) -> None:
    """Print one line on standard output."""
    from bots.log import print_line

    print_line("download", words, sys.stdout)
