"""`pack`: collect what this review judged, for `lock`."""

from __future__ import annotations

import argparse
from collections.abc import Collection
from pathlib import Path

from bots.commands.options import Verbs
from bots.commands.storage import tell


def add_parser(verbs: Verbs) -> None:
    """The verb's options."""
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
    """Write the folder; 0."""
    from bots.dvc.storage import StorageError, open_storage
    from bots.git.repository import GitError
    from bots.publish import model_bundle

    root = Path.cwd()

    def find_stored(digests: Collection[str]) -> Collection[str]:
        try:
            return open_storage(root, tell).holds(digests)
        except (StorageError, GitError) as error:
            tell(f"{error}. So what {arguments.base} names is taken to be stored")
            return model_bundle.kept_by(root, arguments.base)

    count = model_bundle.write(root, arguments.out, find_stored)
    print(f"{arguments.out}: dvc.lock, its evidence and {count} files")
    return 0
