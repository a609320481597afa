"""`lock`: keep what a run judged, and commit its dvc.lock to the pull request's branch."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from bots.commands.options import Verbs

BUDGET = 600.0


def add_parser(verbs: Verbs) -> None:
    """The verb's options."""
    parser = verbs.add_parser(
        "lock",
        help="keep what a run judged, and commit its dvc.lock to the pull request's branch",
        description="In a workflow of the default branch, after a review: check what the review job packed, keep its "
        "files in storage, commit dvc.lock and the evidence on top of the judged commit, and carry the check over.",
        epilog="exit codes: 0 locked, or nothing to lock; 1 it could not be locked and why; 2 wrong usage, or no "
        "workflow_run event",
    )
    parser.add_argument(
        "--artifact",
        type=Path,
        default=Path("review"),
        metavar="FOLDER",
        help="where review.json lies (default: review/)",
    )
    parser.add_argument("--pack", type=Path, default=Path("pack"), metavar="FOLDER", help="default: pack/")
    parser.add_argument("--json", action="store_true", help="print the outcome as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Lock what the run of `GITHUB_EVENT_PATH` judged, carry its check over, say what became of it.

    Exit codes: 0 locked or nothing to lock, 1 not locked and why, 2 not in a workflow_run job.
    """
    import msgspec

    from bots.dvc.cache import CacheError
    from bots.dvc.storage import StorageError, open_storage
    from bots.evidence import Review
    from bots.git.repository import GitError
    from bots.github import actions, workflow_run
    from bots.github.client import Connection, GitHubClient, NotInWorkflow
    from bots.publish import publish, review_artifact
    from bots.publish.lock import LockRefused, carry_over, lock
    from bots.retry import RequestDenied, RetriesExhausted, Retry

    try:
        connection = Connection.from_environ(os.environ)
        of = workflow_run.read(os.environ.get("GITHUB_EVENT_PATH"))
    except NotInWorkflow as error:
        log(f"ERROR: {error}")
        return 2
    root = Path.cwd()
    retry = Retry(time.time, time.sleep, log, deadline=time.time() + BUDGET)
    try:
        found = review_artifact.find(arguments.artifact)
        outcome = lock(
            root,
            of,
            repository=connection.repository,
            found=found,
            folder=arguments.pack,
            place=open_storage(root, log),
            retry=retry,
        )
        if outcome.commit not in (None, of.head_sha):
            assert outcome.commit is not None
            assert isinstance(found, Review)
            log(f"check: {carry_over(GitHubClient(connection), of, found, outcome.commit, retry)}")
    except (LockRefused, StorageError, GitError, CacheError) as error:
        return _conclude(f"Not locked: {error}.", 1)
    except (RequestDenied, RetriesExhausted) as error:
        return _conclude(f"Locked, but {outcome.commit} has no check: {publish.advice('check', error)}", 1)
    if arguments.json:
        print(msgspec.json.encode(outcome).decode())
    actions.write_outputs(os.environ, {"commit": outcome.commit or ""})
    return _conclude(f"{outcome.done.capitalize()}: {outcome.words}", 0)


def _conclude(words: str, code: int) -> int:
    """Tell the log and the job's summary; the exit code."""
    from bots.github import actions
    from bots.render.escape import escape_text

    log(words)
    if write := actions.find_summary(os.environ):
        write(f"{escape_text(words)}\n")
    return code


def log(words: str) -> None:
    """One line on standard error."""
    from bots.log import print_line

    print_line("lock", words, sys.stderr)
