"""`looks`: say how many models each holdout has judged; write that down for a review; record one more."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from bots.commands.options import Verbs

BUDGET = 120.0


def add_parser(verbs: Verbs) -> None:
    """Add the verb and its options."""
    parser = verbs.add_parser(
        "looks",
        help="say how many models each holdout has judged",
        description="A look is a model that a review held against main's on a holdout: each is a ref "
        "refs/looks/HOLDOUT/MODEL of the remote, and the more there are, the more a further model must be better by to "
        "be called improved. Without an option: how many looks each holdout has had.",
        epilog="exit codes: 0 done, 1 it could not be done and why, 2 wrong usage, or with --record: not in a workflow",
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="write the looks, or why they are not known, for `review --looks FILE`",
    )
    what.add_argument(
        "--record",
        nargs=2,
        metavar=("HOLDOUT", "MODEL"),
        help="in a workflow of the default branch: record a look, named by the two digests; of several models each a "
        "list with commas, in the same order",
    )
    what.add_argument("--json", action="store_true", help="print the looks as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Count, write or record looks; the exit code says whether that could be done."""
    if arguments.record:
        return _record(*arguments.record)
    import msgspec

    from bots.files import write_file
    from bots.git.looks import list_looks

    found = list_looks(Path.cwd(), os.environ)
    if arguments.out is not None:
        write_file(arguments.out, msgspec.json.encode(found))
        print(f"The looks are not known: {found.unknown}" if found.unknown else found.describe())
        return 0
    if found.unknown is not None:
        print(f"ERROR: looks: they cannot be counted: {found.unknown}", file=sys.stderr)
        return 1
    print(msgspec.json.encode(found).decode() if arguments.json else found.describe())
    return 0


def _record(holdout: str, model: str) -> int:
    """Record looks on GitHub. Their refs point at the commit that the job runs on, which is there in any case."""
    from functools import partial

    from bots.git.looks import LooksError, make_ref
    from bots.git.repository import Repository
    from bots.github.client import Connection, GitHubClient, NotInWorkflow
    from bots.log import print_line
    from bots.retry import Retry

    def log(words: str) -> None:
        print_line("looks", words, sys.stdout)

    holdouts, models = holdout.split(","), model.split(",")
    if len(holdouts) != len(models):
        raise LooksError(f"{len(holdouts)} holdouts and {len(models)} models: expected as many of both")
    refs = [make_ref(*pair) for pair in zip(holdouts, models, strict=True)]
    try:
        connection = Connection.from_environ(os.environ)
    except NotInWorkflow as error:
        print(f"ERROR: looks: {error}", file=sys.stderr)
        return 2
    api = GitHubClient(connection)
    retry = Retry(time.time, time.sleep, log, deadline=time.time() + BUDGET)
    commit = Repository(Path.cwd()).resolve("HEAD")
    for ref in dict.fromkeys(refs):
        made = retry.call("look", partial(api.create_ref, ref, commit))
        log(f"{ref} is recorded" if made else f"{ref} was recorded before")
    return 0
