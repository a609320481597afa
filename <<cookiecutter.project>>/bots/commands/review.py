"""`review`: reproduce this change, compare it with main, write the review."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from bots.commands.options import Verbs, add_model_option, parse_count
from bots.errors import BotsError

if TYPE_CHECKING:
    from bots import evidence

EXITS = """\
exit codes: 0 improved, equivalent, or let pass by the gate, 20 regressed, 21 blocked, 22 not comparable with
main, 23 no baseline on main, 24 undecided, 1 the review could not be made, 2 wrong usage; of several models the first
code in their order that is not 0"""
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
        "review.md (the comment) and review.html (the full page). A further model of params.yaml (`models:`) has its "
        "own in models/NAME of that folder; where one cannot be reviewed, the others are.",
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
    add_model_option(parser, "review only this one")
    parser.add_argument(
        "--json",
        action="store_true",
        help="print review.json instead of the summary, of each model after the other",
    )


def run(arguments: argparse.Namespace) -> int:
    """Review the checkout, each of its models after the other; the exit code says the first verdict that fails."""
    from msgspec import structs

    from bots.git.looks import list_looks, load_looks
    from bots.git.repository import Repository
    from bots.layout import place_review
    from bots.log import Progress
    from bots.render import review_files
    from bots.review.review import review_models
    from bots.settings import load_naming
    from bots.verdict.looks import LookCount

    repository = Repository(Path.cwd())

    def count(holdouts: set[str], model: str) -> LookCount:
        known = load_looks(arguments.looks) if arguments.looks else list_looks(repository.root, os.environ)
        return LookCount(count=known.count(holdouts, model), unknown=known.unknown)

    # Before hours of work, because a name may be refused.
    load_naming(repository.root)
    made: dict[Path, evidence.Review | BotsError] = {}
    with Progress() as progress:
        for model, result in review_models(
            repository,
            arguments.base,
            only=arguments.model,
            pull=arguments.pull,
            retrain=arguments.retrain,
            jobs=arguments.jobs,
            count_looks=count,
            tell=progress.tell,
        ):
            if not isinstance(result, BotsError):
                title = load_naming(repository.root, model).add_to_title(result.title)
                result = structs.replace(result, title=title)
                progress.tell("writing the review")
                review_files.write_review(result, place_review(arguments.out, model))
            else:
                review_files.remove_review(place_review(arguments.out, model))
            made[place_review(arguments.out, model)] = result
    for folder, result in made.items():
        _show(result, folder, as_json=arguments.json)
    reviews = [result for result in made.values() if not isinstance(result, BotsError)]
    if any(result.looks is not None for result in reviews) and arguments.looks is None and not arguments.json:
        print(UNCOUNTED)
    return next((code for result in made.values() if (code := _choose_code(result))), 0)


def _show(result: evidence.Review | BotsError, folder: Path, *, as_json: bool) -> None:
    """Print a review, as JSON or as its summary; or why there is none."""
    from bots import evidence
    from bots.render import terminal

    if isinstance(result, BotsError):
        print(f"ERROR: review: {result}; there is no review in {folder}", file=sys.stderr)
    elif as_json:
        sys.stdout.write(evidence.encode(result).decode())
    else:
        terminal.print_review(result, folder)


def _choose_code(result: evidence.Review | BotsError) -> int:
    from bots.review import gate

    if isinstance(result, BotsError):
        return result.exit_code
    return 0 if result.passed else gate.EXIT_CODES[result.verdict]
