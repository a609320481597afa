"""`start`: start the review of a pull request that the bots opened, where opening it has started none."""

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
        "start",
        help="start the review of a pull request of the bots that has none",
        description="In a workflow of the default branch: a pull request that GitHub Actions itself opened starts no "
        "workflow. Start pull-request.yaml on the branch of each open one of the watch's, and of the "
        "template's update, whose "
        "head has no check yet. "
        "Run it again whenever you like.",
        epilog="exit codes: 0 each has its review, or one was started, 1 GitHub does not allow it and why, 2 wrong "
        "usage, or not in a workflow",
    )
    parser.add_argument("--branch", default="main", metavar="NAME", help="the default branch (default: main)")


def run(arguments: argparse.Namespace) -> int:
    """Start what has no review; the exit code says whether that worked."""
    from bots.github.client import Connection, GitHubClient, NotInWorkflow
    from bots.monitoring.start import start_reviews
    from bots.retry import RequestDenied, RetriesExhausted, Retry
    from bots.settings import list_namings

    try:
        connection = Connection.from_environ(os.environ)
    except NotInWorkflow as error:
        log(f"ERROR: {error}")
        return 2
    retry = Retry(time.time, time.sleep, log, deadline=time.time() + BUDGET)
    try:
        started = [
            number
            for naming in list_namings(Path.cwd())
            for number in start_reviews(
                GitHubClient(connection),
                branch=arguments.branch,
                repository=connection.repository,
                author=connection.author,
                retry=retry,
                naming=naming,
            )
        ]
    except (RequestDenied, RetriesExhausted) as error:
        log(
            f"ERROR: no review was started: {error}. The job needs `actions: write`, and reads pull requests and checks"
        )
        return 1
    for number in started:
        log(f"#{number}: its review was started")
    if not started:
        log("No pull request of the bots lacks a review.")
    return 0


def log(words: str) -> None:
    """Print one line on standard error."""
    from bots.log import print_line

    print_line("start", words, sys.stderr)
