"""`preview`: show the last review as GitHub would."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from bots.commands.options import Verbs, add_model_option


def add_parser(verbs: Verbs) -> None:
    """Add the verb and its options."""
    parser = verbs.add_parser(
        "preview",
        help="show the review as GitHub would",
        description="Show the last review: the comment as GitHub would draw it, in a browser page, and its "
        "short form in the terminal. What merging will do is said as far as this machine can tell.",
        epilog="exit codes: 0 shown, 1 there is no readable review, 2 wrong usage",
    )
    parser.add_argument(
        "--out", type=Path, default=Path("review"), metavar="FOLDER", help="where the review lies"
    )
    add_model_option(parser, "show this one's review")
    parser.add_argument("--open", action="store_true", help="open the page in the browser")


def run(arguments: argparse.Namespace) -> int:
    """Write the page and print the summary; 0."""
    from bots import evidence
    from bots.layout import place_review
    from bots.monitoring.merge_facts import find_local_plan
    from bots.render import preview, terminal
    from bots.render.comment import render_comment

    folder = place_review(arguments.out, arguments.model)
    result = evidence.load(folder / "review.json", evidence.Review)
    written = (folder / "review.md").read_text(encoding="utf-8")
    plan = None if result.refusal else find_local_plan(Path.cwd(), os.environ, result, log)
    page = preview.write_preview(render_comment(result, plan=plan) if plan else written, result, folder)
    terminal.print_review(result, folder)
    print(f"The comment as GitHub shows it: {page.resolve().as_uri()}")
    if arguments.open:
        import webbrowser

        webbrowser.open(page.resolve().as_uri())
    return 0


def log(words: str) -> None:
    """Print one line on standard error."""
    from bots.log import print_line

    print_line("preview", words, sys.stderr)
