"""`review`: reproduce this change, compare it with main, write the review."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from bots.commands.options import Verbs, parse_count

EXITS = """\
exit codes: 0 improved, equivalent, or let pass by the gate, 20 regressed, 21 blocked, 22 not comparable with
main, 23 no baseline on main, 24 undecided, 1 the review could not be made, 2 wrong usage"""
UNCOUNTED = (
    "This was a look at the holdout that nobody counts: only reviews on GitHub are counted. Who tries here until it "
    "passes has found what fits these rows by luck."
)


def add_parser(verbs: Verbs) -> None:
    """The verb's options."""
    parser = verbs.add_parser(
        "review",
        help="reproduce this change, compare it with main, write the review",
        description="Reproduce this change, compare it with main on the same rows, and write review.json, "
        "review.md (the comment) and review.html (the full page).",
        epilog=EXITS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--base", default="main", metavar="COMMIT", help="what to compare with (default: main)"
    )
    parser.add_argument("--out", type=Path, default=Path("review"), metavar="FOLDER", help="default: review/")
    parser.add_argument("--pull", action="store_true", help="fetch from the DVC remote what it already has")
    parser.add_argument(
        "--retrain",
        action="store_true",
        help="make again what dvc.lock says beyond the base's, and say where it comes out otherwise",
    )
    parser.add_argument(
        "--jobs",
        type=parse_count,
        metavar="N",
        help="how many stages to reproduce at once (default: one on a core)",
    )
    parser.add_argument(
        "--looks",
        type=Path,
        metavar="FILE",
        help="what `looks --out` wrote (default: ask the remote how many models this holdout has judged)",
    )
    parser.add_argument("--json", action="store_true", help="print review.json instead of the summary")


def run(arguments: argparse.Namespace) -> int:
    """Review the checkout; the exit code says the verdict."""
    from bots import evidence
    from bots.git.looks import list_looks, load_looks
    from bots.git.repository import Repository
    from bots.log import Progress
    from bots.render import review_files, terminal
    from bots.review import gate
    from bots.review.review import review
    from bots.verdict.looks import LookCount

    repository = Repository(Path.cwd())

    def count(holdouts: set[str], model: str) -> LookCount:
        known = load_looks(arguments.looks) if arguments.looks else list_looks(repository.root, os.environ)
        return LookCount(count=known.count(holdouts, model), unknown=known.unknown)

    with Progress() as progress:
        result = review(
            repository,
            arguments.base,
            pull=arguments.pull,
            retrain=arguments.retrain,
            jobs=arguments.jobs,
            count_looks=count,
            tell=progress.tell,
        )
        progress.tell("writing the review")
        review_files.write_review(result, arguments.out)
    if arguments.json:
        sys.stdout.write(evidence.encode(result).decode())
    else:
        terminal.print_review(result, arguments.out)
        if result.looks is not None and arguments.looks is None:
            print(UNCOUNTED)
    return 0 if result.passed else gate.EXIT_CODES[result.verdict]
