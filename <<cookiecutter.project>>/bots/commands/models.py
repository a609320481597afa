"""`models`: list the versions, where each runs, its metrics, who approved it."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from bots.commands.options import Verbs


def add_parser(verbs: Verbs) -> None:
    """The verb's options."""
    parser = verbs.add_parser(
        "models",
        help="list the versions: where each runs, its metrics, who approved it",
        description="Every version, the newest first, as the tags of the remote say.",
        epilog="exit codes: 0 listed, 1 the registry cannot be read, 2 wrong usage",
    )
    parser.add_argument("--json", action="store_true", help="print the registry as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Print the registry; 0."""
    from bots.commands.release import open_progress
    from bots.release import registry, report
    from bots.release.release import World

    root = Path.cwd()
    with open_progress() as tell:
        world = World(root=root, environ=os.environ, tell=tell)
        with registry.opened(root, world.retry, world.clock) as book:
            found = book.registry
    print(report.to_json(found) if arguments.json else report.terminal(found))
    return 0
