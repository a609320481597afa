"""`decide`: obey what a person ticked in an issue of the watch."""

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
    verbs.add_parser(
        "decide",
        help="obey what a person ticked in an issue of the watch",
        description="In a workflow that an edit of an issue started: find the boxes that this edit ticked, ask GitHub "
        "whether its sender may write to the repository, and keep the decision as a comment, which the watch reads. "
        "Edits of other issues are none of its business. The output `decided` says whether there was one.",
        epilog="exit codes: 0 obeyed, or nothing to obey, 1 GitHub could not be asked or takes no comment, 2 wrong "
        "usage, or not in such a workflow, 3 a tick was not obeyed, and the issue says why",
    )


def run(arguments: argparse.Namespace) -> int:
    """Obey the event of this run; the exit code says whether each tick counted."""
    from bots.github import actions
    from bots.github.client import Connection, GitHubClient, NotInWorkflow
    from bots.monitoring.decisions import choose_naming, load_issue_edit, obey_edit
    from bots.retry import RequestDenied, RetriesExhausted, Retry
    from bots.settings import list_namings

    try:
        connection = Connection.from_environ(os.environ)
        edit = load_issue_edit(os.environ.get("GITHUB_EVENT_PATH"))
    except NotInWorkflow as error:
        log(f"ERROR: {error}")
        return 2
    retry = Retry(time.time, time.sleep, log, deadline=time.time() + BUDGET)
    try:
        result = obey_edit(
            edit,
            GitHubClient(connection),
            author=connection.author,
            retry=retry,
            naming=choose_naming(edit, list_namings(Path.cwd())),
        )
    except (RequestDenied, RetriesExhausted) as error:
        log(f"ERROR: what was ticked in #{edit.issue.number} is not obeyed: {error}. Tick it again later")
        return 1
    for decision in result.decisions:
        log(f"#{edit.issue.number}: {decision.trouble} {decision.what} by {decision.by}")
    for why in result.refused:
        log(f"ERROR: #{edit.issue.number}: a tick of {edit.sender.login} was not obeyed: {why}")
    actions.write_outputs(os.environ, {"decided": "true" if result.decisions else "false"})
    return 3 if result.refused else 0


def log(words: str) -> None:
    """Print one line on standard error."""
    from bots.log import print_line

    print_line("decide", words, sys.stderr)
