"""`collect`: bring together what a review is verified by, where storage can be reached."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from bots.commands.options import Verbs, add_artifact_option, add_pack_option


def add_parser(verbs: Verbs) -> None:
    """Add the verb and its options."""
    parser = verbs.add_parser(
        "collect",
        help="bring together what a review is verified by",
        description="In a checkout of main: copy a review, what its run packed, and the same files of main from "
        "storage into a folder for `verify`, which needs no token then. Nothing of the change runs.",
        epilog="exit codes: 0 collected, or there is no review to verify; 1 main or its storage cannot be read; "
        "2 wrong usage",
    )
    add_artifact_option(parser)
    add_pack_option(parser)
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("evidence"),
        metavar="FOLDER",
        help="empty or not there yet (default: evidence/)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Collect into the folder, and say whether there is something to verify. Exit code: 0."""
    from bots.dvc.storage import open_storage
    from bots.evidence import Review
    from bots.github import actions
    from bots.publish.review_artifact import find_review
    from bots.settings import load_settings
    from bots.verification.collection import CollectionError, collect_files

    root, out = Path.cwd(), arguments.out
    if out.exists() and any(out.iterdir()):
        raise CollectionError(f"{out} is not empty: name a folder that is, or does not exist yet")
    artifact = find_review(arguments.artifact)
    if not isinstance(artifact, Review):
        log(f"there is no review to verify: {artifact}")
        actions.write_outputs(os.environ, {"found": "false"})
        return 0
    missing = collect_files(
        root,
        artifact,
        arguments.pack,
        files=load_settings(root).review.files,
        open_storage=lambda: open_storage(root, log),
        out=out,
        tell=log,
    )
    for words in missing:
        log(f"missing: {words}")
    log(f"collected in {out}")
    actions.write_outputs(os.environ, {"found": "true"})
    return 0


def log(words: str) -> None:
    """Print one line on standard error."""
    from bots.log import print_line

    print_line("collect", words, sys.stderr)
