"""`stale`: turn the checks of open pull requests stale after main got another model, other rows or another gate."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bots.commands.options import Verbs

if TYPE_CHECKING:
    from bots.publish.stale import Outcome

BUDGET = 900.0


def add_parser(verbs: Verbs) -> None:
    """Add the verb and its options."""
    parser = verbs.add_parser(
        "stale",
        help="turn the checks of open pull requests stale when main has moved",
        description="In a workflow of the default branch, after a push to it: hold what judges there now (model, rows, "
        "gate) against what judged each open pull request, and turn the check of those that differ to action required. "
        "Run it again whenever you like.",
        epilog="sets the step's output `update`: whether params.yaml lets the bots update some of the branches. exit "
        "codes: 0 each is right, 1 some could not be looked at and which, 2 wrong usage, or not in a workflow",
    )
    parser.add_argument("--branch", default="main", metavar="NAME", help="the default branch (default: main)")
    parser.add_argument("--json", action="store_true", help="print what was done about each as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Look at every open pull request; the exit code says whether each could be looked at."""
    import msgspec

    from bots.git.bare import find_folder
    from bots.github import actions
    from bots.github.client import Connection, GitHubClient, NotInWorkflow
    from bots.publish.stale import settle_all
    from bots.retry import RequestDenied, RetriesExhausted, Retry
    from bots.settings import list_namings

    try:
        connection = Connection.from_environ(os.environ)
    except NotInWorkflow as error:
        log(f"ERROR: {error}")
        return 2
    retry = Retry(time.time, time.sleep, log, deadline=time.time() + BUDGET)
    try:
        found = [
            (naming, outcome)
            for naming in list_namings(Path.cwd())
            for outcome in settle_all(
                GitHubClient(connection),
                branch=arguments.branch,
                folder=find_folder(Path.cwd()),
                author=connection.author,
                retry=retry,
                naming=naming,
            )
        ]
    except (RequestDenied, RetriesExhausted) as error:
        log(
            f"ERROR: the open pull requests are not known: {error}. The job may read contents and pull requests"
        )
        return 1
    outcomes = [outcome for _, outcome in found]
    actions.write_outputs(os.environ, {"update": "true" if _may_update(outcomes) else "false"})
    if arguments.json:
        print(msgspec.json.encode(outcomes).decode())
    for naming, outcome in found:
        log(f"#{outcome.number}: {naming.add_to_title(outcome.done)}: {outcome.words}")
    lost = [outcome for outcome in outcomes if outcome.done == "not known"]
    count = len({outcome.number for outcome in outcomes})
    words = f"{count} open pull requests to {arguments.branch} were looked at"
    log(f"ERROR: {words}, {len(lost)} in vain; run the job again" if lost else f"{words}.")
    return 1 if lost else 0


def _may_update(outcomes: list[Outcome]) -> bool:
    """Tell whether params.yaml lets a branch be updated that may need it; one without a review may be half updated."""
    from bots.settings import SettingsError, load_settings

    try:
        allowed = load_settings(Path.cwd()).review.update_branches == "stale"
    except SettingsError as error:
        log(f"no branch is updated: {error}")
        return False
    return allowed and any(
        outcome.done in ("made stale", "stale already", "no review") for outcome in outcomes
    )


def log(words: str) -> None:
    """Print one line on standard error."""
    from bots.log import print_line

    print_line("stale", words, sys.stderr)
