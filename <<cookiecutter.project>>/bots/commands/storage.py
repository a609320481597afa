"""`storage`: say where data and models are kept; fetch, push, or move them."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from bots.commands.options import Verbs

if TYPE_CHECKING:
    from bots.dvc.storage import Status


def add_parser(verbs: Verbs) -> None:
    """Add the verb and its options."""
    parser = verbs.add_parser(
        "storage",
        help="say where data and models are kept; fetch, push, or move them",
        description="Without a word: where data and models are kept, how many files, and what is not pushed yet. "
        "`fetch` brings what dvc.lock names (or PATHs of it), `push` keeps it. An address (branch, s3://bucket/folder, "
        "gs://…, azure://…, ssh://user@host/folder, or a folder) moves the storage there with everything in it.",
        epilog="exit codes: 0 done, 1 it could not be done and why, 2 wrong usage",
    )
    parser.add_argument("what", nargs="?", metavar="fetch|push|ADDRESS")
    parser.add_argument("paths", nargs="*", metavar="PATH", help="with fetch: only these")
    parser.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="with ADDRESS: DVC's setting of that remote",
    )
    parser.add_argument(
        "--for",
        action="append",
        default=[],
        dest="revisions",
        metavar="COMMIT",
        help="with fetch: bring what this commit and the work tree name within DVC's reach, no more",
    )
    parser.add_argument("--json", action="store_true", help="print the status as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Do what was asked. Exit code: 0."""
    from bots.dvc.storage import open_storage

    root, what = Path.cwd(), arguments.what
    storage = open_storage(root, print_progress)
    if what == "fetch" and arguments.revisions:
        print(f"{storage.prepare(arguments.revisions)} files came")
    elif what == "fetch":
        storage.fetch(arguments.paths)
    elif what == "push":
        print(f"{storage.push()} new files are kept in {storage.where}")
    elif what is not None:
        from bots.dvc.storage import migrate

        print("\n".join(migrate.move_storage(root, what, options=arguments.option, tell=print_progress)))
    else:
        _print_status(storage.read_status(), as_json=arguments.json)
    return 0


def print_progress(words: str) -> None:
    """Print progress on standard error."""
    print(words, file=sys.stderr)


def _print_status(status: Status, *, as_json: bool) -> None:
    if as_json:
        import msgspec

        print(msgspec.json.encode(status).decode())
        return
    size = "size unknown" if status.bytes is None else f"{status.bytes:,} bytes"
    print(f"{status.where}\n{status.files} files, {size}")
    if status.unpushed:
        print(
            f"{len(status.unpushed)} files of dvc.lock are only here: `python -m bots storage push` keeps them"
        )
