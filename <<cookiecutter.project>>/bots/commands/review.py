"""`review`: reproduce this change, compare it with main, write the review."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from bots.commands.options import Verbs, parse_count

EXITS = """\
exit codes: 0 improved, equivalent, or let pass by the gate, 20 regressed, 21 blocked, 22 not comparable with
main, 23 no baseline on main, 24 undecided, 1 the review could not be made, 2 wrong usage"""


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
    parser.add_argument("--json", action="store_true", help="print review.json instead of the summary")


def run(arguments: argparse.Namespace) -> int:
    """Review the checkout; the exit code says the verdict."""
    from bots import evidence
    from bots.git.repository import Repository
    from bots.log import Progress
    from bots.render import review_files, terminal
    from bots.review import gate
    from bots.review.review import review

    repository = Repository(Path.cwd())
    with Progress() as progress:
        result = review(
            repository,
            arguments.base,
            pull=arguments.pull,
            retrain=arguments.retrain,
            jobs=arguments.jobs,
            tell=progress.tell,
        )
        progress.tell("writing the review")
        review_files.write_review(result, arguments.out)
    if arguments.json:
        sys.stdout.write(evidence.encode(result).decode())
    else:
        terminal.print_review(result, arguments.out)
    return 0 if result.passed else gate.EXIT_CODES[result.verdict]
