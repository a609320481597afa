"""`pack`: collect what this review judged, for `lock`."""

from __future__ import annotations

import argparse
from collections.abc import Collection
from pathlib import Path

from bots.commands.options import Verbs
from bots.commands.storage import print_progress


def add_parser(verbs: Verbs) -> None:
    """Add the verb and its options."""
    parser = verbs.add_parser(
        "pack",
        help="collect what this review judged, for `lock`",
        description="Copy dvc.lock, the evidence it names and the files of DVC's cache that storage does not have into "
        "an empty folder. Where storage cannot be asked: those that the base's lock does not name.",
        epilog="exit codes: 0 packed, 1 there is nothing to pack, 2 wrong usage",
    )
    parser.add_argument("--base", default="main", metavar="COMMIT", help="default: main")
    parser.add_argument("--out", type=Path, default=Path("pack"), metavar="FOLDER", help="default: pack/")


def run(arguments: argparse.Namespace) -> int:
    """Write the folder. Exit code: 0."""
    from bots.dvc.storage import open_storage
    from bots.errors import BotsError
    from bots.publish import model_bundle

    root = Path.cwd()

    def find_stored(digests: Collection[str]) -> Collection[str]:
        try:
            return open_storage(root, print_progress).find_kept(digests)
        except BotsError as error:
            print_progress(f"{error}. So what {arguments.base} names is taken to be stored")
            return model_bundle.guess_stored(root, arguments.base)

    count = model_bundle.write_bundle(root, arguments.out, find_stored)
    print(f"{arguments.out}: dvc.lock, its evidence and {count} files")
    return 0
