"""`publish`: write a review to its pull request, in a workflow of the default branch, after the review job."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from bots.commands.options import Verbs

BUDGET = 300.0


def add_parser(verbs: Verbs) -> None:
    """Add the verb and its options."""
    parser = verbs.add_parser(
        "publish",
        help="say a review on its pull request: comment, check, job summary",
        description="In a workflow of the default branch, after a review: check what the review job handed over, and "
        "say it on the pull request. Where GitHub lets one of comment, check and summary not be written, the others "
        "say so.",
        epilog="exit codes: 0 said, 1 it could not be said anywhere, 2 wrong usage, or no workflow_run event",
    )
    parser.add_argument(
        "--artifact", type=Path, default=Path("review"), metavar="FOLDER", help="default: review/"
    )
    parser.add_argument(
        "--verification",
        type=Path,
        default=Path("verification"),
        metavar="FOLDER",
        help="what `verify` left, without which nothing passes (default: verification/)",
    )
    parser.add_argument("--started", action="store_true", help="only show the check as in progress")


def run(arguments: argparse.Namespace) -> int:
    """Publish what lies in the artifact's folder, or only announce that there will be something.

    Exit codes: 0 published, 1 not published anywhere, 2 not in a workflow_run job.
    """
    from bots.git.bare import find_folder
    from bots.github import actions
    from bots.github.client import Connection, GitHubClient, NotInWorkflow
    from bots.github.workflow_run import load_workflow_run
    from bots.publish.looks import correct_looks, count_looks, find_doubt, find_look, find_main_holdout
    from bots.publish.production import find_production_note
    from bots.publish.publish import announce, publish
    from bots.publish.review_artifact import find_review
    from bots.publish.verification_result import find_verification
    from bots.retry import Retry
    from bots.settings import load_naming

    try:
        connection = Connection.from_environ(os.environ)
        workflow_run = load_workflow_run(os.environ.get("GITHUB_EVENT_PATH"))
    except NotInWorkflow as error:
        print(f"ERROR: publish: {error}", file=sys.stderr)
        return 2
    api = GitHubClient(connection)
    root = Path.cwd()
    retry = Retry(time.time, time.sleep, log, deadline=time.time() + BUDGET)
    if arguments.started:
        announce(api, workflow_run, retry, load_naming(root))
        return 0
    artifact = find_review(arguments.artifact)
    known = count_looks(root, os.environ, retry)
    # What is shown; everything else is about the review as it was uploaded.
    shown = correct_looks(artifact, known, find_main_holdout(root))
    result = publish(
        api,
        workflow_run,
        shown,
        verification=find_verification(arguments.verification, artifact),
        doubt=find_doubt(shown, known, artifact),
        production=find_production_note(root, os.environ, time.time(), retry),
        connection=connection,
        retry=retry,
        folder=find_folder(root),
        summary=actions.find_summary(os.environ),
        naming=load_naming(root),
    )
    if not result.channels:
        for line in result.body.splitlines():
            log(line)
    holdout, model = find_look(workflow_run, artifact) or ("", "")
    outputs = {"locks": "true" if result.decision.locks else "false", "holdout": holdout, "model": model}
    actions.write_outputs(os.environ, outputs)
    return 0 if result.channels else 1


def log(words: str) -> None:
    """Print one line on standard output."""
    from bots.log import print_line

    print_line("publish", words, sys.stdout)
