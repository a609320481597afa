"""`collect`: bring together what a review is verified by, where storage can be reached."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from bots.commands.options import Verbs, add_artifact_option, add_pack_option

if TYPE_CHECKING:
    from bots.settings import Settings


def add_parser(verbs: Verbs) -> None:
    """Add the verb and its options."""
    parser = verbs.add_parser(
        "collect",
        help="bring together what a review is verified by",
        description="In a checkout of main: copy a review, what its run packed, and the same files of main from "
        "storage into a folder for `verify`, which needs no token then; of each model that has a review. "
        "Nothing of the change runs.",
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
    from bots.github import actions
    from bots.layout import place_review
    from bots.settings import load_models
    from bots.verification.collection import CollectionError

    root, out = Path.cwd(), arguments.out
    if out.exists() and any(out.iterdir()):
        raise CollectionError(f"{out} is not empty: name a folder that is, or does not exist yet")
    found = [
        _collect(
            root,
            place_review(arguments.artifact, model),
            arguments.pack,
            settings=settings,
            out=place_review(out, model),
        )
        for model, settings in load_models(root).items()
    ]
    actions.write_outputs(os.environ, {"found": "true" if any(found) else "false"})
    return 0


def _collect(root: Path, artifact: Path, pack: Path, *, settings: Settings, out: Path) -> bool:
    """Collect what one model's review is verified by; whether there is such a review."""
    from bots.dvc.storage import open_storage
    from bots.evidence import Review
    from bots.publish.review_artifact import find_review
    from bots.verification.collection import collect_files

    review, name = find_review(artifact), f"{settings.model_name}: " if settings.model_name else ""
    if not isinstance(review, Review):
        log(f"{name}there is no review to verify: {review}")
        return False
    missing = collect_files(
        root,
        review,
        pack,
        settings=settings,
        open_storage=lambda: open_storage(root, log),
        out=out,
        tell=log,
    )
    for words in missing:
        log(f"{name}missing: {words}")
    log(f"{name}collected in {out}")
    return True


def log(words: str) -> None:
    """Print one line on standard error."""
    from bots.log import print_line

    print_line("collect", words, sys.stderr)
